"""The header that makes the emulator's unit: any machine with PIM units, read as everywhere else."""

import subprocess
import sys
from pathlib import Path

import pytest

from sailsim.sim import load_system

SCRIPT = Path(__file__).parents[2] / "workloads" / "kernels" / "lutmm" / "unit_header.py"


def made(system: object, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, str(system), out], capture_output=True, text=True)


@pytest.mark.parametrize("name", ["sail-n1", "sail-n1-free-hits"])
def test_it_holds_the_text_of_the_unit(name: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "unit.hh"
    assert made(name, out).returncode == 0
    assert load_system(name).unit_text(slices=1) in out.read_text()
    assert "emulated_units = 32;" in out.read_text()


def test_a_machine_without_units_is_refused(tmp_path: Path) -> None:
    done = made("graviton2", tmp_path / "unit.hh")
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert "graviton2" in done.stderr
    assert not (tmp_path / "unit.hh").exists()
