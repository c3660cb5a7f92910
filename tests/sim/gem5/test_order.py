"""What waits for what when the tiles of several tensors are replayed in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.gem5.order import ORDERS, Phase, phase_times, phases_of

BLOCK = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
NAMES = [f"blk.{block}.{kind}.weight[{i}]" for block in (3, 4) for kind in BLOCK for i in range(2)]


def test_tensors_of_a_step_that_multiply_one_vector_go_together() -> None:
    found = phases_of([*NAMES, "output.weight[0]", "output.weight[1]"], "step")
    assert found == [
        Phase("blk.3.attn_q, attn_k, attn_v", 6),
        Phase("blk.3.attn_output", 8),
        Phase("blk.3.ffn_gate, ffn_up", 12),
        Phase("blk.3.ffn_down", 14),
        Phase("blk.4.attn_q, attn_k, attn_v", 20),
        Phase("blk.4.attn_output", 22),
        Phase("blk.4.ffn_gate, ffn_up", 26),
        Phase("blk.4.ffn_down", 28),
        Phase("output.weight", 30),
    ]


def test_experts_go_as_their_tensors_do() -> None:
    names = ["blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight", "blk.0.ffn_down_exps.weight"]
    assert [phase.end for phase in phases_of(names, "step")] == [2, 3]


def test_each_tensor_waits_for_the_one_before() -> None:
    found = phases_of(NAMES, "tensor")
    assert [phase.end for phase in found] == list(range(2, 2 * len(BLOCK) * 2 + 1, 2))
    assert found[0].name == "blk.3.attn_q.weight"
    assert phases_of(["tile"], "tensor") == [Phase("tile", 1)]


@given(st.lists(st.text(min_size=1), min_size=1), st.sampled_from(ORDERS))
def test_every_tile_is_in_one_phase(names: list[str], order: str) -> None:
    ends = [phase.end for phase in phases_of(names, order)]
    assert ends == sorted(set(ends))
    assert (ends[0] >= 1, ends[-1]) == (True, len(names))


@pytest.mark.parametrize(
    ("names", "order", "says"),
    [
        (["a", ""], "step", "order is step, and the trace has tiles without a name; allowed are traces"),
        ([], "tensor", "order is tensor, and the trace has tiles without a name"),
        (["a"], "random", "order is 'random'; allowed are tensor, step"),
    ],
)
def test_what_cannot_be_ordered(names: list[str], order: str, says: str) -> None:
    with pytest.raises(SailsimError, match=says):
        phases_of(names, order)


def test_a_phase_lasts_from_the_first_ring_to_the_last_answer() -> None:
    tiles = [{"rung_ps": ring, "answered_ps": ring + took} for ring, took in ((5, 10), (6, 1), (20, 3))]
    assert phase_times([Phase("a", 2), Phase("b", 3)], tiles) == [
        {"name": "a", "tiles": 2, "start_ps": 5, "end_ps": 15},
        {"name": "b", "tiles": 1, "start_ps": 20, "end_ps": 23},
    ]
