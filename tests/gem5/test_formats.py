"""Tiles of a file's own formats on gem5's unit: the codes, blocks and minima of the types that files have."""

from pathlib import Path

import numpy as np
import pytest

from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Tile
from sailsim.lut_gemv.trace import write_trace
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.tiles import run_tiles, tile_points
from sailsim.sim.system import System
from sailsim.sim.tile_time import time_tile
from sailsim.workloads.formats import TENSOR_FORMATS

from ..workloads.conftest import write_tiny_gguf

pytestmark = pytest.mark.gem5


@pytest.mark.parametrize("kind", ["Q4_1", "Q2_K", "MXFP4", "Q8_0"])
def test_tiles_of_a_files_own_format_are_exact_and_take_the_engines_phases(
    gem5: Gem5, machine: System, tmp_path: Path, kind: str
) -> None:
    model = tmp_path / f"{kind}.gguf"
    write_tiny_gguf(model, kind=kind, times=8)  # 512 inputs: two of the blocks of a K-quant
    own = TENSOR_FORMATS[kind.lower()]
    points = tile_points(
        nbw=(2, 3), batch=(1, 3), whole=(own.wbits,), slices=machine.llc.slices.whole, model=str(model)
    )
    frame, before = run_tiles(points, gem5, "sail-n1", machine, tmp_path / "out", progress=False)
    assert (len(frame), before) == (6, 0)
    assert set(frame["type"]) == {own.name}
    assert set(zip(frame["wbits"], frame["group_size"], strict=True)) == {(own.wbits, own.group_size)}
    assert frame["correct"].all()
    assert frame["phases_equal"].all()
    assert (frame["core_convert"] > 0).all()
    assert np.isfinite(frame["error"]).all()


def test_a_codebook_delays_the_weights_as_the_engine_says(
    gem5: Gem5, full_machine: System, tmp_path: Path
) -> None:
    """Two tiles that differ in nothing but the way in which their values are told."""
    random = np.random.default_rng(3)
    x = random.integers(-128, 128, (1, 256))
    codes = random.integers(0, 16, (256, 64)).astype(np.uint8)
    plain = WeightCode.twos(4)
    both = [Tile(x, codes, code, abits=8, nbw=4) for code in (plain, WeightCode.book(plain.values.tolist()))]
    cycles = []
    for number, each in enumerate(both):  # in runs of their own: equal operands are stored once
        trace = tmp_path / f"{number}.trace"
        write_trace(trace, [each])
        (row,) = gem5.replay(full_machine, trace, tmp_path / f"{number}", units=1).tiles()
        assert row["good"]
        cycles.append(row["cycles"])
    engine = [time_tile(full_machine, each) for each in both]
    ours = [each.cycles - each.around["descriptor"] - each.around["record"] for each in engine]
    assert cycles[1] - cycles[0] == pytest.approx(ours[1] - ours[0], abs=25)
    assert cycles[1] - cycles[0] > 90
