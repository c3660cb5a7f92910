"""Hugging Face folders of decoders by the names and shapes of their tensors, with data that take no room."""

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from sailsim.workloads.model_files.safetensors_file import DTYPES

Stored = dict[str, tuple[str, tuple[int, ...]]]
"""Type and shape of each tensor, output first for a matrix."""


def header_of(tensors: Stored) -> tuple[bytes, int]:
    """The header of a file, and the bytes of its data."""
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = prod(shape) * DTYPES[dtype]
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return json.dumps(table).encode(), at


def write_safetensors(path: Path, tensors: Stored) -> None:
    """One file."""
    header, size = header_of(tensors)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)


def write_folder(folder: Path, tensors: Stored, config: Mapping[str, Any], shards: int = 1) -> Path:
    """A folder with one file, or so many shards and their index."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors)
        return folder
    names = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    places = {name: names[i % shards] for i, name in enumerate(tensors)}
    for file in names:
        write_safetensors(folder / file, {name: tensors[name] for name in tensors if places[name] == file})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def layers(count: int, *parts: Mapping[str, tuple[int, ...]], dtype: str = "BF16") -> Stored:
    """The same tensors in each of so many blocks."""
    return {
        f"model.layers.{layer}.{name}": (dtype, shape)
        for layer in range(count)
        for part in parts
        for name, shape in part.items()
    }


def attention(d: int, heads: int, kv: int, dim: int) -> dict[str, tuple[int, ...]]:
    """Separate projections, and the norm before them."""
    return {
        "input_layernorm.weight": (d,),
        "self_attn.q_proj.weight": (heads * dim, d),
        "self_attn.k_proj.weight": (kv * dim, d),
        "self_attn.v_proj.weight": (kv * dim, d),
        "self_attn.o_proj.weight": (d, heads * dim),
    }


def network(d: int, f: int, where: str = "mlp") -> dict[str, tuple[int, ...]]:
    """A gated network."""
    return {
        f"{where}.gate_proj.weight": (f, d),
        f"{where}.up_proj.weight": (f, d),
        f"{where}.down_proj.weight": (d, f),
    }


AFTER = "post_attention_layernorm.weight"


def ends(d: int, vocab: int, *, head: bool = True, dtype: str = "BF16") -> Stored:
    """The tensors outside blocks."""
    found: Stored = {"model.embed_tokens.weight": (dtype, (vocab, d)), "model.norm.weight": (dtype, (d,))}
    return found | ({"lm_head.weight": (dtype, (vocab, d))} if head else {})


def grouped(method: str, bits: int, group: int, tensors: Stored, *, indexed: bool = True) -> Stored:
    """The same with every matrix of a projection stored by GPTQ or AWQ."""
    found: Stored = {}
    for name, (dtype, shape) in tensors.items():
        if not name.endswith("_proj.weight"):
            found[name] = (dtype, shape)
            continue
        layer, (n, k) = name.removesuffix(".weight"), shape
        groups = -(-k // group)
        found[f"{layer}.qweight"] = (
            "I32", (k * bits // 32, n) if method == "gptq" else (k, n * bits // 32)
        )  # fmt: skip
        found[f"{layer}.qzeros"] = ("I32", (groups, n * bits // 32))
        found[f"{layer}.scales"] = ("F16", (groups, n))
        if method == "gptq" and indexed:
            found[f"{layer}.g_idx"] = ("I32", (k,))
    return found
