"""Several instances on one server, beside what was measured; fits of prompts."""

from dataclasses import replace

import numpy as np
import pytest

from calibration import cores_problem, prompt_problem
from calibration.measurements import read_table
from calibration.packed_check import choices, packed_rows
from sailsim.sim.software.fitted import fitted_constants

ROWS = packed_rows(fitted_constants())


def test_errors_are_those_of_the_measurements() -> None:
    several = ROWS.processes > 1
    errors = {e["measurements"]: e for e in fitted_constants().errors if e["held_out"] == "nothing"}
    for system, title in (("altra", "Altra, Ampere's fork"), ("graviton4", "Graviton4, llama.cpp")):
        stored = errors[f"{title}, several processes side by side"]
        error = np.abs(ROWS.ratio[several & (ROWS.system == system)] - 1)
        assert len(error) == stored["count"]
        assert np.median(error) == pytest.approx(stored["median_error"], rel=1e-3)
        assert error.max() == pytest.approx(stored["worst_error"], rel=1e-3)
    assert len(ROWS.measured) == 448


def test_rows_that_the_fit_has_are_known() -> None:
    one, altra = ROWS.processes == 1, ROWS.system == "altra"
    assert ROWS.fitted[altra].sum() == len(read_table("a1_batched.csv"))
    assert (ROWS.fitted[~altra] == one[~altra]).all()
    assert one[ROWS.fitted].all()


def test_the_packing_that_is_reckoned_the_fastest_nearly_is() -> None:
    made = choices(ROWS)
    lost = np.array([choice.lost for choice in made])
    assert np.median(lost) < 0.02
    assert lost.max() < 0.15
    gained = [choice.gained for choice in made if choice.sequences == 8 and np.isfinite(choice.gained)]
    assert min(gained) > 1
    assert max(gained) > 2
    stored = fitted_constants().table["packing"]
    assert stored["choices"] == len(made)
    assert stored["worst_lost"] == pytest.approx(lost.max(), rel=1e-3)


@pytest.mark.slow
def test_fits_find_constants_that_are_known() -> None:
    """Rows made from constants give the constants again."""
    shipped = fitted_constants().table
    for problem, known in (
        (prompt_problem.fork_problem(shipped["cpu"]["ampere"]["constants"]), [9.0, 20.0, 2e4]),
        (prompt_problem.gpu_prompt_problem(shipped["gpu"]["constants"]), [0.5, 0.4, 0.6, 8e3, 12.0, 0.3]),
        (cores_problem.tile_problem(), [4.0, 2.0, 20.0, 300.0]),
    ):
        values = np.array(known)
        made = replace(problem.rows, measured=problem.predict(values, problem.rows))
        found = prompt_problem.solve(problem, made, starts=1)
        assert found.values == pytest.approx(values, rel=1e-4)
