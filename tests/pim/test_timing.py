"""Plans, timing and substrates through the bindings. The tight cases are in sim_ext/pim/tests."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sailsim import _core
from sailsim.lut_gemv import reference

from ..examples import examples
from .draws import SUBSTRATES, TILE

MakeSlice = Callable[..., _core.SliceConfig]
PHASES = ["load", "build", "lookup", "convert", "write_back"]


@examples(80)
@given(
    **TILE,
    n=st.integers(1, 3000),
    batch=st.integers(1, 10),
    scaled=st.booleans(),
    in_memory=st.booleans(),
)
def test_counts_equal_the_reference_and_phases_add_up(
    make_slice: MakeSlice,
    substrate: str,
    k: int,
    n: int,
    batch: int,
    wbits: int,
    abits: int,
    nbw: int,
    group_size: int,
    scaled: bool,
    in_memory: bool,
    double_buffer: bool,
) -> None:
    config = make_slice(
        substrate, rows=512, arrays=2, convert="memory" if in_memory else "cores", double_buffer=double_buffer
    )
    tile = (k, n, batch, wbits, wbits, abits, nbw, group_size)
    x = np.random.default_rng(k).integers(0, 1 << abits, (batch, k), dtype=np.uint16)
    entries = config.prt_entries if config.substrate.prt_helps else 0
    profile = _core.pattern_profile(x, abits, False, nbw, group_size, entries, "lru")
    plan = _core.plan_tile(config, *tile, scaled)
    timing = _core.time_tile(config, *tile, profile, scaled)

    converted = plan.blocks * batch if scaled and in_memory else 0
    expected = reference.tile_counts(
        profile, nbw=nbw, passes=plan.passes, chunks=plan.batch_chunks, conversions_per_pass=converted
    )
    assert timing.counts == expected.as_dict()
    assert all(getattr(timing, name) == count for name, count in timing.counts.items())
    assert sum(getattr(timing, phase) for phase in PHASES) == timing.total
    assert min(getattr(timing, phase) for phase in PHASES) >= 0
    if scaled and not in_memory:
        assert timing.convert == 0


def test_slices_share_the_outputs(make_slice: MakeSlice) -> None:
    plan = _core.plan_tile(make_slice(slices=32), 4096, 11008, 1, 4, 4, 8, 4, 0, False)
    # 168 lanes take as many passes, and load longer.
    assert (plan.owned, plan.entry_bits, plan.lanes, plan.passes) == (344, 6, 128, 3)
    assert (plan.groups, plan.blocks, plan.rows_needed) == (1024, 1, 23)


def test_a_profile_of_ones_own(make_slice: MakeSlice) -> None:
    def counts(value: int) -> Any:
        return np.full(4, value, np.int32)

    profile = _core.PatternProfile(counts(1), counts(2), counts(5))
    assert len(profile) == 4
    assert profile.hits.tolist() == [2] * 4
    assert not profile.hits.flags.writeable
    timing = _core.time_tile(make_slice(t_zero=0, t_prt=1), 16, 10, 1, 4, 4, 8, 4, 0, profile, False)
    assert timing.lookup == 4 * (2 + 5)
    with pytest.raises(TypeError, match="hits has the wrong dtype: allowed is int32"):
        _core.PatternProfile(counts(1), counts(2).astype(np.int64), counts(5))
    with pytest.raises(ValueError, match="misses has 3 elements along axis 0: allowed are 4"):
        _core.PatternProfile(counts(1), counts(2), counts(5)[:3])
    with pytest.raises(ValueError, match="zero is -1"):
        _core.PatternProfile(counts(-1), counts(2), counts(5))


def test_arrays_of_a_profile_outlive_it() -> None:
    x = np.ones((1, 8), np.int8)
    zero = _core.pattern_profile(x, 8, True, 4, 0, 32, "lru").zero
    assert zero.tolist() == [7, 7]


def test_bad_configurations_name_the_field(make_slice: MakeSlice) -> None:
    for field, value in {
        "rows": 0,
        "cols": -1,
        "arrays": 0,
        "slices": 0,
        "port_bytes": 0,
        "accumulator_bits": 64,
        "prt_entries": -1,
        "t_zero": -1,
        "t_prt": 1 << 30,
    }.items():
        with pytest.raises(ValueError, match=f"{field} is {value}: allowed are"):
            make_slice(**{field: value}).validate()
    with pytest.raises(ValueError, match="prt_policy is 'mru'"):
        make_slice(prt_policy="mru")
    with pytest.raises(ValueError, match="rows is 10: the tile needs 23"):
        _core.plan_tile(make_slice(rows=10), 64, 64, 1, 4, 4, 8, 4, 0, False)
    with pytest.raises(ValueError, match="value_bits is 17"):
        _core.plan_tile(make_slice(), 64, 64, 1, 4, 17, 8, 4, 0, False)


@examples(60)
@given(
    substrate=SUBSTRATES,
    n=st.integers(1, 1500),
    batch=st.integers(1, 6),
    group_size=st.sampled_from([0, 7, 32]),
    scaled=st.booleans(),
    in_memory=st.booleans(),
    double_buffer=st.booleans(),
    bytes_per_cycle=st.sampled_from([0.3, 7.0, float("inf")]),
    latency=st.sampled_from([0.0, 160.5]),
    ahead=st.sampled_from([0.0, 500.0, float("inf")]),
)
@example(
    substrate="row_dfm",
    n=505,
    batch=1,
    group_size=0,
    scaled=False,
    in_memory=False,
    double_buffer=False,
    bytes_per_cycle=7.0,
    latency=160.5,
    ahead=500.0,
)
def test_a_timeline_has_the_cycles_of_the_timing_in_order(
    make_slice: MakeSlice,
    substrate: str,
    n: int,
    batch: int,
    group_size: int,
    scaled: bool,
    in_memory: bool,
    double_buffer: bool,
    bytes_per_cycle: float,
    latency: float,
    ahead: float,
) -> None:
    k = 45
    config = make_slice(substrate, convert="memory" if in_memory else "cores", double_buffer=double_buffer)
    x = np.random.default_rng(n).integers(-128, 128, (batch, k)).astype(np.int8)
    profile = _core.pattern_profile(x, 8, True, 4, group_size, 32, "lru")
    shape = (k, n, batch, 4, 4, 8, 4, group_size)
    way = {"bytes_per_cycle": bytes_per_cycle, "latency": latency, "lead": 10.0, "ahead": ahead}
    timing = _core.time_tile(config, *shape, profile, scaled, **way)
    found = _core.tile_timeline(config, *shape, profile, scaled, **way)
    plan = _core.plan_tile(config, *shape, scaled)
    assert len(found) == plan.groups * plan.passes * plan.batch_chunks
    pass_, group, load_start, load_end, start, build, lookup, convert, write_back = found.T
    assert (pass_ * plan.groups + group).tolist() == list(range(len(found)))
    end = start + build + lookup + convert
    for phase, cycles in {
        "build": build,
        "lookup": lookup,
        "convert": convert,
        "write_back": write_back,
    }.items():
        assert cycles.sum() == getattr(timing, phase)
    assert (load_start < load_end).all()
    assert (load_end <= start).all()
    if double_buffer:
        assert (end[:-1] + write_back[:-1] <= start[1:]).all()  # the write-back has the port to itself
        assert (load_start[1:] == start[:-1]).all()
    else:
        assert (end[:-1] + write_back[:-1] == load_start[1:]).all()
    assert end[-1] + write_back[-1] == timing.total
    again = _core.tile_timeline(config, *shape, profile, scaled, arrivals=np.ascontiguousarray(load_end))
    assert np.array_equal(again, found)
    with pytest.raises(ValueError, match="arrivals has 1 elements: the tile has"):
        _core.tile_timeline(config, *shape, profile, scaled, arrivals=np.zeros(1, np.int64))
