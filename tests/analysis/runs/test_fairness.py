"""SAIL's cores and the CPU baseline's are the same cores with the same software: equal constants."""

import pytest

from sailsim.sim.backends.cores import predict_cores
from sailsim.sim.machine.system_files import load_system, vary
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import fitted_constants, with_host_software
from sailsim.sim.software.records import load_software
from sailsim.sim.step.engine import simulate_step
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import weight_format

from ...refusals import refusal


@pytest.mark.parametrize("software", [None, "llama.cpp", "ampere"])
def test_host_constants_are_those_of_the_baseline(software: str | None) -> None:
    system, fitted = load_system("sail-n1"), fitted_constants().software(software or "llama.cpp")
    machine = system if software is None else with_host_software(system, software)
    reads = fitted.value("read_share") * machine.memory.read_bandwidth.si / machine.memory.peak_bandwidth.si
    assert machine.host.attention_rate.value == pytest.approx(fitted.value("attention_rate"), rel=2e-3)
    assert machine.host.barrier.value == pytest.approx(fitted.value("barrier"), rel=2e-3)
    assert machine.memory.core_share.value == pytest.approx(reads, rel=5e-3)
    lost = fitted.value("product_overhead") if software != "ampere" else 0.0
    assert machine.host.product_overhead.value == pytest.approx(lost, rel=2e-3)
    assert machine.pim == system.pim


def test_our_program_around_units_is_as_it_was_fitted_with_them() -> None:
    fitted, other = load_system(load_software("neon").program), load_system("sail-v2:cores.clock=2")
    ours = with_host_software(load_system("sail-n1:host.submit=99"), "neon")
    assert ours.host == fitted.host.model_copy(update={"submit": ours.host.submit})
    assert (ours.host.submit.value, ours.memory.core_share) == (99, fitted.memory.core_share)
    assert refusal(with_host_software, other, "neon").startswith("software is neon, allowed on neoverse-v2")


@pytest.mark.parametrize("threads", [1, 16, 64])
def test_floats_that_only_the_cores_multiply_gain_nothing_from_the_units(threads: int) -> None:
    """The same cores on the same weights: two descriptions of one machine, within what they leave out."""
    system, model = load_system("sail-n1"), load_model("llama-2-7b")
    sail = simulate_step(system, model, Point(weights="f16", threads=threads, context=64))
    cores = predict_cores(system, model, weight_format("f16"), threads, 1, 64)
    assert sail.tokens_per_s == pytest.approx(cores.tokens_per_s, rel=0.1)


def test_the_work_around_a_product_is_charged_for_every_product() -> None:
    system, model = load_system("sail-n1"), load_model("llama-2-7b")
    none, some, whole = (
        simulate_step(vary(system, {"host.hand_over_share": share}), model, Point())
        for share in (0.0, 0.27, 1.0)
    )
    products = 7 * 32 + 1
    lost = products * system.host.product_overhead.si
    # Products that share an input are handed over while the units work on the first of them.
    assert none.step_s < some.step_s < whole.step_s
    assert 0.3 * lost < whole.step_s - none.step_s <= lost
    assert whole.breakdown["sync"] > none.breakdown["sync"]
