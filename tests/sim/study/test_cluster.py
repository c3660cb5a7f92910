"""A real cluster on this machine: a scheduler and workers as processes over TCP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sailsim.analysis.studies.sweep_study import run_sweep
from sailsim.base.errors import SailsimError
from sailsim.sim.point import Point
from sailsim.sim.study.open_study import Task, run_study
from sailsim.sim.study.store import Store
from sailsim.sim.study.workers import Dask

pytest.importorskip("distributed", reason="a cluster needs the extra `cluster`")
pytestmark = pytest.mark.slow

TASKS = 40


def slow_square(seconds: float, what: int) -> dict[str, Any]:
    """A record that takes a while."""
    time.sleep(seconds)
    return {"x": what, "square": what * what}


def tasks(count: int = TASKS) -> list[Task]:
    return [Task(f"key-{i}", f"question {i}", i, i) for i in range(count)]


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that end with the test."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def worker(address: str) -> list[str]:
    words = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
    return [sys.executable, "-W", "ignore", "-m", "distributed.cli.dask_worker", address, *words]


@pytest.fixture
def scheduler(
    tmp_path: Path,
    processes: list[subprocess.Popen[bytes]],
    wait_until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The address of a scheduler without workers."""
    file = tmp_path / "scheduler.json"
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
    module = "distributed.cli.dask_scheduler"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", module, *words], stderr=subprocess.DEVNULL
    )
    processes.append(process)
    wait_until(process, lambda: file.exists() and "address" in file.read_text())
    return str(json.loads(file.read_text())["address"])


def start_workers(
    address: str, processes: list[subprocess.Popen[bytes]], tmp_path: Path, count: int = 2
) -> list[subprocess.Popen[bytes]]:
    found = [subprocess.Popen(worker(address), cwd=tmp_path, stderr=subprocess.DEVNULL) for _ in range(count)]
    processes.extend(found)
    return found


def test_a_cluster_that_loses_a_worker_gives_what_one_process_gives(tmp_path, scheduler, processes):
    evaluate = partial(slow_square, 0.1)
    alone = run_study(tasks(), partial(slow_square, 0.0), tmp_path / "alone", progress=False)
    first, _ = start_workers(scheduler, processes, tmp_path)
    killed = []

    class Killing(Dask):
        """The same, but a worker is killed while tasks are under way."""

        def submit(self, function: Any, argument: Any) -> Any:
            if self._done_one and not killed:
                os.kill(first.pid, signal.SIGKILL)
                killed.append(first.wait())
            future = super().submit(function, argument)
            future.add_done_callback(lambda _: self._seen())
            return future

        _done_one = False

        def _seen(self) -> None:
            self._done_one = True

    with Killing(scheduler) as workers:
        store = run_study(tasks(), evaluate, tmp_path / "many", jobs=workers, progress=False)
    assert killed == [-signal.SIGKILL]
    own = ["finished_at", "evaluation_s"]
    assert store.frame().drop(columns=own).equals(alone.frame().drop(columns=own))
    assert store.manifest["state"] == "complete"


def test_a_scheduler_that_goes_ends_the_study_with_one_sentence(tmp_path, scheduler, processes):
    start_workers(scheduler, processes, tmp_path, 1)

    class Doomed(Dask):
        """A scheduler that is killed once something is stored."""

        def submit(self, function: Any, argument: Any) -> Any:
            future = super().submit(function, argument)
            if Store(tmp_path / "out").keys():
                processes[0].kill()
            return future

    gone = r"the scheduler at .* is gone; .* goes on from there"
    with Doomed(scheduler) as workers, pytest.raises(SailsimError, match=gone):
        run_study(tasks(), partial(slow_square, 0.05), tmp_path / "out", jobs=workers, progress=False)
    assert Store(tmp_path / "out").manifest["state"] == "stopped"
    store = run_study(tasks(), partial(slow_square, 0.0), tmp_path / "out", progress=False)
    assert list(store.frame()["x"]) == list(range(TASKS))
    assert store.manifest["held_before"] > 0


def test_an_address_that_is_none():
    with pytest.raises(SailsimError, match="jobs is 'nonsense'; allowed is a number of processes"):
        Dask("nonsense")


def takes_its_worker_along(what: int) -> dict[str, Any]:
    """A task of which the third ends the process that evaluates it."""
    if what == 3:
        os._exit(1)
    return {"x": what}


def of_point(point: Point) -> dict[str, Any]:
    """What a point says, without simulating it."""
    return {"batch": point.batch, "system": point.system}


def test_a_task_that_takes_its_workers_along_is_recorded_and_the_others_are_done(
    tmp_path: Path, scheduler: str, processes: list[subprocess.Popen[bytes]]
) -> None:
    # Each try costs two workers here. A nanny starts them again, as a user's cluster does.
    nannies = [word for word in worker(scheduler) if word != "--no-nanny"]
    processes += [subprocess.Popen(nannies, cwd=tmp_path, stderr=subprocess.DEVNULL) for _ in range(2)]
    with (
        Dask(scheduler) as workers,
        pytest.raises(SailsimError, match=r"1 of 8 points failed .*its worker was lost 3 times"),
    ):
        run_study(tasks(8), takes_its_worker_along, tmp_path / "out", jobs=workers, progress=False)
    store = Store(tmp_path / "out")
    assert sorted(store.frame()["x"]) == [0, 1, 2, 4, 5, 6, 7]
    assert list(store.manifest["failed"]) == ["question 3"]


def test_what_a_worker_sees_must_be_what_was_asked(
    tmp_path: Path, scheduler: str, processes: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_workers(scheduler, processes, tmp_path, 1)
    machine = tmp_path / "my.toml"
    ordinary = 'extends = "sail-n1"\nname = "my"\n'
    machine.write_text(ordinary)
    points = [Point(system="my.toml", batch=batch) for batch in range(1, 5)]
    monkeypatch.chdir(tmp_path)
    with Dask(scheduler) as workers:
        store = run_sweep(points, of_point, "out", jobs=workers, progress=False)
        assert list(store.frame()["batch"]) == [1, 2, 3, 4]

    class Late(Dask):
        """The file is another one when the workers look at it."""

        def submit(self, function: Any, argument: Any) -> Any:
            machine.write_text(ordinary)
            return super().submit(function, argument)

    machine.write_text(ordinary + "pim.enabled = false\n")
    changed = r"my\.toml (has other content on|changed while)"
    with Late(scheduler) as late, pytest.raises(SailsimError, match=changed):
        run_sweep(points, of_point, "out", jobs=late, progress=False)
