"""Speed of the studies of claims (`make bench`): machines a second of one core.

A new machine on all workloads, with every software on its cores and known patterns, takes 12 ms (quickest)
and 15 (median); a quarter of it is timing tiles. For all claims together, 20,000 machines in 10 minutes on
two cores are 17 a second and core. What a worker has once its caches are full is what counts; its first block
is two to three times slower.
"""

from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

pytest.importorskip("SALib")  # of the extra `study`

from sailsim.analysis.paper.evaluator import Memo, judged
from sailsim.analysis.paper.joint import BLOCK, PRIORS, sobol_rows
from sailsim.analysis.paper.unknowns import space

SAME_PATTERNS = {"pim.nbw": 4, "weights.group_size": 128}
"""What patterns depend on, held at the nominal values."""


def test_a_new_machine_with_known_patterns(benchmark: BenchmarkFixture) -> None:
    """What the goal is about: every metric of every claim of one machine that was never seen."""
    every = space()
    rows = np.random.default_rng(5).random((40, len(every.factors)))
    machines = iter([every.draw(row).with_values(SAME_PATTERNS) for row in rows])

    def sample() -> None:
        judged(every, next(machines))

    benchmark.pedantic(sample, rounds=20, warmup_rounds=3)


@pytest.mark.parametrize("prior", PRIORS)
def test_machines_of_a_prior(benchmark: BenchmarkFixture, prior: str) -> None:
    """Blocks as a worker of `sailsim claims joint` has them, behind four that fill its caches."""
    of_prior = space("sail", prior)
    rows = sobol_rows(of_prior, 8 * BLOCK, 0)
    blocks = iter(range(0, len(rows), BLOCK))

    def block() -> Any:
        first = next(blocks)
        memo = Memo()
        return [judged(of_prior, of_prior.draw(row), memo=memo) for row in rows[first : first + BLOCK]]

    benchmark.pedantic(block, rounds=4, warmup_rounds=4)
    rate = BLOCK / benchmark.stats.stats.median
    benchmark.extra_info["machines per second"] = rate
    print(f"\n{prior}: {rate:.1f} machines/s on one core")
