"""Attention as units compute it: the contract's arithmetic to the bit, near to floats where bits are many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.fast import lut_gemv_blocks
from sailsim.lut_gemv.quantize import quantize_rows
from sailsim.lut_gemv.reference import scale_blocks
from sailsim.workloads.decoder import (
    Decoder,
    FloatProducts,
    UnitAttention,
    attention,
    cache_codes,
    rounded_cache,
)
from sailsim.workloads.gguf_model import open_gguf

WIDTHS = st.integers(2, 8)
TOKENS = [5, 9, 2, 40, 7, 7, 1]


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(WIDTHS, st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_what_the_cache_gives_back_has_its_codes(bits: int, seed: int, size: float) -> None:
    x = drawn(seed, 3, 2, 16) * np.float32(size)
    codes, scale = cache_codes(x, bits)
    back = rounded_cache(bits)(x)
    np.testing.assert_array_equal(codes * scale, back)
    again, same = cache_codes(back, bits)
    np.testing.assert_array_equal(again, codes)
    np.testing.assert_array_equal(same, scale)
    assert np.abs(codes).max() == (1 << (bits - 1)) - 1


@given(WIDTHS, st.integers(2, 8), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_both_products_are_those_of_the_contract_to_the_bit(
    bits: int, abits: int, tokens: int, seed: int
) -> None:
    """The scores' block has a key's scale; the values' inputs are unsigned, and their scale is 1."""
    unit = UnitAttention(bits, abits)
    q, k, v = drawn(seed, 2, 16), drawn(seed + 1, tokens, 16), drawn(seed + 2, tokens, 16)
    (keys, key_scale), (values, value_scale) = (cache_codes(x, bits) for x in (k, v))
    ints, scale = quantize_rows(q, abits)
    code, stored = WeightCode.twos(bits), (1 << bits) - 1

    def looked_up(
        x: np.ndarray, matrix: np.ndarray, scales: np.ndarray, act: np.ndarray, signed: bool = True
    ) -> np.ndarray:
        codes = (matrix.astype(np.int64) & stored).astype(np.uint8)
        acc = lut_gemv_blocks(x, codes, abits=abits, signed=signed, code=code, group_size=0)
        return scale_blocks(acc, scales, act)

    scores = unit._sums(ints, keys.T) * key_scale[:, 0] * scale[:, None]
    np.testing.assert_array_equal(scores, looked_up(ints, keys.T, key_scale.T.astype(np.float16), scale))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    inputs, step = unit.inputs(weights, value_scale[:, 0])
    assert inputs.min() >= 0
    assert inputs.max() <= (1 << abits) - 1
    whole = inputs.astype(np.uint8)
    ones = np.ones((1, 16), np.float16)
    found = looked_up(whole, values, ones, step.astype(np.float32), signed=False)
    np.testing.assert_array_equal(unit._sums(inputs, values) * step[:, None], found)


def test_more_bits_come_nearer_to_attention_in_floats() -> None:
    q, k, v = drawn(1, 2, 12, 4, 16), drawn(2, 2, 12, 2, 16), drawn(3, 2, 12, 2, 16)
    errors = []
    for bits, abits in ((2, 8), (4, 8), (8, 8), (8, 14)):
        kept = [rounded_cache(bits)(x) for x in (k, v)]
        errors.append(np.abs(UnitAttention(bits, abits)(q, *kept) - attention(q, k, v)).max())
    assert errors == sorted(errors, reverse=True)
    # The cache's rounding is what is left: attention in floats over the same cache is nearer still.
    kept = [rounded_cache(8)(x) for x in (k, v)]
    assert np.abs(UnitAttention(8, 14)(q, *kept) - attention(q, *kept)).max() < 1e-3


def test_what_comes_later_is_not_seen() -> None:
    q, k, v = (drawn(s, 1, 6, 2, 8) for s in (1, 2, 3))
    unit = UnitAttention(4, 8)
    whole = unit(q, k, v)
    np.testing.assert_array_equal(unit(q[:, :3], k[:, :3], v[:, :3]), whole[:, :3])
    np.testing.assert_array_equal(unit(q[:, 5:], k, v), whole[:, 5:])


@given(WIDTHS, st.integers(1, 30), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_chunks_of_a_prompt_are_the_same_attention(bits: int, tokens: int, chunk: int, seed: int) -> None:
    """As units are handed them: both queries of a group and all tokens of a chunk at once, with the keys that
    the last of them sees; what an earlier one must not see has an input of 0."""
    unit = UnitAttention(bits, 8)
    q, k, v = (drawn(seed + i, 1, tokens, heads, 16) for i, heads in enumerate((2, 1, 1)))
    k, v = (rounded_cache(bits)(x) for x in (k, v))
    whole = unit(q, k, v)
    (keys, key_scale), (values, value_scale) = (cache_codes(x[0, :, 0], bits) for x in (k, v))
    code, stored = WeightCode.twos(bits), (1 << bits) - 1
    for begin in range(0, tokens, chunk):
        end = min(begin + chunk, tokens)
        rows = q[0, begin:end].reshape(-1, 16)  # token by token, head by head
        ints, scale = quantize_rows(rows, 8)
        codes = (keys[:end].T.astype(np.int64) & stored).astype(np.uint8)
        acc = lut_gemv_blocks(ints, codes, abits=8, code=code, group_size=0)
        scores = scale_blocks(acc, key_scale[:end].T.astype(np.float16), scale) / np.float32(4)
        hidden = np.arange(end)[None] > np.repeat(np.arange(begin, end), 2)[:, None]
        scores[hidden] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        inputs, step = unit.inputs(weights, value_scale[:end, 0])
        assert not inputs[hidden].any()
        codes = (values[:end].astype(np.int64) & stored).astype(np.uint8)
        acc = lut_gemv_blocks(inputs.astype(np.uint8), codes, abits=8, signed=False, code=code, group_size=0)
        mixed = scale_blocks(acc, np.ones((1, 16), np.float16), step.astype(np.float32))
        np.testing.assert_allclose(
            (mixed / weights.sum(axis=-1, keepdims=True)).reshape(-1, 2, 16), whole[0, begin:end], rtol=1e-6
        )


def test_a_model_decodes_with_it_token_by_token(tiny_gguf) -> None:
    model = open_gguf(tiny_gguf)
    decoder = Decoder(model, FloatProducts(model), rounded_cache(8), UnitAttention(8, 12))
    cache = decoder.empty_cache()
    for token in TOKENS:
        stepwise = decoder.step([token], cache)
    np.testing.assert_allclose(stepwise, decoder.step(TOKENS, decoder.empty_cache()), rtol=2e-3, atol=2e-3)
    floats = Decoder(model, FloatProducts(model)).step(TOKENS, decoder.empty_cache())
    assert 0 < np.abs(stepwise - floats).max() < 0.1 * np.abs(floats).max()


def test_a_cache_of_floats_is_refused() -> None:
    with pytest.raises(SailsimError, match="kv_bits is 16 beside attention on the units"):
        UnitAttention(16, 8)
