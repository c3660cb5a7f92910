"""The folder of any study as its user takes it along: frames, SQL and files."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd

from sailsim.analysis.costs.dollars import PRICES, PriceList, prices
from sailsim.analysis.results.columns import in_order, no_column
from sailsim.analysis.results.joins import JOINED, joined
from sailsim.analysis.results.results import Runs, stored_runs
from sailsim.base.arguments import A_PATH, check_type, items_of
from sailsim.base.errors import SailsimError
from sailsim.sim.study.folder import Record, Store, as_frame

RUNS, EVERYTHING = "runs", "everything"
"""The tables: the records that are the folder's answer, and all that it holds."""

_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
"""What SQL may do."""


def query(store: Store, sql: str) -> pd.DataFrame:
    """What a SELECT of SQLite finds in the tables `RUNS` and `EVERYTHING`; mappings and lists are JSON
    to SQL.

    Raises:
        SailsimError: as `Store.records`; an SQL that is wrong, several, or not one that only reads.
    """
    tables = {RUNS: store.records()}
    if EVERYTHING in sql.lower():
        tables[EVERYTHING] = store.everything()
    with _database(tables, sql) as database:
        try:
            rows = database.execute(sql)
            names = [name for name, *_ in rows.description or ()]
            if not names:
                raise SailsimError(
                    f"SQL is {sql!r}; allowed is one SELECT, which reads {RUNS} and {EVERYTHING}."
                )
            frame = pd.DataFrame(rows.fetchall(), columns=names)
        except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError) as error:
            raise SailsimError(f"SQL {sql!r} is refused: {error}; allowed is one SELECT.") from None
    for name in names:
        if any(isinstance(record.get(name), dict | list) for record in tables[RUNS]):
            frame[name] = frame[name].map(_nested)
    return frame


def matching(records: Sequence[Record], where: str) -> list[Record]:
    """The records for which an SQL condition holds, in their order.

    Raises SailsimError for what is no condition over their columns.
    """
    with _database({RUNS: records}, where) as database:
        try:
            rows = database.execute(f"SELECT rowid FROM {RUNS} WHERE ({where}\n) ORDER BY rowid").fetchall()
        except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError) as error:
            raise SailsimError(
                f"where is {where!r}; allowed is a condition on columns, as in wbits = 4: {error}."
            ) from None
    return [records[number - 1] for (number,) in rows]


@contextmanager
def _database(tables: Mapping[str, Sequence[Record]], sql: str) -> Iterator[sqlite3.Connection]:
    """A database in memory, which can only be read, with some records and nothing else: the columns that
    occur in a text, or all of them where it has a star."""
    with closing(sqlite3.connect(":memory:")) as database:
        for table, records in tables.items():
            names = [name for name in records[0] if "*" in sql or name.lower() in sql.lower()] or [
                *records[0]
            ]
            columns = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
            database.execute(f"CREATE TABLE {table} ({columns})")
            rows = ([flat(record[name]) for name in names] for record in records)
            database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})", rows)
        database.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY
        )
        database.set_progress_handler(lambda: 0, 100_000)  # Python hears Ctrl-C there, and the query ends
        yield database


def flat(value: Any) -> Any:
    """A value as a cell has it: mappings and lists as JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else value


def _nested(cell: Any) -> Any:
    """What `flat` made a cell of; what is no JSON stays as it is."""
    try:
        return json.loads(cell) if isinstance(cell, str) and cell[:1] in "{[" else cell
    except ValueError:
        return cell


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
        names, records = self.records(where, columns)
        return as_frame(records) if records else pd.DataFrame(columns=names)

    def records(self, where: str = "", columns: Sequence[str] = ()) -> tuple[list[str], list[Record]]:
        """As `frame`, the names of the columns and the records themselves."""
        check_type("where", where, str, "is an SQL condition as a text, empty for all records")
        columns = items_of("columns", columns, str, "is a list of names")
        stored = self.store.records()
        whole = self._all(stored, [*columns, *re.findall(r"\w+", where)])
        for name in columns:
            if name not in whole[0]:
                raise no_column(name, whole[0])
        names = list(columns) or in_order(stored[0], self.kind)
        chosen = matching(whole, where) if where else whole
        return names, [{name: record[name] for name in names} for record in chosen]

    def everything(self) -> pd.DataFrame:
        """All records, also those of other questions, inputs or code. Raises SailsimError as `frame`."""
        whole = as_frame(self.store.everything())
        return whole[in_order(map(str, whole), self.kind)]

    def query(self, sql: str) -> pd.DataFrame:
        """What a SELECT finds in the tables ``runs`` (the records of `frame`) and ``everything``.

        It is SQLite's SQL, and can neither write nor read anything else. Mappings are JSON: one of their
        values is ``phases ->> 'dram'``. Raises SailsimError for SQL that is wrong or is more than one SELECT.
        """
        check_type("sql", sql, str, "is a SELECT as a text")
        return query(self.store, sql)

    def runs(self) -> Runs:
        """A sweep's runs as figures and claims read them. Raises SailsimError for another folder."""
        return Runs.of(stored_runs(self.store), self._prices())

    def _prices(self) -> PriceList:
        return prices() if self._price_list is None else self._price_list

    def _all(self, records: list[Record], names: Sequence[str]) -> list[Record]:
        """The records with the columns of `JOINED` if one of them is named."""
        joins = [name for name in names if name in JOINED]
        if not joins:
            return records
        if self.kind != "sweep":
            if joins[0] in records[0]:
                return records
            raise SailsimError(f"column {joins[0]!r} is reckoned for folders of `sailsim sweep` alone.")
        added = joined(stored_runs(self.store), self._prices())[list(JOINED)].astype(object)
        rows = added.where(added.notna(), None).itertuples(index=False, name=None)
        return [
            record | dict(zip(JOINED, row, strict=True)) for record, row in zip(records, rows, strict=True)
        ]
