"""Small faults of the RTL, one at a time: each must be found by the tests beside this one.

research/experiments/rtl_mutants.csv has them: file, a line of it, what stands there instead, and the test
that caught it. ``python -m tests.rtl.test_mutants`` tries them all and writes that test anew.
"""

import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "research" / "experiments" / "rtl_mutants.csv"


def mutants() -> list[dict[str, str]]:
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def mutated(mutant: dict[str, str], folder: Path) -> None:
    """Copy rtl/ with one line replaced."""
    shutil.copytree(ROOT / "rtl", folder)
    path = folder / mutant["file"]
    lines = path.read_text().split("\n")
    (at,) = (n for n, line in enumerate(lines) if line.strip() == mutant["line"])
    lines[at] = mutant["instead"]
    path.write_text("\n".join(lines))


def caught_by(mutant: dict[str, str], test: str = "") -> str:
    """The first test of all, or of one, that fails with a mutant; empty where none does."""
    with tempfile.TemporaryDirectory() as folder:
        mutated(mutant, Path(folder) / "rtl")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command += ["--hypothesis-profile=unshrunk", f"--ignore={__file__}"]
        command.append(str(Path(__file__).parent / test))
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "SAILSIM_RTL": str(Path(folder) / "rtl")},
            capture_output=True,
            text=True,
        )
    found = re.search(r"^(?:FAILED|ERROR) tests/rtl/(\w+\.py::\w+)", done.stdout, re.MULTILINE)
    assert (done.returncode == 0) == (found is None), done.stdout + done.stderr
    return found[1] if found else ""


def test_every_mutant_is_one_line_of_the_rtl(tmp_path: Path) -> None:
    assert len(mutants()) >= 20
    for number, mutant in enumerate(mutants()):
        mutated(mutant, tmp_path / str(number))
        assert mutant["caught by"], mutant


@pytest.mark.slow
@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: f"{mutant['file']}:{mutant['instead']}")
def test_every_mutant_is_caught(simulate, mutant: dict[str, str]) -> None:
    # Where cases are drawn another test may be the one that finds it.
    assert caught_by(mutant, mutant["caught by"]) or caught_by(mutant)


if __name__ == "__main__":
    rows = mutants()
    with ThreadPoolExecutor(int(sys.argv[1]) if sys.argv[1:] else 1) as pool:
        for row, test in zip(rows, pool.map(caught_by, rows), strict=True):
            row["caught by"] = test
            print(row["file"], row["instead"], "->", test or "NOTHING", flush=True)
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
