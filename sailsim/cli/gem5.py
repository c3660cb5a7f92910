"""`sailsim gem5`: programs and traces on gem5 with sailsim's module, and how well the two agree."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from sailsim.cli._path import PathOption
from sailsim.errors import SailsimError
from sailsim.files import write_whole
from sailsim.lut_gemv import decode_tile, read_trace
from sailsim.sim import Store, System, load_system, parse_numbers
from sailsim.sim.agreement import SUBSTRATES, Comparison, compare, measure_latencies, summarise
from sailsim.sim.gem5 import CPU_MODELS, VARIABLE, Gem5, Gem5Run, extras_path, stored
from sailsim.sim.gem5_measure import measure_bandwidth, measure_kernels
from sailsim.sim.gem5_tiles import example_tile, run_tiles, tile_points
from sailsim.sim.provenance import commit
from sailsim.sim.timeline import both_timelines, core_timeline

_gem5 = click.option("--gem5", "binary", help=f"The gem5 binary; default: the variable {VARIABLE}.")
_system = click.option("--system", "machine", default="sail-n1", show_default=True, help="A system file.")
_out = click.option(
    "--out",
    type=PathOption(file_okay=False),
    default=Path("out/gem5"),
    show_default=True,
    help="Folder of the results; what it holds is not simulated again.",
)
_timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=3600,
    show_default=True,
    help="Seconds after which a run of gem5 is stopped.",
)
_build = click.option("--build", default="", help="How gem5 was built, in words; for the record.")
_write = click.option(
    "--write", type=PathOption(dir_okay=False), help="Also write the JSON, with its origin, into this file."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def gem5() -> None:
    """Run programs and traces on gem5 with sailsim's module."""


@gem5.command("extras-path")
def extras_path_() -> None:
    """Print the folder that gem5's build takes as EXTRAS."""
    click.echo(extras_path())


@gem5.command()
@_gem5
@_json
def check(binary: str | None, as_json: bool) -> None:
    """Say which gem5 is found, and whether it has sailsim's module."""
    found = Gem5(binary)
    answer = {"path": str(found.path), "version": found.version, "compiled": found.compiled}
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        click.echo(f"gem5 {found.version} with sailsim's module, compiled {found.compiled}: {found.path}")


@gem5.command(context_settings={"ignore_unknown_options": True})
@_gem5
@_system
@click.option("--cpu", type=click.Choice(CPU_MODELS), default="o3", show_default=True, help="Core model.")
@click.option("--cores", type=int, default=1, show_default=True, help="Cores, 1..64.")
@click.option("--no-pim", is_flag=True, help="The same machine without PIM units.")
@_out
@_timeout
@_json
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    binary: str | None,
    machine: str,
    cpu: str,
    cores: int,
    no_pim: bool,
    out: Path,
    timeout: float,
    as_json: bool,
    program: tuple[str, ...],
) -> None:
    """Run an AArch64 PROGRAM with its arguments (after --) on a machine's cores and PIM units."""
    simulator, system = Gem5(binary), load_system(machine)
    point = {
        "command": "run",
        "system": machine,
        "cpu": cpu,
        "cores": cores,
        "pim": not no_pim,
        "program": list(program),
        "files": [_digest(word) for word in program if Path(word).is_file()],
    }
    folder = _folder(out, point)

    def simulate() -> dict[str, Any]:
        done = simulator.run(system, program, folder, cpu=cpu, cores=cores, pim=not no_pim, timeout_s=timeout)
        return {**_record(done), "program_output": [json.dumps(line) for line in done.json_lines]}

    record, _ = stored(Store(out), point, system, simulator, simulate)
    if as_json:
        click.echo(json.dumps(record))
    else:
        for line in record["program_output"]:
            click.echo(line)
        click.echo(f"exit status {record['status']} after {record['ticks'] / 1e6:.3f} us simulated, {folder}")
    if record["status"] != 0:
        raise click.exceptions.Exit(1)


@gem5.command()
@_gem5
@_system
@click.argument("trace", type=PathOption(exists=True, dir_okay=False))
@click.option("--units", type=click.IntRange(1, 64), help="PIM units; default: one a slice.")
@click.option("--window", type=int, default=0, show_default=True, help="Descriptors under way; 0: no limit.")
@_out
@_timeout
@_json
def replay(
    binary: str | None,
    machine: str,
    trace: Path,
    units: int | None,
    window: int,
    out: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Replay a TRACE of descriptors on a machine's PIM units, without a core, and check every result."""
    simulator, system = Gem5(binary), load_system(machine)
    point = {
        "command": "replay",
        "system": machine,
        "trace": _digest(str(trace)),
        "units": units or system.llc.slices.whole,
        "window": window,
    }
    folder = _folder(out, point)

    def simulate() -> dict[str, Any]:
        done = simulator.replay(system, trace, folder, units=units, window=window, timeout_s=timeout)
        tiles = done.tiles()
        return {
            **_record(done),
            "tiles": len(tiles),
            "good_tiles": sum(tile["good"] for tile in tiles),
            "longest_cycles": max((tile["cycles"] for tile in tiles), default=0),
        }

    record, _ = stored(Store(out), point, system, simulator, simulate)
    if as_json:
        click.echo(json.dumps(record))
    else:
        click.echo(
            f"{record['good_tiles']} of {record['tiles']} tiles as expected, {record['ticks'] / 1e6:.3f} us "
            f"simulated, longest tile {record['longest_cycles']} cycles, {folder}"
        )
    if record["good_tiles"] != record["tiles"]:
        raise click.exceptions.Exit(1)


@gem5.command()
@_gem5
@_system
@click.option("--model", default="llama-2-7b", show_default=True, help="Whose weight matrix.")
@click.option("--tensor", default="blk.0.attn_q", show_default=True, help="The matrix, of the first block.")
@click.option("--wbits", default="2:8", show_default=True, help="Bits of a weight: a list and ranges.")
@click.option("--nbw", default="2,3,4", show_default=True, help="Weights of a table.")
@click.option("--batch", default="1,8", show_default=True, help="Rows of activations.")
@click.option("--group-size", type=int, default=128, show_default=True, help="Weights that share a scale.")
@click.option(
    "--whole", default="2,4,8", show_default=True, help="Widths of the whole matrix on all slices; 0: none."
)
@click.option(
    "--activations", type=PathOption(dir_okay=False), help="A capture; default: the one that ships."
)
@_build
@_write
@_out
@_timeout
@_json
def sweep(
    binary: str | None,
    machine: str,
    model: str,
    tensor: str,
    wbits: str,
    nbw: str,
    batch: str,
    group_size: int,
    whole: str,
    activations: Path | None,
    build: str,
    write: Path | None,
    out: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Run tiles of a sweep on gem5, beside the fast engine's time for each.

    A slice's share of the matrix for every combination; the whole matrix on all slices for a few widths;
    the timeline of one tile. Results are stored as they are found: the same command again goes on where a
    stopped one ended.
    `sailsim figures` and `sailsim report` show them for a folder that has them in gem5/.
    """
    simulator, system = Gem5(binary), load_system(machine)
    points = tile_points(
        parse_numbers("wbits", wbits),
        parse_numbers("nbw", nbw),
        parse_numbers("batch", batch),
        parse_numbers("whole", whole),
        slices=system.llc.slices.whole,
        model=model,
        tensor=tensor,
        group_size=group_size,
    )
    rows, before = run_tiles(
        points,
        simulator,
        machine,
        system,
        out,
        activations=str(activations) if activations else "",
        timeout_s=timeout,
    )
    example = example_tile(points, system, str(activations) if activations else "")
    timelines = both_timelines(simulator, machine, system, example, out, timeout)
    worst = rows.iloc[int(rows["error"].abs().to_numpy().argmax())]
    summary = {
        "out": str(out),
        "points": len(points),
        "held_before": before,
        "correct": bool(rows["correct"].all()),
        "phases_equal": bool(rows["phases_equal"].all()),
        "median_error": float(rows["error"].abs().median()),
        "worst_error": float(worst["error"]),
        "worst_point": ", ".join(f"{name} {worst[name]:g}" for name in ("wbits", "nbw", "batch", "slices")),
    }
    if write:
        options = f"sailsim gem5 sweep --system {machine} --model {model} --tensor {tensor} --wbits {wbits}"
        options += f" --nbw {nbw} --batch {batch} --group-size {group_size} --whole {whole}"
        content = {
            "run": {"gem5": simulator.version, **_provenance(simulator, build, options)},
            "tiles": json.loads(rows.drop(columns=["folder"]).to_json(orient="records")),
            "timelines": [each.as_dict() for each in timelines],
        }
        write_whole(write, (json.dumps(content) + "\n").encode())
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        click.echo(
            f"{len(points)} tiles in {out}, {before} of them from before. Results "
            f"{'exact' if summary['correct'] else 'WRONG'}, phases "
            f"{'equal' if summary['phases_equal'] else 'DIFFER'}; the fast engine's time is off by "
            f"{summary['median_error']:.1%} (median), {summary['worst_error']:+.1%} at worst "
            f"({summary['worst_point']})."
        )
    if not (summary["correct"] and summary["phases_equal"]):
        raise click.exceptions.Exit(1)


@gem5.command()
@_gem5
@_system
@click.argument("trace", type=PathOption(exists=True, dir_okay=False))
@click.option("--tile", type=int, default=0, show_default=True, help="Which of the trace's tiles.")
@click.option(
    "--groups",
    default="34:6",
    show_default=True,
    help="How many groups the picture shows, at the tile's beginning and at its end.",
)
@click.option("--engine", is_flag=True, help="The fast engine's timeline alone; needs no gem5.")
@_out
@_timeout
@_json
def timeline(
    binary: str | None,
    machine: str,
    trace: Path,
    tile: int,
    groups: str,
    engine: bool,
    out: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Draw when each group of a tile of TRACE loads, builds, looks up and converts, in gem5 and the engine.

    Writes timeline.png into the folder of the results, and the numbers beside it.
    """
    from sailsim.analysis.render.gem5_figures import save, timeline_figure  # matplotlib: only when needed

    shown = _two_numbers("groups", groups)
    opened, system = read_trace(trace), load_system(machine)
    if not 0 <= tile < len(opened):
        raise SailsimError(f"tile is {tile}; allowed are 0..{len(opened) - 1}, the tiles of {trace}.")
    operands = decode_tile(opened, tile)
    if engine:
        found = [core_timeline(system, operands)]
    else:
        found = both_timelines(Gem5(binary), machine, system, operands, out, timeout)
    path = out / "timeline.png"
    save(timeline_figure(found, shown), path)
    if as_json:
        click.echo(json.dumps({"picture": str(path), "timelines": [each.as_dict() for each in found]}))
        return
    for each in found:
        click.echo(f"{each.source}: {each.end:,} cycles, {len(each.groups):,} groups")
    click.echo(str(path))


def _two_numbers(field: str, text: str) -> tuple[int, int]:
    first, _, last = text.partition(":")
    try:
        return int(first), int(last)
    except ValueError:
        raise SailsimError(f"{field} is {text!r}; allowed are two numbers, such as 34:6.") from None


@gem5.command()
@_gem5
@_system
@click.option("--streams", type=int, default=16, show_default=True, help="Readers in the second comparison.")
@click.option(
    "--kernels",
    type=PathOption(file_okay=False),
    help="Folder of the AArch64 programs: measures latencies and bandwidths too (ten minutes).",
)
@_build
@_write
@_out
@_timeout
@_json
def validate(
    binary: str | None,
    machine: str,
    streams: int,
    kernels: Path | None,
    build: str,
    write: Path | None,
    out: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Compare gem5's PIM unit with the core and the fast engine, and memory with what is published.

    Parts that the folder holds are not run again. Exit status 1: a result or a phase differs.
    """
    simulator, system = Gem5(binary), load_system(machine)
    store, folder = Store(out), out / "validate"
    own = SUBSTRATES[0] if system.pim is None else str(system.pim.substrate.value)
    with _telling() as tell:
        alone = []
        for substrate in dict.fromkeys((own, *SUBSTRATES)):
            tell(f"tiles on {substrate}")
            alone += _compared(store, simulator, machine, system, folder, substrate, 0, timeout)
        tell(f"tiles beside {streams} streams")
        beside = _compared(store, simulator, machine, system, folder, own, streams, timeout)
        latencies: list[dict[str, Any]] = []
        bandwidths: list[dict[str, Any]] = []
        if kernels:
            tell("load latencies")
            latencies = _latencies(store, simulator, machine, system, kernels, folder, timeout)
            tell("bandwidths")
            bandwidths = measure_bandwidth(simulator, system, kernels, out, timeout, ran=_seen(tell))
    options = f"sailsim gem5 validate --system {machine} --streams {streams}"
    options += " --kernels build/kernels" if kernels else ""
    found = {
        "run": _provenance(simulator, build, options),
        "gem5_version": simulator.version,
        "gem5_compiled": simulator.compiled,
        "system": machine,
        "alone": asdict(summarise(alone)),
        "beside_streams": asdict(summarise(beside)),
        "tiles": [comparison.as_dict() for comparison in alone + beside],
        "latencies": latencies,
        "bandwidths": bandwidths,
    }
    text = json.dumps(found, indent=1)
    if write:
        write_whole(write, (text + "\n").encode())
    if as_json:
        click.echo(text)
    else:
        _print_validation(found)
    if not all(c.correct and c.phases_equal for c in alone + beside):
        raise click.exceptions.Exit(1)


@gem5.command()
@_gem5
@_system
@click.option(
    "--programs",
    type=PathOption(file_okay=False),
    default=Path("build/kernels"),
    show_default=True,
    help="Folder of the AArch64 programs.",
)
@click.option("--write", type=PathOption(dir_okay=False), help="Also write the rows as CSV into this file.")
@_out
@_timeout
@_json
def kernels(
    binary: str | None,
    machine: str,
    programs: Path,
    write: Path | None,
    out: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Measure the NEON kernels' cycles per multiply-accumulate on gem5's cores, by format.

    Some twenty minutes; what the folder holds is not measured again.
    """
    simulator, system = Gem5(binary), load_system(machine)
    with _telling() as tell:
        rows = measure_kernels(simulator, system, programs, out, timeout, ran=_seen(tell))
    if write:
        write_whole(write, kernels_csv(rows, simulator, machine).encode())
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    click.echo(f"{'format':<8} {'weights in':<10} {'threads':>7} {'batch':>5} {'k':>5} {'n':>5} cycles/MAC")
    for row in rows:
        click.echo(
            f"{row['format']:<8} {row['weights_in']:<10} {row['threads']:>7} {row['batch']:>5} {row['k']:>5} "
            f"{row['n']:>5} {row['cycles_per_mac']:>10.4f}"
        )


def kernels_csv(rows: list[dict[str, Any]], simulator: Gem5, machine: str) -> str:
    """The rows of `measure_kernels` with what each rests on, as analysis/data/gem5_kernels.csv has them."""
    run = _provenance(simulator, "", "")
    source = {
        "kind": "fitted",
        "gem5_version": simulator.version,
        "date": run["date"],
        "commit": run["commit"].split()[0][:7],
        "options": f"sailsim gem5 kernels --system {machine}",
    }
    lines = [KERNELS_HEAD.format(machine=machine), ",".join([*rows[0], *source])]
    lines += [",".join(str(value) for value in {**row, **source}.values()) for row in rows]
    return "\n".join(lines) + "\n"


KERNELS_HEAD = """\
# Cycles per multiply-accumulate, of a thread, of our NEON kernels (workloads/kernels/gemv) on O3 cores of
# {machine} in gem5, without PIM units. weights_in L2: the best product after the first. DRAM: on caches so
# small (sim_ext/sim/gem5_measure.py) that 0.75 MB of weights come from memory. The core model is
# calibrated on load latencies only: these are rates of the model, not measurements of a Neoverse N1."""


def _compared(
    store: Store,
    simulator: Gem5,
    machine: str,
    system: System,
    folder: Path,
    substrate: str,
    streams: int,
    timeout: float,
) -> list[Comparison]:
    """The tiles of `agreement` on one substrate, from the store if they were compared before."""
    point = {"command": "validate", "system": machine, "substrate": substrate, "streams": streams}

    def simulate() -> dict[str, Any]:
        found = compare(
            simulator, system, folder, substrates=(substrate,), streams=streams, timeout_s=timeout
        )
        return {"comparisons": [json.dumps(asdict(comparison)) for comparison in found]}

    record, _ = stored(store, point, system, simulator, simulate)
    return [Comparison(**json.loads(text)) for text in record["comparisons"]]


def _latencies(
    store: Store,
    simulator: Gem5,
    machine: str,
    system: System,
    kernels: Path,
    folder: Path,
    timeout: float,
) -> list[dict[str, Any]]:
    point = {
        "command": "latencies",
        "system": machine,
        "content": _digest(str(kernels / "pointer_chase")),
    }

    def simulate() -> dict[str, Any]:
        rows = measure_latencies(simulator, system, kernels, folder, timeout)
        return {"latencies": [json.dumps(row) for row in rows]}

    record, _ = stored(store, point, system, simulator, simulate)
    return [json.loads(text) for text in record["latencies"]]


def _provenance(simulator: Gem5, build: str, options: str) -> dict[str, str]:
    """What a committed measurement says about its origin."""
    code = commit()
    named = "no checkout" if code is None else code["id"][:12] + (" with changes" if code["changed"] else "")
    return {
        "commit": named,
        "date": datetime.now(UTC).date().isoformat(),
        "gem5_sha256": simulator.digest[:16],
        "build": build or "not stated",
        "options": options,
    }


@contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """Says on standard error what is under way: in one changing line on a terminal, else line by line."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("gem5") as status:
            yield lambda text: status.update(f"gem5: {text}")
    else:
        yield lambda text: print(f"gem5: {text}", file=sys.stderr, flush=True)


def _seen(tell: Callable[[str], None]) -> Callable[[Any], None]:
    """Tells of a measured row."""
    return lambda row: tell(", ".join(f"{name} {value}" for name, value in row.items() if value is not None))


def _print_validation(found: dict[str, Any]) -> None:
    click.echo(f"gem5 {found['gem5_version']}, {found['system']}")
    heads = ("substrate", "streams", "phases", "gem5", "engine", "error")
    click.echo("{:32} {:13} {:>7} {:>6} {:>9} {:>9} {:>7}".format("tile", *heads))
    for row in found["tiles"]:
        same = "equal" if row["phases_equal"] else "DIFFER"
        click.echo(
            f"{row['tile']:32} {row['substrate']:13} {row['streams']:7d} {same:>6} {row['gem5_cycles']:9d} "
            f"{row['engine_cycles']:9.0f} {row['error']:7.1%}"
        )
    for title, part in (("alone", found["alone"]), ("beside streams", found["beside_streams"])):
        click.echo(
            f"{title}: {part['tiles']} tiles, median error {part['median_error']:.1%}, worst "
            f"{part['worst_error']:.1%} ({part['worst_tile']})"
        )
    for row in found["latencies"]:
        click.echo(
            f"{row['level']:5} gem5 {row['gem5_ns']:6.2f} ns, published {row['published_ns']:6.2f} ns, "
            f"error {row['error']:6.1%}"
        )
    for row in found["bandwidths"]:
        if row["published_gb_s"] is None:
            beside = "nothing published"
        else:
            beside = f"published {row['published_gb_s']:6.1f} GB/s, error {row['error']:6.1%}"
        measured = f"{row['kind']:5} by {row['threads']:2d} threads: gem5 {row['gem5_gb_s']:6.1f} GB/s"
        click.echo(f"{row['level']:5} {measured}, {beside}")


def _record(done: Gem5Run) -> dict[str, Any]:
    ended = {"status": done.status, "ticks": done.ticks, "host_s": done.host_s, "folder": str(done.folder)}
    return ended | done.totals()


def _digest(path: str) -> str:
    try:
        return sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise SailsimError(f"file {path} cannot be read: {error.strerror}.") from None


def _folder(out: Path, point: dict[str, Any]) -> Path:
    name = sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()[:12]
    return (out / f"{point['command']}-{name}").resolve()
