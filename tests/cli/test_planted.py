"""Files of the current folder with the names of modules: no process of a study runs them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
PLANTED = {
    *sys.stdlib_module_names,
    "click",
    "joblib",
    "numpy",
    "pandas",
    "sailsim",
    "distributed",
}
TELLS = "open(__file__ + '.executed', 'w').close()\n"
SWEEP = "sweep --model smollm2-135m --wbits 2,4 --batch 1,8"

pytestmark = pytest.mark.slow


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder with a file for every module that a study could ask for."""
    for name in PLANTED:
        (tmp_path / f"{name}.py").write_text(TELLS)
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    """That of a user: whoever runs these tests may have asked for safe paths."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"} | more


def study(folder: Path, command: str, *workers: str) -> None:
    """Run a study in a folder of which nothing is executed."""
    words = [str(BIN / "sailsim"), *command.split(), *workers, "--out", "out"]
    ended = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True)
    assert (ended.returncode, executed(folder)) == (0, []), ended.stderr


def executed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.executed"))


@pytest.mark.parametrize("command", [SWEEP, "claims reproduce --samples 4"])
def test_workers_run_no_file_of_the_current_folder(planted: Path, command: str) -> None:
    study(planted, command, "--jobs", "2")


def test_a_cluster_started_as_the_page_says_runs_no_file_of_the_current_folder(
    planted: Path, wait_until: Callable[[subprocess.Popen[bytes], Callable[[], bool]], None]
) -> None:
    pytest.importorskip("distributed", reason="a cluster needs the extra `cluster`")
    file = planted / "scheduler.txt"

    def dask(*words: str) -> subprocess.Popen[bytes]:
        """A part of the cluster, which ends with the test."""
        process = subprocess.Popen(
            [str(BIN / "dask"), *words, "--host", "127.0.0.1", "--no-dashboard"],
            cwd=planted,
            env=environment(PYTHONSAFEPATH="1"),
            stderr=subprocess.DEVNULL,
        )
        parts.callback(process.wait)
        parts.callback(process.terminate)
        return process

    with ExitStack() as parts:
        scheduler = dask("scheduler", "--port", "0", "--scheduler-file", str(file))
        wait_until(scheduler, lambda: file.exists() and "address" in file.read_text())
        address = json.loads(file.read_text())["address"]
        dask("worker", address, "--nthreads", "1")
        study(planted, SWEEP, "--jobs", address)
