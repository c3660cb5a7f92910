"""Timelines of the core's sequencer and of gem5's unit are one picture; a replay's order between tensors."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import VARIABLE, Gem5
from sailsim.sim.gem5.replay import (
    ORDERS,
    Phase,
    TileTimeline,
    both_timelines,
    core_timeline,
    gem5_timeline,
    phase_times,
    phases_of,
    read_groups,
)
from sailsim.sim.system import System

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def system() -> System:
    return load_system("sail-n1")


@pytest.fixture(scope="module")
def tile() -> Tile:
    random = np.random.default_rng(3)
    return Tile(
        x=random.integers(-127, 128, (2, 70)).astype(np.int8),
        codes=random.integers(0, 16, (70, 1200)).astype(np.uint8),
        code=WeightCode.twos(4),
        abits=8,
        nbw=4,
        group_size=32,
        scales=Scales(
            random.uniform(0.01, 0.1, (3, 1200)).astype(np.float16),
            random.uniform(0.01, 0.1, 2).astype(np.float32),
        ),
        name="70 x 1200",
    )


def printed(timeline: TileTimeline) -> str:
    """What a unit prints of it."""
    form = "pass {} group {}: load {}..{} start {} build {} lookup {} convert {} write-back {}"
    return "".join(
        f"{448136 + i}: system.units: {form.format(*row)}\n" for i, row in enumerate(timeline.groups)
    )


def test_bars_add_up_and_do_not_overlap(system: System, tile: Tile) -> None:
    found = core_timeline(system, tile)
    assert len(found.groups) == 2 * 18  # two passes
    bars = found.bars()
    table = np.array(found.groups)
    for column, phase in enumerate(("build", "lookup", "convert", "write_back"), start=5):
        assert sum(length for _, length in bars[phase]) == table[:, column].sum() > 0
    # Computing is one thing after the other, and so is what the port does.
    for phases in (("build", "lookup", "convert"), ("load", "write_back")):
        lane = sorted(bar for phase in phases for bar in bars[phase])
        assert all(a + n <= b for (a, n), (b, _) in pairwise(lane))
    assert len(bars["write_back"]) == 2
    assert found.end == max(start + length for start, length in bars["write_back"])


def test_weights_that_arrive_at_the_same_cycles_give_the_same_picture(system: System, tile: Tile) -> None:
    found = core_timeline(system, tile)
    again = core_timeline(system, tile, arrivals=[row[3] for row in found.groups])
    assert again == found
    late = core_timeline(
        system, tile, arrivals=[row[3] + 100 * (i == 20) for i, row in enumerate(found.groups)]
    )
    assert late.end > found.end
    assert late.groups[:20] == found.groups[:20]


def test_what_a_unit_prints_is_read_back(system: System, tile: Tile, tmp_path: Path) -> None:
    found = core_timeline(system, tile)
    path = tmp_path / "debug.txt"
    path.write_text("0: system.units: rung\n" + printed(found))
    assert read_groups(path) == found.groups
    path.write_text("".join(printed(found).splitlines(keepends=True)[1:]))
    with pytest.raises(SailsimError, match="lacks groups"):
        read_groups(path)
    path.write_text("")
    with pytest.raises(SailsimError, match="has no groups"):
        read_groups(path)
    with pytest.raises(SailsimError, match="cannot be read"):
        read_groups(tmp_path / "absent")


def test_a_tile_in_gem5_is_stored_and_not_simulated_again(
    system: System, tile: Tile, tmp_path: Path, fake_gem5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = core_timeline(system, tile)
    groups, log = tmp_path / "groups.txt", tmp_path / "runs.log"
    groups.write_text(printed(expected))
    monkeypatch.setenv("FAKE_GEM5_GROUPS", str(groups))
    monkeypatch.setenv("FAKE_GEM5_LOG", str(log))
    monkeypatch.delenv("FAKE_GEM5", raising=False)
    for _ in range(2):
        simulated, predicted = both_timelines(Gem5(fake_gem5), "sail-n1", system, tile, tmp_path / "out")
        assert predicted == expected
        assert simulated.groups == expected.groups
        assert (simulated.before, simulated.after) == (1800, 1800)  # a microsecond each
    assert len(log.read_text().splitlines()) == 1


@pytest.mark.gem5
def test_gem5_s_unit_and_the_core_draw_the_same_picture(system: System, tile: Tile, tmp_path: Path) -> None:
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} names no gem5 binary")
    simulated = gem5_timeline(Gem5(), system, tile, tmp_path)
    assert (
        simulated.groups == core_timeline(system, tile, arrivals=[row[3] for row in simulated.groups]).groups
    )
    assert simulated.before > 0


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
