"""`python research/fit.py --check`: what a fit is compared with (tests of the fit say that it is equal)."""

import copy
from types import SimpleNamespace
from typing import Any

import fit
import pytest
from click.testing import CliRunner, Result

from sailsim.sim.fitted import fitted_constants


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What stands for a fit's result: the shipped one, until a test changes it."""
    table = copy.deepcopy(fitted_constants().table)
    monkeypatch.setattr(fit, "run_all", lambda: SimpleNamespace(table=table))
    return table


def check() -> Result:
    return CliRunner().invoke(fit.main, ["--check"])


def test_an_equal_fit_is_said_below_its_errors(fitted: dict[str, Any]) -> None:
    found = check()
    assert found.exit_code == 0, found.output
    assert found.stdout.splitlines()[-1] == "Equal to the shipped constants."
    worst = max(row["worst_error"] for row in fitted["errors"])
    assert f"{100 * worst:.1f}%" in found.stdout


def test_a_constant_that_differs_is_named(fitted: dict[str, Any]) -> None:
    fitted["cpu"]["llama.cpp"]["constants"]["barrier"]["value"] *= 1.01
    found = check()
    assert found.exit_code == 1
    assert found.stderr.splitlines() == [
        "the fit differs from the shipped results in cpu.llama.cpp.constants.barrier.value, allowed is 0.1 %"
    ]
