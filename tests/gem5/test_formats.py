"""Tiles of all formats on gem5's unit, those of files among them; and when its weights come."""

import numpy as np
import pytest

from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Tile
from sailsim.lut_gemv.trace_file import read_trace, write_trace
from sailsim.sim.gem5.replay import replay_tiles
from sailsim.sim.gem5.stored import ALONE
from sailsim.sim.gem5.validation import DrawnTile, engine_seconds, random_tile, validate
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.step.tile_time import time_tile
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.traces import plan_trace

from ..workloads.conftest import write_tiny_gguf

pytestmark = pytest.mark.gem5


@pytest.mark.parametrize("kind", ["Q4_1", "Q2_K", "MXFP4", "Q8_0"])
def test_tiles_of_a_files_own_format_are_exact_and_take_the_engines_phases(gem5, machine, tmp_path, kind):
    """A trace's tiles, alone and the whole matrix at once."""
    model, trace = tmp_path / f"{kind}.gguf", tmp_path / "own.trace"
    write_tiny_gguf(model, kind=kind, times=8)  # 512 inputs: two of the blocks of a K-quant
    slices = machine.llc.slices.whole
    plan = plan_trace(str(model), Activations.load(), layers=(0, 1), tensors="blk.0.attn_q", slices=slices)
    write_trace(trace, list(plan.tiles()))
    compared = validate(gem5, "sail-n1", machine, tmp_path / "out", units=slices, trace=trace)
    assert [row["units"] for row in compared] == [1] * slices + [slices]
    assert all(row["correct"] and row["phases_equal"] and row["core_convert"] > 0 for row in compared)
    assert all(abs(row["error"]) < 0.2 for row in compared if not row["refreshes"])


def test_every_format_is_exact(gem5, machine, format_trace, tmp_path):
    trace = read_trace(format_trace)
    rows = gem5.replay(machine, format_trace, tmp_path / "out").tiles()
    assert len(rows) == len(trace)
    wrong = [name for name, row in zip(trace.header["tiles"], rows, strict=True) if not row["good"]]
    assert wrong == []


def test_a_group_that_left_the_buffer_makes_room_at_once(gem5, tmp_path):
    """Groups of 2.8 KB in a buffer of 4 KiB: it took 8 % more when only the next group made room."""
    system = load_system("sail-n1")
    wide = random_tile(np.random.default_rng(1), DrawnTile(96, 700, 1, 8, 8, 4))
    (row,) = replay_tiles(gem5, system, [wide], tmp_path).tiles()
    expected = engine_seconds(system, wide, ALONE)[0] * system.require_pim().clock.si
    assert row["good"] == 1
    # The engine's time has its share of refreshes; this tile ends before the first.
    assert row["answered_ps"] < system.memory.timing.trefi.si * 1e12
    assert 0.93 < row["cycles"] / expected < 1.02


def test_a_codebook_delays_the_weights_as_the_engine_says(gem5, full_machine, tmp_path):
    """Two tiles that differ in nothing but the way in which their values are told."""
    random = np.random.default_rng(3)
    x = random.integers(-128, 128, (1, 256))
    codes = random.integers(0, 16, (256, 64)).astype(np.uint8)
    plain = WeightCode.twos(4)
    both = [Tile(x, codes, code, abits=8, nbw=4) for code in (plain, WeightCode.book(plain.values.tolist()))]
    # In runs of their own: equal operands are stored once.
    rows = [replay_tiles(gem5, full_machine, [each], tmp_path).tiles()[0] for each in both]
    assert all(row["good"] for row in rows)
    cycles = [row["cycles"] for row in rows]
    engine = [time_tile(full_machine, each) for each in both]
    ours = [each.cycles - each.overheads["descriptor"] - each.overheads["record"] for each in engine]
    assert cycles[1] - cycles[0] == pytest.approx(ours[1] - ours[0], abs=25)
    assert cycles[1] - cycles[0] > 90
