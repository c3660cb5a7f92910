"""Speed of the fast engine and of a sweep (`make bench`).

Goals, on one core: a step of Llama-2-7B with known patterns in 0.5 ms, with new activations at batch 8 in
8 ms; on two cores the 271 points of the preset `paper` in 8 s. Seen on an otherwise idle machine: 0.2 ms,
5.4 ms, 3.3 s.
"""

from itertools import count
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sailsim.analysis.runs.runs import evaluate as evaluate_point
from sailsim.analysis.studies.sweep_study import run_sweep
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.step.engine import simulate_step
from sailsim.sim.study.plan import read_plan
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.load import load_model


@pytest.mark.parametrize("batch", [1, 8, 32])
@pytest.mark.parametrize("patterns", ["new", "known"])
@pytest.mark.parametrize("name", ["llama-2-7b", "llama-2-13b"])
def test_decode_step(benchmark: BenchmarkFixture, name: str, patterns: str, batch: int) -> None:
    """A step with exact counts; `new`: of activations that no earlier point has scanned."""
    system, model, captured = load_system("sail-n1"), load_model(name), Activations.load()
    seeds = count(1000)
    simulate_step(system, model, Point(batch=batch), captured)

    def step() -> None:
        seed = next(seeds) if patterns == "new" else 0
        simulate_step(system, model, Point(batch=batch, seed=seed), captured)

    benchmark.pedantic(step, rounds=5, warmup_rounds=1)


def test_the_preset_on_two_cores(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """All that `make sim` simulates, with baselines and costs; the start of two processes is in it."""
    points = read_plan("paper")[0].points
    benchmark.pedantic(run_sweep, (points, evaluate_point, tmp_path, 2), {"progress": False}, rounds=1)
