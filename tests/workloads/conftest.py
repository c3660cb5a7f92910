"""A tiny GGUF model written with the reference writer."""

from pathlib import Path

import gguf
import numpy as np
import pytest

TINY = {"n_layers": 2, "d_model": 64, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16, "d_ffn": 96, "vocab": 48}


def write_tiny_gguf(path: Path, arch: str = "llama", kind: str = "Q4_0", experts: int = 0) -> None:
    """A llama of a few thousand seeded weights whose matrices are stored as ``kind``."""
    rng = np.random.default_rng(7)
    d, f, kv = TINY["d_model"], TINY["d_ffn"], TINY["n_kv_heads"] * TINY["head_dim"]
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
    writer.add_token_list([f"t{i}" for i in range(TINY["vocab"])])

    def matrix(name: str, n: int, k: int) -> None:
        quant = gguf.GGMLQuantizationType[kind]
        values = rng.normal(0, 0.1, (n, k)).astype(np.float32)
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(values, quant), raw_dtype=quant)

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


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_tiny_gguf(path)
    return path
