"""The specification of LUT-GEMV in NumPy: docs/contract.md, sections 1 and 2, in the same order.

It is written to be read and is slow. The C++ core, the AArch64 programs and the gem5 unit must give the
same results and the same counts, to the bit; :mod:`sailsim.lut_gemv` offers the quick way to both.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.checks import check_array
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.counts import (
    DEFAULT_KEY,
    DEFAULT_PRT,
    Counts,
    PatternProfile,
    Profile,
    PrtConfig,
    PrtKey,
)
from sailsim.lut_gemv.operands import (
    ACCUMULATOR_BITS,
    block_slices,
    check_accumulator,
    check_equal_k,
    check_tile_rows,
    checked_activations,
    checked_weights,
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
) -> tuple[Ints, Counts, PatternProfile]:
    """``y[b, n] = sum_k x[b, k] * W[k, n]`` by tables of subset sums.

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
    """The accumulators of every block, int64 ``(blocks, B, N)``, as :func:`lut_gemv` sums them.

    ``dfms`` share out the groups of a block, dealt in turn; each has sums of its own, added up at the end.
    """
    x = checked_activations(x, abits, signed, nbw, group_size)
    w = checked_weights(w, code)
    check_equal_k(x.shape[1], len(w))
    check_accumulator(code, abits, signed, x.shape[1], ACCUMULATOR_BITS)

    weights = code.decode(w).astype(np.int64)
    blocks = block_slices(len(w), group_size)
    acc = np.zeros((len(blocks), dfms, len(x), w.shape[1]), np.int64)
    for of_dfms, block in zip(acc, blocks, strict=True):
        for place, group in enumerate(group_slices(block, nbw)):
            acc_block = of_dfms[place % dfms]
            table = build_table(weights[group], nbw)
            patterns = form_patterns(x[:, group], abits)
            for i in range(abits):
                plane = table[patterns[:, i]] << i
                is_sign_plane = signed and i == abits - 1
                acc_block += -plane if is_sign_plane else plane
    summed: Ints = acc.sum(axis=1)
    return summed


def build_table(group_weights: Ints, nbw: int) -> Ints:
    """``T[p] = sum_j bit_j(p) * W[j]`` of a group ``(<= nbw, N)``; int64 ``(2**nbw, N)``.

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
    """The patterns of a group's activations ``(B, <= nbw)``: int64 ``(B, abits)``, bit 0 first.

    Bit j of a pattern is the bit of activation j at that position; those missing in a short group are 0.
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
) -> PatternProfile:
    """What becomes of the patterns of ``x`` ``(B, K)``: zero, PRT hit or PRT miss, for each group.

    The PRT is flushed when the table changes, so groups are independent of each other. Within a group
    patterns come batch row by batch row, bit 0 first.
    """
    x = checked_activations(x, abits, signed, nbw, group_size)
    table = _Prt(prt, DEFAULT_KEY, nbw)
    rows = []
    for number, group in enumerate(_groups(x.shape[1], nbw, group_size)):
        table.flush()
        sequence = form_patterns(x[:, group], abits).ravel().tolist()
        outcomes = [table.access(p, number) for p in sequence if p != 0]
        hits = outcomes.count("hit")
        rows.append((len(sequence) - len(outcomes), hits, len(outcomes) - hits))
    zero, hits_of_groups, misses = np.array(rows, np.int32).T.copy()
    return PatternProfile(zero, hits_of_groups, misses)


def dfm_profiles(profile: Profile, k: int, *, nbw: int, group_size: int, dfms: int) -> list[PatternProfile]:
    """What each of ``dfms`` that share out the groups sees of a profile: groups of a block go round."""
    places = [
        place for block in block_slices(k, group_size) for place in range(len(group_slices(block, nbw)))
    ]
    dealt = np.array(places) % dfms
    return [
        PatternProfile(*(part[dealt == dfm] for part in (profile.zero, profile.hits, profile.misses)))
        for dfm in range(dfms)
    ]


def merged_rows(k: int, batch: int, *, nbw: int, group_size: int, dfms: int, scaled: bool) -> int:
    """Batch rows of sums that one of ``dfms`` adds to another's in a pass: at the end of every block.

    Where blocks have no scales, at the end of the pass. A DFM that had no group has no sums.
    """
    groups = [len(group_slices(block, nbw)) for block in block_slices(k, group_size)]
    return batch * sum(min(dfms, count) - 1 for count in (groups if scaled else [max(groups)]))


def bit_profile(
    x: NDArray[Any],
    *,
    abits: int,
    signed: bool = True,
    nbw: int,
    group_size: int = 0,
    tile_rows: int = 0,
    prt: PrtConfig = DEFAULT_PRT,
    key: PrtKey = DEFAULT_KEY,
) -> Ints:
    """What becomes of the patterns of ``x`` ``(rows, K)`` by bit position, in tiles of ``tile_rows`` rows.

    A tile starts with an empty PRT; 0 is one tile. Summed over the bits, a tile's zero patterns, hits and
    misses are those of :func:`pattern_profile`, summed over the groups, if the key is the unit's.

    Returns:
        int64 ``(tiles, abits, 4)``: zero patterns, hits, misses, and the hits that are wrong because the
        entry holds the result of another pattern or of another group's table.
    """
    x = checked_activations(x, abits, signed, nbw, group_size)
    check_tile_rows(tile_rows, len(x))
    columns = {"zero": 0, "hit": 1, "miss": 2, "wrong": 3}
    counts = np.zeros((len(x) // (tile_rows or len(x)), abits, len(columns)), np.int64)
    table = _Prt(prt, key, nbw)
    for of_tile, rows in zip(counts, np.split(x, len(counts)), strict=True):
        table.flush()
        for number, group in enumerate(_groups(x.shape[1], nbw, group_size)):
            if key.flushed:
                table.flush()
            for of_row in form_patterns(rows[:, group], abits).tolist():
                for bit, p in enumerate(of_row):
                    outcome = table.access(p, number) if p != 0 else "zero"
                    of_tile[bit, columns[outcome]] += 1
    counts[:, :, columns["hit"]] += counts[:, :, columns["wrong"]]
    return counts


def _groups(k: int, nbw: int, group_size: int) -> list[slice]:
    return [group for block in block_slices(k, group_size) for group in group_slices(block, nbw)]


class _Prt:
    """The pattern reuse table: entries ``place -> (pattern, group)``, the next to be evicted first."""

    def __init__(self, prt: PrtConfig, key: PrtKey, nbw: int) -> None:
        self._entries = prt.effective_entries
        self._renewed = prt.policy == "lru"
        if prt.policy == "direct" and key.hash is None:
            key = replace(key, hash="modulo")
        self._places = key.places(self._entries, nbw)
        self._tagged = key.tagged
        self._held: OrderedDict[int, tuple[int, int]] = OrderedDict()

    def flush(self) -> None:
        self._held.clear()

    def access(self, pattern: int, group: int) -> Literal["hit", "miss", "wrong"]:
        """Look for a pattern that is not 0 and enter it on a miss."""
        if self._entries == 0:
            return "miss"
        place = self._places[pattern] if self._places else pattern
        held = self._held.get(place)
        if held is not None and (held[0] == pattern or not self._tagged):
            if self._renewed:
                self._held.move_to_end(place)
            return "hit" if held == (pattern, group) else "wrong"
        if held is None and len(self._held) == self._entries:
            self._held.popitem(last=False)
        self._held[place] = (pattern, group)
        return "miss"


def tile_counts(
    profile: Profile,
    *,
    nbw: int,
    passes: int = 1,
    chunks: int = 1,
    conversions_per_pass: int = 0,
    merges_per_pass: int = 0,
) -> Counts:
    """The counts over a tile of one DFM, or of all that share out the groups.

    Args:
        profile: of one pass over all batch rows.
        nbw: weights of a group.
        passes: passes over the outputs that the slice owns.
        chunks: parts that the batch is worked in, each with tables of its own; each feeds only its rows.
        conversions_per_pass: blocks times batch rows when the unit applies scales, else 0.
        merges_per_pass: as :func:`merged_rows` has it.
    """
    zero, hits, misses = (passes * int(part.sum()) for part in (profile.zero, profile.hits, profile.misses))
    builds = passes * chunks * len(profile.zero)
    adds = builds * ((1 << nbw) - nbw - 1)
    return Counts(
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
    """The sum of every block's activations, int64 ``(blocks, B)``: what a block's minimum multiplies."""
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
