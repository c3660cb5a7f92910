"""Speed and memory of a quality point, 4,080 tokens of SmolLM2, and of the product that it is made of.

Limits are the project's: a point in 30 s on two cores, and at most 1.5 times the file and 500 MB of memory.
The product, exact to the bit, is compared with NumPy's float32 product of the same shape.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.fast import scaled_product

FLOATS, UNITS, POINT = "NumPy float32 @, 512 x 576 x 1536", "units' W4 A8 g32, the same", "a quality point"
SCRIPT = """
import sys
from sailsim.analysis.studies.quality_study import QualityPoint, measured
print(measured(int(sys.argv[1]), QualityPoint(sys.argv[2]))["perplexity"])
"""


@pytest.fixture(scope="module")
def x() -> Any:
    return np.random.default_rng(1).integers(-127, 128, (512, 576)).astype(np.int8)


def test_a_product_in_floats(benchmark: BenchmarkFixture, table: Any, x: Any) -> None:
    a, b = x.astype(np.float32), np.random.default_rng(2).standard_normal((576, 1536), np.float32)
    benchmark.pedantic(lambda: a @ b, rounds=15, warmup_rounds=2)
    table.add(FLOATS, benchmark.stats.stats.min)


def test_a_product_of_units(benchmark: BenchmarkFixture, table: Any, x: Any) -> None:
    codes = np.random.default_rng(2).integers(0, 16, (576, 1536)).astype(np.uint8)
    said = {"abits": 8, "code": WeightCode.twos(4), "group_size": 32, "threads": os.cpu_count() or 1}
    act_scale, scale = np.ones(512, np.float32), np.ones((18, 1536), np.float16)
    benchmark.pedantic(
        lambda: scaled_product(x, act_scale, codes, scale=scale, **said), rounds=15, warmup_rounds=2
    )
    table.add(UNITS, benchmark.stats.stats.min)
    assert table.ratio(UNITS, FLOATS) < 4


def test_a_quality_point(benchmark: BenchmarkFixture, table: Any, smollm2_path: Path) -> None:
    """In a process of its own, whose memory is its own."""
    words = [sys.executable, "-c", SCRIPT, str(min(2, os.cpu_count() or 1)), str(smollm2_path)]
    benchmark.pedantic(lambda: subprocess.run(words, check=True, capture_output=True), rounds=1)
    table.add(POINT, benchmark.stats.stats.min)
    most = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert most < 1.5 * smollm2_path.stat().st_size + 500e6
