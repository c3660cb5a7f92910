"""The space of unknowns: ranges are the files', draws stay inside, equal constants on both sides."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sailsim.analysis import cpu_tokens_per_s, fits, gpu_tokens_per_s
from sailsim.analysis.costs.dollars import vcpus_paid
from sailsim.analysis.paper.readings import READINGS, Table
from sailsim.analysis.paper.sampling import CARD, Evaluated, evaluate_draw
from sailsim.analysis.paper.uncertainty import (
    BASES,
    Draw,
    Factor,
    machine_factors,
    n1_prices,
    space,
    unknowns,
)
from sailsim.base.errors import SailsimError
from sailsim.sim import Quantity, leaves, load_card, load_system, simulate_step
from sailsim.workloads import load_model

SPACE = space()
ROWS = st.lists(st.floats(0, 1), min_size=len(SPACE.factors), max_size=len(SPACE.factors))


def test_every_ranged_value_of_the_machine_is_a_factor_or_follows_the_software() -> None:
    ranged = {
        path
        for path, leaf in leaves(load_system("sail-n1")).items()
        if isinstance(leaf, Quantity) and leaf.low is not None and leaf.low != leaf.high
    }
    follow = {"host.attention_rate", "host.barrier", "host.product_overhead", "memory.core_share"}
    of_other_weights = {"host.float_rate", "host.grid_rate"}
    assert ranged - follow - of_other_weights <= set(SPACE.names)
    assert not (follow | of_other_weights) & set(SPACE.names)


def test_every_factor_and_every_workload_has_a_reason_and_a_nominal_value_inside() -> None:
    for factor in SPACE.factors:
        assert factor.reason.strip(), factor.name
        if factor.values:
            assert factor.nominal in factor.values, factor.name
        elif not factor.normal:
            assert factor.low <= float(factor.nominal) <= factor.high, factor.name
    assert all(w.reason for w in SPACE.workloads)
    assert sum(w.fixed for w in SPACE.workloads) == 1
    assert SPACE.workloads[SPACE.fixed].decides
    assert min(w.threads for w in SPACE.workloads) >= fits().fewest_threads


@given(u=st.floats(0, 1), low=st.floats(0.01, 10), width=st.floats(1.01, 100))
def test_a_factor_stays_in_its_range_and_grows(u: float, low: float, width: float) -> None:
    high = low * width
    for log in (False, True):
        factor = Factor("x", "machine", "why", low=low, high=high, log=log)
        value = float(factor.at(u))
        assert low * (1 - 1e-9) <= value <= high * (1 + 1e-9)
        assert float(factor.at(0.0)) <= value * (1 + 1e-9)
        assert value <= float(factor.at(1.0)) * (1 + 1e-9)


@given(u=st.floats(0, 1), low=st.integers(1, 9), more=st.integers(0, 60), log=st.booleans())
def test_a_whole_factor_is_whole_and_reaches_both_ends(u: float, low: int, more: int, log: bool) -> None:
    factor = Factor("x", "machine", "why", low=low, high=low + more, whole=True, log=log)
    value = factor.at(u)
    assert isinstance(value, int)
    assert low <= value <= low + more
    assert (factor.at(0.0), factor.at(1.0)) == (low, low + more)


@settings(max_examples=25, deadline=None)
@given(ROWS)
def test_a_drawn_machine_is_valid_and_fair(row: list[float]) -> None:
    """SAIL's cores have the constants of the baseline that they are compared with, whatever is drawn."""
    draw = SPACE.draw(row)
    for software in BASES:
        machine, fitted = draw.system(software), draw.fits.software(software)
        reads = (
            fitted.value("read_share") * machine.memory.read_bandwidth.si / machine.memory.peak_bandwidth.si
        )
        assert machine.host.attention_rate.value == fitted.value("attention_rate")
        assert machine.host.barrier.value == fitted.value("barrier")
        assert machine.memory.core_share.value == pytest.approx(min(reads, 1.0))
        assert machine.llc.size == load_system("sail-n1").llc.size
        assert machine.extends[-1] == "graviton2"
    known = leaves(draw.system())
    for factor in SPACE.factors:
        if factor.group == "machine" and factor.name != "pim.nbw":
            assert known[factor.name].value == draw.values[factor.name], factor.name


def test_rows_of_another_length_or_outside_are_refused() -> None:
    for row in ([0.5], [1.5] * len(SPACE.factors), [float("nan")] * len(SPACE.factors)):
        with pytest.raises(SailsimError, match="between 0 and 1"):
            SPACE.draw(row)
    with pytest.raises(SailsimError, match=r"pim\.clok"):
        SPACE.factor("pim.clok")


def test_levels_outside_the_files_range_are_refused() -> None:
    system = load_system("sail-n1")
    for values in ([16, 64], [], [8]):
        with pytest.raises(SailsimError, match=r"pim\.arrays"):
            machine_factors(system, {"pim.arrays": {"values": values, "reason": "x"}})


def test_drawn_constants_have_the_covariance_of_their_fit() -> None:
    names, matrix = fits().covariance("cpu")
    pair = ["cpu.llama.cpp.kernel_rate_q4_k_m", "cpu.llama.cpp.attention_rate"]
    at = [names.index(name) for name in pair]
    rng = np.random.default_rng(3)
    own = [f.name for f in SPACE.factors if f.normal and f.name.startswith("cpu.llama")]
    draws = [Draw(dict(zip(own, rng.standard_normal(len(own)), strict=True))) for _ in range(400)]
    seen = np.array([[d.fits.quantities()[name].value for name in pair] for d in draws], dtype=float)
    expected = matrix[at[0], at[1]] / np.sqrt(matrix[at[0], at[0]] * matrix[at[1], at[1]])
    assert np.corrcoef(seen.T)[0, 1] == pytest.approx(expected, abs=0.15)
    assert seen[:, 0].std() == pytest.approx(np.sqrt(matrix[at[0], at[0]]), rel=0.15)


@pytest.mark.parametrize("index", [0, 3, 5])
def test_the_nominal_draw_is_what_the_commands_give(index: int) -> None:
    """Nothing is lost between a draw and `sailsim run`: rates, baselines and who pays what."""
    workload, draw = SPACE.workloads[index], Draw({})
    found = Evaluated(draw).outcomes(workload)
    system, model = load_system("sail-n1"), load_model(workload.model)
    point, fmt = workload.point("sail-n1", 128), draw.format(workload.wbits)
    assert found["sail"] == simulate_step(system, model, point).tokens_per_s
    cpu = cpu_tokens_per_s(system, model, fmt, workload.threads, workload.batch, workload.context)
    card = gpu_tokens_per_s(load_card(CARD), model, fmt, workload.batch, workload.context)
    assert found["cpu"] == pytest.approx(cpu.tokens_per_s)
    assert found[CARD] == pytest.approx(card.tokens_per_s)
    table = Table.of(SPACE, [draw], [evaluate_draw(SPACE, draw, only=(index,))])
    price = n1_prices()[0]
    for who, sizing in (("sail", "share"), ("cpu", "share"), ("sail", "bandwidth"), ("cpu", "whole")):
        moved = found[f"{who}_dram"] / workload.batch * found[who]
        used = min(1.0, moved / system.memory.read_bandwidth.si)
        paid = vcpus_paid(price, workload.threads, found["memory"], sizing, used)  # type: ignore[arg-type]
        hour = table.usd_per_hour(who, sizing)[0, index]  # type: ignore[arg-type]
        assert hour == pytest.approx(price.usd_per_hour * paid / price.units)


def test_every_claim_has_one_primary_reading_and_numbers() -> None:
    draw, index = Draw({}), SPACE.fixed
    record: dict[str, Any] = evaluate_draw(SPACE, draw, only=(index,))
    other = evaluate_draw(SPACE, draw, "ampere", only=(index,))
    table = Table.of(
        SPACE, [draw], [record | {f"ampere_{k}": v for k, v in other.items() if isinstance(v, list)}]
    )
    for claim in {r.claim for r in READINGS}:
        assert sum(r.primary for r in READINGS if r.claim == claim) == 1
    for reading in READINGS:
        value = float(reading.values(table)[0, index])
        assert np.isfinite(value) or reading.words.startswith("16 bits"), reading.words
    assert {f"{w['model']}" for w in unknowns()["workload"]} >= {"llama-2-7b", "llama-2-13b"}
