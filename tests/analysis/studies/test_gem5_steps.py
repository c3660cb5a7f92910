"""Steps of whole tokens that gem5 ran, with the engine's beside them."""

import pytest

from sailsim.analysis.studies.gem5_steps import ENGINES, every_row, fitted_rows, with_engine


def test_the_engines_steps_beside_committed_runs_are_todays() -> None:
    """`python research/fits/gem5_data.py engine` writes them anew."""
    on_units = [row for row in every_row() if row["linears"] == "lutmm"]
    assert on_units
    for row in on_units:
        again = with_engine(row)
        assert [row[name] for name in ENGINES] == pytest.approx([again[name] for name in ENGINES], rel=1e-12)


def test_fits_rest_on_runs_of_one_program() -> None:
    assert len({row["content"] for row in fitted_rows()}) == 1
