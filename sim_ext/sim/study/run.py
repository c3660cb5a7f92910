"""Running a study: what the folder does not hold yet is evaluated and stored as it is found."""

from __future__ import annotations

import time
from collections import deque
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
from sailsim.sim.study.chunks import RESERVED
from sailsim.sim.study.folder import Store, now
from sailsim.sim.study.origin import code_version, commit, versions
from sailsim.sim.study.tasks import Chunk, Evaluate, Outcome, Task, evaluated
from sailsim.sim.study.workers import WorkerLostError, Workers, first_done, remove_semaphores, workers_of

TRIES = 3
"""How often a task is tried whose worker goes or whose evaluation fails."""
CHUNK_S = 1.0
"""What a chunk should take: about what each worker loses when everything is killed."""
LARGEST_CHUNK = 1000
Changed = Callable[[], Path | None]
GROWTH = 4
"""How much longer than the one before a chunk may be: what a task takes is known from those alone."""


def run_study(
    tasks: Iterable[Task],
    evaluate: Evaluate,
    out_dir: str | Path,
    *,
    kind: str = "sweep",
    jobs: int | Workers = 1,
    progress: bool = True,
    config: Mapping[str, Any] | None = None,
    what: str = "points",
    group: str = "",
    tries: int = TRIES,
    changed: Changed = lambda: None,
    refused: Mapping[str, str] = MappingProxyType({}),
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
        kind: the command that this is, for the manifest; a folder has results of one.
        jobs: who evaluates: so many processes of this machine, or workers (`cluster`), which whoever made
            them ends.
        progress: whether to show it on standard error.
        config: goes into the manifest as it is.
        what: what tasks are called.
        group: of questions, where a folder answers several; what other groups asked for stays.
        tries: how often a task is tried.
        changed: an input that is not what it was when the keys were made, if any: nothing that was found
            since is stored then.
        refused: questions that were asked too but are no tasks, and why: they are listed with those that
            `evaluate` refuses.

    Raises:
        SailsimError: no task, another study in the folder, a full disk; tasks that were refused or failed
            (after all others are stored).
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; what was finished is stored, and a note says where.
    """
    wanted = list({task.key: task for task in tasks}.values())
    if not wanted:
        raise SailsimError(f"{what} is empty; allowed is at least one.")
    with opened(
        out_dir,
        len(wanted) + len(refused),
        kind=kind,
        jobs=jobs,
        progress=progress,
        config=config,
        what=what,
        group=group,
        tries=tries,
        changed=changed,
    ) as study:
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

    Arguments as in `run_study`. Raises as `run_study`, but leaves it to the caller to `complain`.
    """
    if isinstance(jobs, int) and jobs < 1:
        raise SailsimError(f"jobs is {jobs!r}; allowed is a whole number from 1 on.")
    store = Store(out_dir)
    remove_semaphores()
    with stoppable(), store.locked(kind), ExitStack() as stack:
        stored = store.keys()
        earlier = store.manifest
        manifest = _manifest(kind, total, config)
        manifest["runs"] = [*earlier.get("runs", []), _run_of(earlier)] if earlier else []

        def hire(tasks: int) -> Workers:
            """Workers start with the first task that nobody has evaluated yet."""
            return stack.enter_context(workers_of(min(jobs, tasks))) if isinstance(jobs, int) else jobs

        began = time.monotonic()
        report = stack.enter_context(reporter(total, progress, what))
        study = OpenStudy(store, report, hire, stored, group, what, tries, changed, manifest)
        state = "stopped"
        try:
            yield study
            store.compact()
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
        self.store.ask(self._asked, self.group)
        self.store.write_manifest(self.manifest)
        self.at += held
        self.report.hold(held)
        if not missing:
            return {}
        if self._workers is None:
            self._workers = self.hire(len(missing))
        run = _Run(tasks, evaluate, self, keep)
        run.all(missing, self._workers)
        return run.found

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
            raise SailsimError(f"{' and '.join(parts)}; {stored}the manifest in {self.store.path} names all.")


class _Run:
    """Some tasks of a study: what is under way, and what came of it."""

    def __init__(self, tasks: Sequence[Task], evaluate: Evaluate, study: OpenStudy, keep: bool) -> None:
        self.tasks, self.evaluate, self.study, self.keep = tasks, evaluate, study, keep
        self.found: dict[str, list[dict[str, Any]]] = {}
        self._tries: dict[int, int] = {}
        self._size, self._again, self._suspects = 1, deque[Chunk](), deque[Chunk]()

    def all(self, missing: Sequence[int], workers: Workers) -> None:
        """Evaluate tasks and store what is found."""
        left = deque(missing)
        under_way: dict[Future[list[Outcome]], Chunk] = {}
        alone = False
        while left or self._again or self._suspects or under_way:
            size = self.study.report.workers = workers.size
            if not under_way:
                # A chunk whose worker went is tried alone, until it is done however often we look: if a
                # worker goes again, it is known whose fault it is.
                alone = bool(self._suspects)
                if alone:
                    chunk = self._suspects.popleft()
                    under_way[workers.submit(evaluated, chunk)] = chunk
            while not alone and (left or self._again) and len(under_way) < 2 * size:
                chunk = self._again.popleft() if self._again else self._next(left, size)
                under_way[workers.submit(evaluated, chunk)] = chunk
            done = first_done(under_way)
            for future in done:
                if future.exception() is None:
                    self._take(future.result(), under_way.pop(future))
            lost = next((future for future in done if future in under_way), None)
            if lost is not None:
                self._lose(lost, list(under_way.values()), workers, alone)
                under_way.clear()

    def _take(self, outcomes: Sequence[Outcome], chunk: Chunk) -> None:
        self._again.extend(self._stored(outcomes))
        each = sum(outcome.seconds for outcome in outcomes) / len(chunk)
        fitting = int(CHUNK_S / each) if each > 0 else LARGEST_CHUNK
        self._size = max(1, min(LARGEST_CHUNK, GROWTH * len(chunk), fitting))

    def _lose(self, future: Future[Any], lost: Sequence[Chunk], workers: Workers, alone: bool) -> None:
        error = future.exception()
        if not isinstance(error, WorkerLostError):
            assert error is not None
            raise error
        self.study.report.note("a worker was lost", reason=str(error), tried_again=sum(map(len, lost)))
        workers.revive()
        self._suspects.extend(self._suspected(lost, alone, str(error)))

    def _next(self, left: deque[int], workers: int) -> Chunk:
        """The next chunk; towards the end the workers share what is left."""
        size = max(1, min(self._size, len(left) // (2 * workers)))
        taken = [left.popleft() for _ in range(min(size, len(left)))]
        return Chunk(self.evaluate, tuple((i, self.tasks[i].what) for i in taken))

    def _suspected(self, lost: Sequence[Chunk], alone: bool, reason: str) -> Iterator[Chunk]:
        """What has to be tried again, alone, of chunks whose workers went."""
        if not alone:
            yield from lost
            return
        (chunk,) = lost
        if len(chunk) > 1:
            yield from chunk.parts()
            return
        ((at, _),) = chunk.tasks
        if self._tried(at):
            yield chunk
        else:
            self._give_up(at, f"its worker was lost {self.study.tries} times ({reason})")

    def _tried(self, at: int) -> bool:
        """Whether a task that was tried once more may be tried again."""
        self._tries[at] = self._tries.get(at, 0) + 1
        return self._tries[at] < self.study.tries

    def _give_up(self, at: int, why: str) -> None:
        self.study.failed[self.tasks[at].question] = why
        self._over(failed=1)

    def _over(self, failed: int) -> None:
        self.study.at += 1
        self.study.report.advance(1, failed)

    def _stored(self, outcomes: Sequence[Outcome]) -> Iterator[Chunk]:
        """Store what was found; gives what has to be tried again."""
        records = [record for outcome in outcomes for record in self._records(outcome)]
        if (path := self.study.changed()) is not None:
            raise SailsimError(
                f"{path} changed while the study ran; what was stored before is kept, and the same command "
                "asks again with the file as it is."
            )
        self.study.store.append(records)
        for record in records if self.keep else ():
            self.found.setdefault(record["key"], []).append(record)
        for outcome in outcomes:
            task = self.tasks[outcome.at]
            if not outcome.broken:
                if outcome.refused:
                    self.study.refused[task.question] = outcome.refused
                self._over(failed=bool(outcome.refused))
            elif self._tried(outcome.at):
                yield Chunk(self.evaluate, ((outcome.at, task.what),))
            else:
                self._give_up(outcome.at, outcome.broken)

    def _records(self, outcome: Outcome) -> list[dict[str, Any]]:
        """The records with the study's columns; keys and code are those that this process asked for."""
        task = self.tasks[outcome.at]
        found = list(outcome.records)
        seconds = outcome.seconds / len(task.keys)
        for record in found:
            own = (*task.owner(record), code_version(), outcome.finished_at, seconds)
            record.update(zip(RESERVED, own, strict=True))
        return found


def _manifest(kind: str, total: int, config: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "kind": kind,
        "state": "running",
        "started_at": now(),
        "commit": commit(),
        "code_version": code_version(),
        "versions": versions(),
        "config": dict(config or {}),
        "points": total,
        "held_before": 0,
    }


def _run_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an earlier run of the folder."""
    kept = (
        "state", "started_at", "finished_at", "wall_s", "commit", "code_version", "config", "held_before",
        "points",
    )  # fmt: skip
    return {name: manifest[name] for name in kept if name in manifest}
