"""Accelerators against published figures and other simulators: what the tables rest on, and bad rows."""

from math import ceil, log2

import accelerators
import pytest
from accelerators import (
    Figure,
    checked,
    citation,
    figures,
    load_validation_machine,
    simulated,
    simulators,
)
from pydantic import ValidationError

from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.workloads.formats import uniform_format
from sailsim.workloads.graph import decode_step
from sailsim.workloads.load import load_model

LAYERS = accelerators._rows(accelerators.NETWORK)
BY_NAME = {figure.what: figure for figure in figures()}
SIMULATORS = {simulator.name: simulator for simulator in simulators()}
PIMEVAL = ("pimeval-bank-level", "pimeval-bitsimd-v-ap", "pimeval-aim")


def test_the_network_has_its_published_weights_and_products() -> None:
    numbers = [[int(row[name]) for name in ("channels", "filter", "filters", "places")] for row in LAYERS]
    assert len(numbers) == 95
    assert sum(c * f * n for c, f, n, _ in numbers) == pytest.approx(23.8e6, rel=1e-3)
    assert sum(c * f * n * p for c, f, n, p in numbers) == pytest.approx(5.71e9, rel=1e-3)


def test_what_went_into_a_machine_comes_out_and_is_said() -> None:
    (fitted,) = [checked(figure) for figure in figures() if figure.fitted]
    assert abs(fitted.error) < 1e-3


def test_the_papers_rule_for_channels_gives_the_times_that_the_table_says() -> None:
    """A bit line a channel, 16 of them for 1 x 1, nine places at most, powers of two."""
    lines = 4032 * 256
    row = 4 * 256 / 64  # cycles through a bank's port: four arrays of 256 bits, 64 a cycle
    multiply, reduce, inputs, outputs = 0.0, 0.0, 0.0, 0.0
    for layer in LAYERS:
        channels, size, filters, places = (int(layer[c]) for c in ("channels", "filter", "filters", "places"))
        steps, wanted = min(size, 9), channels * (4 if size > 9 else 1)
        if size == 1:
            steps, wanted = min(16, channels), ceil(channels / 16)
        lanes = 2 ** ceil(log2(wanted))
        rounds = ceil(filters * places * lanes / lines)
        multiply += rounds * steps * 236 / 2.5e6
        reduce += rounds * log2(lanes) * 132 / 2.5e6
        inputs += rounds * steps * 8 * row / 2.5e6
        outputs += rounds * 32 * row / 2.5e6
    parts = {"products": multiply, "sums": reduce, "bringing inputs": inputs, "taking outputs away": outputs}
    for what, found in parts.items():
        assert f"{found:.2f} ms" in BY_NAME[f"Inception v3: {what}"].why
    weights = checked(BY_NAME["Inception v3: bringing weights"]).ours
    assert f"{sum(parts.values()) + weights:.1f} ms" in BY_NAME["Inception v3, all of it"].why


def test_a_larger_cache_saves_what_the_table_says() -> None:
    base = checked(BY_NAME["Inception v3, all of it"])
    for size in (45, 60):
        larger = checked(BY_NAME[f"Inception v3, all of it, {size} MB of cache"])
        published = base.figure.published.value - larger.figure.published.value
        assert f"{published:.2f} ms" in larger.figure.why
        assert f"{base.ours - larger.ours:.2f} ms" in larger.figure.why


def test_the_parts_of_a_network_add_up_to_no_more_than_all_of_it() -> None:
    parts = [checked(figure).ours for name, figure in BY_NAME.items() if name.startswith("Inception v3:")]
    assert sum(parts) == pytest.approx(checked(BY_NAME["Inception v3, all of it"]).ours, rel=1e-9)


def test_every_published_figure_has_a_citation() -> None:
    for figure in figures():
        for quantity in (figure.published, figure.dram, figure.pins, figure.share):
            assert quantity is None or citation(quantity.source) != quantity.source


@pytest.mark.parametrize("name", SIMULATORS)
def test_a_simulator_has_every_matrix_of_the_model(name: str) -> None:
    model = load_model(accelerators.MODEL)
    matrices = [op for op in decode_step(model, uniform_format(8, 0), 1, 1) if op.kind == "gemv"]
    rows = simulated(SIMULATORS[name])
    assert sum(row.times for row in rows) == len(matrices)
    assert sum(row.times * row.shape.k * row.shape.n for row in rows) == sum(op.macs for op in matrices)


def test_tokens_on_pimeval_are_those_that_were_seen_before() -> None:
    tokens = {name: sum(r.times * r.theirs for r in simulated(SIMULATORS[name])) for name in PIMEVAL}
    assert tokens["pimeval-bank-level"] == pytest.approx(0.258, rel=0.005)
    assert tokens["pimeval-bitsimd-v-ap"] == pytest.approx(70.5, rel=0.001)


@pytest.mark.parametrize(
    ("name", "within"),
    [("pimeval-bitsimd-v-ap", 0.1), ("pimeval-aim", 1e-3), ("aim-simulator", 0.15), ("pim-simulator", 0.04)],
)
def test_comparable_machines_come_near(name: str, within: float) -> None:
    assert SIMULATORS[name].comparable
    assert all(abs(row.ours / row.theirs - 1) < within for row in simulated(SIMULATORS[name]))


def test_the_aim_simulator_differs_by_what_the_table_says_a_row_and_by_refreshes() -> None:
    refreshing, rows_of = 105 / 1666.5, {(4096, 4096): 32, (4096, 11008): 88, (11008, 4096): 88}
    simulator = SIMULATORS["aim-simulator"]
    for row in simulated(simulator):
        rows = rows_of.get((row.shape.k, row.shape.n), 252)
        without = row.ours * (1 - refreshing)
        assert (row.theirs - without) / rows == pytest.approx(27.5e-9, rel=0.01)
        assert without / row.theirs - 1 == pytest.approx(-0.19, abs=0.01)
        assert row.copies is None
    assert "27.5 ns" in simulator.why


def test_the_table_says_what_is_left_of_the_banks_bandwidth_for_a_large_matrix() -> None:
    figure = BY_NAME["Bandwidth of the banks over that of the pins"]
    whole = checked(figure.model_copy(update={"phases": ("buffer", "rows", "multiply", "results")}))
    assert f"comes to {whole.ours:.1f}." in figure.why


def test_what_is_published_as_a_range_holds_ours() -> None:
    ranges = [figure for figure in figures() if figure.published.low is not None]
    assert ranges
    for figure in ranges:
        assert figure.published.low is not None
        assert figure.published.high is not None
        assert figure.published.low <= checked(figure).ours <= figure.published.high


def test_a_machine_is_a_file_of_the_folder_or_one_that_ships() -> None:
    assert load_validation_machine("aim-n1") == load_system("aim-n1")
    assert load_validation_machine("pimeval-bank.toml").name == "pimeval-bank"


def changed(what: str, **values: object) -> Figure:
    return Figure.model_validate(BY_NAME[what].model_dump() | values)


def test_a_row_that_asks_for_what_there_is_not_is_refused() -> None:
    name = "Inception v3: sums"
    with pytest.raises(SailsimError, match="phase 'lookup' is unknown; allowed are load, inputs"):
        checked(changed(name, phases=("lookup",)))
    with pytest.raises(SailsimError, match="products is 'Conv9'; allowed are all"):
        checked(changed(name, products="Conv9"))
    with pytest.raises(SailsimError, match="system sail-n1 does not time products by themselves"):
        checked(changed(name, machine="sail-n1"))
    with pytest.raises(SailsimError, match=r"no enabled \[pim\] section"):
        checked(changed(name, machine="graviton2"))
    for values in ({"products": ""}, {"reading": "speedup"}, {"product": {"k": 1, "n": 1, "batch": 1}}):
        with pytest.raises(ValidationError, match="Inception v3: sums: "):
            changed(name, **values)
