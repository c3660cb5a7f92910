"""In which order a replay hands over the tiles of several tensors: what waits for what in a decode step."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sailsim.base.errors import SailsimError

ORDERS = ("tensor", "step")
"""`tensor`: each tensor waits for the one before. `step`: those of a block that multiply the same vector go
together, as in a decode step."""

_TILE = re.compile(r"^(?P<tensor>.+?)(\[\d+\])?$")
_BLOCK = re.compile(r"^(?P<block>blk\.\d+)\.(?P<kind>\w+?)(\.weight)?$")

_SAME_INPUT = (
    (re.compile(r"^attn_[qkv]$"), "attn_q, attn_k, attn_v"),
    (re.compile(r"^ffn_(gate|up)(_\w+)?$"), "ffn_gate, ffn_up"),
)
"""Tensors of a block that multiply one vector, and what they are called together."""


@dataclass(frozen=True)
class Phase:
    """Tiles that go together, one after another in the trace.

    Attributes:
        name: of the tensors.
        end: number of tiles up to the last of the phase.
    """

    name: str
    end: int


def phases_of(names: Sequence[str], order: str) -> list[Phase]:
    """The phases of a trace's tiles, in the trace's order.

    Args:
        names: of the tiles: a tensor, with ``[i]`` where it is cut into tiles.
        order: one of `ORDERS`.

    Raises:
        SailsimError: an unknown order, or tiles without names.
    """
    if order not in ORDERS:
        raise SailsimError(f"order is {order!r}; allowed are {', '.join(ORDERS)}.")
    if not all(names) or not names:
        raise SailsimError(
            f"order is {order}, and the trace has tiles without a name; allowed are traces whose tiles name "
            "their tensors, as `sailsim trace` writes them."
        )
    found: list[Phase] = []
    for name, together in groupby(names, key=lambda tile: _group(tile, order)):
        before = found[-1].end if found else 0
        found.append(Phase(name, before + len(list(together))))
    return found


def _group(tile: str, order: str) -> str:
    match = _TILE.match(tile)
    tensor = match["tensor"] if match else tile
    block = _BLOCK.match(tensor)
    if order == "tensor" or not block:
        return tensor
    for pattern, together in _SAME_INPUT:
        if pattern.match(block["kind"]):
            return f"{block['block']}.{together}"
    return f"{block['block']}.{block['kind']}"


def phase_times(phases: Sequence[Phase], tiles: Sequence[Mapping[str, int]]) -> list[dict[str, Any]]:
    """When each phase began and ended: ``name``, ``tiles``, ``start_ps``, ``end_ps``.

    Args:
        phases: of the trace.
        tiles: rows of `Gem5Run.tiles`.

    Returns:
        A row a phase: from the first doorbell's acknowledgement to the last answer.
    """
    rows = []
    for before, phase in zip([0, *(phase.end for phase in phases)], phases, strict=False):
        part = tiles[before : phase.end]
        rows.append(
            {
                "name": phase.name,
                "tiles": len(part),
                "start_ps": min(tile["rung_ps"] for tile in part),
                "end_ps": max(tile["answered_ps"] for tile in part),
            }
        )
    return rows
