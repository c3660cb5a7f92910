"""Images: what goes in comes out again, in every layout; what is no image is refused in one sentence."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.workloads.gguf_model import open_gguf
from sailsim.workloads.image import plan_image
from sailsim.workloads.image_file import (
    HEADER,
    LAYOUTS,
    LUT_PANEL,
    ROWS_PANEL,
    SEGMENT,
    TENSOR,
    Shape,
    lut_layout,
    read_image,
    reading,
    rows_layout,
)
from sailsim.workloads.model import ModelSpec
from sailsim.workloads.weights import Weights

from ..examples import examples
from .conftest import small_image

SHAPE = ModelSpec(
    name="ragged", title="Ragged", source="made here", n_layers=3, d_model=50, n_heads=6, n_kv_heads=2,
    head_dim=10, d_ffn=70, vocab=45,
)  # fmt: skip


@pytest.fixture
def shape_file(tmp_path: Path) -> Callable[[ModelSpec], Path]:
    """Writes a shape as a TOML file."""

    def write(spec: ModelSpec) -> Path:
        path = tmp_path / "shape.toml"
        fields = ("n_layers", "d_model", "n_heads", "n_kv_heads", "head_dim", "d_ffn", "vocab")
        lines = [f'name = "{spec.name}"', f'title = "{spec.title}"', f'source = "{spec.source}"']
        lines += [f"{name} = {getattr(spec, name)}" for name in fields]
        lines += [f"{name} = {str(getattr(spec, name)).lower()}" for name in ("tied_embeddings", "gated_ffn")]
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def made(code: WeightCode, k: int, n: int, group_size: int, minimum: bool) -> Weights:
    random = np.random.default_rng([k, n, code.wbits])
    blocks = -(-k // group_size) if group_size else 1
    codes = random.integers(0, code.legal_codes, (k, n), dtype=np.uint8)
    scales = random.random((blocks, n)).astype(np.float16)
    minima = random.random((blocks, n)).astype(np.float16) if minimum else None
    return Weights(codes, code, group_size, scales, minima, "made")


CODES = [
    *[WeightCode.twos(wbits) for wbits in range(1, 9)],
    WeightCode.offset(3, 2),
    WeightCode.offset(6, 32),
    WeightCode.offset(8, 128),
    WeightCode.ternary(),
    WeightCode.book([-1, 1]),
    WeightCode.iq4_nl(),
]


def meaning(code: WeightCode, stored: int) -> int:
    """The integer that a stored code of rows or lut means (`Reading`)."""
    found = reading(code)
    if code.wbits == 8:
        return stored - 256 if stored > 127 else stored
    return found.step * stored - found.zero if found.step else int(code.values[stored])


@given(
    code=st.sampled_from(CODES),
    k=st.integers(1, 90),
    n=st.integers(1, 40),
    group=st.sampled_from([0, 16, 32, 48]),
    minimum=st.booleans(),
)
@examples(60)
def test_rows_hold_every_weight_where_the_page_says(
    code: WeightCode, k: int, n: int, group: int, minimum: bool
) -> None:
    weights, shape = made(code, k, n, group, minimum), Shape(k, n, code.wbits, group, minimum, 4)
    data = rows_layout(weights, shape)
    assert len(data) == shape.rows_bytes
    at = 0
    for panel in range(0, n, ROWS_PANEL):
        for block in range(shape.blocks):
            numbers = data[at : at + 16 * shape.factors].view(np.float16).reshape(-1, ROWS_PANEL)
            at += 16 * shape.factors
            owned = min(ROWS_PANEL, n - panel)
            np.testing.assert_array_equal(
                numbers[0, :owned], weights.scales[block, panel : panel + ROWS_PANEL]
            )
            if weights.minima is not None:
                np.testing.assert_array_equal(
                    numbers[1, :owned], weights.minima[block, panel : panel + ROWS_PANEL]
                )
            start, stop = block * shape.block, min((block + 1) * shape.block, k)
            for chunk in range(start, stop, 16):
                for row in range(owned):
                    for i in range(min(16, stop - chunk)):
                        register, lane = i // 4 * 2 + row // 4, 4 * (row % 4) + i % 4
                        stored = _code(data[at : at + 16 * code.wbits], code.wbits, register, lane)
                        expected = code.values[weights.codes[chunk + i, panel + row]]
                        assert meaning(code, stored) == expected
                at += 16 * code.wbits
    assert at == len(data)


def _code(chunk: np.ndarray, wbits: int, register: int, lane: int) -> int:
    code = at = 0
    for width in (8, 4, 2, 1):
        if wbits - at >= width:
            byte = int(chunk[16 * (at + register * width // 8) + lane])
            code |= (byte >> (register * width % 8) & ((1 << width) - 1)) << at
            at += width
    return code


@given(
    code=st.sampled_from([code for code in CODES if code.wbits <= 4 and reading(code).step]),
    k=st.sampled_from([1, 7, 16, 50, 255, 256, 257, 600]),
    n=st.integers(1, 70),
    group=st.sampled_from([0, 16, 272]),
)
@examples(30)
def test_lut_holds_every_bit_where_the_page_says(code: WeightCode, k: int, n: int, group: int) -> None:
    weights, shape = made(code, k, n, group, False), Shape(k, n, code.wbits, group, False, 4)
    data = lut_layout(weights, shape)
    assert len(data) == shape.lut_bytes
    found = np.zeros((k, -(-n // LUT_PANEL) * LUT_PANEL), np.uint8)
    at = 0
    for panel in range(0, n, LUT_PANEL):
        for block in range(shape.blocks):
            at += 2 * LUT_PANEL
            start, stop = block * shape.block, min((block + 1) * shape.block, k)
            for segment in range(start, stop, SEGMENT):
                count = min(SEGMENT, stop - segment)
                for bit in range(code.wbits):
                    for pair in range(0, count, 8):
                        bits = np.unpackbits(data[at : at + 32, None], axis=1, bitorder="little").T
                        kept = bits[: min(8, count - pair)]
                        found[segment + pair : segment + pair + len(kept), panel : panel + 32] |= kept << bit
                        at += 32
    assert at == len(data)
    assert (code.values[weights.codes] == [[meaning(code, int(c)) for c in row[:n]] for row in found]).all()


CHOICES = ("1", "2g16", "3g48", "4g32", "5g16", "8g0", "q4_1", "mxfp4", "q2_k")


@pytest.mark.parametrize(
    ("choice", "tied"),
    [
        # Whether the head is the embedding depends on no format: the other pairs are for `make test`.
        pytest.param(choice, tied, marks=[] if tied == (choice in ("4g32", "q4_1")) else pytest.mark.slow)
        for choice in CHOICES
        for tied in (True, False)
    ],
)
def test_a_shape_comes_back(
    shape_file: Callable[[ModelSpec], Path], tmp_path: Path, choice: str, tied: bool
) -> None:
    spec = replace(SHAPE, d_model=256, d_ffn=512, tied_embeddings=tied)
    plan = plan_image(shape_file(spec), weights=choice, blocks=2, slices=5)
    path = tmp_path / "image"
    plan.write(path)
    image = read_image(path)
    assert (image.dimensions.n_layers, image.header["model_layers"], image.tied) == (2, 3, tied)
    assert abs(path.stat().st_size - plan.bytes) < 64 * (4 * len(plan.matrices) + 4) + 4096
    assert "the first 2 of 3 blocks" in image.about["notes"]
    for index, matrix in enumerate(plan.matrices):
        expected = matrix.source.load()
        for layout in ("rows",) if matrix.kind == "embedding" else ("rows", "tiles"):
            found = image.weights(index, layout)
            assert (found.codes == expected.codes).all()
            assert (found.values() == expected.values()).all()


def test_a_file_keeps_its_own_codes(tiny_gguf: Path, tmp_path: Path) -> None:
    model = open_gguf(tiny_gguf)
    plan_image(tiny_gguf).write(tmp_path / "image")
    image = read_image(tmp_path / "image")
    assert image.about["weights"] == {"stored q4_0 codes": 15}
    np.testing.assert_array_equal(image.weights(6).values().T, model.file.dequantize("blk.0.ffn_down.weight"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"blocks": 0}, "blocks is 0; allowed is 1..3, those of ragged."),
        ({"blocks": 4}, "blocks is 4; allowed is 1..3"),
        ({"slices": 65}, "slices is 65; allowed is 1..64."),
        ({"layouts": ["lut"]}, "layouts is 'lut'; allowed is rows, and lut and tiles beside it, each once."),
        ({"layouts": ["rows", "wide"]}, "layouts is 'rows,wide'"),
        ({"layouts": ["rows", "rows"]}, "layouts is 'rows,rows'"),
        ({"weights": "4g10"}, "group_size is 10; allowed in an image is 0 or a multiple of 16."),
        ({"weights": "9"}, "wbits is 9"),
        ({"seed": -1}, "seed is -1; allowed is 0 or more."),
    ],
)
def test_what_an_image_cannot_hold(
    shape_file: Callable[[ModelSpec], Path], options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SailsimError) as error:
        plan_image(shape_file(SHAPE), **options)  # type: ignore[arg-type]
    assert sentence in str(error.value)


def test_types_without_codes_are_rounded_and_it_says_so(
    shape_file: Callable[[ModelSpec], Path],
) -> None:
    plan = plan_image(shape_file(SHAPE), weights="f16")
    assert {matrix.source.format.name for matrix in plan.matrices} == {"q8_0"}
    assert plan.notes[0] == "f16 tensors, which have no codes, are rounded to q8_0"


def test_a_limit_of_bytes(shape_file: Callable[[ModelSpec], Path], tmp_path: Path) -> None:
    with pytest.raises(SailsimError, match=r"the image would have \d+ bytes; allowed is 1000"):
        plan_image(shape_file(SHAPE)).write(tmp_path / "image", max_bytes=1000)
    assert not (tmp_path / "image").exists()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small image."""
    return small_image(tmp_path_factory.mktemp("image"), "4g32", d_ffn=48, tied=False)


def resealed(data: bytearray) -> bytes:
    """An image whose header checksum fits again."""
    header = np.frombuffer(bytes(data[: HEADER.itemsize]), HEADER)[0]
    start, size = int(header["tensor_offset"]), int(header["tensor_count"]) * TENSOR.itemsize
    data[12:16] = bytes(4)
    if start + size <= len(data):
        data[12:16] = crc32(data[start : start + size], crc32(data[: HEADER.itemsize])).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.slow
@given(
    at=st.integers(0, 256 + 9 * 192 - 1),
    value=st.binary(min_size=1, max_size=8),
    seal=st.booleans(),
    cut=st.one_of(st.none(), st.integers(0, 5000)),
)
@examples(300, but=[HealthCheck.function_scoped_fixture])
def test_a_damaged_image_ends_in_one_sentence(
    good: bytes, tmp_path: Path, at: int, value: bytes, seal: bool, cut: int | None
) -> None:
    data = bytearray(good)
    data[at : at + len(value)] = value
    damaged = (resealed(data) if seal else bytes(data))[:cut]
    path = tmp_path / "damaged"
    path.write_bytes(damaged)
    # Unless the damage is none, or sealed and in a field that nobody looks at.
    with suppress(SailsimError) if seal or damaged == good else pytest.raises(SailsimError, match=r"^.*$"):
        read_image(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_flipped_bit_is_found(good: bytes, tmp_path: Path, layout: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(good)
    offset = int(read_image(path).tensors[3][f"{layout}_offset"])
    data = bytearray(good)
    data[offset + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(SailsimError, match=f"the checksum of {layout} of matrix 3"):
        read_image(path)
