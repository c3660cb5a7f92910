"""The fit of this project's kernels in gem5: its rows are the runs, and it finds what rows were made with."""

from dataclasses import replace

import pytest

from calibration.simulated_problem import neon_problem
from calibration.solver import Problem, solve
from sailsim.analysis.results.gem5_steps import decode_rows


def test_the_fit_finds_the_constants_that_rows_were_made_with() -> None:
    problem = neon_problem()
    names = [p.name for p in problem.parameters]
    true = solve(problem).values.copy()
    for name, factor in (("kernel_rate_w4", 0.8), ("attention_rate", 1.3), ("group_cycles", 1.2)):
        true[names.index(name)] *= factor
    made = replace(problem.rows, measured=problem.predict(true, problem.rows))
    found = solve(Problem(problem.parameters, made, problem.predict, loss=problem.loss)).values
    for name in ("kernel_rate_w4", "attention_rate", "group_cycles"):
        assert found[names.index(name)] == pytest.approx(true[names.index(name)], rel=0.02)


def test_the_runs_that_are_fitted_are_of_one_program() -> None:
    fitted = [row for row in decode_rows() if row["attention"] == "cores" and row["cache"] == "fp16"]
    assert len({row["content"] for row in fitted}) == 1
