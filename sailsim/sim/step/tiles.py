"""GEMVs as the PIM units see them: tiles timed by the C++ core, what surrounds them, and how often each part
of the units works in them, what energy is reckoned from (`activity`).

`docs/engine.md` has the model and its equations.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cached_property, lru_cache
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
from sailsim.sim.step.jobs import KEPT_UNITS, GemvTimes, SummedGemvTimes
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

KEPT_TILES = 1 << 11
"""How many tiles units remember: those of 40 blocks with each of six NBWs, in batches of two sizes."""


class TileShape(NamedTuple):
    """A tile's shape and widths, in the order in which the C++ core takes them."""

    k: int
    n: int
    batch: int
    wbits: int
    value_bits: int
    abits: int
    nbw: int
    group_size: int


class TileOverheads(NamedTuple):
    """What surrounds a tile's groups, seconds: none of it overlaps with them."""

    descriptor: float
    """Fetching the descriptor."""
    operands: float
    """Activations, their scales and the codebook, which every slice reads for itself."""
    results: float
    """Results to the LLC."""
    record: float
    """The completion record, written when they have arrived."""


class TileRequest(NamedTuple):
    """Everything of a tile but its patterns: `weight_bytes` are stored, scales included, and `codebook` bytes
    beside them."""

    shape: TileShape
    weight_bytes: float
    scaled: bool = True
    minimum: bool = False
    codebook: int = 0


class TileKind:
    """Tiles that differ in their patterns alone, on the units of a machine."""

    def __init__(self, units: PimUnits, request: TileRequest) -> None:
        shape = request.shape
        self.units, self.shape = units, shape
        self._tiles = _core.TileTimer(units.config, shape, request.scaled, request.minimum)
        self.plan = plan = self._tiles.plan
        # The core asks for a slice's codes; scales ride along in the stream.
        self._codes = shape.k * ceil(shape.n * shape.wbits / 8) / request.weight_bytes
        self._again = refetch_ratio(shape.k, plan.owned, plan.lanes, shape.wbits, units.line)
        self._after_operands = request.codebook > 0
        self._scaled = request.scaled
        words = 1 if shape.abits <= 8 else 2
        operands = shape.batch * (shape.k * words + (4 if request.scaled else 0)) + request.codebook
        self.edges = TileOverheads(
            units.chip.latency,
            units.operands.seconds(operands),
            units.results(4 * shape.batch * plan.owned),
            units.chip.latency,
        )
        self.around = sum(self.edges)
        # A batch that is worked in chunks reads its weights once for each.
        self.bytes = request.weight_bytes * plan.batch_chunks
        self.slices = ceil(shape.n / plan.owned)

    @cached_property
    def crowded(self) -> bool:
        """Whether the batch has no room: its rows come in chunks, or a pass has fewer outputs than of one."""
        config, plan, shape = self.units.config, self.plan, self.shape
        if plan.batch_chunks > 1:
            return True
        one = _core.plan_tile(config, shape._replace(batch=1), self._scaled)
        held = config.accumulator_buffer_bits // (plan.groups_per_turn * config.accumulator_bits)
        return plan.passes > one.passes and shape.batch * one.outputs_per_pass > held

    def timings(
        self, profiles: Sequence[PatternProfile], rate: float = inf, latency: float | None = None
    ) -> _core.TileTimings:
        """The tiles of some patterns when each slice's weights come at `rate` bytes/s, a line `latency` s
        after its request; default: with their weights on chip."""
        counted = [profile.counts for profile in profiles]
        supply = self._supply(rate, self.units.chip.latency if latency is None else latency)
        return self._tiles.time(counted, *supply)

    def _supply(self, rate: float, latency: float) -> tuple[float, float, float, float]:
        """What the core has to know of it: bytes a cycle, latency, lead and bytes ahead, in cycles.

        Weights are asked for behind the operands, so that one latency has passed when the tile starts; where
        there is a codebook, which the plan needs, only when all operands are here. A unit has only so many
        lines under way; those that it asks for again are on chip.
        """
        units = self.units
        own = units.window / (latency + self._again * units.chip.latency)
        rate = min(rate, own, units.port / (1 + self._again))
        return (
            rate * self._codes / units.clock,
            latency * units.clock,
            0.0 if self._after_operands else units.operands.latency * units.clock,
            units.ahead * self._codes,
        )


class TileTable(GemvTimes):
    """Tiles of a kind that differ in their patterns, timed side by side: a column for each quantity, a row a
    tile.

    `timings` are those of the busiest slice with its weights on chip, `seconds` that and what is `around` it;
    `bytes` come from DRAM; `slices` have outputs to compute.
    """

    def __init__(self, kind: TileKind, profiles: Sequence[PatternProfile]) -> None:
        self.kind = kind
        self._profiles = profiles
        self.timings = kind.timings(profiles)
        self.slices, self.blocks = kind.slices, kind.plan.blocks
        self.seconds = self.cycles / kind.units.clock + kind.around
        self.bytes = np.full(len(profiles), kind.bytes)
        self._slowed: dict[tuple[float, float], NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return len(self._profiles)

    def throttled(self, rate: float, latency: float | None = None) -> NDArray[np.float64]:
        """Seconds of each tile when all slices together get `rate` bytes/s of weights, just in time.

        Args:
            rate: bytes/s.
            latency: s from asking for a line to having it; default: that of an idle machine's DRAM.
        """
        units = self.kind.units
        asked = (rate, units.dram.latency if latency is None else latency)
        found = self._slowed.get(asked)
        if found is None:
            cycles = self.kind.timings(self._profiles, rate / units.config.slices, asked[1]).total
            found = np.maximum(self.seconds, cycles / units.clock + self.kind.around)
            self._slowed[asked] = found
        return found

    def nbw(self, at: int) -> int:
        """Of all."""
        return self.kind.shape.nbw

    @property
    def crowded(self) -> bool:
        """As `TileKind`."""
        return self.kind.crowded

    @cached_property
    def phases(self) -> NDArray[np.float64]:
        """Seconds by `TILE_PHASES`, (tiles, phases), which add up to `seconds`."""
        clock, edges = self.kind.units.clock, self.kind.edges
        found = np.column_stack([getattr(self.timings, phase) / clock for phase in TILE_PHASES])
        found[:, 0] += edges.descriptor + edges.operands
        found[:, -1] += edges.results + edges.record
        return found

    def column(self, name: str) -> NDArray[Any]:
        """Counts are of one DFM by `COUNTS`; numbers are `phases`, then the events of all units by
        `ACTIVITY`."""
        if name == "cycles":
            return np.asarray(self.timings.total)
        if name == "counts":
            return np.column_stack([getattr(self.timings, count) for count in COUNTS])
        kind = self.kind
        events = activity(kind.units.config, kind.plan, self.timings, kind.shape)
        found = np.empty((len(self), len(TILE_PHASES) + len(ACTIVITY)))
        found[:, : len(TILE_PHASES)] = self.phases
        for at, event in enumerate(ACTIVITY, len(TILE_PHASES)):
            found[:, at] = events[event]
        return found


class PassTiles(SummedGemvTimes):
    """Products whose share of every slice is cut into tiles of one pass: several passes would each read
    pieces of all rows of weights."""

    def __init__(self, whole: TileKind, parts: Sequence[tuple[TileTable, int]]) -> None:
        """`whole`: what is cut; `parts`: the tiles, and how many of a slice there are of each."""
        super().__init__(parts, sum(times for _, times in parts), 1.0, len(TILE_PHASES))
        self._whole = whole

    @property
    def crowded(self) -> bool:
        """Of what is cut."""
        return self._whole.crowded


class FastestTiles(GemvTimes):
    """Of tables of the same tiles with different NBWs, for each tile the row that takes the fewest seconds,
    on the units or for memory to bring its weights; of equals the one with fewer bytes, then with fewer
    seconds on the units, then that of the first table."""

    def __init__(self, tables: Sequence[GemvTimes], weights_rate: float) -> None:
        """`weights_rate`: bytes/s that memory brings all units."""
        self._tables = tables
        working = np.array([table.seconds for table in tables])
        reading = np.array([table.bytes / weights_rate for table in tables])
        order = np.lexsort((working, reading, np.maximum(working, reading)), axis=0)
        self._fastest: NDArray[np.intp] = order[0]
        self._used = np.unique(self._fastest).tolist()
        first = tables[self._fastest[0]]
        self.slices, self.blocks = first.slices, first.blocks
        self.rounds = first.rounds
        self.bytes, self.seconds = self.column("bytes"), self.column("seconds")

    def nbw(self, at: int) -> int:
        """Of one of them."""
        own: int | None = self._tables[self._fastest[at]].nbw(at)
        assert own is not None  # of tiles all have one
        return own

    @property
    def crowded(self) -> bool:
        """Of any."""
        return any(self._tables[which].crowded for which in self._used)

    def throttled(self, rate: float) -> NDArray[np.float64]:
        """Of each, as `TileTable.throttled`."""
        return self._picked([self._tables[which].throttled(rate) for which in self._used])

    def column(self, name: str) -> NDArray[Any]:
        """For each tile what the column of its own table says; of a table that has none nobody asks."""
        return self._picked([getattr(self._tables[which], name) for which in self._used])

    def _picked(self, columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """`columns`: of the tables that any tile has."""
        found = columns[0].copy()
        for which, column in zip(self._used[1:], columns[1:], strict=True):
            mine = self._fastest == which
            found[mine] = column[mine]
        return found


@lru_cache(maxsize=1 << 12)
def refetch_ratio(k: int, outputs: int, lanes: int, wbits: int, line: int) -> float:
    """Lines of weights that a slice asks for more than once, over all lines of its tile.

    Every pass takes `lanes` of the `outputs` of each of `k` rows, in whole lines.
    """
    if lanes >= outputs:  # one line behind the other
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
    """The PIM units of a machine under the choices of a point; equal tiles are timed once."""

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
            slices: that the outputs are cut over.
            sharing: slices that work at once and share memory, where that is more than `slices`.
            operands: where activations are: a step's cores have just made them, a trace's lie in memory.

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
        text = system.unit_text(**{name: own for name, own in choices.items() if own is not None})
        self.config = system.config_of(text)
        self.clock = pim.clock.si
        self.chip, self.dram = memory_paths(system)
        self.operands = self.chip if operands == "llc" else self.dram
        self.cuts = operands == "llc" and pim.one_pass is not None and bool(pim.one_pass.value)
        """Whether a step's products come in tiles of one pass; a trace's tiles are as they are."""
        self.weights_rate = self.config.slices * each
        """Bytes/s of weights that memory brings all of them."""
        self.line = system.llc.line.whole
        self.port = pim.port.value * pim.clock.si
        self.window = pim.mshrs.value * self.line
        self.ahead = pim.fetch_ahead.value * self.window
        ways = (self.chip, self.dram, self.operands, self.line, self.port, self.window, self.ahead, self.cuts)
        self.key: Hashable = (text, self.clock, self.weights_rate, *ways)
        """Equal for units that time every tile alike."""

    @classmethod
    def alone(cls, system: System, prt: bool) -> PimUnits:
        """A single one, as descriptors come to it: its operands lie in memory, and it converts by itself."""
        convert = system.unit_convert
        return cls(system, substrate=None, convert=convert, prt=prt, slices=1, operands="dram")

    def results(self, size: int) -> float:
        """Seconds in which results of so many bytes come to the LLC. The last line, where they fill a part of
        it, has to be read first from where the operands are."""
        last = self.operands if size % self.line else self.chip
        return self.chip.asking(size) + last.latency

    def scan(self, abits: int, signed: bool, nbw: int, group_size: int) -> PatternScan:
        """How these units scan activations of the given widths."""
        return PatternScan(abits, signed, nbw, group_size, self.config.prt_entries, self.config.prt_policy)

    def table(self, request: TileRequest, profiles: Sequence[PatternProfile]) -> TileTable:
        """Time tiles of some patterns side by side, once for equal ones.

        Raises:
            SailsimError: one that does not fit, or a width out of range.
        """
        # What equal units have timed knows the units and they do not know it, so that Python frees both as
        # soon as nothing asks for them.
        return _tables_of(self.key).table(self, request, profiles)

    def product(self, request: TileRequest, profiles: Sequence[PatternProfile]) -> GemvTimes:
        """As `table`, of a product that a step's software hands over: where units `cuts`, in tiles of one
        pass.

        Raises:
            SailsimError: as `table`.
        """
        kind = _tables_of(self.key).kind(self, request)
        (n, slices), most = (request.shape.n, self.config.slices), kind.plan.outputs_per_pass
        whole, wide = (kind.plan.owned - 1) // most, most * slices
        if not self.cuts or not whole:
            return self.table(request, profiles)

        def tile(outputs: int) -> TileTable:
            size = request.weight_bytes * outputs / n
            shape = request.shape._replace(n=outputs)
            return self.table(request._replace(shape=shape, weight_bytes=size), profiles)

        return PassTiles(kind, [(tile(wide), whole), (tile(n - whole * wide), 1)])

    def every_nbw(
        self, request: TileRequest, profiles_of: Callable[[TileShape], Sequence[PatternProfile]]
    ) -> list[GemvTimes]:
        """Products with each NBW that fits the arrays, the least first.

        Args:
            request: whose shape's `nbw` does not count.
            profiles_of: the patterns of each tile's activations for a shape that has an NBW.

        Raises:
            SailsimError: the tiles fit the arrays with no NBW.
        """
        found: list[GemvTimes] = []
        refused: list[str] = []  # of an error itself, its traceback would know this list
        for nbw in NBWS:
            shape = request.shape._replace(nbw=nbw)
            try:
                found.append(self.product(request._replace(shape=shape), profiles_of(shape)))
            except SailsimError as error:
                refused.append(str(error))
        if not found:
            raise SailsimError(refused[0])
        return found


class TileTimeCache:
    """The tiles that equal units have timed: machines that differ in their cores share them."""

    def __init__(self) -> None:
        self._kinds: dict[TileRequest, TileKind] = {}
        self._tables: OrderedDict[tuple[TileRequest, tuple[str, ...]], TileTable] = OrderedDict()
        self._tiles = 0

    def kind(self, units: PimUnits, request: TileRequest) -> TileKind:
        """Tiles of one request. Raises as `PimUnits.table`."""
        try:
            if request not in self._kinds:
                self._kinds[request] = TileKind(units, request)
        except ValueError as error:
            raise _refusal(request.shape, error) from None
        return self._kinds[request]

    def table(self, units: PimUnits, request: TileRequest, profiles: Sequence[PatternProfile]) -> TileTable:
        """As `PimUnits.table`."""
        key = (request, tuple([profile.key for profile in profiles]))
        found = self._tables.get(key)
        if found is not None:
            self._tables.move_to_end(key)
            return found
        try:
            found = self._tables[key] = TileTable(self.kind(units, request), profiles)
        except ValueError as error:
            raise _refusal(request.shape, error) from None
        self._tiles += len(found)
        while self._tiles > KEPT_TILES and len(self._tables) > 1:
            self._tiles -= len(self._tables.popitem(last=False)[1])
        return found


def _refusal(shape: TileShape, error: ValueError) -> SailsimError:
    """Of tiles that the C++ core refuses."""
    return SailsimError(f"a {shape.k} x {shape.n} tile cannot run: {error}.")


@lru_cache(maxsize=KEPT_UNITS)  # machines that differ in their cores alone would time every tile again
def _tables_of(units: Hashable) -> TileTimeCache:
    """Of units that are equal."""
    return TileTimeCache()


# ---- How often each part of the units works, what energy is reckoned from ---------------------------------
# Counts of the contract are of one DFM and of rows in lockstep arrays. Energy needs them over all slices and
# only for the arrays and outputs that are in use, so `activity` multiplies them out, exactly: every pass over
# the outputs sees the same patterns, and only the last slice and the last pass have fewer outputs.


def activity(
    config: _core.SliceConfig,
    plan: _core.TilePlan,
    timing: _core.TileTiming | _core.TileTimings,
    shape: TileShape,
) -> dict[str, Any]:
    """Events by `ACTIVITY` of a tile, over all slices.

    ``plan`` and ``timing`` are the busiest slice's, as the core reports them; of many timings an array has
    the events that differ.
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
    done = {
        "table_add": timing.table_adds,
        "lookup": timing.prt_misses,
        "hit": timing.prt_hits,
        "merge": timing.merges if in_array else 0,  # else sums are beside the array
    }

    # Of a phase done once, by operation: how often, on rows of an array, and cycles.
    tally = {phase: substrate.tally(phase, **widths) for phase in ("stage", *done)}
    staged = (timing.row_writes - timing.table_adds) * tally["stage"]["write"][0]  # counted are weights
    if in_array:
        # Every cycle of the sums and look-ups is one operation on rows; a zero pattern touches none.
        for operation, event in COMPUTE.items():
            worked = sum(many * tally[phase][operation][1] for phase, many in done.items())
            events[event] = worked * each * used
        events["array_writes"] = staged * each * used
    else:
        reads, writes = (
            sum(many * tally[phase][operation][0] for phase, many in done.items())
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
    # DFMs that share out the outputs form the same patterns, each for itself; idle ones form none.
    of_dfm = per_array * config.arrays // config.dfms
    feeding = 1 if config.dfm_split == "k" else ceil(plan.outputs_per_pass / of_dfm)
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
    """Shares of the cycles of in-memory conversion that each operation has, in a tile of so many blocks.

    Of each block a sum is converted and scaled, and at the end scaled once more.
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
    """Arrays in use, over the passes and slices, where one array has so many lanes."""
    slices = ceil(n / owned)
    return sum(
        many * sum(ceil(outputs / lanes_of_array) for outputs in _passes(outputs_owned, lanes))
        for outputs_owned, many in ((owned, slices - 1), (n - owned * (slices - 1), 1))
    )


def _passes(owned: int, lanes: int) -> Iterator[int]:
    """Outputs of each pass of a slice that owns some."""
    while owned > 0:
        yield min(owned, lanes)
        owned -= lanes
