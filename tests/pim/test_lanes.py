"""How many lanes a pass takes, and what the DFMs' buffers hold: layouts that `plan_tile` chooses between."""

from collections.abc import Callable
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sailsim import _core

from ..examples import examples

MakeSlice = Callable[..., _core.SliceConfig]


def profile_of(k: int, batch: int, nbw: int, group_size: int) -> Any:
    x = np.random.default_rng(k * batch).integers(-128, 128, (batch, k)).astype(np.int8)
    return _core.pattern_profile(x, 8, True, nbw, group_size, 32, "lru")


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
    make_slice: MakeSlice,
    substrate: str,
    convert: str,
    k: int,
    n: int,
    batch: int,
    wbits: int,
    nbw: int,
    group_size: int,
    scaled: bool,
    minimum: bool,
    split: tuple[int, str],
    double_buffer: bool,
    port_bytes: int,
    buffers: tuple[float, float],
) -> None:
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
        _core.time_tile(
            config, k, n, batch, bits, bits, 8, nbw, group_size, profile, scaled, minimum=scaled and minimum
        )
        for bits in (wbits, wbits - 1)
    )
    assert narrow.total <= wide.total


def test_a_pass_takes_fewer_lanes_where_that_saves_rounds(make_slice: MakeSlice) -> None:
    config = make_slice(arrays=4)  # 168 lanes of 6 bits, 32 of a conversion
    plan = _core.plan_tile(config, 128, 330, 8, 4, 4, 8, 4, 128, True)
    # 4 + 4 + 3 rounds, where 168 lanes would take 6 + 6; 5 + 5 + 1 as many, but with a longer first load.
    assert (plan.lanes, plan.passes, plan.convert_rounds) == (128, 3, 4)
    # A single row converts cheaply: another pass would cost more than it saves.
    assert _core.plan_tile(config, 128, 330, 1, 4, 4, 8, 4, 128, True).lanes == 168
    # Without conversion in memory there are no rounds.
    assert _core.plan_tile(config, 128, 330, 8, 4, 4, 8, 4, 128, False).lanes == 168
    assert (
        _core.plan_tile(make_slice(arrays=4, convert="cores"), 128, 330, 8, 4, 4, 8, 4, 128, True).lanes
        == 168
    )


def test_sums_that_just_fit_take_one_pass(make_slice: MakeSlice) -> None:
    shape = (128, 160, 8, 4, 4, 8, 4, 128, True)
    needed = 8 * 160 * 32
    fits, short = (
        _core.plan_tile(make_slice(accumulator_buffer_bits=bits), *shape) for bits in (needed, needed - 1)
    )
    assert (fits.passes, fits.batch_chunks) == (1, 1)
    assert short.passes * short.batch_chunks > 1
    with pytest.raises(ValueError, match="accumulator_buffer_bits is 31: the sum of one output takes 32"):
        _core.plan_tile(make_slice(accumulator_buffer_bits=31), *shape)
    # Sums in the array take its rows instead.
    in_array = make_slice("bit_parallel", accumulator_buffer_bits=31)
    assert _core.plan_tile(in_array, *shape).batch_chunks == 1


@pytest.mark.parametrize("bits", [32 * 40, 32 * 333, 32 * 1000, 32 * 2000])
def test_whatever_the_buffer_every_sum_of_a_pass_has_room(make_slice: MakeSlice, bits: int) -> None:
    config = make_slice(accumulator_buffer_bits=bits, arrays=8)
    for batch in (1, 3, 32, 200):
        plan = _core.plan_tile(config, 128, 300, batch, 4, 4, 8, 4, 128, True)
        assert plan.chunk_rows * plan.outputs_per_pass * 32 <= bits
        assert plan.chunk_rows * plan.batch_chunks >= batch
        assert plan.lanes * plan.passes >= 300


def test_a_batch_beyond_the_sums_takes_chunks_where_memory_is_fast_and_passes_where_it_is_slow(
    make_slice: MakeSlice,
) -> None:
    profile = profile_of(128, 32, 4, 128)
    shape = (128, 160, 32, 4, 4, 8, 4, 128)

    def timed(sums: int, kib_cycles: int) -> tuple[_core.TilePlan, _core.TileTiming]:
        config = make_slice(accumulator_buffer_bits=32 * sums, weights_kib_cycles=kib_cycles)
        return _core.plan_tile(config, *shape, True), _core.time_tile(config, *shape, profile, True)

    ample, whole = timed(160 * 32, 0)
    assert (ample.passes, ample.batch_chunks) == (1, 1)
    fast, chunked = timed(160 * 8, 0)
    assert (fast.passes, fast.batch_chunks, fast.chunk_rows) == (1, 4, 8)
    assert chunked.table_builds == 4 * whole.table_builds
    assert chunked.weight_bytes == 4 * whole.weight_bytes
    # 40 outputs have room for the sums of all rows: 32 convert in one round.
    slow, passes = timed(160 * 8, 100_000)
    assert (slow.passes, slow.batch_chunks, slow.lanes) == (5, 1, 32)
    assert passes.table_builds == 5 * whole.table_builds
    assert passes.weight_bytes == whole.weight_bytes
    assert whole.total < chunked.total < passes.total


@pytest.mark.parametrize("kib_cycles", [0, 288, 1000])
def test_more_batch_rows_take_less_time_each(make_slice: MakeSlice, kib_cycles: int) -> None:
    """What has no room at once is worked in parts that have: never slower than so many tiles of a part."""
    rate = 1024 / kib_cycles if kib_cycles else inf
    config = make_slice(weights_kib_cycles=kib_cycles, accumulator_buffer_bits=32 * 160 * 8)
    each = []
    for batch in (1, 2, 4, 8, 16, 64, 256, 1024):
        profile = profile_of(128, batch, 4, 128)
        shape = (128, 160, batch, 4, 4, 8, 4, 128)
        each.append(_core.time_tile(config, *shape, profile, True, bytes_per_cycle=rate).total / batch)
    assert all(more <= 1.03 * fewer for fewer, more in pairwise(each))  # patterns differ from batch to batch


def test_activations_that_are_not_kept_come_again_in_every_further_pass(make_slice: MakeSlice) -> None:
    k, batch, passes = 128, 4, 3
    profile = profile_of(k, batch, 4, 0)
    shape = (k, 3 * 168, batch, 4, 4, 8, 4, 0)
    whole = k * batch * 8
    kept, again = (
        _core.time_tile(
            make_slice(activation_buffer_bits=bits, port_bytes=1, double_buffer=False), *shape, profile, False
        )
        for bits in (whole, whole - 1)
    )
    assert kept.activation_bytes == 0
    assert again.activation_bytes == (passes - 1) * k * batch
    assert again.load - kept.load == (passes - 1) * k * batch  # a byte a cycle, and nothing beside it
    assert again.weight_bytes == kept.weight_bytes
    with pytest.raises(ValueError, match="activation_buffer_bits is 63: two groups of one batch row take 64"):
        _core.plan_tile(make_slice(activation_buffer_bits=63), *shape, False)
    # Two groups of three rows: the batch of four takes two chunks.
    assert _core.plan_tile(make_slice(activation_buffer_bits=3 * 64), *shape, False).batch_chunks == 2
