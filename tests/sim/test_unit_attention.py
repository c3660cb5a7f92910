"""Attention on the units: the same tiles, counts and bytes as for weights, dealt to the slices by heads."""

from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.results.runs import runners, runs
from sailsim.base.errors import SailsimError
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.jobs import HeadJobs, Sharing
from sailsim.sim.keys import point_key
from sailsim.sim.patterns import PROFILES, InputRows
from sailsim.sim.point import Point
from sailsim.sim.tiles import COUNTS, PimUnits, Shape, TileRequest
from sailsim.workloads.activations import Activations
from sailsim.workloads.formats import uniform_format
from sailsim.workloads.graph import ROUND_FLOPS, SOFTMAX_FLOPS, attention_on_units, decode_step
from sailsim.workloads.load import load_model

from ..examples import examples

SAIL = load_system("sail-n1")
SLICES = SAIL.llc.slices.whole
FMT = uniform_format(4, 128)
# Two query heads on each key head, of 16 elements.
TINY = replace(
    load_model("smollm2-135m"), name="tiny", n_layers=2, n_heads=4, n_kv_heads=2, head_dim=16, d_model=64
)
SMALL = load_model("smollm2-135m")


def parts(ops: list[Any]) -> list[Any]:
    """What stands in the place of the first block's attention."""
    names = ("attn_cache", "attn_scores", "attn_softmax", "attn_values", "attn_mix")
    return [next(op for op in ops if op.name == f"blk.0.{name}") for name in names]


@given(st.integers(2, 8), st.integers(1, 9), st.integers(1, 700))
def test_operations_have_the_macs_bytes_and_flops_of_their_closed_forms(
    bits: int, batch: int, context: int
) -> None:
    model = TINY.cached(bits)
    before = decode_step(model, FMT, batch, context)
    ops = attention_on_units(before, model, context, line=64)
    write, scores, softmax, values, mix = parts(ops)
    old = next(op for op in before if op.kind == "attention")
    assert scores.macs + values.macs == old.macs == 2 * batch * 4 * 16 * context
    matrices = batch * 2
    for op, k, n in ((scores, 16, context), (values, context, 16)):
        assert (op.k, op.n, op.matrices, op.batch, op.side_by_side) == (k, n, matrices, 4 * batch, True)
        assert op.products == ((op.products[0][0], matrices),)
        assert op.products[0][0].batch == 2  # both queries of a group look up in one table
    # A row of codes for each input, padded to a byte, and the scales of the tokens, or one of 1.
    assert scores.weight_bytes == matrices * (16 * ceil(context * bits / 8) + 2 * context)
    assert values.weight_bytes == matrices * (context * ceil(16 * bits / 8) + 2 * 16)
    pairs = batch * 4 * context
    assert softmax.flops == (SOFTMAX_FLOPS + 1 + ROUND_FLOPS) * pairs
    assert softmax.weight_bytes == 2 * matrices * context  # the values' scales
    assert write.flops == ROUND_FLOPS * batch * (64 + 32 + 32)
    assert mix.flops == ROUND_FLOPS * batch * 64
    # A new key touches a line of each row, or all lines where rows are short; a new value its own row; each
    # has a scale in a line of its own. None of 16 elements fills a line, which is read before.
    row = ceil(context * bits / 8)
    lines = 16 if row >= 64 else ceil(16 * row / 64)
    assert write.kv_bytes == write.weight_bytes == matrices * 64 * (lines + 1 + 2)
    assert [op.name for op in ops if op not in before] == [
        f"blk.{layer}.{name}"
        for layer in range(2)
        for name in ("attn_cache", "attn_scores", "attn_softmax", "attn_values", "attn_mix")
    ]


@pytest.mark.parametrize(("bits", "lines", "unfilled"), [(4, 1, 0), (8, 2, 0), (6, 2, 1), (2, 1, 1)])
def test_lines_that_a_value_fills_are_not_read_before(bits: int, lines: int, unfilled: int) -> None:
    """A value of 128 elements; its key has a code in a line of each of 128 rows, which it never fills."""
    model = replace(TINY, head_dim=128).cached(bits)
    ops = attention_on_units(decode_step(model, FMT, 3, 700), model, 700, line=64)
    write = parts(ops)[0]
    assert write.kv_bytes == 3 * 2 * 64 * (128 + lines + 2)
    assert write.weight_bytes == 3 * 2 * 64 * (128 + unfilled + 2)


@given(st.integers(1, 3000), st.integers(1, 64))
def test_matrices_are_dealt_evenly(matrices: int, slices: int) -> None:
    sharing = Sharing.of(matrices, slices)
    assert 1 <= sharing.cut * sharing.at_once <= slices
    assert sharing.rounds * sharing.at_once >= matrices > (sharing.rounds - 1) * sharing.at_once
    assert sharing.rounds == (ceil(matrices / slices) if matrices >= slices else 1)


class One:
    """A matrix that takes 2 s, and 100 bytes at their rate where that is longer."""

    slices, shares, blocks = 3, 3, 1
    bytes, seconds = np.array([100.0]), np.array([2.0])
    cycles, counts = np.array([20]), np.array([[5, 7]])
    numbers = np.array([[0.5, 1.5, 8.0]])

    def throttled(self, rate: float) -> Any:
        return np.maximum(self.seconds, 100 / rate)


def test_rounds_follow_one_another_and_share_memory() -> None:
    jobs = HeadJobs(One(), Sharing(matrices=7, cut=3, at_once=3), phases=2)  # type: ignore[arg-type]
    assert jobs.seconds.tolist() == [6.0]  # three rounds: 3, 3 and 1
    assert jobs.bytes.tolist() == [700.0]
    assert jobs.slices == 21  # a descriptor for each part of each
    assert (jobs.cycles.tolist(), jobs.counts.tolist()) == ([60], [[15, 21]])
    assert (jobs.shares * jobs.counts).tolist() == [[7 * 3 * 5, 7 * 3 * 7]]
    assert jobs.numbers.tolist() == [[1.5, 4.5, 56.0]]
    # At 60 bytes/s three matrices get 20 each, and the last one 60.
    assert jobs.throttled(60.0).tolist() == [5.0 + 5.0 + 2.0]
    assert jobs.throttled(1e9).tolist() == jobs.seconds.tolist()


@pytest.mark.parametrize(("batch", "context"), [(1, 65), (8, 96), (16, 512)])
def test_a_head_is_a_tile_of_the_slices_that_have_it(batch: int, context: int) -> None:
    """By itself on as many slices, with the same counts; all heads have them as often as there are heads."""
    model = replace(SMALL, n_layers=1).cached(4)
    point = Point(model=SMALL.name, batch=batch, context=context, kv_bits=4, attention="units")
    with_units, on_cores = (
        simulate_step(SAIL, model, each) for each in (point, replace(point, attention="cores"))
    )
    sharing = Sharing.of(batch * model.n_kv_heads, SLICES)
    units = PimUnits(SAIL, substrate=None, convert=None, prt=True, slices=sharing.cut, sharing=SLICES)
    total = dict.fromkeys(COUNTS, 0)
    own = dict.fromkeys(COUNTS, 0)
    read = seconds = 0.0
    captured = Activations.load()
    for k, n, group in ((64, context, 64), (context, 64, 0)):
        scan = units.scan(8, True, 4, group)
        profile = PROFILES.captured(captured, InputRows("attn_out", 0, 1, k, model.gqa, 0), scan)
        size = k * ceil(n * 4 / 8) + 2 * n
        tile = units.table(TileRequest(Shape(k, n, model.gqa, 4, 4, 8, 4, group), size), [profile])
        for name, count in zip(COUNTS, tile.counts[0].tolist(), strict=True):
            total[name] += sharing.matrices * tile.slices * count
            own[name] += sharing.rounds * count
        read += sharing.matrices * size
        seconds += sharing.rounds * float(tile.seconds[0])
    for name in COUNTS:
        assert with_units.counts[name] - on_cores.counts[name] == own[name]
        assert with_units.counts_total[name] - on_cores.counts_total[name] == total[name]
    assert with_units.bytes_by_kind["cache"] == read
    assert with_units.bytes_by_kind["weights"] == pytest.approx(on_cores.bytes_by_kind["weights"])
    busy = [sum(each.breakdown[p] for p in ("load", "build", "lookup", "convert", "write_back"))
            for each in (with_units, on_cores)]  # fmt: skip
    assert busy[0] - busy[1] == pytest.approx(seconds, rel=1e-9)
    assert sum(with_units.breakdown.values()) == pytest.approx(with_units.step_s)


@examples(8)
@given(st.integers(2, 8), st.sampled_from([1, 2, 11, 12, 32]), st.integers(1, 1500))
def test_bytes_and_time_are_accounted_for(bits: int, batch: int, context: int) -> None:
    point = Point(model=SMALL.name, batch=batch, context=context, kv_bits=bits, attention="units", threads=8)
    model = replace(SMALL, n_layers=2)
    found = simulate_step(SAIL, model, point)
    assert sum(found.breakdown.values()) == pytest.approx(found.step_s)
    ops = attention_on_units(
        decode_step(model.cached(bits), point.formats(model), batch, context), model.cached(bits), context, 64
    )
    read = sum(op.weight_bytes for op in ops if op.side_by_side)
    assert found.bytes_by_kind["cache"] == pytest.approx(read)
    assert found.bytes_by_kind["written"] == pytest.approx(sum(op.kv_bytes for op in ops))
    by_cores = sum(op.weight_bytes for op in ops if op.kind != "gemv")
    assert found.bytes_by_kind["read"] == pytest.approx(by_cores)
    assert found.dram_bytes == pytest.approx(sum(found.bytes_by_kind.values()))


def test_tables_are_shared_by_the_queries_of_a_group_and_not_by_sequences() -> None:
    def builds(model: Any, batch: int, attention: str) -> int:
        point = Point(batch=batch, context=256, kv_bits=4, attention=attention)  # type: ignore[arg-type]
        return simulate_step(SAIL, model, point).counts_total["table_builds"]

    def own(model: Any, batch: int) -> int:
        return builds(model, batch, "units") - builds(model, batch, "cores")

    model = replace(SMALL, n_layers=1, n_heads=32, n_kv_heads=32)
    grouped = replace(model, n_kv_heads=8)
    assert own(model, 2) == 2 * own(model, 1)
    assert own(model, 4) == 4 * own(grouped, 4)  # every slice has whole heads


def test_llama_is_more_than_twice_as_fast_at_batch_8() -> None:
    """Attention is two thirds of the step at context 512 while the cores do it."""
    model = load_model("llama-2-7b")
    cores, units = (
        simulate_step(SAIL, model, Point(batch=8, kv_bits=4, attention=who))  # type: ignore[arg-type]
        for who in ("cores", "units")
    )
    assert cores.breakdown["cores"] > 0.6 * cores.step_s
    assert units.breakdown["cores"] < 0.05 * units.step_s
    assert units.tokens_per_s > 2 * cores.tokens_per_s
    assert any("attn_out" in note for note in units.notes)


def test_nbw_may_be_each_tensors_own_and_sums_may_be_converted_by_the_cores() -> None:
    point = Point(model=SMALL.name, kv_bits=4, attention="units", context=128, nbw="auto")
    found = simulate_step(SAIL, SMALL, point)
    assert {name.split()[0] for name in found.chosen} >= {"attn_scores", "attn_values"}
    converted = simulate_step(SAIL, SMALL, replace(point, nbw=4, convert="cores"))
    assert converted.breakdown["convert"] == 0.0


def test_every_runner_has_an_answer_and_who_does_not_know_units_says_so() -> None:
    point = Point(model=SMALL.name, kv_bits=4, attention="units", context=128, batch=8)
    found = {run.runner: run for run in runs(point)}
    assert found["sail"].traffic["cache"] > 0
    assert found["sail"].energy_j == pytest.approx(sum(found["sail"].energy.values()))
    plain = {run.runner: run for run in runs(replace(point, attention="cores"))}
    assert found["cores"].step_s == plain["cores"].step_s
    with pytest.raises(SailsimError, match="attention is 'units', which the accelerator of system aim-n1"):
        simulate_step(load_system("aim-n1"), SMALL, replace(point, system="aim-n1"))
    beside = {run.runner: run for run in runs(point, runners=runners(["neural-cache-n1"]))}
    assert any("without the point's attention" in note for note in beside["neural-cache-n1"].notes)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"attention": "card"}, r"attention is 'card'; allowed are cores, units\."),
        (
            {"attention": "units"},
            r"kv_bits is not said beside attention on the units; allowed there is 2\.\.8",
        ),
        ({"attention": "units", "kv_bits": 16}, r"kv_bits is 16 beside attention on the units; allowed"),
        (
            {"attention": "units", "kv_bits": 16, "phase": "prefill"},
            r"kv_bits is 16 beside attention on the units; allowed there is 2\.\.8",
        ),
    ],
)
def test_bad_choices_are_one_sentence(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SailsimError, match=said):
        Point(**fields)


def test_a_choice_is_a_question_of_its_own() -> None:
    assert point_key(Point(kv_bits=4)) != point_key(Point(kv_bits=4, attention="units"))
    assert point_key(Point(attention="cores")) == point_key(Point())
