"""Records as Arrow tables, and tables as frames or the bytes of a Parquet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from sailsim.base.errors import SailsimError

if TYPE_CHECKING:  # a run needs no frames, and their library takes as long to load as all else together
    import pandas as pd


def table_of(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The records as a table with the columns of all of them, each of the widest type that occurs in it.

    A mapping becomes a map from names to numbers. Raises SailsimError for a column that mixes types.
    """
    names: dict[str, None] = {}
    for record in records:
        if not record.keys() <= names.keys():
            names.update(dict.fromkeys(record))
    return pa.table({name: _array(name, [record.get(name) for record in records]) for name in names})


def parquet_bytes(table: pa.Table) -> bytes:
    """A Parquet file of a table, with checksums of its pages; equal tables give equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def as_frame(table: pa.Table) -> pd.DataFrame:
    """A table of records as a frame, mappings as dictionaries."""
    rows: pd.DataFrame = table.to_pandas()
    for field in table.schema:
        if pa.types.is_map(field.type):
            rows[field.name] = rows[field.name].map(lambda value: {} if value is None else dict(value))
    return rows


def ordered(tables: Sequence[pa.Table], place: Mapping[str, int]) -> pa.Table:
    """The rows of some tables by the place of their keys, those of a key as they stood; of a key that several
    tables have, as after a compaction that was killed, the rows of one.

    Columns are in the order of the first row that has them.
    """
    seen: set[str] = set()
    parts = []
    for table in tables:
        own = table.column("key").to_pylist()
        keep = [key not in seen for key in own]
        seen.update(own)
        part = table if all(keep) else table.filter(pa.array(keep))
        if part.num_rows:
            first = min(place[key] for key in part.column("key").to_pylist())
            parts.append((first, part))
    parts.sort(key=lambda part: part[0])
    whole = pa.concat_tables([part for _, part in parts], promote_options="permissive")
    order = sorted(range(whole.num_rows), key=[place[k] for k in whole.column("key").to_pylist()].__getitem__)
    return whole.take(pa.array(order, pa.int64()))


def _array(name: str, values: list[Any]) -> pa.Array:
    try:
        if any(issubclass(kind, Mapping) for kind in set(map(type, values))):
            pairs = [list(value.items()) if isinstance(value, Mapping) else value for value in values]
            return pa.array(pairs, pa.map_(pa.string(), pa.float64()))
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise SailsimError(
            f"column {name!r} mixes types; allowed is one of numbers, text, truth values or lists of one."
        ) from None
