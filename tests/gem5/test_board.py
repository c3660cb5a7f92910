"""Slices and units on a board of gem5's standard library (gem5-configs/sail_board.py)."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sailsim.sim.gem5.binary import Gem5, configs_path, machine_json
from sailsim.sim.system import System

pytestmark = pytest.mark.gem5
Board = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def board(gem5: Gem5, machine: System, tmp_path: Path) -> Board:
    """Runs an example's board with options and a program; returns the finished process."""
    (tmp_path / "machine.json").write_text(machine_json(machine))

    def run(*words: object, script: str = "example_board.py") -> subprocess.CompletedProcess[str]:
        path = configs_path() / script
        command = [gem5.path, "-d", tmp_path / "out", path, tmp_path / "machine.json", *words]
        result = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        if "cannot import name" in result.stderr:
            pytest.skip("this gem5 was built without parts that its own standard library imports")
        return result

    return run


@pytest.mark.parametrize("model", ["atomic", "timing", "minor", "o3"])
def test_units_answer_on_every_core_model(board: Board, kernels: Path, model: str) -> None:
    result = board("--model", model, "--", kernels / "example_gemv", 4)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^64 outputs right, \d+ cycles a tile, 0 tiles by emulation$", result.stdout, re.M)


def test_units_obey_the_protections_of_pages(board: Board, kernels: Path) -> None:
    result = board("--model", "atomic", "--", kernels / "lutmm_process", "--case", "pages")
    assert result.returncode == 0, result.stderr
    assert '"checks": 28, "failures": 0' in result.stdout


def test_two_cores_and_the_driver(board: Board, kernels: Path, small_trace: Path) -> None:
    driver = (kernels / "lutmm_driver", "--trace", small_trace, "--threads", 2, "--units", 4)
    result = board("--model", "timing", "--cores", 2, "--", *driver)
    assert result.returncode == 0, result.stderr
    assert '"emulated": 0' in result.stdout
    assert "exiting with last active thread context" in result.stdout


def test_memories_change_the_time_of_a_part_and_no_result(
    board: Board, kernels: Path, small_trace: Path, tmp_path: Path
) -> None:
    program = (kernels / "lutmm_driver", "--trace", small_trace, "--threads", 2, "--units", 4, "--m5")
    took = set()
    for memory in ("ddr4", "ddr5", "hbm2"):
        words = ("--memory", memory, "--cores", 2, "--", *program)
        result = board(*words, script="example_region.py")
        assert result.returncode == 0, result.stderr
        assert '"wrong_words": 0' in result.stdout
        assert '"emulated": 0' in result.stdout
        took |= set(re.findall(r"^a part of ([\d.]+) us$", result.stdout, re.M))
        # One section is the part's, which the program dumps, and one is gem5's own at the end.
        assert (tmp_path / "out" / "stats.txt").read_text().count("Begin Simulation Statistics") == 2
    assert len(took) == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--units", 0), "units is 0; allowed: 1..64"),
        (("--units", 65), "units is 65; allowed: 1..64"),
        (("--model", "kvm"), "model is 'kvm'; allowed: atomic, minor, o3, timing"),
    ],
)
def test_what_is_allowed(board: Board, kernels: Path, words: tuple[object, ...], says: str) -> None:
    result = board(*words, "--", kernels / "example_gemv")
    assert result.returncode != 0
    assert says in result.stderr
