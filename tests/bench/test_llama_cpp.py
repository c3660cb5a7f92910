"""Decoding SmolLM2 token by token in the units' arithmetic beside llama.cpp on the same file, one thread.

The limit is the project's: a quarter of its rate, with exact counts. Three rows: a token behind a prompt of
32, in the processor's time, which does not grow while other work has the core; llama.cpp's is what 16 more
tokens take. The package is xllamacpp, whose wheel for Linux is not built for the processor at hand; without
it the test is skipped.
"""

import time
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sailsim.workloads.decoder import Decoder, rounded_cache
from sailsim.workloads.gguf_model import open_gguf
from sailsim.workloads.products import UnitProducts
from sailsim.workloads.quality import QUALITY, shipped_text, text_chunks

from ..llama_cpp import MISSING, completed
from .counted import CountedProducts

PROMPT, NEW = 32, 16
THEIRS, OURS = "llama.cpp, a token of SmolLM2", "units' W4 A8, the same"
COUNTED = f"{OURS}, with counts"


def test_a_token_beside_llama_cpp(benchmark: BenchmarkFixture, table: Any, smollm2_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason=MISSING)
    model = open_gguf(smollm2_path)
    tokens = text_chunks(model, shipped_text(QUALITY), 2, PROMPT)[0].tolist()

    def theirs(new: int) -> float:
        answers = [completed(smollm2_path, tokens, new, warmup=True) for _ in range(3)]
        assert all(answer["usage"]["completion_tokens"] == new for answer in answers)
        return float(min(answer["processor_s"] for answer in answers))

    table.add(THEIRS, (theirs(NEW + 1) - theirs(1)) / NEW)

    def ours(products: UnitProducts, rounds: int) -> list[float]:
        decoder = Decoder(model, products, rounded_cache(16))
        cache = decoder.empty_cache()
        decoder.step(tokens, cache)
        took = []
        for _ in range(rounds):
            start = time.process_time()
            decoder.step(tokens[:1], cache)
            took.append(time.process_time() - start)
        return took

    table.add(OURS, min(ours(UnitProducts(model, model.format, 8, threads=1, keep=True), NEW)))
    counted = CountedProducts(model, model.format, 8, threads=1, keep=True)
    took = benchmark.pedantic(lambda: ours(counted, NEW), rounds=1)
    table.add(COUNTED, min(took))
    assert table.ratio(COUNTED, THEIRS) <= 4
