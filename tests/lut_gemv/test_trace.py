"""Traces: what is written is read and replayed; what is broken is refused in one sentence."""

import json
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.descriptor import COMPLETION, Flag, Status
from sailsim.lut_gemv.quantize import quantize_rows, quantize_weights
from sailsim.lut_gemv.tile import Scales, Tile, same_results
from sailsim.lut_gemv.trace_file import FILE_HEADER, decode_tile, read_trace, replay, write_trace

from ..refusals import refusal

RNG = np.random.default_rng(20)


def scaled_tile() -> Tile:
    code = WeightCode.offset(4, 0)
    codes, scale, minimum = quantize_weights(RNG.normal(size=(20, 5)), code, 8, minimum=True)
    x, act_scale = quantize_rows(RNG.normal(size=(3, 20)), 8)
    return Tile(
        x, codes, code, abits=8, group_size=8, scales=Scales(scale, act_scale, minimum), name="scaled"
    )


def tiles() -> list[Tile]:
    book = WeightCode.iq4_nl()
    shared = RNG.integers(0, 16, (9, 7), dtype=np.uint8)
    return [
        Tile(RNG.integers(-8, 8, (2, 9)), shared, WeightCode.twos(4), abits=4, nbw=3, name="plain"),
        Tile(RNG.integers(0, 256, (1, 9)), shared, book, abits=8, signed=False, prt=False, name="book"),
        Tile(
            RNG.integers(-(1 << 15), 1 << 15, (2, 3)),
            RNG.integers(0, 3, (3, 4)),
            WeightCode.ternary(),
            abits=16,
        ),
        Tile(
            RNG.integers(0, 4, (1, 5)),
            RNG.integers(0, 8, (5, 3)),
            WeightCode.offset(3, 4),
            abits=3,
            group_size=2,
        ),
        scaled_tile(),
    ]


def said(tile: Tile) -> dict[str, Any]:
    """All fields of a tile but its name, which its descriptor does not have."""
    return vars(tile) | {"name": "", "scales": tile.scales and vars(tile.scales)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "t.trace"
    write_trace(path, tiles(), model="none", provenance={"seed": 20})
    return path


def test_round_trip(tmp_path):
    given = tiles()
    write_trace(tmp_path / "t", iter(given), model="m", provenance={"a": [1]})
    trace = read_trace(tmp_path / "t")
    assert len(trace) == len(given)
    assert trace.header["model"] == "m"
    assert trace.header["provenance"] == {"a": [1]}
    assert trace.header["tiles"] == [tile.name for tile in given]
    for index, tile in enumerate(given):
        np.testing.assert_equal(said(decode_tile(trace, index)), said(tile))


def test_every_buffer_is_aligned_and_apart(path):
    trace = read_trace(path)
    for field in ("weights", "activations", "output", "scales"):
        assert (trace.descriptors[field] % 64 == 0).all()
    assert (trace.descriptors["completion"] % 32 == 0).all()
    work = np.sort(np.concatenate([trace.descriptors["output"], trace.descriptors["completion"]]))
    assert (np.diff(work.astype(np.int64)) >= 32).all()
    assert work[0] >= trace.base + len(trace.image)
    assert work[-1] + COMPLETION.itemsize <= trace.base + trace.image_bytes


def test_replay_matches_the_expected_outputs(path):
    results = list(replay(read_trace(path)))
    assert [result.status for result in results] == [Status.OK] * 5
    assert all(result.matches for result in results)
    assert [result.name for result in results] == ["plain", "book", "", "", "scaled"]
    assert results[1].prt_hits == 0
    assert results[0].lookups == 2 * 4 * 3
    scaled = results[4].output
    assert scaled is not None
    assert scaled.dtype == np.float32


def test_replay_notices_a_wrong_expectation(path):
    trace = read_trace(path)
    file_offset = int(trace.expected[2]) - trace.base + 4096
    data = bytearray(path.read_bytes())
    data[file_offset] ^= 1
    path.write_bytes(data)
    assert [result.matches for result in replay(read_trace(path))] == [True, True, False, True, True]


def test_nans_are_alike_and_zeros_are_not():
    found = np.array([0x7FC00000, 0xFFC00001, 0x3F800000], np.uint32).view(np.float32)
    assert same_results(found, np.array([0xFFC00000, 0x7FC00000, 0x3F800000], np.uint32).view(np.float32))
    assert not same_results(np.array([0.0], np.float32), np.array([-0.0], np.float32))
    assert not same_results(np.array([np.nan], np.float32), np.array([1.0], np.float32))
    assert not same_results(np.array([0x7FC00000], np.int32), np.array([0x7FC00001], np.int32))


# --- descriptors that a unit refuses -----------------------------------------------------------------------


def test_a_refused_descriptor_does_not_disturb_the_next(path, oracles):
    oracles.change_descriptor(path, 1, {"nbw": 9})
    results = list(replay(read_trace(path)))
    assert [result.status for result in results] == [Status.OK, Status.ERR_NBW, *[Status.OK] * 3]
    assert results[1].detail == 52
    assert results[1].output is None
    assert results[1].problem == "descriptor 1: nbw is 9; allowed is 1..6 (ERR_NBW)."
    assert all(result.matches for result in results if result.index != 1)


# --- files that are no trace -------------------------------------------------------------------------------


def test_every_cut_is_noticed(path):
    data = path.read_bytes()
    for size in [0, 1, 127, 128, 4095, 4096, 5000, *range(len(data) - 700, len(data), 37), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(SailsimError):
            read_trace(path)


HEADER_SPOILS: list[tuple[str, Any, str]] = [
    ("magic", b"GGUF", "is no trace"),
    ("version", 2, "has version 2; allowed is 1"),
    ("abi_version", 9, "has abi_version 9; allowed is 1"),
    ("base", 0, "has base 0x0"),
    ("base", 7, "has base 0x7"),
    ("base", (1 << 64) - 64, "has base 0xffffffffffffffc0"),
    ("image_bytes", 0, "of an image; allowed are its image_bytes, 0"),
    ("image_offset", 4097, "has image_offset 4097"),
    ("image_offset", 4096 + 8, "has image_offset 4104"),
    ("image_offset", 4096 + 32, "has image_offset 4128"),
    ("image_offset", 1 << 62, "is cut short: the image"),
    ("stored_bytes", (1 << 64) - 1, "of an image; allowed are its image_bytes"),
    ("descriptor_count", 1 << 60, "is cut short: the descriptor array"),
    ("descriptor_offset", (1 << 64) - 64, "is cut short: the descriptor array"),
    ("expected_offset", 1 << 50, "is cut short: the array of expected outputs"),
    ("json_bytes", 1 << 63, "is cut short: the JSON part"),
    ("json_bytes", 3, "its JSON part cannot be parsed"),
]


@pytest.mark.parametrize(("field", "value", "sentence"), HEADER_SPOILS)
def test_bad_headers(path, field, value, sentence):
    data = bytearray(path.read_bytes())
    np.frombuffer(data, FILE_HEADER, 1)[field] = value
    path.write_bytes(data)
    assert sentence in refusal(read_trace, path)


def test_bad_json(path):
    data = path.read_bytes()
    header = np.frombuffer(data, FILE_HEADER, 1)[0]
    start = int(header["json_offset"])
    for text in (b"[" * 100_000, b"\xff", b"[]", b'{"schema": 2}'):
        patched = bytearray(data[:start] + text)
        np.frombuffer(patched, FILE_HEADER, 1)["json_bytes"] = len(text)
        path.write_bytes(patched)
        assert "JSON" in refusal(read_trace, path)


def test_no_file(tmp_path):
    assert "cannot be read: No such file" in refusal(read_trace, tmp_path / "absent")
    assert "it is a folder; allowed is a regular file" in refusal(read_trace, tmp_path)


def test_random_damage_never_escapes(path):
    """Any flipped bytes end in a refusal, a refused descriptor, or a result: never in another exception."""
    data = path.read_bytes()
    header = np.frombuffer(data, FILE_HEADER, 1)[0]
    descriptors = int(header["descriptor_offset"])
    rng = np.random.default_rng(3)
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            area = [(0, 96), (descriptors, descriptors + 5 * 64), (4096, len(data))][int(rng.integers(3))]
            damaged[int(rng.integers(*area))] = int(rng.integers(256))
        path.write_bytes(damaged)
        with suppress(SailsimError):
            for result in replay(read_trace(path)):
                assert (result.output is not None) == (result.status == Status.OK)


# --- writing -----------------------------------------------------------------------------------------------


def test_scales_of_another_shape_are_refused():
    good = scaled_tile()
    assert good.scales is not None
    spoils: list[tuple[str, Callable[[Scales], Scales]]] = [
        ("scale", lambda s: Scales(s.scale[:1], s.act_scale, s.minimum)),
        ("act_scale", lambda s: Scales(s.scale, s.act_scale.astype(np.float64), s.minimum)),  # type: ignore[arg-type]
        ("minimum", lambda s: Scales(s.scale, s.act_scale, s.scale.T)),
    ]
    for field, spoil in spoils:
        assert refusal(replace, good, scales=spoil(good.scales)).startswith(f"{field} is float")


@pytest.mark.parametrize("field", ["group_size", "batch"])
def test_a_tile_beyond_a_descriptors_fields_is_refused(field):
    """Sixteen bits each: 65535 is the last that fits."""
    rows = 1 << 16 if field == "batch" else 1
    x, codes = np.ones((rows, 2), np.int8), np.ones((2, 1), np.uint8)
    with pytest.raises(SailsimError, match=rf"^{field} is 65536; a descriptor allows at most 65535\.$"):
        Tile(x, codes, WeightCode.twos(4), abits=8, group_size=65536 if field == "group_size" else 0)
    kept = Tile(x[:65535], codes, WeightCode.twos(4), abits=8, group_size=65535)
    assert kept.group_size == 65535


def test_a_reader_without_numpy(path):
    """docs/contract.md by hand: fixed offsets, little endian, nothing but reads and seeks."""

    def u64(file: BinaryIO, at: int) -> int:
        file.seek(at)
        (value,) = struct.unpack("<Q", file.read(8))
        return int(value)

    with path.open("rb") as file:
        assert file.read(8) == b"SAILTRCE"
        assert struct.unpack("<II", file.read(8)) == (1, 1)
        base, image_offset, descriptors, count = (u64(file, at) for at in (16, 32, 48, 56))
        expected_offset, json_offset, json_bytes = (u64(file, at) for at in (64, 72, 80))
        assert count == 5
        weights, activations = u64(file, descriptors), u64(file, descriptors + 8)
        file.seek(image_offset + activations - base)
        x: NDArray[np.int8] = np.frombuffer(file.read(18), np.int8).reshape(2, 9)
        file.seek(image_offset + weights - base)
        rows = np.frombuffer(file.read(9 * 4), np.uint8).reshape(9, 4)
        nibbles = np.stack([rows & 15, rows >> 4], axis=2).reshape(9, 8)[:, :7].astype(int)
        product = x.astype(int) @ np.where(nibbles > 7, nibbles - 16, nibbles)
        file.seek(image_offset + u64(file, expected_offset) - base)
        assert np.frombuffer(file.read(2 * 7 * 4), "<i4").reshape(2, 7).tolist() == product.tolist()
        file.seek(json_offset)
        assert json.loads(file.read(json_bytes))["schema"] == 1


# --- what a trace may ask for -----------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "fits"), [((1 << 17) - 1, True), (1 << 17, False)])
def test_a_sum_may_reach_the_accumulators_end_and_not_a_step_more(tmp_path, oracles, k, fits):
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


def test_a_small_file_that_asks_for_much_memory(tmp_path):
    """128 KiB that name 65,000 x 65,000 results, 17 GB."""
    x, codes = np.ones((65_000, 1), np.int8), np.ones((1, 65_000), np.uint8)
    path = tmp_path / "wide.trace"
    write_trace(path, [Tile(x, codes, WeightCode.twos(8), abits=8)], expect=False)
    assert path.stat().st_size < 1 << 18
    sentence = refusal(lambda: list(replay(read_trace(path))))
    assert "65000 x 65000 results take 16900000000 bytes to replay; allowed" in sentence


def ones_by(codes: NDArray[np.uint8]) -> Tile:
    return Tile(np.ones((1, len(codes)), np.int64), codes, WeightCode.twos(4), abits=8)


def weights_of(work: list[Tile], row: int) -> NDArray[np.int64]:
    """Where in the image each tile's weights begin, after a replay that finds every result right."""
    with tempfile.TemporaryDirectory() as folder:
        write_trace(Path(folder) / "rows.trace", work, row=row)
        trace = read_trace(Path(folder) / "rows.trace")
        assert all(tile.matches for tile in replay(trace))
        return trace.descriptors["weights"].astype(np.int64) - trace.base


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 40)), min_size=1, max_size=12), st.integers(6, 12)
)
def test_weights_begin_an_odd_number_of_rows_apart(shapes, bits):
    row = 1 << bits
    starts = weights_of([ones_by(RNG.integers(0, 16, shape, dtype=np.uint8)) for shape in shapes], row)
    distinct = np.unique(starts)  # equal weights are stored once
    assert not np.any(distinct % row)
    assert np.all(np.diff(distinct) // row % 2 == 1)


@pytest.mark.parametrize(
    ("operands", "change", "status", "detail"),
    [
        ((1, 3), {"flags": Flag.CODE_TERNARY}, Status.ERR_CODE, 0),
        ((100, 3), {"abits": 7}, Status.ERR_VALUE, 8),
    ],
)
def test_operands_without_a_meaning_are_refused(
    path: Path,
    oracles: ModuleType,
    operands: tuple[int, int],
    change: dict[str, int],
    status: Status,
    detail: int,
) -> None:
    x, code = (np.array([[each]]) for each in operands)
    write_trace(path, [Tile(x, code, WeightCode.twos(2), abits=8)])
    oracles.change_descriptor(path, 0, change)
    (result,) = replay(read_trace(path))
    assert (result.status, result.detail) == (status, detail)
