"""The folder of a study: its manifest, its points and their records, written by one process at a time.

A folder holds `study.sqlite`, a SQLite database, and `.lock`, which the writing study holds. The table
`records` has the records of each key. The table `study` has three rows: the manifest (command, code and
time), the keys of the folder's answer, in order ("asked"), and the number of stored keys. Contents are JSON
compressed by zlib, whose checksum detects changed bits. Each transaction is there whole or not at all,
whatever ends a study: an error, a full disk, `kill -9`. Other files in the folder are left alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import check_regular

if TYPE_CHECKING:  # a run needs no frames, and their library takes as long to load as all else together
    import pandas as pd

RESERVED = ("key", "point_key", "code_version", "finished_at", "evaluation_s")
"""Columns that a study adds to each record."""
FILE = "study.sqlite"
TABLES = tuple(
    f"CREATE TABLE {name} (name TEXT PRIMARY KEY, content BLOB) WITHOUT ROWID"
    for name in ("records", "study")
)
PATIENCE_S = 0.5
"""Seconds that a study waits for a folder. A reader of its manifest holds the lock for an instant, and so
does the child of a killed study between its fork and its exec."""
BUSY_S = 60.0
"""Seconds to wait for a process that has the database to itself, as for an instant at a study's end."""

Record = dict[str, Any]


class Store:
    """Results in a folder. Reading takes no lock; writing needs `locked`."""

    def __init__(self, out_dir: str | Path) -> None:
        self.path = Path(out_dir)
        self.file = self.path / FILE
        self._database: sqlite3.Connection | None = None
        self._stored = 0
        self._has_answer = False

    # --- Writing ---

    @contextmanager
    def locked(self, kind: str) -> Iterator[None]:
        """Lock the folder for writing by the command `kind`; it is created if needed.

        Raises:
            SailsimError: the folder is locked by another process, cannot be written, is damaged, or holds
                results of another command.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("a+")
        except OSError as error:
            raise self._unwritable(error) from None
        with lock:
            if not _is_locked(lock):
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
            except OSError as error:
                raise self._unwritable(error) from None
            other = self.manifest.get("kind", kind)
            if other != kind:
                raise SailsimError(
                    f"folder {self.path} holds results of `sailsim {other}`; allowed for `sailsim {kind}` is "
                    "another folder."
                )
            with self._opened():
                yield

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """Open the database, made if needed. During a study others can read it, as SQLite keeps a write-ahead
        log. Afterwards it is one file again, which can be read in a read-only folder too."""
        self._has_answer = False
        try:
            with closing(self._connected("rwc")) as self._database:
                with self._writing() as database:
                    database.execute("PRAGMA journal_mode = WAL")
                    database.execute("PRAGMA synchronous = FULL")
                    database.execute("BEGIN IMMEDIATE")
                    for table in TABLES:
                        database.execute(table.replace("TABLE", "TABLE IF NOT EXISTS"))
                    (self._stored,) = database.execute("SELECT count(*) FROM records").fetchone()
                try:
                    yield
                finally:
                    with suppress(sqlite3.Error):  # another process reads it, or the disk is full
                        self._database.execute("PRAGMA busy_timeout = 0")
                        self._database.execute("PRAGMA journal_mode = DELETE")
        finally:
            self._database = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Database of a `locked` folder, in a transaction from the first statement that writes."""
        assert self._database is not None, "the folder is not locked"
        try:
            with self._database:
                yield self._database
        except sqlite3.Error as error:
            raise self._unwritable(error) from None

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add records, all of them or none. The caller holds the lock.

        Records have the columns `RESERVED`; other values are JSON-able. The records of a key come in one
        call. A key that is stored already keeps its records.

        Raises:
            SailsimError: the disk is full or the folder cannot be written; earlier records are kept.
        """
        by_key: dict[str, list[Mapping[str, Any]]] = {}
        for record in records:
            by_key.setdefault(record["key"], []).append(record)
        rows = [(key, _packed(own)) for key, own in by_key.items()]
        if not rows:
            return
        with self._writing() as database:
            found = database.executemany("INSERT INTO records VALUES (?, ?) ON CONFLICT DO NOTHING", rows)
            self._write(database, stored=self._stored + found.rowcount)
        self._stored += found.rowcount

    def set_answer(self, keys: Sequence[str], manifest: Mapping[str, Any], group: str = "") -> None:
        """Make the records of these keys, in this order, the folder's answer, after those of other groups.
        The caller holds the lock."""
        groups = self._load()[0].get("asked", {})
        groups.pop(group, None)
        groups[group] = list(dict.fromkeys(keys))
        with self._writing() as database:
            self._write(database, asked=groups, manifest=manifest)
        self._has_answer = True

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest, unless `set_answer` has not been called yet: an earlier answer keeps its
        manifest. The caller holds the lock."""
        if self._has_answer:
            with self._writing() as database:
                self._write(database, manifest=manifest)

    def _write(self, database: sqlite3.Connection, **rows: Any) -> None:
        packed = [(name, _packed(content)) for name, content in rows.items()]
        database.executemany("INSERT OR REPLACE INTO study VALUES (?, ?)", packed)

    # --- Reading ---

    @property
    def manifest(self) -> dict[str, Any]:
        """Command, code and state of the latest run; empty if there was none. A killed study is "stopped".

        Raises:
            SailsimError: the file is damaged or not a study's.
        """
        manifest: dict[str, Any] = self._load()[0].get("manifest", {})
        if manifest.get("state") == "running" and not self._in_use():
            manifest["state"] = "stopped"
        return manifest

    def _in_use(self) -> bool:
        try:
            with (self.path / ".lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return isinstance(error, BlockingIOError)
        return False

    def keys(self) -> set[str]:
        """Keys of all stored records, part of the answer or not."""
        return {key for (key,) in self._load("SELECT name FROM records")[1]}

    def answer(self, group: str | None = None) -> list[str] | None:
        """Keys of the folder's answer, of one group or of all, in order; None without a study."""
        groups: dict[str, list[str]] | None = self._load()[0].get("asked")
        if groups is None:
            return None
        return list(dict.fromkeys(key for name in groups if group in (None, name) for key in groups[name]))

    def records_of(self, keys: Sequence[str]) -> list[list[Record]]:
        """Records of each key, part of the answer or not; an empty list for a key that is not stored."""
        select = "SELECT name, content FROM records WHERE name IN (SELECT value FROM json_each(?))"
        found = dict(self._load(select, json.dumps(list(keys)))[1])
        return [aligned(self._unpacked(key, found[key])) if key in found else [] for key in keys]

    def records(self, group: str | None = None) -> list[Record]:
        """Records of the folder's answer, of one group or of all, in the order of its keys.

        Each has all columns (`aligned`). Raises SailsimError if there are none.
        """
        keys = self.answer(group)
        if keys is None:
            raise SailsimError(f"folder {self.path} holds no results; allowed is the folder of a study.")
        study, stored = self._load("SELECT name, content FROM records")
        rows = dict(stored)
        if len(rows) != study.get("stored", 0):
            raise self._damaged(f"it has {len(rows)} keys of {study.get('stored', 0)}")
        if not rows.keys() >= set(keys):
            for key, content in rows.items():  # a damaged key does not equal that of its records
                self._unpacked(key, content)
        records = [each for key in keys if key in rows for each in self._unpacked(key, rows[key])]
        if not records:
            raise SailsimError(
                f"folder {self.path} holds no results of its latest command; the same command goes on from "
                "there."
            )
        return aligned(records)

    def frame(self, group: str | None = None) -> pd.DataFrame:
        """Data frame of `records`."""
        import pandas as pd

        return pd.DataFrame(self.records(group))

    def _load(self, select: str = "", *values: str) -> tuple[dict[str, Any], list[Any]]:
        """Contents of the table `study` and the rows of a SELECT, from one moment; empty without a study."""
        if not self.file.exists():
            return {}, []
        check_regular(self.file, "results file")
        # In a read-only folder SQLite cannot make the log that it reads by; without one it needs none.
        still = not os.access(self.path, os.W_OK) and not Path(f"{self.file}-wal").exists()
        try:
            with closing(self._connected("ro&immutable=1" if still else "rw")) as database:
                database.execute("PRAGMA query_only = 1")
                database.execute("BEGIN")
                tables = tuple(sql for (sql,) in database.execute("SELECT sql FROM sqlite_master"))
                if not tables:
                    return {}, []
                if tables != TABLES:
                    raise self._damaged("its tables are not a study's")
                study = {
                    name: _unpacked(content) for name, content in database.execute("SELECT * FROM study")
                }
                groups = study.get("asked", {})
                if not isinstance(groups, dict) or not isinstance(study.get("manifest", {}), dict):
                    raise self._damaged("its manifest is not a study's")
                if not all(isinstance(keys, list) for keys in groups.values()):
                    raise self._damaged("its answer is not a study's")
                return study, database.execute(select, values).fetchall() if select else []
        except (sqlite3.Error, zlib.error, ValueError, TypeError, RecursionError) as error:
            raise self._damaged(error) from None

    def _unpacked(self, key: str, content: bytes) -> list[Record]:
        """Records of a key. Raises SailsimError if they are damaged or not a study's."""
        try:
            found: list[Record] = _unpacked(content)
            if all(record.get("key") == key and record.keys() >= set(RESERVED) for record in found):
                return found
        except (zlib.error, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise self._damaged(error) from None
        raise self._damaged("a record is another key's, or no study's")

    def _connected(self, mode: str) -> sqlite3.Connection:
        """Connection whose transactions begin at the first statement that writes, or at an explicit BEGIN."""
        where = f"file:{quote(os.fsencode(self.file.absolute()))}?mode={mode}"
        try:
            return sqlite3.connect(where, uri=True, timeout=BUSY_S)
        except sqlite3.Error as error:
            raise (self._unwritable(error) if mode == "rwc" else self._damaged(error)) from None

    # --- What is wrong ---

    def _damaged(self, reason: object) -> SailsimError:
        if isinstance(reason, SailsimError):  # already says so
            return reason
        return SailsimError(
            f"results file {self.file} is damaged or another program's ({str(reason).rstrip('.')}); remove "
            "it to run its points again."
        )

    def _unwritable(self, error: Exception) -> SailsimError:
        reason = getattr(error, "strerror", None) or error
        return SailsimError(
            f"folder {self.path} cannot be written: {reason}; what was stored before is kept, and the same "
            "command goes on from there."
        )


def _packed(content: Any) -> bytes:
    return zlib.compress(json.dumps(content, default=_plain).encode(), 1)


def _plain(value: Any) -> Any:
    """JSON-able form of a NumPy value or a mapping. Raises SailsimError for other types."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise SailsimError(
        f"record has {value!r}; allowed are numbers, texts, truth values, lists of them, and mappings."
    )


def _unpacked(content: bytes) -> Any:
    return json.loads(zlib.decompress(content))


def aligned(records: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Records extended to the columns of all of them, in order of first appearance; missing values are
    None."""
    empty = dict.fromkeys(name for record in records for name in record)
    return [empty | dict(record) for record in records]


def command_of(manifest: Mapping[str, Any]) -> str:
    """Command line that made a folder, from its manifest, without `--out`; a plan is given by its file."""
    words = ["sailsim", str(manifest.get("kind", "sweep"))]
    for name, value in manifest.get("config", {}).items():
        for each in value if isinstance(value, list) else [value]:
            if each is True:
                words.append(f"--{name.replace('_', '-')}")
            elif each not in (None, False, ""):
                words += [f"--{name.replace('_', '-')}", str(each["file"] if type(each) is dict else each)]
    return shlex.join(words)


def now() -> str:
    """Time in UTC as sortable text, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _is_locked(lock: IO[str]) -> bool:
    """Whether this process got the exclusive lock, which it holds until the file is closed."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
