"""Traces on a whole machine."""

import numpy as np
import pytest

from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Tile
from sailsim.lut_gemv.trace_file import read_trace, write_trace
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.step.tile_time import time_tile
from trace_time import simulate_trace

SAIL = load_system("sail-n1")
K, N, BATCH = 256, 128, 2


@pytest.mark.parametrize(("count", "rounds"), [(32, 1), (33, 2)])
def test_parts_of_a_tensor_run_side_by_side(tmp_path, count, rounds):
    rng = np.random.default_rng(0)
    x, code = rng.integers(-128, 128, (BATCH, K), dtype=np.int8), WeightCode.twos(4)
    one = Tile(x, rng.integers(0, 16, (K, N), dtype=np.uint8), code, abits=8, nbw=4)
    write_trace(tmp_path / "t.trace", [one] * count)
    result = simulate_trace(SAIL, read_trace(tmp_path / "t.trace"))
    assert (result.tiles, result.rounds) == (count, rounds)
    assert result.pim_cycles == rounds * time_tile(SAIL, one, "port").cycles
    assert result.counts["lookups"] == count * BATCH * 8 * K // 4
    assert result.dram_bytes == pytest.approx(count * K * N / 2)
    assert sum(result.breakdown.values()) == pytest.approx(result.seconds)
    assert result.seconds >= result.pim_cycles / 1.8e9
