"""Experts on accelerators: one product an expert that a token chose, and expected and drawn choices agree."""

from dataclasses import replace
from math import ceil, sqrt

import pytest

from sailsim import _core
from sailsim.sim.backend import memory_needed
from sailsim.sim.backends.sail import SailUnits
from sailsim.sim.engine import PHASES, accelerator_of, simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.host import HostCores
from sailsim.sim.jobs import ExpertJobs, jobs_of, step_work
from sailsim.sim.point import Point
from sailsim.sim.step_parts import StepParts
from sailsim.sim.tiles import COUNTS
from sailsim.workloads.activations import Activations
from sailsim.workloads.experts import Experts, Routing, distinct_experts, expected_spread
from sailsim.workloads.formats import uniform_format
from sailsim.workloads.graph import decode_step
from sailsim.workloads.model import ModelSpec

SAIL = load_system("sail-n1")
MODEL = ModelSpec(
    name="moe", title="MoE", source="here", n_layers=4, d_model=512, n_heads=8, n_kv_heads=2, head_dim=64,
    d_ffn=384, vocab=600, experts=Experts(16, 2, 384),
)  # fmt: skip
FORMAT = uniform_format(4, 128)


@pytest.fixture(scope="module")
def captured() -> Activations:
    return Activations.load()


@pytest.mark.parametrize("batch", [1, 6, 40])
def test_counts_are_those_of_every_chosen_expert_by_itself(
    captured: Activations, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table is built of an expert's weights if a token chose it, and serves all tokens that did."""
    monkeypatch.setattr(SailUnits, "shares_slices", False)
    step_work.cache_clear()
    result = simulate_step(SAIL, MODEL, Point(batch=batch, nbw=4), captured)
    config = SAIL.slice_config()
    expected = dict.fromkeys(COUNTS, 0.0)
    for linear in MODEL.linears():
        if linear.is_router:  # floats, which the cores multiply
            continue
        spread = expected_spread(16, 2, batch) if linear.of_experts else ((batch, 1.0),)
        for tokens, times in spread:
            x = captured.quantized(linear.role, linear.layer, 4, linear.k, tokens, 0)
            profile = _core.pattern_profile(x, 8, True, 4, 128, 32, "lru")
            timing = _core.time_tile(config, linear.k, linear.n, tokens, 4, 4, 8, 4, 128, profile, True)
            for name in COUNTS:
                expected[name] += times * getattr(timing, name)
    for name in COUNTS:
        # Each operation's are rounded to whole ones: 4 blocks of 3.
        assert result.counts[name] == pytest.approx(expected[name], abs=6.0), name
    step_work.cache_clear()


@pytest.mark.parametrize("used", [1, 3, 8])
def test_experts_share_the_slices_in_the_fastest_way(captured: Activations, used: int) -> None:
    """Of 1, 2, 4 and 8 side by side, with a last round that need not be full."""
    model = replace(MODEL, experts=Experts(8, used, 96), d_ffn=96)
    point = Point().resolved(SAIL)
    parts = StepParts(decode_step(model, FORMAT, 1, 64), model.n_layers)
    units = accelerator_of(SAIL).units(SAIL, point)
    jobs = units.step(point, parts, captured)
    ops = [part.ops[0] for part in parts.parts if part.ops[0].kind == "gemv"]
    at = next(i for i, op in enumerate(ops) if op.name == "blk.1.ffn_down_exps")
    op = ops[at]
    assert op.spread == ((1, float(used)),)
    found = jobs_of(units, jobs, op, [at])
    ((one, _),) = op.products
    ways = {}
    for side in (1, 2, 4, 8):
        wide = replace(one, n=side * one.n, weight_bytes=side * one.weight_bytes)
        ways[side] = ceil(used / side) * jobs.jobs(wide, [at]).seconds[0]
    assert found.seconds[0] == pytest.approx(min(ways.values()))
    best = min(ways, key=ways.__getitem__)
    assert best == {1: 1, 3: 4, 8: 8}[used]
    assert found.rounds == ceil(used / best)
    assert found.bytes[0] == pytest.approx(used * FORMAT.base.bytes(96, 512))
    assert found.numbers[0, : len(units.phases)].sum() == pytest.approx(found.seconds[0])
    assert found.throttled(1e3)[0] >= used * FORMAT.base.bytes(96, 512) / 1e3 * 0.9
    assert (found.throttled(1e15) >= found.seconds).all()


@pytest.mark.parametrize("batch", [1, 6, 40])
def test_bytes_are_those_of_the_touched_experts(captured: Activations, batch: int) -> None:
    result = simulate_step(SAIL, MODEL, Point(batch=batch), captured)
    assert tuple(result.breakdown) == PHASES
    assert sum(result.breakdown.values()) == pytest.approx(result.step_s, rel=1e-9)
    expert = sum(FORMAT.base.bytes(k, n) for k, n in ((512, 384), (512, 384), (384, 512)))
    others = sum(
        FORMAT.tensor(linear, MODEL).bytes(linear.k, linear.n)
        for linear in MODEL.linears()
        if not (linear.of_experts or linear.is_router)
    )
    touched = 4 * distinct_experts(16, 2, batch) * expert
    assert result.bytes_by_kind["weights"] == pytest.approx(others + touched, rel=1e-9)
    assert any("uniformly" in note for note in result.notes) == (batch > 1)
    assert any("f32 4 tensors" in note for note in result.notes)


@pytest.mark.parametrize("system", ["sail-n1", "neural-cache-n1", "aim-n1"])
def test_drawn_choices_have_the_expected_step_as_their_mean(captured: Activations, system: str) -> None:
    machine = load_system(system)
    point = Point(system=system, batch=6)
    expected = simulate_step(machine, MODEL, point, captured)
    drawn = [simulate_step(machine, MODEL, point, captured, Routing(seed)) for seed in range(60)]
    for name in ("step_s", "dram_bytes"):
        values = [getattr(one, name) for one in drawn]
        mean = sum(values) / len(values)
        error = sqrt(sum((one - mean) ** 2 for one in values) / (len(values) - 1) / len(values))
        # Seconds are not quite linear in what a step reads: the stream runs ahead by whole tensors, and
        # a drawn step has the way that is the fastest for its own number of experts.
        assert abs(mean - getattr(expected, name)) <= 4 * error + 5e-3 * mean, name
    assert len({one.step_s for one in drawn}) > 10


def test_every_group_of_experts_is_handed_over(captured: Activations) -> None:
    host = HostCores(SAIL, 16)
    once, more = host.submission("one", 32), host.submission("some", 32, 3.5)
    assert more.seconds - once.seconds == pytest.approx(2.5 * 2 * SAIL.host.submit.si)
    slow = SAIL.host.submit.model_copy(update={"value": 1000 * SAIL.host.submit.value})
    dear = SAIL.model_copy(update={"host": SAIL.host.model_copy(update={"submit": slow})})
    point = Point(batch=4)
    steps = [simulate_step(system, MODEL, point, captured).step_s for system in (SAIL, dear)]
    rounds = sum(jobs.rounds for jobs in _experts(captured, point))
    products = 4 * 4 + 1
    each = 2 * (slow.si - SAIL.host.submit.si)
    assert steps[1] - steps[0] == pytest.approx((rounds + products) * each, rel=0.05)


def _experts(captured: Activations, point: Point) -> list[ExpertJobs]:
    """The jobs of all experts of a step of `MODEL`."""
    parts = StepParts(decode_step(MODEL, FORMAT, point.batch, point.context), MODEL.n_layers)
    units = accelerator_of(SAIL).units(SAIL, point.resolved(SAIL))
    jobs = units.step(point.resolved(SAIL), parts, captured)
    found, at = [], 0
    for _, ops in parts.parts:
        if ops[0].kind == "gemv":
            found += [jobs_of(units, jobs, op, [at]) for op in ops if op.spread]
            at += len(ops[0].products)
    assert all(isinstance(one, ExpertJobs) for one in found)
    return found


@pytest.mark.parametrize(
    ("weights", "system", "said"),
    [("q4_0", "sail-n1", True), ("f16", "sail-n1", False), ("q4_0", "aim-n1", False)],
)
def test_experts_share_slices_where_units_multiply_them(
    captured: Activations, weights: str, system: str, said: bool
) -> None:
    point = Point(batch=4, weights=weights, system=system)
    notes = simulate_step(load_system(system), MODEL, point, captured).notes
    assert any("Experts share the slices" in note for note in notes) == said


def test_all_experts_lie_in_memory() -> None:
    ops = {op.name: op for op in decode_step(MODEL, FORMAT, 1, 1)}
    every = sum(16 * FORMAT.base.bytes(k, n) for k, n in ((512, 384), (512, 384), (384, 512)))
    once = sum(ops[f"blk.0.ffn_{kind}_exps"].weight_bytes for kind in ("gate", "up", "down"))
    assert once == pytest.approx(every / 8)
    plain = replace(MODEL, experts=None)
    one = sum(FORMAT.base.bytes(k, n) for k, n in ((512, 384), (512, 384), (384, 512)))
    router = 512 * 16 * 4
    more = memory_needed(MODEL, FORMAT, 1, 1) - memory_needed(plain, FORMAT, 1, 1)
    assert more == 4 * (every - one + router)
    aim = load_system("aim-n1")
    stored = accelerator_of(aim).stored(aim, MODEL, FORMAT)
    of_plain = accelerator_of(aim).stored(aim, plain, FORMAT)
    assert stored is not None
    assert of_plain is not None
    assert stored.spared - of_plain.spared == 4 * (every - one + router)
    assert stored.needed > 4 * of_plain.needed
