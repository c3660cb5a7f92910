"""Prefill: a phase of a point, and a step in which all rows of the prompts go through a matrix at once."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.engine import simulate_step, time_step
from sailsim.sim.files import load_system
from sailsim.sim.host import HostCores
from sailsim.sim.keys import point_key
from sailsim.sim.point import Point
from sailsim.sim.tiles import PimUnits, Shape, TileKind, TileRequest
from sailsim.sim.vary import vary
from sailsim.workloads.activations import Activations
from sailsim.workloads.graph import prefill_step
from sailsim.workloads.load import load_model

from ..examples import examples

SAIL = load_system("sail-n1")
MODEL = replace(load_model("llama-2-7b"), name="one-layer", n_layers=1)
SMALL = load_model("smollm2-135m")


@pytest.fixture(scope="module")
def captured() -> Activations:
    return Activations.load()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"phase": "both"}, r"phase is 'both'; allowed are decode, prefill\."),
        ({"prompt": 5}, r"prompt is 5 beside phase decode; allowed there is none"),
        ({"phase": "prefill", "prompt": 0}, r"prompt is 0; allowed is a whole number 1\.\.16777216\."),
        ({"phase": "prefill", "prompt": 1.5}, r"prompt is 1\.5; allowed is a whole number"),
        ({"phase": "prefill", "prompt": 8, "context": 9}, r"context is 9 beside a prompt of 8; allowed"),
    ],
)
def test_bad_phases_end_in_one_sentence(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SailsimError, match=said):
        Point(**fields)


def test_questions_of_decoding_keep_the_keys_that_they_had_before_there_were_phases() -> None:
    assert point_key(Point()) == "51735bdbe3d91cf9a4a5fb8e793b0dfed023e947bf78433388893b171b19d1c4"
    first = Point(model="smollm2-135m", wbits=2, batch=8, context=64)
    assert point_key(first) == "be805dd9240ccf3b54c567db39ae3eb990c50834cd19698981a0c20f04178ca5"
    assert (
        len({point_key(p) for p in (Point(), Point(phase="prefill"), Point(phase="prefill", prompt=8))}) == 3
    )


def test_a_step_of_the_phase_is_the_prefill_of_the_context(captured: Activations) -> None:
    point = Point(context=24, batch=2)
    found = simulate_step(SAIL, MODEL, point.prefilling(), captured)
    assert found == simulate_step(SAIL, MODEL, point.prefilling(), captured)
    assert found.tokens == 48
    assert found.tokens_per_s == pytest.approx(48 / found.step_s)
    assert sum(found.breakdown.values()) == pytest.approx(found.step_s)
    quick = time_step(SAIL, MODEL, point.prefilling())
    assert (quick.step_s, quick.tokens_per_s) == (found.step_s, found.tokens_per_s)


def test_a_prompt_of_one_token_is_a_step_of_decoding(captured: Activations) -> None:
    one, step = Point(context=1), simulate_step(SAIL, MODEL, Point(context=1), captured)
    found = simulate_step(SAIL, MODEL, one.prefilling(), captured)
    assert found.step_s == step.step_s
    assert found.counts == step.counts


@examples(20)
@given(prompt=st.integers(2, 700), batch=st.integers(1, 3))
def test_a_matrix_is_read_once_for_each_chunk_of_rows_that_the_buffers_hold(prompt: int, batch: int) -> None:
    """Tables are built once a pass and serve all rows of its chunk; the head has one row a prompt."""
    point = Point(phase="prefill", prompt=prompt, batch=batch)
    units = PimUnits(SAIL, substrate=None, convert=None, prt=True)
    expected = built = 0.0
    for op in prefill_step(MODEL, point.formats(MODEL), prompt, batch):
        if op.kind != "gemv":
            continue
        assert op.batch == (batch if op.role == "head" else batch * prompt)
        kind = TileKind(units, TileRequest(Shape(op.k, op.n, op.batch, 4, 4, 8, 4, 128), op.weight_bytes))
        expected += op.weight_bytes * kind.plan.batch_chunks
        built += kind.plan.passes * kind.plan.batch_chunks * op.k / 4
    found = simulate_step(SAIL, MODEL, point)
    assert found.bytes_by_kind["weights"] == pytest.approx(expected)
    assert found.counts["table_builds"] == built


def test_attention_on_the_cores_is_that_of_all_pairs(captured: Activations) -> None:
    """N (N + 1) / 2 pairs of a head, at the rate of decoding."""
    prompt, threads = 96, 8
    point = Point(phase="prefill", prompt=prompt, threads=threads)
    slow = vary(SAIL, {"host.attention_rate": SAIL.host.attention_rate.value / 2})
    longer = simulate_step(slow, MODEL, point, captured).step_s
    macs = 2 * MODEL.d_attn * prompt * (prompt + 1) / 2
    one_rate = macs / (threads * HostCores(SAIL, threads).attention)
    assert longer - simulate_step(SAIL, MODEL, point, captured).step_s == pytest.approx(one_rate)


def test_more_rows_than_a_descriptor_carries_are_refused() -> None:
    with pytest.raises(SailsimError, match=r"batch x prompt is 131072; allowed is at most 65535 rows"):
        simulate_step(SAIL, MODEL, Point(phase="prefill", prompt=65536, batch=2))
