"""Experts: how many a batch touches and how its tokens lie on them, as expected and drawn."""

from itertools import combinations, product
from math import comb, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.workloads.experts import (
    MAX_CLASSES,
    Experts,
    Routing,
    distinct_experts,
    expected_rounds,
    expected_spread,
    sampled_spread,
    touched,
    touched_deviation,
)
from sailsim.workloads.formats import uniform_format, weight_format
from sailsim.workloads.graph import decode_step, step_notes
from sailsim.workloads.load import load_model
from sailsim.workloads.model import ModelSpec

from ..examples import examples

SIZES = st.integers(1, 300).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count)))


def pairs(spread) -> float:
    return sum(tokens * experts for tokens, experts in spread)


@given(sizes=SIZES, tokens=st.one_of(st.integers(1, 80), st.integers(1, 70000)))
def test_a_spread_has_the_closed_forms_experts_and_all_tokens(sizes, tokens):
    count, used = sizes
    spread = expected_spread(count, used, tokens)
    assert touched(spread) == pytest.approx(count * (1 - (1 - used / count) ** tokens), rel=1e-9)
    assert distinct_experts(count, used, tokens) == pytest.approx(touched(spread), rel=1e-12)
    assert pairs(spread) == pytest.approx(tokens * used, rel=1e-12)
    assert all(1 <= on <= tokens and experts > 0 for on, experts in spread)
    assert len(spread) <= MAX_CLASSES
    assert [on for on, _ in spread] == sorted({on for on, _ in spread})


def test_a_spread_by_all_cases():
    """Three tokens that each choose two of four experts: 216 cases, equally likely."""
    ways = list(combinations(range(4), 2))
    seen = dict.fromkeys((1, 2, 3), 0)
    for case in product(ways, repeat=3):
        for expert in range(4):
            on = sum(expert in chosen for chosen in case)
            if on:
                seen[on] += 1
    cases = len(ways) ** 3
    assert expected_spread(4, 2, 3) == tuple((on, pytest.approx(n / cases)) for on, n in seen.items())


def test_joined_classes_stand_for_the_binomial_distribution():
    """A function that bends, as tile times do, has nearly the same sum over the joined classes."""
    count, used, tokens = 64, 8, 300
    p = used / count
    exact = sum(
        count * comb(tokens, on) * p**on * (1 - p) ** (tokens - on) * (100 + on + on**1.5)
        for on in range(1, tokens + 1)
    )
    joined = sum(experts * (100 + on + on**1.5) for on, experts in expected_spread(count, used, tokens))
    assert joined == pytest.approx(exact, rel=5e-4)


@pytest.mark.parametrize(("count", "used", "tokens"), [(8, 2, 5), (32, 4, 8), (128, 8, 20), (5, 5, 3)])
def test_draws_have_the_closed_form_as_their_mean(count, used, tokens):
    draws = [touched(sampled_spread(count, used, tokens, seed)) for seed in range(600)]
    mean = sum(draws) / len(draws)
    error = sqrt(sum((one - mean) ** 2 for one in draws) / (len(draws) - 1) / len(draws))
    assert abs(mean - distinct_experts(count, used, tokens)) <= 4 * error
    assert (error > 0) == (used < count)


@pytest.mark.parametrize(("count", "used", "tokens"), [(8, 2, 5), (32, 4, 8), (128, 8, 20), (8, 2, 1)])
def test_draws_have_the_closed_forms_deviation_and_rounds(count, used, tokens):
    draws = [touched(sampled_spread(count, used, tokens, seed)) for seed in range(1500)]
    mean = sum(draws) / len(draws)
    deviation = sqrt(sum((one - mean) ** 2 for one in draws) / (len(draws) - 1))
    assert touched_deviation(count, used, tokens) == pytest.approx(deviation, rel=0.1)
    for together in (2, 4, 8):
        begun = sum(-(-one // together) for one in draws) / len(draws)
        mean, most = distinct_experts(count, used, tokens), min(count, used * tokens)
        own = expected_rounds(mean, deviation, together, used, most)
        assert own == pytest.approx(begun, rel=0.03), together


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


def test_rounds_of_a_known_number_are_whole():
    assert [expected_rounds(8.0, 0.0, together, 2, 8) for together in (1, 3, 8, 16)] == [8, 3, 1, 1]
    assert touched_deviation(5, 5, 9) == touched_deviation(8, 2, 1) == 0


def test_a_draw_is_one_of_its_seed_and_layer():
    one = sampled_spread(32, 4, 9, 3)
    assert one == sampled_spread(32, 4, 9, 3)
    others = {sampled_spread(32, 4, 9, seed, layer) for seed in range(4) for layer in range(4)}
    assert len(others) > 4
    assert all(pairs(spread) == 36 and touched(spread) <= 32 for spread in others)
    with pytest.raises(SailsimError, match="seed of a routing is -1"):
        Routing(-1)


TINY = ModelSpec(
    name="t", title="T", source="here", n_layers=3, d_model=64, n_heads=4, n_kv_heads=2, head_dim=16,
    d_ffn=96, vocab=50, experts=Experts(8, 2, 32, shared_d_ffn=64, dense_layers=(0,)),
)  # fmt: skip


@examples(40)
@given(batch=st.integers(1, 40), seed=st.one_of(st.none(), st.integers(0, 99)))
def test_a_step_reads_the_touched_experts_and_multiplies_the_used_ones(batch, seed):
    fmt = weight_format("q8_0")
    ops = {op.name: op for op in decode_step(TINY, fmt, batch, 9, Routing(seed))}
    for layer in (1, 2):
        spread = expected_spread(8, 2, batch) if seed is None else sampled_spread(8, 2, batch, seed, layer)
        for kind, k, n in (("ffn_gate", 64, 32), ("ffn_up", 64, 32), ("ffn_down", 32, 64)):
            op = ops[f"blk.{layer}.{kind}_exps"]
            assert (op.k, op.n, op.matrices, op.spread) == (k, n, 8, spread)
            assert op.weight_bytes == pytest.approx(touched(spread) * k * n * 8.5 / 8)
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


def test_a_block_of_experts_in_order():
    ops = decode_step(TINY, uniform_format(4, 32), 2, 5)
    assert [op.name.removeprefix("blk.1.") for op in ops if op.layer == 1][7:] == [
        "ffn_norm", "ffn_gate_inp", "ffn_topk", "ffn_gate_shexp", "ffn_up_shexp", "ffn_act_shexp",
        "ffn_down_shexp", "ffn_gate_exps", "ffn_up_exps", "ffn_act_exps", "ffn_down_exps", "ffn_join",
    ]  # fmt: skip


def test_sizes_of_the_whole_and_of_what_a_token_meets():
    fmt = uniform_format(4, 32)
    experts = 2 * 8 * 3 * 64 * 32
    assert TINY.n_params - TINY.active_params == experts * 6 // 8
    rest = TINY.n_params - experts - 2 * 64 * 8
    assert fmt.model_bytes(TINY) == pytest.approx(
        (experts + rest - TINY.norm_params) * 4.5 / 8 + 4 * (TINY.norm_params + 2 * 64 * 8)
    )
    assert {found.name: weights for found, _, weights in fmt.census(TINY)}["f32"] == 2 * 64 * 8


def test_the_assumption_is_said_where_it_matters():
    (note,) = step_notes(TINY, 2)
    assert "uniformly and independently" in note
    assert "upper end" in note
    assert step_notes(TINY, 1) == step_notes(load_model("llama-2-7b"), 8) == []


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
