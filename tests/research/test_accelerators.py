"""Accelerators against published figures and other simulators: what the tables rest on, and bad rows."""

import accelerators
import pytest
from accelerators import (
    checked,
    figures,
    simulated,
    simulators,
)

from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import uniform_format
from sailsim.workloads.models.graph import decode_step

LAYERS = accelerators._rows(accelerators.NETWORK)
SIMULATORS = {simulator.name: simulator for simulator in simulators()}


def test_the_network_has_its_published_weights_and_products() -> None:
    numbers = [[int(row[name]) for name in ("channels", "filter", "filters", "places")] for row in LAYERS]
    assert len(numbers) == 95
    assert sum(c * f * n for c, f, n, _ in numbers) == pytest.approx(23.8e6, rel=1e-3)
    assert sum(c * f * n * p for c, f, n, p in numbers) == pytest.approx(5.71e9, rel=1e-3)


def test_what_went_into_a_machine_comes_out_and_is_said() -> None:
    (fitted,) = [checked(figure) for figure in figures() if figure.fitted]
    assert abs(fitted.error) < 1e-3


@pytest.mark.parametrize("name", SIMULATORS)
def test_a_simulator_has_every_matrix_of_the_model(name: str) -> None:
    model = load_model(accelerators.MODEL)
    matrices = [op for op in decode_step(model, uniform_format(8, 0), 1, 1) if op.kind == "gemv"]
    rows = simulated(SIMULATORS[name])
    assert sum(row.times for row in rows) == len(matrices)
    assert sum(row.times * row.shape.k * row.shape.n for row in rows) == sum(op.macs for op in matrices)


@pytest.mark.parametrize(
    ("name", "within"),
    [("pimeval-bitsimd-v-ap", 0.1), ("pimeval-aim", 1e-3), ("aim-simulator", 0.15), ("pim-simulator", 0.04)],
)
def test_comparable_machines_come_near(name: str, within: float) -> None:
    assert SIMULATORS[name].comparable
    assert all(abs(row.ours / row.theirs - 1) < within for row in simulated(SIMULATORS[name]))


def test_what_is_published_as_a_range_holds_ours() -> None:
    ranges = [figure for figure in figures() if figure.published.low is not None]
    assert ranges
    for figure in ranges:
        assert figure.published.low is not None
        assert figure.published.high is not None
        assert figure.published.low <= checked(figure).ours <= figure.published.high
