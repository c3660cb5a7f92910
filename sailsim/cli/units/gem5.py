"""`sailsim gem5`: programs, traces, tokens and tiles on a gem5 with sailsim's module (docs/gem5.md)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial, wraps
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError, escaped
from sailsim.base.input_file import sha256_of
from sailsim.cli.common.command import Command, F, applied
from sailsim.cli.common.json_output import answered, as_json_option
from sailsim.cli.common.path_option import TEXT, FormattedText, PathOption
from sailsim.cli.common.study_options import results_folder
from sailsim.cli.common.table import echo, print_numbers, say
from sailsim.lut_gemv.trace_file import Trace, decode_tile, read_trace
from sailsim.sim.gem5 import binary, validation
from sailsim.sim.gem5 import decode as decoding
from sailsim.sim.gem5.binary import Gem5, Gem5Run
from sailsim.sim.gem5.cached_runs import Record, run_or_load
from sailsim.sim.gem5.replay import ORDERS, both_timelines, phase_times, phases_of
from sailsim.sim.gem5.stored import Row, load_of
from sailsim.sim.machine.ranges import parse_numbers
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system
from sailsim.workloads.inference.perplexity import ATTENTION

CHECKPOINT_FILES = ("m5.cpt", "sailsim.json")
"""Files of a checkpoint, from gem5-configs/checkpoints.py: gem5's state, and the note of the run."""
COUNT = r"(?:[2-9]|[1-9]\d{1,17})"
"""Pattern of a number of instructions or ps, below 2^63; an atomic core cannot stop after one instruction."""


def number(option: str, least: int, most: int, default: int | None, words: str) -> Callable[[F], F]:
    """Option for a whole number in a range."""
    return click.option(option, type=click.IntRange(least, most), default=default, help=words)


with_gem5 = click.option(
    "--gem5", "path", type=TEXT, help=f"The gem5 binary; default: the variable {binary.VARIABLE}."
)


@dataclass(frozen=True)
class Gem5Options:
    """Options of a run of gem5: binary, machine, folder of results, and time limit in seconds."""

    path: str | None
    machine: str
    out: Path
    timeout: float

    @cached_property
    def simulator(self) -> Gem5:
        """Binary with the module. Raises SailsimError for a missing binary or one without the module."""
        return Gem5(self.path)

    @cached_property
    def system(self) -> System:
        """System of the machine. Raises SailsimError for a bad name or file."""
        return load_system(self.machine)


def with_run(out: str = "out/gem5") -> Callable[[F], F]:
    """Options of every run of gem5: `--gem5`, `--system`, `--out`, `--timeout` as one `Gem5Options`, and
    `--json`."""

    def together(command: Callable[..., Any]) -> Any:
        names = [field.name for field in fields(Gem5Options)]

        @wraps(command)
        def called(**options: Any) -> Any:
            return command(Gem5Options(**{name: options.pop(name) for name in names}), **options)

        return called

    return applied(
        with_gem5,
        click.option("--system", "machine", default="sail-n1", help="A system file."),
        results_folder(out, "runs"),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=3600,
            help="Seconds after which a run of gem5 is stopped.",
        ),
        as_json_option,
        together,
    )


def with_parts(places: str, until: str, until_form: str) -> Callable[[F], F]:
    """Options for the size of the machine, and for the part that is run: its start, end and checkpoints."""
    return applied(
        number("--units", 0, 64, None, "PIM units, 0: none; default: one per slice."),
        click.option(
            "--memory",
            type=FormattedText(r"[1-9]\d{0,5}(MiB|GiB)", "a whole number of MiB or GiB, such as 512MiB"),
            help="Size of the simulated memory, as 512MiB; default: 2GiB.",
        ),
        click.option("--capacity-mode", is_flag=True, help="Idle arrays extend their slices of the LLC."),
        click.option(
            "--checkpoint",
            callback=_ascending,
            type=FormattedText(
                rf"{COUNT}(,{COUNT})*", f"{places} from 2, each above the one before, with commas"
            ),
            help=f"Write checkpoints into the run's folder after {places}, as 100000,2500000, and continue.",
        ),
        click.option(
            "--restore",
            type=PathOption(exists=True, file_okay=False),
            help="Continue from a checkpoint of an earlier run.",
        ),
        click.option("--until", type=FormattedText(until_form, until), help=f"End early: {until}."),
    )


def _ascending(_: click.Context, param: click.Parameter, text: str | None) -> str | None:
    places = [int(word) for word in text.split(",")] if text else []
    if places != sorted(set(places)):
        raise SailsimError(f"{param.name} is {text!r}; allowed are numbers, each above the one before.")
    return text


def tell(text: str) -> None:
    """Print a line of progress on standard error."""
    click.echo(escaped(f"gem5: {text}"), err=True)


@click.group()
def gem5() -> None:
    """Run programs and traces on gem5 with sailsim's module."""


# --- The machine, a program, a trace ---


@gem5.command(cls=Command)
@click.argument("name", default="sail-n1")
@click.option("--out", type=PathOption(dir_okay=False), help="Write the machine to this file.")
@click.option(
    "--check",
    is_flag=True,
    help="Print the gem5 that is found instead, and the folder for EXTRAS of its build.",
)
@with_gem5
@as_json_option
def machine(name: str, out: Path | None, check: bool, path: str | None) -> None:
    """Print machine NAME as JSON for scripts of gem5, sailsim's or yours (docs/gem5.md)."""
    if check:
        simulator = Gem5(path)
        version, compiled = simulator.version, simulator.compiled
        answer = {"path": str(simulator.path), "version": version, "compiled": compiled}
        if not answered({**answer, "extras": binary.extras_path()}):
            say(f"gem5 {version} with sailsim's module, compiled {compiled}: {simulator.path}")
            say(f"EXTRAS={binary.extras_path()}")
    elif out is None:
        echo(binary.machine_json(load_system(name)))
    else:
        write_whole(out, binary.machine_json(load_system(name)).encode())


@gem5.command(cls=Command, context_settings={"ignore_unknown_options": True})
@with_run()
@click.option(
    "--cpu",
    type=FormattedText(
        binary.CPU,
        f"{', '.join(binary.CPU_MODELS)}, two of them as in atomic,o3, and ps behind as in atomic,o3,5000",
    ),
    default="o3",
    help="Core model: atomic, timing, minor or o3. With atomic,o3 work items of the program run on o3 cores; "
    "with atomic,o3,5000 everything does, from 5000 ps after the start of the first work item.",
)
@number("--cores", 1, 64, 1, "Cores, 1..64.")
@with_parts(
    "numbers of instructions",
    "a number of instructions of the first core, or of simulated ps such as 5000ps",
    rf"{COUNT}|[1-9]\d{{0,17}}ps",
)
@number(
    "--simpoint-interval",
    1,
    2**63 - 1,
    None,
    f"Instructions of an interval whose basic-block vector is written: {binary.BASIC_BLOCK_VECTORS}.",
)
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    setup: Gem5Options, cpu: str, cores: int, program: tuple[str, ...], units: int | None, **options: Any
) -> None:
    """Run an AArch64 PROGRAM with its arguments (after --) on a machine's cores and PIM units.

    Checkpoints, from m5_checkpoint or --checkpoint, and basic-block vectors go into the run's folder.
    """
    _require_possible(options, cpu, cores, units)
    simulator, system = setup.simulator, setup.system
    point = {
        "command": "run",
        "system": setup.machine,
        "cpu": cpu,
        "cores": cores,
        "units": system.llc.slices.whole if units is None else units,
        "program": list(program),
        "files": [sha256_of(Path(word), "file") for word in program if Path(word).is_file()],
    }

    def simulate(folder: Path, extra: list[str]) -> dict[str, Any]:
        done = simulator.run(
            system, program, folder, cpu=cpu, cores=cores, units=units, timeout_s=setup.timeout, extra=extra
        )
        output = [json.dumps(line) for line in done.json_lines]
        return {**_columns(done), "program_output": output, "basic_block_vectors": done.basic_block_vectors}

    record = _stored(setup, point, options, simulate)
    if not answered(record):
        for line in record["program_output"]:
            echo(line)
        _say_checkpoints(record)
        if record["basic_block_vectors"]:
            vectors = Path(record["folder"], binary.BASIC_BLOCK_VECTORS)
            say(f"{record['basic_block_vectors']} basic-block vectors in {vectors}")
        say(
            f"exit status {record['status']} after {record['ticks'] / 1e6:.3f} us simulated, "
            f"{record['folder']}"
        )
    if record["status"] != 0:
        raise click.exceptions.Exit(1)


def _require_possible(options: Mapping[str, Any], cpu: str, cores: int, units: int | None) -> None:
    if units == 0 and options["capacity_mode"]:
        raise SailsimError(
            "capacity-mode is given with units 0; allowed is one of them: that machine has no PIM units."
        )
    if "," in cpu and (options["until"] or "ps")[-2:] != "ps":
        raise SailsimError(
            f"until is {options['until']} with cpu {cpu}; allowed is a number of instructions of one core "
            "model, as from a checkpoint."
        )
    for name in ("simpoint_interval", "checkpoint"):  # count instructions exactly, from the start
        option = name.replace("_", "-")
        if options[name] and (cpu != "atomic" or cores != 1):
            raise SailsimError(
                f"{option} is given with {cores} {cpu} cores; allowed is one atomic core, which counts "
                "instructions exactly."
            )
        if options[name] and options["restore"]:
            raise SailsimError(
                f"{option} is given with restore; allowed is a program that one atomic core runs from its "
                "start."
            )


def _stored(
    setup: Gem5Options, point: Row, options: Row, simulate: Callable[[Path, list[str]], Record]
) -> Record:
    """Record of a run, from the folder of results, or from `simulate` with a folder and the options of gem5's
    script. A run whose checkpoints or vectors are gone is repeated.
    """
    words = []
    for name, value in sorted(options.items()):
        if value not in (None, False):
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    point = {**point, "options": shlex.join(words), **_restored(options["restore"])}
    name = sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()[:12]
    folder = (setup.out / f"{point['command']}-{name}").resolve()

    def whole(record: Record) -> bool:
        vectors = [folder / binary.BASIC_BLOCK_VECTORS] if record.get("basic_block_vectors") else []
        return all(path.exists() for path in [*vectors, *map(Path, record["checkpoints"])])

    run = partial(simulate, folder, words)
    return run_or_load(setup.out, point, setup.system, setup.simulator, run, whole=whole)


def _columns(done: Gem5Run) -> dict[str, Any]:
    """Columns of a run's record: its status and time, its checkpoints, and its totals."""
    ended = {"status": done.status, "ticks": done.ticks, "host_s": done.host_s, "folder": str(done.folder)}
    return {**ended, "checkpoints": [str(path) for path in done.checkpoints], **done.totals()}


def _say_checkpoints(record: Record) -> None:
    for checkpoint in record["checkpoints"]:
        say(f"checkpoint in {checkpoint}")


def _restored(checkpoint: Path | None) -> dict[str, list[str]]:
    """Digests of the checkpoint that a run continues, for its record; the place does not count.

    Raises SailsimError if the folder holds no checkpoint of `sailsim gem5`.
    """
    if checkpoint is None:
        return {}
    for name in CHECKPOINT_FILES:
        if not (checkpoint / name).is_file():
            raise SailsimError(
                f"restore is {checkpoint}, which is no checkpoint of sailsim gem5: it has no {name}."
            )
    return {"restored": [sha256_of(checkpoint / name, "file") for name in CHECKPOINT_FILES]}


@gem5.command(cls=Command)
@with_run()
@click.argument("trace", type=PathOption(exists=True, dir_okay=False))
@click.option(
    "--streams",
    type=FormattedText(
        r"([1-9]|[1-5]\d|6[0-4])(:(?!0*\.?0*$)\d{1,3}(\.\d{1,3})?)?",
        "1..64, and after a colon the GB/s of each from 0.001 to 999, such as 16 or 16:2.5",
    ),
    help="Streams of memory reads during the replay, and GB/s of each: 16:2.5 is 16 of 2.5; default: of 4.",
)
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    help="Order of tensors. tensor: each waits for the last one; step: as in a decode step; default: none.",
)
@click.option(
    "--timeline",
    type=int,
    help="Draw the timeline of this tile: load, build, look-up and conversion of each group.",
)
@with_parts("numbers of simulated ps", "a number of simulated ps such as 5000ps", r"[1-9]\d{0,17}ps")
def replay(
    setup: Gem5Options,
    trace: Path,
    timeline: int | None,
    order: str | None,
    units: int | None,
    **options: Any,
) -> None:
    """Replay a TRACE of descriptors on a machine's PIM units, without a core, and check every result.

    --timeline replays one tile in gem5 and the fast engine instead and draws it into timeline.png in the
    folder of the results. The engine's groups are those of `time_tile`, memory "dram".
    """
    if timeline is not None:
        for name, value in {"order": order, "units": units, **options}.items():
            if value:
                raise SailsimError(
                    f"{name.replace('_', '-')} is given with timeline, whose tile is alone on the machine; "
                    "allowed is one of them."
                )
        _draw_timeline(setup, read_trace(trace), timeline)
        return
    last, end = (options["checkpoint"] or "0").split(",")[-1], options["until"]
    if end and int(last) >= int(end[:-2]):
        raise SailsimError(f"checkpoint is {last} and until {end}; allowed is a checkpoint before the end.")
    simulator, system = setup.simulator, setup.system
    phases = phases_of(read_trace(trace).header["tiles"], order) if order else []
    point = {
        "command": "replay",
        "system": setup.machine,
        "trace": sha256_of(trace, "file"),
        "units": system.llc.slices.whole if units is None else units,
        "order": order or "",
    }

    def simulate(folder: Path, extra: list[str]) -> dict[str, Any]:
        if phases:
            extra = [*extra, "--phase-ends", ",".join(str(end) for _, end in phases)]
        done = simulator.replay(system, trace, folder, units=units, timeout_s=setup.timeout, extra=extra)
        tiles = done.tiles()
        return {
            **_columns(done),
            "tiles": len(tiles),
            "good_tiles": sum(tile["good"] for tile in tiles),
            "longest_cycles": max((tile["cycles"] for tile in tiles), default=0),
            "phases": [json.dumps(row) for row in phase_times(phases, tiles)],
        }

    record = _stored(setup, point, options, simulate)
    if not answered(record):
        for line in record["phases"]:
            row = json.loads(line)
            start, end = row["start_ps"] / 1e6, row["end_ps"] / 1e6
            say(f"{start:10.3f} .. {end:10.3f} us  {row['tiles']:4d} tiles  {row['name']}")
        _say_checkpoints(record)
        say(
            f"{record['good_tiles']} of {record['tiles']} tiles as expected, {record['ticks'] / 1e6:.3f} us "
            f"simulated, longest tile {record['longest_cycles']} cycles, {record['folder']}"
        )
    if record["good_tiles"] != record["tiles"]:
        raise click.exceptions.Exit(1)


def _draw_timeline(setup: Gem5Options, trace: Trace, tile: int) -> None:
    from sailsim.analysis.render.figure import draw, save  # matplotlib: only when needed
    from sailsim.analysis.render.gem5_figures import timeline_figure

    if not 0 <= tile < len(trace):
        raise SailsimError(f"timeline is {tile}; allowed are 0..{len(trace) - 1}, the tiles of {trace.path}.")
    timelines = both_timelines(
        setup.simulator, setup.machine, setup.system, decode_tile(trace, tile), setup.out, setup.timeout
    )
    path = setup.out / "timeline.png"
    save(draw(timeline_figure(timelines)), path)
    if answered({"picture": path, "timelines": [vars(each) for each in timelines]}):
        return
    for each in timelines:
        say(f"{each.source}: {each.end:,} cycles, {len(each.groups):,} groups")
    echo(str(path))


# --- Tiles against the fast engine ---


@gem5.command(cls=Command)
@with_run()
@click.argument("trace", required=False, type=PathOption(exists=True, dir_okay=False))
@number("--seed", 0, 2**32 - 1, 1, "Seed of the random tiles.")
@number("--tiles", 1, 10_000, 204, "Random tiles; a third of them for other substrates and other loads.")
@number("--streams", 1, 64, 16, "Streams of memory reads next to random tiles in the later comparisons.")
@number("--units", 1, validation.UNITS, 5, "Units that work at the same time in the last comparisons.")
def validate(setup: Gem5Options, trace: Path | None, seed: int, **counts: int) -> None:
    """Compare gem5's PIM unit with the core and the fast engine: on tiles drawn at random, or those of TRACE.

    Random tiles run on every substrate: alone, next to streams of reads, and on --units at once. Tiles of a
    trace run alone and, in its order, on --units at once. The engine's cycles are those of `time_tile`,
    memory "dram", without descriptor and record. Comparisons in the folder are not repeated.
    `sailsim report` shows them for a folder that has them in gem5/.
    Exit status 1: a result or a phase differs.
    """
    system, simulator = setup.system, setup.simulator
    options: dict[str, Any] = {"seed": seed, **counts, "trace": trace, "timeout_s": setup.timeout}
    compared = validation.validate(simulator, setup.machine, system, setup.out, tell=tell, **options)
    answer = {
        "gem5_version": simulator.version,
        "gem5_compiled": simulator.compiled,
        "system": setup.machine,
        "seed": None if trace else seed,
        "summaries": validation.summaries(compared),
        "tiles": compared,
    }
    if not answered(answer):
        _print(compared)
        source = f"of {trace}" if trace else f"drawn with seed {seed}"
        echo(f"gem5 {simulator.version}, {setup.machine}, tiles {source}")
        for each in validation.summaries(compared):
            say(
                "{load}: {tiles} tiles, median error {median_error:.1%}, worst {worst_error:.1%} "
                "({worst_tile})".format(**each)
            )
    if not all(row["correct"] and row["phases_equal"] for row in compared):
        raise click.exceptions.Exit(1)


def _print(compared: Sequence[Row]) -> None:
    for (substrate, load), group in groupby(compared, lambda row: (row["substrate"], load_of(row))):
        echo(f"{substrate}, {load}, cycles")
        rows = []
        for row in group:
            phases = "equal" if row["phases_equal"] else "DIFFER"
            cycles = (f"{row['gem5_cycles']:,}", f"{row['engine_cycles']:,.0f}")
            rows.append((row["tile"], phases, *cycles, f"{row['error']:.1%}"))
        print_numbers(("tile", "phases", "gem5", "engine", "error"), rows, words="phases")


# --- Whole tokens ---


@gem5.command(cls=Command)
@with_run("out/gem5-decode")
@click.option("--model", required=True, help="A GGUF file of the llama architecture, or a shape.")
@click.option("--weights", type=TEXT, help="As in `sailsim image`; default: a file's own, else 4g128.")
@click.option("--blocks", default=0, help="The model's first blocks; 0: all.")
@click.option("--linears", default=",".join(decoding.LINEARS), help="Kernels of matrix products.")
@click.option("--threads", default="1,4,16", help="Threads, on as many cores.")
@click.option("--batch", default="1", help="Sequences that decode together.")
@click.option("--prompt", help="Prompt of every sequence: a text, or token numbers such as 1,2,3.")
@click.option("--context", help="Positions before the first measured token; default: 64, or the prompt's.")
@click.option(
    "--kv-bits", type=click.Choice(list(decoding.KV_BITS)), default="16", help="Bits of keys and values."
)
@click.option(
    "--attention", type=click.Choice(ATTENTION), default="cores", help="Where attention multiplies."
)
@number("--steps", 1, 1 << 20, 1, "Measured tokens, reported on average.")
@number("--units", 1, 64, None, "PIM units of lutmm; default: one per slice.")
@number("--nbw", 1, 6, 4, "Weights that share a look-up table.")
@number("--prefill-tokens", 0, 64, 0, "Tokens of another prompt that cores prefill while units multiply.")
@click.option(
    "--program",
    type=PathOption(dir_okay=False),
    default=Path("build/kernels/decode"),
    help="The AArch64 program.",
)
def decode(
    setup: Gem5Options, prompt: str | None, context: str | None, kv_bits: str, program: Path, **fields: Any
) -> None:
    """Decode tokens on gem5's O3 cores, with products on the cores or on PIM units, and time each part.

    gem5 runs once for every combination of --linears, --threads, --batch and --context (lists). Atomic cores
    fill the cache and decode the last token of the context; O3 cores decode the measured --steps. A run that
    takes longer than --timeout is stored with the reason and without numbers. Tokens and logits must not
    depend on kernels and threads.

    With --prompt every sequence decodes that prompt from an empty cache: atomic cores decode all of its
    tokens but the last. The model in NumPy decodes the same image, and the command prints the difference of
    the logits. Exit status 1: tokens differ, or logits differ between kernels or numbers of threads.
    """
    if prompt is not None:
        if context is not None:
            raise SailsimError(
                "context is given with prompt; allowed is one of them: the cache holds the prompt alone."
            )
        tokens = decoding.prompt_tokens(fields["model"], prompt)
        context = str(len(tokens) - 1)
        fields |= {"warm": len(tokens) - 1, "prompt_tokens": ",".join(map(str, tokens))}
    simulator, system = setup.simulator, setup.system
    axes: dict[str, Any] = {
        "linears": [word.strip() for word in fields.pop("linears").split(",") if word.strip()]
    }
    axes |= {name: parse_numbers(name, fields.pop(name)) for name in ("threads", "batch")}
    axes["context"] = parse_numbers("context", "64" if context is None else context)
    fields |= {"weights": fields["weights"] or "", "units": fields["units"] or 0}
    base = decoding.DecodePoint(cache=decoding.KV_BITS[kv_bits], **fields)
    rows, before = decoding.run_decodes(
        decoding.decode_points(base, system, **axes),
        *(simulator, setup.machine, system, program, setup.out),
        timeout_s=setup.timeout,
        tell=tell,
    )
    wrong = decoding.differing(rows)
    if not answered({"out": setup.out, "held_before": before, "differing": wrong, "rows": rows}):
        for row in rows:
            say(_line(row), " " * 6)
        say(f"{len(rows)} runs in {setup.out}, {before} of them from before.")
        for sentence in [*_agreeing(rows), *wrong]:
            say(sentence)
    if wrong:
        raise click.exceptions.Exit(1)


def _agreeing(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Sentence on runs that were compared with the model in NumPy, if there are any."""
    compared = [row for row in rows if row.get("model_tokens")]
    if compared:
        same = sum(row["model_tokens"] == row["tokens"] for row in compared)
        first = compared[0]["model_tokens"].partition(";")[0]
        yield (
            f"The prompt is {compared[0]['prompt_tokens']}. The running model in NumPy chooses the same "
            f"tokens as {same} of {len(compared)} runs ({first}). Its logits, up to "
            f"{max(row['logit_largest'] for row in compared):.4g}, differ by at most "
            f"{max(row['logit_difference'] for row in compared):.3g}: each side rounds its own activations."
        )


def _line(row: dict[str, Any]) -> str:
    point = f"{row['linears']:<5} threads {row['threads']}, batch {row['batch']}, context {row['context']}: "
    if row.get("step_cycles") is None:
        return point + str(row["reason"])
    # Tokens per second mean nothing for a part of a model.
    whole = f", {row['tokens_per_s']:.1f} tokens/s"
    part = f" of {row['blocks']} blocks and the head".replace("1 blocks", "1 block")
    return point + (
        f"{row['step_cycles']:,.0f} cycles a step{part if row['blocks'] else whole}, "
        f"{row['dram_gb_s']:.1f} GB/s; {row['host_s']:.0f} s, {row['instructions_per_s'] / 1000:,.0f} "
        "thousand instructions/CPU-s"
    )
