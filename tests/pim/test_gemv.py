"""The kernel and the pattern counts against NumPy: int64 products and the reference's simulation."""

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sailsim import _core
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.counts import PrtConfig
from sailsim.lut_gemv.operands import block_slices

from ..examples import examples

TYPES: list[Any] = [np.int8, np.uint8, np.int16, np.uint16, np.int32]


@st.composite
def products(draw: st.DrawFn) -> dict[str, Any]:
    """Operands of any width and shape, in any dtype that holds the activations."""
    k, n, batch = draw(st.integers(1, 70)), draw(st.integers(1, 140)), draw(st.integers(1, 4))
    wbits, abits, signed = draw(st.integers(1, 8)), draw(st.integers(1, 16)), draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    low, high = (-(1 << (abits - 1)), (1 << (abits - 1)) - 1) if signed else (0, (1 << abits) - 1)
    fitting = [t for t in TYPES if np.iinfo(t).min <= low and np.iinfo(t).max >= high]
    limit = draw(st.sampled_from([1, 7, 127, 5461, 32767]))
    x = rng.integers(low, high + 1, (batch, k))
    if draw(st.booleans()):
        x = np.where(rng.random(x.shape) < 0.5, x, rng.choice([low, 0, high]))
    return {
        "x": x.astype(draw(st.sampled_from(fitting))),
        "codes": rng.integers(0, 1 << wbits, (k, n)).astype(np.uint8),
        "values": rng.integers(-limit - 1, limit + 1, 1 << wbits).astype(np.int16),
        "wbits": wbits,
        "abits": abits,
        "signed": signed,
        "nbw": draw(st.integers(1, 6)),
        "group_size": draw(st.one_of(st.just(0), st.integers(1, 80))),
    }


def widths(case: dict[str, Any]) -> tuple[int, bool, int, int]:
    return case["abits"], case["signed"], case["nbw"], case["group_size"]


@examples(200)
@given(case=products(), threads=st.integers(1, 3))
def test_product_equals_int64_matmul(case: dict[str, Any], threads: int) -> None:
    x, weights = case["x"].astype(np.int64), case["values"][case["codes"]].astype(np.int64)
    packed = _core.PackedWeights(case["codes"], case["wbits"], case["values"])
    y = _core.lut_gemv(case["x"], packed, *widths(case), threads)
    assert y.dtype == np.int64
    assert np.array_equal(y, x @ weights)
    blocks = _core.lut_gemv(case["x"], packed, *widths(case), threads, blocks=True)
    parts = [x[:, block] @ weights[block] for block in block_slices(x.shape[1], case["group_size"])]
    assert np.array_equal(blocks, np.stack(parts))


@examples(60)
@given(
    case=products(),
    entries=st.sampled_from([0, 1, 2, 3, 15, 16, 31, 32, 63, 64]),
    policy=st.sampled_from(["lru", "fifo", "direct"]),
)
def test_profile_equals_the_reference(case: dict[str, Any], entries: int, policy: Any) -> None:
    abits, signed, nbw, group_size = widths(case)
    profile = _core.pattern_profile(case["x"], *widths(case), entries, policy, threads=2)
    prt = PrtConfig(max(entries, 1), policy, enabled=entries > 0)
    expected = reference.pattern_profile(
        case["x"], abits=abits, signed=signed, nbw=nbw, group_size=group_size, prt=prt
    )
    assert np.array_equal(profile.zero, expected.zero)
    assert np.array_equal(profile.hits, expected.hits)
    assert np.array_equal(profile.misses, expected.misses)


def test_other_memory_orders_are_copied() -> None:
    rng = np.random.default_rng(5)
    codes = np.asfortranarray(rng.integers(0, 16, (30, 20)).astype(np.uint8))
    values = np.arange(-16, 16, 2, dtype=np.int16)
    x = rng.integers(-8, 8, (6, 60)).astype(np.int16)[::2, ::2]
    packed = _core.PackedWeights(codes, 4, values)
    assert np.array_equal(
        _core.lut_gemv(x, packed, 4, True, 4, 0), x.astype(np.int64) @ values[codes].astype(np.int64)
    )


def test_the_interpreter_is_free_during_a_product() -> None:
    """Products at the same time share nothing but the weights."""
    rng = np.random.default_rng(6)
    codes = rng.integers(0, 16, (512, 256)).astype(np.uint8)
    values = np.arange(-8, 8, dtype=np.int16)
    packed = _core.PackedWeights(codes, 4, values)
    xs = [rng.integers(-128, 128, (4, 512)).astype(np.int8) for _ in range(4)]
    results: list[NDArray[np.int64] | None] = [None] * len(xs)

    def work(i: int) -> None:
        results[i] = _core.lut_gemv(xs[i], packed, 8, True, 4, 0, threads=2)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(xs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for x, y in zip(xs, results, strict=True):
        assert y is not None
        assert np.array_equal(y, x.astype(np.int64) @ values[codes].astype(np.int64))


def test_bad_operands_are_named() -> None:
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
