"""Tiles of GEMVs on PIM units: cycles by the C++ core, overheads, and events for the energy.

`docs/engine.md` has the model and its equations.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from math import ceil, gcd, inf
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.counts import TILE_PHASES
from sailsim.sim.backend import ACTIVITY, COMPUTE, CONVERT
from sailsim.sim.machine.pim import NBWS
from sailsim.sim.machine.substrate import OPERATIONS
from sailsim.sim.machine.system import System, memory_paths, weights_rate
from sailsim.sim.step.gemv_times import MAX_UNITS, GemvTimes, summed_times
from sailsim.sim.step.patterns import PatternProfile, PatternScan

COUNTS = (
    "lookups",
    "zero_patterns",
    "prt_hits",
    "prt_misses",
    "table_builds",
    "table_adds",
    "row_reads",
    "row_writes",
    "conversions",
    "merges",
)

MAX_TILES = 1 << 11
"""Cached tiles of equal units: those of 40 blocks with each of six NBWs, in batches of two sizes."""


class TileShape(NamedTuple):
    """Shape and widths of a tile, in the order of the C++ core's arguments."""

    k: int
    n: int
    batch: int
    wbits: int
    value_bits: int
    abits: int
    nbw: int
    group_size: int


class TileRequest(NamedTuple):
    """Inputs of a tile's time, except its patterns."""

    shape: TileShape
    weight_bytes: float
    """Stored bytes of the weights with their scales."""
    scaled: bool = True
    minimum: bool = False
    codebook: int = 0
    """Bytes of the codebook; 0: none."""


class TileKind:
    """Tiles on the units of a machine that differ only in their patterns."""

    def __init__(self, units: PimUnits, request: TileRequest) -> None:
        shape = request.shape
        self.units, self.shape = units, shape
        self._timer = _core.TileTimer(units.config, shape, request.scaled, request.minimum)
        self.plan = plan = self._timer.plan
        # The core asks for a slice's codes; scales ride along in the stream.
        self._codes = shape.k * ceil(shape.n * shape.wbits / 8) / request.weight_bytes
        self._refetched = refetch_ratio(shape.k, plan.owned, plan.lanes, shape.wbits, units.line)
        self._after_operands = request.codebook > 0
        self._scaled = request.scaled
        words = 1 if shape.abits <= 8 else 2
        operands = shape.batch * (shape.k * words + (4 if request.scaled else 0)) + request.codebook
        # Seconds before and after a tile's groups, which overlap with nothing: fetching the descriptor;
        # activations, their scales and the codebook, which every slice reads for itself; results to the LLC;
        # and the completion record, written when they have arrived.
        self.overheads = {
            "descriptor": units.chip.latency,
            "operands": units.operands.seconds(operands),
            "results": units.results(4 * shape.batch * plan.owned),
            "record": units.chip.latency,
        }
        self.overhead = sum(self.overheads.values())
        # A batch that is worked in chunks reads its weights once for each.
        self.bytes = request.weight_bytes * plan.batch_chunks
        self.slices = ceil(shape.n / plan.owned)

    def crowded(self) -> bool:
        """Whether the sums of the batch do not fit: in chunks, or in more and smaller passes than one row."""
        config, plan, shape = self.units.config, self.plan, self.shape
        if plan.batch_chunks > 1:
            return True
        one = _core.plan_tile(config, shape._replace(batch=1), self._scaled)
        capacity = config.accumulator_buffer_bits // (plan.groups_per_turn * config.accumulator_bits)
        return plan.passes > one.passes and shape.batch * one.outputs_per_pass > capacity

    def timings(
        self, profiles: Sequence[PatternProfile], rate: float = inf, latency: float | None = None
    ) -> _core.TileTimings:
        """Time tiles of these patterns.

        Each slice's weights come at `rate` bytes/s, a line `latency` s after its request; default: weights
        are on chip. Weights are requested after the operands, so one latency has passed when the tile starts.
        With a codebook, which the plan needs, they wait until all operands are here. The lines in flight of a
        unit are limited; those that it fetches again are on chip.
        """
        units = self.units
        latency = units.chip.latency if latency is None else latency
        own = units.window / (latency + self._refetched * units.chip.latency)
        rate = min(rate, own, units.port / (1 + self._refetched))
        return self._timer.time(
            [profile.counts for profile in profiles],
            rate * self._codes / units.clock,
            latency * units.clock,
            0.0 if self._after_operands else units.operands.latency * units.clock,
            units.ahead * self._codes,
        )

    def column(self, timings: _core.TileTimings, name: str) -> NDArray[Any]:
        """Column of a table of tiles.

        Counts are those of one DFM, by `COUNTS`; numbers are seconds by `TILE_PHASES`, then the events of all
        units by `ACTIVITY`.
        """
        if name == "cycles":
            return np.asarray(timings.total)
        if name == "nbw":
            return np.full(len(timings.total), self.shape.nbw)
        if name == "counts":
            return np.column_stack([getattr(timings, count) for count in COUNTS])
        config, phases = self.units.config, len(TILE_PHASES)
        numbers = np.empty((len(timings.total), phases + len(ACTIVITY)))
        for at, phase in enumerate(TILE_PHASES):
            numbers[:, at] = getattr(timings, phase) / self.units.clock
        numbers[:, 0] += self.overheads["descriptor"] + self.overheads["operands"]
        numbers[:, phases - 1] += self.overheads["results"] + self.overheads["record"]
        events = activity(config, self.plan, timings, self.shape)
        for at, event in enumerate(ACTIVITY, phases):
            numbers[:, at] = events[event]
        return numbers


@dataclass(eq=False, kw_only=True)
class TileTable(GemvTimes):
    """Times of tiles of a kind: a column for each quantity, a row a tile.

    `seconds` are those of the timings and the overheads. `throttled(rate, latency)` are seconds when all
    slices together get `rate` bytes/s of weights, just in time, `latency` seconds after requesting a line;
    default: the latency of an idle machine's DRAM.
    """

    kind: TileKind
    timings: _core.TileTimings
    """Timings of the busiest slice with its weights on chip."""

    @classmethod
    def of(cls, kind: TileKind, profiles: Sequence[PatternProfile]) -> TileTable:
        """Time tiles of these patterns."""
        units, timings = kind.units, kind.timings(profiles)
        seconds = timings.total / units.clock + kind.overhead

        @cache
        def throttled(rate: float, latency: float = units.dram.latency) -> NDArray[np.float64]:
            cycles = kind.timings(profiles, rate / units.config.slices, latency).total
            return np.asarray(np.maximum(seconds, cycles / units.clock + kind.overhead))

        return cls(
            slices=kind.slices,
            blocks=kind.plan.blocks,
            bytes=np.full(len(profiles), kind.bytes),
            seconds=seconds,
            column=partial(kind.column, timings),
            throttled=throttled,
            crowded=kind.crowded,
            kind=kind,
            timings=timings,
        )


def fastest_times(tables: Sequence[GemvTimes], weights_rate: float) -> GemvTimes:
    """Times of the fastest of several tables for each GEMV, such as those of different NBWs.

    The fastest takes the fewest seconds on the units or for memory to bring its weights at `weights_rate`
    bytes/s. Of equals it is the one with fewer bytes, then with fewer seconds on the units, then the first.
    """
    working = np.array([table.seconds for table in tables])
    reading = np.array([table.bytes / weights_rate for table in tables])
    fastest = np.lexsort((working, reading, np.maximum(working, reading)), axis=0)[0]
    used = [(at, tables[at]) for at in np.unique(fastest).tolist()]

    def picked(column: Callable[[GemvTimes], NDArray[Any]]) -> NDArray[Any]:
        values: NDArray[Any] = column(used[0][1]).copy()
        for at, table in used[1:]:
            mine = fastest == at
            values[mine] = column(table)[mine]
        return values

    first = tables[fastest[0]]
    return GemvTimes(
        slices=first.slices,
        blocks=first.blocks,
        rounds=first.rounds,
        bytes=picked(lambda table: table.bytes),
        seconds=picked(lambda table: table.seconds),
        column=lambda name: picked(lambda table: getattr(table, name)),
        throttled=lambda rate: picked(lambda table: table.throttled(rate)),
        crowded=lambda: any(table.crowded() for _, table in used),
    )


@lru_cache(maxsize=1 << 12)
def refetch_ratio(k: int, outputs: int, lanes: int, wbits: int, line: int) -> float:
    """Ratio of the lines of weights that a slice fetches again to all lines of its tile.

    Every pass takes `lanes` of the `outputs` of each of `k` rows, in whole lines.
    """
    if lanes >= outputs:  # lines in order
        return 0.0
    row = ceil(outputs * wbits / 8)
    period = min(line // gcd(row, line), k)  # rows after which they begin at the same place of a line
    starts = np.arange(period + 1, dtype=np.int64) * row
    firsts = np.arange(0, outputs, lanes, dtype=np.int64)[:, None]
    ends = np.minimum(firsts + lanes, outputs)
    from_line = (starts + firsts * wbits // 8) // line
    to_line = (starts - (-ends * wbits // 8) - 1) // line
    lines = (to_line - from_line + 1)[:, :-1].sum(axis=0)
    shared = np.count_nonzero(from_line[:, 1:] == to_line[:, :-1], axis=0)  # of a row with the next
    times, rest = divmod(k, period)
    fetched = times * lines.sum() + lines[:rest].sum()
    times, rest = divmod(k - 1, period)
    fetched -= times * shared.sum() + shared[:rest].sum()
    return int(fetched) / ceil(k * row / line) - 1


class PimUnits:
    """PIM units of a machine under the choices of a point; equal tiles are timed once."""

    def __init__(
        self,
        system: System,
        *,
        substrate: str | None,
        convert: str | None,
        prt: bool,
        slices: int | None = None,
        sharing: int | None = None,
        operands: Literal["llc", "dram"] = "llc",
    ) -> None:
        """Units of `system`; arguments that are None are the system's choice.

        Args:
            slices: slices that share the outputs.
            sharing: slices that work at once and share memory, if more than `slices`.
            operands: where activations are: in the LLC in a step, whose cores have just made them; in memory
                in a trace.

        Raises:
            SailsimError: the machine has no PIM units.
        """
        pim = system.require_pim()
        each = weights_rate(system, sharing or slices or system.llc.slices.whole)
        choices = {
            "convert": convert,
            "substrate": substrate,
            "prt_entries": None if prt else 0,
            "slices": slices,
            "weights_kib_cycles": None if sharing is None else pim.kib_cycles(each),
        }
        text = system.unit_text(**{name: value for name, value in choices.items() if value is not None})
        self.config = system.config_of(text)
        self.clock = pim.clock.si
        self.chip, self.dram = memory_paths(system)
        self.operands = self.chip if operands == "llc" else self.dram
        self.one_pass = operands == "llc" and pim.one_pass is not None and bool(pim.one_pass.value)
        """Whether a step's products are cut into tiles of one pass; a trace's tiles are not."""
        self.weights_rate = self.config.slices * each
        """Bytes/s of weights from memory for all units."""
        self.line = system.llc.line.whole
        self.port = pim.port.value * pim.clock.si
        self.window = pim.mshrs.value * self.line
        self.ahead = pim.fetch_ahead.value * self.window
        paths = (self.chip, self.dram, self.operands, self.line, self.port, self.window, self.ahead)
        self.key: Hashable = (text, self.clock, self.weights_rate, *paths, self.one_pass)
        """Key that is equal for units that time every tile alike."""

    @classmethod
    def alone(cls, system: System, prt: bool) -> PimUnits:
        """A single unit that runs descriptors: its operands lie in memory, and it converts its own sums."""
        convert = system.unit_convert
        return cls(system, substrate=None, convert=convert, prt=prt, slices=1, operands="dram")

    def results(self, size: int) -> float:
        """Seconds to write results of `size` bytes to the LLC.

        A last line that they fill only in part is first read from where the operands are.
        """
        last = self.operands if size % self.line else self.chip
        return self.chip.issue_seconds(size) + last.latency

    def scan(self, abits: int, signed: bool, nbw: int, group_size: int) -> PatternScan:
        """Scan of activations of the given widths on these units."""
        return PatternScan(abits, signed, nbw, group_size, self.config.prt_entries, self.config.prt_policy)

    def table(self, request: TileRequest, profiles: Sequence[PatternProfile]) -> TileTable:
        """Time tiles of several patterns, equal ones once.

        Raises:
            SailsimError: a tile does not fit the arrays, or a width is out of range.
        """
        # The cache refers to the units, which do not refer to it, so that Python frees both at once.
        return _tables_of(self.key).table(self, request, profiles)

    def product(self, request: TileRequest, profiles: Sequence[PatternProfile]) -> GemvTimes:
        """Time a step's product: as `table`, or with `one_pass` in tiles of one pass.

        Several passes would each read pieces of all rows of weights. Raises SailsimError as `table`.
        """
        kind = _tables_of(self.key).kind(self, request)
        (n, slices), most = (request.shape.n, self.config.slices), kind.plan.outputs_per_pass
        whole, wide = (kind.plan.owned - 1) // most, most * slices
        if not self.one_pass or not whole:
            return self.table(request, profiles)

        def tile(outputs: int) -> TileTable:
            size = request.weight_bytes * outputs / n
            shape = request.shape._replace(n=outputs)
            return self.table(request._replace(shape=shape, weight_bytes=size), profiles)

        parts = [(tile(wide), whole), (tile(n - whole * wide), 1)]
        return replace(summed_times(parts, whole + 1, 1.0, len(TILE_PHASES)), crowded=kind.crowded)

    def every_nbw(
        self, request: TileRequest, profiles_of: Callable[[TileShape], Sequence[PatternProfile]]
    ) -> list[GemvTimes]:
        """Time a product with each NBW that fits the arrays, the least first.

        Args:
            request: its shape's `nbw` does not count.
            profiles_of: function from a shape with an NBW to the patterns of its activations.

        Raises:
            SailsimError: no NBW fits the arrays.
        """
        tables: list[GemvTimes] = []
        problems: list[str] = []  # not the errors, whose tracebacks would refer to this list
        for nbw in NBWS:
            shape = request.shape._replace(nbw=nbw)
            try:
                tables.append(self.product(request._replace(shape=shape), profiles_of(shape)))
            except SailsimError as error:
                problems.append(str(error))
        if not tables:
            raise SailsimError(problems[0])
        return tables


class TileTimeCache:
    """Tiles that equal units have timed; machines that differ only in their cores share them."""

    def __init__(self) -> None:
        self._kinds: dict[TileRequest, TileKind] = {}
        self._tables: OrderedDict[tuple[TileRequest, tuple[str, ...]], TileTable] = OrderedDict()
        self._tiles = 0

    def kind(self, units: PimUnits, request: TileRequest) -> TileKind:
        """Kind of the tiles of a request. Raises SailsimError as `PimUnits.table`."""
        if request not in self._kinds:
            try:
                self._kinds[request] = TileKind(units, request)
            except ValueError as error:
                raise _refusal(request.shape, error) from None
        return self._kinds[request]

    def table(self, units: PimUnits, request: TileRequest, profiles: Sequence[PatternProfile]) -> TileTable:
        """Times of tiles. Raises SailsimError as `PimUnits.table`."""
        key = (request, tuple([profile.key for profile in profiles]))
        if key in self._tables:
            self._tables.move_to_end(key)
            return self._tables[key]
        kind = self.kind(units, request)
        try:
            table = self._tables[key] = TileTable.of(kind, profiles)
        except ValueError as error:
            raise _refusal(request.shape, error) from None
        self._tiles += len(table.seconds)
        while self._tiles > MAX_TILES and len(self._tables) > 1:
            self._tiles -= len(self._tables.popitem(last=False)[1].seconds)
        return table


def _refusal(shape: TileShape, error: ValueError) -> SailsimError:
    """Error for a tile that the C++ core refuses; a context manager would keep its traceback in a circle."""
    return SailsimError(f"a {shape.k} x {shape.n} tile cannot run: {error}.")


@lru_cache(maxsize=MAX_UNITS)  # machines that differ only in their cores would time every tile again
def _tables_of(units: Hashable) -> TileTimeCache:
    """Cache of units that have this key."""
    return TileTimeCache()


# ---- Events of the units, from which energy is computed ---------------------------------------------------
# The contract counts events of one DFM, and rows in lockstep arrays. Energy needs them over all slices, and
# only for the arrays and outputs in use, so `activity` multiplies them out. This is exact: every pass over
# the outputs sees the same patterns, and only the last slice and the last pass have fewer outputs.


def activity(
    config: _core.SliceConfig,
    plan: _core.TilePlan,
    timing: _core.TileTiming | _core.TileTimings,
    shape: TileShape,
) -> dict[str, Any]:
    """Events of a tile over all slices, by the names in `ACTIVITY`.

    ``plan`` and ``timing`` are the busiest slice's, as the C++ core reports them. With many timings, events
    that differ are arrays.
    """
    substrate = config.substrate
    columns, in_array = substrate.layout == "columns", substrate.accumulate == "in_array"
    n, value_bits = shape.n, shape.value_bits
    slices = ceil(n / plan.owned)
    per_array = config.cols // plan.lane_bits
    convert_lane = 1 if columns else max(config.accumulator_bits, 32)
    per_convert = config.cols // convert_lane

    used = _arrays(n, plan.owned, plan.lanes, per_array)
    each = 1 / plan.passes  # of the busiest slice's counts: those of one pass over the outputs
    prt = substrate.prt_helps and config.prt_entries > 0
    events: dict[str, Any] = dict.fromkeys(ACTIVITY, 0.0)

    widths = {"weight": value_bits, "entry": plan.entry_bits, "accumulator": config.accumulator_bits}
    counts = {
        "table_add": timing.table_adds,
        "lookup": timing.prt_misses,
        "hit": timing.prt_hits,
        "merge": timing.merges if in_array else 0,  # else the sums are outside the array
    }

    # Rows of an array and cycles by operation, of a phase done once.
    tally = {phase: substrate.tally(phase, **widths) for phase in ("stage", *counts)}
    staged = (timing.row_writes - timing.table_adds) * tally["stage"]["write"][0]  # weights
    if in_array:
        # Every cycle of the sums and look-ups is one operation on rows; a zero pattern touches none.
        for operation, event in COMPUTE.items():
            worked = sum(count * tally[phase][operation][1] for phase, count in counts.items())
            events[event] = worked * each * used
        events["array_writes"] = staged * each * used
    else:
        reads, writes = (
            sum(count * tally[phase][operation][0] for phase, count in counts.items())
            for operation in ("read", "write")
        )
        events["array_reads"] = reads * each * used
        events["array_writes"] = (staged + writes) * each * used
        events["entry_add_bits"] = timing.table_adds * each * n * plan.entry_bits
        events["accumulates"] = (timing.prt_hits + timing.prt_misses + timing.merges) * each * n
    events["unit_converts"] = timing.unit_converts * n / plan.owned
    if config.convert == "memory" and np.any(timing.convert):
        rounds = sum(
            ceil(outputs / (per_convert * config.arrays)) for outputs in _passes(plan.owned, plan.lanes)
        )
        used_converting = _arrays(n, plan.owned, plan.lanes, per_convert)
        for operation, share in _converting(config, plan.blocks, value_bits, plan.entry_bits).items():
            events[CONVERT[operation]] = share * timing.convert / rounds * used_converting
    # DFMs that share the outputs form the same patterns, each for itself; idle ones form none.
    outputs_per_dfm = per_array * config.arrays // config.dfms
    feeding = 1 if config.dfm_split == "k" else ceil(plan.outputs_per_pass / outputs_per_dfm)
    events["patterns"] = timing.lookups * slices * feeding
    if prt:
        events["prt_searches"] = (timing.prt_hits + timing.prt_misses) * slices * feeding
        events["prt_reads"] = timing.prt_hits * each * used
        events["prt_writes"] = timing.prt_misses * each * used
    events["port_bytes"] = (
        (timing.weight_bytes + timing.result_bytes + timing.activation_bytes) * n / plan.owned
    )
    events["activation_bytes"] = shape.k * shape.batch * shape.abits / 8 * slices
    return events


def _converting(config: _core.SliceConfig, blocks: int, value_bits: int, entry_bits: int) -> dict[str, float]:
    """Share of each operation in the cycles of in-memory conversion.

    Each block's sum is converted and scaled, and the total is scaled once more.
    """
    substrate, bits = config.substrate, config.accumulator_bits
    widths = {"weight": value_bits, "entry": entry_bits, "accumulator": bits}
    cycles: Counter[str] = Counter()
    for (operation, n), times in _core.int_to_fp32_tally(bits).items():
        cycles[operation] += blocks * times * substrate.cycles(operation, n)
    for phase, times in (("scale_block", blocks), ("scale_row", 1)):
        for operation, (_, taken) in substrate.tally(phase, **widths).items():
            cycles[operation] += times * taken
    whole = cycles.total()
    return {operation: cycles[operation] / whole for operation in OPERATIONS}


def _arrays(n: int, owned: int, lanes: int, lanes_of_array: int) -> int:
    slices = ceil(n / owned)
    return sum(
        count * sum(ceil(outputs / lanes_of_array) for outputs in _passes(outputs_owned, lanes))
        for outputs_owned, count in ((owned, slices - 1), (n - owned * (slices - 1), 1))
    )


def _passes(owned: int, lanes: int) -> Iterator[int]:
    while owned > 0:
        yield min(owned, lanes)
        owned -= lanes
