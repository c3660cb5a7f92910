"""Rows along some columns: a name that is no column is not passed over."""

import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.results.joins import as_frame
from sailsim.analysis.results.results import Runs
from sailsim.analysis.results.runs import runs
from sailsim.base.errors import SailsimError
from sailsim.sim.point import Point


@pytest.fixture(scope="module")
def two() -> Runs:
    points = [Point(model="smollm2-135m", batch=batch) for batch in (1, 8)]
    return Runs.of(as_frame([run for point in points for run in runs(point)]), prices())


def test_rows_vary_along_a_column_and_are_fixed_at_a_value(two: Runs) -> None:
    assert list(two.at(("batch",), "cores")["batch"]) == [1, 8]
    assert list(two.at((), "cores", batch=8)["batch"]) == [8]


def test_a_name_that_is_no_column_is_refused(two: Runs) -> None:
    with pytest.raises(SailsimError, match="column 'btch' is not in the results; near are batch"):
        two.at(("btch",))
    with pytest.raises(SailsimError, match="column 'thread' is not in the results; near are threads"):
        two.at(("batch",), thread=16)
