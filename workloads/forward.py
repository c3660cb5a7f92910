"""A forward pass of llama models from a GGUF file in floats: the real inputs of every linear layer.

Weights are dequantized one by one, so memory stays near the size of one matrix plus the embedding.
"""

from collections.abc import Sequence

from sailsim.base.errors import SailsimError
from sailsim.base.progress import followed
from sailsim.workloads.decoder import Decoder, Floats, Observer
from sailsim.workloads.gguf_model import GgufModel
from sailsim.workloads.products import FloatProducts

MAX_TOKENS = 2048
"""Longest text of one pass: attention scores grow with its square."""


def forward(
    model: GgufModel, tokens: Sequence[int], observe: Observer | None = None, progress: bool = False
) -> Floats:
    """Logits of the token after ``tokens``, (vocab,).

    ``observe(role, layer, x)`` receives the float32 input (tokens, k) of the linear layers of each role, the
    head's with layer ``n_layers``; ``progress`` is told on standard error. Raises SailsimError for another
    architecture than llama, for token numbers outside the vocabulary, and for none or more than
    ``MAX_TOKENS`` of them.
    """
    decoder = Decoder(model, FloatProducts(model))
    if not 1 <= len(tokens) <= MAX_TOKENS:
        raise SailsimError(f"tokens has {len(tokens)} entries; allowed is 1..{MAX_TOKENS}.")
    x = decoder.embed(tokens)
    for layer in followed(range(model.spec.n_layers), "blocks", progress):
        x = decoder.block(layer, x, len(tokens), observe)
    x = decoder.last(x)
    if observe is not None:
        observe("head", model.spec.n_layers, x)
    logits: Floats = decoder.logits(x[-1:])[0]
    return logits
