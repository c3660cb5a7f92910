"""Stored blocks read as a unit sees them, held against the package gguf to the bit."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.descriptor import Status
from sailsim.lut_gemv.fast import lut_gemv_blocks
from sailsim.lut_gemv.trace_file import decode_tile, read_trace, replay
from sailsim.sim.machine.system_files import load_system
from sailsim.workloads.inference.weights import _INNER, STORED, _unpack_blocks, read_blocks
from sailsim.workloads.model_files.gguf_model import open_gguf
from sailsim.workloads.models.formats import TENSOR_FORMATS, TensorFormat

from ..format_tiles import FormatTile, format_tiles, random_blocks

EACH = pytest.mark.parametrize("fmt", [TENSOR_FORMATS[name] for name in STORED], ids=lambda fmt: fmt.name)
HALF_STEP = 2.0**-11
"""Half a step of fp16, of a number's leading bit."""


def differing(fmt: TensorFormat, raw: NDArray[np.uint8]) -> int:
    """Weights of stored blocks (N, bytes) that are not to the bit what the package gguf makes of them."""
    truth = dequantize(raw, GGMLQuantizationType[fmt.name.upper()]).astype(np.float32).T
    return int((read_blocks(raw, fmt).values().view(np.uint32) != truth.view(np.uint32)).sum())


@EACH
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_blocks_mean_to_the_bit_what_the_package_says(fmt, seed):
    assert differing(fmt, random_blocks(fmt, seed)[:4]) == 0


@EACH
def test_a_tile_has_the_stored_codes_and_the_nearest_fp16_scales(fmt):
    raw = random_blocks(fmt, 7)[:5]
    exact, tile = read_blocks(raw, fmt), _unpack_blocks(raw, fmt, "here")
    assert (tile.codes == exact.codes).all()
    assert (tile.minima is None) == (exact.minima is None) == (not fmt.minimum)
    if fmt.name != "mxfp4":  # whose blocks of zeros lose their scale
        assert (tile.scales == exact.scales.astype(np.float16)).all()
        # Where a block multiplies two numbers, and nowhere else, fp16 does not hold the product.
        assert (tile.scales == exact.scales).all() == (fmt.name not in _INNER)
    room = (4 if fmt.minimum else 1) * HALF_STEP if fmt.name in _INNER else 0
    values = exact.values()
    room = room * np.abs(values).max() + 1e-12
    np.testing.assert_allclose(tile.values(), values, rtol=1e-6, atol=room)


@pytest.mark.parametrize(("kind", "at"), [("q6_k", 208), ("q2_k", 82), ("iq4_xs", 0)])
def test_a_scale_beyond_fp16_is_refused(kind, at):
    fmt = TENSOR_FORMATS[kind]
    raw = random_blocks(fmt, 1)[:1].reshape(1, -1, fmt.block_bytes)
    raw[..., at : at + 2] = np.array([60000], np.float16).view(np.uint8)
    with pytest.raises(SailsimError, match=rf"a (scale|minimum) of {kind} is -?\d"):
        _unpack_blocks(raw.reshape(1, -1), fmt, "")


def test_the_fourth_code_of_tq2_0_is_refused():
    fmt = TENSOR_FORMATS["tq2_0"]
    raw = random_blocks(fmt, 1)[:1]
    raw[0, 3] = 0b11
    with pytest.raises(SailsimError, match="weight codes hold 3; allowed is 0"):
        _unpack_blocks(raw, fmt, "").values()


@pytest.mark.slow
def test_every_tensor_of_the_shipped_model_means_to_the_bit_what_the_package_says(smollm2_path):
    model = open_gguf(smollm2_path)
    seen = set()
    for name, info in model.tensors.items():
        if info.type not in ("f32", "f16", "bf16"):
            assert differing(TENSOR_FORMATS[info.type], np.asarray(model.raw(name))) == 0, name
            seen.add(info.type)
    assert seen == {"q4_1", "q8_0"}


# --- A small trace with a tile of every format, through the reference, the C++ core, the replay ---


@pytest.fixture(scope="module")
def tiles(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> list[FormatTile]:
    return list(format_tiles(smollm2_path, tmp_path_factory.mktemp("folders")))


def test_reference_and_core_agree_and_mean_what_the_formats_say(tiles):
    for each in tiles:
        tile = each.tile
        by_reference = reference.lut_gemv_blocks(tile.x, tile.codes, code=tile.code, **tile.widths)
        by_core = lut_gemv_blocks(tile.x, tile.codes, code=tile.code, **tile.widths)
        assert np.array_equal(by_reference, by_core), tile.name
        expected = tile.expected()
        assert tile.finish(by_reference).tobytes() == expected.tobytes(), tile.name
        assert tile.scales is not None
        truth = (tile.x * tile.scales.act_scale[:, None].astype(np.float64)) @ each.meaning
        # fp16 rounds scales and minima by 2^-11 of themselves; with minima two large sums nearly cancel.
        assert np.abs(expected - truth).max() < 4e-3 * np.abs(truth).max(), tile.name


def test_replay_and_unit_agree(format_trace, tiles):
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
