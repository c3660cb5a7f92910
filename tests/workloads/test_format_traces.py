"""A small trace with a tile of every format, through the reference, the C++ core, the replay and the core's
unit. The AArch64 program takes the same file in tests/kernels, gem5 in tests/gem5."""

from pathlib import Path

import numpy as np
import pytest

from sailsim import _core
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.descriptor import Status
from sailsim.lut_gemv.fast import lut_gemv_blocks
from sailsim.lut_gemv.trace import decode_tile, read_trace, replay
from sailsim.sim.files import load_system
from sailsim.workloads.weights import STORED

from .format_tiles import GROUPED, FormatTile, format_tiles


@pytest.fixture(scope="module")
def tiles(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> list[FormatTile]:
    return list(format_tiles(smollm2_path, tmp_path_factory.mktemp("folders")))


def test_the_trace_is_small_and_has_every_format(format_trace: Path, tiles: list[FormatTile]) -> None:
    trace = read_trace(format_trace)
    names = [name.partition(",")[0] for name in trace.header["tiles"]]
    assert names[: len(STORED)] == list(STORED)
    assert len(set(names)) == len(names) == len(STORED) + len(GROUPED) == len(tiles)
    assert format_trace.stat().st_size < 400_000
    origins = [name.partition(", ")[2] for name in trace.header["tiles"]]
    assert origins.count("random blocks") == 7
    assert sum("blk.0" in origin or "token_embd" in origin for origin in origins) == 8


def test_reference_and_core_agree_and_mean_what_the_formats_say(tiles: list[FormatTile]) -> None:
    for each in tiles:
        tile = each.tile
        widths = {
            "abits": tile.abits, "signed": tile.signed, "nbw": tile.nbw, "group_size": tile.group_size
        }  # fmt: skip
        by_reference = reference.lut_gemv_blocks(tile.x, tile.codes, code=tile.code, **widths)
        by_core = lut_gemv_blocks(tile.x, tile.codes, code=tile.code, **widths)
        assert np.array_equal(by_reference, by_core), tile.name
        expected = tile.expected()
        assert tile.finish(by_reference).tobytes() == expected.tobytes(), tile.name
        assert tile.scales is not None
        truth = (tile.x * tile.scales.act_scale[:, None].astype(np.float64)) @ each.meaning
        # fp16 rounds scales and minima by 2^-11 of themselves; with minima two large sums nearly cancel.
        assert np.abs(expected - truth).max() < 4e-3 * np.abs(truth).max(), tile.name


def test_replay_and_unit_agree(format_trace: Path, tiles: list[FormatTile]) -> None:
    trace = read_trace(format_trace)
    memory = np.zeros(trace.image_bytes, np.uint8)
    memory[: len(trace.image)] = trace.image
    unit = load_system("sail-n1").slice_config(rows=4096, cols=4096, arrays=4096, slices=1)
    for each, result, record in zip(tiles, replay(trace), trace.descriptors, strict=True):
        expected = each.tile.expected()
        assert result.matches, each.tile.name
        assert decode_tile(trace, result.index).code == each.tile.code
        done = _core.execute_descriptor(unit, record.tobytes(), memory, trace.base)
        assert (done.status, done.lookups) == (Status.OK, result.lookups), each.tile.name
        start = int(record["output"]) - trace.base
        assert memory[start : start + expected.nbytes].tobytes() == expected.tobytes(), each.tile.name
