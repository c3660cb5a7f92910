"""Plain multiplication of scaled tiles: to the bit what the look-ups of the reference and the core give."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.fast import lut_gemv_blocks, prepare_scaled, scaled_product
from sailsim.lut_gemv.reference import block_sums, scale_blocks

CODES = (
    *(WeightCode.twos(wbits) for wbits in range(1, 9)),
    WeightCode.offset(4, 8),
    WeightCode.offset(8, 0),
    WeightCode.ternary(),
    WeightCode.iq4_nl(),
    WeightCode.book([-(1 << 15), (1 << 15) - 1]),
)


def tile(seed, code, k, n, batch, abits, group_size, minimum):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, code.legal_codes, (k, n)).astype(np.uint8)
    blocks = -(-k // group_size) if group_size else 1
    scale = rng.normal(0, 0.01, (blocks, n)).astype(np.float16)
    least = rng.normal(0, 0.1, (blocks, n)).astype(np.float16) if minimum else None
    x = rng.integers(-(1 << (abits - 1)), 1 << (abits - 1), (batch, k))
    return x.astype(np.int16), rng.random(batch, np.float32), codes, scale, least


def looked_up(way, x, act_scale, codes, code, group_size, scale, minimum, abits):
    acc = way(x, codes, abits=abits, code=code, nbw=4, group_size=group_size)
    sums = None if minimum is None else block_sums(x, group_size)
    return scale_blocks(acc, scale, act_scale, minimum=minimum, x_sums=sums)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1), code=st.sampled_from(CODES), k=st.integers(1, 70), n=st.integers(1, 40),
    batch=st.integers(1, 15), abits=st.integers(1, 16), group_size=st.sampled_from([0, 1, 3, 16, 32]),
    minimum=st.booleans(), threads=st.integers(1, 3),
)  # fmt: skip
def test_results_are_those_of_look_ups_to_the_bit(
    seed, code, k, n, batch, abits, group_size, minimum, threads
):
    x, act_scale, codes, scale, least = tile(seed, code, k, n, batch, abits, group_size, minimum)
    weights = prepare_scaled(codes, code, group_size, scale, least)
    if code.magnitude * (1 << (abits - 1)) * min(group_size or k, k) >= 1 << 31:
        with pytest.raises(SailsimError, match="wraps the 32-bit accumulator"):
            scaled_product(x, act_scale, weights, abits=abits)
        return
    found = scaled_product(x, act_scale, weights, abits=abits, threads=threads)
    assert found.shape == (batch, n)
    for way in (reference.lut_gemv_blocks, lut_gemv_blocks):
        expected = looked_up(way, x, act_scale, codes, code, group_size, scale, least, abits)
        np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_the_largest_sums_that_fit_are_exact():
    code = WeightCode.book([-(1 << 15), (1 << 15) - 1])
    x = np.array([[(1 << 15) - 1, (1 << 15) - 1]], np.int16)
    codes = np.array([[1], [1]], np.uint8)
    weights = prepare_scaled(codes, code, 1, np.ones((2, 1), np.float16))
    each = np.float32(((1 << 15) - 1) ** 2)
    assert scaled_product(x, np.ones(1, np.float32), weights, abits=16)[0, 0] == each + each


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.zeros((2, 5), np.int16)}, "weights have K = 4, but the activations have K = 5"),
        ({"x": np.full((2, 4), 128, np.int16)}, "activations hold 128; allowed is -128..127"),
        ({"act_scale": np.ones(3, np.float32)}, "act_scale is float32 (3,); allowed is float32 (2,)"),
        ({"threads": 0}, "threads is 0"),
        ({"abits": 17}, "abits is 17; allowed is 1..16"),
    ],
)
def test_bad_operands_are_refused(change, words):
    weights = prepare_scaled(np.zeros((4, 3), np.uint8), WeightCode.twos(4), 2, np.ones((2, 3), np.float16))
    call = {"x": np.zeros((2, 4), np.int16), "act_scale": np.ones(2, np.float32), "abits": 8} | change
    with pytest.raises(SailsimError, match=re.escape(words)):
        scaled_product(call.pop("x"), call.pop("act_scale"), weights, **call)


@pytest.mark.parametrize("field", ["scale", "minimum"])
def test_scales_of_another_shape_are_refused(field):
    good = np.ones((2, 3), np.float16)
    scales = {"scale": good, "minimum": good} | {field: np.ones((1, 3), np.float16)}
    with pytest.raises(SailsimError, match=rf"{field} is float16 \(1, 3\); allowed is .* \(2, 3\)"):
        prepare_scaled(np.zeros((4, 3), np.uint8), WeightCode.twos(4), 2, **scales)
