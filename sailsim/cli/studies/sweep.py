"""`sailsim sweep`: many points, in parallel, into a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from sailsim.analysis.runs.runs import runners
from sailsim.analysis.studies.sweep_study import sweep_into
from sailsim.base.errors import SailsimError
from sailsim.base.hints import program
from sailsim.cli.common.command import Command
from sailsim.cli.common.json_output import answered, as_json_option
from sailsim.cli.common.path_option import TEXT, PathOption
from sailsim.cli.common.point_options import NAMES, NUMBERS, against_option, point_options, types_of
from sailsim.cli.common.study_options import study_options
from sailsim.cli.common.table import echo, print_table, say
from sailsim.sim.machine.catalog import Value
from sailsim.sim.machine.pim import AUTO, PER_TENSOR
from sailsim.sim.machine.ranges import parse_numbers, parse_values, split_list
from sailsim.sim.study.plan import PLANS, Plan, plan_of, read_plan
from sailsim.sim.study.store import Store
from sailsim.sim.study.workers import Workers

SWITCH = {"on": True, "off": False}


@click.command(cls=Command)
@click.option(
    "--plan",
    "file",
    type=PathOption(dir_okay=False),
    help=f"A plan in place of these options, a TOML file or a shipped one: {', '.join(PLANS.names)}.",
)
@point_options(type=TEXT, multiple=True)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUES",
    help="Values of any field of a point, of a system file, or of an operation of a substrate, as in "
    "prt=on,off or llc.slices=16,32 or row_dfm:add=2:4. Repeatable.",
)
@against_option
@click.option("--out", type=PathOption(file_okay=False), help="The folder of results.")
@click.option("--dry-run", is_flag=True, help="Count the points and print them; run and store nothing.")
@study_options(1)
@as_json_option
def sweep(
    file: Path | None, settings: tuple[str, ...], against: tuple[Path, ...], out: Path | None,
    dry_run: bool, jobs: int | Workers, **fields: tuple[str, ...],
) -> None:  # fmt: skip
    """Simulate every combination of the given values, or the points of a plan.

    Every option is a list, as in 1,8,32 or 2:8 or 2:8:2, and can be repeated. SAIL, the same server's cores,
    every GPU and every --against run every point. Each result is stored at once: the same command continues
    where a stopped one ended.
    """
    given = {name: ",".join(texts) for name, texts in fields.items() if texts}
    config: dict[str, Any] = {**given, "set": list(settings), "against": [str(path) for path in against]}
    if file is None:
        plan = plan_of(_grid(given, settings))
    else:
        plan, text = _planned(file, given, settings)
        config = {"plan": {"file": str(file), "text": text}, **config}
    points = plan.points
    if dry_run:
        _show(list(plan.combinations.values()))
        return
    if out is None:
        raise SailsimError("out is not given; allowed is a folder, or --dry-run.")
    # One point for each choice of weights; this refuses unknown formats before anything is written.
    by_weights = {(p.model, p.weights, p.wbits, p.group_size): p for p in points}
    types = dict.fromkeys(map(types_of, by_weights.values()))
    store = sweep_into(points, out, runners([*plan.against, *against]), jobs, config)
    manifest, verdict = store.manifest, _verdict(store)
    state = {name: manifest[name] for name in ("held_before", "state", "wall_s")}
    if answered({"out": out, "points": len(points), **state, "verdict": verdict}):
        return
    for line in types:
        say(line)
    before, wall_s = state["held_before"], state["wall_s"]
    say(f"{len(points)} points in {out}, {before} of them from before, {wall_s:.1f} s.")
    for sentence in verdict.get("sentences", []):
        say(sentence)
    echo(f"Next: {program()} report {out}")


def _verdict(store: Store) -> dict[str, Any]:
    """Verdict on the runs in a folder; empty if none could be run."""
    from sailsim.analysis.studies.result_folder import ResultFolder  # frames, which sweeping does without

    with suppress(SailsimError):
        return ResultFolder(store.path).runs().verdict()
    return {}


def _planned(file: Path, given: Mapping[str, str], settings: Sequence[str]) -> tuple[Plan, str]:
    """Plan of a file with the activations of the options, and its text. Raises SailsimError for other
    options."""
    refused = [f"--{name.replace('_', '-')}" for name in given if name != "activations"]
    refused += ["--set"] * bool(settings)
    if refused:
        raise SailsimError(f"{refused[0]} is given with --plan {file}; allowed with it is --activations.")
    plan, text = read_plan(file)
    return plan.fixing(given), text


def _grid(given: Mapping[str, str], settings: Sequence[str]) -> dict[str, Any]:
    """Values by field, from the options and `--set`. Raises SailsimError for a field that is given twice."""
    grid = {name: _values(name, text) for name, text in given.items()}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or not name:
            raise SailsimError(f"set is {setting!r}; allowed is FIELD=VALUES, such as llc.slices=16,32.")
        if name in grid:
            raise SailsimError(f"{name} is given twice; allowed is once.")
        grid[name] = _values(name, text)
    return grid


def _values(name: str, text: str) -> list[Value]:
    if name in NUMBERS:
        return list(parse_numbers(name, text, {AUTO: PER_TENSOR} if name == "nbw" else None))
    if name in NAMES:
        return list(split_list(text))
    return parse_values(name, text, SWITCH if name in ("prt", "beyond_limit", "overlap") else None)


def _show(combinations: Sequence[Mapping[str, Value]]) -> None:
    if answered({"points": combinations}):
        return
    names = list(dict.fromkeys(name for each in combinations for name in each))
    print_table([{name: each.get(name) for name in names} for each in combinations], names)
    echo(f"{len(combinations)} points.")
