import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import pack_codes, row_bytes, unpack_codes


def test_least_significant_bit_first() -> None:
    # Codes 1, 2, 3 of three bits: 0b1_011_010_001 read from the low end, then a padding bit.
    assert pack_codes(np.array([[1, 2, 3], [7, 0, 0]]), 3).tolist() == [[0b11_010_001, 0], [7, 0]]


@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_round_trip(wbits: int, k: int, n: int, seed: int) -> None:
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
def test_bad_input(codes: np.ndarray, wbits: int, sentence: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(SailsimError) as error:
        pack_codes(codes, wbits)
    assert sentence in str(error.value)


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(SailsimError, match="packed weights have shape"):
        unpack_codes(np.zeros((2, 3), np.uint8), 4, 4)
