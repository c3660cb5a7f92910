"""The fast engine: one step against closed forms, conservation, and what must never get slower."""

from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import ceil, sqrt
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.sim.backend import StepResult
from sailsim.sim.backends.sail import BACKEND, SailUnits
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system, vary
from sailsim.sim.point import Point
from sailsim.sim.step import parts as step_parts
from sailsim.sim.step.engine import PHASES, accelerator_of, simulate_step
from sailsim.sim.step.gemv_times import gemv_times
from sailsim.sim.step.parts import StepParts
from sailsim.sim.step.patterns import InputRows, PatternCache
from sailsim.sim.step.tiles import COUNTS, PimUnits, TileRequest, TileShape, TileTable, refetch_ratio
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models import graph
from sailsim.workloads.models.experts import Experts, distinct_experts, expected_spread
from sailsim.workloads.models.formats import uniform_format
from sailsim.workloads.models.graph import decode_step
from sailsim.workloads.models.model import ModelSpec

from ...examples import examples
from ...refusals import extending
from ...workloads.experts import drawn_spread

SAIL = load_system("sail-n1")
MODEL = load_model("llama-2-7b")
SMALL = replace(MODEL, name="four-layers", n_layers=4)


def changed(system: System, **values: float) -> System:
    """The system with other values of `section__field`."""
    for path, value in values.items():
        section, field = path.split("__")
        part = getattr(system, section)
        quantity = getattr(part, field).model_copy(update={"value": value})
        system = system.model_copy(update={section: part.model_copy(update={field: quantity})})
    return system


def step_s(captured: Activations, system: System = SAIL, model: ModelSpec = SMALL, **point: Any) -> float:
    return simulate_step(system, model, Point(**point), captured).step_s


@examples(15, but=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {
            "weights": st.sampled_from(["4g128", "q4_k_m", "2g32", "8g0"]),
            "batch": st.sampled_from([1, 8, 40]),
            "threads": st.sampled_from([1, 16]),
            "nbw": st.sampled_from([None, 2, "auto"]),
            "substrate": st.sampled_from([None, "bit_serial"]),
        }
    ),
    st.sampled_from(["memory", "unit", "cores"]),
)
def test_auto_converts_where_the_step_is_the_fastest_of_what_the_machine_has(captured, fields, own):
    system = vary(SAIL, {"pim.convert": own})
    try:
        auto = simulate_step(system, SMALL, Point(convert="auto", **fields), captured)
    except SailsimError:  # what the file's own place refuses, auto does
        with pytest.raises(SailsimError):
            simulate_step(system, SMALL, Point(**fields), captured)
        return
    single = {}
    for place in dict.fromkeys((own, "memory", "cores")):
        with suppress(SailsimError):
            single[place] = simulate_step(system, SMALL, Point(convert=place, **fields), captured)
    assert auto.step_s == min(each.step_s for each in single.values())
    ties = [place for place, each in single.items() if each.step_s == auto.step_s]
    assert auto.converted == ties[0]
    assert auto.breakdown == single[ties[0]].breakdown
    assert auto.point.convert == "auto"
    assert any(f"convert {auto.converted}" in note for note in auto.notes)


@pytest.mark.parametrize("convert", ["memory", "cores"])
@pytest.mark.parametrize("batch", [1, 5])
def test_time_and_bytes_are_accounted_for(captured, convert, batch):
    point = Point(batch=batch, convert=convert, threads=8)
    result = simulate_step(SAIL, SMALL, point, captured)
    assert tuple(result.breakdown) == PHASES
    assert min(result.breakdown.values()) >= 0
    assert sum(result.breakdown.values()) == pytest.approx(result.step_s, rel=1e-9)
    assert result.tokens_per_s == pytest.approx(batch / result.step_s)
    ops = decode_step(SMALL, uniform_format(point.wbits, point.group_size), batch, point.context)
    weights = sum(o.weight_bytes for o in ops if o.kind == "gemv")
    assert result.bytes_by_kind["weights"] == pytest.approx(weights)
    assert result.dram_bytes == pytest.approx(sum(o.weight_bytes + o.kv_bytes for o in ops))
    new = batch * SMALL.kv_bytes_per_token()
    assert result.bytes_by_kind["written"] == pytest.approx(new)
    assert result.step_s >= result.dram_bytes / SAIL.memory.peak_bandwidth.si


def test_counts_are_exact(captured):
    """The step's counts are those of every linear layer's own activations, scanned one by one."""
    point = Point(batch=3, nbw=3, abits=6, wbits=3).resolved(SAIL, SMALL)
    result = simulate_step(SAIL, SMALL, point, captured)
    config = SAIL.slice_config()
    expected = dict.fromkeys(COUNTS, 0)
    for linear in SMALL.linears():
        x = captured.quantized(linear.role, linear.layer, 4, linear.k, 3, 0, abits=6)
        profile = _core.pattern_profile(x, 6, 3, 128, 32, "lru")
        tile = _core.TileTimer(config, (linear.k, linear.n, 3, 3, 3, 6, 3, 128), True)
        plan, timing = tile.plan, tile.time([profile])[0]
        assert timing.zero_patterns == plan.passes * int(profile.zero.sum())
        for name in COUNTS:
            expected[name] += getattr(timing, name)
    assert result.counts == expected
    lookups = sum(expected[name] for name in ("zero_patterns", "prt_hits", "prt_misses"))
    assert expected["lookups"] == lookups


def test_without_a_prt_every_pattern_is_read(captured):
    with_prt = simulate_step(SAIL, SMALL, Point(batch=8), captured)
    without = simulate_step(SAIL, SMALL, Point(batch=8, prt=False), captured)
    assert without.counts["prt_hits"] == 0
    for name in ("lookups", "zero_patterns", "table_builds"):
        assert without.counts[name] == with_prt.counts[name]
    # A row read takes as long as a hit, so reads are saved and cycles are not, unless hits are free.
    assert without.counts["row_reads"] - with_prt.counts["row_reads"] == with_prt.counts["prt_hits"] > 0
    assert without.pim_cycles == with_prt.pim_cycles
    free = load_system("sail-n1-free-hits")
    saved = simulate_step(free, SMALL, Point(batch=8), captured).pim_cycles
    assert saved < simulate_step(free, SMALL, Point(batch=8, prt=False), captured).pim_cycles


PLENTY = changed(
    SAIL, memory__latency=1e-6, llc__latency=1e-6, pim__mshrs=1e6, cores__clock=1e9, host__submit=1e-9,
    host__poll=1e-9, host__barrier=1e-9, host__product_overhead=0,
)  # fmt: skip


def test_a_machine_with_plenty_of_everything_else_is_bound_by_its_slices(captured):
    """With endless bandwidth and cores and no latency, a step takes the cycles of its tiles."""
    rich = changed(PLENTY, memory__channels=1e9, pim__port=2**20)
    result = simulate_step(rich, SMALL, Point(), captured)
    assert result.step_s == pytest.approx(result.pim_cycles / 1.8e9, rel=1e-6)
    assert result.breakdown["dram"] == pytest.approx(0, abs=1e-12)


def test_a_machine_with_plenty_of_everything_else_is_bound_by_its_dram(captured):
    """With endless clocks, a step takes its bytes over the share of the peak that each access gets."""
    rich = changed(PLENTY, pim__clock=1e9, l2__mshrs=1e6, memory__core_share=1.0, pim__prefetch_depth=0)
    result = simulate_step(rich, SMALL, Point(batch=4), captured)
    moved, dram = result.bytes_by_kind, SAIL.memory
    expected = (
        moved["weights"] / dram.read_share.value
        + moved["read"] / dram.read_share.value
        + moved["written"] / dram.write_share.value
    ) / dram.peak_bandwidth.si
    assert result.step_s == pytest.approx(expected, rel=1e-4)


def test_what_must_never_be_slower(captured):
    base = step_s(captured, batch=4)
    better = {
        **{"memory__clock": 3.2, "memory__channels": 16, "memory__latency": 80, "llc__latency": 30},
        **{"memory__read_share": 0.95, "memory__core_share": 0.9, "cores__clock": 3.0},
        **{"pim__mshrs": 32, "pim__fetch_ahead": 8, "pim__clock": 2.5, "pim__arrays": 32, "pim__port": 64},
        **{"pim__prefetch_depth": 3, "pim__prefetch_share": 0.9},
        **{"host__submit": 10, "host__poll": 10, "host__barrier": 10},
    }
    for path, value in better.items():
        # Weights that come sooner may meet another core task: a few millionths.
        assert step_s(captured, changed(SAIL, **{path: value}), batch=4) <= base * (1 + 1e-5), path


def test_bad_points_end_in_one_sentence(captured, tmp_path):
    with pytest.raises(SailsimError, match=r"threads is 65; allowed on sail-n1 is at most 64\."):
        step_s(captured, threads=65)
    with pytest.raises(SailsimError, match=r"graviton2 has no enabled \[pim\] section"):
        step_s(captured, load_system("graviton2"))
    with pytest.raises(SailsimError, match=r"has no enabled \[pim\] section"):
        step_s(captured, load_system(extending(tmp_path, "sail-n1", "pim.enabled = false")))
    with pytest.raises(SailsimError, match=r"tile cannot run: .*rows"):
        step_s(captured, changed(SAIL, pim__rows=20), nbw=4)


def shaped(captured: Activations, units: PimUnits, shape: TileShape, scaled: bool = True) -> TileTable:
    rows = InputRows("attn_in", 0, 32, shape.k, shape.batch, 0)
    profile = PatternCache().captured(captured, rows, units.scan(8, True, shape.nbw, shape.group_size))
    return units.table(TileRequest(shape, shape.k * shape.n * shape.wbits / 8, scaled), [profile])


def test_a_tile_pays_for_its_operands_and_results(captured):
    units = PimUnits(SAIL, substrate=None, convert=None, prt=True)
    near = 35e-9 - 11 / 2.5e9  # of a unit: the LLC's latency without the private caches of a core
    port = 64 / (32 * 1.8e9)
    tile = shaped(captured, units, TileShape(4096, 4096, 3, 4, 4, 8, 4, 128))
    # 3 x (4096 + 4) bytes of activations and their scales, 3 x 128 results of 4 bytes.
    # 16 lines under way: each 16 wait for those before, the last 7 of 24 for the port too.
    overheads = tile.kind.overheads
    assert overheads["operands"] == pytest.approx(near * (1 + 192 / 16))
    assert overheads["results"] == pytest.approx(near * 2 + 7 * port)
    assert overheads["descriptor"] == overheads["record"] == pytest.approx(near)
    assert tile.seconds[0] == pytest.approx(tile.timings[0].total / 1.8e9 + sum(overheads.values()))
    # In a trace the activations lie in memory.
    far = PimUnits(SAIL, substrate=None, convert=None, prt=True, operands="dram")
    # Results of whole lines are only written; what fills a part of a line waits until it has been read.
    asked = near + 7 * port
    assert far.results(24 * 64) == units.results(24 * 64) == pytest.approx(asked + near)
    assert far.results(24 * 64 - 4) == pytest.approx(asked + far.dram.latency)
    assert units.results(24 * 64 - 4) == pytest.approx(asked + near)
    there = shaped(captured, far, TileShape(4096, 4096, 3, 4, 4, 8, 4, 128)).kind.overheads["operands"]
    assert there == pytest.approx(far.dram.latency * (1 + 192 / 16))


@pytest.mark.parametrize(
    ("k", "outputs", "lanes", "wbits", "line"), [(1, 9, 4, 3, 64), (77, 300, 41, 4, 64), (200, 96, 95, 5, 48)]
)
def test_every_line_that_a_pass_touches_is_asked_for_once(k, outputs, lanes, wbits, line):
    row = ceil(outputs * wbits / 8)
    every, asked = set(), 0
    for first in range(0, outputs, lanes):
        bits = range(first * wbits, min(first + lanes, outputs) * wbits)
        lines = {(at * row + bit // 8) // line for at in range(k) for bit in bits}
        asked += len(lines)
        every |= lines
    assert refetch_ratio(k, outputs, lanes, wbits, line) == pytest.approx(asked / len(every) - 1)


# --- Experts on accelerators: one product an expert that a token chose, and expected and drawn  ---

MOE = ModelSpec(
    name="moe", title="MoE", source="here", n_layers=4, d_model=512, n_heads=8, n_kv_heads=2, head_dim=64,
    d_ffn=384, vocab=600, experts=Experts(16, 2, 384),
)  # fmt: skip
FORMAT = uniform_format(4, 128)


@pytest.mark.parametrize("batch", [1, 6, 40])
def test_counts_are_those_of_every_chosen_expert_by_itself(captured, batch, monkeypatch):
    """A table is built of an expert's weights if a token chose it, and serves all tokens that did."""
    monkeypatch.setattr(SailUnits, "shares_slices", False)
    BACKEND.time_gemvs.cache_clear()
    result = simulate_step(SAIL, MOE, Point(batch=batch, nbw=4), captured)
    config = SAIL.slice_config()
    expected = dict.fromkeys(COUNTS, 0.0)
    for linear in MOE.linears():
        if linear.is_router:  # floats, which the cores multiply
            continue
        spread = expected_spread(16, 2, batch) if linear.of_experts else ((batch, 1.0),)
        for tokens, times in spread:
            x = captured.quantized(linear.role, linear.layer, 4, linear.k, tokens, 0)
            profile = _core.pattern_profile(x, 8, 4, 128, 32, "lru")
            tile = _core.TileTimer(config, (linear.k, linear.n, tokens, 4, 4, 8, 4, 128), True)
            (timing,) = tile.time([profile])
            for name in COUNTS:
                expected[name] += times * getattr(timing, name)
    for name in COUNTS:
        # Each operation's are rounded to whole ones: 4 blocks of 3.
        assert result.counts[name] == pytest.approx(expected[name], abs=6.0), name
    BACKEND.time_gemvs.cache_clear()


@pytest.mark.parametrize(("used", "best"), [(1, 1), (3, 4), (8, 8)])
def test_experts_share_the_slices_in_the_fastest_way(captured, used, best):
    """Of 1, 2, 4 and 8 side by side, with a last round that need not be full."""
    model = replace(MOE, experts=Experts(8, used, 96), d_ffn=96)
    point = Point().resolved(SAIL, model)
    parts = StepParts(decode_step(model, FORMAT, 1, 64), model.n_layers)
    units = accelerator_of(SAIL).units_of(SAIL, point)
    _, timer = units.step(point, parts, captured)
    ops = [part[0] for _, part in parts.parts if part[0].kind == "gemv"]
    at = next(i for i, op in enumerate(ops) if op.name == "blk.1.ffn_down_exps")
    assert ops[at].spread == ((1, float(used)),)
    found = gemv_times(units, timer, ops[at], [at])
    ((one, _),) = ops[at].products
    ways = {}
    for side in (1, 2, 4, 8):
        wide = replace(one, n=side * one.n, weight_bytes=side * one.weight_bytes)
        ways[side] = ceil(used / side) * timer(wide, [at]).seconds[0]
    assert min(ways, key=ways.__getitem__) == best
    assert found.seconds[0] == pytest.approx(ways[best])
    assert found.bytes[0] == pytest.approx(used * FORMAT.base.bytes(96, 512))
    assert found.numbers[0, : len(units.phases)].sum() == pytest.approx(found.seconds[0])
    assert found.throttled(1e3)[0] >= used * FORMAT.base.bytes(96, 512) / 1e3 * 0.9
    assert (found.throttled(1e15) >= found.seconds).all()


@pytest.mark.parametrize("batch", [1, 6, 40])
def test_bytes_are_those_of_the_touched_experts(captured, batch):
    result = simulate_step(SAIL, MOE, Point(batch=batch), captured)
    assert tuple(result.breakdown) == PHASES
    assert sum(result.breakdown.values()) == pytest.approx(result.step_s, rel=1e-9)
    expert = sum(FORMAT.base.bytes(k, n) for k, n in ((512, 384), (512, 384), (384, 512)))
    others = sum(
        FORMAT.tensor(linear, MOE).bytes(linear.k, linear.n)
        for linear in MOE.linears()
        if not (linear.of_experts or linear.is_router)
    )
    touched = 4 * distinct_experts(16, 2, batch) * expert
    assert result.bytes_by_kind["weights"] == pytest.approx(others + touched, rel=1e-9)
    assert any("uniformly" in note for note in result.notes) == (batch > 1)
    assert any("f32 4 tensors" in note for note in result.notes)


@pytest.mark.parametrize("system", ["sail-n1", "neural-cache-n1", "aim-n1"])
def test_drawn_choices_have_the_expected_step_as_their_mean(captured, system, monkeypatch):
    machine = load_system(system)
    point = Point(system=system, batch=6)
    expected = simulate_step(machine, MOE, point, captured)
    monkeypatch.setattr(graph, "touched_deviation", lambda *_: 0.0)  # of what is drawn it is known
    drawn = []
    for seed in range(30):
        monkeypatch.setattr(graph, "expected_spread", partial(drawn_spread, seed=seed))
        step_parts._parts.cache_clear()
        drawn.append(simulate_step(machine, MOE, point, captured))
    step_parts._parts.cache_clear()
    for name in ("step_s", "dram_bytes"):
        values = [getattr(one, name) for one in drawn]
        mean = sum(values) / len(values)
        error = sqrt(sum((one - mean) ** 2 for one in values) / (len(values) - 1) / len(values))
        # Seconds are not quite linear in what a step reads: the stream runs ahead by whole tensors, and
        # a drawn step has the way that is the fastest for its own number of experts.
        assert abs(mean - getattr(expected, name)) <= 4 * error + 5e-3 * mean, name
    assert len({one.step_s for one in drawn}) > 3


# --- A step in parts: what is built once stands for all that is equal to it, and for nothing el ---

SEVEN_LAYERS = replace(load_model("llama-2-7b"), name="seven-layers", n_layers=7)


def numbers(result: StepResult) -> list[Any]:
    return [
        result.step_s, result.events, result.breakdown, result.bytes_by_kind, result.counts, result.activity,
    ]  # fmt: skip


def test_a_step_of_another_machine_of_the_same_name_is_its_own(captured):
    """What is kept of a machine belongs to it, not to its name."""
    before = simulate_step(SAIL, SEVEN_LAYERS, Point(), captured)
    slow = vary(SAIL, {"pim.clock": SAIL.pim.clock.value / 2})  # type: ignore[union-attr]
    assert slow.name == SAIL.name
    assert simulate_step(slow, SEVEN_LAYERS, Point(), captured).step_s > 1.2 * before.step_s
    assert numbers(simulate_step(SAIL, SEVEN_LAYERS, Point(), captured)) == numbers(before)


NOTES = {
    "slices": "of the step are descriptors and completion records",
    "experts": "Experts share the slices",
    "units": "Units do attention's products",
    "chunk": "look together at all keys",
    "halves": "The batch is two halves",
    "sums": "have no room in the units",
    "prompts": "All rows of the prompts",
}
ON_UNITS = {"kv_bits": 8, "attention": "units"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, set()),
        ({"model": "smollm2-135m"}, {"slices"}),
        ({"model": "smollm2-135m", "threads": 1}, {"slices"}),
        ({"model": "mixtral-8x7b"}, {"experts"}),
        (ON_UNITS, {"units"}),
        (ON_UNITS | {"phase": "prefill", "prompt": 32}, {"units", "chunk", "prompts"}),
        ({"batch": 2, "overlap": True}, {"halves"}),
        ({"batch": 64}, {"sums"}),
    ],
)
def test_notes_are_those_of_the_step(asked, said):
    point = Point(**asked)
    notes = "\n".join(simulate_step(SAIL, load_model(point.model), point).notes)
    assert {name for name, words in NOTES.items() if words in notes} == said


def test_a_step_of_each_tensors_own_nbw_is_no_slower_than_one_of_any_nbw():
    def seconds(nbw):
        return simulate_step(SAIL, SMALL, Point(batch=3, nbw=nbw)).step_s

    assert seconds("auto") <= min(map(seconds, range(1, 6)))
