"""Images of models: all that the decode program reads, laid out so that it can be mapped and used in place.

`plan_image` settles what goes in; `ImagePlan.write` makes the matrices one by one, so an image needs the
memory of one matrix.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import numpy as np
import numpy.typing as npt

from sailsim import __version__
from sailsim.base.atomic import atomic_file
from sailsim.base.errors import SailsimError
from sailsim.base.progress import followed
from sailsim.workloads.decoder import NORM_EPS, ROPE_BASE, llama_constants
from sailsim.workloads.formats import TENSOR_FORMATS, TensorFormat
from sailsim.workloads.gguf_model import GgufModel, stored_model
from sailsim.workloads.image_file import (
    CHUNK,
    CODES,
    HEAD_DIM_MAX,
    HEADER,
    KINDS,
    LAYOUTS,
    LUT_WBITS_MAX,
    MAGIC,
    MAX_BATCH,
    SLICES_MAX,
    TENSOR,
    VERSION,
    Shape,
    aligned,
    lut_layout,
    matrix_order,
    reading,
    rows_layout,
    tiles_layout,
)
from sailsim.workloads.load import load_model, weight_choice
from sailsim.workloads.model import Linear, ModelSpec
from sailsim.workloads.weights import Weights, WeightSource, file_source, synthetic_source

MAX_BYTES = 16 << 30
"""Largest image that is written without being asked for: a 7B model at 4 bits in all layouts has 12 GB."""
FLOAT_FORMAT = "q8_0"
"""What tensors of types without codes become."""

_LAYOUT: dict[str, Callable[[Weights, Shape], npt.NDArray[np.uint8]]] = {
    "rows": rows_layout,
    "lut": lut_layout,
    "tiles": tiles_layout,
}


@dataclass(frozen=True)
class Matrix:
    """One matrix of an image: its kind and block, and where its weights come from."""

    kind: str
    layer: int
    linear: Linear
    source: WeightSource


@dataclass(frozen=True)
class ImagePlan:
    """What an image will hold; ``model_layers`` are the model's blocks, ``spec.n_layers`` the image's."""

    spec: ModelSpec
    model_layers: int
    file: GgufModel | None
    matrices: tuple[Matrix, ...]
    norm_eps: float
    rope_base: float
    slices: int
    layouts: tuple[str, ...]
    seed: int
    notes: tuple[str, ...]

    def shape(self, matrix: Matrix) -> Shape:
        """Sizes of the layouts of a matrix."""
        fmt = matrix.source.format
        linear = matrix.linear
        return Shape(linear.k, linear.n, matrix.source.code.wbits, fmt.group_size, fmt.minimum, self.slices)

    def layouts_of(self, matrix: Matrix) -> tuple[str, ...]:
        """The layouts that a matrix gets: an embedding is only read by row, wide codes have no lut."""
        if matrix.kind == "embedding":
            return ("rows",)
        code = matrix.source.code
        has_lut = code.wbits <= LUT_WBITS_MAX and reading(code).step != 0
        return tuple(layout for layout in self.layouts if layout != "lut" or has_lut)

    @property
    def bytes(self) -> int:
        """About how large the image will be."""
        total = HEADER.itemsize + len(self.matrices) * TENSOR.itemsize
        for matrix in self.matrices:
            shape = self.shape(matrix)
            total += sum(getattr(shape, f"{layout}_bytes") for layout in self.layouts_of(matrix))
        return total + aligned(4 * self.spec.d_model) * (2 * self.spec.n_layers + 1)

    @property
    def about(self) -> dict[str, object]:
        """What the image says of its origin."""
        origins = Counter(matrix.source.origin for matrix in self.matrices)
        return {
            "written_by": f"sailsim {__version__}",
            "model": self.spec.name,
            "model_source": self.spec.source,
            "model_sha256": self.file.file.sha256 if self.file else None,
            "weights": dict(origins.most_common()),
            "seed": self.seed,
            "notes": list(self.notes),
        }

    def write(self, path: str | os.PathLike[str], max_bytes: int = MAX_BYTES, progress: bool = False) -> None:
        """Writes the image, which appears whole or not at all.

        Raises SailsimError if it would be larger than ``max_bytes``, and for weights that are no numbers.
        """
        if self.bytes > max_bytes:
            raise SailsimError(
                f"the image would have {self.bytes} bytes; allowed is {max_bytes}: choose fewer blocks or "
                "layouts, or raise the limit."
            )
        try:
            with atomic_file(path) as file:
                self._write(file, progress)
        except OSError as error:
            raise SailsimError(f"image {error.filename} cannot be written ({error.strerror}).") from error

    def _write(self, file: BinaryIO, progress: bool) -> None:
        table = np.zeros(len(self.matrices), TENSOR)
        header = np.zeros((), HEADER)
        tensor_offset = HEADER.itemsize
        file.write(bytes(aligned(tensor_offset + table.nbytes)))
        norms = _norms(self)
        header["norms_offset"], header["norms_bytes"], header["norms_crc"] = _append(file, norms)
        for record, matrix in zip(table, followed(self.matrices, "matrices", progress), strict=True):
            self._describe(record, matrix)
            weights, shape = matrix.source.load(), self.shape(matrix)
            _require_numbers(matrix, weights)
            for layout in self.layouts_of(matrix):
                placed = _append(file, _LAYOUT[layout](weights, shape))
                for field, value in zip(("offset", "bytes", "crc"), placed, strict=True):
                    record[f"{layout}_{field}"] = value
        text = np.frombuffer(json.dumps(self.about).encode(), np.uint8)
        header["json_offset"], header["json_bytes"], _ = _append(file, text)
        header["magic"], header["version"], header["file_bytes"] = MAGIC, VERSION, file.tell()
        spec = self.spec
        for name in ("n_layers", "d_model", "n_heads", "n_kv_heads", "head_dim", "d_ffn", "vocab"):
            header[name] = getattr(spec, name)
        header["model_layers"] = self.model_layers
        header["norm_eps"], header["rope_base"] = self.norm_eps, self.rope_base
        header["slices"], header["max_batch"], header["tied"] = self.slices, MAX_BATCH, spec.tied_embeddings
        header["tensor_count"], header["tensor_offset"] = len(table), tensor_offset
        header["crc"] = crc32(table.tobytes(), crc32(header.tobytes()))
        file.seek(0)
        file.write(header.tobytes() + table.tobytes())

    def _describe(self, record: np.void, matrix: Matrix) -> None:
        code, fmt, linear = matrix.source.code, matrix.source.format, matrix.linear
        record["kind"], record["layer"] = KINDS.index(matrix.kind), matrix.layer
        record["k"], record["n"] = linear.k, linear.n
        record["wbits"], record["code"], record["minimum"] = (
            code.wbits,
            2 * CODES.index(code.kind),
            fmt.minimum,
        )
        record["group_size"], record["zero_point"] = fmt.group_size, code.zero_point
        found = reading(code)
        record["step"], record["zero"] = found.step, found.zero
        if code.kind == "book":
            record["book"][: len(code.values)] = code.values


def plan_image(
    model: str | Path,
    *,
    weights: str = "",
    blocks: int | None = None,
    slices: int = 32,
    layouts: Sequence[str] = LAYOUTS,
    seed: int = 0,
) -> ImagePlan:
    """Chooses what an image of a model holds.

    Args:
        model: a shipped name or a TOML file, whose weights are random then, or the path of a GGUF file of the
            llama architecture.
        weights: what the weights are, as for a point; empty: a file's own, else ``4g128``.
        blocks: only the first of the model's blocks (and the head); None: all.
        slices: tiles that a matrix is cut into.
        layouts: some of ``LAYOUTS``.
        seed: of random weights.

    Raises:
        SailsimError: values out of range, weights that an image cannot hold, or another architecture.
    """
    if seed < 0:
        raise SailsimError(f"seed is {seed}; allowed is 0 or more.")
    choice = weight_choice(str(model), weights)
    file = stored_model(model)
    spec = load_model(model) if file is None else file.spec
    fmt = choice.format(str(model), spec)
    _check(spec, slices, layouts, blocks)
    eps, base = (NORM_EPS, ROPE_BASE) if file is None else llama_constants(file, "an image")
    notes: Counter[str] = Counter()
    full = replace(spec, fused_projections=False)
    image = replace(full, n_layers=blocks or spec.n_layers, extra_params=0)
    linears = {(linear.layer, linear.name.split(".")[-1]): linear for linear in image.linears()}
    embedding = Linear("token_embd", "head", spec.d_model, spec.vocab, -1)
    matrices = []
    for kind, layer in matrix_order(image.n_layers, spec.tied_embeddings):
        if kind == "embedding":
            linear, found = embedding, fmt.embedding(full)
        elif kind == "head":
            linear = image.head
            # The mixes choose by the block of a tensor of how many: those of the whole model.
            found = fmt.tensor(full.head, full)
        else:
            linear = linears[layer, kind]
            found = fmt.tensor(_stored_as(linear, spec), full)
        if found.code is None:
            notes[f"{found.name} tensors, which have no codes, are rounded to {FLOAT_FORMAT}"] += 1
            found = TENSOR_FORMATS[FLOAT_FORMAT]
        matrices.append(Matrix(kind, layer, linear, _source(file, linear, found, seed)))
    if image.n_layers < spec.n_layers:
        notes[f"the first {image.n_layers} of {spec.n_layers} blocks"] += 1
    if file is None:
        notes["random weights: its tokens mean nothing"] += 1
    return ImagePlan(
        image, spec.n_layers, file, tuple(matrices), eps, base, slices, tuple(layouts), seed, tuple(notes)
    )


def _stored_as(linear: Linear, spec: ModelSpec) -> Linear:
    """The matrix of the model that a matrix of the image is a part of, where projections are fused."""
    if not spec.fused_projections:
        return linear
    whole = {"attn_q": "attn_qkv", "attn_k": "attn_qkv", "attn_v": "attn_qkv", "ffn_gate": "ffn_up"}
    block, _, kind = linear.name.rpartition(".")
    return replace(linear, name=f"{block}.{whole.get(kind, kind)}")


def _source(file: GgufModel | None, linear: Linear, fmt: TensorFormat, seed: int) -> WeightSource:
    source = synthetic_source(linear, fmt, seed) if file is None else file_source(file, linear, fmt)
    reading(source.code)
    if fmt.group_size % CHUNK:
        raise SailsimError(
            f"group_size is {fmt.group_size}; allowed in an image is 0 or a multiple of {CHUNK}."
        )
    return source


def _check(spec: ModelSpec, slices: int, layouts: Sequence[str], blocks: int | None) -> None:
    if blocks is not None and not 1 <= blocks <= spec.n_layers:
        raise SailsimError(f"blocks is {blocks}; allowed is 1..{spec.n_layers}, those of {spec.name}.")
    if not 1 <= slices <= SLICES_MAX:
        raise SailsimError(f"slices is {slices}; allowed is 1..{SLICES_MAX}.")
    unknown = [layout for layout in layouts if layout not in LAYOUTS]
    if unknown or "rows" not in layouts or len(set(layouts)) < len(layouts):
        raise SailsimError(
            f"layouts is {','.join(layouts)!r}; allowed is rows, and lut and tiles beside it, each once."
        )
    if spec.head_dim % 2 or spec.head_dim > HEAD_DIM_MAX:
        raise SailsimError(
            f"model {spec.name}: head_dim is {spec.head_dim}; allowed in an image is an even number up to "
            f"{HEAD_DIM_MAX}."
        )
    spec.require_plain("an image")
    if not spec.gated_ffn:
        raise SailsimError(f"model {spec.name}: gated_ffn is false; allowed in an image is a gated one.")


def _norms(plan: ImagePlan) -> npt.NDArray[np.uint8]:
    """Weights of the norms, each row padded to whole lines."""
    spec = plan.spec
    names = [f"blk.{i}.{name}" for i in range(spec.n_layers) for name in ("attn_norm", "ffn_norm")]
    names.append("output_norm")
    table = np.zeros((len(names), aligned(4 * spec.d_model) // 4), np.float32)
    random = np.random.default_rng(plan.seed)
    for row, name in zip(table, names, strict=True):
        if plan.file is None:
            row[: spec.d_model] = 1 + 0.1 * random.standard_normal(spec.d_model, dtype=np.float32)
            continue
        stored = plan.file.file.dequantize(f"{name}.weight")
        if stored.size != spec.d_model:
            raise SailsimError(
                f"GGUF file {plan.file.file.path}: {name}.weight has {prod(stored.shape)} elements; allowed "
                f"is {spec.d_model}."
            )
        row[: spec.d_model] = stored.reshape(-1)
    return table.view(np.uint8).reshape(-1)


def _require_numbers(matrix: Matrix, weights: Weights) -> None:
    for numbers in (weights.scales, weights.minima):
        if numbers is not None and not np.isfinite(numbers).all():
            raise SailsimError(f"a scale of {matrix.linear.name} is no number; allowed are finite ones.")


def _append(file: BinaryIO, data: npt.NDArray[np.uint8]) -> tuple[int, int, int]:
    """Writes bytes at the next line of the file: where they begin, how many they are, their checksum."""
    start = aligned(file.tell())
    file.write(bytes(start - file.tell()))
    file.write(data.data)
    return start, data.nbytes, crc32(data.data)
