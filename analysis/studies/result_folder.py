"""Folders of any study as their users take them along: which there are, and what they hold."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd

from sailsim.analysis.costs.dollars import PRICES, PriceList, prices
from sailsim.analysis.runs.columns import first_columns, in_order, no_column, short_html
from sailsim.analysis.runs.compare import JOINED, joined
from sailsim.analysis.studies.stored_runs import RunTable, stored_runs
from sailsim.base.arguments import A_PATH, check_type, items_of
from sailsim.base.errors import SailsimError
from sailsim.sim.study.store import FILE, Record, Store


def matching(records: Sequence[Record], where: str) -> list[Record]:
    """The records for which an SQL condition holds, in their order; mappings and lists are JSON to it.

    SQLite answers, of a table in memory with the columns that occur in the condition. Raises SailsimError for
    what is no condition over their columns.
    """
    names = [name for name in records[0] if name.lower() in where.lower()] or list(records[0])
    with closing(sqlite3.connect(":memory:")) as database:
        columns = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        database.execute(f"CREATE TABLE runs ({columns})")
        rows = ([flat(record[name]) for name in names] for record in records)
        database.executemany(f"INSERT INTO runs VALUES ({', '.join('?' * len(names))})", rows)
        database.set_progress_handler(lambda: 0, 100_000)  # Python hears Ctrl-C there, and the query ends
        try:
            found = set(database.execute(f"SELECT rowid FROM runs WHERE ({where}\n)"))
        except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError) as error:
            raise SailsimError(
                f"where is {where!r}; allowed is a condition on columns, as in wbits = 4: {error}."
            ) from None
    return [record for number, record in enumerate(records, 1) if (number,) in found]


def flat(value: Any) -> Any:
    """A value as a cell has it: mappings and lists as JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else value


class ResultFolder:
    """What a folder holds: of `sailsim sweep`, `explore`, `reproduce` or `gem5`.

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
        self._prices = prices() if price_list is None else price_list

    def __repr__(self) -> str:
        return f"ResultFolder({str(self.store.path)!r})"

    def _repr_html_(self) -> str | None:
        with suppress(SailsimError):
            return short_html(first_columns(self.frame(), self.kind))
        return None

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
        return pd.DataFrame(records, columns=names)

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

    def runs(self) -> RunTable:
        """A sweep's runs as figures and claims read them. Raises SailsimError for another folder."""
        return RunTable.of(stored_runs(self.store), self._prices)

    def _all(self, records: list[Record], names: Sequence[str]) -> list[Record]:
        """The records with the columns of `JOINED` if one of them is named."""
        joins = [name for name in names if name in JOINED]
        if not joins:
            return records
        if self.kind != "sweep":
            if joins[0] in records[0]:
                return records
            raise SailsimError(f"column {joins[0]!r} is reckoned for folders of `sailsim sweep` alone.")
        added = joined(stored_runs(self.store), self._prices)[list(JOINED)].astype(object)
        rows = added.where(added.notna(), None).itertuples(index=False, name=None)
        return [
            record | dict(zip(JOINED, row, strict=True)) for record, row in zip(records, rows, strict=True)
        ]


def inventory(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """A row for each study in some folders and below: folder, kind, state, points, finished_at, code_version,
    bytes (of the study's files), refused (questions without a result, and why), reason (of a damaged one a
    sentence, else empty). What cannot be known of a damaged one is None.

    Raises SailsimError for a folder that is none, and where there is no study at all.
    """
    for folder in folders:
        if not folder.is_dir():
            raise SailsimError(f"{folder} is no folder; allowed is one with studies in it or below.")
    found = dict.fromkeys(each for top in folders for each in sorted(file.parent for file in top.rglob(FILE)))
    if not found:
        named = ", ".join(map(str, folders))
        raise SailsimError(f"{named} has no results, in it or below; allowed is the folder of a study.")
    return [_row(folder) for folder in found]


def _row(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = {"state": "damaged"}
    reason = ""
    try:
        manifest = Store(folder).manifest
    except SailsimError as error:
        reason = str(error)
    names = ("kind", "state", "points", "finished_at", "code_version")
    return {
        "folder": str(folder),
        **{name: manifest.get(name) for name in names},
        "bytes": sum(path.stat().st_size for path in folder.glob(f"{FILE}*")),
        "refused": manifest.get("refused", {}) | manifest.get("failed", {}),
        "reason": reason,
    }
