"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


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
