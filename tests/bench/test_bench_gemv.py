"""Speed of the functional LUT-GEMV against NumPy, K = N = 4096, one thread.

Times are the best of their rounds, as many for each, of the processor, which do not grow while other work has
the core. The limit is the project's: with exact pattern counts at batch 8 at
most 3 times NumPy's float32 product.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from sailsim import _core

pytestmark = pytest.mark.benchmark(timer=time.process_time)

K = N = 4096
NBW, WBITS, ABITS = 4, 4, 8
VALUES = np.concatenate([np.arange(8), np.arange(-8, 0)]).astype(np.int16)
FLOAT = "NumPy float32 @, batch 8"
OURS_1 = "LUT-GEMV W4 A8 with counts, batch 1"
OURS_8 = "LUT-GEMV W4 A8 with counts, batch 8"

ROUNDS = 60

Measure = Callable[[str, Callable[[], Any]], Any]


@pytest.fixture
def measure(benchmark: BenchmarkFixture, table: Any) -> Measure:
    """``measure(what, call)``: the call's result; its best time goes into the table."""

    def run(what: str, call: Callable[[], Any]) -> Any:
        result = benchmark.pedantic(call, rounds=ROUNDS, warmup_rounds=2)
        table.add(what, benchmark.stats.stats.min)
        return result

    return run


@pytest.fixture(scope="module")
def codes() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 16, (K, N)).astype(np.uint8)


@pytest.fixture(scope="module")
def packed(codes: NDArray[np.uint8]) -> _core.PackedWeights:
    return _core.PackedWeights(codes, WBITS, VALUES)


def activations(batch: int) -> NDArray[np.int8]:
    return np.random.default_rng(2).integers(-128, 128, (batch, K)).astype(np.int8)


NUMPY_SCRIPT = """
import sys, time
import numpy as np
rng = np.random.default_rng(1)
x = rng.standard_normal((8, 4096), np.float32)
w = rng.standard_normal((4096, 4096), np.float32)
def took():
    start = time.process_time()
    x @ w
    return time.process_time() - start
print(min(took() for _ in range(int(sys.argv[1]))))
"""


def test_numpy_float32(benchmark: BenchmarkFixture, table: Any) -> None:
    """In a process of its own: OpenBLAS reads how many threads it has when it is loaded."""

    def best() -> float:
        command = [sys.executable, "-c", NUMPY_SCRIPT, str(ROUNDS)]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return float(run.stdout)

    table.add(FLOAT, benchmark.pedantic(best, rounds=1))


@pytest.mark.parametrize(("what", "batch"), [(OURS_1, 1), (OURS_8, 8)])
def test_lut_gemv(
    measure: Measure,
    table: Any,
    packed: _core.PackedWeights,
    codes: NDArray[np.uint8],
    what: str,
    batch: int,
) -> None:
    x = activations(batch)

    def product_and_counts() -> NDArray[np.int64]:
        _core.pattern_profile(x, ABITS, NBW, 0, 32, "lru")
        return _core.lut_gemv(x, packed, ABITS, True, NBW, 0)

    (y,) = measure(what, product_and_counts)
    if batch == 8 and FLOAT in table.rows:
        assert table.ratio(what, FLOAT) <= 3
    some = slice(0, 16)
    assert np.array_equal(y[:, some], x.astype(np.int64) @ VALUES[codes[:, some]].astype(np.int64))
