"""`sailsim plan`: what a sweep will be, before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sailsim.analysis import runners
from sailsim.analysis.results.plan_check import PlanCheck, Reasons, check_plan
from sailsim.cli._command import Group
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._plan import asked, plan_options
from sailsim.cli._table import echo, print_wide, say, wide_option
from sailsim.sim import Plan
from sailsim.sim.plan.axis import Axis
from sailsim.sim.vary import Value

SHOWN = 8
"""Values of an axis, at most, that `check` prints."""
ROWS = 20
"""Points that `show` prints, where nothing else is said."""


@click.group(cls=Group)
def plan() -> None:
    """Count and show the points of a plan, and say what they will take."""


@plan.command()
@click.argument("file", type=PathOption(dir_okay=False), required=False)
@plan_options
@click.option("--out", type=PathOption(file_okay=False), help="The folder that the sweep will have.")
@click.option(
    "--jobs", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes that it will have."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    file: Path | None,
    preset: str | None,
    prt: str | None,
    axes: tuple[str, ...],
    constraints: tuple[str, ...],
    beside: tuple[Path, ...],
    out: Path | None,
    jobs: int,
    as_json: bool,
    **fields: tuple[str, ...],
) -> None:
    """Count the points of plan FILE, or of the options of a sweep; say what is there, refused and idle.

    Predicts the time from the folder's points, and from a few that it runs where there are none; nothing is
    stored.
    """
    given = asked(file, preset, prt, axes, constraints, beside, fields)
    found = check_plan(given.plan, given.plan.points, runners(given.beside), out, jobs)
    if as_json:
        print_json(_record(given.plan, found))
        return
    for line in (*_counted(given.plan), *_doubtful(found), *_taken(found, out, jobs)):
        say(line, " " * (len(line) - len(line.lstrip()) + 2))


@plan.command()
@click.argument("file", type=PathOption(dir_okay=False), required=False)
@plan_options
@click.option("--rows", type=click.IntRange(min=1), default=ROWS, show_default=True, help="Points to print.")
@wide_option
@click.option("--json", "as_json", is_flag=True, help="Print all as JSON.")
def show(
    file: Path | None,
    preset: str | None,
    prt: str | None,
    axes: tuple[str, ...],
    constraints: tuple[str, ...],
    beside: tuple[Path, ...],
    rows: int,
    wide: bool,
    as_json: bool,
    **fields: tuple[str, ...],
) -> None:
    """Print the points of plan FILE, or of the options of a sweep, each with what the plan says of it."""
    given = asked(file, preset, prt, axes, constraints, beside, fields)
    combinations = list(given.plan.drawn.combinations.values())
    if as_json:
        print_json({"points": combinations})
        return
    names = list(dict.fromkeys(name for each in combinations[:rows] for name in each))
    shown = [{name: _word(each.get(name, "-")) for name in names} for each in combinations[:rows]]
    numbers = [name for name in names if all(_is_number(each.get(name)) for each in combinations[:rows])]
    print_wide(shown, names, wide, numbers)
    if len(combinations) > rows:
        echo(f"{len(combinations)} points; {rows} are shown (--rows).")


def _counted(plan: Plan) -> Iterator[str]:
    """How many points, and of what."""
    drawn = plan.drawn
    tried = f" of {drawn.tried} combinations" if drawn.tried != len(drawn.points) else ""
    yield f"{plan.file or 'The options'}: {len(drawn.points)} points{tried}"
    for number, part in enumerate(plan.parts, 1):
        if len(plan.parts) > 1:
            yield f" part {number}"
        for axis in part.axes:
            yield f"  {axis.name}: {_values(axis)}"
        if part.sample is not None:
            yield f"  sample: {part.sample.points} points by {part.sample.method}, seed {part.sample.seed}"
    for text, count in drawn.left_out.items():
        yield f"  {text}: leaves out {count}"
    if drawn.repeated:
        yield f"  {drawn.repeated} of the combinations are a point that is there already"
    if drawn.short:
        yield (
            f"  {drawn.short} points fewer than the sample asks for: {drawn.tried} combinations have no more "
            "that differ and keep to the constraints"
        )


def _values(axis: Axis) -> str:
    """An axis's values, or as many as have room."""
    if axis.span is not None:
        kind = " whole" if axis.span.whole else ""
        return f"all{kind} numbers {axis.span.low} to {axis.span.high}{' by logarithm' * axis.span.log}"
    shown = [" with ".join(map(_word, row)) for row in axis.rows]
    more = f", ... {shown[-1]}" if len(shown) > SHOWN else ""
    listed = ", ".join(shown[: SHOWN - 1] if more else shown)
    return f"{len(shown)} {'value' if len(shown) == 1 else 'values'}, {listed}{more}"


def _doubtful(found: PlanCheck) -> Iterator[str]:
    """What is refused, held by nobody, or without an effect."""
    if found.impossible.points:
        yield (
            f"The sweep would not begin: {_points(found.impossible)} cannot be ({found.impossible.first}) "
            "A constraint can leave them out."
        )
    if found.refused.points:
        yield f"Refused: {_points(found.refused)} ({found.refused.first})"
    if found.nowhere.points:
        yield f"Held by no machine: {_points(found.nowhere)} ({found.nowhere.first})"
    alike: dict[tuple[int, str], list[str]] = {}
    for name, reasons in found.unfit.items():
        alike.setdefault((reasons.points, reasons.first), []).append(name)
    for (points, first), names in alike.items():
        who = f"{', '.join(names)} {'does' if len(names) == 1 else 'do'}"
        yield f"{who} not hold {_points(Reasons(points))} ({first.rstrip('.')})"
    for name in found.single:
        yield f"Note: {name} has one value."
    for name in found.tried.idle:
        yield f"Note: {name} changes no number at the plan's middle point; no runner may read it there."


def _points(reasons: Reasons) -> str:
    return f"{reasons.points} point{'s' * (reasons.points != 1)}"


def _taken(found: PlanCheck, out: Path | None, jobs: int) -> Iterator[str]:
    """Time and room, as far as they are known."""
    if out is not None:
        yield f"{out} holds {found.held} of them."
    yield f"{found.to_run} to run."
    if found.to_run == 0 or found.seconds is None or found.seconds_a_point is None:
        return
    basis = (
        f"as the nearest of {found.known} stored points took"
        if found.known
        else f"as {len(found.tried.seconds)} took that were run now, since no time is stored"
    )
    yield (
        f"About {found.seconds:.1f} s by {jobs} process{'es' * (jobs > 1)}: {found.seconds_a_point:.3f} s a "
        f"point, {basis}."
    )
    yield (
        f"About {found.bytes_to_store / 1e6:.2f} MB on disk, and {found.memory_bytes / 1e6:.0f} MB of memory."
    )


def _record(plan: Plan, found: PlanCheck) -> dict[str, Any]:
    drawn = plan.drawn
    own = {name: value for name, value in asdict(found).items() if name != "tried"}
    return own | {
        "to_run": found.to_run,
        "combinations": drawn.tried,
        "left_out": drawn.left_out,
        "repeated": drawn.repeated,
        "short": drawn.short,
        "axes": [{"fields": list(axis.names), "values": len(axis.rows) or None} for axis in plan.axes],
        "run_now": len(found.tried.seconds),
        "idle": list(found.tried.idle),
    }


def _is_number(value: Value | None) -> bool:
    return isinstance(value, int | float | None) and not isinstance(value, bool)


def _word(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
