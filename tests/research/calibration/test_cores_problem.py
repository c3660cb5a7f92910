"""The fits of later cores: what they rest on, and that the machines have what came out."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.core_rows import instance_rows, size_rows
from calibration.cores_problem import core_problem
from calibration.solver import solve
from sailsim.sim.files import load_system
from sailsim.sim.fitted import core_of, fitted_constants

ERRORS = {(e["measurements"], e["held_out"]): e for e in fitted_constants().errors}
OUT = "all instances of that size"


@pytest.mark.parametrize("chip", ["Graviton3", "Graviton4"])
def test_sizes_that_the_fit_did_not_see_are_within_the_aims(chip: str) -> None:
    error = ERRORS[f"{chip} decode, llama.cpp, medians by size", OUT]
    assert error["median_error"] < 0.12
    assert error["worst_error"] < 0.30
    assert ERRORS[f"{chip} prompt, llama.cpp, medians by size", OUT]["worst_error"] < 0.12


def test_single_instances_scatter_more_and_are_reported() -> None:
    for chip in ("Graviton3", "Graviton4"):
        single = ERRORS[f"{chip} decode, llama.cpp, single instances", OUT]
        medians = ERRORS[f"{chip} decode, llama.cpp, medians by size", OUT]
        assert single["count"] > 5 * medians["count"]
        assert medians["worst_error"] < single["worst_error"] < 0.5


def test_what_is_another_machine_is_not_fitted_on() -> None:
    for system, most in (("graviton3", 64), ("graviton4", 96)):
        threads = size_rows(system).threads
        assert threads.min() == 8
        assert threads.max() == most
    every = instance_rows("graviton4")
    assert {"usual", "few", "bare metal", "two sockets"} == set(every.labels["instances"])
    assert (every.threads[every.labels["instances"] == "two sockets"] == 192).all()
    assert not np.intersect1d(
        instance_rows("graviton3").measured, instance_rows("graviton3", disturbed=True).measured
    ).size


def test_a_median_is_that_of_its_instances() -> None:
    rows, every = size_rows("graviton3"), instance_rows("graviton3")
    for i in range(len(rows.measured)):
        same = every.labels["instances"] == "usual"
        for label in ("threads", "model", "test", "n"):
            same &= every.labels[label] == rows.labels[label][i]
        assert rows.measured[i] == pytest.approx(np.median(every.measured[same]))


@pytest.mark.slow
def test_known_constants_are_found_from_rows_that_they_made() -> None:
    problem = core_problem("neoverse-v1")
    truth = np.array([p.start for p in problem.parameters])
    made = replace(problem, rows=replace(problem.rows, measured=problem.predict(truth, problem.rows)))
    start = tuple(replace(p, start=p.start * 0.7) for p in problem.parameters)
    assert solve(replace(made, parameters=start)).values == pytest.approx(truth, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", ["graviton2", "graviton3", "graviton4", "cobalt100", "axion"])
def test_the_cores_of_a_machine_run_what_the_baseline_runs(name: str) -> None:
    system = load_system(name)
    found = fitted_constants().software("llama.cpp", core_of(system))
    for field in ("attention_rate", "barrier", "product_overhead"):
        assert getattr(system.host, field).value == pytest.approx(found.value(field), rel=2e-3), field
    share = found.value("read_share") * float(system.memory.read_share.value)
    assert system.memory.core_share.value == pytest.approx(share, rel=2e-3)
    rate = found.value("kernel_rate_q4_k_m")
    assert system.host.float_rate.value == pytest.approx(rate, rel=2e-3)
    assert system.host.grid_rate.value == pytest.approx(rate / 2, rel=2e-3)
