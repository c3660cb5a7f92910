"""Workers on other machines: those of a Dask scheduler, and jobs of Slurm that become such.

A worker needs this version of sailsim, and sees the folder in which the study was started, with the files
that its points name, under the same path. Its tasks end in one sentence where that is not so.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from sailsim.base.atomic import is_alive
from sailsim.base.errors import SailsimError
from sailsim.base.hints import needing
from sailsim.base.toml_file import read_toml
from sailsim.sim.study.origin import code_version
from sailsim.sim.study.workers import ENVIRONMENT, WorkerLostError, ended, environment

T = TypeVar("T")
R = TypeVar("R")

_ADDRESS = r"(?:[a-z]+://)?[\w.:%\[\]-]+:\d{1,5}/?"
CONNECT_S = 10.0
"""How long to wait for a scheduler's answer."""
COUNTED_S = 1.0
"""Between two counts of the workers."""
JOIN_S = 300
"""How long a worker that Slurm started waits for the scheduler before it ends."""


class Dask:
    """The workers of a scheduler of `dask.distributed`, which the user started; they stay when this ends."""

    def __init__(self, address: str) -> None:
        """Raises SailsimError where nothing answers, and at once for what is no address."""
        if re.fullmatch(_ADDRESS, address) is None:
            raise SailsimError(f"dask is {address!r}; allowed is an address such as tcp://HOST:8786.")
        distributed = _distributed()
        self.address = address
        try:
            self._client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise SailsimError(
                f"dask is {address!r}, where no scheduler answers ({_first_line(error)}); allowed is the "
                "address of one that runs, such as tcp://HOST:8786."
            ) from None
        self._pool = self._client.get_executor(pure=False)
        self._lost: type[Exception] = distributed.KilledWorker
        self._under_way: set[Future[Any]] = set()
        self._size, self._counted = 1, -COUNTED_S

    @property
    def size(self) -> int:
        """How many tasks are worked on at a time: the workers' threads; 1 while there is none."""
        present = time.monotonic()
        if present - self._counted >= COUNTED_S:
            self._counted = present
            with suppress(OSError):  # of a scheduler that is gone: what is under way says so
                self._size = max(1, sum(self._client.nthreads().values()))
        return self._size

    def submit(self, function: Callable[[T], R], argument: T) -> Future[R]:
        """As `Workers.submit`."""
        outer: Future[R] = Future()
        call = _Call(function, code_version(), str(Path.cwd()))
        inner = self._pool.submit(call, argument)
        self._under_way.add(inner)

        def over(done: Future[R]) -> None:
            self._under_way.discard(done)
            if not outer.done():
                self._hand_over(done, outer)

        inner.add_done_callback(over)
        return outer

    def _hand_over(self, done: Future[R], outer: Future[R]) -> None:
        """What came of a call, in the words of `Workers`."""
        try:
            outer.set_result(done.result())
        except CancelledError:
            outer.set_exception(
                SailsimError(
                    f"the scheduler at {self.address} is gone; what was found is stored, and with a new one "
                    "the same command goes on from there."
                )
            )
        except self._lost as error:
            outer.set_exception(WorkerLostError(_first_line(error)))
        except ModuleNotFoundError as error:
            outer.set_exception(
                SailsimError(
                    f"a worker of {self.address} has no {error.name}; allowed is a worker with this version "
                    "of sailsim."
                )
            )
        except Exception as error:
            outer.set_exception(error)

    def revive(self) -> None:
        """As `Workers.revive`; the scheduler itself replaces nothing, what is under way is cancelled."""
        for future in list(self._under_way):
            self._under_way.discard(future)
            future.cancel()

    def close(self, now: bool) -> None:
        """Let go of the scheduler; its workers stay."""
        if now:
            self.revive()
        with suppress(OSError, TimeoutError):
            self._client.close(timeout=CONNECT_S)


@dataclass(frozen=True)
class _Call:
    """A function that runs only where the code and the folder are those of the study."""

    function: Callable[[Any], Any]
    code: str
    folder: str

    def __call__(self, argument: Any) -> Any:
        if code_version() != self.code:
            raise SailsimError(
                f"a worker on {socket.gethostname()} has another version of sailsim than this; allowed is "
                "the same everywhere."
            )
        try:
            if str(Path.cwd()) != self.folder:
                os.chdir(self.folder)  # names of files are relative to it
        except OSError as error:
            raise SailsimError(
                f"a worker on {socket.gethostname()} has no folder {self.folder} ({error.strerror}); allowed "
                "is a folder that all machines share."
            ) from None
        return self.function(argument)


# --- Slurm ---


@dataclass(frozen=True)
class SlurmFile:
    """What `--slurm FILE` says."""

    jobs: int
    """Jobs that are kept running."""
    cluster: str = "slurm"
    """`slurm`, or `local` to try a file on one machine."""
    interface: str = ""
    """Of the network on which the jobs reach this machine; empty: that of its own name."""
    resubmit: int = 3
    """How often a job that ended early is submitted again, for each of `jobs`."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Of submitit's `update_parameters`: `timeout_min`, `cpus_per_task`, `slurm_partition`, ..."""

    @classmethod
    def load(cls, path: str | Path) -> SlurmFile:
        """Read a TOML file. Raises SailsimError with the field, its value and what is allowed."""
        table = read_toml(Path(path), "slurm", "TOML with `jobs`")
        known: dict[str, tuple[Callable[[Any], bool], str]] = {
            "jobs": (lambda v: _whole(v) and 1 <= v <= 10_000, "a whole number in 1..10000"),
            "cluster": (lambda v: v in ("slurm", "local"), "'slurm' and 'local'"),
            "interface": (lambda v: isinstance(v, str), "the name of a network interface"),
            "resubmit": (lambda v: _whole(v) and 0 <= v <= 1000, "a whole number in 0..1000"),
            "parameters": (lambda v: isinstance(v, dict), "a table of submitit's parameters"),
        }
        for name, value in table.items():
            if name not in known:
                raise SailsimError(f"slurm file {path}: {name!r} is unknown; allowed are {', '.join(known)}.")
            fits, allowed = known[name]
            if not fits(value):
                raise SailsimError(f"slurm file {path}: {name} is {value!r}; allowed are {allowed}.")
        if "jobs" not in table:
            raise SailsimError(f"slurm file {path} has no `jobs`; allowed is {known['jobs'][1]}.")
        return cls(**table)


class Slurm(Dask):
    """Jobs of Slurm that work for this process as long as it lives. One that ends early is replaced."""

    def __init__(self, path: str | Path) -> None:
        """Raises SailsimError for a bad file, and where jobs cannot be submitted."""
        self._file = SlurmFile.load(path)
        distributed, submitit = _distributed(), _imported("submitit")
        self._logs = _logs()
        self._cluster: Any = None
        self._jobs: list[Any] = []
        self._left = self._file.resubmit * self._file.jobs
        self._looked = time.monotonic()
        try:
            self._executor = submitit.AutoExecutor(folder=self._logs, cluster=self._file.cluster)
            self._executor.update_parameters(**{"timeout_min": 24 * 60} | dict(self._file.parameters))
            host = _own_host(self._file)
            self._cluster = distributed.LocalCluster(
                n_workers=0,
                host=host,
                dashboard_address=None,
                # Without a dashboard a scheduler still tells by HTTP how it is.
                scheduler_kwargs={"dashboard_address": f"{host}:0"},
                silence_logs=50,
            )
            super().__init__(self._cluster.scheduler_address)
            self._submit(self._file.jobs)
        except Exception as error:
            self.close(now=True)
            raise SailsimError(
                f"slurm file {path}: jobs cannot be submitted ({_first_line(error)}); allowed are parameters "
                "that submitit and the cluster take."
            ) from None

    def _submit(self, count: int) -> None:
        with environment(ENVIRONMENT):
            self._jobs += [self._executor.submit(_serve, self.address) for _ in range(count)]

    @property
    def size(self) -> int:
        """As `Dask.size`; jobs that have ended are submitted again."""
        present = time.monotonic()
        if present - self._looked >= COUNTED_S:
            self._looked = present
            running = [job for job in self._jobs if not job.done()]
            over = len(self._jobs) - len(running)
            self._jobs = running
            again = min(over, self._left)
            self._left -= again
            self._submit(again)
            if not self._jobs:
                raise SailsimError(
                    "every job of Slurm ended and none may be submitted again (`resubmit`); what was found "
                    "is stored, and the same command goes on from there."
                )
        return super().size

    def close(self, now: bool) -> None:
        """As `Workers.close`: the jobs end."""
        if hasattr(self, "_client"):
            super().close(now)
        for job in self._jobs:
            with suppress(Exception):  # a job that has ended by itself cannot be cancelled
                job.cancel()
        # The scheduler tells its workers to go before it does, which ends jobs that cancelling did not reach:
        # submitit cancels a local one by SIGINT, which a shell makes its background commands ignore.
        if self._cluster is not None:
            self._cluster.close()
        if self._file.cluster == "local":  # children of this process: nobody else sees to them
            for job in self._jobs:
                job.wait()
        _removed(self._logs)


def _serve(address: str) -> None:
    """What a job does: work for a scheduler until that is gone."""
    dask, worker_of = _imported("dask"), _distributed().Worker
    get_ip = _imported("distributed.utils").get_ip
    get_address_host = _imported("distributed.comm").get_address_host
    host = get_ip(get_address_host(address))  # the one address at which the scheduler is reached

    async def work() -> None:
        async with worker_of(address, host=host, nthreads=1, death_timeout=JOIN_S, dashboard=False) as worker:
            await worker.finished()

    with (
        TemporaryDirectory(prefix="sailsim-worker-") as scratch,
        dask.config.set({"temporary-directory": scratch}),
    ):
        asyncio.run(work())


def _logs() -> Path:
    """A new folder for what Slurm needs of this process, which jobs see too.

    Those of processes of this machine that were killed are removed.
    """
    parent, host = Path.cwd() / ".sailsim-slurm", socket.gethostname()
    for other in parent.glob(f"{host}-*"):
        process = other.name.removeprefix(f"{host}-")  # of host `vm-01` it is none
        if process.isdecimal() and not is_alive(int(process)):
            _removed(other)
    own = parent / f"{host}-{os.getpid()}"
    own.mkdir(parents=True, exist_ok=True)
    return own


def _removed(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # another process's is beside it
        folder.parent.rmdir()


def _own_host(file: SlurmFile) -> str:
    """The one address at which jobs reach this process."""
    if file.interface:
        return str(_imported("distributed.utils").get_ip_interface(file.interface))
    return "127.0.0.1" if file.cluster == "local" else socket.gethostname()


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _distributed() -> Any:
    return _imported("distributed")


def _imported(name: str) -> Any:
    """A package of the extra `cluster`, loaded where it is used alone: it takes most of a second."""
    with needing("cluster", "a cluster"):
        return importlib.import_module(name)


@contextmanager
def hired(dask: str = "", slurm: str | Path = "") -> Iterator[Dask]:
    """Workers of a cluster, one of the two; ended behind the block. Raises SailsimError as their classes."""
    with ended(Slurm(slurm) if slurm else Dask(dask)) as workers:
        assert isinstance(workers, Dask)
        yield workers
