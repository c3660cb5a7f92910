"""Who evaluates the tasks of a study: this process, processes of this machine, or a cluster (`cluster`).

All are one kind of thing, `Workers`: they take a function and its argument and give a future. What is
evaluated does not know where it runs.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker as own_tracker
from pathlib import Path
from secrets import token_hex
from typing import Any, Protocol, TypeVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.backend.synchronize import SemLock
from joblib.externals.loky.process_executor import BrokenProcessPool, ShutdownExecutorError

from sailsim.base.atomic import is_alive
from sailsim.base.errors import SailsimError

T = TypeVar("T")
R = TypeVar("R")

ENVIRONMENT = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")},
    "PYTHONSAFEPATH": "1",
}
"""Of a worker. The workers are the parallelism, so linear algebra has one thread. `python -m` and `python -c`
import no module from the current folder, where anybody's files may lie."""

LOOKS_S = 0.5
"""Between two looks: of a worker whether its parent is still there, of a study at its workers."""

_SHARED_MEMORY = Path("/dev/shm")
_SEMAPHORE = "sailsim-"
"""What names of semaphores begin with; then comes the process that made it."""


class WorkerLostError(Exception):
    """A worker went before it was through; who else was under way may be lost too."""


class Workers(Protocol):
    """Who evaluates."""

    @property
    def size(self) -> int:
        """How many tasks are worked on at a time; it may change, and is asked for all the while.

        Raises SailsimError where nobody is left to work.
        """
        ...

    def submit(self, function: Callable[[T], R], argument: T) -> Future[R]:
        """Begin; the future's exception is a `WorkerLostError` where the worker went."""

    def revive(self) -> None:
        """Replace workers that went; what was under way is forgotten."""

    def close(self, now: bool) -> None:
        """End all workers; `now`: without waiting for what is under way."""


class Here:
    """This process: what is submitted is done at once."""

    size = 1

    def submit(self, function: Callable[[T], R], argument: T) -> Future[R]:
        """As `Workers.submit`."""
        future: Future[R] = Future()
        try:
            future.set_result(function(argument))
        except Exception as error:
            future.set_exception(error)
        return future

    def revive(self) -> None:
        """As `Workers.revive`."""

    def close(self, now: bool) -> None:
        """As `Workers.close`."""


class Processes:
    """Processes of this machine. They end with this one, however it ends."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._pool = self._started()

    def _started(self) -> ProcessPoolExecutor:
        SemLock._make_name = staticmethod(_semaphore)  # not loky's, which others' semaphores have too
        with _deaf_children():
            return ProcessPoolExecutor(
                max_workers=self.size, initializer=_in_worker, initargs=(os.getpid(),), env=ENVIRONMENT
            )

    def submit(self, function: Callable[[T], R], argument: T) -> Future[R]:
        """As `Workers.submit`."""
        outer: Future[R] = Future()
        try:
            with _deaf_children():
                inner = self._pool.submit(function, argument)  # starts the processes, the first time
        except (BrokenProcessPool, ShutdownExecutorError) as error:
            outer.set_exception(WorkerLostError(str(error)))
            return outer

        def over(done: Future[R]) -> None:
            if done.cancelled():
                outer.set_exception(WorkerLostError("it was cancelled"))
            elif (error := done.exception()) is None:
                outer.set_result(done.result())
            elif isinstance(error, BrokenProcessPool | ShutdownExecutorError):
                outer.set_exception(WorkerLostError(str(error).splitlines()[0]))
            else:
                outer.set_exception(error)

        inner.add_done_callback(over)
        return outer

    def revive(self) -> None:
        """As `Workers.revive`."""
        self._pool.shutdown(wait=False, kill_workers=True)
        self._pool = self._started()

    def close(self, now: bool) -> None:
        """As `Workers.close`."""
        self._pool.shutdown(wait=not now, kill_workers=now)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that start within this never hear Ctrl-C, which a terminal sends to all, nor that it is gone:
    the parent does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        with environment(ENVIRONMENT):  # loky starts both too, and that would unblock Ctrl-C again
            resource_tracker.ensure_running()
            own_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def environment(more: Mapping[str, str]) -> Iterator[None]:
    """Variables that what starts within this inherits."""
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _semaphore() -> str:
    """A name that says whose a semaphore is, for `remove_semaphores`."""
    return f"/{_SEMAPHORE}{os.getpid()}-{token_hex(4)}"


def remove_semaphores() -> None:
    """Remove the semaphores of studies that were killed with all of their processes: nobody else does."""
    for path in _SHARED_MEMORY.glob(f"sem.{_SEMAPHORE}*-*"):
        process = path.name.removeprefix(f"sem.{_SEMAPHORE}").partition("-")[0]
        if process.isdecimal() and not is_alive(int(process)):
            with suppress(OSError):  # another user's, or another study has removed it
                path.unlink()


def _in_worker(parent: int) -> None:
    """What a worker does first: see to it that it goes when its parent is gone."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(LOOKS_S)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


@contextmanager
def workers_of(jobs: int) -> Iterator[Workers]:
    """This process for one job, else so many processes; ended at once if the block ends in an exception.

    Raises SailsimError for fewer than one job.
    """
    if jobs < 1:
        raise SailsimError(f"jobs is {jobs!r}; allowed is a whole number from 1 on.")
    with ended(Here() if jobs == 1 else Processes(jobs)) as workers:
        yield workers


@contextmanager
def ended(workers: Workers) -> Iterator[Workers]:
    """Workers that are ended behind the block, at once if it ends in an exception."""
    try:
        yield workers
    except BaseException:
        workers.close(now=True)
        raise
    workers.close(now=False)


def first_done(futures: Mapping[Future[R], Any] | Iterable[Future[R]]) -> Sequence[Future[R]]:
    """Those that are done, in the order in which they were given; none if nothing was done for a while, so
    that the caller can see to its workers."""
    given = list(futures)
    done = wait_for(given, timeout=LOOKS_S, return_when=FIRST_COMPLETED).done
    return [future for future in given if future in done]


def in_parallel(function: Callable[[T], R], arguments: Sequence[T], jobs: int) -> list[R]:
    """`function` of each argument, in order, by as many processes as jobs.

    Raises SailsimError where a process was killed, and whatever the function raises.
    """
    with workers_of(min(jobs, max(1, len(arguments)))) as workers:
        futures = [workers.submit(function, argument) for argument in arguments]
        try:
            return [future.result() for future in futures]
        except WorkerLostError:
            raise SailsimError(
                "a worker process was killed, perhaps for want of memory; allowed are fewer jobs."
            ) from None
