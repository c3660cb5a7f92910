"""Plans, timing and substrates through the bindings. The tight cases are in sim_ext/pim/tests."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sailsim import _core

from ..examples import examples


def test_a_profile_of_ones_own(make_slice):
    def counts(value: int) -> Any:
        return np.full(4, value, np.int32)

    profile = _core.PatternProfile(counts(1), counts(2), counts(5))
    assert len(profile) == 4
    assert profile.hits.tolist() == [2] * 4
    assert not profile.hits.flags.writeable
    timing = _core.time_tile(make_slice(t_zero=0, t_prt=1), (16, 10, 1, 4, 4, 8, 4, 0), profile, False)
    assert timing.lookup == 4 * (2 + 5)
    with pytest.raises(TypeError, match="hits has the wrong dtype: allowed is int32"):
        _core.PatternProfile(counts(1), counts(2).astype(np.int64), counts(5))
    with pytest.raises(ValueError, match="misses has 3 elements along axis 0: allowed are 4"):
        _core.PatternProfile(counts(1), counts(2), counts(5)[:3])
    with pytest.raises(ValueError, match="zero is -1"):
        _core.PatternProfile(counts(-1), counts(2), counts(5))


def test_arrays_of_a_profile_outlive_it():
    x = np.ones((1, 8), np.int8)
    zero = _core.pattern_profile(x, 8, True, 4, 0, 32, "lru").zero
    assert zero.tolist() == [7, 7]


def test_bad_configurations_name_the_field(make_slice):
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
        _core.plan_tile(make_slice(rows=10), (64, 64, 1, 4, 4, 8, 4, 0), False)
    with pytest.raises(ValueError, match="value_bits is 17"):
        _core.plan_tile(make_slice(), (64, 64, 1, 4, 17, 8, 4, 0), False)


# --- The kernel and the pattern counts against NumPy: int64 products and the reference's simula ---


def test_other_memory_orders_are_copied():
    rng = np.random.default_rng(5)
    codes = np.asfortranarray(rng.integers(0, 16, (30, 20)).astype(np.uint8))
    values = np.arange(-16, 16, 2, dtype=np.int16)
    x = rng.integers(-8, 8, (6, 60)).astype(np.int16)[::2, ::2]
    packed = _core.PackedWeights(codes, 4, values)
    assert np.array_equal(
        _core.lut_gemv(x, packed, 4, True, 4, 0)[0], x.astype(np.int64) @ values[codes].astype(np.int64)
    )


def test_bad_operands_are_named():
    codes, values = np.zeros((8, 3), np.uint8), np.zeros(16, np.int16)
    packed = _core.PackedWeights(codes, 4, values)
    x = np.zeros((2, 8), np.int8)

    with pytest.raises(ValueError, match=r"codes\[1, 2\] is 16: allowed are 0\.\.15"):
        _core.PackedWeights(np.where(np.arange(24).reshape(8, 3) == 5, 16, 0).astype(np.uint8), 4, values)
    with pytest.raises(TypeError, match="codes has the wrong dtype: allowed is uint8"):
        _core.PackedWeights(codes.astype(np.int64), 4, values)
    with pytest.raises(ValueError, match="codes has 1 dimensions"):
        _core.PackedWeights(codes[0], 4, values)
    with pytest.raises(ValueError, match="codes is empty"):
        _core.PackedWeights(codes[:0], 4, values)
    with pytest.raises(ValueError, match="values has 16 elements along axis 0: allowed are 8"):
        _core.PackedWeights(codes, 3, values)
    with pytest.raises(TypeError, match="values has the wrong dtype: allowed is int16"):
        _core.PackedWeights(codes, 4, values.astype(np.int32))
    with pytest.raises(ValueError, match="wbits is 9"):
        _core.PackedWeights(codes, 9, values)

    with pytest.raises(TypeError, match="x has the wrong dtype"):
        _core.lut_gemv(x.astype(np.float32), packed, 8, True, 4, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="x has 3 dimensions"):
        _core.lut_gemv(x[None], packed, 8, True, 4, 0)
    with pytest.raises(ValueError, match="x is empty"):
        _core.lut_gemv(x[:0], packed, 8, True, 4, 0)
    with pytest.raises(ValueError, match="x has 7 columns: the weights have k = 8"):
        _core.lut_gemv(x[:, :7], packed, 8, True, 4, 0)
    with pytest.raises(ValueError, match=r"x\[0, 0\] is 8: allowed are -8\.\.7"):
        _core.lut_gemv(x + np.int8(8), packed, 4, True, 4, 0)
    for field, arguments in {
        "abits": (17, True, 4, 0, 1),
        "nbw": (8, True, 7, 0, 1),
        "group_size": (8, True, 4, -1, 1),
        "threads": (8, True, 4, 0, 0),
    }.items():
        with pytest.raises(ValueError, match=f"{field} is"):
            _core.lut_gemv(x, packed, *arguments)
    with pytest.raises(ValueError, match="abits is 0"):
        _core.pattern_profile(x, 0, True, 4, 0, 32, "lru")
    with pytest.raises(ValueError, match="prt_policy is 'random': allowed are lru, fifo, direct"):
        _core.pattern_profile(x, 8, True, 4, 0, 32, "random")
    with pytest.raises(ValueError, match="prt_entries is -1"):
        _core.pattern_profile(x, 8, True, 4, 0, -1, "lru")
    with pytest.raises(TypeError):
        _core.lut_gemv([[1, 2]], packed, 8, True, 4, 0)  # type: ignore[arg-type]


# --- How many lanes a pass takes, and what the DFMs' buffers hold: layouts that `plan_tile` cho ---


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
        _core.time_tile(
            config, (k, n, batch, bits, bits, 8, nbw, group_size), profile, scaled, minimum=scaled and minimum
        )
        for bits in (wbits, wbits - 1)
    )
    assert narrow.total <= wide.total


def test_a_pass_takes_fewer_lanes_where_that_saves_rounds(make_slice):
    config = make_slice(arrays=4)  # 168 lanes of 6 bits, 32 of a conversion
    plan = _core.plan_tile(config, (128, 330, 8, 4, 4, 8, 4, 128), True)
    # 4 + 4 + 3 rounds, where 168 lanes would take 6 + 6; 5 + 5 + 1 as many, but with a longer first load.
    assert (plan.lanes, plan.passes, plan.convert_rounds) == (128, 3, 4)
    # A single row converts cheaply: another pass would cost more than it saves.
    assert _core.plan_tile(config, (128, 330, 1, 4, 4, 8, 4, 128), True).lanes == 168
    # Without conversion in memory there are no rounds.
    assert _core.plan_tile(config, (128, 330, 8, 4, 4, 8, 4, 128), False).lanes == 168
    assert (
        _core.plan_tile(make_slice(arrays=4, convert="cores"), (128, 330, 8, 4, 4, 8, 4, 128), True).lanes
        == 168
    )
