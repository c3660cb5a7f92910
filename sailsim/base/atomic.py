"""Atomic file writes, and readers of files with one JSON record a line."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.resources.abc import Traversable
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO

from sailsim.base.errors import SailsimError


def parse_records(text: str, path: object = "the text") -> dict[str, Any]:
    """Document of a text that has on each line a JSON object with one key.

    The key ``name`` sets a value, ``name[]`` appends to a list, ``name.key`` sets an entry of a mapping.
    Raises SailsimError, with ``path`` and the line's number, for a line of another form.
    """
    document: dict[str, Any] = {}
    for at, line in enumerate(text.splitlines(), 1):
        try:
            ((where, value),) = json.loads(line).items()
            name, dot, key = where.partition(".")
            if dot:
                document.setdefault(name, {})[key] = value
            elif where.endswith("[]"):
                document.setdefault(where[:-2], []).append(value)
            else:
                document[name] = value
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            raise SailsimError(
                f"{path}, line {at}, is no record; allowed is a JSON object with one key."
            ) from error
    return document


def read_records(path: Traversable) -> dict[str, Any]:
    """Document of a file. Raises SailsimError as `parse_records`, and OSError."""
    return parse_records(path.read_text("utf-8"), path)


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new binary file that replaces ``path`` when the block ends without an exception.

    The data go to a temporary file in the same folder and reach the disk before the rename. On any error, a
    full disk included, the temporary file is removed and ``path`` stays as it was. Temporary files of killed
    writers of ``path`` are removed too. An existing ``path`` must be a plain file.

    Raises:
        OSError: the file cannot be written; ``filename`` is ``path`` and ``strerror`` says why.
    """
    path = Path(path)
    partial = path.parent / f".{path.name}.{os.getpid()}.partial"
    try:
        if path.exists() and not path.is_file():
            raise OSError(None, "it is no plain file")
        _remove_stale(path)
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        # NumPy's own short writes carry no error number, and all others name the temporary file.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _remove_stale(path: Path) -> None:
    """Remove temporary files of ``path`` whose writers have ended."""
    name = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.partial")
    with suppress(PermissionError):  # a folder may be writable and not be readable
        for other in path.parent.iterdir():
            found = name.fullmatch(other.name)
            if found and not is_alive(int(found[1])):
                other.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether a process with this number runs on this computer."""
    try:
        with suppress(PermissionError):  # another user's
            os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    return True


def require_disk_space(path: str | os.PathLike[str], size: int, what: str, fewer: str) -> None:
    """Raise SailsimError unless the disk of ``path`` has room for ``size`` bytes.

    ``what`` names the file and ``fewer`` what a smaller one has fewer of. A missing folder is left to the
    writer to report.
    """
    with suppress(OSError):
        free = shutil.disk_usage(Path(path).parent).free
        if size > free:
            raise SailsimError(
                f"{path}: {what} would have {size} bytes; allowed are {free}, the disk's room: choose fewer "
                f"{fewer}."
            )


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically; create missing folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(content)


def write_csv(path: Path, names: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table of some columns as a CSV file that appears whole, and the folders above it."""
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows(rows)
    write_whole(path, text.getvalue().encode())


def _sync_folder(path: Path) -> None:
    """Flush a folder's entries, and so a rename, to the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
