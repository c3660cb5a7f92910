"""Slices and units on a board of gem5's standard library (gem5-configs/sail_board.py)."""

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from sailsim.sim.gem5.binary import configs_path, machine_json
from sailsim.sim.machine.system import System

from .conftest import every_model

pytestmark = pytest.mark.gem5
Board = Callable[..., CompletedProcess[str]]


@pytest.fixture
def board(script: Board, machine: System, tmp_path: Path) -> Board:
    """Runs an example's board with options and a program to its good end."""
    (tmp_path / "machine.json").write_text(machine_json(machine))

    def run(*words: object) -> CompletedProcess[str]:
        done = script(configs_path() / "example_board.py", tmp_path / "machine.json", *words)
        assert done.returncode == 0, done.stderr
        return done

    return run


@every_model
def test_units_answer_on_every_core_model(board, kernels, cpu):
    result = board("--model", cpu, "--", kernels / "example_gemv", 4)
    assert re.search(r"^64 outputs right, \d+ cycles a tile, 0 tiles by emulation$", result.stdout, re.M)


def test_units_obey_the_protections_of_pages(board, kernels):
    result = board("--model", "atomic", "--", kernels / "lutmm_process", "--case", "pages")
    assert '"checks": 28, "failures": 0' in result.stdout


def test_memories_change_the_time_of_a_part_and_no_result(
    board: Board, kernels: Path, small_trace: Path, tmp_path: Path
) -> None:
    program = (kernels / "lutmm_driver", "--trace", small_trace, "--threads", 2, "--units", 4, "--m5")
    took = set()
    for memory in ("ddr4", "ddr5", "hbm2"):
        result = board("--memory", memory, "--model", "timing", "--cores", 2, "--", *program)
        assert '"wrong_words": 0' in result.stdout
        assert '"emulated": 0' in result.stdout
        took |= set(re.findall(r"^a part of ([\d.]+) us$", result.stdout, re.M))
        # One section is the part's, which the program dumps, and one is gem5's own at the end.
        assert (tmp_path / "out" / "stats.txt").read_text().count("Begin Simulation Statistics") == 2
    assert len(took) == 3
