"""One function times a tile; what the commands print are its answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.lut_gemv.trace import read_trace, write_trace
from sailsim.sim.files import load_system
from sailsim.sim.gem5 import validation
from sailsim.sim.replay import simulate_trace
from sailsim.sim.tile_time import TileTime, time_tile
from sailsim.workloads.traces import replay_timed

SAIL = load_system("sail-n1")


def tile(k: int = 512, n: int = 96, batch: int = 2, wbits: int = 4, scaled: bool = True, **more: Any) -> Tile:
    random = np.random.default_rng(k + n)
    group = 128 if scaled else 0
    blocks = -(-k // group) if group else 1
    scales = Scales(np.ones((blocks, n), np.float16), np.ones(batch, np.float32)) if scaled else None
    return Tile(
        x=random.integers(-128, 128, (batch, k), dtype=np.int8),
        codes=random.integers(0, 1 << wbits, (k, n), dtype=np.uint8),
        code=WeightCode.twos(wbits),
        abits=8,
        group_size=group,
        scales=scales,
        **{"nbw": 4} | more,
    )


@given(
    k=st.integers(1, 700),
    n=st.integers(1, 200),
    batch=st.integers(1, 9),
    wbits=st.integers(2, 8),
    scaled=st.booleans(),
    prt=st.booleans(),
)
def test_the_nearer_the_weights_the_quicker(**shape: Any) -> None:
    port, chip, dram = (time_tile(SAIL, tile(**shape), memory) for memory in ("port", "chip", "dram"))
    assert port.working <= chip.working * (1 + 1e-12) <= dram.working * (1 + 1e-9)
    assert chip.around == dram.around
    assert (port.around, port.waiting, chip.waiting) == ({}, 0.0, 0.0)
    assert dram.waiting >= -1e-6
    assert all(cycles > 0 for cycles in chip.around.values())
    assert dram.seconds == pytest.approx(dram.cycles / 1.8e9)
    for phase in ("build", "lookup", "convert", "write_back"):
        assert port.phases[phase] == chip.phases[phase] == dram.phases[phase]


def test_the_port_is_what_replay_prints(tmp_path: Path) -> None:
    tiles = [tile(), tile(n=31, scaled=False), tile(k=63, prt=False)]
    write_trace(tmp_path / "t.trace", tiles)
    printed = replay_timed(read_trace(tmp_path / "t.trace"), SAIL.slice_config(slices=1))
    for one, row in zip(tiles, printed, strict=True):
        assert row.cycles is not None
        assert time_tile(SAIL, one, "port").cycles == row.cycles["total"]


def test_the_port_is_the_core_with_all_weights_at_hand() -> None:
    one = tile()
    profile = _core.pattern_profile(one.x, 8, True, 4, 128, 32, "lru")
    timing = _core.time_tile(SAIL.slice_config(slices=1), *one.shape, profile, True)
    assert time_tile(SAIL, one, "port").working == timing.total


def test_a_trace_of_one_tile_takes_its_time_beside_what_the_cores_do(tmp_path: Path) -> None:
    one = tile()
    write_trace(tmp_path / "t.trace", [one])
    result = simulate_trace(SAIL, read_trace(tmp_path / "t.trace"))
    units = result.seconds - result.breakdown["cores"] - result.breakdown["sync"]
    chip, dram = (time_tile(SAIL, one, memory).seconds for memory in ("chip", "dram"))
    assert chip <= units * (1 + 1e-9)
    assert units == pytest.approx(dram, rel=0.05)


def test_dram_is_what_gem5_is_compared_with() -> None:
    one = tile()
    seconds, _ = validation.engine_seconds(SAIL, one, validation.ALONE)
    dram: TileTime = time_tile(SAIL, one, "dram")
    compared = dram.cycles - dram.around["descriptor"] - dram.around["record"]
    assert compared == pytest.approx(seconds * 1.8e9, abs=1.1)


def test_what_is_no_way_is_refused() -> None:
    with pytest.raises(SailsimError, match="memory is 'llc'; allowed is one of port, chip, dram"):
        time_tile(SAIL, tile(), "llc")  # type: ignore[arg-type]
    with pytest.raises(SailsimError, match=r"no enabled \[pim\] section"):
        time_tile(load_system("graviton2"), tile())


@pytest.mark.parametrize("memory", ["chip", "dram"])
def test_weights_behind_a_codebook_are_asked_for_when_it_is_here(memory: Any) -> None:
    """Without one they are under way while the operands come: a whole latency less to wait for."""
    plain = tile(64, 16, 1, scaled=False)
    book = tile(64, 16, 1, scaled=False)
    object.__setattr__(book, "code", WeightCode.book(plain.code.values.tolist()))
    times = [time_tile(SAIL, each, memory) for each in (plain, book)]
    units = validation.PimUnits(
        SAIL, substrate=None, convert=SAIL.unit_convert, prt=True, slices=1, operands="dram"
    )
    waits = times[1].working - times[0].working
    latency = units.chip.latency if memory == "chip" else units.operands.latency
    assert waits == pytest.approx(latency * units.clock, abs=3)
