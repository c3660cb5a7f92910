"""How well a model predicts a text: in floats, and as the units compute it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.workloads.compensate import compensated
from sailsim.workloads.decoder import Decoder, Floats, rounded_cache
from sailsim.workloads.decoder import attention as by_cores
from sailsim.workloads.formats import TensorFormat, WeightFormat
from sailsim.workloads.gguf_model import GgufModel
from sailsim.workloads.head_products import UnitAttention
from sailsim.workloads.model import Linear
from sailsim.workloads.products import FloatProducts, UnitProducts
from sailsim.workloads.tokenizer import Tokenizer
from sailsim.workloads.weights import Weights

CHUNKS, LENGTH = 16, 256
CALIBRATION_CHUNKS = 8
METHODS = ("nearest", "compensated")
ATTENTION = ("cores", "units")

MAX_LENGTH = 2048


@dataclass(frozen=True)
class Predicted:
    """What a model says of the tokens of a text, chunk by chunk, each without the chunk before it.

    Attributes:
        nll: (chunks, length - 1), minus the logarithm of the probability of every token but a chunk's first.
        top: (chunks, length - 1), the most probable token in each place.
    """

    nll: npt.NDArray[np.float64]
    top: npt.NDArray[np.int64]

    @property
    def perplexity(self) -> float:
        """The exponential of the mean of `nll`."""
        return float(np.exp(self.nll.mean()))


def text_chunks(model: GgufModel, text: str, chunks: int, length: int) -> npt.NDArray[np.int64]:
    """The first tokens of a text (chunks, length), each chunk's first one replaced by the special token that
    the model has seen before every text, if it has. Raises SailsimError if the text is too short."""
    for name, value, least, most in (("chunks", chunks, 2, 4096), ("length", length, 2, MAX_LENGTH)):
        if not least <= value <= most:
            raise SailsimError(f"{name} is {value!r}; allowed is {least}..{most}.")
    tokenizer = Tokenizer(model.file)
    tokens = tokenizer.encode(text)
    if len(tokens) < chunks * length:
        raise SailsimError(
            f"the text has {len(tokens)} tokens; allowed is at least {chunks} chunks of {length}."
        )
    found = np.asarray(tokens[: chunks * length], np.int64).reshape(chunks, length)
    first = tokenizer.first
    if first is not None:
        found[:, 0] = first
    return found


def in_floats(model: GgufModel, tokens: npt.NDArray[np.int64]) -> Predicted:
    """What the file's values say of tokens (chunks, length) in fp32, with nothing rounded."""
    return _whole(Decoder(model, FloatProducts(model)), tokens, 0)


def on_units(
    model: GgufModel,
    tokens: npt.NDArray[np.int64],
    fmt: WeightFormat,
    *,
    abits: int = 8,
    kv_bits: int = 16,
    attention: str = "cores",
    method: str = METHODS[0],
    calibration: npt.NDArray[np.int64] | None = None,
    threads: int = 1,
) -> Predicted:
    """What units say of tokens (chunks, length): weights of a format, activations of ``abits`` bits.

    ``kv_bits`` are those of the cache's keys and values (`rounded_cache`); ``attention`` says who multiplies
    them, the cores in fp32 or the units (`head_products`). ``method`` is how codes that are not the file's
    own are made of its values: each weight to the nearest, or with its error compensated by the following
    ones, for the inputs that the tokens ``calibration`` (chunks, length) bring.

    Raises SailsimError for values out of range.
    """
    if method not in METHODS:
        raise SailsimError(f"method is {method!r}; allowed is {' or '.join(METHODS)}.")
    if attention not in ATTENTION:
        raise SailsimError(f"attention is {attention!r}; allowed is {' or '.join(ATTENTION)}.")
    products = UnitProducts(model, fmt, abits, threads)
    learned = 0
    if method == "compensated":
        if calibration is None or calibration.shape[1] != tokens.shape[1]:
            raise SailsimError(
                "calibration is no chunks as long as those of the text; compensation needs them."
            )
        products.make = _compensating(model, calibration.size)
        learned = len(calibration)
        tokens = np.concatenate([calibration, tokens])
    attend = by_cores if attention == "cores" else UnitAttention(kv_bits, abits)
    return _whole(Decoder(model, products, rounded_cache(kv_bits), attend), tokens, learned)


def _compensating(model: GgufModel, rows: int) -> Callable[[Linear, TensorFormat, Floats], Weights]:
    """Makes codes for the first rows of an input."""

    def make(linear: Linear, fmt: TensorFormat, x: Floats) -> Weights:
        values = model.file.dequantize(f"{linear.name}.weight").T
        return compensated(values, x[:rows], fmt, f"{fmt.name} codes, errors compensated")

    return make


def _whole(decoder: Decoder, tokens: npt.NDArray[np.int64], skipped: int) -> Predicted:
    return predicted(decoder, decoder.embed(tokens.reshape(-1)), 0, tokens, skipped)


def predicted(
    decoder: Decoder, x: Floats, first: int, tokens: npt.NDArray[np.int64], skipped: int = 0
) -> Predicted:
    """What is said of tokens (chunks, length), from the residual stream ``x`` (chunks * length, d_model)
    before block ``first`` on. The first ``skipped`` chunks are left out of the answer.

    All chunks go through a block together, so that a matrix is read and prepared once.
    """
    length = tokens.shape[1]
    for layer in range(first, decoder.model.spec.n_layers):
        x = decoder.block(layer, x, length)
    x = decoder.last(x)
    nll, top = [], []
    for chunk in range(skipped, len(tokens)):
        logits = decoder.logits(x[chunk * length : (chunk + 1) * length - 1])
        most = logits.max(axis=1)
        logits -= most[:, None]
        top.append(logits.argmax(axis=1))
        wanted = logits[np.arange(length - 1), tokens[chunk, 1:]].astype(np.float64)
        nll.append(np.log(np.exp(logits, out=logits).sum(axis=1, dtype=np.float64)) - wanted)
    return Predicted(np.array(nll), np.array(top))
