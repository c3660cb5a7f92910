"""Tables as files that other programs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim.study import as_frame, parquet_bytes

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
