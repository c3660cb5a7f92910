"""The specification of LUT-GEMV in NumPy: docs/contract.md, sections 1 and 2, in the same order.

It is written to be read and is slow. The C++ core, the AArch64 programs and the gem5 unit must give the
same results and the same counts, to the bit; :mod:`sailsim.lut_gemv` offers the quick way to both.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode, check_accumulator, checked_weights
from sailsim.lut_gemv.counts import DEFAULT_PRT, PrtConfig, TileCounts
from sailsim.lut_gemv.operands import (
    ACCUMULATOR_BITS,
    block_slices,
    check_array,
    check_equal_k,
    checked_activations,
    group_slices,
)

Ints = NDArray[np.int64]


def lut_gemv(
    x: NDArray[Any],
    w: NDArray[Any],
    *,
    abits: int,
    signed: bool = True,
    code: WeightCode,
    nbw: int = 4,
    group_size: int = 0,
    prt: PrtConfig = DEFAULT_PRT,
) -> tuple[Ints, TileCounts, _core.PatternProfile]:
    """Compute ``y[b, n] = sum_k x[b, k] * W[k, n]`` by tables of subset sums.

    Args:
        x: integers ``(B, K)`` within ``abits`` bits, two's complement if ``signed``.
        w: weight codes ``(K, N)``; ``W = code.decode(w)``.
        abits: bits of an activation, 1..16.
        signed: whether activations are two's complement.
        code: how codes read as integers.
        nbw: weights of a group, 1..6.
        group_size: weights of a quantization block along K; 0 is one block.
        prt: the pattern reuse table.

    Returns:
        y int64 ``(B, N)``, the counts of one pass without scaling, and the pattern profile.

    Raises:
        SailsimError: on a wrong dtype or shape, a value outside its width, or a sum that could wrap.
    """
    acc = lut_gemv_blocks(x, w, abits=abits, signed=signed, code=code, nbw=nbw, group_size=group_size)
    profile = pattern_profile(x, abits=abits, signed=signed, nbw=nbw, group_size=group_size, prt=prt)
    return acc.sum(axis=0), tile_counts(profile, nbw=nbw), profile


def lut_gemv_blocks(
    x: NDArray[Any],
    w: NDArray[Any],
    *,
    abits: int,
    signed: bool = True,
    code: WeightCode,
    nbw: int = 4,
    group_size: int = 0,
    dfms: int = 1,
) -> Ints:
    """Accumulators of every block, int64 ``(blocks, B, N)``, as :func:`lut_gemv` sums them.

    ``dfms`` take the groups of a block in turn; each has its own sums, which are added at the end.
    """
    x = checked_activations(x, abits, signed, nbw, group_size)
    w = checked_weights(w, code)
    check_equal_k(x.shape[1], len(w))
    check_accumulator(code, abits, signed, x.shape[1], ACCUMULATOR_BITS)

    weights = code.decode(w).astype(np.int64)
    blocks = block_slices(len(w), group_size)
    acc = np.zeros((len(blocks), dfms, len(x), w.shape[1]), np.int64)
    for block_acc, block in zip(acc, blocks, strict=True):
        for index, group in enumerate(group_slices(block, nbw)):
            dfm_acc = block_acc[index % dfms]
            table = build_table(weights[group], nbw)
            patterns = form_patterns(x[:, group], abits)
            for i in range(abits):
                plane = table[patterns[:, i]] << i
                is_sign_plane = signed and i == abits - 1
                dfm_acc += -plane if is_sign_plane else plane
    summed: Ints = acc.sum(axis=1)
    return summed


def build_table(group_weights: Ints, nbw: int) -> Ints:
    """Build the table ``T[p] = sum_j bit_j(p) * W[j]`` of a group ``(<= nbw, N)``; int64 ``(2**nbw, N)``.

    An entry is an earlier entry plus one weight, so all but the zero entry and the nbw weights
    themselves cost one addition. Weights missing in a short group are zero.
    """
    weights = np.zeros((nbw, group_weights.shape[1]), np.int64)
    weights[: len(group_weights)] = group_weights
    table = np.zeros((1 << nbw, group_weights.shape[1]), np.int64)
    for p in range(1, 1 << nbw):
        highest = p.bit_length() - 1
        table[p] = table[p - (1 << highest)] + weights[highest]
    return table


def form_patterns(group_x: NDArray[Any], abits: int) -> Ints:
    """Form the patterns of a group's activations ``(B, <= nbw)``: int64 ``(B, abits)``, bit 0 first.

    Bit j of a pattern is the bit of activation j at that position. Activations missing in a short group are
    0.
    """
    patterns = np.zeros((len(group_x), abits), np.int64)
    for i in range(abits):
        for j in range(group_x.shape[1]):
            patterns[:, i] |= ((group_x[:, j].astype(np.int64) >> i) & 1) << j
    return patterns


def pattern_profile(
    x: NDArray[Any],
    *,
    abits: int,
    signed: bool = True,
    nbw: int,
    group_size: int = 0,
    prt: PrtConfig = DEFAULT_PRT,
) -> _core.PatternProfile:
    """Count the patterns of ``x`` ``(B, K)`` that are zero, PRT hits and PRT misses, for each group.

    The PRT is flushed when the table changes, so groups are independent of each other. Within a group
    patterns come batch row by batch row, bit 0 first.
    """
    x = checked_activations(x, abits, signed, nbw, group_size)
    rows = []
    for group in all_groups(x.shape[1], nbw, group_size):
        sequence = form_patterns(x[:, group], abits).ravel().tolist()
        patterns = [p for p in sequence if p != 0]
        hits = _prt_hits(patterns, prt)
        rows.append((len(sequence) - len(patterns), hits, len(patterns) - hits))
    return _core.PatternProfile(*np.array(rows, np.int32).T.copy())


def _prt_hits(patterns: list[int], prt: PrtConfig) -> int:
    """Count the hits of a group's patterns, none of them 0, in a PRT that is empty at first."""
    entries, hits = prt.effective_entries, 0
    cached: OrderedDict[int, int] = OrderedDict()  # key -> pattern, the next to be evicted first
    for pattern in patterns if entries else ():
        key = pattern % entries if prt.policy == "direct" else pattern
        if cached.get(key) == pattern:
            hits += 1
            if prt.policy == "lru":
                cached.move_to_end(key)
            continue
        if key not in cached and len(cached) == entries:
            cached.popitem(last=False)
        cached[key] = pattern
    return hits


def all_groups(k: int, nbw: int, group_size: int) -> list[slice]:
    """Cut the blocks of K weights into groups."""
    return [group for block in block_slices(k, group_size) for group in group_slices(block, nbw)]


def tile_counts(
    profile: _core.PatternProfile,
    *,
    nbw: int,
    passes: int = 1,
    chunks: int = 1,
    conversions_per_pass: int = 0,
    merges_per_pass: int = 0,
) -> TileCounts:
    """Counts over a tile of one DFM, or of all DFMs that share the groups.

    Args:
        profile: patterns of one pass over all batch rows.
        nbw: weights of a group.
        passes: passes over the outputs that the slice owns.
        chunks: parts of the batch, each with its own tables, which only its rows use.
        conversions_per_pass: blocks times batch rows if the unit applies scales, else 0.
        merges_per_pass: rows of sums that one DFM adds to another's.
    """
    zero, hits, misses = (passes * int(part.sum()) for part in (profile.zero, profile.hits, profile.misses))
    builds = passes * chunks * len(profile.zero)
    adds = builds * ((1 << nbw) - nbw - 1)
    return TileCounts(
        lookups=zero + hits + misses,
        zero_patterns=zero,
        prt_hits=hits,
        prt_misses=misses,
        table_builds=builds,
        table_adds=adds,
        row_reads=2 * adds + misses,
        row_writes=builds * nbw + adds,
        conversions=passes * conversions_per_pass,
        merges=passes * merges_per_pass,
    )


def block_sums(x: NDArray[Any], group_size: int) -> Ints:
    """Sum every block's activations, int64 ``(blocks, B)``: a block's minimum is multiplied by it."""
    blocks = block_slices(x.shape[1], group_size)
    return np.stack([x[:, block].sum(axis=1, dtype=np.int64) for block in blocks])


def scale_blocks(
    acc: NDArray[Any],
    scale: NDArray[np.float16],
    act_scale: NDArray[np.float32],
    *,
    minimum: NDArray[np.float16] | None = None,
    x_sums: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """Scale and sum the blocks in fp32: every step rounds to nearest even, blocks in ascending order.

    Args:
        acc: integer accumulators ``(blocks, B, N)``.
        scale: fp16 ``(blocks, N)``.
        act_scale: fp32 ``(B,)``.
        minimum: fp16 ``(blocks, N)``, or None.
        x_sums: with a minimum, the blocks' sums of activations ``(blocks, B)``, see :func:`block_sums`.

    Returns:
        fp32 ``(B, N)``.
    """
    blocks, batch, n = acc.shape
    check_array("scale", scale, np.float16, (blocks, n))
    check_array("act_scale", act_scale, np.float32, (batch,))
    if (minimum is None) != (x_sums is None):
        raise SailsimError("minimum and x_sums are given one without the other; allowed is both or neither.")
    y = np.zeros((batch, n), np.float32)
    # Scales come from files: an infinite one gives inf or NaN, as in the hardware, and no warning.
    with np.errstate(over="ignore", invalid="ignore"):
        for block in range(blocks):
            t = acc[block].astype(np.float32)
            t = t * scale[block].astype(np.float32)
            y = y + t
            if minimum is not None and x_sums is not None:
                check_array("minimum", minimum, np.float16, (blocks, n))
                u = x_sums[block].astype(np.float32)[:, None]
                y = y + u * minimum[block].astype(np.float32)
        return y * act_scale[:, None]
