"""What a folder holds and its answer does not need: records of other questions, inputs, code; leftovers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sailsim.sim.study import chunks
from sailsim.sim.study.folder import Store
from sailsim.sim.study.tables import parquet_bytes


@dataclass(frozen=True)
class Dropped:
    """What was dropped, or would be."""

    records: int
    """That are not part of the answer."""
    files: tuple[str, ...]
    """Leftovers: half written files, and lists of what was asked for before."""
    bytes: int
    """That the folder is smaller by."""


def unasked_records(store: Store) -> int:
    """How many records are stored and not part of the answer."""
    return sum(count for _, count, _ in _unasked(store))


def collect(store: Store, dry_run: bool = False) -> Dropped:
    """Drop the records that are not part of the answer, and leftovers; files of others stay as they are.

    ``dry_run`` reckons and writes nothing; without it the folder is held meanwhile. Whatever ends it, the
    answer is whole. Raises SailsimError for a folder of no study, one in use, a damaged file, a full disk.
    """
    kind = store.manifest.get("kind")
    if kind is None or store.asked() is None:
        raise store.holds_nothing()
    if dry_run:
        return _dropped(store, dry_run)
    left = store.leftovers()  # `locked` takes the half written ones away
    sizes = {path: _size(path) for path in left}
    with store.locked(kind):
        found = _dropped(store, dry_run)
    gone = [path for path in left if path.name not in found.files and not path.exists()]
    return Dropped(
        found.records,
        (*(path.name for path in gone), *found.files),
        found.bytes + sum(sizes[path] for path in gone),
    )


def _dropped(store: Store, dry_run: bool) -> Dropped:
    records = size = 0
    for path, unasked, wanted in list(_unasked(store)):
        if not unasked:
            continue
        records += unasked
        whole = pq.read_table(pa.BufferReader(chunks.checked(path)))
        kept = whole.filter(_among(whole, wanted))
        size += _size(path) - (len(parquet_bytes(kept)) if kept.num_rows else 0)
        if not dry_run:
            store.replace_chunk(path, kept)
    left = store.leftovers()
    size += sum(map(_size, left))
    if not dry_run:
        for path in left:
            path.unlink(missing_ok=True)
    return Dropped(records, tuple(path.name for path in left), size)


def _unasked(store: Store) -> Iterator[tuple[Path, int, set[str]]]:
    """Each chunk, how many of its records nobody needs, and the keys whose records are needed from there: of
    a key that several have, as after a compaction that was killed, the first has them."""
    asked, seen = set(store.asked() or ()), set[str]()
    for path in store.chunks():
        content = pa.BufferReader(chunks.checked(path))
        table = pq.read_table(content, columns=["key"], read_dictionary=["key"])
        own = set(table["key"].unique().to_pylist())
        wanted = (own & asked) - seen
        seen |= own
        left = 0 if wanted == own else table.num_rows - int(pc.sum(_among(table, wanted)).as_py() or 0)
        yield path, left, wanted


def _among(table: pa.Table, keys: set[str]) -> pa.ChunkedArray:
    return pc.is_in(table["key"].cast(pa.string()), value_set=pa.array(sorted(keys), pa.string()))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
