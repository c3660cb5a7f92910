"""A replay of several tensors of which one waits for the other."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.trace_file import write_trace
from sailsim.sim.gem5.binary import Gem5, Gem5Run
from sailsim.sim.gem5.replay import phase_times, phases_of
from sailsim.sim.gem5.validation import DrawnTile, drawn_tiles
from sailsim.sim.machine.system import System

pytestmark = pytest.mark.gem5
TILES = 6  # of a tensor: on four units one and a half rounds
KINDS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
NAMES = [f"blk.0.{kind}.weight[{i}]" for kind in KINDS for i in range(TILES)]


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("layers") / "layers.trace"
    tiles = drawn_tiles([DrawnTile(64, 40, 1, 4, 8, 4)] * len(NAMES), 9)
    write_trace(path, [replace(tile, name=name) for tile, name in zip(tiles, NAMES, strict=True)])
    return path


def replayed(
    gem5: Gem5, machine: System, trace: Path, folder: Path, order: str | None, *words: str
) -> Gem5Run:
    ends = ",".join(str(end) for _, end in phases_of(NAMES, order)) if order else ""
    return gem5.replay(machine, trace, folder, extra=[*words, *(["--phase-ends", ends] if order else [])])


def overlaps(run: Gem5Run, order: str) -> int:
    """How many phases began before the one in front of them had ended."""
    assert [row["good"] for row in run.tiles()] == [1] * len(NAMES)
    times = phase_times(phases_of(NAMES, order), run.tiles())
    return sum(later["start_ps"] <= earlier["end_ps"] for earlier, later in pairwise(times))


def test_a_phase_begins_when_the_one_before_has_ended(gem5, machine, layers, tmp_path):
    runs = {
        order: replayed(gem5, machine, layers, tmp_path / str(order), order)
        for order in (None, "step", "tensor")
    }
    free, step, tensor = runs.values()
    assert (overlaps(step, "step"), overlaps(tensor, "tensor")) == (0, 0)
    assert overlaps(free, "step") > 0
    assert overlaps(step, "tensor") > 0
    assert free.ticks < step.ticks < tensor.ticks


def test_an_order_outlives_a_checkpoint(gem5, machine, layers, tmp_path):
    whole = replayed(gem5, machine, layers, tmp_path / "whole", "tensor")
    taken = ("--checkpoint", f"1000,{whole.ticks // 2}")
    *_, there = replayed(gem5, machine, layers, tmp_path / "first", "tensor", *taken).checkpoints
    rest = replayed(gem5, machine, layers, tmp_path / "rest", "tensor", "--restore", str(there))
    assert overlaps(rest, "tensor") == 0


def test_another_replay_does_not_go_on_from_a_checkpoint(gem5, machine, layers, tmp_path):
    taken = ("--checkpoint", "1000000")
    (there,) = replayed(gem5, machine, layers, tmp_path / "first", None, *taken).checkpoints
    other = tmp_path / "other.trace"
    content = bytearray(layers.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    given, late = ("--restore", str(there)), "9000000000000"
    for trace, order, words, why in (
        (layers, "tensor", given, r"is of order \[\]; what is to go on has \["),
        (other, None, given, "is of trace '"),
        (layers, None, (*given, "--checkpoint", "1000"), r"is 1000, and 10\d+ ps are over"),
        (layers, None, (*given, "--until", "1000ps"), r"is 1000ps, and the checkpoint is of 10\d+ ps"),
        (layers, None, ("--checkpoint", late), rf"ended at \d+ ps, before --checkpoint {late}"),
    ):
        with pytest.raises(SailsimError, match=why):
            replayed(gem5, machine, trace, tmp_path / "refused", order, *words)
