"""A running model: as the units compute it, by look-ups and by multiplication, with a cache and without."""

import numpy as np
import pytest

from sailsim.base.errors import SailsimError
from sailsim.workloads import Tokenizer, chosen_format, forward, open_gguf, uniform_format
from sailsim.workloads.decoder import Decoder, rounded_cache
from sailsim.workloads.products import FloatProducts, UnitProducts

from .conftest import write_tiny_gguf

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


def test_narrower_weights_move_the_logits_further(model):
    floats = forward(model, TOKENS)
    widths = [uniform_format(wbits, 32) for wbits in (8, 4, 2)]
    distance = [np.abs(logits(model, UnitProducts(model, fmt, 12)) - floats).mean() for fmt in widths]
    assert distance[0] < distance[1] < distance[2]


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
