"""The conversion against NumPy, bit for bit, and the core's tally of it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sailsim import _core
from sailsim.lut_gemv.convert import int_to_fp32

from ..refusals import refusal


def hard_integers(bits: int) -> NDArray[np.int64]:
    """Around every power of two, and around every tie of rounding to 24 bits."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    found = {low, high, 0}
    for i in range(bits):
        for near in (0, 1 << max(0, i - 24), 1 << max(0, i - 25), 3 << max(0, i - 24)):
            found |= {s * ((1 << i) + near + d) for s in (-1, 1) for d in (-2, -1, 0, 1, 2)}
    return np.array(sorted(v for v in found if low <= v <= high), np.int64)


@pytest.mark.parametrize("bits", range(2, 64))
def test_int_to_fp32_and_the_cores_tally_of_it(bits):
    ints = hard_integers(bits)
    floats, tally = int_to_fp32(ints, bits)
    assert np.array_equal(floats.view(np.uint32), ints.astype(np.float32).view(np.uint32))
    assert _core.int_to_fp32_tally(bits) == tally


@pytest.mark.parametrize(
    ("convert", "sentence"),
    [
        (lambda: int_to_fp32(np.array([0]), 1), "bits of the integer is 1; allowed is 2..63."),
        (lambda: int_to_fp32(np.array([128]), 8), "integers to convert hold 128; allowed is -128..127"),
        (lambda: int_to_fp32(np.array([1.0]), 8), "integers to convert have dtype float64"),
    ],
)
def test_bad_input(convert, sentence):
    assert sentence in refusal(convert)
