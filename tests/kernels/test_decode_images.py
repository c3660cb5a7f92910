"""Damaged images: the decode program ends in one sentence and status 2, whatever is wrong."""

from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sailsim.workloads.images.image_file import Image

from ..workloads.conftest import changed_image, sealed_image, small_image
from .conftest import Refused, Run

pytestmark = pytest.mark.aarch64


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small image with minima in one layout and codebooks in none."""
    return small_image(tmp_path_factory.mktemp("image"), "q4_1", d_ffn=64, tied=True)


HEADS = [
    ("n_layers", b"\xff\xff\xff\xff", "n_layers is 4294967295; allowed is 1..65536"),
    ("n_layers", b"\xff\xff", "is cut short: the tensor matrices has"),
    ("d_model", b"\xff\xff\xff\xff", "d_model is 4294967295; allowed is 1..16777216"),
    ("n_heads", b"\xff\xff\xff", "n_heads * head_dim is 268435440; allowed is 2..16777216"),
    ("n_kv_heads", b"\x03", "n_kv_heads is 3; allowed is 1..2"),
    ("head_dim", b"\x11", "head_dim modulo 2 is 1; allowed is 0"),
    ("vocab", b"\xff\xff\xff", "is cut short: rows of head of block 1 has"),
    ("slices", b"\x41", "slices is 65; allowed is 1..64"),
    ("tied", b"\x02", "tied is 2; allowed is 0..1"),
    ("norm_eps", b"\x00\x00\xc0\x7f", "norm_eps or rope_base is nan; allowed is a positive number"),
    ("norms_crc", b"\x00\x00\x00\x00", "the checksum of the norms is 0x00000000; allowed is 0x"),
]
MATRICES = [
    ("wbits", b"\x09", "wbits of attn_q of block 0 is 9; allowed is 1..8"),
    ("code", b"\x08", "code of attn_q of block 0 is 8; allowed is 0"),
    ("group_size", b"\x07", "group_size modulo 16 of attn_q of block 0 is 7; allowed is 0"),
    ("group_size", b"\x00\x00\x01", "group_size of attn_q of block 0 is 65536; allowed is 0..65535"),
    ("zero_point", b"\x00\x01", "zero_point of attn_q of block 0 is 256; allowed is 0..255"),
    ("step", b"\x05", "step of attn_q of block 0 is 5; allowed is 0..1"),
    ("zero", b"\x00\x01", "zero of attn_q of block 0 is 384; allowed is 0..255"),
    ("lut", b"\x02", "the lut layout of attn_q of block 0 is 2; allowed is 0..1"),
    ("tiles", b"\x00", "the size is"),
    ("row", b"\x64", "row modulo 64 of attn_q of block 0 is 36; allowed is 0"),
    ("row", b"\x40\x00\x00\x10", "row of attn_q of block 0 is 268435520; allowed is 0..16777216"),
    ("row", b"\x40", "is cut short: "),
    ("crc", b"\x00\x00\x00\x00", "the checksum of matrix 0 is 0x00000000; allowed is 0x"),
]


BYTES = [
    (0, b"\x01", "; allowed are 56 more than a multiple of 64"),
    (0, b"\xf8" + b"\xff" * 7, "is cut short: the header has 18446744073709551608 bytes from byte 0"),
    (10, b"X", "is no image of version 2: its header does not begin with"),
    (33, b"7", "is no image of version 2: its header does not begin with"),
    (100, b"X", "the checksum of the header is"),
]
LENGTHS = [0, 7, 30, 100, 5000, -1]


def damaged(good: bytes, tensor: str, at: Any, value: bytes) -> bytes:
    """An image with other bytes in a field or from a byte on, or one that ends there."""
    if tensor:
        return changed_image(good, tensor, at, value)
    return good[:at] + value + good[at + len(value) :] if value else good[:at]


@pytest.mark.parametrize(
    ("tensor", "at", "value", "words"),
    [
        *(("image", *case) for case in HEADS),
        *(("matrices", *case) for case in MATRICES),
        *(("", *case) for case in BYTES),
        *(("", length, b"", "is cut short") for length in LENGTHS),
    ],
)
def test_a_damaged_image_ends_in_one_sentence(
    refused: Refused, good: bytes, tmp_path: Path, tensor: str, at: Any, value: bytes, words: str
) -> None:
    (tmp_path / "damaged").write_bytes(damaged(good, tensor, at, value))
    assert words in refused("decode", "--image", tmp_path / "damaged")


@pytest.mark.parametrize("layout", ["rows", "lut", "tiles"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_scale_that_is_no_number(
    refused: Refused, good: bytes, tmp_path: Path, layout: str, number: float
) -> None:
    """Also where all checksums fit."""
    path = tmp_path / "image"
    path.write_bytes(good)
    image, name = Image(path), "blk.0.attn_v"
    shape, tensors = image.matrices[name][0], image.tensors
    # The last number of the last tile, the first of the others.
    last = shape.bytes("tiles") - shape.tile_stride + shape.tile_codes
    at = tensors[f"{name}.{layout}"].offset + (last if layout == "tiles" else 0)
    data = bytearray(good)
    data[at : at + 2] = np.float16(number).tobytes()
    matrix = data[tensors[f"{name}.rows"].offset : tensors["blk.0.attn_output.rows"].offset]
    path.write_bytes(changed_image(bytes(data), "matrices", "crc", crc32(matrix).to_bytes(4, "little"), 2))
    sentence = f"image {path}: a scale of matrix 2 is no number; allowed are finite ones"
    assert refused("decode", "--image", path) == sentence


@pytest.mark.slow
@settings(
    max_examples=150,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_random_damage_never_crashes(run: Run, good: bytes, tmp_path: Path, data: st.DataObject) -> None:
    """One sentence, or a decode like any other where nobody looks at the field."""
    damaged, numbers = bytearray(good), 8 + int.from_bytes(good[:8], "little") + 64 + 8 * 128 - 1
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, numbers))
        value = data.draw(st.binary(min_size=1, max_size=8))
        damaged[at : at + len(value)] = value
    path = tmp_path / "damaged"
    with suppress(KeyError, IndexError, TypeError, ValueError):  # where the JSON is none any more
        damaged = bytearray(sealed_image(damaged)) if data.draw(st.booleans()) else damaged
    path.write_bytes(damaged)
    if data.draw(st.booleans()):
        path.write_bytes(path.read_bytes()[: data.draw(st.integers(0, len(good)))])
    kind = data.draw(st.sampled_from(["neon", "lut", "lutmm"]))
    trusted = ["--trusted"] if data.draw(st.booleans()) else []
    result = run("decode", "--image", path, "--linears", kind, *trusted)
    if result.returncode == 0:
        assert result.stderr == ""
    else:
        assert result.returncode in (1, 2)  # 1: a unit refused a tile
        assert result.stdout == ""
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
