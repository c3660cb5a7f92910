"""The conversion programs against NumPy, bit for bit, and their tallies against docs/contract.md."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from sailsim import _core
from sailsim.lut_gemv.convert import fp32_to_int, fp32_to_int_program, int_to_fp32, int_to_fp32_program

from ..refusals import refusal


def hard_integers(bits: int) -> NDArray[np.int64]:
    """Around every power of two, and around every tie of rounding to 24 bits."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    found = {low, high, 0}
    for i in range(bits):
        for near in (0, 1 << max(0, i - 24), 1 << max(0, i - 25), 3 << max(0, i - 24)):
            found |= {s * ((1 << i) + near + d) for s in (-1, 1) for d in (-2, -1, 0, 1, 2)}
    return np.array(sorted(v for v in found if low <= v <= high), np.int64)


def hard_floats() -> NDArray[np.float32]:
    """Halves, powers of two with both neighbours, subnormals, both zeros, infinities, NaNs."""
    halves = np.arange(-1100, 1100) / 2
    exact = np.concatenate([halves, np.ldexp(1.0, np.arange(-149, 128))]).astype(np.float32)
    special = np.array([0x7F800000, 0xFF800000, 0x7FC00000, 0xFF800001, 0x80000000, 1, 0x807FFFFF], np.uint32)
    random = np.random.default_rng(7).integers(0, 1 << 32, 20000, dtype=np.uint32)
    return np.concatenate(
        [exact, np.nextafter(exact, np.float32(0)), -exact, *(b.view(np.float32) for b in (special, random))]
    )


def saturated(floats: NDArray[np.float32], bits: int) -> NDArray[np.int32]:
    with np.errstate(invalid="ignore"):  # signalling NaNs
        rounded = np.rint(floats.astype(np.float64))
    clipped = np.clip(rounded, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return np.nan_to_num(clipped, nan=0.0).astype(np.int32)


@pytest.mark.parametrize("bits", range(2, 64))
def test_int_to_fp32(bits):
    ints = hard_integers(bits)
    assert np.array_equal(int_to_fp32(ints, bits).view(np.uint32), ints.astype(np.float32).view(np.uint32))


@pytest.mark.parametrize("bits", range(1, 25))
def test_fp32_to_int(bits):
    floats = hard_floats()
    assert np.array_equal(fp32_to_int(floats, bits), saturated(floats, bits))


@pytest.mark.parametrize("b", range(1, 25))
def test_tally_of_fp32_to_int_is_the_contracts(b):
    expected: Counter[tuple[str, int]] = Counter()
    for key, count in [
        (("copy", 26), 8),
        (("copy", b), 3),
        (("copy", b + 1), 1),
        (("logic", 1), 2),
        (("logic", 8), 1),
        (("logic", 26), 29),
        (("logic", 32), 3),
        (("logic", b), 5),
        (("logic", b + 1), 1),
        (("add", 9), 2),
        (("add", 26), 6),
        (("add", b + 1), 1),
        (("add", 32), 1),
        (("shift", 1), 1),
        (("shift", 2), 4),
        (("shift", 4), 1),
        (("shift", 8), 1),
        (("shift", 16), 1),
        (("shift", 23), 1),
    ]:
        expected[key] += count
    assert fp32_to_int_program(b).tally() == dict(expected)


@pytest.mark.parametrize("bits", range(2, 64))
def test_the_core_tallies_the_program_to_fp32(bits):
    assert _core.int_to_fp32_tally(bits) == int_to_fp32_program(bits).tally()


@pytest.mark.parametrize(
    ("convert", "sentence"),
    [
        (lambda: int_to_fp32(np.array([0]), 1), "bits of the integer is 1; allowed is 2..63."),
        (lambda: int_to_fp32(np.array([128]), 8), "integers to convert hold 128; allowed is -128..127"),
        (lambda: int_to_fp32(np.array([1.0]), 8), "integers to convert have dtype float64"),
        (
            lambda: fp32_to_int(np.array([1.0], np.float32), 25),
            "bits of the integer is 25; allowed is 1..24.",
        ),
        (
            lambda: fp32_to_int(np.array([1.0]), 8),
            "floats to convert have dtype float64; allowed is float32.",
        ),
    ],
)
def test_bad_input(convert, sentence):
    assert sentence in refusal(convert)
