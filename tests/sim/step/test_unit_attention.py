"""Attention on the units: the same tiles, counts and bytes as for weights, dealt to the slices by heads."""

from dataclasses import replace
from math import ceil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.runs.runs import runners, runs
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.system_files import load_system, vary
from sailsim.sim.point import Point
from sailsim.sim.step.engine import simulate_step
from sailsim.sim.step.gemv_times import parallel_times, share_slices
from sailsim.sim.step.parts import PROMPT_CHUNK, prompt_chunk
from sailsim.sim.step.patterns import PROFILES, InputRows
from sailsim.sim.step.tiles import COUNTS, PimUnits, TileRequest, TileShape
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import uniform_format
from sailsim.workloads.models.graph import (
    ROUND_FLOPS,
    SOFTMAX_FLOPS,
    attention_on_units,
    decode_step,
    prefill_step,
)

from ...examples import examples

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
def test_operations_have_the_macs_bytes_and_flops_of_their_closed_forms(bits, batch, context):
    model = TINY.with_kv_bits(bits)
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
def test_lines_that_a_value_fills_are_not_read_before(bits, lines, unfilled):
    """A value of 128 elements; its key has a code in a line of each of 128 rows, which it never fills."""
    model = replace(TINY, head_dim=128).with_kv_bits(bits)
    ops = attention_on_units(decode_step(model, FMT, 3, 700), model, 700, line=64)
    write = parts(ops)[0]
    assert write.kv_bytes == 3 * 2 * 64 * (128 + lines + 2)
    assert write.weight_bytes == 3 * 2 * 64 * (128 + unfilled + 2)


@given(st.integers(1, 3000), st.integers(1, 64))
def test_matrices_are_dealt_evenly(matrices, slices):
    cut, at_once = share_slices(matrices, slices)
    rounds = ceil(matrices / at_once)
    assert 1 <= cut * at_once <= slices
    assert rounds * at_once >= matrices > (rounds - 1) * at_once
    assert rounds == (ceil(matrices / slices) if matrices >= slices else 1)


def test_every_runner_has_an_answer_and_who_does_not_know_units_says_so():
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


# --- Prompts with attention on the units: chunks of queries, each with the keys that its last q ---

SAIL = load_system("sail-n1")
SLICES = SAIL.llc.slices.whole
# Two query heads on one key head, of 4 elements.
HAND = replace(SMALL, name="hand", n_layers=1, n_heads=2, n_kv_heads=1, head_dim=4, d_model=8)


def of_block(ops: list[Any], name: str) -> list[Any]:
    """The operations of a name in the first block."""
    return [op for op in ops if op.name == f"blk.0.{name}"]


def test_a_prompt_of_five_counted_by_hand():
    """Chunks of 2, 2 and 1 tokens, which see 2, 4 and 5 keys: 2 x 2 + 2 x 4 + 5 = 17 products of a query and
    a key in each of 2 heads, where 1 + 2 + 3 + 4 + 5 = 15 are seen."""
    model = HAND.with_kv_bits(4)
    ops = attention_on_units(prefill_step(model, FMT, 5), model, 5, line=64, queries=5, chunk=2)
    first = next(i for i, op in enumerate(ops) if op.name == "blk.0.attn_cache")
    chunk = ["attn_scores", "attn_softmax", "attn_values", "attn_mix"]
    names = [op.name.removeprefix("blk.0.") for op in ops[first : first + 14]]
    assert names == ["attn_cache", *chunk, *chunk, *chunk, "attn_output"]
    scores, values = of_block(ops, "attn_scores"), of_block(ops, "attn_values")
    assert [(op.k, op.n, op.batch) for op in scores] == [(4, 2, 4), (4, 4, 4), (4, 5, 2)]
    assert [(op.k, op.n, op.batch) for op in values] == [(2, 4, 4), (4, 4, 4), (5, 4, 2)]
    assert sum(op.macs for op in scores) == sum(op.macs for op in values) == 2 * 17 * 4
    # Of 4 rows of codes 1, 2 and 3 bytes, and 2 bytes a key; of 2, 4 and 5 rows 2 bytes, and 4 scales of 1.
    assert [op.weight_bytes for op in scores] == [4 * 1 + 4, 4 * 2 + 8, 4 * 3 + 10]
    assert [op.weight_bytes for op in values] == [2 * 2 + 8, 4 * 2 + 8, 5 * 2 + 8]
    softmax = of_block(ops, "attn_softmax")
    assert sum(op.flops for op in softmax) == (6 + 1 + 3) * 2 * 15
    # Read are the seen scores, written the inputs of all products: 15 and 17 a head, of 4 bytes.
    assert sum(op.act_bytes for op in softmax) == 4 * 2 * (15 + 17)
    assert [op.weight_bytes for op in softmax] == [4, 8, 10]
    (write,) = of_block(ops, "attn_cache")
    # Keys: 4 rows of 3 bytes, a line. Values: 5 rows of 2 bytes, a line. Scales: a line each. Nothing before.
    assert (write.kv_bytes, write.weight_bytes) == (4 * 64, 0)
    assert write.flops == 3 * 5 * (8 + 4 + 4)
    assert sum(op.flops for op in of_block(ops, "attn_mix")) == 3 * 5 * 8


@given(
    st.integers(2, 8),
    st.integers(1, 3),
    st.integers(1, 400),
    st.integers(1, 200),
    st.sampled_from([0, 1, 7, 64]),
)
def test_every_query_sees_its_keys_whatever_the_chunks(bits, batch, prompt, chunk, window):
    model = replace(TINY, sliding_window=window).with_kv_bits(bits)
    before = prefill_step(model, FMT, prompt, batch)
    ops = attention_on_units(before, model, prompt, 64, prompt, chunk)
    (old,) = of_block(before, "attention")
    scores, values = of_block(ops, "attn_scores"), of_block(ops, "attn_values")
    assert len(scores) == len(values) == ceil(prompt / chunk)
    assert sum(op.batch for op in scores) == batch * 4 * prompt
    seen = min(window or prompt, prompt)
    for at, (one, other) in enumerate(zip(scores, values, strict=True)):
        begin, end = at * chunk, min((at + 1) * chunk, prompt)
        # From the first key of its first query to the last of its last.
        assert one.n == other.k == end - max(0, begin + 1 - seen)
        assert one.spread == other.spread == ((2 * (end - begin), float(2 * batch)),)
    done = sum(op.macs for op in (*scores, *values))
    spare = (
        2 * 16 * batch * 4 * prompt * (min(chunk, prompt) - 1)
    )  # a query computes at most so many too many
    assert old.macs <= done <= old.macs + spare
    pairs = old.macs // (2 * 16)
    assert sum(op.flops for op in of_block(ops, "attn_softmax")) == (6 + 1 + 3) * pairs
    if chunk == 1:
        assert done == old.macs
    (write,) = of_block(ops, "attn_cache")
    codes = batch * 2 * (16 * ceil(prompt * bits / 8) + prompt * 2 * bits)
    lines = write.kv_bytes / 64
    assert codes + batch * 2 * 4 * prompt <= write.kv_bytes
    assert lines <= batch * 2 * (16 * (prompt * bits // 512 + 1) + prompt * 2 * bits // 64 + prompt // 16 + 4)


def test_the_last_token_alone_is_a_token_of_decoding():
    model = TINY.with_kv_bits(4)
    (decoded,) = of_block(
        attention_on_units(decode_step(model, FMT, 3, 77), model, 77, line=64), "attn_scores"
    )
    prompt = prefill_step(model, FMT, 77, 3)
    *_, last = of_block(attention_on_units(prompt, model, 77, 64, 77, 4), "attn_scores")
    assert replace(last, name="") == replace(decoded, name="")  # 77 = 19 x 4 + 1


@examples(6)
@given(st.sampled_from([1, 3, 12]), st.integers(1, 300), st.integers(2, 8))
def test_chunks_are_tiles_of_the_slices_that_have_a_head(batch, prompt, bits):
    """Each by itself on as many slices, with the same counts, bytes and seconds."""
    model = replace(SMALL, n_layers=1)
    point = Point(
        model=SMALL.name, phase="prefill", batch=batch, prompt=prompt, kv_bits=bits, attention="units"
    )
    with_units, on_cores = (
        simulate_step(SAIL, model, each) for each in (point, replace(point, attention="cores"))
    )
    matrices = batch * model.n_kv_heads
    cut, at_once = share_slices(matrices, SLICES)
    rounds = ceil(matrices / at_once)
    units = PimUnits(SAIL, substrate=None, convert=None, prt=True, slices=cut, sharing=SLICES)
    total = dict.fromkeys(COUNTS, 0)
    read = seconds = 0.0
    captured = Activations.load()
    for begin in range(0, prompt, PROMPT_CHUNK):
        end = min(begin + PROMPT_CHUNK, prompt)
        rows = (end - begin) * model.gqa
        for k, n, group in ((64, end, 64), (end, 64, 0)):
            scan = units.scan(8, True, 4, group)
            profile = PROFILES.captured(captured, InputRows("attn_out", 0, 1, k, rows, 0), scan)
            size = k * ceil(n * bits / 8) + 2 * n
            tile = units.table(TileRequest(TileShape(k, n, rows, bits, bits, 8, 4, group), size), [profile])
            for name, count in zip(COUNTS, tile.counts[0].tolist(), strict=True):
                total[name] += rounds * count
            read += matrices * float(tile.bytes[0])
            seconds += rounds * float(tile.seconds[0])
    for name in COUNTS:
        assert with_units.counts[name] - on_cores.counts[name] == total[name]
    assert with_units.bytes_by_kind["cache"] == pytest.approx(read)
    assert with_units.bytes_by_kind["weights"] == pytest.approx(on_cores.bytes_by_kind["weights"])
    busy = [sum(each.breakdown[p] for p in ("load", "build", "lookup", "convert", "write_back"))
            for each in (with_units, on_cores)]  # fmt: skip
    assert busy[0] - busy[1] == pytest.approx(seconds, rel=1e-6)
    assert sum(with_units.breakdown.values()) == pytest.approx(with_units.step_s)


def test_chunks_have_room_for_their_scores():
    point = Point(model="llama-2-7b", phase="prefill", prompt=512, kv_bits=4, attention="units")
    model = load_model("llama-2-7b")
    assert prompt_chunk(SAIL, model, point) == PROMPT_CHUNK
    room = SAIL.llc.size
    for batch, prompt in ((8, 512), (1, 4096), (16, 2048)):
        wide = replace(point, batch=batch, prompt=prompt, context=prompt)
        chunk = prompt_chunk(SAIL, model, wide)
        scores = 4 * batch * 32 * prompt
        assert chunk * scores <= room < 2 * chunk * scores
    assert prompt_chunk(SAIL, model, replace(point, batch=127, prompt=516, context=516)) == 4
    assert prompt_chunk(SAIL, model, Point(kv_bits=4, attention="units")) == 1
    small = vary(SAIL, {"llc.slices": 4})
    assert prompt_chunk(small, model, point) < PROMPT_CHUNK


def test_heads_that_wait_for_memory_take_their_full_rounds_and_then_the_rest():
    one: Any = SimpleNamespace(
        slices=1, blocks=1, rounds=1, bytes=1.0, seconds=1.0, cycles=1, counts=1, numbers=np.ones((1, 2)),
        throttled=lambda rate: np.array([1 / rate]), crowded=lambda: False,
    )  # fmt: skip
    # Five heads, two at a time: two rounds at half of the rate each, and one head that has all of it.
    assert parallel_times(one, 5, 2, 1).throttled(1.0).tolist() == [2 * 2 + 1]
