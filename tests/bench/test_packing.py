"""Codes, scales and minima of a tensor as a tile has them, out of the bytes of a file: one matrix a format.

The limit is the project's: 100 MB/s of what is made, a byte a code and fp16 scales and minima, in the
processor's time. Beside it stands the copy of as many bytes as are read.
"""

import time
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sailsim.workloads.formats import TENSOR_FORMATS
from sailsim.workloads.weights import STORED, read_blocks, tile_fp16

N, K = 2048, 2048
LIMIT = 100e6


@pytest.mark.parametrize("name", STORED)
def test_packing(benchmark: BenchmarkFixture, table: Any, name: str) -> None:
    fmt = TENSOR_FORMATS[name]
    raw = np.random.default_rng(1).integers(0, 60, (N, K // fmt.block * fmt.block_bytes), dtype=np.uint8)
    took, copied, made = [], [], 0

    def pack() -> None:
        nonlocal made
        start = time.process_time()
        found = read_blocks(raw, fmt)
        parts = [tile_fp16("scale", found.scales, fmt)]
        if found.minima is not None:
            parts.append(tile_fp16("minimum", found.minima, fmt))
        took.append(time.process_time() - start)
        made = found.codes.nbytes + sum(part.nbytes for part in parts)
        start = time.process_time()
        raw.copy()
        copied.append(time.process_time() - start)

    benchmark.pedantic(pack, rounds=5, warmup_rounds=1)
    table.add(f"{name}, {raw.nbytes / min(took) / 1e6:.0f} MB/s of the file", min(took))
    assert made / min(took) > LIMIT
