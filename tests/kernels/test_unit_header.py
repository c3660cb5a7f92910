"""The header that makes the emulator's unit: any machine with PIM units, read as everywhere else."""

import runpy
import sys
from pathlib import Path

import pytest

from sailsim.sim.machine.system_files import load_system

SCRIPT = Path(__file__).parents[2] / "workloads" / "kernels" / "lutmm" / "unit_header.py"


def make(monkeypatch: pytest.MonkeyPatch, system: str, out: Path) -> None:
    """Run the script as `make kernels` does, which the tests of programs start from, without a process."""
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), system, str(out)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


@pytest.mark.parametrize("name", ["sail-n1", "sail-n1-free-hits"])
def test_it_holds_the_text_of_the_unit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "new" / "unit.hh"
    make(monkeypatch, name, out)
    assert load_system(name).unit_text(slices=1) in out.read_text()
    assert "emulated_units = 32;" in out.read_text()


def test_a_machine_without_units_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as end:  # with a text: which goes to standard error, and status 1
        make(monkeypatch, "graviton2", tmp_path / "unit.hh")
    assert isinstance(end.value.code, str)
    assert len(end.value.code.splitlines()) == 1
    assert "graviton2" in end.value.code
    assert not (tmp_path / "unit.hh").exists()
