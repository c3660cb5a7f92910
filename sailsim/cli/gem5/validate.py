"""`sailsim gem5 validate`: the fast engine against gem5, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._table import echo, print_table, say
from sailsim.cli.gem5.options import gem5, telling, with_run
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.validation import UNITS, Comparison, Validation, summaries


@gem5.command()
@with_run()
@click.argument("trace", required=False, type=PathOption(exists=True, dir_okay=False))
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
    help="Readers beside drawn tiles in the later comparisons.",
)
@click.option(
    "--together",
    type=click.IntRange(1, UNITS),
    default=5,
    show_default=True,
    help="Units that work at the same time in the last comparisons.",
)
def validate(
    binary: str | None,
    machine: str,
    trace: Path | None,
    seed: int,
    tiles: int,
    streams: int,
    together: int,
    out: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Compare gem5's PIM unit with the core and the fast engine: on tiles drawn at random, or those of TRACE.

    Drawn ones run on every substrate, alone, beside readers and --together; those of a trace alone and, in
    its order, --together: as many as a matrix has slices are the whole matrix. The engine's cycles are those
    of `time_tile`, memory "dram", less descriptor and record. Parts that the folder holds are not run again.
    `sailsim report` shows them for a folder that has them in gem5/.
    Exit status 1: a result or a phase differs.
    """
    system = load_system(machine)
    simulator = Gem5(binary)
    validation = Validation(machine, system, seed, tiles, streams, together, trace)
    with telling() as tell:
        compared = validation.run(simulator, out, timeout, tell)
    if as_json:
        print_json(
            {
                "gem5_version": simulator.version,
                "gem5_compiled": simulator.compiled,
                "system": machine,
                "seed": None if trace else seed,
                "summaries": [{"load": str(load), **asdict(each)} for load, each in summaries(compared)],
                "tiles": [comparison.as_dict() for comparison in compared],
            }
        )
    else:
        _print(compared)
        source = f"of {trace}" if trace else f"drawn with seed {seed}"
        echo(f"gem5 {simulator.version}, {machine}, tiles {source}")
        for load, each in summaries(compared):
            say(
                f"{load}: {each.tiles} tiles, median error {each.median_error:.1%}, worst "
                f"{each.worst_error:.1%} ({each.worst_tile})"
            )
    if not all(each.correct and each.phases_equal for each in compared):
        raise click.exceptions.Exit(1)


def _print(compared: Sequence[Comparison]) -> None:
    """A table for each substrate and load."""
    for substrate, load in dict.fromkeys((each.substrate, each.load) for each in compared):
        rows = [
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
        print_table(rows, list(rows[0]), whole=("tile",), numbers=("gem5", "engine", "error"))
