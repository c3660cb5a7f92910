"""Tiles of a sweep on gem5, each beside the fast engine's time for the same tile.

A point is one GEMV of a model cut over the machine's LLC slices as in a decode step. With `slices` 1, one
slice's share runs alone on one PIM unit; with all slices, the whole matrix on all units at once, so that they
compete for DRAM: once with the shares one behind the other and once with each begun in a bank of its own, as
gem5's controllers do not spread rows over banks by a hash, which controllers of real machines do.

Points of the same width, number of slices and layout share one run of gem5; each has weights of its own
(another slice's), so that none finds another's in a cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.tile import Tile
from sailsim.lut_gemv.trace import LAYOUTS, write_trace
from sailsim.sim.dram import Dram
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.outcome import Gem5Run
from sailsim.sim.gem5.records import KIND, keys_of, of_gem5
from sailsim.sim.gem5.validation import PHASES
from sailsim.sim.memory_path import memory
from sailsim.sim.nbw import PER_TENSOR, nbw_in_words
from sailsim.sim.replay import timed_tile
from sailsim.sim.schedule import Segments, Tensor, play
from sailsim.sim.study.folder import Store
from sailsim.sim.study.run import run_study
from sailsim.sim.study.tasks import MEMBER, Task
from sailsim.sim.system import System
from sailsim.sim.tiles import PimUnits
from sailsim.workloads.activations import Activations
from sailsim.workloads.choice import settled_choice
from sailsim.workloads.gguf_model import stored_model
from sailsim.workloads.load import load_model
from sailsim.workloads.shape_file import has_own_formats
from sailsim.workloads.traces import plan_trace

if TYPE_CHECKING:
    import pandas as pd

MODEL, TENSOR = "llama-2-7b", "blk.0.attn_q"
"""The matrix of a sweep that does not say which."""
WBITS = range(2, 9)
"""Widths of a sweep that does not say what the weights are."""
COMMAND = "tile"
"""What the column `command` of these records says."""


@dataclass(frozen=True, kw_only=True)
class TilePoint:
    """One GEMV on gem5: widths, batch, and on how many of the machine's slices its shares run.

    `layout`, one of `LAYOUTS`, says where the shares' weights lie.
    `weights` is the choice that gave the matrix its format, empty for a uniform one; `type`, `wbits` and
    `group_size` are that format's. `nbw` may be `PER_TENSOR`: then the tile has the fastest that fits.
    """

    weights: str = ""
    type: str
    wbits: int
    nbw: int = 4
    batch: int = 1
    slices: int = 1
    layout: str = "packed"
    abits: int = 8
    group_size: int
    model: str
    tensor: str

    @property
    def said(self) -> dict[str, Any]:
        """What the weights are, as `plan_trace` takes it."""
        if self.weights:
            return {"weights": self.weights}
        return {"wbits": self.wbits, "group_size": self.group_size}


def tile_points(
    wbits: Sequence[int] | None = None,
    nbw: Sequence[int] = (2, 3, 4),
    batch: Sequence[int] = (1, 8),
    whole: Sequence[int] = (2, 4, 8),
    slices: int = 32,
    *,
    weights: Sequence[str] = (),
    group_size: int | None = None,
    model: str = MODEL,
    tensor: str = TENSOR,
) -> list[TilePoint]:
    """The points of a sweep: one slice's share for every format, NBW and batch, and for the widths of `whole`
    the whole matrix on all slices in both layouts, with the largest NBW and the smallest batch.

    Formats are those that `weights` give the matrix (docs/models.md), or uniform ones of the widths `wbits`
    and of `group_size` weights a scale. Where neither is said, a model's file has its own, and any other
    model 2 to 8 bits.

    Raises:
        SailsimError: an empty list; weights said in both ways; no such matrix, or one without scalar codes.
    """
    spec = load_model(model)
    linear = next((each for each in spec.layer_linears(0) if each.name == tensor), None)
    if linear is None:
        names = ", ".join(each.name for each in spec.layer_linears(0))
        raise SailsimError(f"tensor is {tensor!r}; allowed are {names}.")
    if not weights and wbits is None and not (has_own_formats(model) and group_size is None):
        wbits = WBITS
    for name, values in (("wbits", wbits), ("nbw", nbw), ("batch", batch)):
        if values is not None and not values:
            raise SailsimError(f"{name} is an empty list; allowed is at least one value.")
    choices = [
        settled_choice(model, word, width, group_size)
        for word, width in itertools.product(weights or ("",), (None,) if wbits is None else wbits)
    ]
    alone, together = [], []
    for choice in choices:
        fmt = choice.format(model, spec).tensor(linear, spec)
        if fmt.wbits is None:
            raise SailsimError(
                f"weights is {choice.weights!r}, in which {tensor} is {fmt.name}: no scalar codes, so that "
                "the cores multiply it; allowed are formats with codes, such as 4g32."
            )
        one = TilePoint(
            weights=choice.weights, type=fmt.name, wbits=fmt.wbits, group_size=fmt.group_size,
            model=model, tensor=tensor,
        )  # fmt: skip
        alone += [replace(one, nbw=q, batch=b) for q, b in itertools.product(nbw, batch)]
        if fmt.wbits in whole:
            both = replace(one, nbw=max(nbw), batch=min(batch), slices=slices)
            together += [replace(both, layout=layout) for layout in LAYOUTS]
    return list(dict.fromkeys(alone + together))


def run_tiles(
    points: Sequence[TilePoint],
    gem5: Gem5,
    machine: str,
    system: System,
    out: Path,
    *,
    activations: str = "",
    timeout_s: float = 600,
    progress: bool = True,
) -> tuple[pd.DataFrame, int]:
    """Run the points that the folder does not hold yet; each run's results are stored as it ends.

    Args:
        points: from `tile_points`.
        gem5: with the module.
        machine: the system as the user named it.
        system: the same, read.
        out: folder of the results; gem5's own output goes into folders below it.
        activations: path of a capture; empty is the one that ships.
        timeout_s: wall seconds for each run of gem5.
        progress: whether to show it on standard error.

    Returns:
        The points' rows, and how many of them the folder held before.

    Raises:
        SailsimError: bad input; or runs of gem5 that failed or took too long, after all others are stored.
    """
    system.require_pim()
    captured = Activations.load(activations or None)
    assert system.pim is not None
    group = f"{COMMAND} {machine} {system.pim.substrate.value}"
    asked = {point: _question(point, machine, system, captured) for point in points}
    keys = {point: keys_of(question, system, gem5) for point, question in asked.items()}
    stored = Store(out).keys()
    missing = [point for point in points if keys[point][0] not in stored]
    held = [point for point in points if keys[point][0] in stored]
    tasks = [Task(*keys[point], (point,)) for point in held]
    tasks += [
        Task(keys[run[0]][0], keys[run[0]][1], tuple(run), i, tuple(keys[point] for point in run))
        for i, run in enumerate(_runs(missing, system))
    ]

    def evaluate(run: tuple[TilePoint, ...]) -> list[dict[str, Any]]:
        found = _simulate(run, gem5, system, captured, out, timeout_s)
        return [
            {**asked[point], **found[point], **of_gem5(gem5), MEMBER: member}
            for member, point in enumerate(run)
        ]

    store = run_study(
        tasks,
        evaluate,
        out,
        kind=KIND,
        progress=progress,
        what="runs of tiles on gem5",
        group=group,
        tries=1,
    )
    return store.frame(group), len(held)


def example_tile(points: Sequence[TilePoint], system: System, activations: str = "") -> Tile:
    """The tile of a sweep whose timeline is worth a picture: four bits if there are, the largest NBW, the
    smallest batch, one slice's share."""
    alone = [point for point in points if point.slices == 1]
    point = min(alone, key=lambda p: (abs(p.wbits - 4), -p.nbw, p.batch))
    tile = _shares([point], system, Activations.load(activations or None))[0]
    name = f"{point.tensor} of {point.model}, one slice's {tile.k} x {tile.n}"
    return replace(
        tile,
        name=f"{name}, {point.type}, {point.abits}-bit activations, NBW {point.nbw}, batch {point.batch}",
    )


def _question(point: TilePoint, machine: str, system: System, activations: Activations) -> dict[str, Any]:
    file = stored_model(point.model)
    assert system.pim is not None
    return {
        "command": COMMAND,
        "system": machine,
        "substrate": str(system.pim.substrate.value),
        **asdict(point),
        "model_sha256": file.file.sha256 if file else "",
        "activations": activations.id,
    }


def _runs(points: Sequence[TilePoint], system: System) -> list[list[TilePoint]]:
    """Points of one run of gem5: those of a matrix and a width, as many as it has slices, or one alone."""
    found: list[list[TilePoint]] = []

    def share(point: TilePoint) -> tuple[Any, ...]:
        return (
            point.model, point.tensor, point.weights, point.type, point.wbits, point.abits, point.group_size,
            point.slices, point.layout,
        )  # fmt: skip

    for (*_, slices, _), group in itertools.groupby(sorted(points, key=share), key=share):
        size = system.llc.slices.whole if slices == 1 else 1
        members = list(group)
        found += [members[i : i + size] for i in range(0, len(members), size)]
    return found


def _simulate(
    run: Sequence[TilePoint],
    gem5: Gem5,
    system: System,
    activations: Activations,
    out: Path,
    timeout_s: float,
) -> Mapping[TilePoint, dict[str, Any]]:
    """The records of one run of gem5."""
    first = run[0]
    name = f"tiles-{Path(first.model).stem}-{first.tensor}-{first.type}-s{first.slices}-{first.layout}"
    folder = (out / name).resolve()
    tiles = _shares(run, system, activations)
    for i, point in enumerate(run):
        _engine(point, system, tiles[i * point.slices])  # refuses what does not fit before gem5 starts
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trace = folder / "tiles.trace"
        row = system.memory.row_of_channels if first.layout == "rows" else 0
        write_trace(trace, tiles, model=first.model, row=row)
    except OSError as error:
        raise SailsimError(f"folder {folder} cannot be written: {error.strerror}.") from None
    # One tile at a time, each on a unit of its own; the shares of one matrix all at once.
    window = 1 if first.slices == 1 else 0
    done = gem5.replay(system, trace, folder, units=len(tiles), window=window, timeout_s=timeout_s)
    rows = done.tiles()
    if len(rows) != len(tiles):
        raise SailsimError(f"gem5 reports {len(rows)} tiles; the trace {trace} has {len(tiles)}.")
    trace.unlink()  # as large as the weights, and made again in a moment
    found = {}
    for i, point in enumerate(run):
        units = range(i * point.slices, (i + 1) * point.slices)
        found[point] = _record(point, system, done, rows, [tiles[u] for u in units], units)
    return found


def _shares(run: Sequence[TilePoint], system: System, activations: Activations) -> list[Tile]:
    """The tiles of a run, point by point: point i of single slices has the i-th slice's share.

    Each point has activations of its own too: another's would be in the LLC already.
    """
    first = run[0]
    plan = plan_trace(
        first.model,
        activations,
        **first.said,
        abits=first.abits,
        layers=(0, 1),
        tensors=first.tensor,
        slices=system.llc.slices.whole,
    )
    shares = list(plan.tiles())
    if len(shares) != system.llc.slices.whole:
        raise SailsimError(
            f"tensor is {first.tensor!r}; allowed is the name of one with outputs for every slice."
        )
    linear = plan.matrices[0][0]
    found = []
    for i, point in enumerate(run):
        rows = (linear.role, linear.layer, plan.spec.n_layers, linear.k, point.batch, i)
        x = activations.quantized(*rows, abits=point.abits)
        scale = activations.act_scales(*rows, abits=point.abits)
        for tile in shares[i : i + point.slices]:
            assert tile.scales is not None
            scales = replace(tile.scales, act_scale=scale)
            found.append(replace(tile, x=x, scales=scales, nbw=point.nbw or tile.nbw))
        if point.nbw == PER_TENSOR:  # of the whole tensor: every slice has the same
            nbw = timed_tile(
                _units(system, found[-1], point.slices), found[-1], slices=point.slices, fastest=True
            ).nbw
            found[-point.slices :] = [replace(tile, nbw=nbw) for tile in found[-point.slices :]]
    return found


def _units(system: System, tile: Tile, slices: int) -> PimUnits:
    return PimUnits(
        system, substrate=None, convert=system.unit_convert, prt=tile.prt, slices=slices, operands="dram"
    )


def _engine(point: TilePoint, system: System, tile: Tile) -> dict[str, Any]:
    """The fast engine's cycles of a point whose slices have tiles like `tile`, weights just in time.

    `bare_cycles` are those with gem5's DRAM, which loses nothing to long reads but refreshes; the engine's
    own has the share of its peak that was measured on a real machine.
    """
    pim, slices = system.pim, point.slices
    assert pim is not None
    timed = timed_tile(_units(system, tile, slices), tile, slices=slices)
    # DRAM behind so many units, which ask for nothing ahead of the tile.
    part = slices / system.llc.slices.whole
    whole = memory(system)
    reader = replace(whole.stream, window=whole.stream.window * part, parts=slices)
    machine = replace(whole, depth=0, stream=reader, stream_limit=whole.stream_limit * part)
    dram = Dram(system.memory, system.llc.line.whole)
    tile_alone = Segments.one([], [Tensor(point.tensor, 0, timed.bytes, timed.seconds, timed.throttled)])

    def cycles(share: float) -> float:
        """Those that gem5 counts: between the descriptor's arrival and the last result's."""
        end = play(replace(machine, read_share=share), [tile_alone]).end
        return (end - timed.edges.descriptor - timed.edges.record) * pim.clock.si

    return {
        "engine_cycles": cycles(machine.read_share),
        "bare_cycles": cycles(dram.reads(dram.lines_of_row)),
        "unhindered_cycles": int(timed.timing.total),
        **{f"core_{phase}": int(getattr(timed.timing, phase)) for phase in PHASES},
    }


def _record(
    point: TilePoint,
    system: System,
    done: Gem5Run,
    rows: Sequence[Mapping[str, int]],
    tiles: Sequence[Tile],
    units: range,
) -> dict[str, Any]:
    assert system.pim is not None
    own = [rows[unit] for unit in units]
    refused = next((row for row in own if row["status"] != 1), None)
    if refused is not None:
        raise SailsimError(
            f"{point.tensor} as {point.type}, {nbw_in_words(point.nbw)}, batch {point.batch} was refused by "
            f"gem5's unit with status {refused['status']}."
        )
    engine = _engine(point, system, tiles[0])
    phases = {phase: {int(done.unit_stat(u, stat)) for u in units} for phase, stat in PHASES.items()}
    cycles = max(row["cycles"] for row in own)
    return {
        "nbw": tiles[0].nbw,
        "nbw_chosen": point.nbw == PER_TENSOR,
        "k": tiles[0].k,
        "n": sum(tile.n for tile in tiles),
        "correct": all(row["good"] == 1 for row in own),
        "gem5_cycles": cycles,
        **engine,
        "gem5_s": cycles / system.pim.clock.si,
        "engine_s": engine["engine_cycles"] / system.pim.clock.si,
        "error": engine["engine_cycles"] / cycles - 1,
        "bare_error": engine["bare_cycles"] / cycles - 1,
        **{f"gem5_{phase}": max(found) for phase, found in phases.items()},
        "phases_equal": all(found == {engine[f"core_{phase}"]} for phase, found in phases.items()),
        "weight_stall_cycles": max(int(done.unit_stat(u, "weightStallCycles")) for u in units),
        "host_s": done.host_s,
        "folder": str(done.folder),
    }
