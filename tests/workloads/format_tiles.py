"""A tile of every format that has codes: cuts of a layer of SmolLM2 where its values can be stored so, else
random blocks, and GPTQ's and AWQ's layouts with random codes. Activations are SmolLM2's own."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.inference.weights import STORED, _unpack_blocks
from sailsim.workloads.model_files.gguf_model import GgufModel, open_gguf
from sailsim.workloads.models.formats import BLOCKS, TENSOR_FORMATS, TensorFormat
from sailsim.workloads.traces import plan_trace

from .folder_data import write_grouped

K, N, BATCH, ABITS = 512, 24, 2, 8
WRITABLE = ("q4_0", "q5_0", "q5_1", "mxfp4", "tq1_0", "tq2_0")
"""Formats that the package gguf can make of values; Q4_1 and Q8_0 are SmolLM2's own."""
GROUPED = (
    *tuple(("gptq", bits, symmetric) for bits in (2, 3, 4, 8) for symmetric in (True, False)),
    ("awq", 4, True),
    ("awq", 4, False),
)


def random_blocks(fmt: TensorFormat, seed: int) -> NDArray[np.uint8]:
    """Stored blocks (64, bytes of 2048 weights): any bytes, but for numbers where a block has its scale.

    Every code that has a meaning occurs.
    """
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (64, 2048 // fmt.block, fmt.block_bytes), dtype=np.uint8)
    for at in BLOCKS[fmt.name].fp16:
        numbers = rng.normal(0, 0.01, (*blocks.shape[:-1], 1)).astype(np.float16)
        blocks[..., at : at + 2] = numbers.view(np.uint8)
    if fmt.name == "mxfp4":  # powers of two that fp16 holds
        blocks[..., 0] = rng.integers(104, 140, blocks.shape[:-1])
    if fmt.name == "tq2_0":  # the fourth code of two bits means nothing
        digits = rng.integers(0, 3, (*blocks.shape[:-1], 64, 4)).astype(np.uint8)
        blocks[..., :64] = (digits << np.array([0, 2, 4, 6], np.uint8)).sum(axis=-1, dtype=np.uint8)
    return blocks.reshape(64, -1)


@dataclass(frozen=True)
class FormatTile:
    """A tile, and what its weights mean by whoever defined the format, fp64 (K, N)."""

    tile: Tile
    meaning: NDArray[np.float64]


def format_tiles(smollm2: Path, folder: Path) -> Iterator[FormatTile]:
    """All of them, named by format and origin; folders are written into ``folder``."""
    model = open_gguf(smollm2)
    activations = Activations.load()
    shape = ("ffn_out", 0, model.spec.n_layers, model.spec.d_ffn, BATCH, 0)
    x = activations.quantized(*shape, abits=ABITS)[:, :K]
    act_scale = activations.act_scales(*shape, abits=ABITS)
    for name in STORED:
        fmt = TENSOR_FORMATS[name]
        raw, origin = _blocks(model, name)
        weights = _unpack_blocks(raw, fmt, origin)
        scales = Scales(weights.scales, act_scale, weights.minima)
        tile = Tile(
            x, weights.codes, weights.code, ABITS, group_size=fmt.group_size, scales=scales,
            name=f"{name}, {origin}",
        )  # fmt: skip
        meaning = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[name.upper()])
        yield FormatTile(tile, meaning.T.astype(np.float64))
    for method, bits, symmetric in GROUPED:
        path, meant = write_grouped(
            folder / f"{method}{bits}{symmetric}", method, bits, 32, symmetric=symmetric,
            reordered=bits == 3,
        )  # fmt: skip
        plan = plan_trace(path, activations, tensors="*.attn_q", layers=(0, 1), batch=BATCH)
        (tile,) = plan.tiles()
        ((linear, source),) = plan.matrices
        order = source.load().order
        meaning = meant["model.layers.0.self_attn.q_proj"]
        tile = replace(tile, name=f"{source.format.name}, random codes")
        assert linear.k == tile.k
        yield FormatTile(tile, meaning if order is None else meaning[order])


def _blocks(model: GgufModel, name: str) -> tuple[NDArray[np.uint8], str]:
    """Stored blocks (N, bytes of K weights) of a format, and where they are from."""
    fmt = TENSOR_FORMATS[name]
    size = K // fmt.block * fmt.block_bytes
    for tensor in ("blk.0.ffn_down.weight", "token_embd.weight"):
        if model.tensors[tensor].type == name:
            return np.ascontiguousarray(model.raw(tensor)[:N, :size]), f"stored {tensor}"
    if name in WRITABLE:
        values = model.dequantize("blk.0.ffn_down.weight")[:N, :K]
        made: NDArray[np.uint8] = gguf.quants.quantize(values, gguf.GGMLQuantizationType[name.upper()])
        return made, "of blk.0.ffn_down.weight"
    return np.ascontiguousarray(random_blocks(fmt, 3)[:N, :size]), "random blocks"
