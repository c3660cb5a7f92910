"""gem5's units take a tile of every format and give what every other level does."""

from pathlib import Path

import pytest

from sailsim.lut_gemv.trace import read_trace
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.system import System

pytestmark = pytest.mark.gem5


def test_every_format_is_exact(gem5: Gem5, machine: System, format_trace: Path, tmp_path: Path) -> None:
    trace = read_trace(format_trace)
    rows = gem5.replay(machine, format_trace, tmp_path / "out").tiles()
    assert len(rows) == len(trace)
    wrong = [name for name, row in zip(trace.header["tiles"], rows, strict=True) if not row["good"]]
    assert wrong == []
