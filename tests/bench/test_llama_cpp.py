"""Decoding SmolLM2 token by token in the units' arithmetic beside llama.cpp on the same file, one thread.

The limit is the project's: a quarter of its rate. Two rows: a token behind a prompt of 32. The package is
xllamacpp, whose wheel for Linux is not built for the processor at hand; without it the test is skipped.
"""

import time
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sailsim.workloads import open_gguf
from sailsim.workloads.decoder import Decoder, rounded_cache
from sailsim.workloads.products import UnitProducts
from sailsim.workloads.quality import text_chunks
from sailsim.workloads.texts import QUALITY, shipped_text

from ..llama_cpp import MISSING, completed

PROMPT, NEW = 32, 16
THEIRS, OURS = "llama.cpp, a token of SmolLM2", "units' W4 A8, the same"


def test_a_token_beside_llama_cpp(benchmark: BenchmarkFixture, table: Any, smollm2_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason=MISSING)
    model = open_gguf(smollm2_path)
    tokens = text_chunks(model, shipped_text(QUALITY), 2, PROMPT)[0].tolist()
    answers = [completed(smollm2_path, tokens, NEW, warmup=True) for _ in range(3)]
    table.add(THEIRS, min(answer["timings"]["predicted_per_token_ms"] for answer in answers) / 1e3)
    decoder = Decoder(model, UnitProducts(model, model.format, 8, threads=1, keep=True), rounded_cache(16))
    cache = decoder.empty_cache()
    decoder.step(tokens, cache)
    took = []

    def step() -> None:
        start = time.perf_counter()
        decoder.step(tokens[:1], cache)
        took.append(time.perf_counter() - start)

    benchmark.pedantic(step, rounds=NEW, warmup_rounds=1)
    table.add(OURS, min(took))
    assert table.ratio(OURS, THEIRS) <= 4
