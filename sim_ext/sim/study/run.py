"""Running a study: what the folder does not hold yet is evaluated and stored as it is found."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.base.progress import Report, reporter
from sailsim.base.stop import stoppable
from sailsim.sim.study.folder import RESERVED, Store, now
from sailsim.sim.study.origin import code_version, commit, versions
from sailsim.sim.study.tasks import Chunk, Evaluate, Outcome, Task, evaluated
from sailsim.sim.study.workers import (
    Here,
    Processes,
    WorkerLostError,
    Workers,
    ended,
    first_done,
    remove_semaphores,
)

TRIES = 3
"""How often a task is tried whose worker goes or whose evaluation fails."""
CHUNK_S = 1.0
"""What a chunk should take: about what each worker loses when everything is killed."""
LARGEST_CHUNK = 1000
Changed = Callable[[], Path | None]
KEPT = (
    *("state", "started_at", "finished_at", "wall_s", "commit", "code_version", "config"),
    *("held_before", "points"),
)
"""What a manifest tells of earlier runs of the folder."""
GROWTH = 4
"""How much longer than the one before a chunk may be: what a task takes is known from those alone."""


def run_study(
    tasks: Iterable[Task],
    evaluate: Evaluate,
    out_dir: str | Path,
    *,
    refused: Mapping[str, str] = MappingProxyType({}),
    what: str = "points",
    **how: Any,
) -> Store:
    """Evaluate every task whose key the folder does not hold; what the folder answers is these tasks.

    So the same call goes on where a stopped one ended, and gives what an undisturbed one would have given.
    Tasks that `evaluate` refuses with a `SailsimError` are listed in the manifest; one that fails otherwise,
    or whose worker goes, is tried again, `tries` times in all, then listed with its error. All others are
    still run.

    Args:
        tasks: each key once; a second task of a key is left out.
        evaluate: from a task's `what` to its records; picklable.
        out_dir: the folder.
        refused: questions that were asked too but are no tasks, and why: they are listed with those that
            `evaluate` refuses.
        what: what tasks are called.
        how: as `opened` takes it.

    Raises:
        SailsimError: no task, another study in the folder, a full disk; tasks that were refused or failed
            (after all others are stored).
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; what was finished is stored, and a note says where.
    """
    wanted = list({task.key: task for task in tasks}.values())
    if not wanted:
        raise SailsimError(f"{what} is empty; allowed is at least one.")
    with opened(out_dir, len(wanted) + len(refused), what=what, **how) as study:
        study.refuse(refused)
        study.run(wanted, evaluate)
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
    what: str = "points",
    group: str = "",
    tries: int = TRIES,
    changed: Changed = lambda: None,
) -> Iterator[OpenStudy]:
    """A study whose tasks are not all known when it starts: `total`, given to `OpenStudy.run` in parts.

    Args:
        out_dir: the folder.
        total: how many tasks there will be.
        kind: the command that this is, for the manifest; a folder has results of one.
        jobs: who evaluates: so many processes of this machine, or workers (`workers.Dask`), which whoever
            made them ends.
        progress: whether to show it on standard error.
        config: goes into the manifest as it is.
        what: what tasks are called.
        group: of questions, where a folder answers several; what other groups asked for stays.
        tries: how often a task is tried.
        changed: an input that is not what it was when the keys were made, if any: nothing that was found
            since is stored then.

    Raises as `run_study`, but leaves it to the caller to `complain`.
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

        def hire(tasks: int) -> Workers:
            """Workers start with the first task that nobody has evaluated yet."""
            if not isinstance(jobs, int):
                return jobs
            size = min(jobs, tasks)
            return stack.enter_context(ended(Here() if size == 1 else Processes(size)))

        began = time.monotonic()
        report = stack.enter_context(reporter(total, progress, what))
        study = OpenStudy(store, report, hire, store.keys(), group, what, tries, changed, manifest)
        state = "stopped"
        try:
            yield study
            state = f"{what} without a result" if study.refused or study.failed else "complete"
        except KeyboardInterrupt as error:
            error.add_note(f"{study.at} of {total} {what} are stored in {store.path}")
            raise
        finally:
            manifest.update(
                state=state,
                refused=study.refused,
                failed=study.failed,
                finished_at=now(),
                wall_s=time.monotonic() - began,
            )
            # On a full disk the manifest cannot be written either: the first error is the one to report.
            with suppress(SailsimError) if state == "stopped" else nullcontext():
                store.write_manifest(manifest)


@dataclass
class OpenStudy:
    """A folder that is held for writing, and who evaluates what it lacks."""

    store: Store
    report: Report
    hire: Callable[[int], Workers]
    stored: set[str]
    group: str
    what: str
    tries: int
    changed: Changed
    manifest: dict[str, Any]
    at: int = 0
    """Tasks that have been dealt with, here or before."""
    refused: dict[str, str] = field(default_factory=dict)
    """Questions of tasks that were refused, and why."""
    failed: dict[str, str] = field(default_factory=dict)
    """Questions of tasks that failed, and why."""
    _asked: list[str] = field(default_factory=list)
    _workers: Workers | None = None

    def run(
        self, tasks: Sequence[Task], evaluate: Evaluate, keep: bool = False
    ) -> dict[str, list[dict[str, Any]]]:
        """Evaluate tasks that the folder lacks; with ``keep`` returns the new records by key. Raises as
        `run_study`."""
        self._asked += [key for task in tasks for key in task.keys]
        missing = [i for i, task in enumerate(tasks) if not self.stored.issuperset(task.keys)]
        missing.sort(key=lambda i: (tasks[i].near, tasks[i].key))
        held = len(tasks) - len(missing)
        self.manifest["held_before"] += held
        self.store.ask(self._asked, self.manifest, self.group)
        self.at += held
        self.report.hold(held)
        if not missing:
            return {}
        if self._workers is None:
            self._workers = self.hire(len(missing))
        run = _Run(tasks, evaluate, self, keep)
        run.all(missing, self._workers)
        return run.kept

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """List questions that are no tasks, with the reason of each."""
        self.refused |= reasons
        self.at += len(reasons)
        self.report.advance(len(reasons), len(reasons))

    def complain(self) -> None:
        """Raise SailsimError where tasks have no result."""
        parts = []
        for tasks, how in ((self.refused, "were refused"), (self.failed, "failed")):
            if tasks:
                first = next(iter(tasks.values())).strip().splitlines()[-1]
                parts.append(
                    f"{len(tasks)} of {self.report.total} {self.what} {how} (the first: {first.rstrip('.')})"
                )
        if parts:
            others = len(self.refused) + len(self.failed) < self.report.total
            stored = "the others are stored, and " if others else ""
            raise SailsimError(
                f"{' and '.join(parts)}; {stored}`sailsim results ls {self.store.path} --json` names all."
            )


class _Run:
    """Some tasks of a study: what is under way, and what came of it."""

    def __init__(self, tasks: Sequence[Task], evaluate: Evaluate, study: OpenStudy, keep: bool) -> None:
        self.tasks, self.evaluate, self.study, self.keep = tasks, evaluate, study, keep
        self.kept: dict[str, list[dict[str, Any]]] = {}
        self._tries: Counter[int] = Counter()
        self._size = 1
        self._left: deque[int] = deque()
        self._alone: deque[int] = deque()
        """Tasks that were under way when a worker went: they are tried one at a time, until each is done. If
        a worker goes again, it is known whose fault it is."""

    def all(self, missing: Sequence[int], workers: Workers) -> None:
        """Evaluate tasks and store what comes of them."""
        self._left.extend(missing)
        under_way: dict[Future[list[Outcome]], Chunk] = {}
        try:
            while self._left or self._alone or under_way:
                size = self.study.report.workers = workers.size
                while self._may_begin(len(under_way), size):
                    chunk = self._next(size)
                    under_way[workers.submit(evaluated, chunk)] = chunk
                lost: BaseException | None = None
                for future in first_done(under_way):
                    try:
                        outcomes = future.result()
                    except Exception as error:
                        lost = workers.problem(error)
                        if not isinstance(lost, WorkerLostError):
                            raise lost from None
                    else:
                        self._take(outcomes, under_way.pop(future))
                if lost is not None:
                    self._lose([at for chunk in under_way.values() for at, _ in chunk.tasks], str(lost))
                    _cancel(under_way)
                    workers.revive()
        except BaseException:
            _cancel(under_way)
            raise

    def _may_begin(self, under_way: int, workers: int) -> bool:
        if self._alone:
            return not under_way
        return bool(self._left) and under_way < 2 * workers

    def _next(self, workers: int) -> Chunk:
        """The next tasks that go together; towards the end the workers share what is left."""
        if self._alone:
            taken = [self._alone.popleft()]
        else:
            size = max(1, min(self._size, len(self._left) // (2 * workers)))
            taken = [self._left.popleft() for _ in range(min(size, len(self._left)))]
        return Chunk(self.evaluate, tuple((at, self.tasks[at].what) for at in taken))

    def _take(self, outcomes: Sequence[Outcome], chunk: Chunk) -> None:
        """Store what came of a chunk; what failed is tried again."""
        records = [record for outcome in outcomes for record in self._records(outcome)]
        if (path := self.study.changed()) is not None:
            raise SailsimError(
                f"{path} changed while the study ran; what was stored before is kept, and the same command "
                "asks again with the file as it is."
            )
        self.study.store.append(records)
        self.study.stored.update(record["key"] for record in records)
        for record in records if self.keep else ():
            self.kept.setdefault(record["key"], []).append(record)
        for outcome in outcomes:
            if outcome.refused:
                self.study.refused[self.tasks[outcome.at].question] = outcome.refused
            if not outcome.broken:
                self._over(failed=bool(outcome.refused))
            elif self._may_try_again(outcome.at, outcome.broken):
                self._left.append(outcome.at)
        each = sum(outcome.seconds for outcome in outcomes) / len(chunk.tasks)
        fitting = int(CHUNK_S / each) if each > 0 else LARGEST_CHUNK
        self._size = max(1, min(LARGEST_CHUNK, GROWTH * len(chunk.tasks), fitting))

    def _lose(self, tasks: Sequence[int], reason: str) -> None:
        """A worker went: of one task alone it is a try."""
        self.study.report.note("a worker was lost", reason=reason, tried_again=len(tasks))
        lost = f"its worker was lost {self.study.tries} times ({reason})"
        if len(tasks) > 1 or self._may_try_again(tasks[0], lost):
            self._alone.extend(tasks)

    def _may_try_again(self, at: int, why: str) -> bool:
        """Whether a task that was tried once more may be tried again; if not it has failed."""
        self._tries[at] += 1
        if self._tries[at] < self.study.tries:
            return True
        self.study.failed[self.tasks[at].question] = why
        self._over(failed=True)
        return False

    def _over(self, failed: bool) -> None:
        self.study.at += 1
        self.study.report.advance(1, int(failed))

    def _records(self, outcome: Outcome) -> list[dict[str, Any]]:
        """The records with the study's columns; keys and code are those that this process asked for."""
        task = self.tasks[outcome.at]
        seconds = outcome.seconds / len(task.keys)
        for record in outcome.records:
            own = (*task.owner(record), code_version(), outcome.finished_at, seconds)
            record.update(zip(RESERVED, own, strict=True))
        return list(outcome.records)


def _cancel(under_way: dict[Future[list[Outcome]], Chunk]) -> None:
    """Forget what is under way; a scheduler is told so."""
    for future in under_way:
        future.cancel()
    under_way.clear()
