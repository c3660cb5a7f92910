"""The folder of any study as its user takes it along: frames, SQL and files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import NoneType

import pandas as pd
import pyarrow as pa

from sailsim.analysis.costs.dollars import PriceList, prices
from sailsim.analysis.results.columns import in_order, no_column
from sailsim.analysis.results.joins import JOINED, joined
from sailsim.analysis.results.query import matching, query
from sailsim.analysis.results.results import Runs, stored_runs
from sailsim.base.arguments import A_PATH, check_type, items_of
from sailsim.base.errors import SailsimError
from sailsim.sim import Store
from sailsim.sim.study import as_frame

PRICES = "is a PriceList, as sailsim.analysis.prices reads it from a file"
"""What stands for the prices that ship, in a sentence."""


class Results:
    """What a folder holds: of `sailsim sweep`, `explore`, `reproduce`, `reuse` or `gem5`.

    Columns are those of analysis/data/columns.toml, in its order. Of a sweep, columns that are reckoned
    from several runners or at prices (`JOINED`) are there where they are asked for by name.
    """

    def __init__(self, folder: str | Path, price_list: PriceList | None = None) -> None:
        """``price_list`` takes the place of the prices that ship.

        Raises ArgumentTypeError for what is no path, and for what are no prices.
        """
        check_type("folder", folder, A_PATH, "is the path of a folder")
        check_type("price_list", price_list, (PriceList, NoneType), PRICES)
        self.store = Store(folder)
        self._price_list = price_list

    @property
    def kind(self) -> str:
        """The command that wrote the folder; empty where nothing did."""
        return str(self.store.manifest.get("kind", ""))

    def frame(self, where: str = "", columns: Sequence[str] = ()) -> pd.DataFrame:
        """The records of what was asked for last, in that order: for a sweep one a point and runner.

        Args:
            where: an SQL condition on the columns, as in ``wbits = 4 and runner = 'sail'``.
            columns: which, in the order given; all that are stored where it is empty.

        Mappings (`phases`) are dictionaries. Raises SailsimError for a folder without results, a condition
        that is none, and a column that is not there, with the nearest names.
        """
        return as_frame(self.table(where, columns))

    def table(self, where: str = "", columns: Sequence[str] = ()) -> pa.Table:
        """As `frame`, as an Arrow table: mappings are maps, and what is empty is null."""
        check_type("where", where, str, "is an SQL condition as a text, empty for all records")
        columns = items_of("columns", columns, str, "is a list of names")
        stored = self.store.table()
        whole = self._all(stored, [*columns, *re.findall(r"\w+", where)])
        for name in columns:
            if name not in whole.column_names:
                raise no_column(name, whole.column_names)
        found = matching(whole, where) if where else whole
        return found.select(list(columns) or in_order(stored.column_names, self.kind))

    def everything(self) -> pd.DataFrame:
        """All records, also those of other questions, inputs or code. Raises SailsimError as `frame`."""
        whole = self.store.everything()
        return as_frame(whole.select(in_order(whole.column_names, self.kind)))

    def query(self, sql: str) -> pd.DataFrame:
        """What a SELECT finds in the tables ``runs`` (the records of `frame`) and ``everything``.

        It is duckdb's SQL, and can neither write nor read anything else. Mappings are dictionaries. Raises
        SailsimError for SQL that is wrong or is more than one SELECT.
        """
        check_type("sql", sql, str, "is a SELECT as a text")
        return as_frame(query(self.store, sql))

    def runs(self) -> Runs:
        """A sweep's runs as figures and claims read them. Raises SailsimError for another folder."""
        return Runs.of(stored_runs(self.store), self._prices())

    def _prices(self) -> PriceList:
        return prices() if self._price_list is None else self._price_list

    def _all(self, table: pa.Table, names: Sequence[str]) -> pa.Table:
        """The table with the columns of `JOINED` if one of them is named."""
        if not set(names) & set(JOINED):
            return table
        if self.kind != "sweep":
            name = next(name for name in names if name in JOINED)
            if name in table.column_names:
                return table
            raise SailsimError(f"column {name!r} is reckoned for folders of `sailsim sweep` alone.")
        added = joined(stored_runs(self.store), self._prices())[list(JOINED)]
        for name in JOINED:
            table = table.append_column(name, pa.Array.from_pandas(added[name]))
        return table
