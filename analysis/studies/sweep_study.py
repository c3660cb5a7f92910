"""Sweeps: many points as one study, evaluated by every runner or by any function of a point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from types import NoneType
from typing import TYPE_CHECKING, Any
from weakref import finalize

from sailsim.analysis.runs.runs import RUNNERS, Runner, evaluate, identity
from sailsim.analysis.runs.runs import runners as shipped
from sailsim.base.arguments import PATH_TYPES, check_type, items_of_type
from sailsim.base.errors import ImpossibleMachineError, SailsimError
from sailsim.sim.point import Point, set_fields
from sailsim.sim.study.keys import ResultKeys, point_key
from sailsim.sim.study.open_study import Task, run_study
from sailsim.sim.study.plan import plan_of
from sailsim.sim.study.store import Store
from sailsim.sim.study.workers import Workers

if TYPE_CHECKING:  # frames, which a sweep does without
    from sailsim.analysis.studies.result_folder import ResultFolder

POINTS = "are Points, as sailsim.expand makes them of lists of values"


def sweep(
    points: Iterable[Point] | None = None,
    out: str | Path | None = None,
    runners: Sequence[Runner] | None = None,
    jobs: int | Workers = 1,
    **axes: Any,
) -> ResultFolder:
    """Run every point that the folder does not hold yet, by every runner, and return the folder's results.

    Args:
        points: Points, as `sailsim.expand` makes them; None: every combination of ``axes``.
        out: the folder; the same call again goes on where a stopped one ended. None: a temporary folder,
            which is deleted with the results.
        runners: None for those that ship; `sailsim.runners` reads files of others.
        jobs: processes of this machine, or workers (`sailsim.sim.study.workers.Dask`).
        axes: a value or several of each field that is named, as in ``wbits=range(2, 9)``.

    Raises SailsimError as `run_sweep`, and ArgumentTypeError for an argument of another type.
    """
    from sailsim.analysis.studies.result_folder import ResultFolder

    if points is None:
        points = plan_of(axes).points
    elif axes:
        raise SailsimError(f"points is given with {', '.join(axes)}; allowed is one of the two.")
    points = items_of_type("points", points, Point, POINTS)
    check_type("out", out, (*PATH_TYPES, NoneType), "is the path of a folder")
    runners = None if runners is None else items_of_type("runners", runners, Runner, RUNNERS)
    if not hasattr(jobs, "submit"):
        check_type("jobs", jobs, int, "is a whole number of processes, or workers")
    results = ResultFolder(mkdtemp(prefix="sailsim-") if out is None else out)
    if out is None:
        finalize(results.store, rmtree, results.store.path, ignore_errors=True)
    sweep_into(points, results.store.path, runners, jobs)
    return results


def sweep_into(
    points: Iterable[Point],
    out: str | Path,
    runners: Sequence[Runner] | None = None,
    jobs: int | Workers = 1,
    config: Mapping[str, Any] | None = None,
) -> Store:
    """Run points as `sweep` does, with ``config`` for the folder's manifest, and return the store.

    Fields that the points set in their machines become columns.
    """
    points = tuple(points)
    runners = shipped() if runners is None else runners
    fields = set_fields(points)
    columns = ",".join(f"{name}{' in words' if words else ''}" for name, words in fields.items())
    inputs = ";".join(filter(None, (identity(runners), columns and f"columns={columns}")))
    function = partial(evaluate, runners=runners, fields=fields)
    return run_sweep(points, function, out, jobs=jobs, config=config, inputs=inputs)


def run_sweep(
    points: Iterable[Point],
    evaluate: Callable[[Point], Mapping[str, Any] | Sequence[Mapping[str, Any]]],
    out_dir: str | Path,
    jobs: int | Workers = 1,
    progress: bool = True,
    config: Mapping[str, Any] | None = None,
    inputs: str = "",
) -> Store:
    """Evaluate every point that the folder does not hold yet, and store each result as soon as it is there.

    `evaluate` is a picklable function from a point to one record or several (`Store.append`), or a
    `functools.partial` of one. `inputs` names the other inputs of the records, such as the partial's
    arguments. A point whose key (its inputs' content and the code) is stored already is not run again, so the
    same call goes on where a stopped sweep ended. The folder then gives these points and no others.

    Raises:
        SailsimError: as `run_study`, and where a point's system, model or capture cannot be read (before the
            folder is touched), or changes meanwhile. A point with an impossible machine is listed as refused,
            unless all have one.
    """
    function = getattr(evaluate, "func", evaluate)
    keys = ResultKeys(f"{function.__module__}.{function.__qualname__}", inputs)
    tasks, impossible = [], {}
    for p in points:
        # Points with equal pattern profiles stay together in one worker, which shares their activations.
        near = (p.model, p.batch, p.abits, p.seed, p.activations, p.nbw or 0, p.group_size, p.prt)
        try:
            tasks.append(Task(keys.result(p), point_key(p), p, near))
        except ImpossibleMachineError as error:
            impossible[point_key(p)] = str(error)
    if impossible and not tasks:
        raise ImpossibleMachineError(next(iter(impossible.values())))
    return run_study(
        tasks,
        evaluate if isinstance(jobs, int) else keys.guard(evaluate),
        out_dir,
        refused=impossible,
        jobs=jobs,
        progress=progress,
        config=config,
        changed=keys.changed,
    )
