"""A running model: as the units compute it, by look-ups and by multiplication, with a cache and without."""

import numpy as np
import pytest

from sailsim.base.errors import SailsimError
from sailsim.workloads.decoder import Decoder, FloatProducts, UnitProducts, forward, open_llama, rounded_cache
from sailsim.workloads.gguf_model import open_gguf
from sailsim.workloads.load import chosen_format
from sailsim.workloads.quality import text_chunks
from sailsim.workloads.tokenizer import Tokenizer

from .conftest import write_tiny_gguf
from .decoder_files import attention, blocks, dense, ends, experts, facts, write_gguf

TOKENS = [5, 9, 2, 40, 7, 7, 1]


def logits(model, products, tokens=TOKENS, bits=16):
    decoder = Decoder(model, products, rounded_cache(bits))
    return decoder.step(tokens, decoder.empty_cache())


@pytest.fixture(scope="module")
def model(tiny_gguf):
    return open_gguf(tiny_gguf)


@pytest.mark.parametrize("weights", ["file", "3g32", "q2_k", "tq2_0", "mxfp4"])
@pytest.mark.parametrize("abits", [4, 8])
def test_look_ups_and_multiplication_give_the_same_logits_to_the_bit(tmp_path, weights, abits):
    write_tiny_gguf(tmp_path / "m.gguf", times=4)  # whole blocks of 256
    model = open_gguf(tmp_path / "m.gguf")
    fmt = chosen_format(weights, str(model.file.path), model.spec)
    ways = [UnitProducts(model, fmt, abits, look_up=look_up) for look_up in (False, True)]
    product, looked_up = (logits(model, way) for way in ways)
    np.testing.assert_array_equal(product.view(np.uint32), looked_up.view(np.uint32))
    assert np.isfinite(product).all()


def test_token_by_token_gives_what_the_whole_text_gives(model):
    decoder = Decoder(model, UnitProducts(model, model.format, 8, keep=True), rounded_cache(16))
    cache = decoder.empty_cache()
    for token in TOKENS:
        stepwise = decoder.step([token], cache)
    assert cache.keys[1].shape == (len(TOKENS), 2, 16)
    np.testing.assert_allclose(stepwise, logits(model, decoder.products), rtol=1e-3, atol=1e-4)


def test_texts_side_by_side_do_not_see_each_other(model):
    decoder = Decoder(model, FloatProducts(model))
    one, two = decoder.embed(TOKENS), decoder.embed(TOKENS[::-1])
    both = decoder.block(0, np.concatenate([one, two]), len(TOKENS))
    alone = decoder.block(0, two, len(TOKENS))
    np.testing.assert_allclose(both[len(TOKENS) :], alone, rtol=1e-5, atol=1e-6)


def test_wide_activations_and_the_files_own_weights_come_near_to_floats(model):
    floats = forward(model, TOKENS)
    distance = [
        np.abs(logits(model, UnitProducts(model, model.format, abits)) - floats).max() for abits in (4, 8, 14)
    ]
    assert distance[0] > 4 * distance[1] > 4 * distance[2]
    assert distance[2] < 0.01 * np.abs(floats).max()


def test_weights_without_codes_run_on_the_cores_in_floats(tmp_path):
    write_tiny_gguf(tmp_path / "m.gguf", kind="F16")
    model = open_gguf(tmp_path / "m.gguf")
    np.testing.assert_allclose(
        logits(model, UnitProducts(model, model.format, 4)), forward(model, TOKENS), rtol=0.01, atol=0.01
    )


def test_a_grid_format_that_nothing_writes_is_refused(model):
    fmt = chosen_format("iq3_s", str(model.file.path), model.spec)
    with pytest.raises(SailsimError, match=r"the format of token_embd is iq3_s, which nothing here writes"):
        logits(model, UnitProducts(model, fmt, 8))


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


@pytest.mark.slow
@pytest.mark.parametrize("look_up", [False, True])
def test_the_real_model_on_units_knows_the_capital_of_france(smollm2_path, look_up):
    model = open_gguf(smollm2_path)
    tokenizer = Tokenizer(model.file)
    tokens = tokenizer.encode("The capital of France is")
    products = UnitProducts(model, model.format, 8, keep=True, look_up=look_up)
    decoder = Decoder(model, products, rounded_cache(8))
    cache = decoder.empty_cache()
    found = int(decoder.step(tokens, cache).argmax())
    assert tokenizer.decode([found]) == " Paris"
    assert tokenizer.decode([int(decoder.step([found], cache).argmax())]) in (".", ",")


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
    "values",
    [
        {},
        {"llama__rope__scaling__factor": 1.0},
        {"llama__rope__scaling__factor": 0.0},
        {"llama__rope__scaling__type": "none", "llama__rope__scaling__factor": 8.0},
    ],
)
def test_positions_that_are_not_scaled_are_read(tmp_path, values, model):
    assert open_llama(said(tmp_path, **values)).spec.n_params == model.spec.n_params


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
    plain = np.asarray(Tokenizer(model.file).encode(text)[:24]).reshape(3, 8)
    np.testing.assert_array_equal(chunks[:, 1:], plain[:, 1:])
    assert chunks[:, 0].tolist() == (plain[:, 0].tolist() if first is None else [first] * 3)


def test_a_special_token_outside_the_vocabulary_is_refused(tmp_path):
    values = {"tokenizer__ggml__bos_token_id": 1 << 20, "tokenizer__ggml__add_bos_token": True}
    with pytest.raises(SailsimError, match=r"bos_token_id is 1048576; allowed is 0\.\."):
        text_chunks(open_gguf(said(tmp_path, **values)), "the cat " * 9, 2, 4)


def test_what_has_no_weights_to_read_is_called_what_it_is(tmp_path):
    with pytest.raises(SailsimError, match="model llama-2-7b: it ships as shapes, without weights"):
        open_llama("llama-2-7b")
    with pytest.raises(SailsimError, match="only its headers are read, not its weights"):
        open_llama(tmp_path)


def test_a_model_that_cannot_run_is_told_before_its_tokenizer(tmp_path):
    tensors = blocks(2, attention(64, 4, 2, 16), experts(64, 80, 4)) | ends(64, 96)
    path = write_gguf(tmp_path / "moe.gguf", "llama", tensors, facts(4, 2, expert_used_count=2))
    with pytest.raises(SailsimError, match="experts is 4; allowed is none in a forward pass"):
        open_llama(path)
    tensors = blocks(2, attention(64, 4, 2, 16), dense(64, 80)) | ends(64, 96)
    path = write_gguf(tmp_path / "q.gguf", "qwen3", tensors, facts(4, 2))
    with pytest.raises(SailsimError, match="architecture is 'qwen3'; a forward pass needs 'llama'"):
        open_llama(path)
