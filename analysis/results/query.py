"""SQL over a folder's records, for reading alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sailsim.base.errors import SailsimError
from sailsim.base.hints import needing
from sailsim.sim import Store
from sailsim.sim.study.scan import scanned

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
