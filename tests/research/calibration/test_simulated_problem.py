"""The fit of this project's kernels in gem5: its rows are the runs, and it finds what rows were made with."""

from dataclasses import replace

import pytest

from calibration.measurements import read_table
from calibration.simulated_problem import LOOPS, neon_problem, of_loops
from calibration.solver import Problem, solve


@pytest.mark.slow
def test_the_fit_finds_the_constants_that_rows_were_made_with() -> None:
    problem = neon_problem()
    names = [p.name for p in problem.parameters]
    true = solve(problem).values.copy()
    for name, factor in (("kernel_rate_w4", 0.8), ("core_share", 0.9), ("output_cycles", 1.2)):
        true[names.index(name)] *= factor
    made = replace(problem.rows, measured=problem.predict(true, problem.rows))
    found = solve(Problem(problem.parameters, made, problem.predict, loss=problem.loss)).values
    for name in ("kernel_rate_w4", "core_share", "output_cycles"):
        assert found[names.index(name)] == pytest.approx(true[names.index(name)], rel=0.02)


def test_groups_and_passes_of_four_bits_give_the_rates_of_their_loops() -> None:
    rates = {row["loop"]: float(row["gem5"]) for row in read_table(LOOPS) if row["core"] == "neoverse-n1"}
    group, shared = (of_loops()[name]["value"] for name in ("group_cycles", "shared"))
    weights = 1 / rates["decode W4 g128 b1"] - group / 128
    for size, rows in ((32, 1), (32, 4), (128, 4)):
        cycles = weights * (1 - shared * (1 - 1 / rows)) + group / size
        assert 1 / cycles == pytest.approx(rates[f"decode W4 g{size} b{rows}"], rel=0.02)
