import numpy as np
import pytest
from gguf import quants
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode, pack_codes, row_bytes, unpack_codes

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


def test_twos_complement() -> None:
    assert WeightCode.twos(3).values.tolist() == [0, 1, 2, 3, -4, -3, -2, -1]
    assert WeightCode.twos(1).values.tolist() == [0, -1]


def test_offset() -> None:
    assert WeightCode.offset(2, 3).values.tolist() == [-3, -2, -1, 0]
    assert WeightCode.offset(8, 255).values.min() == -255


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
def test_value_bits_are_just_enough(code: WeightCode, bits: int) -> None:
    assert code.value_bits == bits


def test_nf4_follows_from_its_definition() -> None:
    # QLoRA: 8 quantiles of a normal above zero, 7 below, zero itself; the tail cut halfway between
    # 1 - 1/32 and 1 - 1/30; all divided by the greatest.
    tail = (1 - 1 / 32 + 1 - 1 / 30) / 2
    above = ndtri(np.linspace(tail, 0.5, 9)[:-1])
    below = -ndtri(np.linspace(tail, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([below, [0.0], above]))
    assert WeightCode.nf4().values.tolist() == np.rint(levels / levels.max() * 127).tolist()


def test_named_books_equal_the_gguf_package() -> None:
    assert WeightCode.iq4_nl().values.tolist() == list(quants.IQ4_NL.kvalues)
    assert WeightCode.mxfp4().values.tolist() == list(quants.MXFP4.kvalues)


@given(codes)
def test_every_value_survives_encoding(code: WeightCode) -> None:
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
    ],
)
def test_bad_input(make, sentence) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SailsimError) as error:
        make()
    assert sentence in str(error.value)


def test_ternary_never_encodes_to_the_fourth_code() -> None:
    assert WeightCode.ternary().encode(np.array([[-1, 0, 1]])).tolist() == [[0, 1, 2]]


def test_a_code_says_its_zero_point_where_it_has_one() -> None:
    assert str(WeightCode.offset(4, 8)) == "offset code of 4 bits, zero point 8"
    assert str(WeightCode.twos(1)) == "twos code of 1 bit"
    assert str(WeightCode.iq4_nl()) == "book code of 4 bits"


def test_least_significant_bit_first() -> None:
    # Codes 1, 2, 3 of three bits: 0b1_011_010_001 read from the low end, then a padding bit.
    assert pack_codes(np.array([[1, 2, 3], [7, 0, 0]]), 3).tolist() == [[0b11_010_001, 0], [7, 0]]


@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_packing_round_trip(wbits: int, k: int, n: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 1 << wbits, (k, n), dtype=np.uint8)
    packed = pack_codes(codes, wbits)
    assert packed.shape == (k, row_bytes(n, wbits))
    assert np.array_equal(unpack_codes(packed, n, wbits), codes)
    # The defining property, bit by bit.
    as_integers = [int.from_bytes(row.tobytes(), "little") for row in packed]
    for row, integer in zip(codes, as_integers, strict=True):
        assert integer == sum(int(code) << (wbits * place) for place, code in enumerate(row))


@pytest.mark.parametrize(
    ("codes", "wbits", "sentence"),
    [
        (np.array([[4]]), 2, "weight codes hold 4; allowed is 0..3, wbits = 2."),
        (np.array([[-1]]), 2, "weight codes hold -1; allowed is 0..3, wbits = 2."),
        (np.array([[1.0]]), 2, "weight codes have dtype float64"),
        (np.array([1]), 2, "weight codes have shape (1,)"),
        (np.array([[1]]), 9, "wbits is 9; allowed is 1..8."),
    ],
)
def test_bad_packing(codes: np.ndarray, wbits: int, sentence: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(SailsimError) as error:
        pack_codes(codes, wbits)
    assert sentence in str(error.value)


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(SailsimError, match="packed weights have shape"):
        unpack_codes(np.zeros((2, 3), np.uint8), 4, 4)
