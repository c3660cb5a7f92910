"""Damaged images: the decode program ends in one sentence and status 2, whatever is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sailsim.workloads.image_file import HEADER, TENSOR, read_image

from ..workloads.conftest import small_image

pytestmark = pytest.mark.aarch64

Run = Callable[..., Any]

MATRICES = 8
TABLE = HEADER.itemsize


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small image with minima in one layout and codebooks in none."""
    return small_image(tmp_path_factory.mktemp("image"), "q4_1", d_ffn=64, tied=True)


def sealed(data: bytearray) -> bytes:
    """The bytes with a checksum of the header that fits."""
    data[12:16] = bytes(4)
    table = data[TABLE : TABLE + MATRICES * TENSOR.itemsize]
    data[12:16] = crc32(table, crc32(data[:TABLE])).to_bytes(4, "little")
    return bytes(data)


def place(dtype: np.dtype[Any], field: str, index: int = 0) -> slice:
    """Bytes of a field of the header, or of the table's record at an index."""
    assert dtype.fields is not None
    kind, at = dtype.fields[field][:2]
    start = int(at) + (TABLE + index * TENSOR.itemsize if dtype is TENSOR else 0)
    return slice(start, start + kind.itemsize)


HEADERS = [
    ("magic", b"X", "is no image: it does not begin with SAILIMGE"),
    ("version", b"\x07", "has version 7; allowed is 1"),
    ("file_bytes", b"\x01", "file_bytes is"),
    ("n_layers", b"\x00", "n_layers is 0; allowed is 1..65536"),
    ("n_layers", b"\xff\xff\xff\xff", "n_layers is 4294967295; allowed is 1..65536"),
    ("d_model", b"\xff\xff\xff\xff", "d_model is 4294967295; allowed is 1..16777216"),
    ("n_heads", b"\xff\xff\xff", "n_heads * head_dim is 268435440; allowed is 2..16777216"),
    ("n_kv_heads", b"\x00", "n_kv_heads is 0; allowed is 1..2"),
    ("n_kv_heads", b"\x03", "n_kv_heads is 3; allowed is 1..2"),
    ("head_dim", b"\x11", "head_dim modulo 2 is 1; allowed is 0"),
    ("head_dim", b"\x00\x10", "head_dim is 4096; allowed is 2..512"),
    ("vocab", b"\x00", "vocab is 0; allowed is 1..16777216"),
    ("slices", b"\x41", "slices is 65; allowed is 1..64"),
    ("max_batch", b"\x01", "max_batch is 1; allowed is 64"),
    ("tied", b"\x02", "tied is 2; allowed is 0..1"),
    ("tensor_count", b"\x09", "tensor_count is 9; allowed is 8"),
    ("norm_eps", b"\x00\x00\xc0\x7f", "norm_eps or rope_base is nan; allowed is a positive number"),
    ("rope_base", b"\x00\x00\x80\xff", "norm_eps or rope_base is -inf; allowed is a positive number"),
    ("tensor_offset", b"\x01", "allowed is a multiple of 64, and the file has"),
    ("tensor_offset", b"\xc0" + b"\xff" * 7, "from byte 18446744073709551552; allowed is a multiple of 64"),
    ("norms_offset", b"\xc0" + b"\xff" * 7, "the norms has 384 bytes from byte 18446744073709551552"),
    ("norms_bytes", b"\x40", "norms_bytes is 320; allowed is 384"),
]
TENSORS = [
    ("kind", b"\x01", "the kind of attn_q of block 0 is 1; allowed is 0"),
    ("k", b"\x21", "k of attn_q of block 0 is 33; allowed is 32"),
    ("n", b"\xff\xff\xff\xff", "n of attn_q of block 0 is 4294967295; allowed is 32"),
    ("wbits", b"\x00", "wbits of attn_q of block 0 is 0; allowed is 1..8"),
    ("wbits", b"\x09", "wbits of attn_q of block 0 is 9; allowed is 1..8"),
    ("code", b"\x08", "code of attn_q of block 0 is 8; allowed is 0"),
    ("minimum", b"\x02", "minimum of attn_q of block 0 is 2; allowed is 0..1"),
    ("group_size", b"\x07", "group_size modulo 16 of attn_q of block 0 is 7; allowed is 0"),
    ("step", b"\x05", "step of attn_q of block 0 is 5; allowed is 0..1"),
    ("rows_bytes", b"\x00\x00", "has no rows layout, which every matrix needs"),
    ("lut_bytes", b"\x01", "bytes of lut of attn_q of block 0 is"),
    ("tiles_offset", b"\xc0" + b"\xff" * 7, "tiles of attn_q of block 0 has"),
    ("rows_crc", b"\x00\x00\x00\x00", "the checksum of matrix 0 is 0x00000000; allowed is 0x"),
]


@pytest.mark.parametrize(
    ("dtype", "field", "value", "words"),
    [(HEADER, *case) for case in HEADERS] + [(TENSOR, *case) for case in TENSORS],
)
def test_a_damaged_field_ends_in_one_sentence(
    run: Run, good: bytes, tmp_path: Path, dtype: Any, field: str, value: bytes, words: str
) -> None:
    data, at = bytearray(good), place(dtype, field)
    data[at.start : at.start + len(value)] = value
    path = tmp_path / "damaged"
    path.write_bytes(sealed(data))
    result = run("decode", "--image", path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


@pytest.mark.parametrize("layout", ["rows", "lut", "tiles"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_scale_that_is_no_number(run: Run, good: bytes, tmp_path: Path, layout: str, number: float) -> None:
    """Also where all checksums fit."""
    path = tmp_path / "image"
    path.write_bytes(good)
    opened = read_image(path)
    record, shape = opened.tensors[2], opened.shape(2)
    start, size = int(record[f"{layout}_offset"]), int(record[f"{layout}_bytes"])
    data = bytearray(good)
    # The last number of the last tile, the first of the others.
    last = shape.tiles_bytes - shape.tile_stride + shape.tile_codes
    at = start + (last if layout == "tiles" else 0)
    data[at : at + 2] = np.float16(number).tobytes()
    seal = crc32(data[start : start + size]).to_bytes(4, "little")
    data[place(TENSOR, f"{layout}_crc", 2)] = seal
    path.write_bytes(sealed(data))
    result = run("decode", "--image", path)
    assert (result.returncode, result.stdout) == (2, "")
    sentence = f"error: image {path}: a scale of matrix 2 is no number; allowed are finite ones\n"
    assert result.stderr == sentence


@pytest.mark.slow
@settings(
    max_examples=150,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_random_damage_never_crashes(run: Run, good: bytes, tmp_path: Path, data: st.DataObject) -> None:
    """One sentence, or a decode like any other where nobody looks at the field."""
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, TABLE + MATRICES * TENSOR.itemsize - 1))
        value = data.draw(st.binary(min_size=1, max_size=8))
        damaged[at : at + len(value)] = value
    path = tmp_path / "damaged"
    path.write_bytes(sealed(damaged) if data.draw(st.booleans()) else bytes(damaged))
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


def test_only_a_simulator_puts_images_into_memory(run: Run) -> None:
    done = run("decode", "--image", "any", "--image-at", 4096)
    assert done.returncode == 2
    assert done.stderr == (
        "error: --image-at is 0x1000; allowed without --m5 is 0: only a simulator puts images into memory\n"
    )
