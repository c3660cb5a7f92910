"""The folder of a study: what was asked for, what was found, and one process at a time that writes.

A folder holds `study.sqlite`, a SQLite database, and `.lock`, which the one study that may write holds. Of
the database's two tables `records` has the records of each key, and `study` three rows: the manifest (what
was run, by which code, when), the keys that were asked for last, in order, and how many keys are stored.
Contents are JSON, compressed by zlib, whose checksum tells of a changed bit. Whatever ends a study - an
error, a full disk, `kill -9` - each transaction is there whole or not at all. Other files in the folder are
nobody's business here.
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
"""Columns that a study adds to every record."""
FILE = "study.sqlite"
TABLES = tuple(
    f"CREATE TABLE {name} (name TEXT PRIMARY KEY, content BLOB) WITHOUT ROWID"
    for name in ("records", "study")
)
PATIENCE_S = 0.5
"""How long a study waits for a folder: whoever reads a manifest holds its lock for an instant, and so does a
child of a study that was killed, until it has become the program that it was made for."""
BUSY_S = 60.0
"""How long to wait for another process that has the database to itself: at a study's end, for an instant."""

Record = dict[str, Any]


class Store:
    """The results of a folder. Reading takes no lock; writing needs `locked`."""

    def __init__(self, out_dir: str | Path) -> None:
        self.path = Path(out_dir)
        self.file = self.path / FILE
        self._database: sqlite3.Connection | None = None
        self._stored = 0
        self._asked = False

    # --- Writing ---

    @contextmanager
    def locked(self, kind: str) -> Iterator[None]:
        """Hold the folder for writing; it is created if needed. `kind` is the command that writes.

        Raises:
            SailsimError: another process holds it, it cannot be written, it is damaged, or it is of another
                command.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
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
        """The database, made if needed. While a study runs others can read it, as it keeps what is new in a
        log beside it; behind a study it is one file again, which also a folder that is read-only may hold."""
        self._asked = False
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
                    with suppress(sqlite3.Error):  # somebody reads it, or the disk is full: another time
                        self._database.execute("PRAGMA busy_timeout = 0")
                        self._database.execute("PRAGMA journal_mode = DELETE")
        finally:
            self._database = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The database of a folder that is `locked`, in a transaction once a statement writes."""
        assert self._database is not None, "the folder is not locked"
        try:
            with self._database:
                yield self._database
        except sqlite3.Error as error:
            raise self._unwritable(error) from None

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add records: after the call all of them are on disk, or none. The caller holds the lock.

        Records carry the columns `RESERVED`; other values are what JSON has. A key may have several records,
        all given at once: one that is stored keeps those that it has.

        Raises:
            SailsimError: the disk is full or the folder cannot be written; nothing that was stored is lost.
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

    def ask(self, keys: Sequence[str], manifest: Mapping[str, Any], group: str = "") -> None:
        """Say what the folder's answer is: the records of these keys, in this order, behind those that were
        asked for in other groups. The caller holds the lock."""
        groups = self._load()[0].get("asked", {})
        groups.pop(group, None)
        groups[group] = list(dict.fromkeys(keys))
        with self._writing() as database:
            self._write(database, asked=groups, manifest=manifest)
        self._asked = True

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest; one that belongs to an earlier answer stays until `ask` has given another.
        The caller holds the lock."""
        if self._asked:
            with self._writing() as database:
                self._write(database, manifest=manifest)

    def _write(self, database: sqlite3.Connection, **rows: Any) -> None:
        packed = [(name, _packed(content)) for name, content in rows.items()]
        database.executemany("INSERT OR REPLACE INTO study VALUES (?, ?)", packed)

    # --- Reading ---

    @property
    def manifest(self) -> dict[str, Any]:
        """What was run; empty if nothing was. Of a study that was killed the state is "stopped".

        Raises:
            SailsimError: the file is damaged, or no study's.
        """
        manifest: dict[str, Any] = self._load()[0].get("manifest", {})
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
        """All keys that have records, asked for or not."""
        return {key for (key,) in self._load("SELECT name FROM records")[1]}

    def asked(self, group: str | None = None) -> list[str] | None:
        """Keys of what was asked for last, in order; None if nothing was."""
        groups: dict[str, list[str]] | None = self._load()[0].get("asked")
        if groups is None:
            return None
        return list(dict.fromkeys(key for name in groups if group in (None, name) for key in groups[name]))

    def of_keys(self, keys: Sequence[str]) -> list[list[Record]]:
        """The records of each key, asked for or not, in their order; none where it is not stored."""
        select = "SELECT name, content FROM records WHERE name IN (SELECT value FROM json_each(?))"
        found = dict(self._load(select, json.dumps(list(keys)))[1])
        return [aligned(self._unpacked(key, found[key])) if key in found else [] for key in keys]

    def records(self, group: str | None = None) -> list[Record]:
        """The records of what was asked for last, in the order in which it was asked for; of one group, or of
        all. Those of a key keep their order.

        Each has all columns (`aligned`). Raises SailsimError if there is nothing to read.
        """
        asked = self.asked(group)
        if asked is None:
            raise SailsimError(f"folder {self.path} holds no results; allowed is the folder of a study.")
        study, stored = self._load("SELECT name, content FROM records")
        rows = dict(stored)
        if len(rows) != study.get("stored", 0):
            raise self._damaged(f"it has {len(rows)} keys of {study.get('stored', 0)}")
        if not rows.keys() >= set(asked):
            for key, content in rows.items():  # a key may be damaged; its records tell
                self._unpacked(key, content)
        found = [each for key in asked if key in rows for each in self._unpacked(key, rows[key])]
        if not found:
            raise SailsimError(
                f"folder {self.path} holds no results of what was asked for; the same command as before goes "
                "on from there."
            )
        return aligned(found)

    def frame(self, group: str | None = None) -> pd.DataFrame:
        """As `records`, as a frame."""
        import pandas as pd

        return pd.DataFrame(self.records(group))

    def _load(self, select: str = "", *values: str) -> tuple[dict[str, Any], list[Any]]:
        """What the table `study` has, and the rows of a SELECT, of one moment; nothing where no study is."""
        if not self.file.exists():
            return {}, []
        check_regular(self.file, "results file")
        # Where a folder cannot be written SQLite can make no log to read by; without one none is needed.
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
                if not all(isinstance(study.get(name, {}), dict) for name in ("manifest", "asked")):
                    raise self._damaged("its manifest is not a study's")
                return study, database.execute(select, values).fetchall() if select else []
        except (sqlite3.Error, zlib.error, ValueError, TypeError, RecursionError) as error:
            raise self._damaged(error) from None

    def _unpacked(self, key: str, content: bytes) -> list[Record]:
        """The records of a key. Raises SailsimError where they are not what was written, or not a study's."""
        try:
            found: list[Record] = _unpacked(content)
            if all(record.get("key") == key and record.keys() >= set(RESERVED) for record in found):
                return found
        except (zlib.error, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise self._damaged(error) from None
        raise self._damaged("a record is another key's, or no study's")

    def _connected(self, mode: str) -> sqlite3.Connection:
        """A connection whose transactions begin with a statement that writes, unless one begins them."""
        where = f"file:{quote(os.fsencode(self.file.absolute()))}?mode={mode}"
        try:
            return sqlite3.connect(where, uri=True, timeout=BUSY_S)
        except sqlite3.Error as error:
            raise (self._unwritable(error) if mode == "rwc" else self._damaged(error)) from None

    # --- What is wrong ---

    def _damaged(self, reason: object) -> SailsimError:
        if isinstance(reason, SailsimError):  # that says so already
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
    """A value that JSON does not know: a number of NumPy's, a mapping of another kind."""
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
    """The records with the columns of all of them, in the order of the first that has each; what a record has
    not is None."""
    empty = dict.fromkeys(name for record in records for name in record)
    return [empty | dict(record) for record in records]


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
