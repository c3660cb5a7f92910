"""Many points by every runner, kept in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sailsim.analysis.results.folder import Results
from sailsim.analysis.results.runs import RUNNERS, Runner, evaluate, identity
from sailsim.analysis.results.runs import runners as shipped
from sailsim.base.arguments import A_PATH, check_type, items_of
from sailsim.sim.point import Point, set_fields
from sailsim.sim.study.folder import Store
from sailsim.sim.study.workers import Workers
from sailsim.sim.sweep import run_sweep

POINTS = "are Points, as sailsim.expand makes them of lists of values"


def sweep(
    points: Iterable[Point], out: str | Path, runners: Sequence[Runner] | None = None, jobs: int | Workers = 1
) -> Results:
    """Run every point that the folder does not hold yet, by every runner, and give the folder's results.

    Args:
        points: what to run; `sailsim.expand` makes them from lists of values.
        out: the folder; the same call again goes on where a stopped one ended.
        runners: those that ship where it is None; `sailsim.runners` reads files of others.
        jobs: processes of this machine, or workers (`sailsim.sim.study.workers.Dask`).

    Raises SailsimError as `run_sweep`, and ArgumentTypeError for an argument of another type.
    """
    points = items_of("points", points, Point, POINTS)
    check_type("out", out, A_PATH, "is the path of a folder")
    runners = None if runners is None else items_of("runners", runners, Runner, RUNNERS)
    if not hasattr(jobs, "submit"):
        check_type("jobs", jobs, int, "is a whole number of processes, or workers")
    return Results(sweep_into(points, out, runners, jobs).path)


def sweep_into(
    points: Iterable[Point],
    out: str | Path,
    runners: Sequence[Runner] | None = None,
    jobs: int | Workers = 1,
    config: Mapping[str, Any] | None = None,
) -> Store:
    """As `sweep`, with ``config`` for the folder's manifest; returns the store.

    Fields that the points set in their machines become columns.
    """
    points = tuple(points)
    who = shipped() if runners is None else runners
    fields = set_fields(points)
    columns = ",".join(f"{field.name}{' in words' if field.words else ''}" for field in fields)
    return run_sweep(
        points,
        partial(evaluate, runners=who, fields=fields),
        out,
        jobs=jobs,
        config=config,
        inputs=";".join(filter(None, (identity(who), columns and f"columns={columns}"))),
    )
