"""Images: what goes in comes out again, in every layout; what is no image is refused in one sentence."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.workloads.image import plan_image, read_image
from sailsim.workloads.image_layout import LAYOUTS, LUT_PANEL, SEGMENT, Shape, lut_layout, reading
from sailsim.workloads.model import ModelSpec
from sailsim.workloads.weights import Weights

from ..examples import examples
from .conftest import changed_image, sealed_image, small_image

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
    _, step, zero = reading(code)
    if code.wbits == 8:
        return stored - 256 if stored > 127 else stored
    return step * stored - zero if step else int(code.values[stored])


@given(
    code=st.sampled_from([code for code in CODES if code.wbits <= 4 and reading(code).step]),
    k=st.sampled_from([1, 7, 16, 50, 255, 256, 257, 600]),
    n=st.integers(1, 70),
    group=st.sampled_from([0, 16, 272]),
)
@examples(30)
def test_lut_holds_every_bit_where_the_page_says(code, k, n, group):
    weights, shape = made(code, k, n, group, False), Shape(k, n, code.wbits, group, False, 4)
    data = lut_layout(weights, shape)
    assert len(data) == shape.bytes("lut")
    codes = np.zeros((k, -(-n // LUT_PANEL) * LUT_PANEL), np.uint8)
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
                        codes[segment + pair : segment + pair + len(kept), panel : panel + 32] |= kept << bit
                        at += 32
    assert at == len(data)
    assert (code.values[weights.codes] == [[meaning(code, int(c)) for c in row[:n]] for row in codes]).all()


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
def test_a_shape_comes_back(shape_file, tmp_path, choice, tied):
    spec = replace(SHAPE, d_model=256, d_ffn=512, tied_embeddings=tied)
    plan = plan_image(shape_file(spec), weights=choice, blocks=2, slices=5)
    path = tmp_path / "image"
    plan.write(path)
    image = read_image(path)
    assert image.dimensions[:2] == (2, 3)
    assert image.dimensions.tied == tied
    assert path.stat().st_size == plan.bytes + image.start
    assert "the first 2 of 3 blocks" in image.about["notes"]
    for name, (_, source) in plan.matrices.items():
        expected = source.load()
        for layout in ("rows",) if name == "embedding" else ("rows", "tiles"):
            weights = image.weights(name, layout)
            assert (weights.codes == expected.codes).all()
            assert (weights.values() == expected.values()).all()


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
def test_what_an_image_cannot_hold(shape_file, options, sentence):
    with pytest.raises(SailsimError) as error:
        plan_image(shape_file(SHAPE), **options)  # type: ignore[arg-type]
    assert sentence in str(error.value)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small image."""
    return small_image(tmp_path_factory.mktemp("image"), "4g32", d_ffn=48, tied=False)


def refused(data: bytes, path: Path) -> str:
    """The sentence with which bytes are refused."""
    path.write_bytes(data)
    with pytest.raises(SailsimError, match=r"^.*$") as error:
        read_image(path)
    return str(error.value)


@pytest.mark.slow
@given(
    at=st.integers(0, 4500),
    value=st.binary(min_size=1, max_size=8),
    seal=st.booleans(),
    cut=st.one_of(st.none(), st.integers(0, 5000)),
)
@examples(300, but=[HealthCheck.function_scoped_fixture])
def test_a_damaged_image_ends_in_one_sentence(good, tmp_path, at, value, seal, cut):
    data = bytearray(good)
    data[at : at + len(value)] = value
    if seal:
        with suppress(KeyError, IndexError, TypeError, ValueError):  # where the JSON is none any more
            data = bytearray(sealed_image(data))
    path = tmp_path / "damaged"
    path.write_bytes(data[:cut])
    # Unless the damage is none, or sealed and in a field that nobody looks at.
    harmless = seal or data[:cut] == good
    with suppress(SailsimError) if harmless else pytest.raises(SailsimError, match=r"^.*$"):
        read_image(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_flipped_bit_is_found(good, tmp_path, layout):
    path = tmp_path / "image"
    path.write_bytes(good)
    data = bytearray(good)
    data[read_image(path).tensors[f"blk.0.attn_output.{layout}"].offset + 5] ^= 1
    assert "the checksum of blk.0.attn_output is" in refused(bytes(data), path)


@pytest.mark.parametrize(
    ("tensor", "field", "value", "words"),
    [
        ("image", "n_layers", b"\x00", "n_layers is 0; allowed is 1..65536."),
        ("image", "n_layers", b"\x02", "the number of matrices is 9; allowed is 16."),
        ("image", "head_dim", b"\x11", "head_dim is 17; allowed is 2..512 in steps of 2."),
        ("image", "n_kv_heads", b"\x03", "n_heads modulo n_kv_heads is 2; allowed is 0."),
        ("image", "norm_eps", b"\x00\x00\xc0\x7f", "norm_eps is nan; allowed is a positive number."),
        ("image", "d_ffn", b"\x31", "tensor blk.0.ffn_gate.rows is ('U8', [896], "),
        ("image", "slices", b"\x05", "tensor blk.0.attn_q.tiles is ('U8', "),
        ("matrices", "wbits", b"\x09", "wbits of blk.0.attn_q is 9; allowed is 1..8."),
        (
            "matrices",
            "group_size",
            b"\x07",
            "group_size of blk.0.attn_q is 7; allowed is 0..65520 in steps of 16",
        ),
        (
            "matrices",
            "lut",
            b"\x00",
            "its list of tensors is another; allowed is the 27 that its numbers tell of.",
        ),
        ("matrices", "crc", b"\x00" * 4, "the checksum of blk.0.attn_q is 0x00000000; allowed is 0x"),
    ],
)
def test_numbers_that_do_not_fit(good, tmp_path, tensor, field, value, words):
    assert words in refused(changed_image(good, tensor, field, value), tmp_path / "image")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"sailsim_image":"2"', '"sailsim_image":"7"', "its version is '7'; allowed is '2'."),
        ('"sailsim_image"', '"somebody_image"', "its metadata is another file's"),
        ('"norms"', '"norma"', "its list of tensors is another"),
        ('"U32","shape":[16]', '"F32","shape":[16]', "the checksum of the header is"),
    ],
)
def test_a_header_that_is_another(good, tmp_path, old, new, words):
    length = 8 + int.from_bytes(good[:8], "little")
    text = good[8:length].replace(old.encode(), new.encode(), 1)
    data = bytearray(good[:8] + text[: length - 8] + good[length:])
    assert words in refused(bytes(data) if "checksum" in words else sealed_image(data), tmp_path / "image")
