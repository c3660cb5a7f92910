"""Replays of traces on gem5: tiles in the order of their tensors, and the timeline of one tile.

A timeline has load, build, look-up, conversion and write-back of every group of a tile. It comes from the
core's `TileSequencer` at the fast engine's rate, or from gem5's unit, which prints a line for each group
(debug flag SailPimGroups). The two differ only in the arrival of weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.tile import Tile
from sailsim.lut_gemv.trace_file import write_trace
from sailsim.sim.gem5.binary import Gem5, Gem5Run
from sailsim.sim.gem5.cached_runs import run_or_load
from sailsim.sim.gem5.stored import TIMELINE, TileTimeline, timelines_of
from sailsim.sim.machine.system import System
from sailsim.sim.step.patterns import PROFILES
from sailsim.sim.step.tiles import PimUnits

ORDERS = ("tensor", "step")
"""Orders of tensors. `tensor`: each waits for the one before. `step`: as in a decode step, tensors of a block
that multiply the same vector run together."""
_SAME_INPUT = {r"attn_[qkv]": "attn_q, attn_k, attn_v", r"ffn_(gate|up)(_\w+)?": "ffn_gate, ffn_up"}
"""Patterns of a block's tensors that multiply the same vector, with a name for the group."""


def replay_tiles(
    gem5: Gem5, system: System, tiles: Sequence[Tile], folder: Path, *, row: int = 0, **options: Any
) -> Gem5Run:
    """Replay tiles, one on each unit. The trace, as large as their weights, is deleted afterwards.

    Args:
        gem5: with the module.
        system: with PIM units.
        tiles: shapes and operands.
        folder: gem5's output directory; created.
        row: placement of the tiles' weights, as `write_trace` takes it.
        options: further arguments of `Gem5.replay`.

    Raises:
        SailsimError: as `Gem5.replay`; or a tile was refused.
    """
    trace = folder / "tiles.trace"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_trace(trace, tiles, row=row)
    except OSError as error:
        raise SailsimError(f"folder {folder} cannot be written: {error.strerror}.") from None
    try:
        run = gem5.replay(system, trace, folder, units=len(tiles), **options)
    finally:
        trace.unlink(missing_ok=True)
    for tile, row_of_tile in zip(tiles, run.tiles(), strict=True):
        if (status := row_of_tile["status"]) != 1:
            substrate = system.require_pim().substrate.value
            raise SailsimError(f"tile {tile.name} on {substrate} was refused with status {status}.")
    return run


def phases_of(names: Sequence[str], order: str) -> list[tuple[str, int]]:
    """Phases of a replay: successive tiles that run together, as their tensors' name and the number of tiles
    up to their last.

    Args:
        names: names of the tiles in the trace's order: a tensor, with ``[i]`` for a part of it.
        order: one of `ORDERS`.

    Raises:
        SailsimError: tiles without names.
    """
    if not all(names) or not names:
        raise SailsimError(
            f"order is {order}, and the trace has tiles without a name; allowed are traces whose tiles name "
            "their tensors, as `sailsim trace` writes them."
        )
    phases, end = [], 0
    for name, tiles in groupby(names, lambda name: _tensors(name, order)):
        end += len(list(tiles))
        phases.append((name, end))
    return phases


def _tensors(tile: str, order: str) -> str:
    tensor = re.sub(r"(?<=.)\[\d+\]$", "", tile)
    block = re.match(r"(blk\.\d+)\.(\w+?)(\.weight)?$", tensor)
    if order == "tensor" or not block:
        return tensor
    groups = (name for kinds, name in _SAME_INPUT.items() if re.fullmatch(kinds, block[2]))
    return f"{block[1]}.{next(groups, block[2])}"


def phase_times(
    phases: Sequence[tuple[str, int]], tiles: Sequence[Mapping[str, int]]
) -> list[dict[str, Any]]:
    """Time of each phase, from the first doorbell's acknowledgement to the last answer.

    Args:
        phases: from `phases_of`.
        tiles: rows of `Gem5Run.tiles`.

    Returns:
        A row for each phase: ``name``, ``tiles``, ``start_ps``, ``end_ps``.
    """
    rows, first = [], 0
    for name, last in phases:
        part, first = tiles[first:last], last
        start, end = min(tile["rung_ps"] for tile in part), max(tile["answered_ps"] for tile in part)
        rows.append({"name": name, "tiles": len(part), "start_ps": start, "end_ps": end})
    return rows


_DEBUG_FLAG = "SailPimGroups"
_UNTRACED = "Tracing is not enabled"
"""Message of a gem5 that was compiled without debug flags."""
_LINE = re.compile(
    r"pass (\d+) group (\d+): load (\d+)\.\.(\d+) start (\d+) build (\d+) lookup (\d+) convert (\d+) "
    r"write-back (\d+)"
)


def core_timeline(system: System, tile: Tile) -> TileTimeline:
    """Timeline of a tile alone on the machine, from the core's sequencer.

    Weights are fetched ahead of need: as many lines are under way as the unit has MSHRs, each for the latency
    of DRAM.

    Raises:
        SailsimError: no PIM units, or the tile does not fit.
    """
    pim = system.require_pim()
    units = PimUnits.alone(system, tile.prt)
    scan = units.scan(tile.abits, tile.signed, tile.nbw, tile.group_size)
    codes = tile.code_bytes() / tile.stored_bytes()
    try:
        groups = _core.tile_timeline(
            units.config,
            tile.shape,
            PROFILES.scanned(tile.x, scan).counts,
            tile.scales is not None,
            minimum=tile.has_minimum,
            # As in the engine, scales come with the weights, whose fetch follows that of the activations.
            bytes_per_cycle=units.dram.rate * codes / units.clock,
            latency=units.dram.latency * units.clock,
            lead=units.operands.latency * units.clock,
            ahead=units.ahead * codes,
        )
    except ValueError as error:
        raise SailsimError(f"tile {tile.name} cannot run: {error}.") from None
    rows = tuple(map(tuple, groups.tolist()))
    return TileTimeline("fast engine", tile.name, pim.clock.value, rows, bool(pim.double_buffer.value))


def gem5_timeline(
    gem5: Gem5, system: System, tile: Tile, folder: Path, timeout_s: float = 600
) -> TileTimeline:
    """Timeline of a tile alone on the machine, from a PIM unit of gem5.

    Raises:
        SailsimError: this gem5 cannot print groups, did not get to the end or refused the tile.
    """
    pim = system.require_pim()
    try:
        run = replay_tiles(gem5, system, [tile], folder, timeout_s=timeout_s, debug=_DEBUG_FLAG)
    except SailsimError as error:
        if _UNTRACED not in str(error):
            raise
        raise SailsimError(
            f"gem5 is {gem5.path}, which was compiled without tracing and prints no groups of a tile; "
            "allowed for a timeline is one with it, such as gem5.opt."
        ) from None

    def cycles(stage: str) -> int:
        return round(run.unit_stat(0, f"stageTicks::{stage}") * 1e-12 * pim.clock.si)

    groups, buffered = read_groups(folder / "debug.txt"), bool(pim.double_buffer.value)
    ends = cycles("operands"), cycles("results")
    return TileTimeline(f"gem5 {gem5.version}", tile.name, pim.clock.value, groups, buffered, *ends)


def both_timelines(
    gem5: Gem5, machine: str, system: System, tile: Tile, out: Path, timeout_s: float = 600
) -> list[TileTimeline]:
    """Timelines of a tile in gem5 and in the fast engine, from the folder if it has them.

    Args:
        machine: the system as the user named it.
        out: folder of results; gem5's own output goes below it.

    Raises:
        SailsimError: as `gem5_timeline` and `core_timeline`; or the folder cannot be used.
    """
    operands = sha256(tile.codes.tobytes() + tile.x.tobytes() + repr((tile.name, tile.shape)).encode())
    point = {"command": TIMELINE, "system": machine, "content": operands.hexdigest()}

    def simulate() -> dict[str, Any]:
        expected = core_timeline(system, tile)
        simulated = gem5_timeline(gem5, system, tile, (out / TIMELINE).resolve(), timeout_s)
        return {"timelines": [json.dumps(asdict(each)) for each in (simulated, expected)]}

    return timelines_of(run_or_load(out, point, system, gem5, simulate))


def read_groups(path: Path) -> tuple[tuple[int, ...], ...]:
    """Groups that a unit printed, in order. Raises SailsimError if they are not those of one tile."""
    groups = tuple(tuple(map(int, match)) for match in _LINE.findall(path.read_text(errors="replace")))
    last = max((group for _, group, *_ in groups), default=0)
    if not groups or [row[:2] for row in groups] != [divmod(i, last + 1) for i in range(len(groups))]:
        raise SailsimError(
            f"gem5's debug output {path} lacks groups; allowed is one tile from start to end, of a gem5 with "
            "this sailsim's module."
        )
    return groups
