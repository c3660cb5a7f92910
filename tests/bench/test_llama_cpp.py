"""Decoding SmolLM2 token by token in the units' arithmetic beside llama.cpp on the same file, one thread.

The limit is the project's: a quarter of its rate. Two rows: a token behind a prompt of 32. The package is
xllamacpp, whose wheel for Linux is not built for the processor at hand; without it the test is skipped.
"""

import json
import subprocess
import sys
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

PROMPT, NEW = 32, 16
THEIRS, OURS = "llama.cpp, a token of SmolLM2", "units' W4 A8, the same"
SERVER = """
import json, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.warmup = sys.argv[1], 128, True
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)
asked = {"prompt": json.loads(sys.argv[2]), "temperature": 0, "max_tokens": int(sys.argv[3])}
answer = server.handle_completions(asked)
print("\\n" + json.dumps(answer["timings"]["predicted_per_token_ms"]))
"""


def test_a_token_beside_llama_cpp(benchmark: BenchmarkFixture, table: Any, smollm2_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed (pip install xllamacpp)")
    model = open_gguf(smollm2_path)
    tokens = text_chunks(model, shipped_text(QUALITY), 2, PROMPT)[0].tolist()
    words = [sys.executable, "-c", SERVER, str(smollm2_path), json.dumps(tokens), str(NEW)]
    runs = [subprocess.run(words, check=True, capture_output=True, text=True) for _ in range(3)]
    table.add(THEIRS, min(float(run.stdout.split()[-1]) for run in runs) / 1e3)
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
