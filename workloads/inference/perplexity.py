"""How well a model predicts a text: in floats, and as the units compute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.operands import block_slices
from sailsim.lut_gemv.quantize import levels_of, quantize_weights
from sailsim.workloads.inference.decoder import (
    Decoder,
    FloatProducts,
    Floats,
    UnitAttention,
    UnitProducts,
    rounded_cache,
)
from sailsim.workloads.inference.decoder import attention as by_cores
from sailsim.workloads.inference.tokenizer import Tokenizer
from sailsim.workloads.inference.weights import Weights
from sailsim.workloads.model_files.gguf_model import GgufModel
from sailsim.workloads.models.formats import TensorFormat, WeightFormat
from sailsim.workloads.models.model import Linear

DAMPING = 0.01
"""Of the mean second moment, what is added to each: directions that the inputs hardly have count as well."""

AT_ONCE = 16
"""Rows whose errors the later ones take up together."""

Doubles = npt.NDArray[np.float64]


def compensated(values: Floats, x: Floats, fmt: TensorFormat, origin: str) -> Weights:
    """Codes of ``values`` (K, N) in a format with codes, made for inputs such as ``x`` (rows, K)."""
    assert fmt.code is not None
    upper = _upper_inverse(x)
    left = np.array(values, dtype=np.float32)
    levels = _CodeLevels.of(fmt.code)
    codes = np.empty(left.shape, np.uint8)
    factors: list[tuple[Any, Any]] = []
    for block in block_slices(len(left), fmt.group_size):
        _, scale, minimum = quantize_weights(left[block], fmt.code, fmt.group_size, minimum=fmt.minimum)
        factors.append((scale, minimum))
        step = scale[0].astype(np.float32)
        least = None if minimum is None else minimum[0].astype(np.float32)
        for start in range(block.start, block.stop, AT_ONCE):
            run = slice(start, min(start + AT_ONCE, block.stop))
            rows, factor = left[run], upper[run, run]
            errors = np.empty_like(rows)
            for i, row in enumerate(rows):
                codes[start + i], meant = levels.nearest(row, step, least)
                errors[i] = (row - meant) / factor[i, i]
                rows[i + 1 :] -= factor[i, i + 1 :, None] * errors[i]
            left[run.stop :] -= upper[run, run.stop :].T @ errors
    scales, minima = zip(*factors, strict=True)
    return Weights(
        codes,
        fmt.code,
        fmt.group_size,
        np.concatenate(scales),
        np.concatenate(minima) if fmt.minimum else None,
        origin,
    )


@dataclass(frozen=True)
class _CodeLevels:
    """What codes may mean, in ascending order, and the code of each."""

    values: Floats
    codes: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, code: WeightCode) -> _CodeLevels:
        """Those that a code's weights are quantized to."""
        levels = levels_of(code)
        return cls(levels.astype(np.float32), code.encode(levels))

    def nearest(
        self, values: Floats, scale: Floats, minimum: Floats | None
    ) -> tuple[npt.NDArray[np.uint8], Floats]:
        """Of values (N,), the codes that come nearest with a scale and a minimum each, and what they mean."""
        above = values if minimum is None else values - minimum
        steps = np.divide(above, scale, out=np.zeros_like(values), where=scale != 0)
        place = np.searchsorted((self.values[:-1] + self.values[1:]) / 2, steps)
        meant = self.values[place] * scale
        return self.codes[place], meant if minimum is None else meant + minimum


def _upper_inverse(x: Floats) -> npt.NDArray[np.float32]:
    """The upper factor U of the inverse of the inputs' second moments, U' U."""
    moments: Doubles = (x.T @ x).astype(np.float64)
    each: Any = np.einsum("ii->i", moments)
    each += DAMPING * each.mean() or 1.0
    return np.ascontiguousarray(np.linalg.cholesky(np.linalg.inv(moments)).T, dtype=np.float32)


SOURCE = (
    "Lewis Carroll, Alice's Adventures in Wonderland (1865), in the public domain; the Millennium Fulcrum "
    "Edition 2.9, as alice29.txt in the test data of google/snappy; a paragraph a line, backticks as "
    "apostrophes"
)
QUALITY = "alice-6-7.txt"
"""Chapters 6 and 7, about 7,000 tokens of SmolLM2."""
CALIBRATION = "alice-9.txt"
"""Chapter 9, about 3,300 tokens."""


def shipped_text(name: str) -> str:
    """A text by its name."""
    return files("sailsim.workloads").joinpath("data", name).read_text("utf-8")


CHUNKS, LENGTH = 16, 256
CALIBRATION_CHUNKS = 8
METHODS = ("nearest", "compensated")
ATTENTION = ("cores", "units")

MAX_LENGTH = 2048


@dataclass(frozen=True)
class Predictions:
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
    rows = np.asarray(tokens[: chunks * length], np.int64).reshape(chunks, length)
    first = tokenizer.first
    if first is not None:
        rows[:, 0] = first
    return rows


def in_floats(model: GgufModel, tokens: npt.NDArray[np.int64]) -> Predictions:
    """What the file's values say of tokens (chunks, length) in fp32, with nothing rounded."""
    return _predicted(Decoder(model, FloatProducts(model)), tokens)


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
) -> Predictions:
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
    return _predicted(Decoder(model, products, rounded_cache(kv_bits), attend), tokens, learned)


def _compensating(model: GgufModel, rows: int) -> Callable[[Linear, TensorFormat, Floats], Weights]:
    """Makes codes for the first rows of an input."""

    def make(linear: Linear, fmt: TensorFormat, x: Floats) -> Weights:
        values = model.file.dequantize(f"{linear.name}.weight").T
        return compensated(values, x[:rows], fmt, f"{fmt.name} codes, errors compensated")

    return make


def _predicted(decoder: Decoder, tokens: npt.NDArray[np.int64], skipped: int = 0) -> Predictions:
    """What is said of tokens (chunks, length). The first ``skipped`` chunks are left out of the answer.

    All chunks go through a block together, so that a matrix is read and prepared once.
    """
    length = tokens.shape[1]
    x = decoder.embed(tokens.reshape(-1))
    for layer in range(decoder.model.spec.n_layers):
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
    return Predictions(np.array(nll), np.array(top))
