"""Activations captured from a small model, as inputs of linear layers of models of any size.

The bits that a table look-up sees decide how often a pattern is zero or repeats, so they must come from a
real model. A capture holds one row for each role, layer and token, as int16 codes of a symmetric scale: fine
enough to be rounded again to any width up to 16 bits. Models whose weights we do not ship borrow these rows;
``Activations.note`` is the sentence that every such result must carry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.resources import as_file, files
from math import ceil
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import numpy.typing as npt

from sailsim.base.atomic import atomic_file
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.descriptor import ABITS_MAX
from sailsim.lut_gemv.operands import activation_dtype, check_between
from sailsim.workloads.model_files.safetensors_file import printable, safe_header, safe_metadata, safe_tensors
from sailsim.workloads.models.model import ROLES, ModelSpec, Role

SCHEMA = 2

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


def _unsound(path: str | Path, field: str, value: object, allowed: str) -> SailsimError:
    return SailsimError(
        f"activations file {path}: {field} is {printable(repr(value))}; allowed is {allowed}."
    )


def _check(path: str | Path, capture: Activations) -> None:
    """Refuse a capture with fields, shapes or numbers that are not sound."""
    meta, layers, codes, scales = capture.meta, capture.layers, capture.codes, capture.scales
    for name, kind in _META_TYPES.items():
        if not isinstance(meta.get(name), kind):
            raise _unsound(path, f"meta.{name}", meta.get(name), "what a saved capture has")
    for name in ("tokens", "positions"):
        if not all(type(number) is int for number in meta[name]):
            raise _unsound(path, f"meta.{name}", meta[name], "a list of whole numbers")
    if meta["schema"] != SCHEMA:
        raise _unsound(path, "schema", meta["schema"], str(SCHEMA))
    blocks = range(meta["n_layers"])
    sound = isinstance(layers, list | tuple) and all(type(at) is int and at in blocks for at in layers)
    if not layers or not sound:
        raise _unsound(path, "layers", layers, f"blocks of {blocks}")
    tokens = codes["head"].shape[1:2]
    for role in ROLES:
        rows = (1 if role == "head" else len(layers), *tokens)
        shape, scale = codes[role].shape, scales[role]
        if len(shape) != 3 or shape[:-1] != rows or 0 in shape or scale.shape != rows:
            both = f"{shape} with scales {scale.shape}"
            raise _unsound(path, f"shape of {role}", both, f"{rows} rows of at least one number")
        if not (np.isfinite(scale).all() and (scale >= 0).all()):
            worst = scale[~(scale >= 0) | np.isinf(scale)].flat[0]
            raise _unsound(path, f"a scale of {role}", float(worst), "finite and not negative")


CODE_MAX = 32767

ROTATION = 61
"""Columns by which rows are rotated each time the whole pool of rows has been used (a prime)."""


@dataclass(frozen=True, eq=False)
class Activations:
    """Captured rows: ``codes[role]`` int16 (layers, tokens, K), ``scales[role]`` fp32 (layers, tokens).

    A value is ``code * scale``; the largest magnitude of a row has the code ``CODE_MAX``. ``layers`` are the
    captured blocks of ``meta["n_layers"]``; the role ``head`` has one layer. ``meta`` has the model file with
    its SHA-256, the text, its tokens, the captured positions, the date and the program's version.
    """

    meta: Mapping[str, Any]
    layers: tuple[int, ...]
    codes: Mapping[Role, npt.NDArray[np.int16]]
    scales: Mapping[Role, npt.NDArray[np.float32]]
    _rounded: dict[tuple[Role, int, bool], npt.NDArray[Any]] = field(
        default_factory=dict, init=False, repr=False
    )
    _orders: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict, init=False, repr=False)
    _places: dict[tuple[int, int], list[int]] = field(default_factory=dict, init=False, repr=False)

    @staticmethod
    def load(path: str | Path | None = None) -> Activations:
        """Read a capture file, or with None the compact shipped one.

        Raises SailsimError for a file that is not a sound capture.
        """
        return _shipped() if path is None else _read(Path(path))

    def save(self, path: str | Path) -> None:
        """Write the capture as a safetensors file, which appears whole or not at all.

        Raises SailsimError for a capture that `load` would refuse.
        """
        _check(path, self)
        about = {"capture": json.dumps({"layers": list(self.layers), **self.meta})}
        arrays: dict[str, tuple[str, npt.NDArray[Any]]]
        arrays = {f"{role}.codes": ("I16", self.codes[role]) for role in ROLES}
        arrays |= {f"{role}.scales": ("F32", self.scales[role]) for role in ROLES}
        with atomic_file(path) as file:
            shapes = {name: (dtype, array.shape) for name, (dtype, array) in arrays.items()}
            file.write(safe_header(shapes, about))
            for _, array in arrays.values():
                file.write(array.tobytes())

    @cached_property
    def id(self) -> str:
        """Name of the model and a hash of the rows, which identify a capture."""
        digest = hashlib.sha256()
        for role in ROLES:
            digest.update(self.codes[role].tobytes())
            digest.update(self.scales[role].tobytes())
        return f"{self.meta['model']}-{digest.hexdigest()[:12]}"

    @property
    def tokens(self) -> int:
        """Number of captured tokens (rows of each role and layer)."""
        return int(self.codes["head"].shape[1])

    def note(self, model: ModelSpec | str) -> str | None:
        """Sentence that a result for ``model`` must carry; None if all rows are that model's own."""
        name = model if isinstance(model, str) else model.name
        own, blocks = str(self.meta["model"]), int(self.meta["n_layers"])
        if name != self.meta["model_key"] and not name.startswith(own):
            return f"pattern statistics from {own} activations"
        if len(self.layers) < blocks:
            return f"activations of {len(self.layers)} of {blocks} blocks stand for their neighbours'"
        return None

    def quantized(
        self,
        role: Role,
        layer: int,
        n_layers: int,
        k: int,
        batch: int,
        seed: int = 0,
        *,
        abits: int = 8,
        signed: bool = True,
    ) -> npt.NDArray[Any]:
        """Inputs (batch, k) of a linear layer as integers of ``abits`` bits, 1..16.

        The layer has ``role`` in block ``layer`` of ``n_layers``. The captured rows of the role form a pool:
        first the tokens of the captured layer at the nearest relative depth, in an order drawn from ``seed``,
        then those of the next nearest layer, and so on. With rows of K captured columns, a row of k columns
        takes ``ceil(k / K)`` of the pool side by side and is cut to k; row after row takes the next ones. No
        captured row occurs twice before all have been used; then the pool starts again with its columns
        rotated by ``ROTATION``. Columns keep their place within a captured row, so that the rows of a batch
        agree in which columns are large. All parts of a row share the scale of its first part: side by side,
        parts are equally fine, as they are in the captured model.

        Signed: symmetric for each captured row, ``rint(code * m / CODE_MAX)``, ``m = 2**(abits - 1) - 1``;
        one bit is -1 for a negative value, else 0. Unsigned: the signed integer plus ``2**(abits - 1)``, the
        zero point. int8 or uint8 up to 8 bits, int16 or uint16 above.
        """
        return self._gather(self._codes(role, abits, signed), role, layer, n_layers, k, batch, seed)[1]

    def pool_indices(
        self, role: Role, layer: int, n_layers: int, k: int, batch: int, seed: int = 0
    ) -> npt.NDArray[np.int64]:
        """Indices into `pool` of the rows of `quantized`, part after part, (batch * parts,).

        There are fewer where the pool was used up and started again with its columns rotated. Equal indices
        mean equal rows for one role, k and batch: layers near the same captured ones have the same input.
        Errors are those of `quantized`.
        """
        _check_sizes(role, layer, n_layers, k, batch)
        needed = batch * ceil(k / self._of(self.codes, role).shape[-1])
        return self._pool(role, layer, n_layers, seed, needed)

    def pool(self, role: Role, *, abits: int = 8, signed: bool = True) -> npt.NDArray[Any]:
        """Captured rows of a role (layers * tokens, columns), as integers like those of `quantized`."""
        codes = self._codes(role, abits, signed)
        return codes.reshape(-1, codes.shape[-1])

    def act_scales(
        self, role: Role, layer: int, n_layers: int, k: int, batch: int, seed: int = 0, *, abits: int = 8
    ) -> npt.NDArray[np.float32]:
        """Scale of the signed integers of ``quantized`` in each row, fp32 (batch,).

        The scale of one-bit integers is the row's largest magnitude.
        """
        source, _ = self._gather(self.codes[role], role, layer, n_layers, k, batch, seed)
        steps = max((1 << (abits - 1)) - 1, 1)
        return (self.scales[role].reshape(-1)[source[:, 0]] * (CODE_MAX / steps)).astype(np.float32)

    def _codes(self, role: Role, abits: int, signed: bool) -> npt.NDArray[Any]:
        """Captured codes of a role rounded to ``abits`` bits, cached."""
        check_between("abits", abits, 1, ABITS_MAX)
        key = (role, abits, signed)
        if key not in self._rounded:
            codes = self._of(self.codes, role)
            if abits == 1:
                ints = -(codes < 0).astype(np.int32)
            else:
                most = (1 << (abits - 1)) - 1
                ints = np.rint(codes * np.float64(most / CODE_MAX)).astype(np.int32)
            if not signed:
                ints += 1 << (abits - 1)
            self._rounded[key] = ints.astype(activation_dtype(abits, signed))
        return self._rounded[key]

    @staticmethod
    def _of(arrays: Mapping[Role, npt.NDArray[Any]], role: Role) -> npt.NDArray[Any]:
        if role not in arrays:
            raise SailsimError(f"role is {role!r}; allowed is one of {', '.join(ROLES)}.")
        return arrays[role]

    def _gather(
        self, codes: npt.NDArray[Any], role: Role, layer: int, n_layers: int, k: int, batch: int, seed: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Indices of each row's parts (batch, parts) over layers * tokens, and the rows (batch, k)."""
        _check_sizes(role, layer, n_layers, k, batch)
        width = codes.shape[-1]
        parts = ceil(k / width)
        pool = self._pool(role, layer, n_layers, seed, batch * parts)
        flat = codes.reshape(-1, width)
        if batch * parts == len(pool):
            source = pool
            out = flat.take(source, axis=0)
        else:
            source = np.resize(pool, batch * parts)
            out = np.empty((batch * parts, width), flat.dtype)
            for first in range(0, batch * parts, len(pool)):  # each use of the pool has its own rotation
                turn = first // len(pool) * ROTATION % width
                used = flat.take(source[first : first + len(pool)], axis=0)
                out[first : first + len(pool), : width - turn] = used[:, turn:]
                out[first : first + len(pool), width - turn :] = used[:, :turn]
        return source.reshape(batch, parts), np.ascontiguousarray(out.reshape(batch, -1)[:, :k])

    def _pool(self, role: Role, layer: int, n_layers: int, seed: int, needed: int) -> npt.NDArray[np.int64]:
        """Indices over layers * tokens in the order of use, the first `needed` of them at most."""
        if seed not in self._orders:  # a step uses one seed in every layer
            if seed < 0:
                raise SailsimError(f"seed is {seed!r}; allowed is 0 or more.")
            self._orders[seed] = np.random.default_rng(seed).permutation(self.tokens)
        order = self._orders[seed]
        if role == "head":
            return order[:needed]
        if (layer, n_layers) not in self._places:
            self._places[layer, n_layers] = self._nearest(layer, n_layers)
        first = [place * self.tokens for place in self._places[layer, n_layers][: ceil(needed / self.tokens)]]
        return np.add.outer(np.array(first, np.int64), order).reshape(-1)[:needed]

    def _nearest(self, layer: int, n_layers: int) -> list[int]:
        """Indices of the captured layers, nearest in relative depth to a layer of ``n_layers`` first."""
        depth, blocks = layer / max(n_layers - 1, 1), max(int(self.meta["n_layers"]) - 1, 1)
        return sorted(range(len(self.layers)), key=lambda place: abs(self.layers[place] / blocks - depth))


def _check_sizes(role: Role, layer: int, n_layers: int, k: int, batch: int) -> None:
    for name, value in (("k", k), ("batch", batch), ("n_layers", n_layers)):
        if value < 1:
            raise SailsimError(f"{name} is {value!r}; allowed is 1 or more.")
    if not 0 <= layer < n_layers + (role == "head"):
        raise SailsimError(f"layer is {layer!r}; allowed is 0..{n_layers - 1}.")


@cache  # reading takes 0.1 s, and every point without its own capture needs it
def _shipped() -> Activations:
    with as_file(files("sailsim.workloads").joinpath("data", "smollm2-135m-activations.safetensors")) as path:
        return _read(path)


def _read(path: Path) -> Activations:
    tensors, meta = safe_tensors(path), safe_metadata(path, "capture")
    layers = meta.pop("layers", None)
    parts: list[dict[Role, npt.NDArray[Any]]] = []
    for part, dtype, kind in (("codes", "I16", np.int16), ("scales", "F32", np.float32)):
        parts.append({})
        for role in ROLES:
            tensor = tensors.get(f"{role}.{part}")
            if tensor is None or tensor.dtype != dtype:
                raise _unsound(path, f"{role}.{part}", tensor and tensor.dtype, f"a tensor of {dtype}")
            parts[-1][role] = tensor.read().view(kind).reshape(tensor.shape)
    capture = Activations(meta, layers, *parts)
    _check(path, capture)
    return replace(capture, layers=tuple(capture.layers))
