"""A capture on disk, read without trusting any size in the file."""

import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from math import prod
from pathlib import Path
from tokenize import TokenError
from types import NoneType
from typing import Any

import numpy as np
import numpy.typing as npt

from sailsim.base.atomic import atomic_file
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import check_regular
from sailsim.workloads.model import ROLES, Role

SCHEMA = 1

MAX_MEMBER_BYTES = 1 << 30

MAX_META_BYTES = 1 << 22

_META_TYPES: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "model": str,
    "model_key": str,
    "file": str,
    "sha256": str,
    "n_layers": int,
    "text": (str, NoneType),
    "tokens": list,
    "positions": list,
    "date": str,
    "version": str,
}


Parts = tuple[
    dict[str, Any], tuple[int, ...], dict[Role, npt.NDArray[np.int16]], dict[Role, npt.NDArray[np.float32]]
]
"""Of a capture, as `Activations` has them: meta, layers, codes, scales."""


def write_capture(
    path: str | Path,
    meta: Mapping[str, Any],
    layers: Sequence[int],
    codes: Mapping[Role, npt.NDArray[np.int16]],
    scales: Mapping[Role, npt.NDArray[np.float32]],
) -> None:
    """Writes a capture as a compressed npz, which appears whole or not at all.

    Raises SailsimError for one that `read_capture` would refuse.
    """
    try:
        meta = _checked_meta(meta)
    except ValueError as error:
        raise SailsimError(f"activations file {path}: {error}; allowed is a sound capture.") from error
    _check(path, meta, tuple(layers), codes, scales)
    arrays: dict[str, npt.NDArray[Any]] = {
        "meta": np.frombuffer(json.dumps(dict(meta)).encode(), np.uint8),
        "layers": np.asarray(layers, np.int64),
    }
    for role in ROLES:
        # Low and high bytes apart: the high ones are mostly 0 and 255 and compress well.
        arrays[f"{role}.planes"] = np.ascontiguousarray(
            np.moveaxis(codes[role].astype("<i2")[..., None].view(np.uint8), -1, 0)
        )
        arrays[f"{role}.scales"] = scales[role]
    # In memory first: a zip that a full disk cut short tries again to write its end when it is collected.
    archive = io.BytesIO()
    np.savez_compressed(archive, allow_pickle=False, **arrays)
    with atomic_file(path) as file:
        file.write(archive.getbuffer())


def read_capture(path: Path) -> Parts:
    """The parts of a capture, every size checked against the file before memory is taken for it.

    Raises SailsimError for a file that is no sound capture.
    """
    check_regular(path, "activations file", "a saved capture")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: _member(path, archive, name) for name in archive.namelist()}
    except SailsimError:
        raise
    except (  # ValueError: among others of names that are not UTF-8
        OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
        struct.error,
    ) as error:  # fmt: skip
        raise SailsimError(
            f"activations file {path} cannot be read ({error}); allowed is a saved capture."
        ) from error
    try:
        meta = _meta(members["meta.npy"])
        layers = tuple(members["layers.npy"].astype(np.int64, casting="safe").tolist())
        codes = {role: _from_planes(members[f"{role}.planes.npy"]) for role in ROLES}
        scales = {role: members[f"{role}.scales.npy"] for role in ROLES}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise SailsimError(
            f"activations file {path} lacks a sound field ({error}); allowed is a saved capture."
        ) from error
    _check(path, meta, layers, codes, scales)
    return meta, layers, codes, scales


def _check(
    path: str | Path,
    meta: Mapping[str, Any],
    layers: tuple[int, ...],
    codes: Mapping[Role, npt.NDArray[np.int16]],
    scales: Mapping[Role, npt.NDArray[np.float32]],
) -> None:
    """Raises SailsimError for what is no sound capture."""
    if meta["schema"] != SCHEMA:
        raise SailsimError(f"activations file {path}: schema is {meta['schema']!r}; allowed is {SCHEMA}.")
    blocks = range(meta["n_layers"])
    if not layers or any(layer not in blocks for layer in layers):
        raise SailsimError(f"activations file {path}: layers is {layers}; allowed is blocks of {blocks}.")
    tokens = codes["head"].shape[1]
    for role in ROLES:
        rows = (1 if role == "head" else len(layers), tokens)
        shape, scale = codes[role].shape, scales[role]
        if shape[:-1] != rows or scale.shape != rows or scale.dtype != np.float32:
            raise SailsimError(
                f"activations file {path}: the shape of {role} is {shape} with scales {scale.shape} "
                f"{scale.dtype}; allowed is {rows} rows and fp32."
            )
        if not (np.isfinite(scale).all() and (scale >= 0).all()):
            raise SailsimError(f"activations file {path}: a scale of {role} is not finite or negative.")


def _meta(member: npt.NDArray[Any]) -> dict[str, Any]:
    """The JSON part. Raises ValueError if a field is absent or of another type."""
    if member.nbytes > MAX_META_BYTES:
        raise ValueError(f"meta has {member.nbytes} bytes")
    meta = json.loads(member.tobytes())
    if not isinstance(meta, dict):
        raise ValueError("meta is no object")
    return dict(_checked_meta(meta))


def _checked_meta(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, if every field is there and of its type. Raises ValueError."""
    for name, kind in _META_TYPES.items():
        if not isinstance(meta.get(name), kind):
            raise ValueError(f"meta.{name} is {repr(meta.get(name))[:80]}")
    for name in ("tokens", "positions"):
        if not all(type(number) is int for number in meta[name]):
            raise ValueError(f"meta.{name} has what is no whole number")
    return meta


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """One npy member; its header must account for exactly the bytes it has."""
    size = archive.getinfo(name).file_size
    if size > MAX_MEMBER_BYTES:
        raise SailsimError(
            f"activations file {path}: {name} has {size} bytes; allowed is at most {MAX_MEMBER_BYTES}."
        )
    data = BytesIO(archive.read(name))
    try:
        # NumPy warns about headers of Python 2 before it tries to mend them; here they are damage.
        with warnings.catch_warnings(action="error"):
            version = np.lib.format.read_magic(data)
            if version != (1, 0):
                raise ValueError(f"npy version {version}")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(data)
    except (ValueError, SyntaxError, TokenError, UserWarning) as error:
        raise SailsimError(f"activations file {path}: {name} is no npy array ({error}).") from error
    body = data.read()
    if (
        fortran
        or dtype.hasobject
        or dtype.itemsize == 0
        or min(shape, default=1) < 1
        or dtype.itemsize * prod(shape) != len(body)
    ):
        raise SailsimError(
            f"activations file {path}: {name} is {shape} {dtype} in {len(body)} bytes; allowed is an "
            f"array of its bytes."
        )
    return np.frombuffer(body, dtype).reshape(shape)


def _from_planes(planes: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """int16 (layers, tokens, K) from low and high bytes (2, layers, tokens, K)."""
    if planes.dtype != np.uint8 or planes.ndim != 4 or planes.shape[0] != 2:
        raise ValueError(f"planes are {planes.shape} {planes.dtype}")
    low, high = planes
    return np.asarray(low.astype(np.uint16) | (high.astype(np.uint16) << 8)).view(np.int16)
