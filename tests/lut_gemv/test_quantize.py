import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.quantize import (
    quantize_rows,
    quantize_weights,
    quantize_weights_code,
    quantize_weights_minimum,
)

floats = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.floats(-1000, 1000, width=32),
)


def blocks_of(per_block: np.ndarray, k: int, group_size: int) -> np.ndarray:  # type: ignore[type-arg]
    """Spread values (blocks, N) over the K rows."""
    return np.repeat(per_block.astype(np.float64), group_size or k, axis=0)[:k]


@given(floats, st.integers(2, 16))
def test_rows_are_within_half_a_step(x: np.ndarray, abits: int) -> None:  # type: ignore[type-arg]
    ints, scale = quantize_rows(x, abits)
    assert ints.dtype == (np.int8 if abits <= 8 else np.int16)
    assert scale.dtype == np.float32
    assert np.abs(ints.astype(int)).max() <= (1 << (abits - 1)) - 1
    error = np.abs(ints * scale.astype(float)[:, None] - x)
    limit = (1 << (abits - 1)) - 1
    assert np.array_equal(scale, (np.abs(x.astype(np.float64)).max(axis=1) / limit).astype(np.float32))
    # fp32 rounding of the scale, which is coarse where it is subnormal, moves the largest by a little.
    assert (error <= scale[:, None] * (0.5 + 2.0**-9) + 2.0**-134).all()


def test_rows_use_the_whole_range() -> None:
    ints, scale = quantize_rows(np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]]), 8)
    assert ints.tolist() == [[64, -127, 32], [0, 0, 0]]
    assert scale.tolist() == [np.float32(2 / 127), 0.0]


@given(floats, st.integers(2, 8), st.integers(0, 5))
def test_symmetric_weights(w: np.ndarray, wbits: int, group_size: int) -> None:  # type: ignore[type-arg]
    codes, scale, code = quantize_weights(w, wbits, group_size)
    assert codes.shape == w.shape
    assert code.wbits == wbits
    step = blocks_of(scale, len(w), group_size)
    error = np.abs(code.decode(codes) * step - w)
    # Half a step; fp16 moves a step by up to 2^-11 of itself (or half its smallest value), times the range.
    limit = (1 << (wbits - 1)) - 1
    assert (error <= step / 2 + limit * (step * 2.0**-10 + 2.0**-25)).all()


@given(floats, st.integers(1, 8), st.integers(0, 5))
def test_weights_with_a_minimum(w: np.ndarray, wbits: int, group_size: int) -> None:  # type: ignore[type-arg]
    codes, scale, minimum, code = quantize_weights_minimum(w, wbits, group_size)
    step, least = blocks_of(scale, len(w), group_size), blocks_of(minimum, len(w), group_size)
    error = np.abs(code.decode(codes) * step + least - w)
    limit = (1 << wbits) - 1
    slack = limit * (step * 2.0**-10 + 2.0**-25) + np.abs(least) * 2.0**-10 + 2.0**-25
    assert (error <= step / 2 + slack).all()


def test_one_bit_weights_are_signs() -> None:
    codes, scale, code = quantize_weights(np.array([[1.0], [-3.0]]), 1, 0)
    assert code.decode(codes).tolist() == [[1], [-1]]
    assert scale.tolist() == [[2.0]]


@pytest.mark.parametrize(
    ("quantize", "sentence"),
    [
        (lambda: quantize_rows(np.zeros((1, 1)), 1), "abits is 1; allowed is 2..16"),
        (lambda: quantize_rows(np.zeros((1, 1), int), 8), "activations have dtype int64"),
        (lambda: quantize_rows(np.zeros(3), 8), "activations have shape (3,)"),
        (lambda: quantize_rows(np.array([[np.nan]]), 8), "activations hold nan; allowed are finite values."),
        (lambda: quantize_rows(np.array([[1e300]]), 8), "activations hold inf; allowed are finite values."),
        (lambda: quantize_weights(np.array([[np.inf]]), 4, 0), "weights hold inf"),
        (
            lambda: quantize_weights(np.array([[1e9]]), 4, 0),
            "scale reaches 1.42857e+08; allowed is at most 65504",
        ),
        (lambda: quantize_weights(np.zeros((1, 1)), 9, 0), "wbits is 9; allowed is 1..8."),
        (lambda: quantize_weights(np.zeros((1, 1)), 4, -1), "group_size is -1"),
        (lambda: quantize_weights_minimum(np.array([[-1e6]]), 4, 0), "minimum reaches 1e+06"),
    ],
)
def test_bad_input(quantize, sentence) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SailsimError) as error:
        quantize()
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    "code",
    [WeightCode.iq4_nl(), WeightCode.offset(4, 8), WeightCode.ternary(), WeightCode.book([-3, -1, 0, 7])],
)
def test_codes_are_the_nearest_to_each_columns_own_scale(code: WeightCode) -> None:
    """The largest weight of a block and column takes the end of the code's values, the others the nearest."""
    w = np.random.default_rng(5).normal(size=(10, 3)) * (1, 20, 0.1)
    codes, scale = quantize_weights_code(w, code, 6)
    levels = np.unique(code.values[: code.legal_codes])
    top = np.abs(levels).max()
    for row, block in enumerate((slice(0, 6), slice(6, 10))):
        largest = np.abs(w[block]).max(axis=0)
        assert np.abs(scale[row].astype(float)) == pytest.approx(largest / top, rel=1e-3)
        values = code.values[codes[block]] * scale[row].astype(float)
        nearest = np.abs(w[block][..., None] - scale[row].astype(float)[:, None] * levels).min(axis=-1)
        assert np.abs(values - w[block]) == pytest.approx(nearest)
