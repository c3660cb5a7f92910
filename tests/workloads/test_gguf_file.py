import struct
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.workloads.gguf_model import GgufFile, open_gguf
from sailsim.workloads.load import load_model

from ..examples import examples
from .conftest import TINY, write_tiny_gguf


def test_shapes_formats_and_bytes_of_a_written_file(tiny_gguf: Path):
    model = open_gguf(tiny_gguf)
    assert {field: getattr(model.spec, field) for field in TINY} == TINY
    assert model.spec.tied_embeddings
    assert model.spec.title == "tiny"
    assert model.spec.extra_params == 0
    assert load_model(tiny_gguf) == model.spec
    assert {fmt.name for fmt in model.format.tensors.values()} == {"q4_0"}
    assert model.format.model_bytes(model.spec) == sum(tensor.n_bytes for tensor in model.stored)


def test_the_header_agrees_with_the_reference_reader(tiny_gguf: Path):
    file, reader = GgufFile(tiny_gguf), gguf.GGUFReader(tiny_gguf)
    assert list(file.tensors) == [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors:
        info = file.tensors[tensor.name]
        assert info.shape == tuple(int(size) for size in tensor.shape)
        assert (info.offset, info.n_bytes) == (tensor.data_offset, tensor.n_bytes)
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(file.dequantize(tensor.name), expected)
    for key in ("general.name", "llama.block_count", "tokenizer.ggml.tokens"):
        assert file.get(key) == reader.fields[key].contents()


def test_a_tensor_format_that_no_tile_knows_is_refused(tmp_path: Path):
    path = tmp_path / "x.gguf"
    write_tiny_gguf(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"blk.1.ffn_down.weight") + len("blk.1.ffn_down.weight") + 4 + 16
    assert data[at : at + 4] == struct.pack("<I", 2)
    data[at : at + 4] = struct.pack("<I", 9)  # Q8_1: a block of 40 bytes, only used inside kernels
    data += bytes(10000)
    path.write_bytes(data)
    with pytest.raises(SailsimError, match="'q8_1'"):
        open_gguf(path)


def test_experts_that_no_tensor_has_are_refused(tmp_path: Path):
    path = tmp_path / "x.gguf"
    write_tiny_gguf(path, experts=8)
    with pytest.raises(SailsimError, match="expert_count is 8"):
        open_gguf(path)


def header(
    version: int = 3, tensors: int = 0, keys: int = 0, rest: bytes = b"", magic: bytes = b"GGUF"
) -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, keys) + rest


HUGE = (1 << 63) - 1
KEY = struct.pack("<Q", 1) + b"k"
BAD_FILES = {
    "empty": b"",
    "short": b"GGUF\x03\0\0\0",
    "zip": b"PK\x03\x04" + bytes(100),
    "version": header(version=99),
    "big endian": header(version=3 << 24),
    "tensor count": header(tensors=HUGE),
    "key count": header(keys=HUGE),
    "key length": header(keys=1, rest=struct.pack("<Q", HUGE) + bytes(20)),
    "string length": header(keys=1, rest=KEY + struct.pack("<IQ", 8, HUGE) + bytes(20)),
    "array length": header(keys=1, rest=KEY + struct.pack("<IIQ", 9, 4, HUGE) + bytes(20)),
    "string array length": header(keys=1, rest=KEY + struct.pack("<IIQ", 9, 8, 1 << 40) + bytes(20)),
    "text of an array": header(
        keys=1, rest=KEY + struct.pack("<IIQQ", 9, 8, 2, 1) + b"a" + struct.pack("<Q", HUGE) + bytes(20)
    ),
    "length of a text of an array": header(
        keys=1, rest=KEY + struct.pack("<IIQQ", 9, 8, 2, 9) + b"123456789" + bytes(7)
    ),
    "nested array": header(keys=1, rest=KEY + struct.pack("<IIQ", 9, 9, 1) + bytes(20)),
    "value type": header(keys=1, rest=KEY + struct.pack("<I", 77) + bytes(20)),
    "not text": header(
        keys=1, rest=struct.pack("<Q", 2) + b"\xff\xfe" + struct.pack("<IQ", 8, 0) + bytes(20)
    ),
    "twice": header(keys=2, rest=2 * (KEY + struct.pack("<IB", 0, 1)) + bytes(20)),
    "dimensions": header(tensors=1, rest=KEY + struct.pack("<I", 200) + bytes(64)),
    "overflow": header(tensors=1, rest=KEY + struct.pack("<IQQQQIQ", 4, *[1 << 40] * 4, 0, 0) + bytes(64)),
    "zero size": header(tensors=1, rest=KEY + struct.pack("<IQIQ", 1, 0, 0, 0) + bytes(64)),
    "tensor type": header(tensors=1, rest=KEY + struct.pack("<IQIQ", 1, 32, 250, 0) + bytes(64)),
    "offset": header(tensors=1, rest=KEY + struct.pack("<IQIQ", 1, 32, 0, HUGE - 31) + bytes(64)),
    "no model": header(rest=bytes(64)),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_end_in_one_sentence_without_large_memory(tmp_path: Path, name):
    path = tmp_path / "bad.gguf"
    path.write_bytes(BAD_FILES[name])
    tracemalloc.start()
    try:
        with pytest.raises(SailsimError) as error:
            open_gguf(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20
    assert "\n" not in str(error.value)
    assert "allowed" in str(error.value) or "needs" in str(error.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text of an array", f"a string in k at byte .* is '{HUGE} bytes'"),
        ("length of a text of an array", "a string length in k at byte .* is '8 bytes'.* the 7 bytes"),
    ],
)
def test_a_text_of_an_array_that_does_not_fit_is_named(tmp_path: Path, name: str, words: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(BAD_FILES[name])
    with pytest.raises(SailsimError, match=words):
        open_gguf(path)


def test_a_folder_and_an_absent_file(tmp_path: Path):
    with pytest.raises(SailsimError):
        GgufFile(tmp_path)
    with pytest.raises(SailsimError):
        GgufFile(tmp_path / "none.gguf")


def test_every_truncation_is_refused(tiny_gguf: Path, tmp_path: Path):
    whole = tiny_gguf.read_bytes()
    path = tmp_path / "cut.gguf"
    last = max(info.offset + info.n_bytes for info in GgufFile(tiny_gguf).tensors.values())
    for length in {*range(0, 4000, 53), *range(4000, last, 2311), last - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(SailsimError):
            open_gguf(path)


@examples(300, but=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_header_gives_a_model_or_one_sentence(tiny_gguf: Path, tmp_path: Path, data):
    whole = bytearray(tiny_gguf.read_bytes())
    end = min(info.offset for info in GgufFile(tiny_gguf).tensors.values())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, end - 9))
        patch = data.draw(
            st.one_of(
                st.binary(min_size=1, max_size=8),
                st.sampled_from([0, 1, HUGE, (1 << 64) - 1, 1 << 32]).map(lambda v: struct.pack("<Q", v)),
                st.sampled_from([0, 8, 9, 12, 0xFFFFFFFF]).map(lambda v: struct.pack("<I", v)),
            )
        )
        whole[at : at + len(patch)] = patch
    path = tmp_path / "mutated.gguf"
    path.write_bytes(whole)
    model, message = None, ""
    try:
        model = open_gguf(path)
    except SailsimError as error:
        message = str(error)
    if model is None:
        assert message.count("\n") == 0
    else:
        assert model.spec.n_params == sum(info.n_elements for info in model.file.tensors.values())
