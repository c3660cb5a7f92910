from itertools import combinations, product
from math import comb
from statistics import pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.experts import (
    MAX_CLASSES,
    Experts,
    distinct_experts,
    expected_rounds,
    expected_spread,
    touched_deviation,
    touched_experts,
)
from sailsim.workloads.models.formats import uniform_format, weight_format
from sailsim.workloads.models.graph import decode_step, prefill_step
from sailsim.workloads.models.model import ModelSpec, model_names

from ...examples import examples
from ...refusals import refusal
from ..experts import drawn_spread

MODELS = st.sampled_from(model_names())
DENSE = st.sampled_from([name for name in model_names() if load_model(name).experts is None])


def total(ops, field, kind=None):
    return sum(getattr(op, field) for op in ops if kind in (None, op.kind))


@examples(20)
@given(name=DENSE, batch=st.integers(1, 64), context=st.integers(1, 8192), wbits=st.integers(1, 8))
def test_a_decode_step_reads_every_weight_once(name, batch, context, wbits):
    model, fmt = load_model(name), uniform_format(wbits, 32)
    ops = decode_step(model, fmt, batch, context)
    weights = sum(linear.params for linear in model.linears())
    assert total(ops, "weight_bytes", "gemv") == weights * (wbits + 0.5) / 8
    assert total(ops, "macs", "gemv") == batch * weights
    assert total(ops, "weight_bytes", "elementwise") == 4 * model.norm_params
    row = model.d_model * (wbits + 0.5) / 8
    assert total(ops, "weight_bytes", "embedding") == pytest.approx(batch * row)


@examples(20)
@given(name=MODELS, batch=st.integers(1, 64), context=st.integers(1, 8192))
def test_attention_reads_the_whole_cache_and_writes_one_token(name, batch, context):
    model = load_model(name)
    ops = decode_step(model, weight_format("q8_0"), batch, context)
    assert total(ops, "kv_bytes") == batch * (model.kv_bytes(context) + model.kv_bytes_per_token())
    tokens = sum(
        min(context, model.sliding_window or context) if layer not in model.full_layers else context
        for layer in range(model.n_layers)
    )
    assert total(ops, "macs", "attention") == 2 * model.d_attn * tokens * batch


@pytest.mark.slow
@examples(20)
@given(name=DENSE, prompt=st.integers(1, 64))
def test_a_prefill_does_the_work_of_its_decode_steps(name, prompt):
    model, fmt = load_model(name), weight_format("f16")
    prefill = prefill_step(model, fmt, prompt)
    steps = [decode_step(model, fmt, 1, context) for context in range(1, prompt + 1)]
    assert total(prefill, "macs", "attention") == sum(total(step, "macs", "attention") for step in steps)
    blocks = sum(linear.params for linear in model.linears()) - model.head.params
    assert total(prefill, "macs", "gemv") == prompt * blocks + model.head.params
    assert total(prefill, "weight_bytes", "gemv") == total(steps[0], "weight_bytes", "gemv")
    assert total(prefill, "kv_bytes") == 2 * prompt * model.kv_bytes_per_token()


@pytest.mark.parametrize("prompt", [1, 127, 128, 129, 500])
def test_a_prefill_sees_no_more_than_the_window(prompt):
    """Pair by pair: a token of a windowed block sees itself and those that the window still holds."""
    model, fmt = load_model("gpt-oss-20b"), weight_format("f16")
    ops = {op.name: op for op in prefill_step(model, fmt, prompt)}
    pairs = {0: sum(min(token, 128) for token in range(1, prompt + 1)), 1: sum(range(1, prompt + 1))}
    for layer in range(4):
        assert ops[f"blk.{layer}.attention"].macs == 2 * model.d_attn * pairs[layer % 2]


def test_flops_of_a_block_by_hand():
    ops = {op.name: op for op in decode_step(load_model("llama-2-7b"), uniform_format(4, 32), 2, 100)}
    assert ops["blk.0.rope"].flops == 2 * 6 * (4096 + 4096) // 2
    assert ops["blk.0.attention"].flops == 2 * (6 * 32 * 100 + 3 * 4096)
    assert ops["blk.0.ffn_act"].flops == 2 * 8 * 11008
    assert ops["blk.0.attn_norm"].flops == 2 * 8 * 4096
    assert ops["sample"].flops == 2 * 32000


@pytest.mark.parametrize(("batch", "context"), [(0, 1), (1, 0), (-3, 5), (1 << 25, 1)])
def test_sizes_out_of_range_are_refused(batch, context):
    model, fmt = load_model("gemma-2b"), weight_format("q4_0")
    assert "allowed is 1..16777216" in refusal(decode_step, model, fmt, batch, context)
    assert "allowed is 1..16777216" in refusal(prefill_step, model, fmt, context, batch)


# --- Experts: how many a batch touches and how its tokens lie on them, as expected and drawn ---

SIZES = st.integers(1, 300).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count)))


def pairs(spread) -> float:
    return sum(tokens * experts for tokens, experts in spread)


@given(sizes=SIZES, tokens=st.one_of(st.integers(1, 80), st.integers(1, 70000)))
def test_a_spread_has_the_closed_forms_experts_and_all_tokens(sizes, tokens):
    count, used = sizes
    spread = expected_spread(count, used, tokens)
    assert touched_experts(spread) == pytest.approx(count * (1 - (1 - used / count) ** tokens), rel=1e-9)
    assert distinct_experts(count, used, tokens) == pytest.approx(touched_experts(spread), rel=1e-12)
    assert pairs(spread) == pytest.approx(tokens * used, rel=1e-12)
    assert all(1 <= on <= tokens and experts > 0 for on, experts in spread)
    assert len(spread) <= MAX_CLASSES
    assert [on for on, _ in spread] == sorted({on for on, _ in spread})


def test_a_spread_by_all_cases():
    """Three tokens that each choose two of four experts: 216 cases, equally likely."""
    ways = list(combinations(range(4), 2))
    seen, touching = dict.fromkeys((1, 2, 3), 0), []
    for case in product(ways, repeat=3):
        touching.append(len({expert for chosen in case for expert in chosen}))
        for expert in range(4):
            on = sum(expert in chosen for chosen in case)
            if on:
                seen[on] += 1
    cases = len(ways) ** 3
    assert touched_deviation(4, 2, 3) == pytest.approx(pstdev(touching))
    assert expected_spread(4, 2, 3) == tuple((on, pytest.approx(n / cases)) for on, n in seen.items())


@pytest.mark.parametrize(("count", "used"), [(8, 2), (16, 4), (32, 4), (64, 8)])
@pytest.mark.parametrize("together", [2, 4, 8])
def test_rounds_are_those_of_numbers_that_can_be(count, used, together):
    """Two tokens touch 2 * used experts but for those that both choose, a hypergeometric number of them."""
    pairs = comb(count, used)
    chances = {
        2 * used - both: comb(used, both) * comb(count - used, used - both) / pairs
        for both in range(used + 1)
    }
    exact = sum(chance * -(-number // together) for number, chance in chances.items())
    mean, deviation = distinct_experts(count, used, 2), touched_deviation(count, used, 2)
    own = expected_rounds(mean, deviation, together, used, 2 * used)
    assert own == pytest.approx(exact, rel=0.008)


def test_drawn_choices_touch_as_many_experts_in_the_mean():
    draws = [touched_experts(drawn_spread(32, 4, 9, seed)) for seed in range(200)]
    assert sum(draws) / 200 == pytest.approx(distinct_experts(32, 4, 9), rel=0.02)


TINY = ModelSpec(
    name="t", title="T", source="here", n_layers=3, d_model=64, n_heads=4, n_kv_heads=2, head_dim=16,
    d_ffn=96, vocab=50, experts=Experts(8, 2, 32, shared_d_ffn=64, dense_layers=(0,)),
)  # fmt: skip


@examples(40)
@given(batch=st.integers(1, 40))
def test_a_step_reads_the_touched_experts_and_multiplies_the_used_ones(batch):
    fmt = weight_format("q8_0")
    ops = {op.name: op for op in decode_step(TINY, fmt, batch, 9)}
    for layer in (1, 2):
        spread = expected_spread(8, 2, batch)
        for kind, k, n in (("ffn_gate", 64, 32), ("ffn_up", 64, 32), ("ffn_down", 32, 64)):
            op = ops[f"blk.{layer}.{kind}_exps"]
            assert (op.k, op.n, op.matrices, op.spread) == (k, n, 8, spread)
            assert op.weight_bytes == pytest.approx(touched_experts(spread) * k * n * 8.5 / 8)
            assert op.macs == 2 * batch * k * n
            assert op.batch == 2 * batch
            assert sum(times * one.macs for one, times in op.products) == pytest.approx(op.macs)
            assert sum(times * one.weight_bytes for one, times in op.products) == pytest.approx(
                op.weight_bytes
            )
            assert ops[f"blk.{layer}.{kind}_shexp"].macs == batch * 64 * 64
        router = ops[f"blk.{layer}.ffn_gate_inp"]
        assert (router.n, router.format.name, router.spread) == (8, "f32", ())
    assert ops["blk.0.ffn_up"].n == 96
    assert "blk.0.ffn_gate_inp" not in ops


# Bytes of files that llama.cpp's quantizer (release b2636) made of Mixtral-8x22B: page of
# bartowski/Mixtral-8x22B-v0.1-GGUF, GB. It kept routers as fp16, 0.006 GB less than fp32 as since.
MIXTRAL_8X22B = {
    "q5_k_m": 99.96, "q5_k_s": 96.97, "q4_k_m": 85.58, "q4_k_s": 80.47, "iq4_nl": 80.47, "iq4_xs": 76.35,
    "q3_k_l": 72.57, "q3_k_m": 67.78, "q3_k_s": 61.49, "q2_k": 52.10,
}  # fmt: skip


def test_mixes_of_eight_experts_have_the_published_sizes():
    model = ModelSpec(
        name="mixtral-8x22b", title="Mixtral 8x22B", source="mistralai/Mixtral-8x22B-v0.1, config.json",
        n_layers=56, d_model=6144, n_heads=48, n_kv_heads=8, head_dim=128, d_ffn=16384, vocab=32000,
        experts=Experts(8, 2, 16384),
    )  # fmt: skip
    for name, size in MIXTRAL_8X22B.items():
        assert weight_format(name).model_bytes(model) / 1e9 == pytest.approx(size, abs=0.018), name
