"""GGUF files of decoders by the names and shapes of their tensors, with weights of 0 that take no room."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

Tensors = dict[str, tuple[int, ...]]
ADDS = {bool: "bool", int: "uint32", float: "float32", str: "string", list: "array"}


def writer_of(path: Path, arch: str, facts: Mapping[str, Any]) -> gguf.GGUFWriter:
    """A file whose header says ``facts``: keys behind the architecture's name, or by themselves where they
    begin with a slash."""
    writer = gguf.GGUFWriter(path, arch)
    for key, value in facts.items():
        add = getattr(writer, f"add_{ADDS[type(value)]}")
        add(key[1:] if key.startswith("/") else f"{arch}.{key}", value)
    return writer


def finish_with_holes(writer: gguf.GGUFWriter, path: Path, size: int) -> Path:
    """Writes a file's header; its tensors, so many bytes, are zeros that are not written."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        file.truncate(-(-path.stat().st_size // 32) * 32 + size)
    return path


def write_gguf(
    path: Path,
    arch: str,
    tensors: Tensors,
    facts: Mapping[str, Any],
    kind: str = "f16",
    kinds: Mapping[str, str] | None = None,
) -> Path:
    """A file of tensors, shapes with K first; vectors are f32, matrices ``kind`` or what ``kinds`` says of
    theirs by the end of their name. ``facts`` as `writer_of` has them."""
    writer, size = writer_of(path, arch, facts), 0
    for name, shape in tensors.items():
        chosen = next((of for end, of in (kinds or {}).items() if name.endswith(end)), kind)
        own = GGMLQuantizationType["F32" if len(shape) == 1 else chosen.upper()]
        block, block_bytes = GGML_QUANT_SIZES[own]
        n_bytes = int(np.prod(shape)) // block * block_bytes
        stored = (*reversed(shape[1:]), shape[0] // block * block_bytes)
        writer.add_tensor_info(name, stored, np.dtype(np.uint8), n_bytes, own)
        size += -(-n_bytes // 32) * 32
    return finish_with_holes(writer, path, size)


def blocks(count: int, *parts: Mapping[str, tuple[int, ...]]) -> Tensors:
    """The same tensors in each of so many blocks; a name without a suffix is a weight's."""
    found: Tensors = {}
    for layer in range(count):
        for part in parts:
            for name, shape in part.items():
                end = "" if "." in name else ".weight"
                found[f"blk.{layer}.{name}{end}"] = shape
    return found


def ends(d: int, vocab: int, *, head: bool = True) -> Tensors:
    """The tensors outside blocks."""
    found: Tensors = {"token_embd.weight": (d, vocab), "output_norm.weight": (d,)}
    return found | ({"output.weight": (d, vocab)} if head else {})


def attention(d: int, heads: int, kv: int, dim: int, value: int = 0) -> Tensors:
    """Separate projections of attention, and the norm before them."""
    value = value or dim
    return {
        "attn_norm": (d,),
        "attn_q": (d, heads * dim),
        "attn_k": (d, kv * dim),
        "attn_v": (d, kv * value),
        "attn_output": (heads * value, d),
    }


def dense(d: int, f: int) -> Tensors:
    """An ordinary gated network, and the norm before it."""
    return {"ffn_norm": (d,), "ffn_gate": (d, f), "ffn_up": (d, f), "ffn_down": (f, d)}


def experts(d: int, f: int, count: int, shared: int = 0) -> Tensors:
    """A router, experts, and if asked for what all tokens take beside them, with its gate."""
    found: Tensors = {
        "ffn_norm": (d,),
        "ffn_gate_inp": (d, count),
        "ffn_gate_exps": (d, f, count),
        "ffn_up_exps": (d, f, count),
        "ffn_down_exps": (f, d, count),
    }
    if shared:
        found |= {
            "ffn_gate_inp_shexp": (d,),
            "ffn_gate_shexp": (d, shared),
            "ffn_up_shexp": (d, shared),
            "ffn_down_shexp": (shared, d),
        }
    return found


def facts(heads: int, kv: int | None = None, **more: Any) -> dict[str, Any]:
    """The keys that a reader needs; ``__`` in a name stands for a dot."""
    found: dict[str, Any] = {"attention.head_count": heads}
    if kv is not None:
        found["attention.head_count_kv"] = kv
    return found | {name.replace("__", "."): value for name, value in more.items()}
