"""A folder's records for whoever reads a few columns of many: nothing is decoded before it is asked for."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from sailsim.sim.study import chunks
from sailsim.sim.study.folder import Store
from sailsim.sim.study.tables import parquet_bytes


def scanned(store: Store) -> tuple[ds.Dataset, ds.Dataset]:
    """The records that are the folder's answer, as in `Store.table` but in no order, and all that it holds.

    Every file is checked against its name; columns have the widest type of all files. Raises SailsimError
    where nothing is stored, or nothing of what was asked for, or a file is damaged.
    """
    wanted = store.asked()
    files = [_File(chunks.checked(path)) for path in store.chunks()]
    if wanted is None or not files:
        raise store.holds_nothing()
    asked, seen = set(wanted), set[str]()
    answer = []
    for file in files:
        keep = (file.keys & asked) - seen
        seen |= file.keys
        if keep:
            answer.append(file if keep == file.keys else file.of_keys(keep))
    if not answer:
        raise store.holds_no_answer()
    return _together(answer), _together(files)


class _File:
    """The content of a file, its columns and keys."""

    def __init__(self, content: pa.Buffer) -> None:
        self.content = content
        file = pq.ParquetFile(pa.BufferReader(content))
        self.schema = file.schema_arrow.remove_metadata()
        keys = file.read(columns=["key"], use_threads=False)["key"]
        self.keys = set(pc.unique(keys).to_pylist())

    def of_keys(self, keys: set[str]) -> _File:
        """The records of some keys alone: what else stands in it is of other questions, or twice."""
        table = pq.read_table(pa.BufferReader(self.content))
        kept = table.filter(pc.is_in(table["key"], value_set=pa.array(sorted(keys), pa.string())))
        return _File(pa.py_buffer(parquet_bytes(kept)))


def _together(files: list[_File]) -> ds.Dataset:
    schemas = {file.schema.to_string(): file.schema for file in files}
    form = ds.ParquetFileFormat()
    fragments = [form.make_fragment(file.content) for file in files]
    schema = pa.unify_schemas(list(schemas.values()), promote_options="permissive")
    return ds.FileSystemDataset(fragments, schema, form)
