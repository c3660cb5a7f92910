"""GEMVs as the PIM units see them: tiles timed by the C++ core, and what surrounds them.

`docs/engine.md` has the model and its equations.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from math import ceil, inf
from typing import Any, Literal, NamedTuple

import numpy as np

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.sim.activity import activity
from sailsim.sim.memory_path import memory_paths
from sailsim.sim.nbw import NBWS
from sailsim.sim.patterns import Profile, Scan
from sailsim.sim.system import System

TILE_PHASES = ("load", "build", "lookup", "convert", "write_back")
"""Of them, the phases of a tile that the C++ core reports."""

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


class TimedTile:
    """One GEMV as the PIM units see it.

    `nbw` is that of its shape, `timing` that of the busiest slice with its weights on chip, `seconds` is that
    and the `edges`, `phases` the same by `TILE_PHASES`, `counts` those of `COUNTS`, `activity` that of
    `ACTIVITY`; `numbers` are phases and activity in their orders. `bytes` come from DRAM; `slices` have
    outputs to compute.
    """

    def __init__(
        self,
        units: "PimUnits",
        shape: Shape,
        profile: Profile,
        weight_bytes: float,
        scaled: bool,
        minimum: bool,
        codebook: int,
    ) -> None:
        config, self._units = units.config, units
        plan = _core.plan_tile(config, *shape, scaled=scaled, minimum=minimum)
        self._timed = partial(
            _core.time_supplied_tile, config, *shape, profile.counts, scaled=scaled, minimum=minimum
        )
        # The core asks for a slice's codes; scales ride along in the stream.
        self._codes = shape.k * ceil(shape.n * shape.wbits / 8) / weight_bytes
        self._again = refetch_ratio(shape.k, plan.owned, plan.lanes, shape.wbits, units.line)
        self._throttled: dict[tuple[float, float], float] = {}
        words = 1 if shape.abits <= 8 else 2
        operands = shape.batch * (shape.k * words + (4 if scaled else 0)) + codebook
        self.edges = TileOverheads(
            units.chip.latency,
            units.operands.seconds(operands),
            units.chip.seconds(4 * shape.batch * plan.owned),
            units.chip.latency,
        )
        self.nbw = shape.nbw
        timing = self.timing = self._supplied(inf, units.chip.latency)
        self.seconds = timing.total / units.clock + sum(self.edges)
        load, *computing, write_back = (getattr(timing, phase) / units.clock for phase in TILE_PHASES)
        self.phases = (
            load + self.edges.descriptor + self.edges.operands,
            *computing,
            write_back + self.edges.results + self.edges.record,
        )
        self.counts: tuple[int, ...] = tuple(getattr(timing, name) for name in COUNTS)
        # A batch that is worked in chunks reads its weights once for each.
        self.bytes = weight_bytes * plan.batch_chunks
        self.slices = ceil(shape.n / plan.owned)
        self.blocks = plan.blocks
        self.cycles = timing.total
        self.activity = activity(
            config,
            plan,
            self.timing,
            n=shape.n,
            k=shape.k,
            batch=shape.batch,
            value_bits=shape.value_bits,
            abits=shape.abits,
        )
        self.numbers = (*self.phases, *self.activity.values())

    def _supplied(self, rate: float, latency: float) -> _core.TileTiming:
        """The tile when each slice's weights come at `rate` bytes/s, a line `latency` s after its request.

        They are asked for behind the operands, so that one latency has passed when the tile starts. A unit
        has only so many lines under way; those that it asks for again are on chip.
        """
        units = self._units
        own = units.window / (latency + self._again * units.chip.latency)
        rate = min(rate, own, units.port / (1 + self._again))
        return self._timed(
            bytes_per_cycle=rate * self._codes / units.clock,
            latency=latency * units.clock,
            lead=units.operands.latency * units.clock,
            ahead=units.ahead * self._codes,
        )

    def throttled(self, rate: float, latency: float | None = None) -> float:
        """Seconds when all slices together get `rate` bytes/s of weights, just in time.

        Args:
            rate: bytes/s.
            latency: s from asking for a line to having it; default: that of an idle machine's DRAM.
        """
        units = self._units
        key = (rate, units.dram.latency if latency is None else latency)
        if key not in self._throttled:
            slow = self._supplied(rate / units.config.slices, key[1])
            self._throttled[key] = max(self.seconds, slow.total / units.clock + sum(self.edges))
        return self._throttled[key]


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
        pim = system.pim
        if pim is None or not system.has_pim:
            raise SailsimError(f"system {system.name} has no enabled [pim] section; a SAIL step needs one.")
        overrides: dict[str, object] = {}
        if convert is not None:
            overrides["convert"] = convert
        if substrate is not None:
            overrides["substrate"] = substrate
        if not prt:
            overrides["prt_entries"] = 0
        if slices is not None:
            overrides["slices"] = slices
        self.config = system.slice_config(**overrides)
        self.clock = pim.clock.si
        self.chip, self.dram = memory_paths(system)
        self.operands = self.chip if operands == "llc" else self.dram
        self.line = system.llc.line.whole
        self.port = pim.port.value * pim.clock.si
        self.window = pim.mshrs.value * self.line
        self.ahead = pim.fetch_ahead.value * self.window
        self._tiles: dict[tuple[object, ...], TimedTile] = {}

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
        """Time a tile of which `weight_bytes` are stored, scales included, and `codebook` bytes beside them.

        Raises:
            SailsimError: the tile does not fit the arrays, or a width is out of range.
        """
        key = (shape, profile.key, weight_bytes, scaled, minimum, codebook)
        if key not in self._tiles:
            if len(self._tiles) >= KEPT_TILES:
                self._tiles.clear()
            try:
                self._tiles[key] = TimedTile(self, shape, profile, weight_bytes, scaled, minimum, codebook)
            except ValueError as error:
                raise SailsimError(f"a {shape.k} x {shape.n} tile cannot run: {error}.") from None
        return self._tiles[key]

    def fastest(self, shape: Shape, profile_of: Callable[[int], Profile], **stored: Any) -> TimedTile:
        """The tile with the NBW that takes the fewest seconds with its weights on chip; of equals the least.

        Args:
            shape: whose `nbw` does not count.
            profile_of: the patterns of the tile's activations under an NBW.
            stored: as in `tile`.

        Raises:
            SailsimError: the tile fits the arrays with no NBW.
        """
        found: list[TimedTile] = []
        refused: list[SailsimError] = []
        for nbw in NBWS:
            try:
                found.append(self.tile(shape._replace(nbw=nbw), profile_of(nbw), **stored))
            except SailsimError as error:
                refused.append(error)
        if not found:
            raise refused[0]
        return min(found, key=lambda tile: tile.seconds)
