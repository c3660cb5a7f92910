"""What a plan will take, before it runs."""

import itertools
from pathlib import Path

import pandas as pd
import pytest

from sailsim.analysis import runners
from sailsim.analysis.results import plan_check
from sailsim.analysis.results.nearest_time import Known
from sailsim.analysis.results.plan_check import PlanCheck, check_plan
from sailsim.analysis.results.sweep import sweep_into
from sailsim.base.errors import SailsimError
from sailsim.sim import Plan, Point, Store, parse_plan

SMALL = 'fixed.model = "smollm2-135m"\nfixed.context = 64\n'


def check(plan: Plan, out: Path | None = None, jobs: int = 1) -> PlanCheck:
    return check_plan(plan, plan.points, runners(), out, jobs)


@pytest.mark.slow
def test_what_the_folder_holds_is_counted_and_times_the_rest(tmp_path: Path) -> None:
    before = parse_plan(f"{SMALL}axes.llc.slices = [16, 32]\naxes.batch = [1, 8]", "before")
    sweep_into(before.points, tmp_path, runners())
    times = Store(tmp_path).frame().drop_duplicates("key")["evaluation_s"]
    plan = parse_plan(f"{SMALL}axes.llc.slices = [16, 32, 64]\naxes.batch = [1, 8]", "after")
    files = sorted(tmp_path.rglob("*"))
    found = check(plan, tmp_path, jobs=2)
    assert (found.points, found.held, found.to_run, found.known) == (6, 4, 2, 4)
    assert found.seconds_a_point == pytest.approx(times.mean())
    assert found.seconds == pytest.approx(times.mean())  # two points, two processes
    sizes = sum(path.stat().st_size for path in (tmp_path / "chunks").iterdir())
    assert found.bytes_to_store == pytest.approx(sizes / 4 * 2)
    assert sorted(tmp_path.rglob("*")) == files
    # Other columns make other records: nothing of them is there.
    other = parse_plan(f"{SMALL}axes.llc.slices = [16]\naxes.pim.clock = [2]", "other")
    assert check(other, tmp_path).held == 0


def test_without_a_folder_a_few_points_are_timed() -> None:
    plan = parse_plan(f"{SMALL}axes.batch = [1, 2, 4, 8]\naxes.wbits = [2, 4]", "p")
    found = check(plan)
    seconds = found.tried.seconds
    assert (found.known, found.held, found.to_run) == (0, 0, 8)
    assert 2 <= len(seconds) <= plan_check.MOST_RUN
    assert found.seconds_a_point == pytest.approx(sum(seconds[1:]) / len(seconds[1:]))
    first = max(0, seconds[0] - found.seconds_a_point)
    assert found.seconds == pytest.approx(first + 8 * found.seconds_a_point)
    assert found.bytes_to_store > 0
    assert found.memory_bytes > 1 << 20


@pytest.mark.slow
def test_an_axis_that_no_runner_reads_is_told_and_one_that_matters_is_not() -> None:
    text = f"""{SMALL}
    [axes]
    llc.slices = [16, 32]
    pim.unit_cache = [16, 32]
    batch = [1]
    threads = [4, 16]
    [[zip]]
    pim.convert_units = [1, 2]
    pim.convert_latency = [8, 16]
    """
    found = check(parse_plan(text, "p"))
    assert set(found.tried.idle) == {"pim.unit_cache", "pim.convert_units with pim.convert_latency"}
    assert found.single == ("batch",)
    # With conversion in units they are read.
    units = check(parse_plan(text.replace("[axes]", 'fixed.convert = "unit"\n[axes]'), "p"))
    assert set(units.tried.idle) == {"pim.unit_cache"}


def test_an_idle_axis_of_a_sample_is_told_too() -> None:
    text = f"""{SMALL}
    axes.pim.clock = {{ from = 1, to = 3 }}
    axes.pim.mshrs = {{ from = 8, to = 64 }}
    sample.method = "lhs"
    sample.points = 5
    """
    found = check(parse_plan(text, "p"))
    assert "pim.clock" not in found.tried.idle


@pytest.mark.slow
def test_points_that_no_machine_holds_are_counted_without_running_them() -> None:
    fixed = 'fixed.model = "llama-2-13b"\nfixed.beyond_limit = true\n'
    plan = parse_plan(fixed + "axes.batch = [1, 512]\naxes.context = [64, 8192]", "p")
    found = check_plan(plan, plan.points, runners(["aim-n1"]))
    assert found.nowhere.points == 1
    assert "batch 512 and context 8192" in found.nowhere.first
    assert found.unfit["t4"].points >= 2
    assert "allowed is" in found.unfit["t4"].first
    assert (found.impossible.points, found.refused.points) == (0, 0)
    assert found.to_run == 4


def test_machines_that_cannot_be_are_counted_and_the_others_are_timed() -> None:
    plan = parse_plan(f"{SMALL}axes.llc.slices = [16, 32, 80]\naxes.batch = [1, 2]", "p")
    found = check(plan)
    assert (found.points, found.impossible.points, found.to_run) == (6, 2, 4)
    assert "llc.slices is 80" in found.impossible.first
    assert found.seconds is not None


def test_a_machine_whose_values_do_not_go_together_is_refused() -> None:
    found = check(parse_plan(f"{SMALL}axes.pim.rows = [8, 512]\naxes.batch = [1, 2]", "p"))
    assert (found.points, found.impossible.points, found.refused.points, found.to_run) == (4, 0, 2, 2)
    assert "pim does not fit" in found.refused.first


def test_a_machine_with_another_accelerator_is_refused() -> None:
    plan = parse_plan(f'system = ["sail-n1", "neural-cache-n1"]\n{SMALL}', "p")
    found = check(plan)
    assert found.refused.points == 1
    assert "--beside neural-cache-n1" in found.refused.first


def test_nothing_possible_has_no_time() -> None:
    found = check(parse_plan(f"{SMALL}axes.llc.slices = [70, 80]", "p"))
    assert (found.impossible.points, found.to_run, found.seconds) == (2, 0, None)


def test_the_nearest_stored_points_time_a_point() -> None:
    each = itertools.product(("llama-2-7b", "smollm2-135m"), (1, 64), (1, 2, 4, 8, 16))
    stored = [Point(model=model, batch=batch, context=64, threads=threads) for model, batch, threads in each]
    rows = pd.DataFrame([point.as_dict() for point in stored])
    times = (rows["model"] == "llama-2-7b") * 10.0 + (rows["batch"] == 64) * 1.0
    known = Known.at(rows, times.to_numpy())
    ask = [Point(model="llama-2-7b", batch=48, context=64), Point(model="smollm2-135m", context=64)]
    assert [known.seconds([point]) for point in ask] == [11.0, 0.0]
    assert known.seconds(ask) == 5.5
    assert known.seconds([]) is None
    assert Known.of(None).seconds(ask) is None


def test_a_folder_of_another_study_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    row = {"key": "k", "point_key": "q", "code_version": "c", "finished_at": "t", "evaluation_s": 1.0, "x": 1}
    with store.locked("explore"):
        store.append([row])
    with pytest.raises(SailsimError, match="without 'system'; allowed is the folder of a sweep"):
        check(parse_plan(SMALL, "p"), tmp_path)
