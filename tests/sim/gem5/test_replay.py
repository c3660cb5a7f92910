"""Timelines of the core's sequencer and of gem5's unit are one picture; a replay's order between tensors."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.tile import Tile
from sailsim.sim.gem5.binary import VARIABLE, Gem5, read_dumps
from sailsim.sim.gem5.replay import (
    ORDERS,
    core_timeline,
    gem5_timeline,
    phases_of,
    read_groups,
)
from sailsim.sim.gem5.stored import TileTimeline
from sailsim.sim.gem5.validation import DrawnTile, random_tile
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system


@pytest.fixture(scope="module")
def system() -> System:
    return load_system("sail-n1")


@pytest.fixture(scope="module")
def tile() -> Tile:
    return random_tile(np.random.default_rng(3), DrawnTile(70, 1200, 2, 4, 8, 4, 32))


def printed(timeline: TileTimeline) -> str:
    """What a unit prints of it."""
    form = "pass {} group {}: load {}..{} start {} build {} lookup {} convert {} write-back {}"
    return "".join(
        f"{448136 + i}: system.units: {form.format(*row)}\n" for i, row in enumerate(timeline.groups)
    )


def test_what_a_unit_prints_is_read_back(system, tile, tmp_path):
    found = core_timeline(system, tile)
    path = tmp_path / "debug.txt"
    path.write_text("0: system.units: rung\n" + printed(found))
    assert read_groups(path) == found.groups
    for text in ("", printed(found).partition("\n")[2]):
        path.write_text(text)
        with pytest.raises(SailsimError, match="lacks groups"):
            read_groups(path)


@pytest.mark.gem5
def test_gem5_s_unit_and_the_core_draw_the_same_picture(system, tile, tmp_path):
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} names no gem5 binary")
    simulated = gem5_timeline(Gem5(), system, tile, tmp_path)
    expected = core_timeline(system, tile)
    assert simulated.before > 0
    for timeline in (simulated, expected):  # when groups start follows from when their weights arrive
        computed = owed = free = 0
        for _, _, load_start, load_end, start, *work, write_back in timeline.groups:
            assert (load_start, start) == (free, max(load_end, computed) + owed)
            computed, owed, free = start + sum(work), write_back, start
    for ours, theirs in zip(simulated.groups, expected.groups, strict=True):
        assert (ours[:2], ours[5:]) == (theirs[:2], theirs[5:])


BLOCK = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
NAMES = [f"blk.{block}.{kind}.weight[{i}]" for block in (3, 4) for kind in BLOCK for i in range(2)]


def test_tensors_of_a_step_that_multiply_one_vector_go_together():
    found = phases_of([*NAMES, "output.weight[0]", "output.weight[1]"], "step")
    assert found == [
        ("blk.3.attn_q, attn_k, attn_v", 6),
        ("blk.3.attn_output", 8),
        ("blk.3.ffn_gate, ffn_up", 12),
        ("blk.3.ffn_down", 14),
        ("blk.4.attn_q, attn_k, attn_v", 20),
        ("blk.4.attn_output", 22),
        ("blk.4.ffn_gate, ffn_up", 26),
        ("blk.4.ffn_down", 28),
        ("output.weight", 30),
    ]


@given(st.lists(st.text(min_size=1), min_size=1), st.sampled_from(ORDERS))
def test_every_tile_is_in_one_phase(names, order):
    ends = [end for _, end in phases_of(names, order)]
    assert ends == sorted(set(ends))
    assert (ends[0] >= 1, ends[-1]) == (True, len(names))


@pytest.mark.parametrize(
    ("names", "order", "says"),
    [
        (["a", ""], "step", "order is step, and the trace has tiles without a name; allowed are traces"),
        ([], "tensor", "order is tensor, and the trace has tiles without a name"),
    ],
)
def test_what_cannot_be_ordered(names, order, says):
    with pytest.raises(SailsimError, match=says):
        phases_of(names, order)


# --- What is read out of gem5's output and statistics ---


def test_dumps_of_statistics(tmp_path):
    path = tmp_path / "stats.txt"
    begin, end = (f"---------- {word} Simulation Statistics   ----------\n" for word in ("Begin", "End"))
    begin = begin.replace("   -", " -")
    first = f"{begin}system.units0.tiles   1   # Tiles (Count)\n{end}"
    second = f"\n{begin}system.units0.tiles   3   # (Count)\nsystem.text   word   # text\n"
    path.write_text(first + second + end)
    assert read_dumps(path) == [{"system.units0.tiles": 1}, {"system.units0.tiles": 3}]
    path.write_text(first + second)  # cut off
    assert read_dumps(path) == []
    assert read_dumps(tmp_path / "absent") == []
