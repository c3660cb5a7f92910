"""A tiny GGUF model written with the reference writer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import gguf
import numpy as np
import pytest

from sailsim.workloads.images.image_file import HEAD, MATRIX, plan_image
from sailsim.workloads.model_files.load import chosen_format
from sailsim.workloads.models.model import ModelSpec

from .decoder_files import attention, blocks, dense, ends, facts, write_gguf, writer_of

CHARACTERS = "abcdefghijklmnopqrstuvwxyzĠĊ.,'!?-ABCDEFGHIJKLMN"
"""The vocabulary of tiny models: small letters, a space, a line break, and some more."""

TINY = {"n_layers": 2, "d_model": 64, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16, "d_ffn": 96, "vocab": 48}


def model_text(name: str = "m", title: str = "M", **changes: int | bool) -> str:
    """A file of a model's shape: `TINY` with one layer, and with what is changed."""
    fields = {"name": name, "title": title, "source": "a test"} | TINY | {"n_layers": 1} | changes
    return "".join(f"{field} = {json.dumps(value)}\n" for field, value in fields.items())


def small_image(folder: Path, weights: str, d_ffn: int, tied: bool) -> bytes:
    """An image of one block with three slices and random weights."""
    shape = {"d_model": 32, "n_heads": 2, "n_kv_heads": 1, "d_ffn": d_ffn, "vocab": 40}
    (folder / "shape.toml").write_text(model_text("s", "S", **shape, tied_embeddings=tied))
    plan_image(folder / "shape.toml", weights=weights, slices=3).write(folder / "image")
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
    rng, quant = np.random.default_rng(7), gguf.GGMLQuantizationType[kind]
    d, f, heads, kv = times * TINY["d_model"], times * TINY["d_ffn"], TINY["n_heads"], TINY["n_kv_heads"]
    header = {
        "/general.name": "tiny", "block_count": TINY["n_layers"], "context_length": 128,
        "embedding_length": d, "feed_forward_length": f, "attention.head_count": heads,
        "attention.head_count_kv": kv, "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 10000.0,
        "expert_count": experts, "/tokenizer.ggml.model": "gpt2", "/tokenizer.ggml.tokens": [*CHARACTERS],
        "/tokenizer.ggml.merges": ["a b"],
    }  # fmt: skip
    writer = writer_of(path, arch, header | {f"/{key}": value for key, value in (said or {}).items()})
    of_blocks = blocks(TINY["n_layers"], attention(d, heads, kv, d // heads), dense(d, f))
    for name, (k, *n) in (ends(d, TINY["vocab"], head=False) | of_blocks).items():
        if not n:
            writer.add_tensor(name, np.ones(k, np.float32))
            continue
        if kind == "Q2_K":
            stored = _q2_k_blocks(rng, *n, k)
        else:
            stored = gguf.quants.quantize(rng.normal(0, 0.1, (*n, k)).astype(np.float32), quant)
        writer.add_tensor(name, stored, raw_dtype=quant)
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
    kinds = {f"{linear.name}.weight": fmt.tensor(linear, SHAPE).name for linear in SHAPE.linears()}
    kinds["token_embd.weight"] = fmt.embedding(SHAPE).name
    d, heads, kv = SHAPE.d_model, SHAPE.n_heads, SHAPE.n_kv_heads
    tensors = blocks(SHAPE.n_layers, attention(d, heads, kv, SHAPE.head_dim), dense(d, SHAPE.d_ffn))
    said = facts(heads, kv) | {"/general.name": f"{choice} of one shape"}
    write_gguf(path, "llama", tensors | ends(d, SHAPE.vocab), said, kinds=kinds)


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_tiny_gguf(path)
    return path
