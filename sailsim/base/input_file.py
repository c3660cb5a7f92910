"""Readers of files that a user names: regular files only, up to a size limit for each kind.

A pipe would wait for a writer, and a device may have no end. Callers that map large files into memory use
`check_regular` alone.
"""

import hashlib
import stat
from contextlib import suppress
from importlib.resources.abc import Traversable
from pathlib import Path

from sailsim.base.errors import SailsimError

READABLE = "a readable file"
Stamp = tuple[int, int, int]
"""Modification time (ns), size (bytes) and inode of a file, which tell whether it changed."""
MAX_TEXT_BYTES = 64 << 20
"""Size limit of texts and manifests, in bytes."""

_CHUNK_BYTES = 1 << 18
_OTHER_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def check_regular(path: Path, what: str, allowed: str = READABLE) -> int:
    """Size of a regular file in bytes, without opening it.

    Args:
        path: path of the file.
        what: kind of the file for messages, such as "GGUF file".
        allowed: allowed files, for messages.

    Raises:
        SailsimError: there is no such file, or it is not a regular one.
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
    """Content of a file of at most ``most`` bytes; other arguments as for `check_regular`.

    Raises:
        SailsimError: as `check_regular`; the file cannot be read or is larger.
    """
    too_large = SailsimError(f"{what} {path} is larger than {most} bytes, which none may be.")
    # A shipped file may lie in an archive; some regular files (in /proc) have more bytes than their size.
    if isinstance(path, Path) and check_regular(path, what, allowed) > most:
        raise too_large
    data = bytearray()
    try:
        with path.open("rb") as file:
            # In chunks: memory for `most` bytes at once is more than nearly every file needs.
            while len(data) <= most and (chunk := file.read(_CHUNK_BYTES)):
                data += chunk
    except OSError as error:
        raise unreadable(path, what, error, allowed) from None
    if len(data) > most:
        raise too_large
    return bytes(data)


def read_text(path: Traversable, what: str, most: int, allowed: str = "a file of UTF-8 text") -> str:
    """Text of a UTF-8 file of at most ``most`` bytes.

    Raises:
        SailsimError: as `read_bytes`; the file is not UTF-8.
    """
    data = read_bytes(path, what, most, allowed)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise unreadable(path, what, error, allowed) from None


def sha256_of(path: Path, what: str) -> str:
    """SHA-256 of a file of any size, hexadecimal. Raises SailsimError for an unreadable file."""
    check_regular(path, what)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, what, error) from None


def unreadable(path: Traversable, what: str, error: Exception, allowed: str = READABLE) -> SailsimError:
    """SailsimError for a file that could not be read."""
    reason = getattr(error, "strerror", None) or str(error)
    return SailsimError(f"{what} {path} cannot be read: {reason}; allowed is {allowed}.")


def stamp(path: Path | None) -> Stamp:
    """Modification time, size and inode of a file; zeros where there is none."""
    with suppress(OSError):
        if path is not None:
            stat = path.stat()
            return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return (0, 0, 0)
