"""Speed of the functional LUT-GEMV against NumPy, K = N = 4096, one thread unless said.

Times are the best of their rounds, as many for each; of one thread they are the processor's time, which does
not grow while other work has the core. The limit is the project's: with exact pattern counts at batch 8 at
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
FLOAT_1 = "NumPy float32 @, batch 1"
FLOAT_OTHER = f"{FLOAT}, OPENBLAS_CORETYPE unset"
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
x = rng.standard_normal((int(sys.argv[1]), 4096), np.float32)
w = rng.standard_normal((4096, 4096), np.float32)
def took():
    start = time.process_time()
    x @ w
    return time.process_time() - start
print(min(took() for _ in range(int(sys.argv[2]))))
"""


@pytest.mark.parametrize(
    ("what", "batch", "core_type"), [(FLOAT, 8, True), (FLOAT_1, 1, True), (FLOAT_OTHER, 8, False)]
)
def test_numpy_float32(
    benchmark: BenchmarkFixture, table: Any, what: str, batch: int, core_type: bool
) -> None:
    """In a process of its own: OpenBLAS reads its threads and its kernel (core type) when it is loaded."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    if not core_type and environment.pop("OPENBLAS_CORETYPE", None) is None:
        pytest.skip("OPENBLAS_CORETYPE is not set: the other rows have the library's own choice")

    def best() -> float:
        command = [sys.executable, "-c", NUMPY_SCRIPT, str(batch), str(ROUNDS)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return float(run.stdout)

    table.add(what, benchmark.pedantic(best, rounds=1))


@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize("batch", [1, 8])
def test_lut_gemv_two_threads(measure: Measure, packed: _core.PackedWeights, batch: int) -> None:
    x = activations(batch)
    measure(
        f"LUT-GEMV W4 A8, batch {batch}, 2 threads",
        lambda: _core.lut_gemv(x, packed, ABITS, True, NBW, 0, threads=2),
    )


def test_pattern_profile(measure: Measure) -> None:
    x = np.random.default_rng(3).integers(-128, 128, (8, 11008)).astype(np.int8)
    measure("pattern counts alone, K 11008, batch 8", lambda: _core.pattern_profile(x, 8, NBW, 0, 32, "lru"))


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

    y = measure(what, product_and_counts)
    if batch == 8 and FLOAT in table.rows:
        assert table.ratio(what, FLOAT) <= 3
    some = slice(0, 16)
    assert np.array_equal(y[:, some], x.astype(np.int64) @ VALUES[codes[:, some]].astype(np.int64))
