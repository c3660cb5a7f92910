"""The Parquet files of a study's folder: named by their content, and with the columns of a study."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import check_regular, read_bytes

RESERVED = ("key", "point_key", "code_version", "finished_at", "evaluation_s")
"""Columns that a study adds to every record."""
NAME = "[0-9a-f]{32}"
"""What `digest` gives, as a pattern."""
ASKED = re.compile(rf"asked-{NAME}\.parquet")
"""Names of lists of what was asked for; all other files have records."""


MOST_BYTES = 1 << 30
"""Of a file; a study of 100,000 points has some tens of MB in all."""


def digest(content: bytes) -> str:
    """The name of a content."""
    return hashlib.sha256(content).hexdigest()[:32]


def checked(path: Path) -> pa.Buffer:
    """The bytes of a file. Raises SailsimError where they are not what was written, or not a study's."""
    content = read_bytes(path, "results file", MOST_BYTES)
    if path.stem.removeprefix("asked-") != digest(content):
        raise _damaged(path, "its content is not what its name says")
    buffer = pa.py_buffer(content)
    _require_columns(path, buffer)
    return buffer


def read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A file, all of it or some columns. Raises SailsimError as `checked`."""
    content = checked(path)
    try:
        # Not `pq.read_table`, which plans for many files and needs three times as long for one that is small.
        return pq.ParquetFile(pa.BufferReader(content)).read(columns)
    except (KeyError, pa.ArrowException) as error:
        raise _damaged(path, str(error).splitlines()[0].rstrip(".")) from None


def rows(path: Path) -> int:
    """How many rows a file says that it has. Raises SailsimError where it cannot be read."""
    check_regular(path, "results file")
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, str(error).splitlines()[0].rstrip(".")) from None


def _require_columns(path: Path, content: pa.Buffer) -> None:
    """A file of ours has the columns that a study adds, with what it puts there; what else it has is its
    own."""
    try:
        schema = pq.read_schema(pa.BufferReader(content))
    except pa.ArrowException as error:
        raise _damaged(path, str(error).splitlines()[0].rstrip(".")) from None
    for name in ("key", "group") if ASKED.fullmatch(path.name) else RESERVED:
        if name not in schema.names:
            raise _damaged(path, f"it has no column {name!r}")
        kind = schema.field(name).type
        if not (pa.types.is_string(kind) or (name == "evaluation_s" and pa.types.is_primitive(kind))):
            raise _damaged(path, f"it has {kind} in the column {name!r}")


def _damaged(path: Path, reason: str) -> SailsimError:
    return SailsimError(
        f"results file {path} is damaged or another program's ({reason}); remove it to run its points again."
    )
