"""Images of models for the decode program, laid out to be mapped and used in place.

An image is a safetensors file (docs/decode.md) whose tensors come in one order, each a whole number of lines
of 64 bytes. The first two, ``image`` and ``matrices``, hold the numbers that determine the offsets of all
others. `plan_image` chooses the content; `ImagePlan.write` makes the matrices one by one, so an image needs
the memory of one matrix. `Image` gives the weights back.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import BinaryIO, NamedTuple, get_type_hints
from zlib import crc32

import numpy as np
import numpy.typing as npt

from sailsim import __version__
from sailsim.base.atomic import atomic_file, require_disk_space
from sailsim.base.errors import SailsimError
from sailsim.base.progress import with_progress
from sailsim.lut_gemv.codes import CodeKind, WeightCode
from sailsim.workloads.images import image_layout
from sailsim.workloads.images.image_layout import ALIGN, LAYOUTS, Bytes, MatrixLayout, align_up, code_reading
from sailsim.workloads.inference.decoder import NORM_EPS, ROPE_BASE, llama_constants
from sailsim.workloads.inference.weights import Weights, WeightSource, weight_source
from sailsim.workloads.model_files.gguf_model import GgufModel, find_gguf
from sailsim.workloads.model_files.load import load_model, weight_choice
from sailsim.workloads.model_files.safetensors_file import DTYPES, safe_header, safe_metadata, safe_tensors
from sailsim.workloads.models.formats import TENSOR_FORMATS, TensorFormat
from sailsim.workloads.models.model import Linear, ModelSpec

VERSION = "3"
HEAD_DIM_MAX = 512
SLICES_MAX = 64
FLOAT_FORMAT = "q8_0"
"""Format in place of types without codes."""
BLOCK_MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
CODES: tuple[CodeKind, ...] = ("twos", "offset", "ternary", "book")
"""Weight codes; the number in the file is twice the index here, as in a descriptor's flags."""


class ImageDimensions(NamedTuple):
    """Numbers of an image: its model's shape, with the first ``n_layers`` of its ``model_layers`` blocks."""

    n_layers: int
    model_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ffn: int
    vocab: int
    slices: int
    max_batch: int
    tied: int
    norm_eps: float
    rope_base: float
    tile_most: int = 0

    def matrices(self) -> dict[str, tuple[int, int]]:
        """K and N of the matrices by name, in their order. A tied head gives the embeddings too."""
        d, attn, kv = self.d_model, self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        sizes = ((d, attn), (d, kv), (d, kv), (attn, d), (d, self.d_ffn), (d, self.d_ffn), (self.d_ffn, d))
        in_block = dict(zip(BLOCK_MATRICES, sizes, strict=True))
        last = ("head",) if self.tied else ("head", "embedding")
        return {
            **{f"blk.{i}.{kind}": size for i in range(self.n_layers) for kind, size in in_block.items()},
            **dict.fromkeys(last, (d, self.vocab)),
        }


HEAD = np.dtype(
    [
        ("crc", "<u4"),
        ("norms_crc", "<u4"),
        *[(name, "<u4" if kind is int else "<f4") for name, kind in get_type_hints(ImageDimensions).items()],
    ]
)
"""Layout of the tensor ``image``, 64 bytes; ``crc`` is CRC-32 of the file up to the norms, itself as 0."""
MATRIX = np.dtype(
    [
        *[(name, "<u4") for name in ("wbits", "code", "minimum", "group_size", "zero_point", "lut", "tiles")],
        *[("crc", "<u4"), ("step", "<i4"), ("zero", "<i4"), ("row", "<u4"), ("reserved_1", "V20")],
        *[("book", "<i2", (16,)), ("reserved_2", "V32")],
    ]
)
"""Layout of a row of the tensor ``matrices``, 128 bytes, with the codebook on a line of its own.

``lut`` and ``tiles`` are 1 if the matrix has that layout. ``crc`` is CRC-32 of all its layouts. ``row`` is
that of `MatrixLayout.tile_stride`.
"""

Records = npt.NDArray[np.void]


def _layouts(record: np.void) -> list[str]:
    return [layout for layout in LAYOUTS if layout == "rows" or record[layout]]


def _matrices(dimensions: ImageDimensions, records: Records) -> dict[str, tuple[MatrixLayout, np.void]]:
    matrices = {}
    for (name, (k, n)), record in zip(dimensions.matrices().items(), records, strict=True):
        wbits, group_size, row = (int(record[field]) for field in ("wbits", "group_size", "row"))
        cut = dimensions.slices, dimensions.tile_most, row
        matrices[name] = MatrixLayout(k, n, wbits, group_size, bool(record["minimum"]), *cut), record
    return matrices


def _tensors(dimensions: ImageDimensions, records: Records) -> dict[str, tuple[str, list[int]]]:
    """Types and shapes of the file's tensors by name, in file order."""
    tensors: dict[str, tuple[str, list[int]]] = {
        "image": ("U32", [HEAD.itemsize // 4]),
        "matrices": ("U32", [len(records), MATRIX.itemsize // 4]),
        "norms": ("F32", [2 * dimensions.n_layers + 1, align_up(dimensions.d_model, ALIGN // 4)]),
    }
    for name, (shape, record) in _matrices(dimensions, records).items():
        for layout in _layouts(record):
            tensors[f"{name}.{layout}"] = ("U8", [align_up(shape.bytes(layout))])
    return tensors


class Image:
    """Open image that this library wrote; arrays are views of the mapped file.

    ``tensors`` are those of the file by name, ``matrices`` the sizes and record of each matrix. ``about`` has
    the origin of the weights: model, origin, notes. Numbers and checksums are not checked here: the decode
    program, which reads files of any origin, checks them.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.tensors = safe_tensors(Path(path))
        self.data: Bytes = np.memmap(path, np.uint8, mode="r")
        self.about = safe_metadata(Path(path), "about")
        (head,) = self.bytes_of("image").view(HEAD)
        self.dimensions = ImageDimensions(*(head[name].item() for name in ImageDimensions._fields))
        self.matrices = _matrices(self.dimensions, self.bytes_of("matrices").view(MATRIX))

    def bytes_of(self, tensor: str) -> Bytes:
        """Bytes of a tensor."""
        offset = self.tensors[tensor].offset
        return self.data[offset : offset + self.tensors[tensor].n_bytes]

    @property
    def norms(self) -> npt.NDArray[np.float32]:
        """Weights of the norms (2 n_layers + 1, d_model): two for each block, and the last."""
        table = self.bytes_of("norms").view(np.float32).reshape(2 * self.dimensions.n_layers + 1, -1)
        return table[:, : self.dimensions.d_model]

    def weights(self, name: str) -> Weights:
        """Read a matrix by name."""
        shape, record = self.matrices[name]
        kind, book = CODES[int(record["code"]) // 2], record["book"][: 1 << shape.wbits]
        code = WeightCode.of(kind, shape.wbits, int(record["zero_point"]), book)
        data = self.bytes_of(f"{name}.rows")[: shape.bytes("rows")]
        codes, factors = image_layout.read_rows(data, shape, code_reading(code)[0])
        minima = factors[1] if shape.minimum else None
        return Weights(codes, code, shape.group_size, factors[0], minima, "image")


@dataclass(frozen=True)
class ImagePlan:
    """Plan of an image: its matrices by name, with the sources of their weights.

    ``spec.n_layers`` are the blocks of the image, ``dimensions.model_layers`` those of the model.
    """

    spec: ModelSpec
    dimensions: ImageDimensions
    file: GgufModel | None
    matrices: dict[str, tuple[Linear, WeightSource]]
    layouts: tuple[str, ...]
    seed: int
    notes: tuple[str, ...]
    row: int = 0

    @property
    def records(self) -> Records:
        """Records of the matrices without checksums.

        An embedding is only read by row, and wide codes have no lut.
        """
        records = np.zeros(len(self.matrices), MATRIX)
        for record, (name, (_, source)) in zip(records, self.matrices.items(), strict=True):
            code, (_, step, zero) = source.code, code_reading(source.code)
            record["wbits"], record["code"] = code.wbits, 2 * CODES.index(code.kind)
            record["minimum"], record["group_size"] = source.format.minimum, source.format.group_size
            record["zero_point"], record["step"], record["zero"] = code.zero_point, step, zero
            if code.kind == "book":
                record["book"][: len(code.values)] = code.values
            layouts = self.layouts if name != "embedding" else ()
            record["lut"] = "lut" in layouts and code.wbits <= image_layout.LUT_WBITS_MAX and step != 0
            record["tiles"] = "tiles" in layouts
            record["row"] = self.row if record["tiles"] else 0
        return records

    @property
    def bytes(self) -> int:
        """Size of the image without its header, bytes."""
        tensors = _tensors(self.dimensions, self.records).values()
        return sum(prod(sizes) * DTYPES[dtype] for dtype, sizes in tensors)

    @property
    def about(self) -> dict[str, object]:
        """Origin of the image, which it stores."""
        origins = Counter(source.origin for _, source in self.matrices.values())
        return {
            "written_by": f"sailsim {__version__}",
            "model": self.spec.name,
            "model_source": self.spec.source,
            "model_sha256": self.file.sha256 if self.file else None,
            "weights": dict(origins.most_common()),
            "seed": self.seed,
            "notes": list(self.notes),
        }

    def write(self, path: str | os.PathLike[str], progress: bool = False) -> None:
        """Write the image, which appears whole or not at all.

        Raises SailsimError if the disk has no room for it, and for weights that are not finite.
        """
        require_disk_space(path, self.bytes, "the image", "blocks or layouts")
        try:
            with atomic_file(path) as file:
                self._write(file, progress)
        except OSError as error:
            raise SailsimError(f"image {error.filename} cannot be written ({error.strerror}).") from error

    def _write(self, file: BinaryIO, progress: bool) -> None:
        records, norms = self.records, _norms(self)
        metadata = {"sailsim_image": VERSION, "about": json.dumps(self.about)}
        text = safe_header(_tensors(self.dimensions, records), metadata)
        file.write(text + bytes(HEAD.itemsize + records.nbytes) + norms)
        matrices = list(_matrices(self.dimensions, records).items())
        for name, (shape, record) in with_progress(matrices, "matrices", progress):
            weights, crc = self.matrices[name][1].load(), 0
            if not all(np.isfinite(factor).all() for factor in weights.factors):
                linear = self.matrices[name][0]
                raise SailsimError(f"a scale of {linear.name} is no number; allowed are finite ones.")
            for layout in _layouts(record):
                data = LAYOUTS[layout](weights, shape)
                padding = bytes(-len(data) % ALIGN)
                crc = crc32(padding, crc32(data.data, crc))
                file.write(data.data)
                file.write(padding)
            record["crc"] = crc
        head = np.array((0, crc32(norms), *self.dimensions), HEAD)
        head["crc"] = crc32(text + head.tobytes() + records.tobytes())
        file.seek(len(text))
        file.write(head.tobytes() + records.tobytes())


def plan_image(
    model: str | Path,
    *,
    weights: str = "",
    blocks: int | None = None,
    outputs: int | None = None,
    slices: int = 32,
    tile_most: int = 0,
    row: int = 0,
    layouts: Sequence[str] = tuple(LAYOUTS),
    seed: int = 0,
) -> ImagePlan:
    """Choose the content of an image of a model.

    Args:
        model: a shipped name or a TOML file, whose weights are random then, or the path of a GGUF file of the
            llama architecture.
        weights: choice of the weights' format, as for a point; empty: a file's own, else ``4g128``.
        blocks: only the first of the model's blocks (and the head); None: all.
        outputs: only the first of the head's, where the model has no file; None: all.
        slices: parts that a matrix is cut into, of one tile each.
        tile_most: outputs that a tile may have; a larger part is cut into several even tiles. 0: any number.
        row: bytes of a DRAM row over all channels. Tiles larger than it begin an odd number of rows apart. 0:
            they follow one another.
        layouts: some of ``LAYOUTS``.
        seed: of random weights.

    Raises:
        SailsimError: values out of range, weights that an image cannot hold, or another architecture.
    """
    if seed < 0:
        raise SailsimError(f"seed is {seed}; allowed is 0 or more.")
    choice = weight_choice(str(model), weights)
    file = find_gguf(model)
    spec = load_model(model) if file is None else file.spec
    fmt = choice.format(str(model), spec)
    _check(spec, slices, layouts, blocks)
    if row < 0 or row % ALIGN:
        raise SailsimError(f"row is {row}; allowed is 0 or a multiple of {ALIGN}.")
    eps, base = (NORM_EPS, ROPE_BASE) if file is None else llama_constants(file, "an image")
    notes: Counter[str] = Counter()
    full = replace(spec, fused_projections=False)
    vocab = spec.vocab if file is not None else min(spec.vocab, outputs or spec.vocab)
    image = replace(full, n_layers=blocks or spec.n_layers, vocab=vocab, extra_params=0)
    shape = ("n_layers", "d_model", "n_heads", "n_kv_heads", "head_dim", "d_ffn", "vocab")
    dimensions = ImageDimensions(
        **{name: getattr(image, name) for name in shape},
        model_layers=spec.n_layers,
        slices=slices,
        tile_most=tile_most,
        max_batch=image_layout.MAX_BATCH,
        tied=int(spec.tied_embeddings),
        norm_eps=eps,
        rope_base=base,
    )
    # Mixes choose by a tensor's block among those of the whole model.
    sources = {
        linear.name: (linear, fmt.tensor(_stored_as(linear, spec), full)) for linear in image.linears()
    }
    sources["head"] = image.head, fmt.tensor(full.head, full)
    if not spec.tied_embeddings:
        embedding = Linear("token_embd", "head", spec.d_model, vocab, -1)
        sources["embedding"] = embedding, fmt.embedding(full)
    matrices = {}
    for name in dimensions.matrices():
        linear, own = sources[name]
        if own.code is None:
            notes[f"{own.name} tensors, which have no codes, are rounded to {FLOAT_FORMAT}"] += 1
            own = TENSOR_FORMATS[FLOAT_FORMAT]
        matrices[name] = linear, _source(file, linear, own, seed)
    if image.n_layers < spec.n_layers:
        notes[f"the first {image.n_layers} of {spec.n_layers} blocks"] += 1
    if vocab < spec.vocab:
        notes[f"the first {vocab} of {spec.vocab} outputs of the head"] += 1
    if file is None:
        notes["random weights: its tokens mean nothing"] += 1
    return ImagePlan(image, dimensions, file, matrices, tuple(layouts), seed, tuple(notes), row)


def _stored_as(linear: Linear, spec: ModelSpec) -> Linear:
    """Matrix of the model that has a matrix of the image as a part, if projections are fused."""
    if not spec.fused_projections:
        return linear
    whole = {"attn_q": "attn_qkv", "attn_k": "attn_qkv", "attn_v": "attn_qkv", "ffn_gate": "ffn_up"}
    block, _, kind = linear.name.rpartition(".")
    return replace(linear, name=f"{block}.{whole.get(kind, kind)}")


def _source(file: GgufModel | None, linear: Linear, fmt: TensorFormat, seed: int) -> WeightSource:
    source = weight_source(file, linear, fmt, seed)
    code_reading(source.code)  # raises for codes that no layout has
    if fmt.group_size % image_layout.CHUNK:
        raise SailsimError(
            f"group_size is {fmt.group_size}; allowed in an image is 0 or a multiple of {image_layout.CHUNK}."
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
            f"layouts is {','.join(layouts)!r}; allowed is rows, with lut and tiles or without, each once."
        )
    if spec.head_dim % 2 or spec.head_dim > HEAD_DIM_MAX:
        raise SailsimError(
            f"model {spec.name}: head_dim is {spec.head_dim}; allowed in an image is an even number up to "
            f"{HEAD_DIM_MAX}."
        )
    spec.require_plain("an image")
    if not spec.gated_ffn:
        raise SailsimError(f"model {spec.name}: gated_ffn is false; allowed in an image is a gated one.")


def _norms(plan: ImagePlan) -> bytes:
    """Weights of the norms as bytes, each row padded to whole lines."""
    spec = plan.spec
    names = [f"blk.{i}.{name}" for i in range(spec.n_layers) for name in ("attn_norm", "ffn_norm")]
    names.append("output_norm")
    table = np.zeros((len(names), align_up(4 * spec.d_model) // 4), np.float32)
    random = np.random.default_rng(plan.seed)
    for row, name in zip(table, names, strict=True):
        if plan.file is None:
            row[: spec.d_model] = 1 + 0.1 * random.standard_normal(spec.d_model, dtype=np.float32)
            continue
        stored = plan.file.dequantize(f"{name}.weight")
        if stored.size != spec.d_model:
            raise SailsimError(
                f"GGUF file {plan.file.path}: {name}.weight has {prod(stored.shape)} elements; allowed "
                f"is {spec.d_model}."
            )
        row[: spec.d_model] = stored.reshape(-1)
    return table.tobytes()
