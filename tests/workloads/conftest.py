"""A tiny GGUF model written with the reference writer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import gguf
import numpy as np
import pytest

from sailsim.workloads.choice import chosen_format
from sailsim.workloads.image import HEAD, MATRIX, plan_image
from sailsim.workloads.model import ModelSpec

CHARACTERS = "abcdefghijklmnopqrstuvwxyzĠĊ.,'!?-ABCDEFGHIJKLMN"
"""The vocabulary of tiny models: small letters, a space, a line break, and some more."""

TINY = {"n_layers": 2, "d_model": 64, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16, "d_ffn": 96, "vocab": 48}


def model_text(name: str = "m", title: str = "M") -> str:
    """A file of a model's shape: `TINY` with one layer."""
    shape = "".join(f"{field} = {value}\n" for field, value in (TINY | {"n_layers": 1}).items())
    return f'name = {json.dumps(name)}\ntitle = {json.dumps(title)}\nsource = "a test"\n{shape}'


def small_image(folder: Path, weights: str, d_ffn: int, tied: bool) -> bytes:
    """An image of one block with three slices and random weights."""
    shape = TINY | {
        "n_layers": 1,
        "d_model": 32,
        "n_heads": 2,
        "n_kv_heads": 1,
        "head_dim": 16,
        "d_ffn": d_ffn,
    }
    toml = folder / "shape.toml"
    lines = "".join(f"{field} = {value}\n" for field, value in (shape | {"vocab": 40}).items())
    toml.write_text(
        f'name = "s"\ntitle = "S"\nsource = "here"\n{lines}tied_embeddings = {str(tied).lower()}\n'
    )
    plan_image(toml, weights=weights, slices=3).write(folder / "image")
    return (folder / "image").read_bytes()


def changed_image(
    good: bytes, tensor: str, field: str, value: bytes, index: int = 0, seal: bool = True
) -> bytes:
    """An image with other first bytes of a field of its numbers, and with ``seal`` a checksum that fits."""
    data, start = bytearray(good), 8 + int.from_bytes(good[:8], "little")
    dtype, at = (HEAD, start) if tensor == "image" else (MATRIX, start + HEAD.itemsize)
    assert dtype.fields is not None
    at += index * dtype.itemsize + int(dtype.fields[field][1])
    data[at : at + len(value)] = value
    return sealed_image(data) if seal else bytes(data)


def sealed_image(data: bytearray) -> bytes:
    """An image whose header's checksum fits again."""
    start = 8 + int.from_bytes(data[:8], "little")
    table = json.loads(data[8:start])["matrices"]["data_offsets"][1]
    data[start : start + 4] = bytes(4)
    data[start : start + 4] = crc32(data[: start + table]).to_bytes(4, "little")
    return bytes(data)


def _q2_k_blocks(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """Stored blocks of Q2_K, which the package reads and cannot write: seeded codes and inner scales, then
    the scale and the minimum of 256 weights as fp16."""
    blocks = rng.integers(0, 256, (n, k // 256, 84), dtype=np.uint8)
    blocks[..., 80:] = np.array([0.01, 0.02], np.float16).view(np.uint8)
    return blocks.reshape(n, -1)


def write_tiny_gguf(
    path: Path,
    arch: str = "llama",
    kind: str = "Q4_0",
    experts: int = 0,
    times: int = 1,
    said: Mapping[str, Any] | None = None,
) -> None:
    """A llama of a few thousand seeded weights whose matrices are stored as ``kind``, ``times`` as wide as
    `TINY`, with more that its header says."""
    rng = np.random.default_rng(7)
    d, f = times * TINY["d_model"], times * TINY["d_ffn"]
    kv = times * TINY["n_kv_heads"] * TINY["head_dim"]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name("tiny")
    writer.add_block_count(TINY["n_layers"])
    writer.add_context_length(128)
    writer.add_embedding_length(d)
    writer.add_feed_forward_length(f)
    writer.add_head_count(TINY["n_heads"])
    writer.add_head_count_kv(TINY["n_kv_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_expert_count(experts)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*CHARACTERS])
    writer.add_token_merges(["a b"])
    for key, value in (said or {}).items():
        adds = {bool: "bool", int: "uint32", float: "float32", str: "string"}
        getattr(writer, f"add_{adds[type(value)]}")(key, value)

    def matrix(name: str, n: int, k: int) -> None:
        quant = gguf.GGMLQuantizationType[kind]
        if kind == "Q2_K":
            stored = _q2_k_blocks(rng, n, k)
        else:
            stored = gguf.quants.quantize(rng.normal(0, 0.1, (n, k)).astype(np.float32), quant)
        writer.add_tensor(f"{name}.weight", stored, raw_dtype=quant)

    def vector(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(d, np.float32))

    matrix("token_embd", TINY["vocab"], d)
    vector("output_norm")
    for layer in range(TINY["n_layers"]):
        blk = f"blk.{layer}."
        vector(blk + "attn_norm")
        vector(blk + "ffn_norm")
        for name, n, k in [
            ("attn_q", d, d),
            ("attn_k", kv, d),
            ("attn_v", kv, d),
            ("attn_output", d, d),
            ("ffn_gate", f, d),
            ("ffn_up", f, d),
            ("ffn_down", d, f),
        ]:
            matrix(blk + name, n, k)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


SHAPE = ModelSpec(
    name="shape", title="Four blocks of TinyLlama's shape", source="config.json of TinyLlama-1.1B",
    n_layers=4, d_model=2048, n_heads=32, n_kv_heads=4, head_dim=64, d_ffn=5632, vocab=32000,
)  # fmt: skip
"""Of files whose weights do not matter; its K's are whole blocks of every type."""


def write_shaped_gguf(path: Path, choice: str) -> None:
    """A llama of `SHAPE` with the types that a choice of formats gives its tensors.

    All weights are bytes of 0 that are not written: the file takes no room where files may have holes.
    """
    fmt = chosen_format(choice, "", SHAPE)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"{choice} of one shape")
    writer.add_block_count(SHAPE.n_layers)
    writer.add_embedding_length(SHAPE.d_model)
    writer.add_feed_forward_length(SHAPE.d_ffn)
    writer.add_head_count(SHAPE.n_heads)
    writer.add_head_count_kv(SHAPE.n_kv_heads)
    size = 0

    def tensor(name: str, shape: tuple[int, ...], size_each: int, kind: str) -> None:
        nonlocal size
        raw = gguf.GGMLQuantizationType[kind.upper()]
        writer.add_tensor_info(f"{name}.weight", shape, np.dtype(np.uint8), size_each, raw)
        size += -(-size_each // 32) * 32

    for linear in SHAPE.linears():
        own = fmt.tensor(linear, SHAPE)
        tensor(linear.name, (linear.n, own.bytes(linear.k, 1)), own.bytes(linear.k, linear.n), own.name)
    own = fmt.embedding(SHAPE)
    tensor(
        "token_embd",
        (SHAPE.vocab, own.bytes(SHAPE.d_model, 1)),
        own.bytes(SHAPE.d_model, SHAPE.vocab),
        own.name,
    )
    norms = [f"blk.{i}.{name}_norm" for i in range(SHAPE.n_layers) for name in ("attn", "ffn")]
    for name in [*norms, "output_norm"]:
        tensor(name, (4 * SHAPE.d_model,), 4 * SHAPE.d_model, "f32")
    finish_with_holes(writer, path, size)


def finish_with_holes(writer: gguf.GGUFWriter, path: Path, size: int) -> None:
    """Writes a file's header; its tensors, so many bytes, are zeros that are not written."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        file.truncate(-(-path.stat().st_size // 32) * 32 + size)


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_tiny_gguf(path)
    return path
