"""The folder of any study as its user takes it along: frames, SQL and files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from sailsim.analysis.costs.dollars import PRICES, PriceList, prices
from sailsim.analysis.results.columns import in_order, no_column
from sailsim.analysis.results.joins import JOINED, joined
from sailsim.analysis.results.results import Runs, stored_runs
from sailsim.base.arguments import A_PATH, check_type, items_of
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.hints import needing
from sailsim.sim.study.folder import Store
from sailsim.sim.study.scan import scanned
from sailsim.sim.study.tables import as_frame, parquet_bytes

Format = Literal["csv", "parquet"]


def export(table: pa.Table, path: Path, form: Format, force: bool = False) -> int:
    """Write a table as a file, whole or not at all; returns its bytes.

    In CSV mappings and lists are JSON, and what is empty is nothing. ``force`` replaces a file that is there.
    Raises SailsimError for one that is there otherwise, and OSError where it cannot be written.
    """
    if path.exists() and not force:
        raise SailsimError(f"{path} is there already; allowed is another file, or --force to replace it.")
    content = parquet_bytes(table) if form == "parquet" else csv_text(table).encode()
    write_whole(path, content)
    return len(content)


def csv_text(table: pa.Table) -> str:
    """A table as CSV, the first line its columns."""
    frame = as_frame(table)
    for field in table.schema:
        if pa.types.is_nested(field.type):
            frame[field.name] = frame[field.name].map(_json)
        elif pa.types.is_integer(field.type):  # a column with empty cells has become floating point
            frame[field.name] = frame[field.name].astype("Int64")
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text


def _json(value: Any) -> str:
    return json.dumps(value if isinstance(value, dict) else [] if value is None else list(value))


RUNS, EVERYTHING = "runs", "everything"
"""The tables: the records that are the folder's answer, and all that it holds."""

_LOCKED = {"enable_external_access": False, "python_enable_replacements": False, "lock_configuration": True}
"""No file, no network, no extension, no variable of this program; and no way to change that."""

_ROW = "_row"


def query(store: Store, sql: str) -> pa.Table:
    """What a SELECT finds in the tables `RUNS` and `EVERYTHING`; mappings are duckdb's MAP.

    Raises:
        SailsimError: as `scanned`; an SQL that is wrong, several, or not one that only reads.
    """
    runs, everything = scanned(store)
    return selected({RUNS: runs, EVERYTHING: everything}, sql)


def selected(tables: Mapping[str, Any], sql: str) -> pa.Table:
    """As `query`, over tables, datasets or frames by name."""
    try:
        return _read_only(tables, sql)
    except _duckdb().Error as error:
        raise SailsimError(f"SQL {sql!r} is refused: {_sentence(error)}") from None


def matching(table: pa.Table, where: str) -> pa.Table:
    """The rows of a table for which an SQL condition holds, in their order.

    Raises SailsimError for what is no condition over the table's columns.
    """
    numbered = table.append_column(_ROW, pa.array(range(table.num_rows), pa.int64()))
    try:
        rows = _read_only({RUNS: numbered}, f"SELECT {_ROW} FROM {RUNS} WHERE ({where}\n) ORDER BY {_ROW}")
    except _duckdb().Error as error:
        raise SailsimError(
            f"where is {where!r}; allowed is a condition on columns, as in wbits = 4: {_sentence(error)}"
        ) from None
    return table.take(rows[_ROW])


def _duckdb() -> Any:
    """Of the extra `query`: 70 MB that a sweep and its report do without."""
    with needing("query", "SQL"):
        import duckdb

        return duckdb


def _read_only(tables: Mapping[str, Any], sql: str) -> pa.Table:
    duckdb = _duckdb()
    try:
        sql.encode()
    except UnicodeEncodeError:  # of an argument with bytes that are not UTF-8
        raise SailsimError(f"SQL is {sql!r}; allowed is a text that UTF-8 has.") from None
    with duckdb.connect(":memory:") as database:
        for name, table in tables.items():
            database.register(name, table)
        for name, value in _LOCKED.items():
            database.execute(f"SET {name} = {str(value).lower()}")
        statements = database.extract_statements(sql)
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            raise SailsimError(f"SQL is {sql!r}; allowed is one SELECT, which reads {' and '.join(tables)}.")
        return database.sql(sql).to_arrow_table()


def _sentence(error: Exception) -> str:
    """What duckdb says, without the picture of the place."""
    text = " ".join(str(error).split("\n\nLINE ")[0].split()).rstrip(".")
    return text if text.endswith("?") else f"{text}."


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
