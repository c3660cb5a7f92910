"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, BinaryIO

from sailsim.base.errors import SailsimError


def from_lines(text: str, path: object = "the text") -> dict[str, Any]:
    """The document of a text with a JSON object of one key a line: a name with its value, ``name[]`` with the
    next item of a list, or ``name.key`` with an entry of a mapping. Raises SailsimError with ``path`` and the
    line that is none."""
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
    """The document of a file. Raises SailsimError as `from_lines`, and OSError."""
    return from_lines(path.read_text("utf-8"), path)


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new binary file that takes the place of ``path`` when the block ends without an exception.

    It is written beside ``path``, in a folder that exists, and reaches the disk before it is renamed. On any
    error, a full disk included, it is removed and ``path`` stays as it was; what an earlier writer of
    ``path`` left that was killed is removed too. What stands at ``path`` must be a plain file: a folder
    cannot be replaced, and a device should not be.

    Raises:
        OSError: it cannot be written; ``filename`` is ``path`` and ``strerror`` says why.
    """
    path = Path(path)
    partial = path.parent / f".{path.name}.{os.getpid()}.partial"
    try:
        if path.exists() and not path.is_file():
            raise OSError(None, "it is no plain file")
        _remove_halves(path)
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
        # NumPy's own short writes carry no error number, and all others name the file beside `path`.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _remove_halves(path: Path) -> None:
    """Remove the files beside ``path`` whose writers are no more: nobody else knows of them."""
    name = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.partial")
    with suppress(PermissionError):  # a folder may be writable and not be readable
        for beside in path.parent.iterdir():
            found = name.fullmatch(beside.name)
            if found and not is_alive(int(found[1])):
                beside.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # another user's
    return True


def require_room(path: str | os.PathLike[str], size: int, what: str, fewer: str) -> None:
    """Raise SailsimError where a file's disk has less room than its ``size`` in bytes; a folder that is none
    is for the writer to tell. ``fewer``: of what a smaller one has fewer."""
    with suppress(OSError):
        free = shutil.disk_usage(Path(path).parent).free
        if size > free:
            raise SailsimError(
                f"{path}: {what} would have {size} bytes; allowed are {free}, the disk's room: choose fewer "
                f"{fewer}."
            )


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` as `atomic_file` does; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(content)


def _sync_folder(path: Path) -> None:
    """Have the rename itself reach the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
