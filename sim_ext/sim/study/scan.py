"""A folder's records for whoever reads a few columns of many: nothing is decoded before it is asked for."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from sailsim.base.errors import SailsimError
from sailsim.sim.study.folder import Store
from sailsim.sim.study.tables import parquet_bytes


def scanned(store: Store) -> tuple[ds.Dataset, ds.Dataset]:
    """The records that are the folder's answer, as in `Store.table` but in no order, and all that it holds.

    Every file is checked against its name; columns have the widest type of all files. Raises SailsimError
    where nothing is stored, or nothing of what was asked for, or a file is damaged.
    """
    wanted = store.asked()
    contents = {path: store.content(path) for path in store.chunks()}
    if wanted is None or not contents:
        raise SailsimError(f"folder {store.path} holds no results; allowed is the folder of a study.")
    asked, seen = set(wanted), set[str]()
    answer = []
    for content in contents.values():
        own = _keys(content)
        keep = (own & asked) - seen
        seen |= own
        if keep:
            answer.append(content if keep == own else _of_keys(content, keep))
    if not answer:
        raise SailsimError(
            f"folder {store.path} holds no results of what was asked for; the same command as before goes on "
            "from there."
        )
    return _together(answer), _together(list(contents.values()))


def _keys(content: pa.Buffer) -> set[str]:
    table = pq.read_table(pa.BufferReader(content), columns=["key"], read_dictionary=["key"])
    return set(table.column("key").unique().to_pylist())


def _of_keys(content: pa.Buffer, keys: set[str]) -> pa.Buffer:
    """A file of the records of some keys alone: what else stands in it is of other questions, or twice."""
    table = pq.read_table(pa.BufferReader(content))
    kept = table.filter(pc.is_in(table["key"], value_set=pa.array(sorted(keys), pa.string())))
    return pa.py_buffer(parquet_bytes(kept))


def _together(contents: list[pa.Buffer]) -> ds.Dataset:
    schemas = [pq.read_schema(pa.BufferReader(content)).remove_metadata() for content in contents]
    form = ds.ParquetFileFormat()
    fragments = [form.make_fragment(content) for content in contents]
    return ds.FileSystemDataset(fragments, pa.unify_schemas(schemas, promote_options="permissive"), form)
