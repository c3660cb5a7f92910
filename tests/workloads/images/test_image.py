"""Images: what goes in comes out again, in every layout."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sailsim.lut_gemv.codes import WeightCode, row_bytes, unpack_codes
from sailsim.workloads.images.image_file import Image, plan_image
from sailsim.workloads.images.image_layout import LUT_PANEL, SEGMENT, MatrixLayout, code_reading, lut_layout
from sailsim.workloads.inference.weights import Weights
from sailsim.workloads.models.model import ModelSpec

from ...examples import examples
from ...refusals import refusal
from ..conftest import TINY, model_text

SHAPE = ModelSpec(
    name="ragged", title="Ragged", source="made here", n_layers=3, d_model=50, n_heads=6, n_kv_heads=2,
    head_dim=10, d_ffn=70, vocab=45,
)  # fmt: skip


@pytest.fixture
def shape_file(tmp_path: Path) -> Callable[[ModelSpec], Path]:
    """Writes a shape as a TOML file."""

    def write(spec: ModelSpec) -> Path:
        path = tmp_path / "shape.toml"
        fields = {name: getattr(spec, name) for name in ("tied_embeddings", "gated_ffn", *TINY)}
        path.write_text(model_text(spec.name, spec.title, **fields))
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
    _, step, zero = code_reading(code)
    if code.wbits == 8:
        return stored - 256 if stored > 127 else stored
    return step * stored - zero if step else int(code.values[stored])


@given(
    code=st.sampled_from([code for code in CODES if code.wbits <= 4 and code_reading(code)[1]]),
    k=st.sampled_from([1, 7, 16, 50, 255, 256, 257, 600]),
    n=st.integers(1, 70),
    group=st.sampled_from([0, 16, 272]),
)
@examples(30)
def test_lut_holds_every_bit_where_the_page_says(code, k, n, group):
    weights, shape = made(code, k, n, group, False), MatrixLayout(k, n, code.wbits, group, False, 4)
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


def read_tiles(data: NDArray[np.uint8], shape: MatrixLayout) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Codes (K, N) and factors (scale, minimum; blocks, N) out of the tiles of a matrix."""
    codes, numbers = [], []
    for tile, start in zip(data.reshape(-1, shape.tile_stride), range(0, shape.n, shape.share), strict=True):
        owned = min(shape.share, shape.n - start)
        width = row_bytes(owned, shape.wbits)
        codes.append(unpack_codes(tile[: shape.k * width].reshape(shape.k, width), owned, shape.wbits))
        count = shape.factors * shape.blocks * owned
        stored = tile[shape.tile_codes : shape.tile_codes + 2 * count].view(np.float16)
        numbers.append(stored.reshape(shape.factors, shape.blocks, owned))
    return np.concatenate(codes, axis=1), np.concatenate(numbers, axis=2)


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
    plan = plan_image(
        shape_file(spec), weights=choice, blocks=2, slices=5, tile_most=0 if tied else 20, row=448
    )
    path = tmp_path / "image"
    plan.write(path)
    image = Image(path)
    assert image.dimensions[:2] == (2, 3)
    assert image.dimensions.tied == tied
    assert path.stat().st_size == plan.bytes + image.tensors["image"].offset
    assert "the first 2 of 3 blocks" in image.about["notes"]
    for name, (_, source) in plan.matrices.items():
        expected, weights = source.load(), image.weights(name)
        assert (weights.codes == expected.codes).all()
        assert (weights.values() == expected.values()).all()
        if name != "embedding":
            shape = image.matrices[name][0]
            codes, factors = read_tiles(image.bytes_of(f"{name}.tiles")[: shape.bytes("tiles")], shape)
            assert (codes == expected.codes).all()
            assert (factors == np.stack(expected.factors)).all()


@pytest.mark.parametrize("tied", [True, False])
def test_a_shape_keeps_some_of_its_heads_outputs(shape_file, tied):
    spec = replace(SHAPE, tied_embeddings=tied)
    some = plan_image(shape_file(spec), weights="4g32", blocks=1, outputs=SHAPE.vocab - 3)
    assert some.dimensions.vocab == some.dimensions.matrices()["head"][1] == SHAPE.vocab - 3
    assert f"the first {SHAPE.vocab - 3} of {SHAPE.vocab} outputs of the head" in some.about["notes"]
    assert plan_image(shape_file(spec), outputs=10 * SHAPE.vocab).dimensions.vocab == SHAPE.vocab


def test_large_tiles_lie_an_odd_number_of_rows_apart(shape_file):
    """Equally large tiles then begin in as many banks as there are; small ones stay together."""
    packed, apart = (plan_image(shape_file(SHAPE), weights="4g32", row=row).records for row in (0, 4096))
    assert set(packed["row"]) == {0}
    assert set(apart["row"][:-1]) == {4096}
    for k, n in ((4096, 4096), (11008, 4096), (64, 64)):
        plain, padded = (MatrixLayout(k, n, 4, 128, False, 32, row=row).tile_stride for row in (0, 65536))
        assert padded == plain if plain < 65536 else padded % 65536 == 0 and padded // 65536 % 2 == 1
        assert plain <= padded < plain + 2 * 65536


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"blocks": 0}, "blocks is 0; allowed is 1..3, those of ragged."),
        ({"blocks": 4}, "blocks is 4; allowed is 1..3"),
        ({"slices": 65}, "slices is 65; allowed is 1..64."),
        ({"row": 100}, "row is 100; allowed is 0 or a multiple of 64."),
        (
            {"layouts": ["lut"]},
            "layouts is 'lut'; allowed is rows, with lut and tiles or without, each once.",
        ),
        ({"layouts": ["rows", "wide"]}, "layouts is 'rows,wide'"),
        ({"layouts": ["rows", "rows"]}, "layouts is 'rows,rows'"),
        ({"weights": "4g10"}, "group_size is 10; allowed in an image is 0 or a multiple of 16."),
        ({"weights": "9"}, "wbits is 9"),
        ({"seed": -1}, "seed is -1; allowed is 0 or more."),
    ],
)
def test_what_an_image_cannot_hold(shape_file, options, sentence):
    assert sentence in refusal(plan_image, shape_file(SHAPE), **options)
