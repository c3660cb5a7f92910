"""The fastest software on the cores: which it is, and that no refusal of one stops the others."""

import pytest

from sailsim.analysis.results.runs import evaluate
from sailsim.sim.point import Point

STACKS = ("cores", "cores-ampere", "cores-lut")


@pytest.mark.parametrize(("wbits", "named"), [(2, "T-MAC"), (4, "T-MAC"), (8, "Ampere")])
def test_it_is_the_fastest_of_those_that_take_the_weights(wbits: int, named: str) -> None:
    found = {run["runner"]: run for run in evaluate(Point(model="llama-2-7b", wbits=wbits, batch=8))}
    rates = [found[name]["tokens_per_s"] for name in STACKS]
    assert found["cores-best"]["tokens_per_s"] == max(rate for rate in rates if rate is not None)
    assert named in found["cores-best"]["notes"][0]
    assert (found["cores-lut"]["tokens_per_s"] is None) == (wbits > 4)
    if wbits > 4:
        assert "allowed for T-MAC's tables" in found["cores-lut"]["reason"]
