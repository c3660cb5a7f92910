"""Headers of safetensors files: names, types, shapes and offsets of tensors, with every number checked.

A file is 8 bytes with the header's length, the header as JSON, and the tensors' bytes. Each size is checked
against the file's before it is used. A tensor's bytes are read on demand. The package safetensors does not
give tensors' offsets, and has no BF16 for NumPy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import check_regular, read_bytes, unreadable

MAX_HEADER = 16 << 20
"""Largest header in bytes: several times the largest published one; parsed, it takes several times that."""

MAX_TENSORS = 1 << 18
"""Most tensors of a file or an index; 60 blocks with 256 experts of three matrices each have 46,080."""

DTYPES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Bytes of an element by data type."""

MAX_METADATA = 4 << 20

_LENGTH = 8
_KIND = "safetensors file"


@dataclass(frozen=True)
class StoredTensor:
    """Tensor of a model file: its shape as the file writes it; its bytes begin at ``offset``.

    A matrix has its outputs first in a safetensors file, and K first in a GGUF file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    n_bytes: int
    path: Path
    offset: int

    @property
    def type(self) -> str:
        """Data type in lower case, as ggml names types."""
        return self.dtype.lower()

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def read(self) -> npt.NDArray[np.uint8]:
        """Read the stored bytes. Raises SailsimError where the file is unreadable or has become shorter."""
        try:
            data = np.fromfile(self.path, np.uint8, self.n_bytes, offset=self.offset)
        except OSError as error:
            raise unreadable(self.path, _KIND, error) from error
        if data.size != self.n_bytes:
            raise SailsimError(
                f"{_KIND} {self.path}: {printable(self.name)} has {data.size} bytes; allowed are "
                f"{self.n_bytes}, as its header says."
            )
        return data


def read_json(path: Path, most: int = MAX_HEADER) -> dict[str, Any]:
    """Read a JSON object. Raises SailsimError for another value, a file too large, or a repeated key."""
    return _table(f"file {path}", read_bytes(path, "file", most))


def safe_tensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file by name. Raises SailsimError for a damaged header."""
    where = f"{_KIND} {path}"
    entries, begin, size = _header(path)
    entries.pop("__metadata__", None)
    if len(entries) > MAX_TENSORS:
        raise SailsimError(f"{where}: it has {len(entries)} tensors; allowed are {MAX_TENSORS}.")
    tensors = {name: _tensor(path, name, entry, begin, size - begin) for name, entry in entries.items()}
    by_offset = sorted(tensors.values(), key=lambda tensor: (tensor.offset, tensor.offset + tensor.n_bytes))
    for before, after in pairwise(by_offset):
        end = before.offset + before.n_bytes
        if end > after.offset:
            raise SailsimError(
                f"{where}: the data of {printable(after.name)} start at {after.offset - begin}; allowed is "
                f"behind those of {printable(before.name)}, which end at {end - begin}."
            )
    return tensors


def safe_metadata(path: Path, name: str) -> dict[str, Any]:
    """Parse one entry of a file's metadata as a JSON object. Raises SailsimError where it is absent."""
    metadata = _header(path)[0].get("__metadata__")
    text = metadata.get(name) if isinstance(metadata, dict) else None
    if not isinstance(text, str) or len(text) > MAX_METADATA:
        raise SailsimError(
            f"{_KIND} {path}: {name} of its metadata is {printable(repr(text))}; allowed is a text of at "
            f"most {MAX_METADATA} characters."
        )
    return _table(f"{_KIND} {path}", text.encode())


def safe_header(tensors: Mapping[str, tuple[str, Sequence[int]]], metadata: Mapping[str, str]) -> bytes:
    """Build a file's header for consecutive tensors, given as data type and shape by name.

    It is padded with spaces to a multiple of 64 bytes.
    """
    table: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + prod(shape) * DTYPES[dtype]
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-(_LENGTH + len(text)) % 64)
    return len(text).to_bytes(_LENGTH, "little") + text


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """Entries of a file's header, the offset of its data, and its size in bytes."""
    where = f"{_KIND} {path}"
    size = check_regular(path, _KIND)
    if size < _LENGTH:
        raise SailsimError(
            f"{where}: its size is {size} bytes; allowed are {_LENGTH} or more, the length of its header "
            "first."
        )
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(_LENGTH), "little")
            most = min(MAX_HEADER, size - _LENGTH)
            if length > most:
                raise SailsimError(
                    f"{where}: the length of its header is {length}; allowed is at most {most}, as it has "
                    f"{size} bytes."
                )
            content = stream.read(length)
    except OSError as error:
        raise unreadable(path, _KIND, error) from error
    return _table(where, content), _LENGTH + length, size


def printable(name: str) -> str:
    """Make a name from a file printable and short, for error messages."""
    return "".join(c if c.isprintable() else "?" for c in name[:80])


def _table(where: str, content: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            raise ValueError("a key is there twice")
        return table

    try:
        table = json.loads(content, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else printable(str(error))
        raise SailsimError(f"{where}: its JSON cannot be read ({why}); allowed is a table.") from None
    if not isinstance(table, dict):
        raise SailsimError(f"{where}: its JSON is {repr(table)[:80]}; allowed is a table.")
    return table


def _tensor(path: Path, name: str, entry: Any, begin: int, room: int) -> StoredTensor:
    """Check a header's entry against the ``room`` bytes of data from ``begin`` on."""

    def refuse(field: str, value: object, allowed: str) -> SailsimError:
        value = printable(repr(value))
        return SailsimError(f"{_KIND} {path}: {field} of {printable(name)} is {value}; allowed is {allowed}.")

    if not isinstance(entry, dict):
        raise refuse("the entry", entry, "a table")
    dtype, shape, offsets = (entry.get(field) for field in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise refuse("dtype", dtype, f"one of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or len(shape) > 8 or not all(map(_is_size, shape)):
        raise refuse("shape", shape, "up to 8 whole numbers from 0 on")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise refuse("data_offsets", offsets, "two whole numbers")
    start, end = offsets
    n_bytes = prod(shape) * DTYPES[dtype]
    if end > room or end - start != n_bytes:
        allowed = f"{n_bytes} bytes by dtype and shape, inside the {room} of the data"
        raise refuse("data_offsets", offsets, allowed)
    return StoredTensor(name, dtype, tuple(shape), n_bytes, path, begin + start)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62
