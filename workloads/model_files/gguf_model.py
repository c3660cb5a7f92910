"""Decoder models in GGUF files: shapes, and the format, bytes and values of every tensor.

The header is parsed here, with each count and length checked against the file's size before use: a damaged
file ends in one sentence and never in a large allocation. The package ``gguf`` reads without such checks and
takes 160 times as long. Tensor data stay mapped until they are read, when their scales are checked too;
``gguf`` dequantizes them. The layout is ggml's ``docs/gguf.md``, version 2 and 3, little endian.
"""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import check_regular, sha256_of, unreadable
from sailsim.workloads.model_files.safetensors_file import StoredTensor, printable
from sailsim.workloads.model_files.shapes import PERIODS, ModelHeader, decoder
from sailsim.workloads.models.formats import BLOCKS, GGML_SOURCE, TENSOR_FORMATS, TensorFormat, WeightFormat
from sailsim.workloads.models.model import ModelSpec, has_own_formats, model_names

_IQ1_M_SCALES = 48
"""Byte of an IQ1_M block where four words begin whose highest four bits are its scale, the lowest first."""

_EXPONENT = {"fp16": 0x7C00, "bf16": 0x7F80, "f32": 0x7F800000}
"""Exponent bits by format; all ones mean a NaN or an infinity."""


def first_bad_block(kind: str, blocks: npt.NDArray[np.uint8]) -> int | None:
    """Index of the first block with a scale, or of floats a value, that is a NaN or an infinity.

    ``blocks`` are a tensor's bytes (blocks, bytes per block). None where every block is sound, and for types
    whose scales are unknown here.
    """
    if kind == "mxfp4":  # a power of two; all ones mean NaN
        bad = blocks[:, 0] == 255
    elif kind == "iq1_m":
        words = [_words(blocks, _IQ1_M_SCALES + 2 * i) >> 12 << (4 * i) for i in range(4)]
        bad = _is_not_finite(np.bitwise_or.reduce(words), "fp16")
    elif kind in ("f32", "bf16"):
        bad = _is_not_finite(_words(blocks, 0, 4 if kind == "f32" else 2), kind)
    else:
        places = BLOCKS[kind].fp16 if kind in BLOCKS else ()
        bad = np.logical_or.reduce([_is_not_finite(_words(blocks, at), "fp16") for at in places])
    return int(bad.argmax()) if bad.any() else None


def _words(blocks: npt.NDArray[np.uint8], at: int, size: int = 2) -> npt.NDArray[Any]:
    """Little-endian word of ``size`` bytes at byte ``at`` of every block, both multiples of it.

    The result is a view: copying two bytes out of each block takes NumPy longer than all later steps.
    """
    return np.ascontiguousarray(blocks).view(f"<u{size}")[:, at // size]


def _is_not_finite(words: npt.NDArray[Any], kind: str) -> npt.NDArray[np.bool_]:
    return np.asarray((words & _EXPONENT[kind]) == _EXPONENT[kind])


_KIND = "GGUF file"
MAGIC = b"GGUF"

VERSIONS = (2, 3)

MAX_DIMS = 4

DEFAULT_ALIGNMENT = 32

_STRING, _ARRAY = 8, 9

_LENGTH = struct.Struct("<Q")

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

MAX_KEYS = MAX_TENSORS = 1 << 16
MAX_TEXTS = 1 << 21
"""Most texts in all arrays of a header: several times the largest vocabulary with its merges.

A text may be empty, so a small file could hold any number.
"""

_PIECE = 1 << 20
"""Bytes of a file that are checked together: as many as a second-level cache holds."""

# Fewest bytes that a key-value pair (length, type, one byte) and a tensor entry can take.
_MIN_PAIR_BYTES, _MIN_TENSOR_BYTES = 13, 32


_LazyArray = tuple[int, int, int]
"""Array of the header that is decoded on demand: type of its items, their number, offset of the first.

Vocabularies are large and rarely needed.
"""


class _Cursor:
    """Reader of little-endian values that refuses to step over the end of the file."""

    def __init__(self, path: Path, data: memoryview) -> None:
        self.path, self.data, self.at = path, data, 0
        self.texts = 0

    def fail(self, field: str, value: object, allowed: str) -> SailsimError:
        # Names come from the file: they may be long or hold line breaks.
        return SailsimError(
            f"{_KIND} {self.path}: {printable(field)} is {repr(value)[:80]}; allowed is {allowed}."
        )

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def skip(self, count: int, field: str) -> int:
        """Move over ``count`` bytes and return the offset of the first."""
        if count > self.left:
            raise self.fail(
                f"{field} at byte {self.at}", f"{count} bytes", f"at most the {self.left} bytes left"
            )
        start = self.at
        self.at += count
        return start

    def scalar(self, code: str, field: str) -> Any:
        start = self.skip(struct.calcsize("<" + code), field)
        return struct.unpack_from("<" + code, self.data, start)[0]

    def text(self, field: str) -> str:
        length = self.scalar("Q", f"the length of {field}")
        start = self.skip(length, field)
        try:
            return bytes(self.data[start : start + length]).decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(field, bytes(self.data[start : start + min(length, 16)]), "UTF-8 text") from None

    def count(self, field: str, least_bytes: int) -> int:
        """Read a number of entries that take at least ``least_bytes`` each."""
        value: int = self.scalar("Q", field)
        if value * least_bytes > self.left:
            raise self.fail(field, value, f"at most {self.left // least_bytes} in the {self.left} bytes left")
        return value

    def value(self, kind: int, field: str) -> Any:
        if kind == _STRING:
            return self.text(field)
        if kind == _ARRAY:
            return self.array(field)
        if kind not in _SCALARS:
            raise self.fail(f"the type of {field}", kind, "a GGUF value type 0..12")
        return self.scalar(_SCALARS[kind], field)

    def _skip_texts(self, count: int, field: str) -> None:
        # A vocabulary takes most of a header's time, so a sound text is skipped without a call of `skip`.
        data, at, last = self.data, self.at, len(self.data) - _LENGTH.size
        for _ in range(count):
            if at > last:
                break
            following = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
            if following > len(data):
                break
            at = following
            count -= 1
        self.at = at
        if count:  # the text that does not fit is refused by name
            self.skip(self.scalar("Q", f"a string length in {field}"), f"a string in {field}")

    def array(self, field: str) -> _LazyArray:
        kind = self.scalar("I", f"the item type of {field}")
        if kind != _STRING and kind not in _SCALARS:
            raise self.fail(f"the item type of {field}", kind, "a scalar or string type")
        size = 8 if kind == _STRING else struct.calcsize("<" + _SCALARS[kind])
        count = self.count(f"the length of {field}", size)
        array = kind, count, self.at
        if kind == _STRING:
            self.texts += count
            if self.texts > MAX_TEXTS:
                raise self.fail(f"the length of {field}", count, f"{MAX_TEXTS} texts in all arrays together")
            self._skip_texts(count, field)
        else:
            self.skip(count * size, field)
        return array


class GgufModel:
    """GGUF file of a model: its header, its tensors, and the shapes and formats of a decoder.

    ``tensors`` are by name in file order. Raises SailsimError for a file that is not a sound GGUF; `spec` and
    `format` raise it for one that is not of a decoder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        size = check_regular(self.path, _KIND)
        if size < 24:
            raise SailsimError(
                f"GGUF file {self.path}: its size is {size} bytes; allowed is at least 24 (a header)."
            )
        try:
            self._data: npt.NDArray[np.uint8] = np.memmap(self.path, dtype=np.uint8, mode="r")
            self._view: memoryview = self._data.data
        except OSError as error:
            raise unreadable(self.path, _KIND, error) from error
        self._values: dict[str, Any] = {}
        self.tensors: dict[str, StoredTensor] = {}
        self._sound: set[str] = set()
        self._parse(_Cursor(self.path, self._view))

    def _parse(self, cursor: _Cursor) -> None:
        magic = bytes(cursor.data[:4])
        cursor.skip(4, "the magic")
        if magic != MAGIC:
            raise cursor.fail("the magic", magic, f"{MAGIC!r}")
        version = cursor.scalar("I", "the version")
        if version not in VERSIONS:
            raise cursor.fail("the version", version, "2 or 3, little endian")
        n_tensors = cursor.count("the tensor count", _MIN_TENSOR_BYTES)
        n_values = cursor.count("the key count", _MIN_PAIR_BYTES)
        for field, count, most in (("tensor", n_tensors, MAX_TENSORS), ("key", n_values, MAX_KEYS)):
            if count > most:
                raise cursor.fail(f"the {field} count", count, f"at most {most}")
        for index in range(n_values):
            key = cursor.text(f"key {index}")
            if key in self._values:
                raise cursor.fail("a key", key, "each key once")
            self._values[key] = cursor.value(cursor.scalar("I", f"the type of {key}"), key)
        alignment = self._values.get("general.alignment", DEFAULT_ALIGNMENT)
        if type(alignment) is not int or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
            raise cursor.fail("general.alignment", alignment, "a power of two up to 2**20")
        for index in range(n_tensors):
            self._parse_tensor(cursor, index)
        self._place_tensors(cursor, alignment)

    def _place_tensors(self, cursor: _Cursor, alignment: int) -> None:
        """Make the tensors' offsets those of the file. Refuses data outside it, and data that overlap."""
        start = -(-cursor.at // alignment) * alignment
        for tensor in self.tensors.values():
            offset = tensor.offset
            if offset % alignment or start + offset + tensor.n_bytes > len(cursor.data):
                raise cursor.fail(
                    f"the data of {tensor.name}",
                    f"{tensor.n_bytes} bytes at offset {offset}",
                    f"a multiple of {alignment} and inside the file's {len(cursor.data)} bytes",
                )
            self.tensors[tensor.name] = replace(tensor, offset=start + offset)
        by_offset = sorted(self.tensors.values(), key=lambda tensor: tensor.offset)
        for tensor, following in pairwise(by_offset):
            if tensor.offset + tensor.n_bytes > following.offset:
                raise cursor.fail(
                    f"the data of {following.name}",
                    f"{following.n_bytes} bytes at offset {following.offset - start}",
                    f"bytes of its own, not those of {tensor.name}",
                )

    def _parse_tensor(self, cursor: _Cursor, index: int) -> None:
        """Read a tensor's entry, whose offset counts from the begin of the data."""
        name = cursor.text(f"the name of tensor {index}")
        n_dims = cursor.scalar("I", f"the dimension count of {name}")
        if not 1 <= n_dims <= MAX_DIMS:
            raise cursor.fail(f"the dimension count of {name}", n_dims, f"1..{MAX_DIMS}")
        shape = tuple(cursor.scalar("Q", f"a dimension of {name}") for _ in range(n_dims))
        kind = cursor.scalar("I", f"the type of {name}")
        offset = cursor.scalar("Q", f"the offset of {name}")
        if name in self.tensors:
            raise cursor.fail("a tensor name", name, "each name once")
        try:
            ggml_type = GGMLQuantizationType(kind)
            block, block_bytes = GGML_QUANT_SIZES[ggml_type]
        except (ValueError, KeyError):
            raise cursor.fail(f"the type of {name}", kind, "a tensor type of ggml") from None
        if min(shape) < 1 or shape[0] % block:
            raise cursor.fail(
                f"the shape of {name}", shape, f"positive sizes, the first a multiple of {block}"
            )
        n_bytes = prod(shape) // block * block_bytes
        self.tensors[name] = StoredTensor(name, ggml_type.name.lower(), shape, n_bytes, self.path, offset)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str, default: Any = None) -> Any:
        """Value of a header key, or ``default``; arrays become lists."""
        value = self._values.get(key, default)
        return self._decode(value) if isinstance(value, tuple) else value

    def _decode(self, array: _LazyArray) -> list[Any]:
        kind, count, offset = array
        if kind == _STRING:
            cursor = _Cursor(self.path, self._view)
            cursor.at = offset
            return [cursor.text("a string") for _ in range(count)]
        return list(struct.unpack_from(f"<{count}{_SCALARS[kind]}", self._view, offset))

    def integer(self, key: str, default: int | None = None) -> int:
        """Whole number of the header. Raises SailsimError if it is absent or of another type."""
        value = self._values.get(key, default)
        if type(value) is not int:
            raise self.refusal(key, value, "a whole number")
        return value

    def number(self, key: str, default: float) -> float:
        """Floating-point number of the header. Raises SailsimError if it is of another type."""
        value = self._values.get(key, default)
        if type(value) is not float:
            raise self.refusal(key, value, "a floating-point number")
        return value

    def strings(self, key: str) -> list[str]:
        """Array of texts in the header. Raises SailsimError if it is absent or of another type."""
        value = self._values.get(key)
        if not isinstance(value, tuple) or value[0] != _STRING:
            raise self.refusal(key, value, "an array of texts")
        return self._decode(value)

    def _require_numbers(self, tensor: StoredTensor) -> None:
        """Refuse a tensor with a scale, or of floats a value, that is a NaN or an infinity.

        The tensor is read once, a piece at a time. Reading the mapped file instead would keep it in memory.
        """
        block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[tensor.type.upper()]][1]
        step = _PIECE // block_bytes * block_bytes
        for start in range(0, tensor.n_bytes, step):
            size = min(step, tensor.n_bytes - start)
            try:
                part = np.fromfile(self.path, np.uint8, size, offset=tensor.offset + start)
            except OSError as error:
                raise unreadable(self.path, _KIND, error) from error
            if part.size != size:
                raise self.refusal(f"the data of {tensor.name}", "cut short", "as long as before")
            bad = first_bad_block(tensor.type, part.reshape(-1, block_bytes))
            if bad is not None:
                value = f"no number in block {bad + start // block_bytes} of {tensor.type}"
                raise self.refusal(f"a scale of {tensor.name}", value, "finite ones")
        self._sound.add(tensor.name)

    def refusal(self, field: str, value: object, allowed: str) -> SailsimError:
        """Error for a field that is not as a decoder's; the value None stands for an absent one."""
        if value is None or isinstance(value, tuple):
            value = "absent" if value is None else "an array"
        return _Cursor(self.path, self._view).fail(field, value, allowed)

    def raw(self, name: str) -> npt.NDArray[np.uint8]:
        """Stored bytes of a matrix as rows: (n, bytes of K weights), a view of the file.

        Raises SailsimError if the tensor is absent, or has a scale, or of floats a value, that is a NaN or an
        infinity.
        """
        tensor = self._tensor(name)
        if name not in self._sound:
            self._require_numbers(tensor)
        rows = tensor.n_elements // tensor.shape[0]
        return self._data[tensor.offset : tensor.offset + tensor.n_bytes].reshape(rows, -1)

    def dequantize(self, name: str) -> npt.NDArray[np.float32]:
        """Values of a tensor as float32, ggml's dimensions reversed: a weight matrix is (n, k)."""
        tensor = self._tensor(name)
        kind = GGMLQuantizationType[tensor.type.upper()]
        try:
            values = dequantize(np.ascontiguousarray(self.raw(name)), kind)
        except NotImplementedError:
            allowed = "one that the package gguf dequantizes"
            raise self.refusal(f"the type of {name}", tensor.type, allowed) from None
        return np.asarray(values, dtype=np.float32).reshape(tensor.shape[::-1])

    def _tensor(self, name: str) -> StoredTensor:
        if name not in self.tensors:
            raise self.refusal(f"tensor {name}", None, "a file with it")
        return self.tensors[name]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the whole file, hexadecimal."""
        return sha256_of(self.path, _KIND)

    @property
    def stored(self) -> tuple[StoredTensor, ...]:
        """Tensors of the file."""
        return tuple(self.tensors.values())

    @cached_property
    def spec(self) -> ModelSpec:
        """Shapes of the model. Raises SailsimError for tensors and keys that are not a decoder's."""
        self._require_whole()
        arch = self.get("general.architecture")
        if not isinstance(arch, str) or not re.fullmatch(r"[\w.-]{1,64}", arch):
            raise self.refusal("general.architecture", arch, "a name, with which other keys begin")
        if (causal := self.get(f"{arch}.attention.causal", True)) is not True:
            raise self.refusal(f"{arch}.attention.causal", causal, "true, a decoder")
        spec = decoder(self._header(arch))
        experts = spec.experts.count if spec.experts else 0
        for key, value in (("embedding_length", spec.d_model), ("expert_count", experts)):
            stated = self._uniform(f"{arch}.{key}", value)
            if stated != value:
                raise self.refusal(f"{arch}.{key}", stated, f"{value}, as its tensors have")
        return spec

    def _require_whole(self) -> None:
        """Refuse one part of a model that was split into several files."""
        count, part = (self.get(f"split.{key}") for key in ("count", "no"))
        if type(count) is int and count > 1:
            number = part + 1 if type(part) is int else "one"
            raise SailsimError(
                f"GGUF file {self.path}: it is part {number} of {count} of a split model (split.count); "
                "allowed is a whole one, which llama.cpp's llama-gguf-split --merge makes of the parts."
            )

    def _header(self, arch: str) -> ModelHeader:
        def number(key: str) -> int | None:
            key = f"{arch}.{key}"
            return self._uniform(key) if key in self else None

        title = self.get("general.name")
        window = number("attention.sliding_window") or 0
        return ModelHeader(
            where=f"GGUF file {self.path}",
            name=self.path.stem,
            title=title if isinstance(title, str) and title else self.path.stem,
            source=f"GGUF file {self.path.name}",
            tensors={name: tensor.shape for name, tensor in self.tensors.items()},
            n_heads=self._uniform(f"{arch}.attention.head_count"),
            n_kv_heads=number("attention.head_count_kv"),
            head_dim=number("attention.key_length"),
            value_dim=number("attention.value_length"),
            n_layers=number("block_count"),
            experts_used=number("expert_used_count"),
            window=window,
            max_context=number("context_length") or 0,
            windowed=self._windowed(arch) if window else None,
            architecture=arch,
        )

    def _windowed(self, arch: str) -> int | list[bool] | None:
        """Blocks with the window, as in `ModelHeader.windowed`."""
        key = f"{arch}.attention.sliding_window_pattern"
        pattern = self.get(key, PERIODS.get(arch))
        if isinstance(pattern, list) and all(type(has) in (bool, int) for has in pattern):
            return [bool(has) for has in pattern]
        if pattern is None or (type(pattern) is int and pattern >= 0):
            return pattern
        raise self.refusal(key, pattern, "a number of blocks, or a truth value for each")

    def _uniform(self, key: str, default: int | None = None) -> int:
        """Whole number that the file states once, or for every block with the same value."""
        value = self.get(key)
        if isinstance(value, list):
            if value and type(value[0]) is int and value.count(value[0]) == len(value):
                return value[0]
            raise self.refusal(key, value, "one number for all blocks")
        return self.integer(key, default)

    @cached_property
    def format(self) -> WeightFormat:
        """Formats of the model's tensors. Raises SailsimError for a type that is not modelled."""
        linears = self.spec.linears()
        formats: dict[str, TensorFormat] = {}
        for name in (*(linear.name for linear in linears), "token_embd"):
            tensor = self.tensors[f"{name}.weight"]
            if tensor.type not in TENSOR_FORMATS:
                allowed = f"one of {', '.join(TENSOR_FORMATS)}"
                raise self.refusal(f"the type of {tensor.name}", tensor.type, allowed)
            formats[name] = TENSOR_FORMATS[tensor.type]
        source = f"GGUF file {self.path.name}; {GGML_SOURCE}"
        return WeightFormat.of_tensors(self.path.stem, source, formats, linears)


def open_gguf(path: str | Path) -> GgufModel:
    """Read the header of a decoder's GGUF file, of any architecture that `shapes` can read.

    No weight and no scale is read before `GgufModel.raw` needs it. Raises SailsimError for a damaged header,
    for tensors that are not a decoder's, and for a folder or a shipped shape, whose weights cannot be read.
    """
    if Path(path).is_dir():
        raise SailsimError(
            f"model folder {path}: only its headers are read, not its weights; allowed here is a GGUF file, "
            "or a model without weights."
        )
    if str(path) in model_names() and not Path(path).exists():
        raise SailsimError(
            f"model {path}: it ships as shapes, without weights; allowed here is the path of a GGUF file."
        )
    model = GgufModel(path)
    _ = model.format  # reads the shapes and formats now, so that a bad file is refused here
    return model


def find_gguf(name_or_path: str | Path) -> GgufModel | None:
    """Open the GGUF file of a model argument; None for a shipped name, a TOML file and a missing path.

    Raises SailsimError for what is not a decoder's GGUF file, a folder included.
    """
    there = has_own_formats(name_or_path) and Path(name_or_path).exists()
    return open_gguf(name_or_path) if there else None
