"""More of what a machine has never makes a step slower, or the answer says why it can.

`make test` has 100 random machines and points; `--hypothesis-profile=thorough` has 1,000.
"""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import LEAST, MOST, Quantity
from sailsim.sim.backend import StepResult
from sailsim.sim.machine.system import Gpu, System
from sailsim.sim.machine.system_files import gpu_names, leaves, load_gpu, load_system, system_names, vary
from sailsim.sim.point import Point
from sailsim.sim.step.engine import simulate_step
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.load import load_model

from ...examples import examples

SAIL = load_system("sail-n1")

MACHINES = st.fixed_dictionaries(
    {},
    optional={
        "pim.mshrs": st.sampled_from([8, 16, 32, 64]),
        "pim.fetch_ahead": st.sampled_from([2, 4, 16]),
        "pim.prefetch_share": st.sampled_from([0, 0.1, 0.5, 0.9]),
        "pim.prefetch_depth": st.sampled_from([0, 1, 3]),
        "pim.prefetch_priority": st.sampled_from(["background", "fair"]),
        "pim.dfms": st.sampled_from([1, 2, 4]),
        "pim.dfm_split": st.sampled_from(["n", "k"]),
        "pim.accumulator_buffer": st.sampled_from([2.625, 8, 21, 84]),
        "pim.activation_buffer": st.sampled_from([0.25, 4, 96]),
        "pim.arrays": st.sampled_from([4, 8, 16, 32]),
        "pim.cols": st.sampled_from([128, 256, 512]),
        "pim.port": st.sampled_from([16, 32, 64]),
        "pim.clock": st.sampled_from([1.0, 1.8, 2.5]),
        "pim.double_buffer": st.booleans(),
        "pim.convert": st.sampled_from(["memory", "unit", "cores"]),
        "pim.t_zero": st.sampled_from([0, 1]),
        "pim.t_prt": st.sampled_from([0, 1]),
        "llc.slices": st.sampled_from([8, 16, 32]),
        "memory.channels": st.sampled_from([2, 4, 8, 12]),
        "memory.latency": st.sampled_from([70, 90, 150]),
    },
)
POINTS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["smollm2-135m", "llama-2-7b", "llama-3-8b", "qwen3-30b-a3b"]),
        "wbits": st.sampled_from([1, 2, 3, 4, 5, 6, 8]),
        "group_size": st.sampled_from([0, 32, 64, 128]),
        "batch": st.sampled_from([1, 2, 3, 4, 8, 9, 16, 17, 32, 64]),
        "threads": st.sampled_from([1, 4, 16, 32, 64]),
        "context": st.sampled_from([16, 128, 512, 2048]),
        "nbw": st.sampled_from([1, 2, 3, 4, 5, "auto"]),
    }
)
WHY = {
    "memory.channels": ("a layout is chosen before",),
    "pim.mshrs": ("prefetch_priority = fair", "a layout is chosen before"),
    "pim.dfms": ("more DFMs can take longer",),
    "llc.slices": ("more slices can take longer", "prefetch_priority = fair", "a layout is chosen before"),
    "batch": ("one more row can cost more", "one more row can cost a round more"),
}
"""What a slower answer of a larger machine says, by what it has twice as much of, or of a larger batch."""
NOTED = 0.01
"""By how much a step may be slower without a word."""


@pytest.mark.slow
@given(machine=MACHINES, asked=POINTS)
def test_more_is_not_slower_or_the_answer_says_why(machine, asked):
    point = Point(**asked)
    model = load_model(point.model)

    def step(more: dict[str, Any], point: Point) -> StepResult | None:
        try:
            return simulate_step(vary(SAIL, machine | more), model, point)
        except SailsimError:  # what does not fit
            return None

    base = step({}, point)
    if base is None:
        return
    doubled = {field: 2 * machine.get(field, leaves(SAIL)[field].value) for field in WHY if "." in field}
    larger = {field: step({field: number}, point) for field, number in doubled.items()}
    larger["batch"] = step({}, replace(point, batch=point.batch + 1))
    for field, other in larger.items():
        if other is None or other.tokens_per_s * (1 + NOTED) >= base.tokens_per_s:
            continue
        said = " ".join(other.notes)
        assert any(words in said for words in WHY[field]), (field, base.step_s, other.step_s, other.notes)
        event(f"{field}: slower, and said")


# --- Every number of a machine at values that nobody means: a finite answer, or one sentence, a ---

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
        point = Point(batch=8, context=64)
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


@examples(40)
@given(st.sampled_from(EVERY), st.one_of(st.sampled_from(VALUES), st.floats(), st.integers()))
def test_any_number_of_a_machine(which, value):
    name, field = which
    outcome(load_system(name), field, value)


@pytest.mark.parametrize("model", ["smollm2-135m", "llama-2-7b"])
@pytest.mark.parametrize("priority", ["background", "fair"])
def test_almost_no_room_ahead_is_none(model, priority):
    """A buffer of 1e-43 bytes fills and empties at once; that took for ever."""
    spec = load_model(model)

    def rate(share: float) -> float:
        system = vary(
            load_system("sail-n1"), {"pim.prefetch_share": share, "pim.prefetch_priority": priority}
        )
        return simulate_step(system, spec, Point(batch=8), CAPTURED).tokens_per_s

    assert rate(1e-50) == pytest.approx(rate(0), rel=1e-6)


@pytest.mark.parametrize("name", gpu_names())
def test_any_number_of_a_card(name):
    gpu = load_gpu(name)
    for field in numbers(gpu):
        for value in VALUES:
            try:
                number = leaves(vary(gpu, {field: value}))[field].si
            except SailsimError as error:
                number = float(len(str(error).splitlines()))
            assert 0 < number < math.inf or (field, number) == ("kernels.lone_heads", 0), (field, value)


@pytest.mark.parametrize("channels", [8, 24])
def test_layouts_reckon_with_what_a_unit_can_have_under_way(channels: int) -> None:
    """8 lines over 71 ns are 7.2 GB/s: 256 cycles a KiB, however fast memory is."""
    system = vary(SAIL, {"memory.channels": channels, "pim.mshrs": 8})
    cycles = system.slice_config().weights_kib_cycles
    bound = 1024 * 1.8 / (8 * 64 / 71.0)
    assert bound <= cycles
    if channels == 24:
        assert cycles == pytest.approx(bound, rel=0.15)  # and a little for what waits in the queues


def test_twice_the_channels_are_not_slower_where_units_cannot_use_them() -> None:
    fields = {
        "pim.mshrs": 8, "pim.prefetch_share": 0.9, "pim.dfm_split": "k", "pim.accumulator_buffer": 2.625,
    }  # fmt: skip
    point = Point(
        model="llama-3-8b", wbits=3, batch=32, threads=32, context=128, nbw=3, convert="cores", group_size=128
    )
    steps = [
        simulate_step(vary(SAIL, fields | {"memory.channels": n}), load_model(point.model), point)
        for n in (12, 24)
    ]
    assert steps[1].step_s <= steps[0].step_s
    assert steps[1].bytes_by_kind["weights"] == pytest.approx(steps[0].bytes_by_kind["weights"])
