"""Running a study: tasks without a stored result are evaluated, and each result is stored at once."""

from __future__ import annotations

import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.base.progress import ProgressReport, progress_report
from sailsim.base.stop import raise_if_stopped, stoppable
from sailsim.sim.study.origin import code_version, commit, versions
from sailsim.sim.study.store import RESERVED, Store, now
from sailsim.sim.study.workers import Processes, Workers, first_done, remove_semaphores

Record = Mapping[str, Any]
Evaluate = Callable[[Any], Record | Sequence[Record]]
"""Function from a task's input to its records; picklable."""
TRIES = 3
"""Attempts for a task whose worker is lost or whose evaluation fails."""
CHUNK_S = 1.0
"""Target seconds for the tasks sent to a worker together; this much work is lost when a study is killed."""
LARGEST_CHUNK = 1000
GROWTH = 4
"""Largest ratio of a chunk's size to that of the chunk before, from which the time of a task is estimated."""
KEPT = (
    *("state", "started_at", "finished_at", "wall_s", "commit", "code_version", "config"),
    *("held_before", "points"),
)
"""Fields of an earlier run that the manifest keeps."""


@dataclass(frozen=True, slots=True)
class Task:
    """A unit of work of a study.

    Attributes:
        key: hash of all that the records depend on: inputs, the content of files, the code.
        point_key: hash of the inputs alone.
        argument: input of the function that evaluates.
        locality: sort key; neighbours go to a worker together and share its caches.
    """

    key: str
    point_key: str
    argument: Any
    locality: Any = ()


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """Records of a task, or the reason for having none: a sentence if refused, a traceback if it failed."""

    records: tuple[dict[str, Any], ...] = ()
    refused: str = ""
    broken: str = ""
    finished_at: str = ""
    seconds: float = 0.0


def evaluate_all(chunk: tuple[Evaluate, Sequence[Any]]) -> list[TaskOutcome]:
    """Evaluate a function on some arguments, in the worker. Errors are part of the outcomes."""
    evaluate, arguments = chunk
    return [_outcome(evaluate, argument) for argument in arguments]


def _outcome(evaluate: Evaluate, argument: Any) -> TaskOutcome:
    began = time.perf_counter()
    try:
        answer = evaluate(argument)
        records = tuple(dict(record) for record in ([answer] if isinstance(answer, Mapping) else answer))
    except SailsimError as error:
        return TaskOutcome(refused=str(error))
    except Exception:
        return TaskOutcome(broken=traceback.format_exc())
    return TaskOutcome(records, finished_at=now(), seconds=time.perf_counter() - began)


def run_study(
    tasks: Iterable[Task],
    evaluate: Evaluate,
    out_dir: str | Path,
    *,
    refused: Mapping[str, str] = MappingProxyType({}),
    noun: str = "points",
    **options: Any,
) -> Store:
    """Evaluate every task whose key the folder does not hold, and make these tasks the folder's answer.

    The same call therefore continues a stopped one, with the result of an undisturbed one. Tasks that
    `evaluate` refuses with a `SailsimError` are listed in the manifest. A task that fails otherwise, or whose
    worker is lost, is tried `tries` times in all, then listed with its error. All others are still run.

    Args:
        tasks: each key once; a second task of a key is left out.
        evaluate: from a task's `argument` to its records; picklable.
        out_dir: the folder.
        refused: reasons by `point_key` of points that are part of the study but cannot be tasks; they are
            listed with those that `evaluate` refuses.
        noun: plural for tasks, in messages.
        options: further arguments of `opened`.

    Raises:
        SailsimError: no task, another study in the folder, a full disk; tasks that were refused or failed
            (after all others are stored).
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; finished tasks are stored, and a note says where.
    """
    unique = list({task.key: task for task in tasks}.values())
    if not unique:
        raise SailsimError(f"{noun} is empty; allowed is at least one.")
    with opened(out_dir, len(unique) + len(refused), noun=noun, **options) as study:
        study.refused.update(refused)
        study.report.advance(len(refused), len(refused))
        study.run(unique, evaluate)
    study.complain()
    return study.store


@contextmanager
def opened(
    out_dir: str | Path,
    total: int,
    *,
    kind: str = "sweep",
    jobs: int | Workers = 1,
    progress: bool = True,
    config: Mapping[str, Any] | None = None,
    noun: str = "points",
    group: str = "",
    tries: int = TRIES,
    changed: Callable[[], Path | None] = lambda: None,
) -> Iterator[OpenStudy]:
    """Open a study whose tasks are not all known at its start; `OpenStudy.run` takes them in parts.

    Args:
        out_dir: the folder.
        total: number of tasks.
        kind: command of the study, for the manifest; a folder has results of one command.
        jobs: number of processes of this computer, or workers (`workers.Dask`) that the caller ends.
        progress: whether to show progress on standard error.
        config: copied into the manifest.
        noun: plural for tasks, in messages.
        group: name of this answer where a folder has several; the answers of other groups stay.
        tries: attempts for a task.
        changed: returns an input file that changed since the keys were made, if any; results found since
            are then not stored.

    Raises as `run_study`; the caller has to call `complain`.
    """
    if isinstance(jobs, int) and jobs < 1:
        raise SailsimError(f"jobs is {jobs!r}; allowed is a whole number from 1 on.")
    store = Store(out_dir)
    remove_semaphores()
    with stoppable(), store.locked(kind), ExitStack() as stack:
        earlier = store.manifest
        before = {name: earlier[name] for name in KEPT if name in earlier}
        manifest: dict[str, Any] = {
            "kind": kind,
            "state": "running",
            "started_at": now(),
            "commit": commit(),
            "code_version": code_version(),
            "versions": versions(),
            "config": dict(config or {}),
            "points": total,
            "held_before": 0,
            "runs": [*earlier.get("runs", []), before] if earlier else [],
        }

        def start_workers(tasks: int) -> Workers:
            """Start the workers, at the first task without a stored result."""
            if not isinstance(jobs, int):
                return jobs
            size = min(jobs, tasks)
            return stack.enter_context(Workers() if size == 1 else Processes(size))

        began = time.monotonic()
        report = stack.enter_context(progress_report(total, progress, noun))
        study = OpenStudy(store, report, start_workers, manifest, group, tries, changed)
        state = "stopped"
        try:
            yield study
            state = f"{noun} without a result" if study.refused or study.failed else "complete"
        except KeyboardInterrupt as error:
            error.add_note(f"{report.resumed + report.done} of {total} {noun} are stored in {store.path}")
            raise
        finally:
            manifest.update(
                state=state,
                refused=study.refused,
                failed=study.failed,
                finished_at=now(),
                wall_s=time.monotonic() - began,
            )
            # On a full disk the manifest cannot be written either; the first error is reported.
            with suppress(SailsimError) if state == "stopped" else nullcontext():
                store.write_manifest(manifest)


@dataclass
class OpenStudy:
    """A folder locked for writing, with the workers for missing results. `opened` explains the fields."""

    store: Store
    report: ProgressReport
    start_workers: Callable[[int], Workers]
    manifest: dict[str, Any]
    group: str
    tries: int
    changed: Callable[[], Path | None]
    refused: dict[str, str] = field(default_factory=dict)
    """Reasons of refused tasks by `point_key`."""
    failed: dict[str, str] = field(default_factory=dict)
    """Errors of failed tasks by `point_key`."""
    _answer: list[str] = field(default_factory=list)
    _attempts: Counter[str] = field(default_factory=Counter)
    _workers: Workers | None = None

    def __post_init__(self) -> None:
        self._stored = self.store.keys()

    def run(self, tasks: Sequence[Task], evaluate: Evaluate) -> None:
        """Evaluate the tasks without a stored result. Raises as `run_study`."""
        self._answer += [task.key for task in tasks]
        missing = [task for task in tasks if task.key not in self._stored]
        missing.sort(key=lambda task: (task.locality, task.key))
        present = len(tasks) - len(missing)
        self.manifest["held_before"] += present
        self.store.set_answer(self._answer, self.manifest, self.group)
        self.report.resume(present)
        if missing:
            self._workers = self._workers or self.start_workers(len(missing))
            self._evaluate(deque(missing), evaluate, self._workers)

    def _evaluate(self, left: deque[Task], evaluate: Evaluate, workers: Workers) -> None:
        """Evaluate tasks and store their records; chunks shrink towards the end so that all workers are busy.

        Tasks that ran when a worker was lost are tried alone, one at a time: if a worker is lost again, its
        task is the cause.
        """
        alone: deque[Task] = deque()
        running: dict[Future[list[TaskOutcome]], list[Task]] = {}
        size = 1
        try:
            while left or alone or running:
                raise_if_stopped()
                count = self.report.workers = workers.size
                while not running if alone else left and len(running) < 2 * count:
                    together = 1 if alone else min(len(left), max(1, min(size, len(left) // (2 * count))))
                    chunk = [(alone or left).popleft() for _ in range(together)]
                    work = (evaluate, [task.argument for task in chunk])
                    running[workers.submit(evaluate_all, work)] = chunk
                lost: BaseException | None = None
                for future in first_done(running):
                    try:
                        outcomes = future.result()
                    except Exception as error:
                        lost = workers.problem(error)
                        if not isinstance(lost, BrokenExecutor):
                            raise lost from None
                    else:
                        chunk = running.pop(future)
                        left += self._store_records(chunk, outcomes)
                        each = sum(outcome.seconds for outcome in outcomes) / len(chunk)
                        fitting = int(CHUNK_S / each) if each > 0 else LARGEST_CHUNK
                        size = max(1, min(LARGEST_CHUNK, GROWTH * len(chunk), fitting))
                if lost is not None:
                    alone += self._lost([task for chunk in running.values() for task in chunk], str(lost))
                    workers.forget(running)
                    running.clear()
                    workers.revive()
        finally:
            workers.forget(running)

    def _store_records(self, chunk: Sequence[Task], outcomes: Sequence[TaskOutcome]) -> list[Task]:
        """Store the records of some tasks, with this process' keys and code version; return tasks to
        retry."""
        records = []
        for task, outcome in zip(chunk, outcomes, strict=True):
            own = (task.key, task.point_key, code_version(), outcome.finished_at, outcome.seconds)
            records += [record | dict(zip(RESERVED, own, strict=True)) for record in outcome.records]
        if (path := self.changed()) is not None:
            raise SailsimError(
                f"{path} changed while the study ran; what was stored before is kept, and the same command "
                "asks again with the file as it is."
            )
        self.store.append(records)
        self._stored.update(record["key"] for record in records)
        again = []
        for task, outcome in zip(chunk, outcomes, strict=True):
            if outcome.refused:
                self.refused[task.point_key] = outcome.refused
            if not outcome.broken:
                self.report.advance(1, int(bool(outcome.refused)))
            elif self._may_retry(task, outcome.broken):
                again.append(task)
        return again

    def _lost(self, tasks: list[Task], reason: str) -> list[Task]:
        """Tasks of a lost worker to retry; for a task that ran alone, the loss counts as an attempt."""
        self.report.note("a worker was lost", reason=reason, tried_again=len(tasks))
        why = f"its worker was lost {self.tries} times ({reason})"
        return tasks if len(tasks) > 1 or self._may_retry(tasks[0], why) else []

    def _may_retry(self, task: Task, why: str) -> bool:
        """Count an attempt and say whether another is allowed; otherwise list the task as failed."""
        self._attempts[task.key] += 1
        if self._attempts[task.key] < self.tries:
            return True
        self.failed[task.point_key] = why
        self.report.advance(1, 1)
        return False

    def complain(self) -> None:
        """Raise SailsimError if tasks have no result."""
        total, noun, parts = self.report.total, self.report.what, []
        for tasks, verb in ((self.refused, "were refused"), (self.failed, "failed")):
            if tasks:
                first = next(iter(tasks.values())).strip().splitlines()[-1]
                parts.append(f"{len(tasks)} of {total} {noun} {verb} (the first: {first.rstrip('.')})")
        if parts:
            others = len(self.refused) + len(self.failed) < total
            stored = "the others are stored, and " if others else ""
            raise SailsimError(
                f"{' and '.join(parts)}; {stored}`sailsim results ls {self.store.path} --json` names all."
            )
