"""Results on disk: one Parquet file per finished chunk of a sweep, and a manifest.

A folder holds

- `chunks/*.parquet`: complete files only; each is written beside its name and moved there in one step,
- `manifest.json`: what was run, by which code, when; replaced in one step,
- `.lock`: held by the one sweep that may write.

So whatever ends a sweep - an error, a full disk, `kill -9` - every chunk is there whole or not at all.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError

SCHEMA = 1
RESERVED = ("key", "point_key", "code_version", "finished_at", "evaluation_s")
"""Columns that the store adds to every record."""


class Store:
    """The results of a folder. Reading takes no lock; writing needs `locked`."""

    def __init__(self, out_dir: str | Path) -> None:
        self.path = Path(out_dir)
        self._chunks = self.path / "chunks"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for writing; it is created if needed.

        Raises:
            SailsimError: another process holds it, or it cannot be written.
        """
        try:
            self._chunks.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("a+")
        except OSError as error:
            raise self._unwritable(error) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                raise SailsimError(
                    f"folder {self.path} is in use by another sweep (process {holder}); "
                    "allowed is one at a time."
                ) from None
            try:
                lock.truncate(0)
                lock.write(f"{os.getpid()}\n")
                lock.flush()
            except OSError as error:
                raise self._unwritable(error) from None
            # What a killed sweep left half written was never part of the results.
            for leftover in self.path.rglob("*.partial"):
                leftover.unlink(missing_ok=True)
            yield

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add records as one chunk: after the call all of them are on disk, or none.

        Records carry the columns `RESERVED`; a value may be a number, a text, a truth value, a list of one of
        these, or a mapping from names to numbers. A point may have several. The caller holds the lock.

        Raises:
            SailsimError: the disk is full or the folder cannot be written; nothing that was stored is lost.
        """
        if not records:
            return
        for record in records:
            missing = [name for name in RESERVED if name not in record]
            if missing:
                raise SailsimError(
                    f"record has no {missing[0]!r}; allowed is a record with {', '.join(RESERVED)}."
                )
        rows = [{name: _listed(value) for name, value in record.items()} for record in records]
        table = pa.Table.from_pylist(rows, schema=_schema(records))
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        name = sha256("".join(sorted({str(r["key"]) for r in records})).encode()).hexdigest()[:32]
        self._replace(self._chunks / f"{name}.parquet", sink.getvalue().to_pybytes())

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest. The caller holds the lock."""
        text = json.dumps({"schema": SCHEMA, **manifest}, indent=1, sort_keys=True) + "\n"
        self._replace(self.path / "manifest.json", text.encode())

    @property
    def manifest(self) -> dict[str, Any]:
        """What was run; empty if nothing was.

        Raises:
            SailsimError: the file is damaged or of another schema.
        """
        path = self.path / "manifest.json"
        try:
            manifest = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise SailsimError(f"manifest {path} cannot be read: {error}.") from None
        if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
            raise SailsimError(f"manifest {path} is not of schema {SCHEMA}, the only one allowed.")
        return manifest

    def keys(self) -> set[str]:
        """Keys of all stored records."""
        found: set[str] = set()
        for path in self._files():
            found.update(self._read(path, ["key"]).column("key").to_pylist())
        return found

    def record(self, key: str) -> dict[str, Any] | None:
        """The newest record of a key, whichever code the manifest names; None if there is none."""
        for path in self._files():
            rows = self._read(path).filter(pc.field("key") == key).to_pylist()
            if rows:
                return dict(rows[-1])
        return None

    def frame(self) -> pd.DataFrame:
        """The newest records of every point, of the code that the manifest names, in the order of their keys.

        Records of a point keep their order; mappings come back as dictionaries. Rows of earlier code stay on
        disk, but results of two programs are never mixed. Raises SailsimError if there is nothing to read.
        """
        tables = [self._read(path) for path in self._files()]
        if not tables:
            raise SailsimError(f"folder {self.path} holds no results; allowed is the folder of a sweep.")
        table = pa.concat_tables(tables, promote_options="permissive")
        rows: pd.DataFrame = table.to_pandas()
        for field in table.schema:
            if pa.types.is_map(field.type):
                rows[field.name] = rows[field.name].map(lambda value: {} if value is None else dict(value))
        code = self.manifest.get("code_version")
        if code is not None:
            rows = rows[rows["code_version"] == code]
        rows = rows.sort_values(["finished_at", "key"], kind="stable")
        newest = rows.groupby("point_key")[["key", "finished_at"]].transform("last")
        rows = rows[(rows["key"] == newest["key"]) & (rows["finished_at"] == newest["finished_at"])]
        return rows.sort_values("key", kind="stable").reset_index(drop=True)

    def _files(self) -> list[Path]:
        return sorted(self._chunks.glob("*.parquet"))

    def _read(self, path: Path, columns: list[str] | None = None) -> pa.Table:
        try:
            table = pq.read_table(path, columns=columns)
            table.select(list(columns or RESERVED))  # another program's file lacks them
            return table
        except (OSError, KeyError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise SailsimError(
                f"results file {path} is damaged ({reason}); remove it to run its points again."
            ) from None

    def _replace(self, path: Path, content: bytes) -> None:
        try:
            write_whole(path, content)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> SailsimError:
        return SailsimError(
            f"folder {self.path} cannot be written: {error.strerror}; what was stored before is kept, and "
            "the same command goes on from there."
        )


def now() -> str:
    """The time in UTC, sortable, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _listed(value: Any) -> Any:
    """A mapping as the pairs that a column of maps takes; anything else as it is."""
    return list(value.items()) if isinstance(value, Mapping) else value


def _schema(records: Sequence[Mapping[str, Any]]) -> pa.Schema:
    """Columns of all records, each of the widest type that occurs in it."""
    names = dict.fromkeys(name for record in records for name in record)
    fields = []
    for name in names:
        values = [record.get(name) for record in records]
        if any(isinstance(value, Mapping) for value in values):
            fields.append(pa.field(name, pa.map_(pa.string(), pa.float64())))
            continue
        try:
            kind = pa.array(values).type
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise SailsimError(
                f"column {name!r} mixes types; allowed is one of numbers, text, truth values or lists of one."
            ) from None
        fields.append(pa.field(name, kind))
    return pa.schema(fields)
