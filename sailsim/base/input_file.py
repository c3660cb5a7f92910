"""The one reader of files that a user names: regular files only, of no more bytes than their kind may have.

A pipe would wait for a writer, and a device may have no end. Big files that are mapped into memory ask for
`check_regular` alone.
"""

import hashlib
import stat
from importlib.resources.abc import Traversable
from pathlib import Path

from sailsim.base.errors import SailsimError

READABLE = "a readable file"
Stamp = tuple[int, int, int]
"""Time in ns, size in bytes and number of a file, which tell whether it changed."""
MAX_TEXT = 64 << 20
"""Bytes of a text that a model reads, and of a study's manifest."""

_PIECE = 1 << 18
_OTHER_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def check_regular(path: Path, what: str, allowed: str = READABLE) -> int:
    """The size of a file in bytes. It is not opened.

    Args:
        path: of the file.
        what: it is, for errors: "GGUF file".
        allowed: what may stand there, for errors.

    Raises:
        SailsimError: there is none, or it is no regular file.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a path with a character 0
        raise unreadable(path, what, error, allowed) from None
    kind = next((name for is_kind, name in _OTHER_KINDS if is_kind(status.st_mode)), None)
    if kind is not None:
        raise SailsimError(f"{what} {path} cannot be read: it is {kind}; allowed is a regular file.")
    return status.st_size


def read_bytes(path: Traversable, what: str, most: int, allowed: str = READABLE) -> bytes:
    """A file's content, of ``most`` bytes at most. Arguments and errors as of `check_regular`.

    Raises:
        SailsimError: also where the file is larger.
    """
    if isinstance(path, Path):  # what ships may lie in an archive
        check_regular(path, what, allowed)
    data = bytearray()
    try:
        with path.open("rb") as file:
            # Piece by piece: memory for `most` bytes at once is more than nearly every file needs.
            while len(data) <= most and (piece := file.read(_PIECE)):
                data += piece
    except OSError as error:
        raise unreadable(path, what, error, allowed) from None
    if len(data) > most:
        raise SailsimError(f"{what} {path} is larger than {most} bytes, which none may be.")
    return bytes(data)


def read_text(path: Traversable, what: str, most: int, allowed: str = "a file of UTF-8 text") -> str:
    """As `read_bytes`, decoded.

    Raises:
        SailsimError: also where it is not UTF-8.
    """
    data = read_bytes(path, what, most, allowed)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise unreadable(path, what, error, allowed) from None


def sha256_of(path: Path, what: str) -> str:
    """SHA-256 of a file of any size, hexadecimal. Errors as of `check_regular`."""
    check_regular(path, what)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, what, error) from None


def unreadable(path: Traversable, what: str, error: Exception, allowed: str = READABLE) -> SailsimError:
    """What to raise for a file whose reading failed."""
    reason = getattr(error, "strerror", None) or str(error)
    return SailsimError(f"{what} {path} cannot be read: {reason}; allowed is {allowed}.")


def stamp(path: Path | None) -> Stamp:
    """What changes when a file does: its time, size and number; zeros where there is none."""
    if path is None:
        return (0, 0, 0)
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
