"""Many points as one study."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sailsim.base.errors import ImpossibleMachineError
from sailsim.sim.keys import Keys, point_key
from sailsim.sim.point import Point
from sailsim.sim.study.folder import Store
from sailsim.sim.study.run import Task, run_study
from sailsim.sim.study.workers import Workers

Record = Mapping[str, Any]
Evaluate = Callable[[Point], Record | Sequence[Record]]


def run_sweep(
    points: Iterable[Point],
    evaluate: Evaluate,
    out_dir: str | Path,
    jobs: int | Workers = 1,
    progress: bool = True,
    config: Mapping[str, Any] | None = None,
    inputs: str = "",
) -> Store:
    """Evaluate every point that the folder does not hold yet; results are stored as they are found.

    `evaluate` is a picklable function from a point to a record or several (`Store.append`), or a
    `functools.partial` of one. `inputs` says what else the records rest on, such as what the partial holds. A
    point whose key (its inputs' content and the code) is stored already is not run again, so the same call
    goes on where a stopped sweep ended. What the folder answers is these points and no others.

    Raises:
        SailsimError: as `run_study`, and where a point's system, model or capture cannot be read (the folder
            is not touched then), or changes meanwhile. A point whose machine there cannot be is listed as
            refused, unless there is no other.
    """
    function = getattr(evaluate, "func", evaluate)
    keys = Keys(f"{function.__module__}.{function.__qualname__}", inputs)
    tasks, impossible = [], {}
    for point in points:
        try:
            tasks.append(Task(keys.result(point), point_key(point), point, _near(point)))
        except ImpossibleMachineError as error:
            impossible[point_key(point)] = str(error)
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


def _near(point: Point) -> tuple[Any, ...]:
    """Neighbours share activations: points with the same pattern profiles stay together in one worker."""
    p = point
    return (p.model, p.batch, p.abits, p.seed, p.activations, p.nbw or 0, p.group_size, p.prt)
