"""Speed of the reproduction (`make bench`): samples a second; a sample is a row of the space of unknowns."""

from itertools import count
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

pytest.importorskip("SALib")

from sailsim.analysis.paper.sampling import Study, evaluate_block
from sailsim.analysis.paper.unknowns import space


@pytest.mark.parametrize("what", ["two free machines", "a row that decides"])
def test_samples(benchmark: BenchmarkFixture, what: str) -> None:
    """Free machines run ten workloads, both software stacks and other designs; the rows between five."""
    study = Study(space(), 8, 0)
    blocks = study.rows()
    turn = count()
    shape = slice(0, 2) if what.startswith("two") else slice(1, 6)

    def block() -> Any:
        rows = blocks[next(turn) % study.full]
        chosen = rows[[0, -1]] if what.startswith("two") else rows[shape]
        return evaluate_block(study.space, 0, chosen)

    result = benchmark.pedantic(block, rounds=3, warmup_rounds=1)
    rate = len(result) / benchmark.stats.stats.mean
    benchmark.extra_info["samples per second"] = rate
    print(f"\n{what}: {rate:.2f} samples/s on one core")
