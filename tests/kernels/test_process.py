"""What an operating system makes of a process, and descriptors that somebody abandons, under emulation.

There a tile is complete when LUTMM returns. gem5 must give the same answers (tests/gem5/test_process.py).
"""

from pathlib import Path

import pytest

from .conftest import Report, Run

pytestmark = pytest.mark.aarch64


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("pages", {"only": (28, 28)}),
        ("fork", {"parent": (4, 4), "child": (4, 4)}),
        ("doorbell", {"without a doorbell": (0, 0)}),
    ],
)
def test_an_operating_system(report: Report, case: str, expected: dict[str, tuple[int, int]]) -> None:
    answers = report("lutmm_process", "--case", case)
    assert {each["process"]: (each["checks"], each["emulated"]) for each in answers} == expected
    assert all(each["failures"] == 0 for each in answers)


@pytest.mark.parametrize(("gone", "rounds"), [("thread", 1), ("place", 1), ("memory", 2)])
def test_what_remains_is_right(report: Report, cases: Path, gone: str, rounds: int) -> None:
    (answer,) = report("lutmm_driver", "--trace", cases, "--gone", gone, "--units", 3)
    assert answer["ok"] == answer["descriptors"]
    assert answer["emulated"] == rounds * answer["descriptors"]
    assert answer["wrong_words"] == 0


@pytest.mark.parametrize("gone", ["program", "core"])
def test_a_program_that_ends_says_nothing(run: Run, cases: Path, gone: str) -> None:
    result = run("lutmm_driver", "--trace", cases, "--gone", gone)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
