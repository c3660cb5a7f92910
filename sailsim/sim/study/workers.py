"""Workers that evaluate a study's tasks: this process, processes of this computer, or a Dask cluster.

Each kind is a `Workers`: it takes a function and its argument and returns a future. The function does not
know where it runs.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker as own_tracker
from pathlib import Path
from queue import Empty
from secrets import token_hex
from typing import Any, Self, TypeVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.backend.synchronize import SemLock
from joblib.externals.loky.process_executor import BrokenProcessPool, ShutdownExecutorError

from sailsim.base.atomic import is_alive
from sailsim.base.errors import SailsimError
from sailsim.base.hints import require_extra
from sailsim.sim.study.origin import code_version

T = TypeVar("T")
R = TypeVar("R")

ENVIRONMENT = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")},
    "PYTHONSAFEPATH": "1",
}
"""Environment variables of a worker process. Linear algebra gets one thread, because the workers are the
parallelism. `python -m` and `python -c` import no module from the current folder, whose files are
untrusted."""

LOOKS_S = 0.5
"""Seconds between two checks: of a worker for its parent process, and of a study for its workers."""
CONNECT_S = 10.0
"""Seconds to wait for a scheduler's answer."""
COUNTED_S = 1.0
"""Seconds between two counts of a scheduler's workers."""

_ADDRESS = r"(?:[a-z]+://)?[\w.:%\[\]-]+:\d{1,5}/?"
_SHARED_MEMORY = Path("/dev/shm")
_SEMAPHORE = "sailsim-"
"""Prefix of our semaphores' names; the number of the process that made one follows."""


class Workers:
    """Runs tasks in this process, immediately; the base of the other kinds."""

    @property
    def size(self) -> int:
        """Number of tasks that run at a time; it may change during a study."""
        return 1

    def submit(self, function: Callable[[T], R], argument: T) -> Future[R]:
        """Start a task and return its future."""
        future: Future[R] = Future()
        try:
            future.set_result(function(argument))
        except Exception as error:
            future.set_exception(error)
        return future

    def problem(self, error: BaseException) -> BaseException:
        """Exception to raise for that of a future: a `BrokenExecutor` if the worker ended before its task.

        Other running tasks may be lost too.
        """
        return error

    def forget(self, futures: Iterable[Future[Any]]) -> None:
        """Give up waiting for some futures."""

    def revive(self) -> None:
        """Replace workers that ended; running tasks are dropped."""

    def close(self, now: bool) -> None:
        """End all workers; with `now`, without waiting for running tasks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exception: type[BaseException] | None, *_: object) -> None:
        """End the workers after a block, at once if it raised an exception."""
        self.close(now=exception is not None)


class Processes(Workers):
    """Processes of this computer. They end with this process, however it ends.

    Futures are never cancelled. loky's thread fails on a cancelled future that it has not handed out when it
    kills its workers, and the workers would survive.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._pool = self._started()

    @property
    def size(self) -> int:
        """As `Workers.size`."""
        return self._size

    def _started(self) -> ProcessPoolExecutor:
        # loky's own prefix is shared with other programs; `remove_semaphores` reads the process number.
        SemLock._make_name = staticmethod(lambda: f"/{_SEMAPHORE}{os.getpid()}-{token_hex(4)}")
        with _deaf_children():
            return ProcessPoolExecutor(
                max_workers=self._size, initializer=_in_worker, initargs=(os.getpid(),), env=ENVIRONMENT
            )

    def submit(self, function: Callable[[T], R], argument: T) -> Future[R]:
        """As `Workers.submit`."""
        try:
            with _deaf_children():
                future: Future[R] = self._pool.submit(function, argument)  # starts them, the first time
        except (BrokenProcessPool, ShutdownExecutorError) as error:
            future = Future()
            future.set_exception(error)
        return future

    def problem(self, error: BaseException) -> BaseException:
        """As `Workers.problem`."""
        if isinstance(error, BrokenProcessPool | ShutdownExecutorError | CancelledError):
            return BrokenExecutor(_first_line(error))
        return error

    def revive(self) -> None:
        """As `Workers.revive`."""
        self._kill()
        self._pool = self._started()

    def _kill(self) -> None:
        # loky's thread drops all tasks, and fails if the number of one is still to be handed out.
        with suppress(Empty):
            while True:
                self._pool._work_ids.get(block=False)
        self._pool.shutdown(wait=False, kill_workers=True)

    def close(self, now: bool) -> None:
        """As `Workers.close`.

        A worker killed while it sends a result leaves half of it in the pipe, and loky's thread would wait
        for the rest. The thread ends when no process, this one included, can write to the pipe.
        """
        results, workers = self._pool._result_queue, list(self._pool._processes.values())
        if not now:
            self._pool.shutdown()
        else:
            self._kill()
            for worker in workers:
                with suppress(OSError):
                    os.kill(worker.pid, signal.SIGKILL)
            if results is not None:
                with suppress(OSError):  # loky's thread may close it at the same moment
                    results._writer.close()


class Dask(Workers):
    """Workers of a `dask.distributed` scheduler that the user started; they outlive the study.

    A worker needs this version of sailsim. It must see the study's folder, and the files that its points
    name, under the same path. Otherwise its tasks fail with one sentence.
    """

    def __init__(self, address: str) -> None:
        """Connect. Raises SailsimError for a text that is no address, and if no scheduler answers."""
        if re.fullmatch(_ADDRESS, address) is None:
            raise SailsimError(
                f"jobs is {address!r}; allowed is a number of processes, or the address of a Dask scheduler "
                "such as tcp://HOST:8786."
            )
        with require_extra("cluster", "a cluster"):
            distributed: Any = importlib.import_module("distributed")  # takes most of a second
        self.address = address
        try:
            self._client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise SailsimError(
                f"jobs is {address!r}, where no scheduler answers ({_first_line(error)}); allowed is the "
                "address of one that runs, such as tcp://HOST:8786."
            ) from None
        self._pool = self._client.get_executor(pure=False)
        self._lost: type[Exception] = distributed.KilledWorker
        self._size, self._counted = 1, -COUNTED_S

    @property
    def size(self) -> int:
        """Number of threads of all workers; 1 while there is none."""
        present = time.monotonic()
        if present - self._counted >= COUNTED_S:
            self._counted = present
            with suppress(OSError):  # the scheduler is gone, which running tasks will report
                self._size = max(1, sum(self._client.nthreads().values()))
        return self._size

    def submit(self, function: Callable[[T], R], argument: T) -> Future[R]:
        """As `Workers.submit`."""
        future: Future[R] = self._pool.submit(_run_here, function, code_version(), str(Path.cwd()), argument)
        return future

    def problem(self, error: BaseException) -> BaseException:
        """As `Workers.problem`."""
        if isinstance(error, CancelledError):
            return SailsimError(
                f"the scheduler at {self.address} is gone; what was found is stored, and with a new one "
                "the same command goes on from there."
            )
        if isinstance(error, ModuleNotFoundError):
            return SailsimError(
                f"a worker of {self.address} has no {error.name}; allowed is a worker with this version of "
                "sailsim."
            )
        return BrokenExecutor(_first_line(error)) if isinstance(error, self._lost) else error

    def forget(self, futures: Iterable[Future[Any]]) -> None:
        """As `Workers.forget`; also cancels the tasks at the scheduler."""
        for future in futures:
            future.cancel()

    def close(self, now: bool) -> None:
        """Disconnect from the scheduler; its workers stay."""
        with suppress(OSError, TimeoutError):
            self._client.close(timeout=CONNECT_S)


def _run_here(function: Callable[[T], R], code: str, folder: str, argument: T) -> R:
    """Call a function in the study's folder. Raises SailsimError for a worker with other code or no such
    folder."""
    if code_version() != code:
        raise SailsimError(
            f"a worker on {socket.gethostname()} has another version of sailsim than this; allowed is the "
            "same everywhere."
        )
    try:
        if str(Path.cwd()) != folder:
            os.chdir(folder)  # names of files are relative to it
    except OSError as error:
        raise SailsimError(
            f"a worker on {socket.gethostname()} has no folder {folder} ({error.strerror}); allowed is a "
            "folder that all machines share."
        ) from None
    return function(argument)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Block Ctrl-C and hang-ups for processes started within: a terminal sends both to all of its processes,
    and the parent handles them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        variables = os.environ.copy()
        try:
            os.environ.update(ENVIRONMENT)
            resource_tracker.ensure_running()  # if loky started these two, it would unblock Ctrl-C again
            own_tracker.ensure_running()
        finally:
            os.environ.clear()
            os.environ.update(variables)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def remove_semaphores() -> None:
    """Remove the semaphores of studies that were killed together with all of their processes."""
    for path in _SHARED_MEMORY.glob(f"sem.{_SEMAPHORE}*-*"):
        process = path.name.removeprefix(f"sem.{_SEMAPHORE}").partition("-")[0]
        if process.isdecimal() and not is_alive(int(process)):
            with suppress(OSError):  # another user's, or another study has removed it
                path.unlink()


def _in_worker(parent: int) -> None:
    """Start a thread that ends this worker when its parent process is gone."""

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(LOOKS_S)
        os._exit(1)

    threading.Thread(target=watch_parent, daemon=True).start()


def first_done(futures: Iterable[Future[R]]) -> Sequence[Future[R]]:
    """Futures that are done, in the given order. Empty after `LOOKS_S` without one, so that the caller can
    check its workers."""
    waiting = list(futures)
    done = wait_for(waiting, timeout=LOOKS_S, return_when=FIRST_COMPLETED).done
    return [future for future in waiting if future in done]
