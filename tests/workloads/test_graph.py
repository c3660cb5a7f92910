from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.workloads.formats import uniform_format, weight_format
from sailsim.workloads.graph import decode_step, prefill_step
from sailsim.workloads.load import load_model
from sailsim.workloads.model import model_names

from ..examples import examples

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
    assert total(ops, "weight_bytes", "gemv") == weights * fmt.bits_per_weight / 8
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


def test_attention_multiplies_keys_and_values_of_their_own_widths():
    model = replace(load_model("llama-2-7b"), head_dim=192, value_dim=64)
    ops = decode_step(model, uniform_format(4, 32), 3, 100)
    assert total(ops, "macs", "attention") == model.n_layers * 3 * model.n_heads * (192 + 64) * 100
    assert {op.layer for op in ops if op.kind == "attention"} == set(range(model.n_layers))


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
    pairs = {
        0: sum(min(token, 128) for token in range(1, prompt + 1)),
        1: sum(range(1, prompt + 1)),
    }
    for layer in range(4):
        assert ops[f"blk.{layer}.attention"].macs == 2 * model.d_attn * pairs[layer % 2]


def test_a_window_keeps_the_cache_small():
    model = load_model("gemma-3-4b")
    assert model.kv_bytes(1024) == 1024 * model.kv_bytes_per_token()
    assert model.kv_bytes(9024) == 34 * 1024 * 4096 + 5 * 8000 * 4096
    assert [layer for layer in range(34) if model.attended(layer, 5000) == 5000] == [5, 11, 17, 23, 29]


def test_norms_that_only_some_models_have():
    ops = [op.name for op in decode_step(load_model("gemma-3-4b"), uniform_format(4, 32), 1, 5)]
    assert [name.removeprefix("blk.0.") for name in ops[1:17]] == [
        "attn_norm", "attn_q", "attn_k", "attn_v", "attn_q_norm", "attn_k_norm", "rope", "attention",
        "attn_output", "post_attention_norm", "ffn_norm", "ffn_gate", "ffn_up", "ffn_act", "ffn_down",
        "post_ffw_norm",
    ]  # fmt: skip
    whole = {op.name: op for op in decode_step(load_model("qwen3-8b"), uniform_format(4, 32), 3, 5)}
    of_heads = whole["blk.0.attn_k_norm"]
    assert (of_heads.weight_bytes, of_heads.flops, of_heads.act_bytes) == (
        4 * 128, 4 * 3 * 1024, 8 * 3 * 1024
    )  # fmt: skip


def test_one_block_in_order():
    model = load_model("llama-2-7b")
    ops = decode_step(model, uniform_format(4, 32), 1, 512)
    assert ops[0].kind == "embedding"
    assert [op.name.removeprefix("blk.0.") for op in ops[1:13]] == [
        "attn_norm", "attn_q", "attn_k", "attn_v", "rope", "attention", "attn_output", "ffn_norm",
        "ffn_gate", "ffn_up", "ffn_act", "ffn_down",
    ]  # fmt: skip
    assert [op.name for op in ops[-3:]] == ["output_norm", "output", "sample"]
    assert Counter(op.kind for op in ops) == {
        "gemv": 225, "elementwise": 32 * 4 + 1, "attention": 32, "embedding": 1, "sampling": 1,
    }  # fmt: skip


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
    with pytest.raises(SailsimError, match=r"allowed is 1\.\.16777216"):
        decode_step(model, fmt, batch, context)
    with pytest.raises(SailsimError, match=r"allowed is 1\.\.16777216"):
        prefill_step(model, fmt, context, batch)
