"""`sailsim sweep`: many points, in parallel, into a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from sailsim.analysis.results.runs import runners
from sailsim.analysis.results.sweep import sweep_into
from sailsim.base.errors import SailsimError
from sailsim.base.hints import program
from sailsim.cli._command import Command
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._plan import asked, plan_options
from sailsim.cli._point import types_of_all
from sailsim.cli._study import study_options
from sailsim.cli._table import echo, print_wide, say
from sailsim.sim.files import Value
from sailsim.sim.study.workers import Workers


@click.command(cls=Command)
@click.option(
    "--plan", "file", type=PathOption(dir_okay=False), help="A plan instead of all that, a TOML file."
)
@plan_options
@click.option("--out", type=PathOption(file_okay=False), help="Folder of the results.")
@click.option("--dry-run", is_flag=True, help="Count the points and print them; run and store nothing.")
@study_options(1)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest's summary as JSON.")
def sweep(
    file: Path | None,
    preset: str | None,
    prt: str | None,
    settings: tuple[str, ...],
    beside: tuple[Path, ...],
    out: Path | None,
    dry_run: bool,
    jobs: int | Workers,
    as_json: bool,
    **fields: tuple[str, ...],
) -> None:
    """Simulate every combination of the given values, or the points of a plan.

    Every option is a list, as in 1,8,32 or 2:8 or 2:8:2, and can be given again. SAIL, the same server's
    cores, every card and what --beside adds run every point. Results are stored as they are found: the same
    command again goes on where a stopped one ended.
    """
    plan, also, config = asked(file, preset, prt, settings, beside, fields)
    points = plan.points
    if dry_run:
        _show(list(plan.combinations.values()), as_json)
        return
    if out is None:
        raise SailsimError("out is not given; allowed is a folder, or --dry-run.")
    types = types_of_all(points)  # refuses formats that there are not before anything is written
    manifest = sweep_into(points, out, runners(also), jobs, config).manifest
    if as_json:
        told = {name: manifest[name] for name in ("held_before", "state", "wall_s")}
        print_json({"out": str(out), "points": len(points), **told})
        return
    for line in types:
        say(line)
    say(
        f"{len(points)} points in {out}, {manifest['held_before']} of them from before, "
        f"{manifest['wall_s']:.1f} s."
    )
    echo(f"Next: {program()} report {out}")


def _show(combinations: Sequence[Mapping[str, Value]], as_json: bool) -> None:
    """Print what the points are made of."""
    if as_json:
        print_json({"points": combinations})
        return
    names = list(dict.fromkeys(name for each in combinations for name in each))
    print_wide([{name: each.get(name) for name in names} for each in combinations], names, wide=True)
    echo(f"{len(combinations)} points.")
