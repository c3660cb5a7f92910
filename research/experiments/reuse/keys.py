"""By what a PRT may find an entry, and what becomes of patterns by bit position: quickly, and plainly."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.counts import DEFAULT_PRT, PrtConfig
from sailsim.lut_gemv.operands import checked_activations
from sailsim.lut_gemv.reference import Ints, all_groups, form_patterns

PrtHash = Literal["modulo", "fold", "multiply"]
PRT_HASHES: tuple[PrtHash, ...] = ("modulo", "fold", "multiply")


@dataclass(frozen=True)
class PrtKey:
    """By what a PRT finds an entry, to measure what other keys would do. The default is the unit's key.

    Attributes:
        hash: the one place of a pattern p in E entries: ``modulo`` p mod E, which is the policy ``direct``;
            ``fold`` (p xor p // E) mod E; ``multiply`` the top of p times 2**32 over the golden ratio
            (multiplicative hashing). None: the policy finds it a place.
        tagged: an entry knows its whole pattern; without it is taken for every pattern of its place.
        flushed: emptied when the table changes; else the key lacks the group, and an entry read from an
            earlier table is found too.
    """

    hash: PrtHash | None = None
    tagged: bool = True
    flushed: bool = True

    def __post_init__(self) -> None:
        if self.hash is not None and self.hash not in PRT_HASHES:
            raise SailsimError(f"prt hash is {self.hash!r}; allowed are {', '.join(PRT_HASHES)} and None.")
        if self.hash is None and not self.tagged:
            raise SailsimError(
                "prt tagged is False without a hash; allowed is so with a hash, which gives one place."
            )

    def places(self, entries: int, nbw: int) -> tuple[int, ...]:
        """The place of every pattern, ``2**nbw`` of them in ``0..entries - 1``; empty without a hash."""
        if self.hash is None or entries == 0:
            return ()
        if self.hash == "multiply":
            return tuple(((p * 2654435769 & 0xFFFFFFFF) * entries) >> 32 for p in range(1 << nbw))
        above = entries if self.hash == "fold" else 1 << nbw
        return tuple((p ^ p // above) % entries for p in range(1 << nbw))


DEFAULT_KEY = PrtKey()


def _check_tile_rows(tile_rows: int, rows: int) -> None:
    """Refuse tiles that do not cut ``rows`` evenly; 0 is one tile."""
    if tile_rows < 0 or rows % (tile_rows or rows) != 0:
        raise SailsimError(f"tile_rows is {tile_rows}; allowed is 0 or a divisor of the {rows} rows.")


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
) -> NDArray[np.int64]:
    """What becomes of the patterns of ``x`` ``(rows, K)`` at each bit position.

    Returns:
        int64 ``(tiles, abits, 4)``: zero patterns, hits, misses, and the hits that are wrong; a tile has
        ``tile_rows`` rows (0: all).
    """
    x = checked_activations(x, abits, signed, nbw, group_size)
    _check_tile_rows(tile_rows, len(x))
    if prt.policy == "direct" and key.hash is None:
        key = replace(key, hash="modulo")
    groups = all_groups(x.shape[1], nbw, group_size)
    formed = np.stack([form_patterns(x[:, group], abits) for group in groups])  # (groups, rows, abits)
    tiles = formed.reshape(len(groups), len(x) // (tile_rows or len(x)), -1).swapaxes(0, 1)
    numbers = np.broadcast_to(np.arange(len(groups))[:, None], tiles.shape)
    length = tiles.shape[2] if key.flushed else tiles.shape[1] * tiles.shape[2]
    patterns, of_group = tiles.reshape(-1, length), numbers.reshape(-1, length)
    outcomes = np.concatenate(
        [
            _outcomes(patterns[i : i + LANES], of_group[i : i + LANES], nbw, prt, key)
            for i in range(0, len(patterns), LANES)
        ]
    ).reshape(len(tiles), -1, abits)
    counts = np.stack([(outcomes == outcome).sum(axis=1) for outcome in range(4)], axis=-1)
    counts[..., 1] += counts[..., 3]
    return np.asarray(counts, np.int64)


LANES = 1 << 16
"""Tables that are followed side by side."""


def _outcomes(
    patterns: NDArray[Any], of_group: NDArray[Any], nbw: int, prt: PrtConfig, key: PrtKey
) -> NDArray[np.int8]:
    """What becomes of each pattern ``(tables, patterns)``: 0 it is 0, 1 a hit, 2 a miss, 3 a wrong hit."""
    entries = prt.effective_entries
    if entries == 0:
        return np.where(patterns == 0, 0, 2).astype(np.int8)
    places = np.array(key.places(entries, nbw) or range(1 << nbw))
    evicts = key.hash is None and entries < (1 << nbw) - 1
    tables = np.arange(len(patterns))
    held = np.full((len(patterns), places.max() + 1), -1)
    read_for, used = np.zeros_like(held), np.zeros_like(held)
    outcomes = np.empty(patterns.shape, np.int8)
    for step, (pattern, group) in enumerate(zip(patterns.T, of_group.T, strict=True), start=1):
        place = places[pattern]
        same = held[tables, place] == pattern
        found = same if key.tagged else held[tables, place] >= 0
        right = same & (read_for[tables, place] == group)
        outcomes[:, step - 1] = np.where(pattern == 0, 0, np.where(found, np.where(right, 1, 3), 2))
        entered = tables[(pattern != 0) & ~found]
        if evicts:
            whole = entered[(held[entered] >= 0).sum(axis=1) == entries]
            held[whole, np.where(held[whole] >= 0, used[whole], step).argmin(axis=1)] = -1
            renewed = tables[pattern != 0] if prt.policy == "lru" else entered
            used[renewed, place[renewed]] = step
        held[entered, place[entered]] = pattern[entered]
        read_for[entered, place[entered]] = group[entered]
    return outcomes


def plain_bit_profile(
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
    misses are those of the reference's `pattern_profile`, summed over the groups, if the key is the unit's.

    Returns:
        int64 ``(tiles, abits, 4)``: zero patterns, hits, misses, and the hits that are wrong because the
        entry holds the result of another pattern or of another group's table.
    """
    x = checked_activations(x, abits, signed, nbw, group_size)
    _check_tile_rows(tile_rows, len(x))
    columns = {"zero": 0, "hit": 1, "miss": 2, "wrong": 3}
    counts = np.zeros((len(x) // (tile_rows or len(x)), abits, len(columns)), np.int64)
    table = _Prt(prt, key, nbw)
    for of_tile, rows in zip(counts, np.split(x, len(counts)), strict=True):
        table.flush()
        for number, group in enumerate(all_groups(x.shape[1], nbw, group_size)):
            if key.flushed:
                table.flush()
            for of_row in form_patterns(rows[:, group], abits).tolist():
                for bit, p in enumerate(of_row):
                    outcome = table.access(p, number) if p != 0 else "zero"
                    of_tile[bit, columns[outcome]] += 1
    counts[:, :, columns["hit"]] += counts[:, :, columns["wrong"]]
    return counts


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
