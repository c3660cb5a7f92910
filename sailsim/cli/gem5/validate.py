"""`sailsim gem5 validate`: the fast engine against gem5, tile by tile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from sailsim.base.atomic import to_lines, write_whole
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._table import echo, print_table, say
from sailsim.cli.gem5.group import gem5
from sailsim.cli.gem5.options import (
    as_json_option,
    with_build,
    with_gem5,
    with_out,
    with_system,
    with_timeout,
    with_write,
)
from sailsim.cli.gem5.records import digest_of, provenance_of, seen_by, telling
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.measure import measure_bandwidth
from sailsim.sim.gem5.records import run_or_load
from sailsim.sim.gem5.streams import measure_latencies
from sailsim.sim.gem5.validation import ALONE, SUBSTRATES, UNITS, Comparison, Load, compare, summarise
from sailsim.sim.study.folder import Store
from sailsim.sim.system import System

OFFSETS = (0, 1 << 20)
"""Where readers begin, in bytes: their rows lie in one half of gem5's banks and in the other."""


@gem5.command()
@with_gem5
@with_system
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=1,
    show_default=True,
    help="Of the tiles, which are drawn at random.",
)
@click.option(
    "--tiles",
    type=click.IntRange(1, 10_000),
    default=204,
    show_default=True,
    help="That are drawn; a third of them for other substrates and for units that are not alone.",
)
@click.option(
    "--streams",
    type=click.IntRange(1, 64),
    default=16,
    show_default=True,
    help="Readers in the later comparisons.",
)
@click.option(
    "--together",
    type=click.IntRange(1, UNITS),
    default=5,
    show_default=True,
    help="Units that work at the same time in the last comparisons, beside the same readers.",
)
@click.option(
    "--kernels",
    type=PathOption(file_okay=False),
    help="Folder of the AArch64 programs: measures latencies and bandwidths too (ten minutes).",
)
@with_build
@with_write
@with_out
@with_timeout
@as_json_option
def validate(
    binary: str | None,
    machine: str,
    seed: int,
    tiles: int,
    streams: int,
    together: int,
    kernels: Path | None,
    build: str,
    write: Path | None,
    out: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Compare gem5's PIM unit with the core and the fast engine, and memory with what is published.

    The engine's cycles are those of `time_tile`, memory "dram", less descriptor and record.

    Parts that the folder holds are not run again. Exit status 1: a result or a phase differs.
    """
    system = load_system(machine)
    runs = _Runs(Gem5(binary), machine, system, out, timeout)
    own = str(system.require_pim().substrate.value)
    alone = [(substrate, ALONE) for substrate in dict.fromkeys((own, *SUBSTRATES))]
    beside = [(own, Load(units, streams, stream_offset=at)) for units in (1, together) for at in OFFSETS]
    beside.append((own, Load(together)))
    compared: list[Comparison] = []
    latencies: list[dict[str, Any]] = []
    bandwidths: list[dict[str, Any]] = []
    with telling() as tell:
        for substrate, load in dict.fromkeys([*alone, *beside]):
            tell(f"tiles on {substrate}, {load}")
            most = (substrate, load) == (own, ALONE)
            compared += runs.compared(substrate, load, seed, tiles if most else -(-tiles // 3))
        if kernels:
            tell("load latencies")
            latencies = runs.latencies(kernels)
            tell("bandwidths")
            bandwidths = measure_bandwidth(runs.simulator, system, kernels, out, timeout, ran=seen_by(tell))
    options = f"sailsim gem5 validate --system {machine} --seed {seed} --tiles {tiles} --streams {streams}"
    options += f" --together {together}"
    options += " --kernels build/kernels" if kernels else ""
    found = {
        "run": provenance_of(runs.simulator, build, options),
        "gem5_version": runs.simulator.version,
        "gem5_compiled": runs.simulator.compiled,
        "system": machine,
        "seed": seed,
        "summaries": [
            {"load": str(load), **asdict(summarise([each for each in compared if each.load == load]))}
            for load in dict.fromkeys(each.load for each in compared)
        ],
        "tiles": [comparison.as_dict() for comparison in compared],
        "latencies": latencies,
        "bandwidths": bandwidths,
    }
    if write:
        write_whole(write, to_lines(found).encode())
    if as_json:
        print_json(found)
    else:
        _print_tiles(compared)
        _print_validation(found)
    if not all(each.correct and each.phases_equal for each in compared):
        raise click.exceptions.Exit(1)


@dataclass(frozen=True)
class _Runs:
    """What is compared on one machine, from the store of a folder where it was before."""

    simulator: Gem5
    machine: str
    system: System
    out: Path
    timeout: float

    def compared(self, substrate: str, load: Load, seed: int, count: int) -> list[Comparison]:
        """The tiles of a draw on one substrate."""
        drawn = {"seed": seed, "tiles": count}
        point = {
            "command": "validate",
            "system": self.machine,
            "substrate": substrate,
            **drawn,
            **asdict(load),
        }

        def simulate() -> dict[str, Any]:
            found = compare(
                self.simulator,
                self.system,
                self.out / "validate",
                seed=seed,
                count=count,
                substrates=(substrate,),
                load=load,
                timeout_s=self.timeout,
            )
            return {"comparisons": [json.dumps(asdict(comparison)) for comparison in found]}

        record = run_or_load(Store(self.out), point, self.system, self.simulator, simulate)
        rows = [json.loads(text) for text in record["comparisons"]]
        return [Comparison(**row | {"load": load}) for row in rows]

    def latencies(self, kernels: Path) -> list[dict[str, Any]]:
        """The rows of `measure_latencies`."""
        point = {
            "command": "latencies",
            "system": self.machine,
            "content": digest_of(str(kernels / "pointer_chase")),
        }

        def simulate() -> dict[str, Any]:
            folder = self.out / "validate"
            rows = measure_latencies(self.simulator, self.system, kernels, folder, self.timeout)
            return {"latencies": [json.dumps(row) for row in rows]}

        record = run_or_load(Store(self.out), point, self.system, self.simulator, simulate)
        return [json.loads(text) for text in record["latencies"]]


def _print_tiles(compared: Sequence[Comparison]) -> None:
    """A table for each substrate and load."""
    for substrate, load in dict.fromkeys((each.substrate, each.load) for each in compared):
        tiles = [
            {
                "tile": each.tile,
                "phases": "equal" if each.phases_equal else "DIFFER",
                "gem5": f"{each.gem5_cycles:,}",
                "engine": f"{each.engine_cycles:,.0f}",
                "error": f"{each.error:.1%}",
            }
            for each in compared
            if (each.substrate, each.load) == (substrate, load)
        ]
        echo(f"{substrate}, {load}, cycles")
        print_table(tiles, list(tiles[0]), whole=("tile",), numbers=("gem5", "engine", "error"))


def _print_validation(found: dict[str, Any]) -> None:
    echo(f"gem5 {found['gem5_version']}, {found['system']}, tiles drawn with seed {found['seed']}")
    for part in found["summaries"]:
        say(
            f"{part['load']}: {part['tiles']} tiles, median error {part['median_error']:.1%}, worst "
            f"{part['worst_error']:.1%} ({part['worst_tile']})"
        )
    for row in found["latencies"]:
        say(
            f"{row['level']:5} gem5 {row['gem5_ns']:6.2f} ns, published {row['published_ns']:6.2f} ns, "
            f"error {row['error']:6.1%}"
        )
    for row in found["bandwidths"]:
        if row["published_gb_s"] is None:
            beside = "nothing published"
        else:
            beside = f"published {row['published_gb_s']:6.1f} GB/s, error {row['error']:6.1%}"
        measured = f"{row['kind']:5} by {row['threads']:2d} threads: gem5 {row['gem5_gb_s']:6.1f} GB/s"
        say(f"{row['level']:5} {measured}, {beside}", " " * 6)
