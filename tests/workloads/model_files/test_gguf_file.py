import os
import resource
import shutil
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from click.testing import CliRunner
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.cli import main
from sailsim.workloads.model_files.gguf_model import MAX_TEXTS, GgufModel, first_bad_block, open_gguf
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import TENSOR_FORMATS

from ...examples import examples
from ...refusals import refusal, refusal_in_little_memory
from ..conftest import TINY, write_tiny_gguf
from ..decoder_files import finish_with_holes


def test_shapes_formats_and_bytes_of_a_written_file(tiny_gguf):
    model = open_gguf(tiny_gguf)
    assert {field: getattr(model.spec, field) for field in TINY} == TINY
    assert model.spec.tied_embeddings
    assert model.spec.title == "tiny"
    assert model.spec.extra_params == 0
    assert load_model(tiny_gguf) == model.spec
    assert {fmt.name for fmt in model.format.tensors.values()} == {"q4_0"}
    assert model.format.model_bytes(model.spec) == sum(tensor.n_bytes for tensor in model.stored)


def test_the_header_agrees_with_the_reference_reader(tiny_gguf):
    file, reader = GgufModel(tiny_gguf), gguf.GGUFReader(tiny_gguf)
    assert list(file.tensors) == [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors:
        info = file.tensors[tensor.name]
        assert info.shape == tuple(int(size) for size in tensor.shape)
        assert (info.offset, info.n_bytes) == (tensor.data_offset, tensor.n_bytes)
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(file.dequantize(tensor.name), expected)
    for key in ("general.name", "llama.block_count", "tokenizer.ggml.tokens"):
        assert file.get(key) == reader.fields[key].contents()


def test_a_tensor_format_that_no_tile_knows_is_refused(tmp_path):
    path = tmp_path / "x.gguf"
    write_tiny_gguf(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"blk.1.ffn_down.weight") + len("blk.1.ffn_down.weight") + 4 + 16
    assert data[at : at + 4] == struct.pack("<I", 2)
    data[at : at + 4] = struct.pack("<I", 9)  # Q8_1: a block of 40 bytes, only used inside kernels
    data += bytes(10000)
    path.write_bytes(data)
    assert "'q8_1'" in refusal(open_gguf, path)


def header(version: int = 3, tensors: int = 0, keys: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest


HUGE = (1 << 63) - 1
KEY = struct.pack("<Q", 1) + b"k"


def key(layout: str, *numbers: int, behind: bytes = bytes(20)) -> bytes:
    """A file of one key: its type, and what its value begins with."""
    return header(keys=1, rest=KEY + struct.pack(f"<{layout}", *numbers) + behind)


def tensor(layout: str, *numbers: int) -> bytes:
    """A file of one tensor: dimensions, sizes, type and offset."""
    return header(tensors=1, rest=KEY + struct.pack(f"<{layout}", *numbers) + bytes(64))


BAD_FILES = {
    "empty": b"",
    "short": b"GGUF\x03\0\0\0",
    "zip": b"PK\x03\x04" + bytes(100),
    "version": header(version=99),
    "big endian": header(version=3 << 24),
    "tensor count": header(tensors=HUGE),
    "key count": header(keys=HUGE),
    "key length": header(keys=1, rest=struct.pack("<Q", HUGE) + bytes(20)),
    "string length": key("IQ", 8, HUGE),
    "array length": key("IIQ", 9, 4, HUGE),
    "string array length": key("IIQ", 9, 8, 1 << 40),
    "text of an array": key("IIQQ", 9, 8, 2, 1, behind=b"a" + struct.pack("<Q", HUGE) + bytes(20)),
    "length of a text of an array": key("IIQQ", 9, 8, 2, 9, behind=b"123456789" + bytes(7)),
    "nested array": key("IIQ", 9, 9, 1),
    "value type": key("I", 77),
    "not text": header(keys=1, rest=struct.pack("<Q2sIQ", 2, b"\xff\xfe", 8, 0) + bytes(20)),
    "twice": header(keys=2, rest=2 * (KEY + struct.pack("<IB", 0, 1)) + bytes(20)),
    "dimensions": tensor("I", 200),
    "overflow": tensor("IQQQQIQ", 4, *[1 << 40] * 4, 0, 0),
    "zero size": tensor("IQIQ", 1, 0, 0, 0),
    "tensor type": tensor("IQIQ", 1, 32, 250, 0),
    "offset": tensor("IQIQ", 1, 32, 0, HUGE - 31),
    "no model": header(rest=bytes(64)),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_end_in_one_sentence_without_large_memory(tmp_path, name):
    path = tmp_path / "bad.gguf"
    path.write_bytes(BAD_FILES[name])
    sentence = refusal_in_little_memory(open_gguf, path)
    assert "allowed" in sentence or "needs" in sentence


def test_a_folder_and_an_absent_file(tmp_path):
    for path in (tmp_path, tmp_path / "none.gguf"):
        assert refusal(GgufModel, path)


def test_every_truncation_is_refused(tiny_gguf, tmp_path):
    whole = tiny_gguf.read_bytes()
    path = tmp_path / "cut.gguf"
    last = max(info.offset + info.n_bytes for info in GgufModel(tiny_gguf).tensors.values())
    for length in {*range(0, 4000, 53), *range(4000, last, 2311), last - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(SailsimError):
            open_gguf(path)


# --- Scales that are no numbers and tensors that overlap: refused by whoever reads the file ---


@pytest.mark.parametrize("kind", TENSOR_FORMATS)
def test_bad_blocks_are_those_whose_values_are_no_numbers(kind):
    size = GGML_QUANT_SIZES[GGMLQuantizationType[kind.upper()]][1]
    blocks = np.random.default_rng(3).integers(0, 256, (1000, size), dtype=np.uint8)
    if kind == "mxfp4":  # 2^125 and 2^126 are finite scales of values that fp32 does not hold
        blocks[np.isin(blocks[:, 0], (253, 254)), 0] = 252
    with np.errstate(all="ignore"):
        values = dequantize(blocks, GGMLQuantizationType[kind.upper()]).reshape(len(blocks), -1)
    bad = ~np.isfinite(values).all(axis=1)
    assert 0 < bad.sum() < len(bad)
    assert [first_bad_block(kind, block[None]) is not None for block in blocks] == bad.tolist()
    assert first_bad_block(kind, blocks) == bad.argmax()
    assert first_bad_block(kind, blocks[~bad]) is None


def test_every_reader_refuses_a_scale_that_is_no_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny_gguf(Path("m.gguf"))
    with Path("m.gguf").open("r+b") as file:
        file.seek(GgufModel("m.gguf").tensors["blk.1.ffn_down.weight"].offset + 18 * 5)
        file.write(b"\xff\x7f")
    Path("text.txt").write_text("the cat sat on the mat and did not move. " * 20)
    for command in (
        ["trace", "--model", "m.gguf", "--out", "t.trace"],
        ["trace", "--model", "m.gguf", "--out", "t.trace", "--weights", "8g32"],
        ["activations", "--model", "m.gguf", "--out", "a.safetensors", "--prompt", "1,2,3"],
        ["quality", "m.gguf", "--chunks", "2", "--length", "8", "--text", "text.txt", "--out", "q"],
    ):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 2, (command, result.output)
        sentence = result.stderr.splitlines()[-1]
        assert (
            "m.gguf: a scale of blk.1.ffn_down.weight is 'no number in block 5 of q4_0'; allowed" in sentence
        ), command
        assert "Traceback" not in result.stderr
    assert not {path.name for path in Path().iterdir()} & {"t.trace", "a.safetensors"}


@examples(30)
@given(data=st.data())
def test_tensors_that_share_bytes_are_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("overlap")
    path = folder / "m.gguf"
    write_tiny_gguf(path)
    file = GgufModel(path)
    names = sorted(file.tensors)
    moved, onto = data.draw(st.permutations(names))[:2]
    start = min(info.offset for info in file.tensors.values())
    content = bytearray(path.read_bytes())
    # A name in the header is followed by the number of dimensions, these, the type and the offset.
    key = struct.pack("<Q", len(moved)) + moved.encode()
    at = content.index(key) + len(key) + 4 + 8 * len(file.tensors[moved].shape) + 4
    target = file.tensors[onto].offset - start
    assert struct.unpack_from("<Q", content, at)[0] == file.tensors[moved].offset - start
    struct.pack_into("<Q", content, at, target)
    path.write_bytes(content)
    with pytest.raises(SailsimError, match=r"bytes of its own, not those of|inside the file"):
        open_gguf(path)
    shutil.rmtree(folder)


def test_more_keys_or_tensors_than_any_model_has(tmp_path):
    path = tmp_path / "m.gguf"
    for tensors, keys, said in ((0, 1 << 17, "key"), (1 << 17, 0, "tensor")):
        path.write_bytes(header(tensors=tensors, keys=keys, rest=bytes(32 << 17)))
        assert f"the {said} count is {1 << 17}; allowed is at most 65536" in refusal(open_gguf, path)


def test_a_file_that_was_cut_short_is_refused(tmp_path):
    path = tmp_path / "m.gguf"
    write_tiny_gguf(path)
    file = GgufModel(path)
    os.truncate(path, path.stat().st_size - 40)
    with pytest.raises(SailsimError, match=r"the data of .* is 'cut short'"):
        file.raw(list(file.tensors)[-1])


@pytest.mark.slow
def test_millions_of_empty_texts_are_refused_before_they_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    count = 3 << 20
    path.write_bytes(key("IIQ", 9, 8, count, behind=bytes(8 * count)))
    assert f"the length of k is {count}; allowed is {MAX_TEXTS} texts" in refusal(open_gguf, path)
    half = MAX_TEXTS // 2 + 1
    keys = b"".join(
        struct.pack("<Q", 1) + name + struct.pack("<IIQ", 9, 8, half) + bytes(8 * half)
        for name in (b"a", b"b")
    )
    path.write_bytes(header(keys=2, rest=keys))
    assert f"the length of b is {half}" in refusal(open_gguf, path)


@pytest.mark.slow
def test_scales_of_a_large_file_are_looked_at_in_little_memory(tmp_path: Path) -> None:
    """A file of 267 MB, all of it a hole: what is held grows by a tenth of it at most."""
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    rows, row_bytes = 30720, 8192 // 32 * 34
    writer.add_tensor_info(
        "m.weight", (rows, row_bytes), np.dtype(np.uint8), rows * row_bytes, gguf.GGMLQuantizationType.Q8_0
    )
    finish_with_holes(writer, path, rows * row_bytes)
    end = path.stat().st_size
    file = GgufModel(path)
    before = _resident()
    file.raw("m.weight")
    assert _resident() - before < end / 10
    with path.open("r+b") as changed:  # the last block of all, far behind the first piece
        changed.seek(end - 34)
        changed.write(b"\x00\x7e")
    last = rows * 8192 // 32 - 1
    with pytest.raises(SailsimError, match=f"no number in block {last} of q8_0"):
        GgufModel(path).raw("m.weight")


def _resident() -> int:
    """Bytes that this process takes now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
