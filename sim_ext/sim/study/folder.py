"""The folder of a study: what was asked for, what was found, and one process at a time that writes.

A folder holds

- `chunks/NAME.parquet`: records, complete files only. NAME is the start of the SHA-256 of the content, so a
  file in which a single bit has changed is noticed when it is read;
- `asked-NAME.parquet`: the keys of what was asked for last, in order; what is not among them is kept, and not
  part of the answer;
- `manifest.json`: what was run, by which code, when, with a checksum; replaced in one step;
- `.lock`: held by the one study that may write.

Every file is written beside its name and moved there in one step. So whatever ends a study - an error, a full
disk, `kill -9` - each is there whole or not at all. Other files in the folder are nobody's business here.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import MAX_TEXT, read_bytes
from sailsim.sim.study import chunks
from sailsim.sim.study.chunks import RESERVED
from sailsim.sim.study.tables import as_frame, ordered, parquet_bytes, table_of

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 2
SMALL_FILES = 200
"""With more chunks than these some are put together."""
PATIENCE_S = 0.5
"""How long a study waits for a folder: whoever reads a manifest holds its lock for an instant, and so does a
child of a study that was killed, until it has become the program that it was made for."""
WHOLE_ROWS = 50_000
"""So many rows are a whole chunk: what is held in memory when chunks are put together."""

_OURS = re.compile(rf"\.(manifest\.json|asked-{chunks.NAME}\.parquet|{chunks.NAME}\.parquet)\.\d+\.partial")


class Store:
    """The results of a folder. Reading takes no lock; writing needs `locked`."""

    def __init__(self, out_dir: str | Path) -> None:
        self.path = Path(out_dir)
        self._chunks = self.path / "chunks"
        self._asked_now: str | None = None

    @contextmanager
    def locked(self, kind: str) -> Iterator[None]:
        """Hold the folder for writing; it is created if needed. `kind` is the command that writes.

        Raises:
            SailsimError: another process holds it, it cannot be written, or it is of an older version or of
                another command.
        """
        try:
            self._chunks.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("a+")
        except OSError as error:
            raise self._unwritable(error) from None
        with lock:
            if not _held_alone(lock):
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                raise SailsimError(
                    f"folder {self.path} is in use by another study (process {holder}); "
                    "allowed is one at a time."
                )
            try:
                lock.truncate(0)
                lock.write(f"{os.getpid()}\n")
                lock.flush()
                self._remove_halves()
            except OSError as error:
                raise self._unwritable(error) from None
            other = self.manifest.get("kind", kind)
            if other != kind:
                raise SailsimError(
                    f"folder {self.path} holds results of `sailsim {other}`; allowed for `sailsim {kind}` is "
                    "another folder."
                )
            yield

    def _remove_halves(self) -> None:
        """What a killed study of this folder left half written was never part of the results."""
        for folder in (self.path, self._chunks):
            for path in folder.iterdir():
                if _OURS.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add records as one chunk: after the call all of them are on disk, or none.

        Records carry the columns `RESERVED`; a value may be a number, a text, a truth value, a list of one of
        these, or a mapping from names to numbers. A key may have several. The caller holds the lock.

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
        self._add_chunk(table_of(records))

    def ask(self, keys: Sequence[str], group: str = "") -> None:
        """Say what the folder's answer is: the records of these keys, in this order, behind those that were
        asked for in other groups. The caller holds the lock and writes the manifest next."""
        table = self._asked_table()
        kept = [] if table is None else [r for r in table.to_pylist() if r["group"] != group]
        rows = kept + [{"key": key, "group": group} for key in dict.fromkeys(keys)]
        schema = pa.schema([("key", pa.string()), ("group", pa.string())])
        content = parquet_bytes(pa.Table.from_pylist(rows, schema=schema))
        name = f"asked-{chunks.digest(content)}.parquet"
        if not (self.path / name).exists():
            self._replace(self.path / name, content)
        self._asked_now = name  # only now: a manifest names no file that is not there

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest; one that belongs to an earlier answer stays until `ask` has given another.
        The caller holds the lock."""
        if self._asked_now is None:
            return
        whole = {"schema": SCHEMA, "asked": self._asked_now, **manifest}
        whole["checksum"] = _checksum(whole)
        self._replace(self.path / "manifest.json", (json.dumps(whole, indent=1) + "\n").encode())
        for path in self.path.glob("asked-*.parquet"):
            if chunks.ASKED.fullmatch(path.name) and path.name != whole["asked"]:
                with suppress(OSError):
                    path.unlink()

    @property
    def manifest(self) -> dict[str, Any]:
        """What was run; empty if nothing was. Of a study that was killed the state is "stopped".

        Raises:
            SailsimError: the file is damaged or of another version.
        """
        path = self.path / "manifest.json"
        if not path.exists():
            return {}
        content = read_bytes(path, "manifest", MAX_TEXT)
        try:
            manifest = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise SailsimError(f"manifest {path} cannot be read: {error}.") from None
        if not isinstance(manifest, dict) or "schema" not in manifest:
            raise SailsimError(f"manifest {path} is not one of a study; allowed is a folder of sailsim's.")
        if manifest["schema"] != SCHEMA:
            raise SailsimError(
                f"folder {self.path} is of an older version; `{command_of(manifest)} --out NEW` makes it "
                "anew."
            )
        said = manifest.pop("checksum", None)
        if said != _checksum(manifest):
            raise SailsimError(
                f"manifest {path} is damaged: its checksum is not that of its content; remove it, and the "
                "same command as before makes it anew from the results that are stored."
            )
        if manifest.get("state") == "running" and not self._in_use():
            manifest["state"] = "stopped"
        return manifest

    def _in_use(self) -> bool:
        try:
            with (self.path / ".lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def keys(self) -> set[str]:
        """Keys of all stored records, asked for or not."""
        found: set[str] = set()
        for path in self.chunks():
            found.update(pc.unique(chunks.read(path, ["key"])["key"]).to_pylist())
        return found

    def of_key(self, key: str) -> pd.DataFrame:
        """The records of one key as a frame, in their order; without columns that none of them has, and the
        study's own.

        Raises:
            SailsimError: there are none.
        """
        for path in self.chunks():
            table = chunks.read(path).filter(pc.field("key") == key)
            if table.num_rows:
                own = [name for name in table.column_names if name not in RESERVED]
                return as_frame(table.select([name for name in own if table[name].null_count < len(table)]))
        raise SailsimError(f"folder {self.path} holds no results of key {key}.")

    def record(self, key: str) -> dict[str, Any] | None:
        """The last record of a key, asked for or not; None if there is none."""
        for path in self.chunks():
            rows = chunks.read(path).filter(pc.field("key") == key).to_pylist()
            if rows:
                return dict(rows[-1])
        return None

    def frame(self, group: str | None = None) -> pd.DataFrame:
        """The records of what was asked for last, in the order in which it was asked for; of one group, or of
        all.

        Records of a key keep their order; mappings come back as dictionaries. Columns are in the order of the
        first record that has them. Raises SailsimError if there is nothing to read.
        """
        return as_frame(self.table(group))

    def table(self, group: str | None = None) -> pa.Table:
        """As `frame`, as an Arrow table."""
        keys = self.asked(group)
        if keys is None:
            raise self.holds_nothing()
        place = {key: i for i, key in enumerate(keys)}
        wanted = pa.array(keys, pa.string())
        tables = []
        for path in self.chunks():
            table = chunks.read(path)
            table = table.filter(pc.is_in(table["key"], value_set=wanted))
            if table.num_rows:
                tables.append(table)
        if not tables:
            raise self.holds_no_answer()
        return ordered(tables, place)

    def everything(self) -> pa.Table:
        """All records, asked for or not, as an Arrow table. Raises SailsimError where there are none."""
        tables = [chunks.read(path) for path in self.chunks()]
        if not tables:
            raise self.holds_nothing()
        return pa.concat_tables(tables, promote_options="permissive")

    def asked(self, group: str | None = None) -> list[str] | None:
        """Keys of what was asked for last, in order; None if nothing was."""
        table = self._asked_table()
        if table is None:
            return None
        if group is not None:
            table = table.filter(pc.field("group") == group)
        keys: list[str] = table.column("key").to_pylist()
        return keys

    def _asked_table(self) -> pa.Table | None:
        name = self.manifest.get("asked")
        if name is None:
            return None
        if not chunks.ASKED.fullmatch(str(name)):
            raise SailsimError(
                f"manifest of {self.path} names {name!r} as what was asked for, which is none."
            )
        return chunks.read(self.path / name, ["key", "group"])

    def compact(self, small: int = SMALL_FILES, rows: int = WHOLE_ROWS) -> None:
        """Put chunks together where there are more than so many, up to so many rows in each. The caller holds
        the lock."""
        files = self.chunks()
        if len(files) <= small:
            return
        group: list[Path] = []
        held = 0
        for path in files:
            count = chunks.rows(path)
            if held + count > rows:
                self._merge(group)
                group, held = [], 0
            group.append(path)
            held += count
        self._merge(group)

    def _merge(self, files: Sequence[Path]) -> None:
        if len(files) < 2:
            return
        tables = [chunks.read(path) for path in files]
        place: dict[str, int] = {}
        for table in tables:
            for key in table.column("key").to_pylist():
                place.setdefault(key, len(place))
        whole = self._add_chunk(ordered(tables, place))
        for path in files:
            if path != whole:
                path.unlink()

    def replace_chunk(self, path: Path, table: pa.Table | None) -> None:
        """Have a chunk hold these records instead; None or no row: it goes. The caller holds the lock."""
        whole = self._add_chunk(table) if table is not None and table.num_rows else None
        if path != whole:
            path.unlink()

    def leftovers(self) -> list[Path]:
        """Files of ours that nothing needs: half written ones, and lists of what was asked for before.

        They may be another study's that runs; of a folder that the caller holds they are not.
        """
        asked = self.manifest.get("asked")
        halves = [p for f in (self.path, self._chunks) if f.is_dir() for p in sorted(f.iterdir())]
        old = [
            p for p in halves if p.parent == self.path and chunks.ASKED.fullmatch(p.name) and p.name != asked
        ]
        return [p for p in halves if _OURS.fullmatch(p.name)] + old

    def chunks(self) -> list[Path]:
        """The files of records, complete ones only; in no order that means anything."""
        return sorted(self._chunks.glob("*.parquet"))

    def _add_chunk(self, table: pa.Table) -> Path:
        content = parquet_bytes(table)
        path = self._chunks / f"{chunks.digest(content)}.parquet"
        self._replace(path, content)
        return path

    def _replace(self, path: Path, content: bytes) -> None:
        try:
            write_whole(path, content)
        except OSError as error:
            raise self._unwritable(error) from None

    def holds_nothing(self) -> SailsimError:
        """What is wrong with a folder that no study wrote."""
        return SailsimError(f"folder {self.path} holds no results; allowed is the folder of a study.")

    def holds_no_answer(self) -> SailsimError:
        """What is wrong with a folder whose study was stopped before it found anything."""
        return SailsimError(
            f"folder {self.path} holds no results of what was asked for; the same command as before goes on "
            "from there."
        )

    def _unwritable(self, error: OSError) -> SailsimError:
        return SailsimError(
            f"folder {self.path} cannot be written: {error.strerror}; what was stored before is kept, and "
            "the same command goes on from there."
        )


def command_of(manifest: Mapping[str, Any]) -> str:
    """The command that made a folder, without the folder, as its manifest has it: a plan by its file."""
    words = ["sailsim", str(manifest.get("kind", "sweep"))]
    for name, value in manifest.get("config", {}).items():
        for each in value if isinstance(value, list) else [value]:
            if each is True:
                words.append(f"--{name.replace('_', '-')}")
            elif each not in (None, False, ""):
                words += [f"--{name.replace('_', '-')}", str(each["file"] if type(each) is dict else each)]
    return shlex.join(words)


def now() -> str:
    """The time in UTC, sortable, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _checksum(manifest: Mapping[str, Any]) -> str:
    return chunks.digest(json.dumps(manifest, sort_keys=True).encode())


def _held_alone(lock: IO[str]) -> bool:
    """Whether the lock could be taken for this process alone, which holds it until the file is closed."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
