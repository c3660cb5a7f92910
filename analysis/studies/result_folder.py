"""Folders of results of any study: their records, and an inventory of folders."""

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
from sailsim.analysis.runs.compare import COMPARISON_COLUMNS, with_comparisons
from sailsim.analysis.studies.stored_runs import RunTable, stored_runs
from sailsim.base.arguments import PATH_TYPES, check_type, items_of_type
from sailsim.base.errors import SailsimError
from sailsim.sim.study.store import FILE, Record, Store


def matching(records: Sequence[Record], where: str) -> list[Record]:
    """The records for which an SQL condition holds, in their order; mappings and lists are JSON to it.

    SQLite evaluates it on a table in memory with the columns that occur in the condition. Raises SailsimError
    for a text that is no condition over these columns.
    """
    names = [name for name in records[0] if name.lower() in where.lower()] or list(records[0])
    with closing(sqlite3.connect(":memory:")) as database:
        columns = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        database.execute(f"CREATE TABLE runs ({columns})")
        rows = ([flat(record[name]) for name in names] for record in records)
        database.executemany(f"INSERT INTO runs VALUES ({', '.join('?' * len(names))})", rows)
        database.set_progress_handler(lambda: 0, 100_000)  # lets Python see Ctrl-C, which ends the query
        try:
            numbers = set(database.execute(f"SELECT rowid FROM runs WHERE ({where}\n)"))
        except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError) as error:
            raise SailsimError(
                f"where is {where!r}; allowed is a condition on columns, as in wbits = 4: {error}."
            ) from None
    return [record for number, record in enumerate(records, 1) if (number,) in numbers]


def flat(value: Any) -> Any:
    """A value as a table's cell: mappings and lists as JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else value


class ResultFolder:
    """Results in the folder of a study: of `sailsim sweep`, `explore`, `reproduce` or `gem5`.

    Columns are those of analysis/data/columns.toml, in its order. A sweep also has columns that are computed
    from several runners or from prices (`COMPARISON_COLUMNS`), where they are named.
    """

    def __init__(self, folder: str | Path, price_list: PriceList | None = None) -> None:
        """Open a folder, with ``price_list`` in place of the prices that ship.

        Raises ArgumentTypeError for arguments of other types.
        """
        check_type("folder", folder, PATH_TYPES, "is the path of a folder")
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
        """Command that wrote the folder; empty for a folder without results."""
        return str(self.store.manifest.get("kind", ""))

    def frame(self, where: str = "", columns: Sequence[str] = ()) -> pd.DataFrame:
        """The records of the last request to the study, in its order: for a sweep one a point and runner.

        Args:
            where: an SQL condition on the columns, as in ``wbits = 4 and runner = 'sail'``.
            columns: names of columns, in the given order; all that are stored where it is empty.

        Mappings (`phases`) are dictionaries. Raises SailsimError for a folder without results, an invalid
        condition, and an unknown column, with the nearest names.
        """
        names, records = self.records(where, columns)
        return pd.DataFrame(records, columns=names)

    def records(self, where: str = "", columns: Sequence[str] = ()) -> tuple[list[str], list[Record]]:
        """The names of the columns of `frame`, and the records themselves."""
        check_type("where", where, str, "is an SQL condition as a text, empty for all records")
        columns = items_of_type("columns", columns, str, "is a list of names")
        stored = self.store.records()
        whole = self._with_comparisons(stored, [*columns, *re.findall(r"\w+", where)])
        for name in columns:
            if name not in whole[0]:
                raise no_column(name, whole[0])
        names = list(columns) or in_order(stored[0], self.kind)
        chosen = matching(whole, where) if where else whole
        return names, [{name: record[name] for name in names} for record in chosen]

    def runs(self) -> RunTable:
        """A sweep's runs for figures and claims. Raises SailsimError for another folder."""
        return RunTable.of(stored_runs(self.store), self._prices)

    def _with_comparisons(self, records: list[Record], names: Sequence[str]) -> list[Record]:
        """The records, with all `COMPARISON_COLUMNS` if one of them is named."""
        named = [name for name in names if name in COMPARISON_COLUMNS]
        if not named:
            return records
        if self.kind != "sweep":
            if named[0] in records[0]:
                return records
            raise SailsimError(f"column {named[0]!r} is computed for folders of `sailsim sweep` alone.")
        added = with_comparisons(stored_runs(self.store), self._prices)[list(COMPARISON_COLUMNS)].astype(
            object
        )
        rows = added.where(added.notna(), None).itertuples(index=False, name=None)
        return [
            record | dict(zip(COMPARISON_COLUMNS, row, strict=True))
            for record, row in zip(records, rows, strict=True)
        ]


def inventory(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """A row for each study in some folders and below.

    Its columns are folder, kind, state, points, finished_at, code_version, bytes (of the study's files),
    refused (points without a result, and why) and reason (a sentence for a damaged study, else empty).
    Unknown values of a damaged study are None.

    Raises SailsimError for a path that is no folder, and where there is no study at all.
    """
    for folder in folders:
        if not folder.is_dir():
            raise SailsimError(f"{folder} is no folder; allowed is one with studies in it or below.")
    studies = dict.fromkeys(
        each for top in folders for each in sorted(file.parent for file in top.rglob(FILE))
    )
    if not studies:
        named = ", ".join(map(str, folders))
        raise SailsimError(f"{named} has no results, in it or below; allowed is the folder of a study.")
    return [_row(folder) for folder in studies]


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
