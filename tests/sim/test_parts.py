"""A step in parts: what is built once stands for all that is equal to it, and for nothing else."""

from dataclasses import replace
from itertools import zip_longest
from typing import Any

import pytest

from sailsim.sim import tiles
from sailsim.sim.backend import StepResult
from sailsim.sim.backends import sail
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.sim.step_parts import StepParts, parts_of
from sailsim.sim.vary import vary
from sailsim.workloads.activations import Activations
from sailsim.workloads.formats import uniform_format
from sailsim.workloads.graph import decode_step
from sailsim.workloads.load import load_model

SAIL = load_system("sail-n1")
MODEL = replace(load_model("llama-2-7b"), name="seven-layers", n_layers=7)
OPS = tuple(decode_step(MODEL, uniform_format(4, 128), 2, 64))


def test_parts_are_the_operations_in_order() -> None:
    parts = parts_of(OPS)
    assert tuple(op for part in parts for op in part.ops) == OPS
    together = [tuple(op.name.split(".")[-1] for op in part.ops) for part in parts if len(part.ops) > 1]
    assert together == [("attn_q", "attn_k", "attn_v"), ("ffn_gate", "ffn_up")] * 7
    # A block has two norms of one kind, rotation, attention, activation and four kinds of GEMVs.
    assert len({part.kind for part in parts}) == 8 + len({"embedding", "final norm", "head", "sampling"}) - 1


def test_an_operation_of_another_size_is_another_kind() -> None:
    wider = tuple(replace(op, n=2 * op.n) if op.layer == 3 and op.kind == "gemv" else op for op in OPS)
    kinds = {part.kind for part in parts_of(wider)}
    assert len(kinds) == len({part.kind for part in parts_of(OPS)}) + 4


def test_a_layout_says_where_a_step_repeats_itself() -> None:
    step = StepParts(OPS, MODEL.n_layers)
    parts, inputs = step.parts, step.inputs(0)
    assert len(inputs) == 4 * 7 + 1
    patterns = tuple(f"{rows.role} {rows.layer // 3}" for rows in inputs)  # three neighbours have the same
    found = step.layout(patterns)
    assert len(found.order) == len(parts)
    assert sum(int(alike.times.sum()) for alike in found.kinds) == len(parts)
    different = [
        (place, at_input)
        for alike in found.kinds
        for place, at_input in zip_longest(alike.places, alike.inputs, fillvalue=None)
    ]
    gemvs = iter(zip(inputs, patterns, strict=True))
    for part, number in zip(parts, found.order, strict=True):
        place, at_input = different[number]
        assert place is not None
        assert parts[place].kind == part.kind
        if part.ops[0].kind == "gemv":
            rows, pattern = next(gemvs)
            assert (rows.layer, rows.role) == (part.ops[0].layer, part.ops[0].role)
            assert at_input is not None
            assert patterns[at_input] == pattern
    assert sum(at_input is not None for _, at_input in different) == 4 * 3 + 1


def numbers(result: StepResult) -> list[Any]:
    return [
        result.step_s, result.events, result.breakdown, result.bytes_by_kind, result.counts, result.activity,
    ]  # fmt: skip


def test_a_step_of_another_machine_of_the_same_name_is_its_own() -> None:
    """What is kept of a machine belongs to it, not to its name."""
    captured = Activations.load()
    before = simulate_step(SAIL, MODEL, Point(), captured)
    slow = vary(SAIL, {"pim.clock": SAIL.pim.clock.value / 2})  # type: ignore[union-attr]
    assert slow.name == SAIL.name
    assert simulate_step(slow, MODEL, Point(), captured).step_s > 1.2 * before.step_s
    assert numbers(simulate_step(SAIL, MODEL, Point(), captured)) == numbers(before)


def test_units_forget_tiles_beyond_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "KEPT_TILES", 3)
    system = vary(SAIL, {"memory.latency": 101.0})
    result = simulate_step(system, MODEL, Point())
    kept = sail.BACKEND.units(system, result.point)._pim.timed
    assert len(kept._tables) == 1  # the last
    assert kept._tiles == len(next(iter(kept._tables.values())))
    assert numbers(simulate_step(system, MODEL, Point())) == numbers(result)
