"""`sailsim gem5 kernels`: rates of the NEON kernels on gem5's core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sailsim.base.atomic import write_whole
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._table import print_table
from sailsim.cli.gem5.group import gem5
from sailsim.cli.gem5.options import as_json_option, with_gem5, with_out, with_system, with_timeout
from sailsim.cli.gem5.records import provenance_of, seen_by, telling
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.measure import measure_kernels


@gem5.command()
@with_gem5
@with_system
@click.option(
    "--programs",
    type=PathOption(file_okay=False),
    default=Path("build/kernels"),
    show_default=True,
    help="Folder of the AArch64 programs.",
)
@click.option("--write", type=PathOption(dir_okay=False), help="Also write the rows as CSV into this file.")
@with_out
@with_timeout
@as_json_option
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
    with telling() as tell:
        rows = measure_kernels(simulator, system, programs, out, timeout, ran=seen_by(tell))
    if write:
        write_whole(write, kernels_csv(rows, simulator, machine).encode())
    if as_json:
        print_json({"kernels": rows})
        return
    names = ("format", "weights_in", "threads", "batch", "k", "n", "cycles_per_mac")
    print_table(rows, names)


def kernels_csv(rows: list[dict[str, Any]], simulator: Gem5, machine: str) -> str:
    """The rows of `measure_kernels` with what each rests on, as analysis/data/gem5_kernels.csv has them."""
    run = provenance_of(simulator, "", "")
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
# small (sim_ext/sim/gem5/measure.py) that 0.75 MB of weights come from memory. The core model is
# calibrated on load latencies only: these are rates of the model, not measurements of a Neoverse N1."""
