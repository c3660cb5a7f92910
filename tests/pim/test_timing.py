"""Plans and timing through the bindings, and what these refuse; the cases that just fit."""

import re
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sailsim import _core
from sailsim.sim.step.tiles import TileShape

from ..examples import examples


def test_a_profile_of_ones_own(make_slice):
    def counts(value: int) -> Any:
        return np.full(4, value, np.int32)

    profile = _core.PatternProfile(counts(1), counts(2), counts(5))
    assert len(profile) == 4
    assert profile.hits.tolist() == [2] * 4
    assert not profile.hits.flags.writeable
    (timing,) = _core.TileTimer(make_slice(t_zero=0, t_prt=1), (16, 10, 1, 4, 4, 8, 4, 0), False).time(
        [profile]
    )
    assert timing.lookup == 4 * (2 + 5)
    with pytest.raises(ValueError, match="misses has 3 elements along axis 0: allowed are 4"):
        _core.PatternProfile(counts(1), counts(2), counts(5)[:3])
    with pytest.raises(ValueError, match="zero is -1"):
        _core.PatternProfile(counts(-1), counts(2), counts(5))


def test_arrays_of_a_profile_outlive_it():
    x = np.ones((1, 8), np.int8)
    zero = _core.pattern_profile(x, 8, 4, 0, 32, "lru").zero
    assert zero.tolist() == [7, 7]


CODES, VALUES = np.zeros((8, 3), np.uint8), np.zeros(16, np.int16)
PACKED = _core.PackedWeights(CODES, 4, VALUES)
X = np.zeros((2, 8), np.int8)
POOL = _core.PatternPool(np.zeros((2, 12), np.int8), 8, 4)
SUPPLY = {"bytes_per_cycle": 2.0, "latency": 50.0, "lead": 0.0, "ahead": inf}


def timed(make_slice, groups=16, **supply):
    profile = _core.PatternProfile(*(np.full(groups, n, np.int32) for n in (3, 5, 8)))
    return _core.TileTimer(make_slice(), TILE, False).time([profile], **SUPPLY | supply)[0]


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: _core.PackedWeights(CODES + 16, 4, VALUES), r"codes\[0, 0\] is 16: allowed are 0..15"),
        (lambda: _core.PackedWeights(CODES[:0], 4, VALUES), "k is 0"),
        (lambda: _core.PackedWeights(CODES, 3, VALUES), "values has 16 elements along axis 0: allowed are 8"),
        (lambda: _core.PackedWeights(CODES, 9, VALUES), "wbits is 9"),
        (lambda: _core.lut_gemv(X[:0], PACKED, 8, True, 4, 0), "batch is 0"),
        (lambda: _core.lut_gemv(X[:, :7].copy(), PACKED, 8, True, 4, 0), "x has 7 columns: the weights have"),
        (lambda: _core.lut_gemv(X.astype(np.int16), PACKED, 17, True, 4, 0), "abits is 17"),
        (lambda: _core.lut_gemv(X, PACKED, 8, True, 7, 0), "nbw is 7"),
        (lambda: _core.lut_gemv(X, PACKED, 8, True, 4, -1), "group_size is -1"),
        (lambda: _core.lut_gemv(X, PACKED, 8, True, 4, 0, 0), "threads is 0"),
        (lambda: _core.pattern_profile(X, 0, 4, 0, 32, "lru"), "abits is 0"),
        (lambda: _core.pattern_profile(X, 8, 4, 0, 32, "random"), "prt_policy is 'random': allowed are"),
        (lambda: _core.pattern_profile(X, 8, 4, 0, -1, "lru"), "prt_entries is -1"),
        (lambda: _core.PatternPool(X, 8, 5), "8 columns: allowed are multiples of nbw = 5"),
        (lambda: POOL.profile(np.array([[0, 2]]), 24, True), r"source is 2: allowed are 0\.\.1"),
        (lambda: POOL.profile(np.array([[0, 1]]), 28, True), "k is 28"),
        (lambda: POOL.profile(np.array([[0]]), 10, True), "k is 10"),
        (lambda: POOL.profile(np.zeros((0, 1), np.int64), 12, True), "batch is 0"),
        (lambda: _core.int_to_fp32_tally(1), "bits is 1"),
        (lambda: _core.int_to_fp32_tally(64), "bits is 64"),
    ],
)  # fmt: skip
def test_bad_numbers_are_named(call, why):
    with pytest.raises(ValueError, match=why):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: _core.PackedWeights(CODES.astype(np.int64), 4, VALUES),
        lambda: _core.PackedWeights(np.asfortranarray(CODES), 4, VALUES),
        lambda: _core.PackedWeights(CODES[0], 4, VALUES),
        lambda: _core.PackedWeights(CODES, 4, VALUES.astype(np.int32)),
        lambda: _core.lut_gemv(X.astype(np.float32), PACKED, 8, True, 4, 0),
        lambda: _core.lut_gemv(X.astype(np.float16), PACKED, 9, True, 4, 0),
        lambda: _core.lut_gemv(X, PACKED, 9, True, 4, 0),
        lambda: _core.lut_gemv(X[None], PACKED, 8, True, 4, 0),
        lambda: _core.lut_gemv([[1, 2]], PACKED, 8, True, 4, 0),
        lambda: _core.PatternProfile(*np.zeros((3, 4), np.int64)),
        lambda: _core.TileTimer(None, (64, 64, 1, 4, 4, 8, 4, 0), False),
    ],
)
def test_arrays_of_another_type_order_or_number_of_axes_are_refused(call):
    with pytest.raises(TypeError):
        call()


def test_a_half_is_the_float_of_its_value():
    halves, one = np.arange(1 << 16, dtype=np.uint16)[None], np.ones((1, 1), np.int16)
    codes, values = np.ones(halves.shape, np.uint8), np.array([0, 1], np.int16)
    found = _core.scaled_product(one, np.ones(1, np.float32), codes, 1, values, 0, halves)
    np.testing.assert_array_equal(found, halves.view(np.float16).astype(np.float32))


# --- What just fits and what just does not: a tile of K = 64, N = 100 and two rows, nibbles, NBW 4 ---

TILE = (64, 100, 2, 4, 4, 8, 4, 0)


@pytest.mark.parametrize(
    ("substrate", "unit", "nbw", "scaled", "needed"),
    [
        ("row_dfm", {}, 4, False, "23 (table 15, staging 8, sums of one batch row 0)"),
        ("bit_parallel", {}, 4, False, "24 (table 15, staging 8, sums of one batch row 1)"),
        ("bit_serial", {}, 4, False, "154 (table 90, staging 32, sums of one batch row 32)"),
        ("row_dfm", {}, 1, True, "7 (registers of the conversion 5, staging 2, "),
        ("row_dfm", {}, 2, True, "9 (registers of the conversion 5, staging 4, "),
        ("row_dfm", {"convert": "unit"}, 2, True, "7 (table 3, staging 4, "),
        ("row_dfm", {"convert": "cores"}, 2, True, "7 (table 3, staging 4, "),
        ("row_dfm", {}, 3, True, "13 (table 7, staging 6, "),
        ("bit_serial", {}, 4, True, "200 (registers of the conversion 136, staging 32, sums of one batch"),
    ],
)  # fmt: skip
def test_rows_that_just_fit(make_slice, substrate, unit, nbw, scaled, needed):
    rows = int(needed.partition(" ")[0])
    tile = (*TILE[:6], nbw, 0)
    _core.plan_tile(make_slice(substrate, rows=rows, **unit), tile, scaled)
    with pytest.raises(ValueError, match=re.escape(f"rows is {rows - 1}: the tile needs {needed}")):
        _core.plan_tile(make_slice(substrate, rows=rows - 1, **unit), tile, scaled)


@pytest.mark.parametrize(
    ("field", "least", "scaled", "why"),
    [
        ("cols", 6, False, "one output takes 6 cells"),
        ("cols", 32, True, "a conversion takes 32 cells"),
        ("activation_buffer_bits", 64, False, "two groups of one batch row take 64"),
        ("accumulator_buffer_bits", 32, False, "the sum of one output takes 32"),
    ],
)
def test_cells_and_buffers_that_just_fit(make_slice, field, least, scaled, why):
    _core.plan_tile(make_slice(**{field: least}), TILE, scaled)
    with pytest.raises(ValueError, match=f"{field} is {least - 1}: {why}"):
        _core.plan_tile(make_slice(**{field: least - 1}), TILE, scaled)


@pytest.mark.parametrize(
    ("unit", "tile", "scaled", "plan"),
    [
        ({}, {}, False, {"entry_bits": 6, "lanes": 4 * (256 // 6), "outputs_per_pass": 100, "passes": 1}),
        ({"slices": 3}, {}, False, {"owned": 34}),
        ({}, {"n": 168}, False, {"passes": 1}),
        ({}, {"n": 169}, False, {"passes": 2}),
        *(({}, {"nbw": nbw}, False, {"entry_bits": bits}) for nbw, bits in enumerate([4, 5, 6, 6, 7, 7], 1)),
        ({"substrate": "bit_parallel", "rows": 24}, {}, False, {"lane_bits": 32, "batch_chunks": 2}),
        ({"substrate": "bit_parallel", "rows": 25}, {}, False, {"batch_chunks": 1}),
        ({"substrate": "bit_serial", "rows": 154 + 31}, {}, False, {"lanes": 4 * 256, "batch_chunks": 2}),
        ({"substrate": "bit_serial", "rows": 154 + 32}, {}, False, {"batch_chunks": 1}),
        ({"substrate": "bit_serial"}, {"batch": 8}, False, {"chunk_rows": (256 - 90 - 32) // 32}),
        ({"substrate": "bit_serial"}, {"batch": 8}, True, {"chunk_rows": (256 - 136 - 32) // 32}),
    ],
)  # fmt: skip
def test_how_a_tile_lies_in_the_arrays(make_slice, unit, tile, scaled, plan):
    shape = TileShape(*TILE)._replace(**tile)
    found = _core.plan_tile(make_slice(**unit), shape, scaled)
    assert {field: getattr(found, field) for field in plan} == plan


LAST = 11 * (2 + 1 + 1) + 16 + 25
"""Work of the last group, which nothing hides: its table, its patterns and the write-back."""


@pytest.mark.parametrize(
    ("supply", "loading"),
    [
        ({}, 16 * 100 + 50),  # groups of 200 bytes at 2 a cycle
        ({"lead": 50.0}, 16 * 100),
        ({"lead": 51.0}, 16 * 100 - 1),
        # No room: the next is asked for when this one is here, all of it at once (800 bytes under way).
        ({"bytes_per_cycle": 8.0, "latency": 100.0, "ahead": 0.0}, 25 + 16 * 100),
    ],
)
def test_a_supply_s_latency_is_paid_once(make_slice, supply, loading):
    assert timed(make_slice, **supply).total == loading + LAST


@pytest.mark.parametrize(
    ("supply", "why"),
    [
        ({"ahead": -1.0}, "latency, lead and ahead"),
        ({"bytes_per_cycle": 0.0}, "bytes_per_cycle is 0.000000: allowed are positive numbers"),
        ({"bytes_per_cycle": 1e-30}, "too little to load 200 bytes"),
        ({"latency": -1.0}, "allowed are"),
        ({"lead": nan}, "allowed are"),
        ({"groups": 15}, "profile has 15 groups: the tile has 16"),
    ],
)
def test_bad_supplies_are_refused(make_slice, supply, why):
    with pytest.raises(ValueError, match=why):
        timed(make_slice, **supply)


# --- How many lanes a pass takes, and what the DFMs' buffers hold: layouts that `plan_tile` cho ---


def profile_of(k: int, batch: int, nbw: int, group_size: int) -> Any:
    x = np.random.default_rng(k * batch).integers(-128, 128, (batch, k)).astype(np.int8)
    return _core.pattern_profile(x, 8, nbw, group_size, 32, "lru")


@examples(300)
@given(
    substrate=st.sampled_from(["row_dfm", "bit_serial", "bit_parallel"]),
    convert=st.sampled_from(["memory", "unit", "cores"]),
    k=st.integers(1, 300),
    n=st.integers(1, 3000),
    batch=st.integers(1, 40),
    wbits=st.integers(2, 8),
    nbw=st.integers(1, 4),
    group_size=st.sampled_from([0, 7, 32, 128]),
    scaled=st.booleans(),
    minimum=st.booleans(),
    split=st.sampled_from([(1, "n"), (2, "n"), (2, "k"), (4, "k")]),
    double_buffer=st.booleans(),
    port_bytes=st.sampled_from([4, 32, 64]),
    buffers=st.sampled_from([(4.0, 2.0), (4.0, 21.0), (0.25, 64.0)]),
)
@example(  # at full lanes 800 outputs of 8 bits convert in 4 + 4 + 4 rounds, of 7 bits in 5 + 5 + 3
    substrate="row_dfm", convert="memory", k=128, n=800, batch=8, wbits=8, nbw=4, group_size=128,
    scaled=True, minimum=False, split=(1, "n"), double_buffer=True, port_bytes=32, buffers=(4.0, 64.0),
)  # fmt: skip
def test_a_narrower_code_is_never_slower(
    make_slice,
    substrate,
    convert,
    k,
    n,
    batch,
    wbits,
    nbw,
    group_size,
    scaled,
    minimum,
    split,
    double_buffer,
    port_bytes,
    buffers,
):
    if convert == "unit" and substrate != "row_dfm":
        convert = "memory"
    dfms, shared = split
    config = make_slice(
        substrate,
        rows=1024,
        arrays=8,
        convert=convert,
        dfms=dfms,
        dfm_split=shared,
        double_buffer=double_buffer,
        port_bytes=port_bytes,
        activation_buffer_bits=int(8192 * buffers[0]),
        accumulator_buffer_bits=int(8192 * buffers[1]),
        weights_kib_cycles=0,
    )
    profile = profile_of(k, batch, nbw, group_size)
    wide, narrow = (
        _core.TileTimer(
            config, (k, n, batch, bits, bits, 8, nbw, group_size), scaled, scaled and minimum
        ).time([profile])[0]
        for bits in (wbits, wbits - 1)
    )
    assert narrow.total <= wide.total


def test_a_pass_takes_fewer_lanes_where_that_saves_rounds(make_slice):
    config = make_slice(arrays=4)  # 168 lanes of 6 bits, 32 of a conversion
    plan = _core.plan_tile(config, (128, 330, 8, 4, 4, 8, 4, 128), True)
    # 4 + 4 + 3 rounds, where 168 lanes would take 6 + 6; 5 + 5 + 1 as many, but with a longer first load.
    assert (plan.lanes, plan.passes) == (128, 3)
    # A single row converts cheaply: another pass would cost more than it saves.
    assert _core.plan_tile(config, (128, 330, 1, 4, 4, 8, 4, 128), True).lanes == 168
    # Without conversion in memory there are no rounds.
    assert _core.plan_tile(config, (128, 330, 8, 4, 4, 8, 4, 128), False).lanes == 168
    assert (
        _core.plan_tile(make_slice(arrays=4, convert="cores"), (128, 330, 8, 4, 4, 8, 4, 128), True).lanes
        == 168
    )
