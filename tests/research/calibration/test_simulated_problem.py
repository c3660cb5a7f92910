"""The fit of this project's kernels in gem5: its rows are the runs, and it finds what rows were made with."""

from dataclasses import replace

import pytest

from calibration.simulated_problem import neon_problem
from calibration.solver import Problem, solve


def test_the_fit_finds_the_constants_that_rows_were_made_with() -> None:
    problem = neon_problem()
    names = [p.name for p in problem.parameters]
    true = solve(problem).values.copy()
    for name, factor in (("kernel_rate_w4", 0.8), ("core_share", 0.9), ("group_cycles", 1.2)):
        true[names.index(name)] *= factor
    made = replace(problem.rows, measured=problem.predict(true, problem.rows))
    found = solve(Problem(problem.parameters, made, problem.predict, loss=problem.loss)).values
    for name in ("kernel_rate_w4", "core_share", "group_cycles"):
        assert found[names.index(name)] == pytest.approx(true[names.index(name)], rel=0.02)
