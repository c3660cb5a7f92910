"""GPTQ's and AWQ's layouts in safetensors: what a reader makes of them beside what was packed.

A matrix of random codes, zero points and scales is packed as the layouts say, each row of words as one whole
number in which a code is so many bits at its place, and written as a folder, which is then read.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from sailsim.workloads.folder_model import open_folder
from sailsim.workloads.folder_weights import folder_source
from sailsim.workloads.formats import TensorFormat

CASES = (
    *(("gptq", bits, symmetric) for bits in (2, 3, 4, 8) for symmetric in (True, False)),
    ("awq", 4, True),
    ("awq", 4, False),
)
"""Method, bits of a code, and whether every zero point is the middle."""
N, K, GROUP = 64, 2048, 128
SEED = 12
MATRIX = "model.layers.0.mlp.down_proj"

Ints = npt.NDArray[np.int64]
Compared = tuple[TensorFormat, int, int, float, float]


def checked_groups() -> list[Compared]:
    """Of every case its format, how many weights were compared, how many of them are not to the bit what the
    layout says (with a minimum as fp16), and two errors of rounding the minimum: of it, and of a weight as a
    part of the largest of its group."""
    return [checked_group(*case) for case in CASES]


def checked_group(method: str, bits: int, symmetric: bool) -> Compared:
    """One of them."""
    rng = np.random.default_rng(SEED)
    codes = rng.integers(0, 1 << bits, (K, N))
    middle = np.full((K // GROUP, N), 1 << (bits - 1))
    zeros = middle if symmetric else rng.integers(1, 1 << bits, middle.shape)
    scales = np.abs(rng.normal(0, 0.01, zeros.shape)).astype(np.float16)
    with TemporaryDirectory() as folder:
        write_matrix(Path(folder), method, bits, symmetric, packed_parts(method, bits, codes, zeros, scales))
        model = open_folder(folder)
        linear = next(each for each in model.spec.linears() if each.name == "blk.0.ffn_down")
        source = folder_source(model, linear)
        found = source.load().values()
    wide = np.repeat(scales.astype(np.float32), GROUP, axis=0)
    exact = -zeros * scales.astype(np.float32)
    rounded = exact.astype(np.float16).astype(np.float32)
    meant = (codes - np.repeat(zeros, GROUP, axis=0)).astype(np.float32) * wide
    held = meant
    if not symmetric:
        held = codes.astype(np.float32) * wide + np.repeat(rounded, GROUP, axis=0)
    largest = np.abs(meant).reshape(-1, GROUP, N).max(axis=1)
    off = np.abs(found - meant) / np.repeat(np.where(largest > 0, largest, 1), GROUP, axis=0)
    minimum_error = 0.0 if symmetric else float((np.abs(rounded - exact) / np.abs(exact)).max())
    different = int((found.view(np.uint32) != held.view(np.uint32)).sum())
    return source.format, found.size, different, minimum_error, float(off.max())


def packed_parts(
    method: str, bits: int, codes: Ints, zeros: Ints, scales: npt.NDArray[np.float16]
) -> dict[str, npt.NDArray[Any]]:
    """A matrix's tensors: codes (K, N), zero points and scales (groups, N)."""
    if method == "awq":
        parts = {
            "qweight": packed(codes[:, _awq_columns()], bits),
            "qzeros": packed(zeros[:, _awq_columns()], bits),
        }
    else:  # codes along the inputs; a stored zero point is one less
        parts = {"qweight": packed(codes.T, bits).T, "qzeros": packed(zeros - 1, bits)}
        parts["g_idx"] = (np.arange(len(codes)) // GROUP).astype(np.int32)
    return parts | {"scales": scales}


def packed(codes: Ints, bits: int) -> npt.NDArray[np.int32]:
    """Each row of codes as one whole number, the first lowest, in words of 32 bits."""
    size = codes.shape[1] * bits // 8
    rows = [sum(int(code) << (bits * i) for i, code in enumerate(row)) for row in codes]
    return np.frombuffer(b"".join(row.to_bytes(size, "little") for row in rows), "<i4").reshape(
        len(codes), -1
    )


def _awq_columns() -> list[int]:
    """The columns in the order in which their codes lie: of each eight the even ones, then the odd ones."""
    return [start + at for start in range(0, N, 8) for at in (*range(0, 8, 2), *range(1, 8, 2))]


def write_matrix(
    folder: Path, method: str, bits: int, symmetric: bool, parts: dict[str, npt.NDArray[Any]]
) -> None:
    """A folder of one block with the matrix `MATRIX`; all others are 16-bit zeros."""
    said = {"quant_method": method, "bits": bits, "group_size": GROUP}
    said |= {"sym": symmetric, "desc_act": False} if method == "gptq" else {"zero_point": not symmetric}
    config = {
        "model_type": "llama", "hidden_size": N, "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 4, "quantization_config": said,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    shapes = {f"model.layers.0.self_attn.{name}_proj": (N, N) for name in "qkvo"}
    shapes |= {f"model.layers.0.mlp.{name}_proj": (K, N) for name in ("gate", "up")}
    shapes |= {"model.embed_tokens": (N, N), "lm_head": (N, N)}
    norms = ("model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm", "model.norm")
    tensors: dict[str, npt.NDArray[Any]] = {
        f"{name}.weight": np.zeros(of, np.float16) for name, of in shapes.items()
    }
    tensors |= {f"{name}.weight": np.zeros(N, np.float16) for name in norms}
    tensors |= {f"{MATRIX}.{name}": of for name, of in parts.items()}
    header, data = {}, b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        dtype = "F16" if array.dtype == np.float16 else "I32"
        header[name] = {
            "dtype": dtype,
            "shape": array.shape,
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    words = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(words).to_bytes(8, "little") + words + data)
