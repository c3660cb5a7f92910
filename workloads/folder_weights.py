"""Weights of a folder of safetensors as a PIM tile holds them: codes of GPTQ and AWQ, and values of floats.

GPTQ packs codes along K and zero points along N, lowest bits first, as one stream of bits over the words;
AWQ packs both along N, eight codes a word in an order of its own. What is stored of a GPTQ zero point is one
less than it, unless the folder says ``gptq_v2``. A unit takes codes as they are stored; a zero point becomes
the block's minimum, ``-zero * scale``, or where the folder says that all are the middle, the offset of the
code. Where groups are of inputs in another order than the matrix's (``g_idx``), its rows are put into theirs.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.workloads.folder_model import FolderModel
from sailsim.workloads.folder_tensors import FLOATS
from sailsim.workloads.formats import WORD_BITS, GroupFormat, TensorFormat
from sailsim.workloads.model import Linear
from sailsim.workloads.safetensors_file import SafeTensor, shown
from sailsim.workloads.weights import Weights, WeightSource, quantized, tile_fp16

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight neighbouring columns each code of a word is of, lowest bits first."""

Codes = npt.NDArray[np.uint8]


def folder_source(model: FolderModel, linear: Linear, fmt: TensorFormat | None = None) -> WeightSource:
    """Weights of a layer of a folder, in its own format or in another. Raises SailsimError without codes.

    Codes of GPTQ and AWQ are used as they are stored where the format is the matrix's own.
    """
    own = model.format.tensors[linear.name]
    fmt = fmt or own
    if fmt == own and isinstance(own, GroupFormat):
        parts = model.parts(linear.name)
        rounded = own.minimum or parts["scales"].dtype != "F16"
        origin = f"stored {own.name} codes" + (
            f", {'minima' if own.minimum else 'scales'} rounded to fp16" if rounded else ""
        )
        return WeightSource(fmt, origin, lambda: _grouped(model, linear, own, origin))
    origin = f"{fmt.name} codes of {own.name} values"
    return WeightSource(fmt, origin, lambda: quantized(_values(model, linear, own), fmt, origin))


def _values(model: FolderModel, linear: Linear, own: TensorFormat) -> npt.NDArray[np.float32]:
    """What a matrix holds, fp32 (K, N), inputs in their own order."""
    if isinstance(own, GroupFormat):
        stored = _grouped(model, linear, own, "")
        values = stored.values()
        if stored.order is None:
            return values
        found = np.empty_like(values)
        found[stored.order] = values
        return found
    return _floats(model.parts(linear.name)["weight"]).T


def _floats(tensor: SafeTensor) -> npt.NDArray[np.float32]:
    """A tensor of a type of `FLOATS`. Raises SailsimError for what is no number."""
    raw = tensor.read()
    if tensor.dtype not in FLOATS:
        raise SailsimError(f"the dtype of {shown(tensor.name)} is {tensor.dtype}; allowed is a float.")
    if tensor.dtype == "BF16":
        values = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = raw.view("<f2" if tensor.dtype == "F16" else "<f4").astype(np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        raise SailsimError(
            f"element {int(bad.argmax())} of {shown(tensor.name)} is {values[bad][0]}; allowed are numbers."
        )
    return values.reshape(tensor.shape)


def _grouped(model: FolderModel, linear: Linear, fmt: GroupFormat, origin: str) -> Weights:
    """Codes, scales and zero points of GPTQ or AWQ, as a tile has them."""
    assert fmt.code is not None
    parts = model.parts(linear.name)
    bits, k, n = fmt.code.wbits, linear.k, linear.n
    words, zero_words = (parts[name].read().view("<u4") for name in ("qweight", "qzeros"))
    groups = parts["scales"].shape[0]
    if fmt.method == "awq":
        codes = _awq(words.reshape(k, -1), bits)[:, :n]
        zeros = _awq(zero_words.reshape(groups, -1), bits)[:, :n]
    else:
        codes = np.ascontiguousarray(_unpacked(words.reshape(-1, n).T, bits)[:, :k].T)
        zeros = _unpacked(zero_words.reshape(groups, -1), bits)[:, :n]
        if model.zero_less_one:
            zeros = (zeros + np.uint8(1)) & np.uint8((1 << bits) - 1)
    exact = _floats(parts["scales"])
    scales = tile_fp16("scale", exact, fmt)
    minima = None
    if fmt.minimum:
        minima = tile_fp16("minimum", -zeros.astype(np.float32) * exact, fmt)
    elif (zeros != fmt.code.zero_point).any():
        raise SailsimError(
            f"a zero point of {shown(parts['qzeros'].name)} is {zeros[zeros != fmt.code.zero_point][0]}; "
            f"allowed is {fmt.code.zero_point}, as the folder says that codes are symmetric."
        )
    order = _order(parts, fmt, k)
    if order is not None:
        codes = codes[order]
    return Weights(codes, fmt.code, fmt.group_size, scales, minima, origin, order)


def _unpacked(words: npt.NDArray[np.uint32], bits: int) -> Codes:
    """Codes (rows, words * 32 / bits) of words (rows, words), lowest bits first over all words of a row."""
    rows = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)
    each = np.unpackbits(rows, axis=1, bitorder="little").reshape(len(rows), -1, bits)
    return np.packbits(each, axis=2, bitorder="little")[..., 0]


def _awq(words: npt.NDArray[np.uint32], bits: int) -> Codes:
    """The same in AWQ's order."""
    inside = _unpacked(words, bits).reshape(len(words), -1, WORD_BITS // bits)
    codes = np.empty_like(inside)
    codes[..., AWQ_ORDER] = inside
    return codes.reshape(len(words), -1)


def _order(parts: dict[str, SafeTensor], fmt: GroupFormat, k: int) -> npt.NDArray[Any] | None:
    """The inputs in the order of their groups; None where that is their own.

    Raises SailsimError where a group has another number of inputs than all.
    """
    if not fmt.indexed or not fmt.group_size:
        return None
    index = parts["g_idx"].read().view("<i4")
    wanted = np.arange(k) // fmt.group_size
    order = np.argsort(index, kind="stable")
    wrong = index[order] != wanted
    if wrong.any():
        raise SailsimError(
            f"group {int(index[order][wrong][0])} of {shown(parts['g_idx'].name)} has another number of "
            f"inputs than {fmt.group_size}, or is none; allowed are groups 0..{int(wanted[-1])} of so many."
        )
    return None if (index == wanted).all() else order
