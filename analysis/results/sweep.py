"""Many points by every runner, kept in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sailsim.analysis.baselines.runners import Runner, identity
from sailsim.analysis.baselines.runners import runners as shipped
from sailsim.analysis.results.folder import Results
from sailsim.analysis.results.runs import evaluate
from sailsim.sim import Point, Store, run_sweep
from sailsim.sim.study import Workers


def sweep(
    points: Iterable[Point], out: str | Path, runners: Sequence[Runner] | None = None, jobs: int | Workers = 1
) -> Results:
    """Run every point that the folder does not hold yet, by every runner, and give the folder's results.

    Args:
        points: what to run; `sailsim.sim.expand` makes them from lists of values.
        out: the folder; the same call again goes on where a stopped one ended.
        runners: those that ship where it is None; `sailsim.analysis.runners` reads files of others.
        jobs: processes of this machine, or workers (`sailsim.sim.study.cluster`).

    Raises SailsimError as `run_sweep`.
    """
    return Results(sweep_into(points, out, runners, jobs).path)


def sweep_into(
    points: Iterable[Point],
    out: str | Path,
    runners: Sequence[Runner] | None = None,
    jobs: int | Workers = 1,
    config: Mapping[str, Any] | None = None,
) -> Store:
    """As `sweep`, with ``config`` for the folder's manifest; returns the store."""
    who = shipped() if runners is None else runners
    return run_sweep(
        points, partial(evaluate, runners=who), out, jobs=jobs, config=config, inputs=identity(who)
    )
