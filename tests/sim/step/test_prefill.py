"""Prefill: a phase of a point, and a step in which all rows of the prompts go through a matrix at once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.backend import memory_needed
from sailsim.sim.machine.system_files import load_system, vary
from sailsim.sim.point import Point
from sailsim.sim.step.engine import simulate_step
from sailsim.sim.step.schedule import HostCores
from sailsim.sim.step.tiles import PimUnits, TileKind, TileRequest, TileShape
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import uniform_format
from sailsim.workloads.models.graph import ROUND_FLOPS, UNPACK_FLOPS, decode_step, prefill_step
from sailsim.workloads.models.model import KV_BITS

from ...examples import examples

SAIL = load_system("sail-n1")
MODEL = replace(load_model("llama-2-7b"), name="one-layer", n_layers=1)


def test_a_prompt_of_one_token_is_a_step_of_decoding(captured):
    one, step = Point(context=1), simulate_step(SAIL, MODEL, Point(context=1), captured)
    found = simulate_step(SAIL, MODEL, replace(one, phase="prefill", prompt=one.context), captured)
    assert found.step_s == step.step_s
    assert found.counts == step.counts


@examples(20)
@given(prompt=st.integers(2, 700), batch=st.integers(1, 3))
def test_a_matrix_is_read_once_for_each_chunk_of_rows_that_the_buffers_hold(prompt, batch):
    """Tables are built once a pass and serve all rows of its chunk; the head has one row a prompt."""
    point = Point(phase="prefill", prompt=prompt, batch=batch)
    units = PimUnits(SAIL, substrate=None, convert=None, prt=True)
    expected = built = 0.0
    for op in prefill_step(MODEL, point.formats(MODEL), prompt, batch):
        if op.kind != "gemv":
            continue
        assert op.batch == (batch if op.role == "head" else batch * prompt)
        kind = TileKind(units, TileRequest(TileShape(op.k, op.n, op.batch, 4, 4, 8, 4, 128), op.weight_bytes))
        expected += op.weight_bytes * kind.plan.batch_chunks
        built += kind.plan.passes * kind.plan.batch_chunks * op.k / 4
    found = simulate_step(SAIL, MODEL, point)
    assert found.bytes_by_kind["weights"] == pytest.approx(expected)
    assert found.counts["table_builds"] == built


def test_attention_on_the_cores_is_that_of_all_pairs(captured):
    """N (N + 1) / 2 pairs of a head, at the rate of decoding."""
    prompt, threads = 96, 8
    point = Point(phase="prefill", prompt=prompt, threads=threads)
    slow = vary(SAIL, {"host.attention_rate": SAIL.host.attention_rate.value / 2})
    longer = simulate_step(slow, MODEL, point, captured).step_s
    macs = 2 * MODEL.d_attn * prompt * (prompt + 1) / 2
    one_rate = macs / (threads * SAIL.cores.clock.si * SAIL.host.attention_rate.value)
    assert longer - simulate_step(SAIL, MODEL, point, captured).step_s == pytest.approx(one_rate)


def test_more_rows_than_a_descriptor_carries_are_refused():
    with pytest.raises(SailsimError, match=r"batch x prompt is 131072; allowed is at most 65535 rows"):
        simulate_step(SAIL, MODEL, Point(phase="prefill", prompt=65536, batch=2))


# --- The width of keys and values as an axis: bytes, the cores' work, and nothing where it is a ---

SMALL = load_model("smollm2-135m")
FMT = uniform_format(4, 128)


def attention(ops: list) -> object:  # type: ignore[type-arg]
    return next(op for op in ops if op.kind == "attention")


@given(st.sampled_from(KV_BITS), st.integers(1, 9), st.integers(1, 5000))
def test_the_cache_has_codes_and_a_scale_a_head_and_token(bits, batch, context):
    model = SMALL.with_kv_bits(bits)
    scales = 2 * SMALL.n_kv_heads * 2 if bits <= 8 else 0
    a_token = SMALL.n_layers * (2 * SMALL.n_kv_heads * SMALL.head_dim * bits / 8 + scales)
    assert model.kv_bytes_per_token() == a_token
    assert memory_needed(model, FMT, batch, context) == FMT.model_bytes(SMALL) + a_token * batch * context
    for ops in (decode_step(model, FMT, batch, context), prefill_step(model, FMT, context, batch)):
        plain = decode_step(SMALL, FMT, batch, context) if ops[0].batch == batch else None
        op = attention(ops)
        assert op.kv_bytes == a_token / SMALL.n_layers * (batch * context + op.batch)
        elements = 2 * SMALL.n_kv_heads * SMALL.head_dim * (bits <= 8)
        assert op.cache_flops == elements * (ROUND_FLOPS * op.batch + UNPACK_FLOPS * batch * context)
        if plain is not None:
            assert op.flops - op.cache_flops == attention(plain).flops
            assert op.macs == attention(plain).macs


@examples(10)
@given(st.sampled_from(KV_BITS[:-2]), st.integers(1, 4), st.integers(64, 2048))
def test_the_cores_unpack_what_attention_reads(bits, batch, context):
    """Beside less reading: on an otherwise equal step the difference is bytes and vector operations."""
    model = replace(SMALL, n_layers=1)
    point = Point(batch=batch, context=context, kv_bits=bits)
    tasks = [
        HostCores(SAIL, 16).work(attention(decode_step(each, FMT, batch, context)), each, 0)
        for each in (model, model.with_kv_bits(bits))
    ]
    read = [own[0].read for own in tasks]
    assert read[1] == model.with_kv_bits(bits).cached_bytes * batch * context
    assert read[0] == model.cached_bytes * batch * context
    assert tasks[1][0].written == model.with_kv_bits(bits).cached_bytes * batch
    flops = attention(decode_step(model.with_kv_bits(bits), FMT, batch, context)).cache_flops
    assert tasks[1][1].seconds - tasks[0][1].seconds == pytest.approx(flops / HostCores(SAIL, 16).flops)
    result = simulate_step(SAIL, model, point)
    assert result == simulate_step(SAIL, model.with_kv_bits(bits), point)
    assert any(f"to {bits} bits" in note for note in result.notes)
