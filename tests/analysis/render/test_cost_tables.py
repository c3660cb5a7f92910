"""What the tables say follows from the models."""

from itertools import pairwise

import pytest

from sailsim.analysis.baselines.runners import named
from sailsim.analysis.render.cost_tables import sensitivity_table
from sailsim.analysis.results.runs import runs
from sailsim.sim import Point

POINT = Point(model="smollm2-135m", context=64, batch=2)


def test_what_decides_is_sorted_and_ends_with_the_nominal():
    sail, cores = runs(POINT, runners=named("sail", "cores"))
    table = [row.split("|")[1:4] for row in sensitivity_table(POINT, most=5).splitlines()[2:]]
    assert len(table) == 6
    swings = [abs(float(high.strip(" x")) - float(low.strip(" x"))) for _, low, high in table[:-1]]
    assert all(wide >= narrow - 0.011 for wide, narrow in pairwise(swings))  # two digits are printed
    nominal = cores.energy_j / sail.energy_j
    assert float(table[-1][1].strip(" x")) == pytest.approx(nominal, abs=0.006)
