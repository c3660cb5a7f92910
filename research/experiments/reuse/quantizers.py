"""Activations, rounded to integers in several ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reuse.settings import ABITS
from sailsim.lut_gemv.operands import activation_dtype, block_slices
from sailsim.lut_gemv.quantize import quantize_rows
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.models.model import Role


def quantize_columns(x: NDArray[Any], abits: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Round every column (channel) of ``x`` (B, K) symmetrically: as `quantize_rows`, with scales (K,)."""
    ints, scale = quantize_rows(np.ascontiguousarray(x.T), abits)
    return np.ascontiguousarray(ints.T), scale


def quantize_rows_unsigned(
    x: NDArray[Any], abits: int
) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.int64]]:
    """Round every row of ``x`` (B, K) to unsigned integers between its least and its greatest value.

    The range always holds 0, exactly, at the zero point. Integers (B, K), scales fp32 (B,) and zero points
    (B,): ``x`` is about ``(integer - zero point) * scale``.
    """
    x = x.astype(np.float64)
    limit = (1 << abits) - 1
    least = np.minimum(x.min(axis=1), 0)
    scale = ((np.maximum(x.max(axis=1), 0) - least) / limit).astype(np.float32)
    step = scale.astype(np.float64)

    def steps(values: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.rint(np.divide(values, step, out=np.zeros_like(values), where=step > 0))

    zero = np.clip(steps(-least, step), 0, limit)
    ints = np.clip(steps(x, step[:, None]) + zero[:, None], 0, limit)
    return ints.astype(activation_dtype(abits, signed=False)), scale, zero.astype(np.int64)


def split_signs(x: NDArray[Any], abits: int) -> NDArray[Any]:
    """Sign and magnitude as a table look-up can use them: the positive and the negative part of every row.

    One look-up adds entries of one sign, so a row of ``x`` (B, K) is two rows of magnitudes, which have a bit
    less and whose products are subtracted: row 2 b is ``max(x[b], 0)``, row 2 b + 1 is ``max(-x[b], 0)``.
    """
    signed = x.astype(np.int64)
    parts = np.stack([np.maximum(signed, 0), np.maximum(-signed, 0)], axis=1)
    return parts.reshape(-1, x.shape[1]).astype(activation_dtype(abits - 1, signed=False))


class Rounded(NamedTuple):
    """Activations as integers: `ints` (rows * parts, K), and what they stand for, `values` (rows, K)."""

    ints: NDArray[Any]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Quantizer:
    """One way from floats to the integers that are scanned.

    Attributes:
        title: in words.
        planes: bit positions of an integer.
        signed: whether the top plane counts negative.
        parts: integer rows that one row of activations becomes.
        round: floats ``(tokens, K)`` of one layer, all tokens of the capture that are used.
        needs: what a machine would have to do for it that the simulated one does not.
    """

    title: str
    planes: int
    signed: bool
    parts: int
    round: Callable[[NDArray[np.float32]], Rounded]
    needs: str = ""


def _per_token(x: NDArray[np.float32]) -> Rounded:
    ints, scale = quantize_rows(x, ABITS)
    return Rounded(ints, ints * scale.astype(np.float64)[:, None])


def _per_tensor(x: NDArray[np.float32]) -> Rounded:
    ints, scale = quantize_rows(x.reshape(1, -1), ABITS)
    return Rounded(ints.reshape(x.shape), ints.reshape(x.shape) * np.float64(scale[0]))


def _per_channel(x: NDArray[np.float32]) -> Rounded:
    ints, scale = quantize_columns(x, ABITS)
    return Rounded(ints, ints * scale.astype(np.float64))


def _per_block(x: NDArray[np.float32]) -> Rounded:
    parts = [_per_token(x[:, block]) for block in block_slices(x.shape[1], 32)]
    return Rounded(np.hstack([part.ints for part in parts]), np.hstack([part.values for part in parts]))


def _unsigned(x: NDArray[np.float32]) -> Rounded:
    ints, scale, zero = quantize_rows_unsigned(x, ABITS)
    return Rounded(ints, (ints.astype(np.float64) - zero[:, None]) * scale.astype(np.float64)[:, None])


def _offset(x: NDArray[np.float32]) -> Rounded:
    ints, values = _per_token(x)
    return Rounded((ints.astype(np.int16) + (1 << (ABITS - 1))).astype(np.uint8), values)


def _sign_magnitude(rounded: Callable[[NDArray[np.float32]], Rounded]) -> Callable[..., Rounded]:
    def split(x: NDArray[np.float32]) -> Rounded:
        ints, values = rounded(x)
        return Rounded(split_signs(ints, ABITS), values)

    return split


QUANTIZERS: Mapping[str, Quantizer] = {
    "token": Quantizer("one scale a token, two's complement", ABITS, True, 1, _per_token),
    "tensor": Quantizer("one scale a layer", ABITS, True, 1, _per_tensor, "a scale known beforehand"),
    "block": Quantizer("one scale for 32 values", ABITS, True, 1, _per_block, "a scale at every block's end"),
    "channel": Quantizer(
        "one scale a channel",
        ABITS,
        True,
        1,
        _per_channel,
        "scales known beforehand and multiplied into the weights",
    ),
    "unsigned": Quantizer(
        "unsigned from least to greatest, one scale a token",
        ABITS,
        False,
        1,
        _unsigned,
        "a correction by the sum of each output's weights",
    ),
    "offset": Quantizer(
        "one scale a token, 128 added", ABITS, False, 1, _offset, "the same correction by 128"
    ),
    "sign_magnitude": Quantizer(
        "one scale a token, sign and magnitude",
        ABITS - 1,
        False,
        2,
        _sign_magnitude(_per_token),
        "positive and negative parts looked up apart, the negative subtracted",
    ),
    "channel_sign_magnitude": Quantizer(
        "one scale a channel, sign and magnitude",
        ABITS - 1,
        False,
        2,
        _sign_magnitude(_per_channel),
        "both of the above",
    ),
}
"""By name. `token` is the machine's own; a channel's scale is that of the captured tokens themselves."""


@dataclass(frozen=True)
class RoundedRows:
    """The rounded rows of a role, layer after layer: `ints` (layers * tokens * parts, K), and the error."""

    ints: NDArray[Any]
    signal: float
    noise: float


def rounded_rows(activations: Activations, quantizer: str, role: Role, batch: int) -> RoundedRows:
    """Every captured layer's tokens in the order in which the engine takes them at seed 0.

    As many whole batches as the capture has tokens for, at least one; the first batch of a layer holds the
    very integers that a step of the captured model is simulated with.
    """
    made = QUANTIZERS[quantizer]
    tokens = max(activations.tokens // batch, 1) * batch
    n_layers = int(activations.meta["n_layers"])
    width = activations.codes[role].shape[-1]
    ints, signal, noise = [], 0.0, 0.0
    for layer in activations.layers if role != "head" else (n_layers,):
        place = (role, layer, n_layers, width, tokens)
        x = activations.quantized(*place, abits=16) * activations.act_scales(*place, abits=16)[:, None]
        rounded = made.round(x)
        if quantizer == "token":
            # The engine rounds the captured codes, not the floats: the same but for ties of float rounding.
            rounded = rounded._replace(ints=activations.quantized(*place, abits=ABITS))
        ints.append(rounded.ints)
        signal += float(np.sum(np.square(x, dtype=np.float64)))
        noise += float(np.sum(np.square(x - rounded.values)))
    return RoundedRows(np.concatenate(ints), signal, noise)
