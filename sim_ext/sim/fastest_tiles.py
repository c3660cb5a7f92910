"""Tiles of which each has the NBW that is the fastest for it."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sailsim.sim.tiles import TileTable, TimedTile

_N = TypeVar("_N", bound=np.generic)


class FastestTiles:
    """Of tables of the same tiles with different NBWs, for each tile the row that takes the fewest seconds,
    on the units or for memory to bring its weights; of equals the one with fewer bytes, then with fewer
    seconds on the units, then that of the first table. Columns are those of `TileTable`."""

    def __init__(self, tables: Sequence[TileTable]) -> None:
        self._tables = tables
        working = np.array([table.seconds for table in tables])
        reading = np.array([table.bytes / table.kind.units.weights_rate for table in tables])
        order = np.lexsort((working, reading, np.maximum(working, reading)), axis=0)
        self._fastest: NDArray[np.intp] = order[0]
        self._used = np.unique(self._fastest).tolist()
        first = tables[self._fastest[0]]
        self.slices, self.blocks, self.shares = first.slices, first.blocks, first.shares
        self.bytes = self._picked(lambda table: table.bytes)
        self.seconds = self._picked(lambda table: table.seconds)

    def __len__(self) -> int:
        return len(self._fastest)

    def __getitem__(self, at: int) -> TimedTile:
        return self._tables[int(self._fastest[at])][at]

    @property
    def crowded(self) -> bool:
        """Of any."""
        return any(self._tables[which].crowded for which in self._used)

    @property
    def cycles(self) -> NDArray[np.int64]:
        """Of each."""
        return self._picked(lambda table: table.cycles)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Of each, a row."""
        return self._picked(lambda table: table.counts)

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Of each, a row."""
        return self._picked(lambda table: table.numbers)

    def throttled(self, rate: float) -> NDArray[np.float64]:
        """Of each, as `TileTable.throttled`."""
        return self._picked(lambda table: table.throttled(rate))

    def _picked(self, column: Callable[[TileTable], NDArray[_N]]) -> NDArray[_N]:
        """For each tile what the column of its own table says; of a table that has none nobody asks."""
        columns = {which: column(self._tables[which]) for which in self._used}
        found = columns[self._used[0]].copy()
        for which in self._used[1:]:
            mine = self._fastest == which
            found[mine] = columns[which][mine]
        return found
