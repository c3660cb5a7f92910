"""Many points: in parallel, stored as they finish, resumable."""

import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sailsim.base.errors import SailsimError
from sailsim.sim.point import Point
from sailsim.sim.provenance import code_version, commit, point_key, result_key, versions
from sailsim.sim.store import RESERVED, Store, now

Record = Mapping[str, Any]
Evaluate = Callable[[Point], Record | Sequence[Record]]

LARGEST_CHUNK = 25
"""Points of a chunk at most: what `kill -9` can cost each worker."""
QUIET_SECONDS = 5.0
"""Between two lines of progress where there is no terminal."""


@dataclass(frozen=True)
class _Job:
    """A point to evaluate, with its two keys."""

    key: str
    point_key: str
    point: Point


@dataclass(frozen=True)
class _Outcome:
    """A point's records, or why there are none: `refused` is a sentence, `broken` a traceback."""

    job: _Job
    records: tuple[dict[str, Any], ...] = ()
    refused: str = ""
    broken: str = ""
    finished_at: str = ""
    seconds: float = 0.0


def run_sweep(
    points: Iterable[Point],
    evaluate: Evaluate,
    out_dir: str | Path,
    jobs: int = 1,
    progress: bool = True,
    config: Mapping[str, Any] | None = None,
    inputs: str = "",
) -> Store:
    """Evaluate every point that the folder does not hold yet; results are stored chunk by chunk.

    `evaluate` is a picklable function from a point to a record or several (`Store.append`), or a
    `functools.partial` of one. `inputs` says what else the records rest on, such as what the partial holds. A
    point whose key (its inputs' content and the code) is stored already is not run again, so the same call
    resumes a sweep that was stopped.
    Points that `evaluate` refuses with a `SailsimError` are listed in the manifest; all others are still run.
    `config` goes into the manifest as it is.

    Raises:
        SailsimError: a second sweep in the folder, a full disk, refused points (after all others are stored).
        RuntimeError: `evaluate` failed with anything else; it names the point.
    """
    if jobs < 1:
        raise SailsimError(f"jobs is {jobs!r}; allowed is a whole number from 1 on.")
    function = getattr(evaluate, "func", evaluate)
    name = f"{function.__module__}.{function.__qualname__}"
    # Reads every system, model and capture, so that a bad one is refused before the folder is touched.
    wanted = {job.key: job for job in (_Job(result_key(p, name, inputs), point_key(p), p) for p in points)}
    if not wanted:
        raise SailsimError("points is empty; allowed is at least one point.")
    store = Store(out_dir)
    with store.locked():
        stored = store.keys()
        missing = [job for key, job in wanted.items() if key not in stored]
        manifest = _manifest(wanted.values(), name, jobs, config, len(wanted) - len(missing))
        earlier = store.manifest
        manifest["runs"] = [*earlier.get("runs", []), _run_of(earlier)] if earlier else []
        store.write_manifest(manifest)
        began = time.monotonic()
        refused: dict[str, str] = {}
        try:
            with reporter(len(wanted), len(wanted) - len(missing), progress) as advance:
                for outcomes in _outcomes(missing, evaluate, jobs):
                    store.append([record for outcome in outcomes for record in _stored(outcome)])
                    refused.update({o.job.point_key: o.refused for o in outcomes if o.refused})
                    broken = next((o for o in outcomes if o.broken), None)
                    if broken is not None:
                        raise RuntimeError(f"{name} failed at {broken.job.point}:\n{broken.broken}")
                    advance(len(outcomes))
        except BaseException as error:
            manifest.update(
                state="stopped", refused=refused, finished_at=now(), wall_s=time.monotonic() - began
            )
            # On a full disk the manifest cannot be written either: the first error is the one to report.
            with suppress(SailsimError):
                store.write_manifest(manifest)
            if isinstance(error, TerminatedWorkerError):
                raise SailsimError(
                    "a worker process was killed, perhaps for want of memory; finished points are stored, "
                    "and the same command with fewer jobs goes on from there."
                ) from None
            raise
        manifest.update(
            state="points refused" if refused else "complete",
            refused=refused,
            finished_at=now(),
            wall_s=time.monotonic() - began,
        )
        store.write_manifest(manifest)
    if refused:
        first = next(iter(refused.values()))
        raise SailsimError(
            f"{len(refused)} of {len(wanted)} points were refused, the others are stored; the first: {first}"
        )
    return store


def _outcomes(missing: Sequence[_Job], evaluate: Evaluate, jobs: int) -> Iterator[list[_Outcome]]:
    """Chunks of outcomes as they finish."""
    chunks = _chunks(missing, jobs)
    if jobs == 1 or len(chunks) < 2:
        yield from (_evaluate_chunk(chunk, evaluate) for chunk in chunks)
        return
    # One thread of linear algebra per worker: the workers are the parallelism.
    with parallel_config(backend="loky", inner_max_num_threads=1):
        workers = Parallel(
            n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs"
        )
        yield from workers(delayed(_evaluate_chunk)(chunk, evaluate) for chunk in chunks)


def _chunks(missing: Sequence[_Job], jobs: int) -> list[list[_Job]]:
    """Neighbours share activations: points with the same pattern profiles stay together in one worker."""

    def profile(job: _Job) -> tuple[Any, ...]:
        p = job.point
        return (p.model, p.batch, p.abits, p.seed, p.activations, p.nbw or 0, p.group_size, p.prt, job.key)

    ordered = sorted(missing, key=profile)
    size = max(1, min(LARGEST_CHUNK, len(ordered) // (4 * jobs)))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def _evaluate_chunk(chunk: Sequence[_Job], evaluate: Evaluate) -> list[_Outcome]:
    return [_evaluate_one(job, evaluate) for job in chunk]


def _evaluate_one(job: _Job, evaluate: Evaluate) -> _Outcome:
    began = time.perf_counter()
    try:
        found = evaluate(job.point)
        records = tuple(dict(record) for record in ([found] if isinstance(found, Mapping) else found))
        taken = [name for name in RESERVED if any(name in record for record in records)]
        if taken:
            raise ValueError(f"the record has a column {taken[0]!r}, which the store writes itself")
    except SailsimError as error:
        return _Outcome(job, refused=str(error))
    except Exception:
        return _Outcome(job, broken=traceback.format_exc())
    return _Outcome(job, records=records, finished_at=now(), seconds=time.perf_counter() - began)


def _stored(outcome: _Outcome) -> list[dict[str, Any]]:
    """The records with the store's columns; key and code are those that this process asked for."""
    job = outcome.job
    own = (job.key, job.point_key, code_version(), outcome.finished_at, outcome.seconds)
    return [record | dict(zip(RESERVED, own, strict=True)) for record in outcome.records]


def _manifest(
    jobs_wanted: Iterable[_Job], evaluate: str, jobs: int, config: Mapping[str, Any] | None, held: int
) -> dict[str, Any]:
    points = [job.point for job in jobs_wanted]
    return {
        "state": "running",
        "started_at": now(),
        "commit": commit(),
        "code_version": code_version(),
        "versions": versions(),
        "evaluate": evaluate,
        "jobs": jobs,
        "config": dict(config or {}),
        "seeds": sorted({p.seed for p in points}),
        "held_before": held,
        "points": [p.as_dict() for p in points],
    }


def _run_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an earlier run of the folder."""
    kept = ("state", "started_at", "finished_at", "wall_s", "commit", "code_version", "config", "held_before")
    return {name: manifest[name] for name in kept if name in manifest} | {
        "points": len(manifest.get("points", []))
    }


class _Advance(Protocol):
    def __call__(self, points: int) -> None: ...


@contextmanager
def reporter(total: int, held: int, wanted: bool, what: str = "points") -> Iterator[_Advance]:
    """Progress on standard error: a bar on a terminal, else a line every few seconds.

    Of `total` things, `what` they are called, `held` are done already; the caller is given what to call with
    the number that is done more.
    """
    if not wanted:
        yield lambda points: None
        return
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(what, total=total, completed=held)
            yield lambda points: bar.advance(task, points)
        return
    done, began, last = 0, time.monotonic(), time.monotonic()

    def advance(points: int) -> None:
        nonlocal done, last
        done += points
        present = time.monotonic()
        if present - last >= QUIET_SECONDS or held + done == total:
            last = present
            left = (present - began) / done * (total - held - done)
            print(f"{what} {held + done}/{total}, about {left:.0f} s left", file=sys.stderr, flush=True)

    yield advance
