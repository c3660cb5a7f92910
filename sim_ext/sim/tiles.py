"""GEMVs as the PIM units see them: tiles timed by the C++ core, and what surrounds them.

`docs/engine.md` has the model and its equations.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from math import ceil, inf
from typing import Literal, NamedTuple

import numpy as np

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import TILE_PHASES
from sailsim.sim.activity import activity
from sailsim.sim.memory_path import memory_paths
from sailsim.sim.nbw import NBWS
from sailsim.sim.patterns import Profile, Scan
from sailsim.sim.system import System

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

KEPT_TILES = 1 << 10
"""How many tiles the units of a machine remember."""


class Shape(NamedTuple):
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

    shape: Shape
    weight_bytes: float
    scaled: bool = True
    minimum: bool = False
    codebook: int = 0


class TileKind:
    """Tiles that differ in their patterns alone, on the units of a machine."""

    def __init__(self, units: "PimUnits", request: TileRequest) -> None:
        shape = request.shape
        self.units, self.shape = units, shape
        self._has = (request.scaled, request.minimum)
        self.plan = plan = _core.plan_tile(units.config, *shape, *self._has)
        # The core asks for a slice's codes; scales ride along in the stream.
        self._codes = shape.k * ceil(shape.n * shape.wbits / 8) / request.weight_bytes
        self._again = refetch_ratio(shape.k, plan.owned, plan.lanes, shape.wbits, units.line)
        words = 1 if shape.abits <= 8 else 2
        operands = shape.batch * (shape.k * words + (4 if request.scaled else 0)) + request.codebook
        self.edges = TileOverheads(
            units.chip.latency,
            units.operands.seconds(operands),
            units.chip.seconds(4 * shape.batch * plan.owned),
            units.chip.latency,
        )
        self.around = sum(self.edges)
        # A batch that is worked in chunks reads its weights once for each.
        self.bytes = request.weight_bytes * plan.batch_chunks
        self.slices = ceil(shape.n / plan.owned)

    def timings(
        self, profiles: Sequence[Profile], rate: float = inf, latency: float | None = None
    ) -> list[_core.TileTiming]:
        """The tiles of some patterns when each slice's weights come at `rate` bytes/s, a line `latency` s
        after its request; default: with their weights on chip."""
        counts = [profile.counts for profile in profiles]
        supply = self._supply(rate, self.units.chip.latency if latency is None else latency)
        return _core.time_supplied_tiles(self.units.config, *self.shape, counts, *self._has, *supply)

    def _supply(self, rate: float, latency: float) -> tuple[float, float, float, float]:
        """What the core has to know of it: bytes a cycle, latency, lead and bytes ahead, in cycles.

        Weights are asked for behind the operands, so that one latency has passed when the tile starts. A unit
        has only so many lines under way; those that it asks for again are on chip.
        """
        units = self.units
        own = units.window / (latency + self._again * units.chip.latency)
        rate = min(rate, own, units.port / (1 + self._again))
        return (
            rate * self._codes / units.clock,
            latency * units.clock,
            units.operands.latency * units.clock,
            units.ahead * self._codes,
        )


class Siblings:
    """Tiles of a kind that were timed together: a step that slows one of them slows the others as much."""

    def __init__(self, kind: TileKind, profiles: Sequence[Profile]) -> None:
        self._kind, self._profiles = kind, profiles
        self._slowed: dict[tuple[float, float], dict[str, int]] = {}

    def slowed(self, profile: Profile, rate: float, latency: float) -> int:
        """Cycles of one of them; `rate` and `latency` as in `TileKind.timings`."""
        cycles = self._slowed.get((rate, latency))
        if cycles is None:
            timings = self._kind.timings(self._profiles, rate, latency)
            cycles = {p.key: timing.total for p, timing in zip(self._profiles, timings, strict=True)}
            self._slowed[rate, latency] = cycles
        return cycles[profile.key]


class TimedTile:
    """One GEMV as the PIM units see it.

    `nbw` is that of its shape, `timing` that of the busiest slice with its weights on chip, `seconds` is that
    and the `edges`, `phases` the same by `TILE_PHASES`, `counts` those of `COUNTS`, `activity` that of
    `ACTIVITY`; `numbers` are phases and activity in their orders. `bytes` come from DRAM; `slices` have
    outputs to compute.
    """

    def __init__(
        self, kind: TileKind, profile: Profile, timing: _core.TileTiming, siblings: Siblings
    ) -> None:
        self._kind, self._profile, self.timing, self._siblings = kind, profile, timing, siblings
        self.edges = kind.edges
        self.nbw = kind.shape.nbw
        self.seconds = timing.total / kind.units.clock + kind.around
        self.bytes = kind.bytes
        self.slices = kind.slices
        self.blocks = kind.plan.blocks
        self.cycles = timing.total

    @cached_property
    def phases(self) -> tuple[float, ...]:
        """Seconds by `TILE_PHASES`, which add up to `seconds`."""
        clock, edges = self._kind.units.clock, self.edges
        load, *computing, write_back = (getattr(self.timing, phase) / clock for phase in TILE_PHASES)
        return (
            load + edges.descriptor + edges.operands,
            *computing,
            write_back + edges.results + edges.record,
        )

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """By `COUNTS`, of one DFM."""
        return tuple(getattr(self.timing, name) for name in COUNTS)

    @cached_property
    def activity(self) -> dict[str, float]:
        """Events of all units, by `ACTIVITY`."""
        kind = self._kind
        shape = kind.shape
        return activity(
            kind.units.config,
            kind.plan,
            self.timing,
            n=shape.n,
            k=shape.k,
            batch=shape.batch,
            value_bits=shape.value_bits,
            abits=shape.abits,
        )

    @property
    def numbers(self) -> tuple[float, ...]:
        """`phases`, then `activity`."""
        return (*self.phases, *self.activity.values())

    def throttled(self, rate: float, latency: float | None = None) -> float:
        """Seconds when all slices together get `rate` bytes/s of weights, just in time.

        Args:
            rate: bytes/s.
            latency: s from asking for a line to having it; default: that of an idle machine's DRAM.
        """
        units = self._kind.units
        latency = units.dram.latency if latency is None else latency
        cycles = self._siblings.slowed(self._profile, rate / units.config.slices, latency)
        return max(self.seconds, cycles / units.clock + self._kind.around)


@lru_cache(maxsize=1024)
def refetch_ratio(k: int, outputs: int, lanes: int, wbits: int, line: int) -> float:
    """Lines of weights that a slice asks for more than once, over all lines of its tile.

    Every pass takes `lanes` of the `outputs` of each of `k` rows, in whole lines.
    """
    row = ceil(outputs * wbits / 8)
    starts = np.arange(k, dtype=np.int64) * row
    fetched = 0
    for first in range(0, outputs, lanes):
        end = min(first + lanes, outputs)
        from_line = (starts + first * wbits // 8) // line
        to_line = (starts + ceil(end * wbits / 8) - 1) // line
        shared = np.count_nonzero(from_line[1:] == to_line[:-1])  # with the row before
        fetched += int((to_line - from_line + 1).sum()) - int(shared)
    return fetched / ceil(k * row / line) - 1


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
        operands: Literal["llc", "dram"] = "llc",
    ) -> None:
        """Units of `system`; arguments that are None are the system's choice.

        Args:
            slices: that the outputs are cut over.
            operands: where activations are: a step's cores have just made them, a trace's lie in memory.

        Raises:
            SailsimError: the machine has no PIM units.
        """
        pim = system.require_pim()
        overrides: dict[str, object] = {}
        if convert is not None:
            overrides["convert"] = convert
        if substrate is not None:
            overrides["substrate"] = substrate
        if not prt:
            overrides["prt_entries"] = 0
        if slices is not None:
            overrides["slices"] = slices
        text = system.unit_text(**overrides)
        self.config = _core.SliceConfig(text)
        self.clock = pim.clock.si
        self.chip, self.dram = memory_paths(system)
        self.operands = self.chip if operands == "llc" else self.dram
        self.line = system.llc.line.whole
        self.port = pim.port.value * pim.clock.si
        self.window = pim.mshrs.value * self.line
        self.ahead = pim.fetch_ahead.value * self.window
        self._kinds: dict[TileRequest, TileKind] = {}
        ways = (self.chip, self.dram, self.operands, self.line, self.port, self.window, self.ahead)
        self.key: Hashable = (text, self.clock, *ways)
        """Equal for units that time every tile alike."""
        self._tiles = _tiles_of(self.key)

    def scan(self, abits: int, signed: bool, nbw: int, group_size: int) -> Scan:
        """How these units scan activations of the given widths."""
        return Scan(abits, signed, nbw, group_size, self.config.prt_entries, self.config.prt_policy)

    def tile(
        self,
        shape: Shape,
        profile: Profile,
        weight_bytes: float,
        scaled: bool = True,
        minimum: bool = False,
        codebook: int = 0,
    ) -> TimedTile:
        """Time a tile; arguments as in `TileRequest`.

        Raises:
            SailsimError: the tile does not fit the arrays, or a width is out of range.
        """
        return self.tiles([(TileRequest(shape, weight_bytes, scaled, minimum, codebook), profile)])[0]

    def tiles(self, asked: Sequence[tuple[TileRequest, Profile]]) -> list[TimedTile]:
        """Time tiles, those that differ in their patterns alone side by side. Raises as `tile`."""
        new: dict[TileRequest, dict[str, Profile]] = {}
        for request, profile in asked:
            if (request, profile.key) not in self._tiles:
                new.setdefault(request, {})[profile.key] = profile
        for request, profiles in new.items():
            self._time(request, [*profiles.values()])
        found = [self._tiles[request, profile.key] for request, profile in asked]
        for oldest in list(islice(self._tiles, max(0, len(self._tiles) - KEPT_TILES))):
            del self._tiles[oldest]
        return found

    def _time(self, request: TileRequest, profiles: Sequence[Profile]) -> None:
        """Time tiles that are not known yet."""
        try:
            kind = self._kinds.get(request)
            if kind is None:
                kind = self._kinds[request] = TileKind(self, request)
            timings = kind.timings(profiles)
        except ValueError as error:
            shape = request.shape
            raise SailsimError(f"a {shape.k} x {shape.n} tile cannot run: {error}.") from None
        siblings = Siblings(kind, profiles)
        for profile, timing in zip(profiles, timings, strict=True):
            self._tiles[request, profile.key] = TimedTile(kind, profile, timing, siblings)

    def fastest(
        self, request: TileRequest, profiles_of: Callable[[Shape], Sequence[Profile]]
    ) -> list[TimedTile]:
        """Tiles with the NBW that takes the fewest seconds with their weights on chip; of equals the least.

        Args:
            request: whose shape's `nbw` does not count.
            profiles_of: the patterns of each tile's activations for a shape that has an NBW.

        Raises:
            SailsimError: the tiles fit the arrays with no NBW.
        """
        found: list[list[TimedTile]] = []
        refused: list[SailsimError] = []
        for nbw in NBWS:
            shape = request.shape._replace(nbw=nbw)
            asked = [(request._replace(shape=shape), profile) for profile in profiles_of(shape)]
            try:
                found.append(self.tiles(asked))
            except SailsimError as error:
                refused.append(error)
        if not found:
            raise refused[0]
        return [min(tiles, key=lambda tile: tile.seconds) for tiles in zip(*found, strict=True)]


@lru_cache(maxsize=8)
def _tiles_of(units: Hashable) -> dict[tuple[TileRequest, str], TimedTile]:
    """The tiles that equal units have timed: machines that differ in their cores share them."""
    return {}
