"""Processes of this machine: what they leave in shared memory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sailsim.sim.study import workers
from sailsim.sim.study.run import run_study
from sailsim.sim.study.tasks import Task

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


def test_the_next_study_removes_the_semaphores_of_a_killed_group_and_no_others(tmp_path: Path) -> None:
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


def test_a_worker_and_the_trackers_have_a_safe_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    assert workers.in_parallel(flag, ["safe_path", "safe_path"], jobs=2) == [True, True]
    assert "PYTHONSAFEPATH" not in os.environ


def flag(name: str) -> bool:
    """A flag of the interpreter."""
    return bool(getattr(sys.flags, name))
