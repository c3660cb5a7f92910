"""Every number of a machine at values that nobody means: a finite answer, or one sentence, and soon."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import LEAST, MOST, Quantity
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import card_names, load_card, load_system, system_names
from sailsim.sim.point import Point
from sailsim.sim.system import Gpu, System
from sailsim.sim.vary import leaves, vary
from sailsim.workloads.activations import Activations
from sailsim.workloads.load import load_model

from ..examples import examples

MODEL = load_model("smollm2-135m")
CAPTURED = Activations.load()
VALUES = (
    0, -1, 1, 0.5, 3, 17, 1e-50, LEAST / 2, LEAST, 1e-6, 1e6, 1e9, 3_000_000_000, 1 << 32, 1 << 63, MOST,
    2 * MOST, 1e30, 1e300, 5e-324, math.inf, math.nan,
)  # fmt: skip


def numbers(machine: System | Gpu) -> list[str]:
    """Dotted names of all quantities of a machine."""
    return [field for field, value in leaves(machine).items() if isinstance(value, Quantity)]


EVERY = [(name, field) for name in system_names() for field in numbers(load_system(name))]


def outcome(system: System, field: str, value: float) -> str:
    """What a step on such a machine says: "" or the sentence that refuses it."""
    try:
        point = Point(system="x", batch=8, context=64)
        step = simulate_step(vary(system, {field: value}), MODEL, point, CAPTURED)
    except SailsimError as error:
        sentence = str(error)
        assert len(sentence.splitlines()) == 1
        assert sentence.endswith(".")
        return sentence
    for name in ("step_s", "tokens_per_s", "dram_bytes"):
        number = getattr(step, name)
        assert math.isfinite(number), (field, value, name)
        assert number > 0, (field, value, name)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", ["sail-n1", "neural-cache-n1", "aim-n1", "hbm-pim-n1"])
def test_a_number_of_a_machine_at_its_end(name: str, value: float) -> None:
    system = load_system(name)
    for field in numbers(system):
        outcome(system, field, value)


@examples(40)
@given(st.sampled_from(EVERY), st.one_of(st.sampled_from(VALUES), st.floats(), st.integers()))
def test_any_number_of_a_machine(which: tuple[str, str], value: float) -> None:
    name, field = which
    outcome(load_system(name), field, value)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("pim.prt_entries", 3e9, "prt_entries is '3000000000'"),
        ("pim.t_zero", 1e30, "pim.t_zero is 1e+30"),
        ("pim.t_prt", 1e30, "pim.t_prt is 1e+30"),
        ("pim.port", 1e30, "pim.port is 1e+30"),
        ("memory.channels", 1e300, "memory.channels is 1e+300"),
        ("host.simd_share", 1e-50, "host.simd_share is 1e-50"),
        ("memory.timing.trefi", 1, "trfc is 350 ns; allowed is less than trefi, 1 ns"),
        ("pim.clock", math.nan, "finite"),
        ("pim.clock", math.inf, "finite"),
    ],
)
def test_what_is_refused_is_named(field: str, value: float, words: str) -> None:
    assert words in outcome(load_system("sail-n1"), field, value)


@pytest.mark.parametrize("model", ["smollm2-135m", "llama-2-7b"])
@pytest.mark.parametrize("priority", ["background", "fair"])
def test_almost_no_room_ahead_is_none(model: str, priority: str) -> None:
    """A buffer of 1e-43 bytes fills and empties at once; that took for ever."""
    spec = load_model(model)

    def rate(share: float) -> float:
        system = vary(
            load_system("sail-n1"), {"pim.prefetch_share": share, "pim.prefetch_priority": priority}
        )
        return simulate_step(system, spec, Point(batch=8), CAPTURED).tokens_per_s

    assert rate(1e-50) == pytest.approx(rate(0), rel=1e-6)


@pytest.mark.parametrize("name", card_names())
def test_any_number_of_a_card(name: str) -> None:
    card = load_card(name)
    for field in numbers(card):
        for value in VALUES:
            try:
                number = leaves(vary(card, {field: value}))[field].si
            except SailsimError as error:
                number = float(len(str(error).splitlines()))
            assert 0 < number < math.inf, (field, value)
