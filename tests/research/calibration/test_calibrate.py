"""The fit runs again to the shipped numbers, and finds constants that are known."""

import copy
import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from calibration import (
    arm_problem,
    core_rows,
    cores_problem,
    cpu_problem,
    gpu_problem,
    held_out,
    held_out_check,
    kernel_ratios,
    kinds,
    lut_problem,
    measurements,
    packed_check,
    prompt_problem,
    simulated_problem,
    vllm_problem,
)
from calibration import calibrate as fit
from calibration import (
    errors as fit_errors,
)
from sailsim.analysis.studies.gem5_steps import TABLE
from sailsim.sim.software.fitted import fitted_constants, held_out_results

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcome():
    return fit.run_all()


@pytest.fixture(scope="module")
def result(outcome):
    return outcome.table


def sets_of(table):
    """Every set of constants of a result."""
    later = [each for sets in table["cores"].values() for each in sets.values()]
    return [*table["cpu"].values(), *later, table["gpu"]]


@pytest.fixture
def held_out_file():
    if not os.environ.get(held_out.VARIABLE):
        pytest.skip(f"{held_out.VARIABLE} names no file of held-out rows; they are not in the repository")
    return held_out.held_out_path()


def test_fit_gives_the_shipped_constants_again(result):
    assert fit_errors.differences(fitted_constants().table, result) == []


def test_a_changed_constant_is_seen(result):
    changed = copy.deepcopy(result)
    changed["cpu"]["llama.cpp"]["constants"]["barrier"]["value"] *= 1.01
    assert fit_errors.differences(result, changed) == ["cpu.llama.cpp.constants.barrier.value"]
    del changed["cpu"]["llama.cpp"]["intervals"]
    assert len(fit_errors.differences(result, changed)) == 2


@pytest.mark.parametrize(
    "made_problem", [cpu_problem.cpu_problem, partial(cores_problem.core_problem, "neoverse-v1")]
)
def test_known_constants_are_found_from_rows_that_they_made(made_problem):
    problem = made_problem()
    truth = np.array([p.start for p in problem.parameters])
    made = replace(problem, rows=replace(problem.rows, measured=problem.predict(truth, problem.rows)))
    start = tuple(replace(p, start=p.start * 0.7) for p in problem.parameters)
    found = fit.solve(replace(made, parameters=start))
    assert found.values == pytest.approx(truth, rel=1e-3, abs=1e-3)


def test_stored_results_looked_at_the_shipped_constants(result):
    stored = held_out_results()
    assert held_out_check.moved_since(stored, result) == []
    assert "with these constants" in held_out_check.origin(stored, result)
    moved = copy.deepcopy(result)
    moved["cpu"]["llama.cpp"]["constants"]["barrier"]["value"] *= 1.01
    assert held_out_check.moved_since(stored, moved) == ["cpu.llama.cpp.barrier"]
    assert "before cpu.llama.cpp.barrier moved" in held_out_check.origin(stored, moved)


def test_a_fold_that_leaves_constants_open_says_so(result):
    errors = {(e["measurements"], e["held_out"]): e for e in result["errors"]}
    row = errors["A100 batched, f16, LMDeploy", "model"]
    assert row["open"] == ["read_share_f16 with layer_overhead_f16"]
    assert 0.05 < row["open_moves"] < 0.25
    assert "open" not in errors["N1 decode, llama.cpp", "machine"]
    assert "leaves open" in fit_errors.error_lines([row])[-1]


READERS = (
    measurements,
    arm_problem,
    core_rows,
    packed_check,
    fit,
    gpu_problem,
    kernel_ratios,
    lut_problem,
    prompt_problem,
    simulated_problem,
    vllm_problem,
)
"""Modules that read tables of measurements."""


def test_no_fit_reads_what_is_held_out(result, monkeypatch):
    """With absurd rows that are held out: constants and intervals stay, and no other file is read."""
    assert not set(fit.DATA) & set(fit.HELD_OUT)
    read, runs, seen = measurements.read_table, simulated_problem.fitted_rows, set()

    def absurd(name):
        seen.add(name)
        rows = [dict(row) for row in read(name)]
        for row in rows:
            if name in fit.HELD_OUT:
                row["tok_s"] = str(float(row["tok_s"]) * 3)
        return rows

    def noted_runs():
        seen.add(TABLE)
        return runs()

    for module in READERS:
        monkeypatch.setattr(module, "read_table", absurd)
    monkeypatch.setattr(simulated_problem, "fitted_rows", noted_runs)
    for kept in ("first_fit", "tile_problem", "tiles_without", "found_tiles"):
        getattr(cores_problem, kept).cache_clear()
    again = fit.run()
    assert seen == {*fit.DATA, *fit.HELD_OUT}
    for part in ("cpu_covariance", "gpu_covariance"):
        assert fit_errors.differences(result[part], again[part]) == []
    for old, new in zip(sets_of(result), sets_of(again), strict=True):
        assert fit_errors.differences(old["constants"], new["constants"]) == []
        assert old["intervals"] == new["intervals"]
    assert again["errors"] != result["errors"]


def test_left_out_rows_lie_in_their_bands_as_the_table_says():
    stored = measurements.read_table("coverage.csv")
    found = [case.row() for case in kinds.cases()]
    same = ("kind", "what", "of", "held_out", "count")
    assert [[row[name] for name in same] for row in found] == [[row[name] for name in same] for row in stored]
    for row, known in zip(found, stored, strict=True):
        assert float(row["inside"]) == pytest.approx(float(known["inside"]), abs=0.03), row
    many = [row for row in stored if int(row["count"]) >= 20]
    assert min(float(row["inside"]) for row in many) >= 0.8


def test_stored_results_come_out_of_the_held_out_file_again(outcome, held_out_file):
    again = held_out_check.check(held_out_file, outcome)
    new = {name: again[name] for name in ("errors", "coverage", "noise", "attention", "scaling")}
    assert fit_errors.differences({name: held_out_results()[name] for name in new}, new) == []


def test_no_row_is_both_fitted_and_held_out(held_out_file):
    def keys(rows):
        return {(r["model"], r["test"], r["n"], r["threads"], r["ngl"], r["tok_s"]) for r in rows}

    fitted = [dict(r, tok_s=f"{float(r['tok_s']):.4g}") for r in measurements.read_table("llama_bench.csv")]
    held = [r for r in held_out_check.read_rows(held_out_file) if r["instances"] == "1"]
    assert not keys(fitted) & keys(held)
    assert all(float(r["lowest"]) <= float(r["tok_s"]) <= float(r["highest"]) for r in held)


def test_band_holds_most_of_the_measurements():
    problem = cpu_problem.cpu_problem()
    rows = problem.rows
    decode = (rows.labels["test"] == "tg") & (rows.labels["software"] == "llama.cpp")
    ratio = rows.measured[decode] / problem.predict(fit.solve(problem).values, rows)[decode]
    interval = fitted_constants().software("llama.cpp").interval("decode")
    assert np.mean((ratio >= interval.low * 0.999) & (ratio <= interval.high)) >= 0.8
