import numpy as np
import pytest

from sailsim.base.errors import SailsimError
from sailsim.workloads.decoder import forward
from sailsim.workloads.gguf_model import open_gguf
from sailsim.workloads.tokenizer import Tokenizer


@pytest.mark.slow
def test_the_real_model_knows_the_capital_of_france(smollm2_path):
    model = open_gguf(smollm2_path)
    tokenizer = Tokenizer(model.file)
    tokens = tokenizer.encode("The capital of France is")
    assert tokens == [504, 3575, 282, 4649, 314]
    logits = forward(model, tokens)
    assert tokenizer.decode([int(np.argmax(logits))]) == " Paris"


def test_text_survives_the_tokenizer(smollm2_path):
    tokenizer = Tokenizer(open_gguf(smollm2_path).file)
    text = "On 24 May 2026, it's 100% naïve —\n  don't you think?"
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert len(tokens) < len(text)


def test_every_input_is_observed_once_with_its_shape(tiny_gguf):
    model = open_gguf(tiny_gguf)
    seen = {}
    forward(model, [1, 2, 3], lambda role, layer, x: seen.__setitem__((role, layer), x.shape))
    assert seen == {
        (role, layer): (3, width)
        for layer in range(2)
        for role, width in [("attn_in", 64), ("attn_out", 64), ("ffn_in", 64), ("ffn_out", 96)]
    } | {("head", 2): (3, 64)}


def test_later_tokens_do_not_change_earlier_inputs(tiny_gguf):
    model = open_gguf(tiny_gguf)

    def inputs(tokens):
        seen = []
        forward(model, tokens, lambda role, layer, x: seen.append(x[:3]))
        return seen

    for short, long in zip(inputs([5, 9, 2]), inputs([5, 9, 2, 40, 7]), strict=True):
        np.testing.assert_allclose(short, long, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tokens", [[], [48], [-1], [0] * 2049])
def test_bad_tokens_are_refused(tiny_gguf, tokens):
    with pytest.raises(SailsimError, match="tokens has"):
        forward(open_gguf(tiny_gguf), tokens)
