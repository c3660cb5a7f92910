"""Traces on a whole machine."""

from pathlib import Path

import numpy as np
import pytest

from sailsim import _core
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.lut_gemv.trace import Trace, read_trace, write_trace
from sailsim.sim.files import load_system
from trace_time import simulate_trace

SAIL = load_system("sail-n1")
K, N, BATCH = 256, 128, 2


def tiles(count: int, seed: int = 0, **changes: object) -> list[Tile]:
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (BATCH, K), dtype=np.int8)
    code = WeightCode.twos(4)
    options: dict[str, object] = {"abits": 8, "nbw": 4} | changes
    return [
        Tile(x, rng.integers(0, 16, (K, N), dtype=np.uint8), code, **options)  # type: ignore[arg-type]
        for _ in range(count)
    ]


def trace(folder: Path, content: list[Tile]) -> Trace:
    write_trace(folder / "t.trace", content)
    return read_trace(folder / "t.trace")


def timing(tile: Tile, scaled: bool = False) -> _core.TileTiming:
    profile = _core.pattern_profile(tile.x, 8, True, tile.nbw, tile.group_size, 32 if tile.prt else 0, "lru")
    config = SAIL.slice_config(slices=1, prt_entries=32 if tile.prt else 0)
    return _core.time_tile(config, (K, N, BATCH, 4, 4, 8, tile.nbw, tile.group_size), profile, scaled)


@pytest.mark.parametrize(("count", "rounds"), [(32, 1), (33, 2)])
def test_parts_of_a_tensor_run_side_by_side(tmp_path, count, rounds):
    parts = tiles(count)
    one = timing(parts[0])
    result = simulate_trace(SAIL, trace(tmp_path, parts))
    assert (result.tiles, result.rounds) == (count, rounds)
    assert result.pim_cycles == rounds * one.total
    assert result.counts["lookups"] == count * one.lookups
    assert result.dram_bytes == pytest.approx(count * K * N / 2)
    assert sum(result.breakdown.values()) == pytest.approx(result.seconds)
    assert result.seconds >= one.total / 1.8e9


def test_flags_and_scales_reach_the_timing(tmp_path):
    blocks = K // 64
    scales = Scales(np.ones((blocks, N), np.float16), np.ones(BATCH, np.float32))
    scaled = tiles(1, group_size=64, scales=scales)
    plain = tiles(1, prt=False)
    first, second = timing(scaled[0], scaled=True), timing(plain[0])
    result = simulate_trace(SAIL, trace(tmp_path, scaled + plain))
    assert result.pim_cycles == first.total + second.total
    assert result.counts["conversions"] == first.conversions > 0
    assert result.counts["prt_hits"] == first.prt_hits
    assert result.dram_bytes == pytest.approx(2 * K * N / 2 + 2 * blocks * N)
