"""Studies that are stopped, killed and hindered: nothing is lost, doubled or left behind."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sailsim.base.errors import SailsimError
from sailsim.base.stop import Termination
from sailsim.sim.study import workers
from sailsim.sim.study.open_study import TRIES, Task, run_study
from sailsim.sim.study.store import Store

STUDY = """
    import os, sys, time
    from pathlib import Path
    from sailsim.sim.study import open_study
    from sailsim.sim.study.open_study import run_study
    from sailsim.sim.study.open_study import Task

    FOLDER, LOG, JOBS, TASKS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

    def slow(seed):
        with open(LOG, "a") as log:
            log.write(f"{seed} {os.getpid()}\\n")
        while seed >= TASKS // 2 and not Path(LOG + ".go").exists():
            time.sleep(0.01)  # the first run does not come to its end
        return {"seed": seed, "parts": {"a": seed / 3}}

    if __name__ == "__main__":
        # The sources may change between two runs of a test; the code's version must not.
        open_study.code_version = lambda: "fixed"
        tasks = [Task(f"{seed:032x}", str(seed), seed, seed) for seed in range(TASKS)]
        run_study(tasks, slow, FOLDER, jobs=JOBS, progress=False)
"""
COLUMNS = ["seed", "parts", "key", "point_key", "code_version"]


class Script:
    """A study of a script, which stops half way until it is let go."""

    def __init__(self, folder: Path, jobs: int, tasks: int = 40) -> None:
        self.out, self.log = folder / "out", folder / "log"
        path = folder / "study.py"
        path.write_text(textwrap.dedent(STUDY))
        self.command = [sys.executable, str(path), str(self.out), str(self.log), str(jobs), str(tasks)]
        self.tasks = tasks

    def start(self, **how: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(self.command, start_new_session=True, text=True, **how)

    def stored(self) -> set[str]:
        return Store(self.out).keys()

    def go(self) -> None:
        Path(f"{self.log}.go").touch()

    def workers(self) -> set[int]:
        return {int(line.split()[1]) for line in self.log.read_text().splitlines()}

    def frame(self) -> pd.DataFrame:
        return Store(self.out).frame()[COLUMNS]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    script = Script(tmp_path_factory.mktemp("undisturbed"), jobs=1)
    script.go()
    subprocess.run(script.command, check=True)
    return script.frame()


@pytest.mark.slow
@pytest.mark.usefixtures("hears_hang_up")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_stopped_study_loses_doubles_and_leaves_nothing(tmp_path, wait_until, undisturbed, number, jobs):
    script = Script(tmp_path, jobs)
    process = script.start(stderr=subprocess.PIPE)
    try:
        wait_until(process, lambda: len(script.stored()) >= 2)
        assert Store(script.out).manifest["state"] == "running"
        process.send_signal(number)  # to the parent alone: its workers have to see to themselves
        _, said = process.communicate()
    finally:
        process.kill()
    for pid in script.workers():
        while alive(pid):
            time.sleep(0.05)
    state = Store(script.out).manifest["state"]
    assert state == "stopped"
    if number != signal.SIGKILL:
        assert re.search(r"\d+ of 40 points are stored in ", said)
    kept = Store(script.out).records()
    assert 0 < len(kept) == len(script.stored()) < 40

    at_stop = len(script.log.read_text().splitlines())
    script.go()
    subprocess.run(script.command, check=True)
    pd.testing.assert_frame_equal(script.frame(), undisturbed)
    assert len(script.stored()) == 40
    assert sorted(path.name for path in script.out.iterdir()) == [".lock", "study.sqlite"]
    # What was on disk was not run again.
    again = {line.split()[0] for line in script.log.read_text().splitlines()[at_stop:]}
    assert not again & {str(row["seed"]) for row in kept}
    assert Store(script.out).manifest["state"] == "complete"
    assert Store(script.out).manifest["held_before"] == len(kept)


def tasks(count: int) -> list[Task]:
    return [Task(f"{i:032x}", f"question {i}", i, i) for i in range(count)]


def kills_its_worker(what: tuple[int, bool]) -> dict[str, Any]:
    number, kills = what
    if kills:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"x": number}


def test_a_signal_that_a_library_drops_stops_the_study_too(tmp_path):
    def dropped(seed):
        if seed == 3:
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
        return {"seed": seed}

    tasks = [Task(f"{seed:032x}", str(seed), seed, seed) for seed in range(1000)]
    with pytest.raises(Termination):
        run_study(tasks, dropped, tmp_path / "out", progress=False)
    assert Store(tmp_path / "out").manifest["state"] == "stopped"
    assert 4 <= len(Store(tmp_path / "out").keys()) < 1000


@pytest.mark.slow
@pytest.mark.parametrize("at", [5, 29])
def test_a_task_that_kills_its_worker_is_recorded_and_the_others_have_results(tmp_path, monkeypatch, at):
    # The study looks after its workers many times before one of them has come up: it must not forget that
    # a task is tried alone, the very last one included.
    monkeypatch.setattr(workers, "LOOKS_S", 0.001)
    given = [Task(f"{i:032x}", f"question {i}", (i, i == at), i) for i in range(30)]
    with pytest.raises(SailsimError, match=rf"1 of 30 points failed .*worker was lost {TRIES} times"):
        run_study(given, kills_its_worker, tmp_path, jobs=2, progress=False)
    store = Store(tmp_path)
    assert list(store.frame()["x"]) == [i for i in range(30) if i != at]
    assert list(store.manifest["failed"]) == [f"question {at}"]


# --- What processes leave in shared memory ---

SHARED_MEMORY = Path("/dev/shm")
KILLED = """
import os, signal, time
from sailsim.sim.study.workers import Processes
kept = Processes(2)
print(os.getpid(), flush=True)
os.killpg(0, signal.SIGKILL)
"""


def semaphores(process: int) -> list[Path]:
    return list(SHARED_MEMORY.glob(f"sem.*-{process}-*"))


def test_workers_end_at_once_with_a_task_that_nobody_took(monkeypatch):
    """loky's thread ended with a KeyError, on standard error, at a task that it had yet to hand out."""
    pool = workers.Processes(1)
    assert pool.submit(abs, -1).result() == 1
    thread, waker = pool._pool._executor_manager_thread, pool._pool._executor_manager_thread_wakeup
    with monkeypatch.context() as asleep:
        asleep.setattr(waker, "wakeup", lambda: None)
        future = pool.submit(abs, -2)
    pool.close(now=True)
    thread.join()  # what it raises is an error here
    with pytest.raises(workers.ShutdownExecutorError):
        future.result()


def test_the_next_study_removes_the_semaphores_of_a_killed_group_and_no_others(tmp_path):
    words = [sys.executable, "-c", KILLED]
    killed = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    said, _ = killed.communicate()
    assert (killed.returncode, killed.pid) == (-signal.SIGKILL, int(said))
    foreign = SHARED_MEMORY / f"sem.loky-{killed.pid}-test"
    foreign.write_bytes(b"")
    living = workers.Processes(2)
    try:
        assert len(semaphores(killed.pid)) > 1
        run_study([Task("k", "q", 1)], lambda what: {"x": what}, tmp_path, progress=False)
        assert semaphores(killed.pid) == [foreign]
        assert semaphores(os.getpid())
    finally:
        living.close(now=True)
        foreign.unlink()


def test_an_end_at_once_ends_the_workers_while_tasks_wait_for_one():
    pool = workers.Processes(2)
    futures = [pool.submit(time.sleep, 60) for _ in range(20)]  # more than are handed out beforehand
    while not futures[4].running():  # the last of those
        time.sleep(0.01)
    pids = list(pool._pool._processes)
    manager = pool._pool._executor_manager_thread
    pool.forget(futures)
    pool.close(now=True)
    manager.join(timeout=50)
    assert not manager.is_alive()
    assert not any(alive(pid) for pid in pids)


def test_an_end_at_once_does_not_wait_for_half_a_result():
    pool = workers.Processes(2)
    pool.submit(time.sleep, 60)
    manager = pool._pool._executor_manager_thread
    os.write(pool._pool._result_queue._writer.fileno(), b"half")  # as of a worker that a signal ended
    time.sleep(0.5)
    pool.close(now=True)
    manager.join(timeout=50)
    assert not manager.is_alive()


def test_a_worker_and_the_trackers_have_a_safe_path(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    store = run_study(tasks(2), flag, tmp_path, jobs=2, progress=False)
    assert [record["safe_path"] for record in store.records()] == [True, True]
    assert "PYTHONSAFEPATH" not in os.environ


def flag(_: int) -> dict[str, Any]:
    return {"safe_path": bool(sys.flags.safe_path)}
