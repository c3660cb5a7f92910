"""The unit's fetch buffer in gem5."""

import pytest

from sailsim.lut_gemv.trace import write_trace
from sailsim.sim.files import load_system
from sailsim.sim.gem5.cases import tiles
from sailsim.sim.replay import timed_tile
from sailsim.sim.tiles import PimUnits

pytestmark = pytest.mark.gem5


def test_a_group_that_left_the_buffer_makes_room_at_once(gem5, tmp_path):
    """Groups of 2.8 KB in a buffer of 4 KiB: it took 8 % more when only the next group made room."""
    system = load_system("sail-n1")
    wide = next(tile for tile in tiles() if tile.name.startswith("96x700"))
    write_trace(tmp_path / "wide.trace", [wide])
    (row,) = gem5.replay(system, tmp_path / "wide.trace", tmp_path / "out", units=1).tiles()
    units = PimUnits(system, substrate=None, convert="memory", prt=wide.prt, slices=1, operands="dram")
    timed = timed_tile(units, wide)
    expected = (timed.throttled(units.dram.rate) - timed.edges.descriptor - timed.edges.record) * units.clock
    assert row["good"] == 1
    # The engine's time has its share of refreshes; this tile ends before the first.
    assert row["answered_ps"] < system.memory.timing.trefi.si * 1e12
    assert 0.93 < row["cycles"] / expected < 1.02
