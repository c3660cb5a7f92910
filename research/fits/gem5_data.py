"""Make gem5's committed measurements anew: analysis/data/gem5 and analysis/data/gem5_kernels.csv.

python research/fits/gem5_data.py validation | dram | kernels | decode | engine [--build TEXT] [--out FOLDER]

The variable SAILSIM_GEM5 names the binary, build/kernels has the AArch64 programs (make kernels).

- `validation`: tiles as of `sailsim gem5 validate`, load latencies, bandwidths; some ten minutes.
- `dram`: how gem5's DRAM is shared by units that stream weights and readers beside them.
- `kernels`: cycles per multiply-accumulate of the NEON kernels on O3 cores, by format; twenty minutes.
- `decode`: all runs that a folder of `sailsim gem5 decode` holds.
- `engine`: what the engine says today of the runs of `decode`, without gem5, and the page's tables of them.

A program of a few megabytes is what an out-of-order core in gem5 can afford (some 70,000 instructions a
second). `scaled` makes a machine on which a few megabytes come from DRAM: a share of the cores, LLC slices
and channels, and smaller caches; every other number, and so the path to DRAM, is the machine's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from records import to_lines

from calibration.simulated_host import FITTED, asked, host_rows, measured, predicted
from sailsim.analysis.render.gem5_figures import whole_step
from sailsim.analysis.studies.gem5_steps import (
    ENGINE,
    ENGINES,
    HOST,
    TABLE,
    Row,
    every_row,
    shape,
    with_engine,
)
from sailsim.base.atomic import read_records, write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import sha256_of
from sailsim.base.quantity import Quantity
from sailsim.lut_gemv.trace_file import write_trace
from sailsim.sim.gem5.binary import Gem5, require_program
from sailsim.sim.gem5.cached_runs import run_or_load
from sailsim.sim.gem5.stored import DECODE
from sailsim.sim.gem5.validation import (
    DrawnTile,
    Times,
    random_tile,
    shared_bandwidth,
    summaries,
    validate,
)
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.study.origin import commit
from sailsim.sim.study.store import Store

DATA = Path(__file__).resolve().parents[2] / "analysis" / "data"
DOCS = DATA.parents[1] / "docs" / "data"
MACHINE = "sail-n1"
CORES = 16
"""Of the machine that bandwidth is measured on; as many channels and slices as belong to them."""
PUBLISHED = {
    kind: Quantity(
        value=value,
        unit="GB/s",
        source="SpareCores sc-inspector-data, commit 804d3c7 (CC-BY-SA 4.0): lmbench bw_mem, all 64 threads "
        "of an aws/c6g.16xlarge",
        kind="measured",
    )
    for kind, value in (("read", 170.5), ("write", 76.2))
}
"""What all 64 cores of a Graviton2 reach together."""
L1D_KIB, L2_KIB, SLICE_MIB = 16, 32, 1 / 64
"""The small caches of `scaled`: what a simulated bandwidth run can overflow in seconds."""
L2_FOOTPRINT = 1 << 18
"""Bytes that the L2 holds and the L1 does not."""
BANDWIDTH_RUNS = ((1, 1 << 19), (4, 1 << 20), (16, 1 << 21))
"""Threads, and bytes of each array: twice what all caches of `scaled` hold. With less than that, a quarter of
the lines of a pass were still there: the L2s do not drop strictly the oldest."""
STREAMED_OUTPUTS: Mapping[str, int] = {"q8_0": 176, "q4_0": 320, "q4_1": 288, "q2": 544}
"""Formats, and outputs of 4096 weights that are about 0.75 MB: more than `scaled` for 4 cores caches."""

Case = tuple[int, int, float, Times]
BESIDE: Mapping[Times, Sequence[float]] = {"in-step": (4.0, 8.0), "random": (2.0, 4.0, 6.0, 8.0, 10.0)}
"""What each of 16 readers asks for; most cases are of those that are as a step's cores."""
STREAMS: tuple[Case, ...] = (
    *((units, 0, 0.0, "in-step") for units in (1, 4, 5, 8, 16, 32)),
    *(
        case
        for times, speeds in BESIDE.items()
        for case in (
            (1, 8, 4.0, times),
            *((units, 16, each, times) for units in (1, 5, 16, 32) for each in speeds),
        )
    ),
)
"""PIM units that stream weights, readers beside them, GB/s that each reader asks for, and when they ask."""


def scaled(system: System, cores: int = CORES) -> System:
    """The machine with `cores` of its cores, their share of channels and slices, and small caches.

    Raises:
        SailsimError: channels or slices cannot be divided so.
    """
    parts = system.cores.count.whole // cores

    def divided(quantity: Quantity, name: str) -> Quantity:
        if parts < 1 or quantity.whole % parts:
            raise SailsimError(
                f"{name} is {quantity.value:g}; allowed to measure {cores} of {system.cores.count.whole} "
                "cores is a number that divides evenly."
            )
        return resized(quantity, quantity.value // parts)

    def resized(quantity: Quantity, value: float) -> Quantity:
        return quantity.model_copy(update={"value": value})

    llc, memory, l1d, l2 = system.llc, system.memory, system.l1d, system.l2
    slices = {
        "slices": divided(llc.slices, "llc.slices"),
        "slice_size": resized(llc.slice_size, SLICE_MIB),
    }
    channels = {"channels": divided(memory.channels, "memory.channels")}
    return system.model_copy(
        update={
            "llc": llc.model_copy(update=slices),
            "l1d": l1d.model_copy(update={"size": resized(l1d.size, L1D_KIB)}),
            "l2": l2.model_copy(update={"size": resized(l2.size, L2_KIB)}),
            "memory": memory.model_copy(update=channels),
        }
    )


def run_program(
    gem5: Gem5, system: System, kernels: Path, name: str, options: Sequence[str], cores: int, out: Path
) -> list[dict[str, Any]]:
    """What a program prints on `cores` O3 cores without PIM units, from the folder if it was run before."""
    program = kernels / name
    require_program(program)
    content = sha256_of(program, "program")
    point = {"command": "measure", "program": [name, *options], "content": content, "cores": cores}
    identity = sha256(json.dumps([point, system.digest]).encode()).hexdigest()[:12]
    folder = (out / f"measure-{name}-{identity}").resolve()

    def simulate() -> dict[str, Any]:
        run = gem5.run(system, [str(program), *options], folder, cores=cores, units=0)
        if run.status != 0 or not run.json_lines:
            raise SailsimError(f"{name} ended with status {run.status} in gem5; see {folder}/gem5.log.")
        output = [json.dumps(line) for line in run.json_lines]
        return {"ticks": run.ticks, "host_s": run.host_s, "folder": str(folder), "program_output": output}

    record = run_or_load(out, point, system, gem5, simulate)
    return [json.loads(line) for line in record["program_output"]]


def latencies(gem5: Gem5, system: System, kernels: Path, out: Path) -> Iterator[dict[str, Any]]:
    """Load-to-use latencies of a pointer chase on one O3 core, beside those of the system file: rows with
    `level`, `footprint_bytes`, `gem5_ns`, `published_ns` and `error`."""
    clock = system.cores.clock.si
    levels = (
        ("L1", 1 << 15, system.l1d.latency.value / clock),
        ("L2", 1 << 19, system.l2.latency.value / clock),
        ("LLC", 1 << 24, system.llc.latency.si),
        ("DRAM", 1 << 26, system.memory.latency.si),
    )
    for level, footprint, published in levels:
        options = ["--min", str(footprint), "--max", str(footprint), "--loads", "4000"]
        measured = float(
            run_program(gem5, system, kernels, "pointer_chase", options, 1, out)[-1]["ns_per_load"]
        )
        yield {
            "level": level,
            "footprint_bytes": footprint,
            "gem5_ns": round(measured, 3),
            "published_ns": round(published * 1e9, 3),
            "error": round(measured / (published * 1e9) - 1, 4),
        }


def bandwidths(gem5: Gem5, system: System, kernels: Path, out: Path) -> Iterator[dict[str, Any]]:
    """Bandwidth of O3 cores beside what is published: one row for the L2, and one for each kind and number of
    threads from DRAM, where all cores' belongs to `CORES` in part; None: nothing is published."""
    parts = system.cores.count.whole / CORES
    published = {(kind, CORES): whole.si / parts for kind, whole in PUBLISHED.items()}
    l2 = system.l2.bandwidth.value * system.cores.clock.si
    runs = [("L2", system, 1, L2_FOOTPRINT, "read")]
    runs += [("DRAM", scaled(system), threads, size, "all") for threads, size in BANDWIDTH_RUNS]
    for level, machine, threads, size, kind in runs:
        options = ["--bytes", str(size), "--threads", str(threads), "--kind", kind]
        options += ["--repeats", "2", "--check", "512"]
        for line in run_program(gem5, machine, kernels, "bandwidth", options, threads, out):
            known = l2 if level == "L2" else published.get((line["kind"], threads))
            # The last pass begins with the caches as a pass leaves them: dirty lines are paid for.
            rate = line["bytes"] / line["last_ns"]
            yield {
                "level": level,
                "kind": line["kind"],
                "threads": threads,
                "array_bytes": int(line["array_bytes"]),
                "gem5_gb_s": round(rate, 2),
                "published_gb_s": None if known is None else round(known / 1e9, 2),
                "error": None if known is None else round(rate * 1e9 / known - 1, 4),
            }


def kernel_rates(gem5: Gem5, system: System, kernels: Path, out: Path) -> Iterator[dict[str, Any]]:
    """Cycles per multiply-accumulate of the NEON kernels: with weights in the L2 (batch 1 and 4, one thread
    and four), the best product after the first; and with weights from DRAM, on the caches of `scaled`."""
    small = scaled(system)
    for fmt, outputs in STREAMED_OUTPUTS.items():
        cases = [
            ("L2", system, 1024, 256, 1, 1),
            ("L2", system, 1024, 256, 4, 1),
            ("L2", system, 1024, 1024, 1, 4),
            *(("DRAM", small, 4096, outputs, 1, threads) for threads in (1, 4)),
        ]
        for place, machine, k, n, batch, threads in cases:
            options = ["--format", fmt, "--k", str(k), "--n", str(n), "--batch", str(batch)]
            options += ["--threads", str(threads), "--check", "4", "--repeats", "3" if place == "L2" else "2"]
            (line,) = run_program(gem5, machine, kernels, "neon_gemv", options, threads, out)
            cycles = line["best_ns"] * 1e-9 * system.cores.clock.si * threads / line["macs"]
            shape = {"format": fmt, "k": k, "n": n, "batch": batch, "threads": threads, "weights_in": place}
            done = {"macs": int(line["macs"]), "ns": int(line["best_ns"])}
            yield {**shape, **done, "cycles_per_mac": round(cycles, 4)}


def streams(
    gem5: Gem5, system: System, out: Path, cases: Sequence[Case] = STREAMS
) -> Iterator[dict[str, Any]]:
    """Bandwidth of units that wait for nothing but weights, in gem5 and as the engine shares it.

    Every unit has a tile of 384 outputs of 8 bits, which the arrays work on four times as fast as one unit's
    lines come. The units' bandwidth is all weights over the time of the slowest. `engine_gb_s` has the share
    of the peak that is measured on a real machine, `closed_gb_s` all but refreshes, as gem5's DRAM.
    """
    pim, random = system.require_pim(), np.random.default_rng(3)
    out.mkdir(parents=True, exist_ok=True)
    for units, count, each, times in cases:
        k = 1024 if units == 1 else 512
        trace = out / f"streams-{units}.trace"
        write_trace(trace, [random_tile(random, DrawnTile(k, 384, 1, 8, 8, 4)) for _ in range(units)])
        words = ["--streams", f"{count}:{each or 1.0}:{times}"]
        folder = out / f"streams-{units}-{count}-{each:g}-{times}"
        run = gem5.replay(system, trace, folder, units=units, extra=words)
        slowest = max(row["cycles"] for row in run.tiles()) / pim.clock.si
        rate = units * k * 384 / slowest
        beside = sum(v for name, v in run.stats.items() if "streams" in name and name.endswith("bytesRead"))
        engine = shared_bandwidth(system, units, count, each, system.memory.read_share.value, times)[0]
        closed = shared_bandwidth(system, units, count, each, times=times)[0]
        yield {
            "units": units,
            "streams": count,
            "stream_gb_s": each,
            "times": times,
            "gem5_gb_s": round(rate / 1e9, 2),
            "gem5_beside_gb_s": round(beside / run.ticks * 1e3, 2),
            "engine_gb_s": round(engine / 1e9, 2),
            "error": round(engine / rate - 1, 4),
            "closed_gb_s": round(closed / 1e9, 2),
            "closed_error": round(closed / rate - 1, 4),
        }


SAME = ("model", "weights", "batch", "context", "threads", "cache")
"""What runs of one step have in common."""


def steps(runs: Sequence[Row]) -> Iterator[dict[str, str]]:
    """A row for each step that units ran by a model or its first blocks: megacycles of the cores for a token
    of the whole model by who made the products, how many times as fast each machine's units are as NEON, and
    how far off the engine is of their step, in brackets on gem5's DRAM. Most threads come first; of runs of
    more and fewer blocks the one of most counts, and of attention on cores and units that on units."""
    ran: dict[tuple[Any, ...], dict[str, Row]] = {}
    for run in sorted(runs, key=lambda run: (run["attention"], run["blocks"] or inf)):
        kind = run["system"] if run["linears"] == "lutmm" else run["linears"]
        ran.setdefault(tuple(run[name] for name in SAME), {})[kind] = run
    ran = {step: kinds for step, kinds in ran.items() if set(kinds) - {"neon", "lut"}}
    order = list(dict.fromkeys(model for model, *_ in ran))

    def place(step: tuple[Any, ...]) -> tuple[Any, ...]:
        model, weights, batch, context, threads, cache = step
        return -threads, order.index(model), weights, cache, context, batch

    for step in sorted(ran, key=place):
        kinds = ran[step]
        mega = {kind: sum(whole_step(run).values()) / 1e6 for kind, run in kinds.items()}
        first = next(iter(kinds.values()))
        row: dict[str, str] = {
            "model": shape(first),
            "weights": first["weights"],
            "batch, context": f"{first['batch']}, {first['context']}",
            "threads": str(first["threads"]),
            "cache": first["cache"],
            **{kind: f"{mega[kind]:.2f}" if kind in mega else "-" for kind in ("neon", "lut")},
        }
        for machine in (MACHINE, "sail-next"):
            own, of = mega.get(machine, 0.0), kinds.get(machine, {})
            off = [f"{of[name] / 1e6 / own - 1:+.1%}" for name in ENGINES] if own else []
            row |= {
                machine: f"{own:.2f}" if own else "-",
                f"{machine}, x": f"{mega['neon'] / own:.2f}x" if own and "neon" in mega else "-",
                f"{machine}, engine": f"{off[0]} ({off[1]})" if own else "-",
            }
        yield row


def attending(runs: Sequence[Row]) -> Iterator[dict[str, str]]:
    """What rotation and attention of a block take one thread; of runs that attend alike, of the first."""
    found: dict[tuple[Any, ...], float] = {}
    for run in runs:
        if run["threads"] == 1 and run["blocks"] == 1:
            attends = shape(run), run["batch"], run["context"], run["attention"], run["cache"]
            found.setdefault(attends, run["rope_cycles"] + run["attention_cycles"])
    for attends, cycles in sorted(found.items()):
        names = ("model", "batch", "context", "attention", "cache")
        yield dict(zip(names, map(str, attends), strict=True)) | {"kilocycles": f"{cycles / 1e3:,.0f}"}


def parts(runs: Sequence[Row]) -> Iterator[dict[str, str]]:
    """Kilocycles of what the machine `HOST` is fitted to, gem5's and the engine's of it."""
    machine = load_system(HOST)
    for run, (spec, point) in zip(runs, asked(runs), strict=True):
        said = predicted(machine, run, spec, point)
        for part, cycles in measured(run).items():
            engine = said[part] * machine.cores.clock.si
            yield {
                "model": f"{shape(run)} {run['weights']}",
                "blocks": str(run["blocks"] or "all"),
                "batch": str(run["batch"]),
                "context": str(run["context"]),
                "threads": str(run["threads"]),
                "part": part,
                "gem5": f"{cycles / 1e3:,.0f}",
                "engine": f"{engine / 1e3:,.0f}",
                "engine over gem5": f"{engine / cycles:.2f}",
                "of gem5's step": f"{cycles / run['step_cycles']:.1%}" if part in FITTED else "-",
            }


def origin(gem5: Gem5, build: str, options: str) -> dict[str, str]:
    """What a committed measurement says of where it comes from."""
    code = commit()
    return {
        "commit": "no checkout"
        if code is None
        else code["id"][:12] + " with changes" * bool(code["changed"]),
        "date": datetime.now(UTC).date().isoformat(),
        "gem5_sha256": gem5.digest[:16],
        "build": build or "not stated",
        "options": options,
    }


KERNELS_HEAD = f"""\
# Cycles per multiply-accumulate, of a thread, of our NEON kernels (workloads/kernels/gemv) on O3 cores of
# {MACHINE} in gem5, without PIM units. weights_in L2: the best product after the first. DRAM: on caches so
# small (research/fits/gem5_data.py) that 0.75 MB of weights come from memory. The core model is
# calibrated on load latencies only: these are rates of the model, not measurements of a Neoverse N1."""


def kernels_csv(rows: Sequence[Mapping[str, Any]], version: str, run: Mapping[str, str]) -> str:
    """Rows of `kernel_rates`, each with what it rests on."""
    source = {
        "kind": "fitted",
        "gem5_version": version,
        "date": run["date"],
        "commit": run["commit"].split()[0][:7],
        "options": run["options"],
    }
    lines = [KERNELS_HEAD, ",".join([*rows[0], *source])]
    lines += [",".join(str(value) for value in {**row, **source}.values()) for row in rows]
    return "\n".join(lines) + "\n"


@click.command()
@click.argument("what", type=click.Choice(("validation", "dram", "kernels", "decode", "engine")))
@click.option("--build", default="", help="How gem5 was built, in words.")
@click.option("--seed", default=3, help="Of the tiles of `validation`.")
@click.option("--tiles", default=204, help="Of `validation`.")
@click.option("--kernels", type=click.Path(path_type=Path), default=Path("build/kernels"))
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/gem5-data"))
@click.option("--data", type=click.Path(path_type=Path), default=DATA, help="Where the file is written.")
def main(what: str, build: str, seed: int, tiles: int, kernels: Path, out: Path, data: Path) -> None:
    """Make one of the committed files; `engine`: the engine's steps beside `decode`'s, without gem5."""
    content: dict[str, Any]
    if what == "engine":
        runs = (row for row in read_records(data / TABLE)["rows"] if row.get("step_cycles"))
        told = [with_engine(row) for row in runs if row["linears"] == "lutmm"]
        cycles = {name: [row[name] for row in told] for name in ENGINES}
        write_whole(data / ENGINE, to_lines({"machine": HOST, **cycles}).encode())
        tables = {
            "": steps(every_row()),
            "-the-engine-beside-it": parts(host_rows()),
            "-attention": attending(every_row()),
        }
        for name, rows_of in tables.items():
            path = DOCS / f"gem5-decode{name}.csv"
            pd.DataFrame(rows_of).to_csv(path, index=False, lineterminator="\n")
        return
    gem5, system = Gem5(), load_system(MACHINE)
    run = origin(gem5, build, f"python research/fits/gem5_data.py {what}")
    if what == "validation":
        run["options"] += f" --seed {seed} --tiles {tiles}"
        compared = validate(gem5, MACHINE, system, out, seed=seed, tiles=tiles, tell=click.echo)
        content = {
            "run": run,
            "gem5_version": gem5.version,
            "gem5_compiled": gem5.compiled,
            "system": MACHINE,
            "seed": seed,
            "summaries": summaries(compared),
            "tiles": compared,
            "latencies": list(latencies(gem5, system, kernels, out)),
            "bandwidths": list(bandwidths(gem5, system, kernels, out)),
        }
    elif what == "dram":
        rows = list(streams(gem5, system, out / "dram"))
        content = {"run": {"gem5_version": gem5.version, "system": MACHINE, **run}, "rows": rows}
    elif what == "decode":  # each run with its own options, without where it lay
        rows = [
            {name: value for name, value in row.items() if value is not None}
            | {"model": Path(row["model"]).name, "folder": None}
            for row in Store(out).records()
            if row["command"] == DECODE
        ]
        content = {"run": {"gem5": gem5.version, **run}, "rows": rows}
    else:
        rows = list(kernel_rates(gem5, system, kernels, out))
        write_whole(data / "gem5_kernels.csv", kernels_csv(rows, gem5.version, run).encode())
        return
    write_whole(data / "gem5" / f"{what}.jsonl", to_lines(content).encode())


if __name__ == "__main__":
    main()
