import numpy as np
import pytest
from gguf import quants
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import ndtri

from sailsim.lut_gemv.codes import WeightCode, pack_codes, row_bytes, unpack_codes
from sailsim.lut_gemv.quantize import SIGNS, quantize_rows, quantize_weights

from ..refusals import refusal

TWOS, UNSIGNED = WeightCode.twos(4), WeightCode.offset(4, 0)
codes = st.one_of(
    st.integers(1, 8).map(WeightCode.twos),
    st.integers(1, 8).flatmap(
        lambda wbits: st.integers(0, (1 << wbits) - 1).map(lambda z: WeightCode.offset(wbits, z))
    ),
    st.just(WeightCode.ternary()),
    st.integers(1, 8).flatmap(
        lambda wbits: st.lists(
            st.integers(-(1 << 15), (1 << 15) - 1), min_size=1 << wbits, max_size=1 << wbits
        ).map(WeightCode.book)
    ),
)


@pytest.mark.parametrize(
    ("code", "bits"),
    [
        (WeightCode.twos(1), 1),
        (WeightCode.twos(4), 4),
        (WeightCode.twos(8), 8),
        (WeightCode.offset(4, 8), 4),
        (WeightCode.offset(4, 0), 5),
        (WeightCode.offset(4, 7), 5),
        (WeightCode.offset(4, 15), 5),
        (WeightCode.ternary(), 2),
        (WeightCode.book([0, 0]), 1),
        (WeightCode.book([-1, -1]), 1),
        (WeightCode.book([-4, -4]), 3),
        (WeightCode.book([-32768, -32768]), 16),
        (WeightCode.book([-1, 1]), 2),
        (WeightCode.book([-32768, 32767]), 16),
        (WeightCode.iq4_nl(), 8),
        (WeightCode.mxfp4(), 5),
    ],
)
def test_value_bits_are_just_enough(code, bits):
    assert code.value_bits == bits


def test_nf4_follows_from_its_definition():
    # QLoRA: 8 quantiles of a normal above zero, 7 below, zero itself; the tail cut halfway between
    # 1 - 1/32 and 1 - 1/30; all divided by the greatest.
    tail = (1 - 1 / 32 + 1 - 1 / 30) / 2
    above = ndtri(np.linspace(tail, 0.5, 9)[:-1])
    below = -ndtri(np.linspace(tail, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([below, [0.0], above]))
    assert WeightCode.nf4().values.tolist() == np.rint(levels / levels.max() * 127).tolist()


def test_named_books_equal_the_gguf_package():
    assert WeightCode.iq4_nl().values.tolist() == list(quants.IQ4_NL.kvalues)
    assert WeightCode.mxfp4().values.tolist() == list(quants.MXFP4.kvalues)


@given(codes)
def test_every_value_survives_encoding(code):
    values = code.values[: code.legal_codes]
    again = code.encode(values)
    assert again.dtype == np.uint8
    assert np.array_equal(code.decode(again), values)
    # The lowest code of a repeated value is taken.
    assert (again <= np.arange(code.legal_codes)).all()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: WeightCode.twos(0), "wbits is 0; allowed is 1..8."),
        (lambda: WeightCode.twos(9), "wbits is 9; allowed is 1..8."),
        (lambda: WeightCode.offset(2, 4), "zero_point 4 is not a code of 2 bits; allowed is 0..3."),
        (lambda: WeightCode.offset(2, -1), "zero_point -1 is not a code of 2 bits; allowed is 0..3."),
        (lambda: WeightCode.book([1, 2, 3]), "codebook has shape (3,)"),
        (lambda: WeightCode.book([1]), "codebook has shape (1,)"),
        (lambda: WeightCode.book(np.ones(4)), "codebook entries have dtype float64"),
        (lambda: WeightCode.book([0, 40000]), "codebook entries hold 40000; allowed is -32768..32767."),
        (lambda: WeightCode.twos(2).encode(np.array([0, 2])), "weights hold 2, which twos code of 2 bits"),
        (lambda: WeightCode.twos(2).encode(np.array([0.5])), "weights have dtype float64"),
        (lambda: WeightCode.ternary().decode(np.array([3])), "weight codes hold 3; allowed is 0..2"),
        (lambda: WeightCode.twos(2).decode(np.array([-1])), "weight codes hold -1; allowed is 0..3"),
        (lambda: WeightCode.twos(2).decode(np.array([1.0])), "weight codes have dtype float64"),
        (lambda: pack_codes(np.array([[4]]), 2), "weight codes hold 4; allowed is 0..3, wbits = 2."),
        (lambda: pack_codes(np.array([[-1]]), 2), "weight codes hold -1; allowed is 0..3, wbits = 2."),
        (lambda: pack_codes(np.array([[1.0]]), 2), "weight codes have dtype float64"),
        (lambda: pack_codes(np.array([1]), 2), "weight codes have shape (1,)"),
        (lambda: pack_codes(np.array([[1]]), 9), "wbits is 9; allowed is 1..8."),
        (lambda: unpack_codes(np.zeros((2, 3), np.uint8), 4, 4), "packed weights have shape"),
        (lambda: quantize_rows(np.zeros((1, 1)), 1), "abits is 1; allowed is 2..16"),
        (lambda: quantize_rows(np.zeros((1, 1), int), 8), "activations have dtype int64"),
        (lambda: quantize_rows(np.zeros(3), 8), "activations have shape (3,)"),
        (lambda: quantize_rows(np.array([[np.nan]]), 8), "activations hold nan; allowed are finite values."),
        (lambda: quantize_rows(np.array([[1e300]]), 8), "activations hold inf; allowed are finite values."),
        (lambda: quantize_weights(np.array([[np.inf]]), TWOS, 0), "weights hold inf"),
        (lambda: quantize_weights(np.array([[7e6]]), TWOS, 0), "scale reaches 1e+06; allowed is at most 6"),
        (lambda: quantize_weights(np.zeros((1, 1)), TWOS, -1), "group_size is -1"),
        (lambda: quantize_weights(np.array([[-1e6]]), UNSIGNED, 0, minimum=True), "minimum reaches 1e+06"),
    ],
)
def test_bad_input(make, sentence):
    assert sentence in refusal(make)


def test_least_significant_bit_first():
    # Codes 1, 2, 3 of three bits: 0b1_011_010_001 read from the low end, then a padding bit.
    assert pack_codes(np.array([[1, 2, 3], [7, 0, 0]]), 3).tolist() == [[0b11_010_001, 0], [7, 0]]


@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_packing_round_trip(wbits, k, n, seed):
    codes = np.random.default_rng(seed).integers(0, 1 << wbits, (k, n), dtype=np.uint8)
    packed = pack_codes(codes, wbits)
    assert packed.shape == (k, row_bytes(n, wbits))
    assert np.array_equal(unpack_codes(packed, n, wbits), codes)
    # The defining property, bit by bit.
    as_integers = [int.from_bytes(row.tobytes(), "little") for row in packed]
    for row, integer in zip(codes, as_integers, strict=True):
        assert integer == sum(int(code) << (wbits * place) for place, code in enumerate(row))


# ---  ---

floats = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.floats(-1000, 1000, width=32),
)


def blocks_of(per_block: np.ndarray, k: int, group_size: int) -> np.ndarray:  # type: ignore[type-arg]
    """Spread values (blocks, N) over the K rows."""
    return np.repeat(per_block.astype(np.float64), group_size or k, axis=0)[:k]


@given(floats, st.integers(2, 16))
def test_rows_are_within_half_a_step(x, abits):
    ints, scale = quantize_rows(x, abits)
    assert ints.dtype == (np.int8 if abits <= 8 else np.int16)
    assert scale.dtype == np.float32
    assert np.abs(ints.astype(int)).max() <= (1 << (abits - 1)) - 1
    error = np.abs(ints * scale.astype(float)[:, None] - x)
    limit = (1 << (abits - 1)) - 1
    assert np.array_equal(scale, (np.abs(x.astype(np.float64)).max(axis=1) / limit).astype(np.float32))
    # fp32 rounding of the scale, which is coarse where it is subnormal, moves the largest by a little.
    assert (error <= scale[:, None] * (0.5 + 2.0**-9) + 2.0**-134).all()


@given(floats, st.integers(2, 8), st.integers(0, 5))
def test_symmetric_weights(w, wbits, group_size):
    code = WeightCode.twos(wbits)
    codes, scale, _ = quantize_weights(w, code, group_size)
    assert codes.shape == w.shape
    step = blocks_of(scale, len(w), group_size)
    error = np.abs(code.decode(codes) * step - w)
    # Half a step; fp16 moves a step by up to 2^-11 of itself (or half its smallest value), times the range.
    limit = (1 << (wbits - 1)) - 1
    assert (error <= step / 2 + limit * (step * 2.0**-10 + 2.0**-25)).all()


@given(floats, st.integers(1, 8), st.integers(0, 5))
def test_weights_with_a_minimum(w, wbits, group_size):
    code = WeightCode.offset(wbits, 0)
    codes, scale, minimum = quantize_weights(w, code, group_size, minimum=True)
    step, least = blocks_of(scale, len(w), group_size), blocks_of(minimum, len(w), group_size)
    error = np.abs(code.decode(codes) * step + least - w)
    limit = (1 << wbits) - 1
    slack = limit * (step * 2.0**-10 + 2.0**-25) + np.abs(least) * 2.0**-10 + 2.0**-25
    assert (error <= step / 2 + slack).all()


def test_one_bit_weights_are_signs():
    codes, scale, _ = quantize_weights(np.array([[1.0], [-3.0]]), SIGNS, 0)
    assert SIGNS.decode(codes).tolist() == [[1], [-1]]
    assert scale.tolist() == [[2.0]]


@pytest.mark.parametrize(
    "code",
    [WeightCode.iq4_nl(), WeightCode.offset(4, 8), WeightCode.ternary(), WeightCode.book([-3, -1, 0, 7])],
)
def test_codes_are_the_nearest_to_each_columns_own_scale(code):
    """The largest weight of a block and column takes the end of the code's values, the others the nearest."""
    w = np.random.default_rng(5).normal(size=(10, 3)) * (1, 20, 0.1)
    codes, scale, _ = quantize_weights(w, code, 6)
    levels = np.unique(code.values[: code.legal_codes])
    top = np.abs(levels).max()
    for row, block in enumerate((slice(0, 6), slice(6, 10))):
        largest = np.abs(w[block]).max(axis=0)
        assert np.abs(scale[row].astype(float)) == pytest.approx(largest / top, rel=1e-3)
        values = code.values[codes[block]] * scale[row].astype(float)
        nearest = np.abs(w[block][..., None] - scale[row].astype(float)[:, None] * levels).min(axis=-1)
        assert np.abs(values - w[block]) == pytest.approx(nearest)
