"""What a study costs beside its evaluations: keeping records."""

from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sailsim.analysis.runs.runs import evaluate, runners
from sailsim.sim.point import Point
from sailsim.sim.study.open_study import Task, run_study

POINTS = 2000
EVALUATED, KEPT = "evaluated by 10 runners, a point", "kept, its 10 records"
POINT = Point(model="smollm2-135m", context=64)


def test_an_evaluation(benchmark: BenchmarkFixture, table: Any) -> None:
    """Of a point whose tiles are known already."""
    who = runners()[:10]
    benchmark.pedantic(lambda: evaluate(POINT, who), rounds=15, warmup_rounds=1)
    table.add(EVALUATED, benchmark.stats.stats.min)


def test_a_study_of_evaluations_that_return_at_once(
    benchmark: BenchmarkFixture, table: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = evaluate(POINT, runners()[:10])
    tasks = [Task(f"{i:064d}", f"{i:064d}", i) for i in range(POINTS)]

    def kept(folder: Path) -> None:
        run_study(tasks, lambda i: [{**record, "batch": i} for record in records], folder, progress=False)

    def new() -> tuple[tuple[Path], dict[str, Any]]:
        return (tmp_path_factory.mktemp("study"),), {}

    benchmark.pedantic(kept, setup=new, rounds=3)
    table.add(KEPT, benchmark.stats.stats.min / POINTS)
    if EVALUATED in table.rows:
        assert table.ratio(KEPT, EVALUATED) < 0.5
