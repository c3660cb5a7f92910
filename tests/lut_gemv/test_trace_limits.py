"""What a trace may ask for: sums to the accumulator's end, buffers that touch, memory in proportion."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.descriptor import Status
from sailsim.lut_gemv.quantize import quantize_rows, quantize_weights_minimum
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.lut_gemv.trace import read_trace, replay, write_trace
from sailsim.sim.files import load_system

RNG = np.random.default_rng(21)


@pytest.mark.parametrize(("k", "fits"), [((1 << 17) - 1, True), (1 << 17, False)])
def test_a_sum_may_reach_the_accumulators_end_and_not_a_step_more(
    tmp_path: Path, oracles: ModuleType, k: int, fits: bool
) -> None:
    """2^14 k of -128 by -128: 2^31 - 2^14, and 2^31, one more than 32 bits hold."""
    x, w = np.full((1, k), -128, np.int8), np.full((k, 1), 128, np.uint8)
    if fits:
        write_trace(tmp_path / "t", [Tile(x, w, WeightCode.twos(8), abits=8)])
        (result,) = replay(read_trace(tmp_path / "t"))
        assert result.output is not None
        assert result.output.item() == k << 14
        return
    with pytest.raises(SailsimError, match=r"may reach 2147483648, which wraps the 32-bit accumulator"):
        Tile(x, w, WeightCode.twos(8), abits=8)
    narrow = Tile(x.clip(-64, 63), w, WeightCode.twos(8), abits=7)
    write_trace(tmp_path / "t", [narrow])
    oracles.change_descriptor(tmp_path / "t", 0, {"abits": 8})
    (result,) = replay(read_trace(tmp_path / "t"))
    assert (result.status, result.detail) == (Status.ERR_OVERFLOW, 40)


def test_an_output_may_touch_a_buffer_on_either_side(tmp_path: Path) -> None:
    """64 bytes of activations, 64 of output and the record, one directly behind the other."""
    tile = Tile(RNG.integers(-8, 8, (1, 64)), RNG.integers(0, 16, (64, 16)), WeightCode.twos(4), abits=8)
    write_trace(tmp_path / "t", [tile], expect=False)
    trace = read_trace(tmp_path / "t")
    record = trace.descriptors[0]
    assert int(record["output"]) == int(record["activations"]) + 64
    assert int(record["completion"]) == int(record["output"]) + 64
    (result,) = replay(trace)
    assert result.status == Status.OK
    memory = np.zeros(trace.image_bytes, np.uint8)
    memory[: len(trace.image)] = trace.image
    unit = load_system("sail-n1").slice_config(arrays=64, slices=1)
    done = _core.execute_descriptor(unit, record.tobytes(), memory, trace.base)
    assert done.status == Status.OK
    for by in (-64, 64):
        moved = record.copy()
        moved["output"] = int(record["output"]) + by
        done = _core.execute_descriptor(unit, moved.tobytes(), memory, trace.base)
        assert done.status == Status.ERR_OVERLAP


def test_accumulators_are_made_for_some_outputs_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tile of 30 KiB whose accumulators would take 16 MiB, with the least memory that one may have."""
    codes, scale, minimum, code = quantize_weights_minimum(RNG.normal(size=(64, 128)), 4, 1)
    x, act_scale = quantize_rows(RNG.normal(size=(256, 64)), 8)
    tile = Tile(x, codes, code, abits=8, group_size=1, scales=Scales(scale, act_scale, minimum))
    path = tmp_path / "blocks.trace"
    write_trace(path, [tile])
    taken = []
    module = importlib.import_module("sailsim.lut_gemv.trace")
    made = module.lut_gemv_blocks

    def blocks(*operands: Any, **widths: Any) -> NDArray[np.int64]:
        acc: NDArray[np.int64] = made(*operands, **widths)
        taken.append(acc.nbytes)
        return acc

    monkeypatch.setattr(module, "lut_gemv_blocks", blocks)
    for most in (1, 1 << 20, 1 << 30):
        monkeypatch.setattr(module, "ACCUMULATOR_BYTES", most)
        taken.clear()
        assert all(done.matches for done in replay(read_trace(path)))
        assert max(taken) <= max(most, 8 * 64 * 256)


def test_a_small_file_that_asks_for_much_memory(tmp_path: Path) -> None:
    """128 KiB that name 65,000 x 65,000 results, 17 GB."""
    x, codes = np.ones((65_000, 1), np.int8), np.ones((1, 65_000), np.uint8)
    path = tmp_path / "wide.trace"
    write_trace(path, [Tile(x, codes, WeightCode.twos(8), abits=8)], expect=False)
    assert path.stat().st_size < 1 << 18
    with pytest.raises(
        SailsimError, match=r"65000 x 65000 results take 16900000000 bytes to replay; allowed"
    ):
        list(replay(read_trace(path)))
