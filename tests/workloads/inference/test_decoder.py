"""A running model: in floats, and as the units compute it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.fast import lut_gemv_blocks
from sailsim.lut_gemv.quantize import quantize_rows
from sailsim.lut_gemv.reference import scale_blocks
from sailsim.workloads.inference.decoder import (
    Decoder,
    LinearLayers,
    UnitAttention,
    cache_codes,
    open_llama,
    rounded_cache,
)
from sailsim.workloads.inference.perplexity import text_chunks
from sailsim.workloads.inference.tokenizer import Tokenizer
from sailsim.workloads.model_files.gguf_model import open_gguf
from sailsim.workloads.model_files.load import chosen_format

from ...refusals import refusal
from ..conftest import write_tiny_gguf

TOKENS = [5, 9, 2, 40, 7, 7, 1]


def logits(model, products, tokens=TOKENS, bits=16):
    return Decoder(model, products, rounded_cache(bits)).after(tokens)


@pytest.fixture(scope="module")
def model(tiny_gguf):
    return open_gguf(tiny_gguf)


def test_wide_activations_and_the_files_own_weights_come_near_to_floats(model):
    floats = logits(model, LinearLayers(model))
    distance = [
        np.abs(logits(model, LinearLayers(model, model.format, abits)) - floats).max() for abits in (4, 8, 14)
    ]
    assert distance[0] > 4 * distance[1] > 4 * distance[2]
    assert distance[2] < 0.01 * np.abs(floats).max()


def test_a_grid_format_that_nothing_writes_is_refused(model):
    fmt = chosen_format("iq3_s", str(model.path), model.spec)
    with pytest.raises(SailsimError, match=r"the format of token_embd is iq3_s, which nothing here writes"):
        logits(model, LinearLayers(model, fmt, 8))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_cache_keeps_values_within_half_a_step(bits):
    x = np.random.default_rng(bits).normal(0, 1, (3, 5, 2, 16)).astype(np.float32)
    kept = rounded_cache(bits)(x)
    step = np.abs(x).max(axis=-1, keepdims=True) / ((1 << (bits - 1)) - 1)
    assert (np.abs(kept - x) <= step * 0.51).all()
    assert len(np.unique(kept[0, 0, 0])) <= (1 << bits) - 1


@pytest.mark.parametrize("bits", [0, 1, 9, 15, 32])
def test_other_widths_of_the_cache_are_refused(bits):
    with pytest.raises(SailsimError, match=rf"kv_bits is {bits}; allowed is 2..8, or 16"):
        rounded_cache(bits)


def said(tmp_path, **values):
    """The tiny model with other values of its header, ``__`` for a dot."""
    path = tmp_path / "said.gguf"
    write_tiny_gguf(path, said={key.replace("__", "."): value for key, value in values.items()})
    return path


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"llama__rope__scaling__type": "linear", "llama__rope__scaling__factor": 4.0}, "factor is 4.0"),
        ({"llama__rope__scaling__factor": 0.5}, "factor is 0.5; a forward pass needs 1"),
        ({"llama__rope__scale_linear": 2.0}, "scale_linear is 2.0"),
    ],
)
def test_positions_that_a_file_scales_are_refused(tmp_path, values, words):
    with pytest.raises(SailsimError, match=words):
        open_llama(said(tmp_path, **values))


@pytest.mark.parametrize(
    ("values", "first"),
    [
        ({}, None),
        ({"tokenizer__ggml__bos_token_id": 5}, None),
        ({"tokenizer__ggml__bos_token_id": 5, "tokenizer__ggml__add_bos_token": True}, 5),
        ({"tokenizer__ggml__bos_token_id": 5, "tokenizer__ggml__pre": "llama-bpe"}, 5),
        (
            {
                "tokenizer__ggml__bos_token_id": 5,
                "tokenizer__ggml__pre": "llama-bpe",
                "tokenizer__ggml__add_bos_token": False,
            },
            None,
        ),
    ],
)
def test_a_chunk_begins_with_the_special_token_that_a_file_asks_for(tmp_path, values, first):
    model, text = open_gguf(said(tmp_path, **values)), "the cat sat on a mat. " * 4
    chunks = text_chunks(model, text, 3, 8)
    plain = np.asarray(Tokenizer(model).encode(text)[:24]).reshape(3, 8)
    np.testing.assert_array_equal(chunks[:, 1:], plain[:, 1:])
    assert chunks[:, 0].tolist() == (plain[:, 0].tolist() if first is None else [first] * 3)


def test_a_special_token_outside_the_vocabulary_is_refused(tmp_path):
    values = {"tokenizer__ggml__bos_token_id": 1 << 20, "tokenizer__ggml__add_bos_token": True}
    with pytest.raises(SailsimError, match=r"bos_token_id is 1048576; allowed is 0\.\."):
        text_chunks(open_gguf(said(tmp_path, **values)), "the cat " * 9, 2, 4)


def test_what_has_no_weights_to_read_is_called_what_it_is(tmp_path):
    assert "model llama-2-7b: it ships as shapes, without weights" in refusal(open_llama, "llama-2-7b")
    assert "only its headers are read, not its weights" in refusal(open_llama, tmp_path)


# ---  ---


def test_text_survives_the_tokenizer(smollm2_path):
    tokenizer = Tokenizer(open_gguf(smollm2_path))
    text = "On 24 May 2026, it's 100% naïve —\n  don't you think?"
    tokens = tokenizer.encode(text)
    spelled = "".join(tokenizer.vocabulary[token] for token in tokens)
    assert spelled == "OnĠ24ĠMayĠ2026,Ġit'sĠ100%ĠnaÃ¯veĠâĢĶĊĠĠdon'tĠyouĠthink?"
    assert len(tokens) < len(text)


def test_every_input_is_observed_once_with_its_shape(tiny_gguf):
    model = open_gguf(tiny_gguf)
    seen = {}
    decoder = Decoder(model, LinearLayers(model))
    decoder.after([1, 2, 3], lambda role, layer, x: seen.__setitem__((role, layer), x.shape))
    assert seen == {
        (role, layer): (3, width)
        for layer in range(2)
        for role, width in [("attn_in", 64), ("attn_out", 64), ("ffn_in", 64), ("ffn_out", 96)]
    } | {("head", 2): (3, 64)}


@pytest.mark.parametrize("tokens", [[], [48], [-1], [0] * 2049])
def test_bad_tokens_are_refused(tiny_gguf, tokens):
    model = open_gguf(tiny_gguf)
    assert "tokens has" in refusal(Decoder(model, LinearLayers(model)).after, tokens)


# --- Attention as units compute it: the contract's arithmetic to the bit, near to floats where  ---

WIDTHS = st.integers(2, 8)


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(WIDTHS, st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_what_the_cache_gives_back_has_its_codes(bits, seed, size):
    x = drawn(seed, 3, 2, 16) * np.float32(size)
    codes, scale = cache_codes(x, bits)
    back = rounded_cache(bits)(x)
    np.testing.assert_array_equal(codes * scale, back)
    again, same = cache_codes(back, bits)
    np.testing.assert_array_equal(again, codes)
    np.testing.assert_array_equal(same, scale)
    assert np.abs(codes).max() == (1 << (bits - 1)) - 1


def looked_up(
    x: np.ndarray, matrix: np.ndarray, bits: int, scales: np.ndarray, act: np.ndarray, abits: int = 8,
    signed: bool = True,
) -> np.ndarray:  # fmt: skip
    """What look-ups give of inputs and a matrix of whole numbers of so many bits, all of it one block."""
    codes = (matrix.astype(np.int64) & ((1 << bits) - 1)).astype(np.uint8)
    acc = lut_gemv_blocks(x, codes, abits=abits, signed=signed, code=WeightCode.twos(bits), group_size=0)
    return scale_blocks(acc, scales, act)


@given(WIDTHS, st.integers(2, 8), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_both_products_are_those_of_the_contract_to_the_bit(bits, abits, tokens, seed):
    """The scores' block has a key's scale; the values' inputs are unsigned, and their scale is 1."""
    unit = UnitAttention(bits, abits)
    q, k, v = drawn(seed, 2, 16), drawn(seed + 1, tokens, 16), drawn(seed + 2, tokens, 16)
    (keys, key_scale), (values, value_scale) = (cache_codes(x, bits) for x in (k, v))
    ints, scale = quantize_rows(q, abits)
    scores = unit._sums(ints, keys.T) * key_scale[:, 0] * scale[:, None]
    expected = looked_up(ints, keys.T, bits, key_scale.T.astype(np.float16), scale, abits)
    np.testing.assert_array_equal(scores, expected)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    inputs, step = unit.rounded(weights * value_scale[:, 0], signed=False)
    assert inputs.min() >= 0
    assert inputs.max() <= (1 << abits) - 1
    whole = inputs.astype(np.uint8)
    ones = np.ones((1, 16), np.float16)
    found = looked_up(whole, values, bits, ones, step.astype(np.float32), abits, signed=False)
    np.testing.assert_array_equal(unit._sums(inputs, values) * step[:, None], found)


def test_what_comes_later_is_not_seen():
    q, k, v = (drawn(s, 1, 6, 2, 8) for s in (1, 2, 3))
    unit = UnitAttention(4, 8)
    whole = unit(q, k, v)
    np.testing.assert_array_equal(unit(q[:, :3], k[:, :3], v[:, :3]), whole[:, :3])


@given(WIDTHS, st.integers(1, 30), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_chunks_of_a_prompt_are_the_same_attention(bits, tokens, chunk, seed):
    """As units are handed them: both queries of a group and all tokens of a chunk at once, with the keys that
    the last of them sees; what an earlier one must not see has an input of 0."""
    unit = UnitAttention(bits, 8)
    q, k, v = (drawn(seed + i, 1, tokens, heads, 16) for i, heads in enumerate((2, 1, 1)))
    k, v = (rounded_cache(bits)(x) for x in (k, v))
    whole = unit(q, k, v)
    (keys, key_scale), (values, value_scale) = (cache_codes(x[0, :, 0], bits) for x in (k, v))
    for begin in range(0, tokens, chunk):
        end = min(begin + chunk, tokens)
        rows = q[0, begin:end].reshape(-1, 16)  # token by token, head by head
        ints, scale = quantize_rows(rows, 8)
        scores = looked_up(ints, keys[:end].T, bits, key_scale[:end].T.astype(np.float16), scale)
        scores /= np.float32(4)
        hidden = np.arange(end)[None] > np.repeat(np.arange(begin, end), 2)[:, None]
        scores[hidden] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        inputs, step = unit.rounded(weights * value_scale[:end, 0], signed=False)
        assert not inputs[hidden].any()
        ones, whole_inputs = np.ones((1, 16), np.float16), inputs.astype(np.uint8)
        mixed = looked_up(whole_inputs, values[:end], bits, ones, step.astype(np.float32), signed=False)
        np.testing.assert_allclose(
            (mixed / weights.sum(axis=-1, keepdims=True)).reshape(-1, 2, 16), whole[0, begin:end], rtol=1e-6
        )


def test_a_cache_of_floats_is_refused():
    assert "kv_bits is 16 with attention on the units" in refusal(UnitAttention, 16, 8)


@pytest.mark.slow
def test_the_real_model_on_units_knows_the_capital_of_france(smollm2_path):
    model = open_gguf(smollm2_path)
    tokenizer = Tokenizer(model)
    tokens = tokenizer.encode("The capital of France is")
    found = int(logits(model, LinearLayers(model, model.format, 8), tokens, bits=8).argmax())
    assert [found] == tokenizer.encode(" Paris")
