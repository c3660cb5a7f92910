"""A model's file: the structure of one of 4 GB, and a prompt of 512 tokens of SmolLM2 with exact counts.

Limits are the project's: the structure in 2 s, which a look at every scale keeps too where the system has the
file in memory; the prompt in 5 s on two cores, held here to 5 s of one core's time, which other work on the
machine does not lengthen; and at most 1.5 times the file and 500 MB of memory.
"""

import time
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from sailsim.workloads import load_model, open_gguf
from sailsim.workloads.gguf_file import GgufFile
from sailsim.workloads.gguf_model import GgufModel

from .counted import prompted

STRUCTURE = "structure of a GGUF of 4 GB"
SCALES, FIRST = "its blocks' scales looked at", "both, and the system brings the file into memory"
PROMPT = "a prompt of 512 tokens of SmolLM2, with counts, one thread"
SIZE = 3.5e9
"""Bytes that the file has at least: Llama-2-7B in Q4_0 is 3.8e9."""
TOKENS = 512


def sparse_llama(path: Path) -> None:
    """Llama-2-7B in Q4_0 with a vocabulary of as many strings: a whole header and holes for the weights."""
    spec = load_model("llama-2-7b")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(spec.n_layers)
    writer.add_context_length(4096)
    writer.add_embedding_length(spec.d_model)
    writer.add_feed_forward_length(spec.d_ffn)
    writer.add_head_count(spec.n_heads)
    writer.add_head_count_kv(spec.n_kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(spec.head_dim)
    writer.add_vocab_size(spec.vocab)
    writer.add_token_list([f"token {i}" for i in range(spec.vocab)])
    writer.add_token_scores([0.0] * spec.vocab)
    kind = gguf.GGMLQuantizationType.Q4_0
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    total = 0

    def tensor(name: str, n: int, k: int) -> None:
        nonlocal total
        stored = n * k // block * block_bytes if n > 1 else 4 * k
        shape = (n, k // block * block_bytes) if n > 1 else (k,)
        dtype = np.dtype(np.uint8 if n > 1 else np.float32)
        writer.add_tensor_info(f"{name}.weight", shape, dtype, stored, kind if n > 1 else None)
        total += -(-stored // 32) * 32

    tensor("token_embd", spec.vocab, spec.d_model)
    for layer in range(spec.n_layers):
        for linear in spec.layer_linears(layer):
            tensor(linear.name, linear.n, linear.k)
        for norm in ("attn_norm", "ffn_norm"):
            tensor(f"blk.{layer}.{norm}", 1, spec.d_model)
    tensor("output_norm", 1, spec.d_model)
    tensor("output", spec.vocab, spec.d_model)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.truncate(-(-end // 32) * 32 + total)


def test_the_structure_of_a_large_file(benchmark: BenchmarkFixture, table: Any, tmp_path: Path) -> None:
    """Opened once, when every block's scale is looked at, and again, when those are known to be numbers: what
    remains is the structure, of which nothing is remembered. The first time most is the kernel's, one page of
    the file after another, and has no limit here; the scales alone are looked at once more."""
    path = tmp_path / "m.gguf"
    sparse_llama(path)
    assert path.stat().st_size > SIZE
    began = time.process_time()
    open_gguf(path)
    table.add(FIRST, time.process_time() - began)
    began = time.process_time()
    GgufFile(path).require_numbers()
    scales = time.process_time() - began
    table.add(SCALES, scales)
    took = []

    def structure() -> GgufModel:
        start = time.process_time()
        model = open_gguf(path)
        took.append(time.process_time() - start)
        return model

    model = benchmark.pedantic(structure, rounds=5)
    assert model.format.census(model.spec)
    assert model.spec.n_params == load_model("llama-2-7b").n_params
    table.add(STRUCTURE, min(took))
    assert min(took) + scales < 2


def test_a_prompt_with_counts(benchmark: BenchmarkFixture, table: Any, smollm2_path: Path) -> None:
    """In a process of its own, whose memory and time are its own."""
    ran = benchmark.pedantic(lambda: prompted(smollm2_path, TOKENS), rounds=1)
    table.add(PROMPT, ran.seconds)
    spec = open_gguf(smollm2_path).spec
    groups = sum(-(-k // 4) for k in (spec.d_model, spec.d_attn, spec.d_model, spec.d_ffn))
    assert ran.tokens == TOKENS
    assert ran.patterns == 8 * (TOKENS * spec.n_layers * groups + -(-spec.d_model // 4))
    assert ran.seconds < 5
    assert ran.peak_bytes < 1.5 * smollm2_path.stat().st_size + 500e6
