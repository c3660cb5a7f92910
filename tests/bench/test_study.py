"""What a study costs beside its evaluations: keeping, finding again and asking records by SQL."""

import resource
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sailsim.analysis.results.folder import query
from sailsim.analysis.results.runs import evaluate, runners
from sailsim.sim.point import Point
from sailsim.sim.study.folder import Store
from sailsim.sim.study.run import run_study
from sailsim.sim.study.tasks import Task

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


def test_finding_it_again(benchmark: BenchmarkFixture, table: Any, tmp_path: Path) -> None:
    tasks = [Task(f"{i:064d}", f"{i:064d}", i) for i in range(POINTS)]

    def kept() -> None:
        run_study(tasks, lambda i: {"x": i}, tmp_path, progress=False)

    kept()
    benchmark.pedantic(kept, rounds=5)
    table.add("found again, a point", benchmark.stats.stats.min / POINTS)


def test_asking_by_sql(benchmark: BenchmarkFixture, table: Any, tmp_path: Path) -> None:
    tasks = [Task(f"{i:064d}", f"{i:064d}", i) for i in range(POINTS)]
    store = run_study(tasks, lambda i: {"x": i, "of": i % 7}, tmp_path, progress=False)
    sql = "SELECT of, max(x) AS most FROM runs GROUP BY of"
    found = benchmark.pedantic(lambda: query(store, sql), rounds=5)
    table.add("asked by SQL, all points", benchmark.stats.stats.min)
    assert found.num_rows == 7


def test_a_million_records(benchmark: BenchmarkFixture, table: Any, tmp_path: Path) -> None:
    """As many as 10^5 points have by ten runners. What is held meanwhile does not grow with what is stored:
    beside the tasks themselves, ten times as many take the same memory."""
    records = evaluate(POINT, runners()[:10])

    def stored(count: int) -> tuple[Store, int]:
        tasks = [Task(f"{i:064d}", f"{i:064d}", i) for i in range(count)]
        before = _resident()
        folder = tmp_path / str(count)
        store = run_study(
            tasks, lambda i: [{**record, "batch": i} for record in records], folder, progress=False
        )
        return store, _resident() - before

    _, few = stored(10_000)
    store, many = benchmark.pedantic(lambda: stored(100_000), rounds=1)
    table.add("kept, a point of 10^5", benchmark.stats.stats.min / 1e5)
    assert many < few + (1 << 26)
    sql = "SELECT runner, max(tokens_per_s) FROM runs GROUP BY runner"
    began = time.perf_counter()
    assert query(store, sql).num_rows == 10
    table.add("asked by SQL, 10^6 records", time.perf_counter() - began)


def _resident() -> int:
    """Bytes that this process takes now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
