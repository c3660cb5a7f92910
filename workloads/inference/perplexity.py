"""Perplexity of a model on a text: in floats, and as the units compute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.operands import block_slices, check_between
from sailsim.lut_gemv.quantize import quantization_levels, quantize_weights
from sailsim.workloads.inference.decoder import Decoder, Floats, LinearLayers, UnitAttention, rounded_cache
from sailsim.workloads.inference.decoder import attention as core_attention
from sailsim.workloads.inference.tokenizer import Tokenizer
from sailsim.workloads.inference.weights import Weights
from sailsim.workloads.model_files.gguf_model import GgufModel
from sailsim.workloads.models.formats import TensorFormat, WeightFormat
from sailsim.workloads.models.model import Linear

DAMPING = 0.01
"""Share of the mean second moment that is added to each, so that rare input directions count as well."""

ROWS_AT_ONCE = 16
"""Rows of weights whose errors are spread over the later rows together."""

Doubles = npt.NDArray[np.float64]


def quantize_compensated(values: Floats, x: Floats, fmt: TensorFormat, origin: str) -> Weights:
    """Quantize ``values`` (K, N) with each weight's error compensated by later ones, as GPTQ does.

    ``x`` (rows, K) are inputs to expect.
    """
    assert fmt.code is not None
    upper = _upper_inverse(x)
    rest = np.array(values, dtype=np.float32)
    levels = quantization_levels(fmt.code).astype(np.float32)
    level_codes = fmt.code.encode(quantization_levels(fmt.code))
    codes = np.empty(rest.shape, np.uint8)
    factors: list[tuple[Any, Any]] = []
    for block in block_slices(len(rest), fmt.group_size):
        _, scale, minimum = quantize_weights(rest[block], fmt.code, fmt.group_size, minimum=fmt.minimum)
        factors.append((scale, minimum))
        step = scale[0].astype(np.float32)
        least = None if minimum is None else minimum[0].astype(np.float32)
        for start in range(block.start, block.stop, ROWS_AT_ONCE):
            run = slice(start, min(start + ROWS_AT_ONCE, block.stop))
            rows, factor = rest[run], upper[run, run]
            errors = np.empty_like(rows)
            for i, row in enumerate(rows):
                places, meant = _nearest(row, levels, step, least)
                codes[start + i] = level_codes[places]
                errors[i] = (row - meant) / factor[i, i]
                rows[i + 1 :] -= factor[i, i + 1 :, None] * errors[i]
            rest[run.stop :] -= upper[run, run.stop :].T @ errors
    scales, minima = zip(*factors, strict=True)
    return Weights(
        codes,
        fmt.code,
        fmt.group_size,
        np.concatenate(scales),
        np.concatenate(minima) if fmt.minimum else None,
        origin,
    )


def _nearest(
    values: Floats, levels: Floats, scale: Floats, minimum: Floats | None
) -> tuple[npt.NDArray[np.intp], Floats]:
    """Indices of the levels nearest to ``values`` (N,), each with a scale and a minimum, and their values."""
    above = values if minimum is None else values - minimum
    steps = np.divide(above, scale, out=np.zeros_like(values), where=scale != 0)
    places = np.searchsorted((levels[:-1] + levels[1:]) / 2, steps)
    meant = levels[places] * scale
    return places, meant if minimum is None else meant + minimum


def _upper_inverse(x: Floats) -> npt.NDArray[np.float32]:
    """Upper factor U of the inverse U' U of the inputs' second moments."""
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
    """Read a shipped text by name."""
    return files("sailsim.workloads").joinpath("data", name).read_text("utf-8")


CHUNKS, LENGTH = 16, 256
CALIBRATION_CHUNKS = 8
METHODS = ("nearest", "compensated")
ATTENTION = ("cores", "units")

MAX_LENGTH = 2048


@dataclass(frozen=True)
class Predictions:
    """Predictions of a model for the chunks of a text, each independent of the others.

    Attributes:
        nll: negative log-likelihood of every token but a chunk's first, (chunks, length - 1).
        top: most probable token at each position, (chunks, length - 1).
    """

    nll: npt.NDArray[np.float64]
    top: npt.NDArray[np.int64]

    @property
    def perplexity(self) -> float:
        """Exponential of the mean of `nll`."""
        return float(np.exp(self.nll.mean()))


def text_chunks(model: GgufModel, text: str, chunks: int, length: int) -> npt.NDArray[np.int64]:
    """First tokens of a text (chunks, length).

    Each chunk's first token becomes the special one that begins every text of the model, if there is one.
    Raises SailsimError if the text is too short.
    """
    for name, value, least, most in (("chunks", chunks, 2, 4096), ("length", length, 2, MAX_LENGTH)):
        check_between(name, value, least, most)
    tokenizer = Tokenizer(model)
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


def float_predictions(model: GgufModel, tokens: npt.NDArray[np.int64]) -> Predictions:
    """Predictions for tokens (chunks, length) with the file's values in fp32, with nothing rounded."""
    return _predictions(Decoder(model, LinearLayers(model)), tokens)


def unit_predictions(
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
    """Predictions of units for tokens (chunks, length), with weights of a format.

    Args:
        model: the file.
        tokens: the text.
        fmt: of the weights.
        abits: bits of an activation.
        kv_bits: bits of the cache's keys and values (`rounded_cache`).
        attention: ``cores`` multiply keys and values in fp32, or ``units`` (`UnitAttention`).
        method: quantizes where codes are not the file's own: each weight to the ``nearest``, or with its
            error ``quantize_compensated`` by later ones, for the inputs that ``calibration`` gives.
        calibration: tokens (chunks, length).
        threads: of a product.

    Raises:
        SailsimError: for values out of range.
    """
    for name, value, allowed in (("method", method, METHODS), ("attention", attention, ATTENTION)):
        if value not in allowed:
            raise SailsimError(f"{name} is {value!r}; allowed is {' or '.join(allowed)}.")
    layers = LinearLayers(model, fmt, abits, threads)
    skipped = 0
    if method == "compensated":
        if calibration is None or calibration.shape[1] != tokens.shape[1]:
            raise SailsimError(
                "calibration is no chunks as long as those of the text; compensation needs them."
            )
        layers.quantizer = _compensating(model, calibration.size)
        skipped = len(calibration)
        tokens = np.concatenate([calibration, tokens])
    attend = core_attention if attention == "cores" else UnitAttention(kv_bits, abits)
    return _predictions(Decoder(model, layers, rounded_cache(kv_bits), attend), tokens, skipped)


def _compensating(model: GgufModel, rows: int) -> Callable[[Linear, TensorFormat, Floats], Weights]:
    def quantizer(linear: Linear, fmt: TensorFormat, x: Floats) -> Weights:
        values = model.dequantize(f"{linear.name}.weight").T
        return quantize_compensated(values, x[:rows], fmt, f"{fmt.name} codes, errors compensated")

    return quantizer


def _predictions(decoder: Decoder, tokens: npt.NDArray[np.int64], skipped: int = 0) -> Predictions:
    """Predictions for all but the first ``skipped`` chunks of tokens (chunks, length).

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
        actual = logits[np.arange(length - 1), tokens[chunk, 1:]].astype(np.float64)
        nll.append(np.log(np.exp(logits, out=logits).sum(axis=1, dtype=np.float64)) - actual)
    return Predictions(np.array(nll), np.array(top))
