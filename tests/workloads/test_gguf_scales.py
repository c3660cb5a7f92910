"""Scales that are no numbers and tensors that overlap: refused by whoever reads the file."""

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
from sailsim.workloads.formats import TENSOR_FORMATS
from sailsim.workloads.gguf_model import MAX_TEXTS, GgufFile, first_bad_block, open_gguf

from ..examples import examples
from .conftest import write_tiny_gguf

FP16_NO_NUMBERS = (0x7E00, 0xFE01, 0x7C00, 0xFC00)
"""NaNs and infinities of both signs."""


@pytest.mark.parametrize("kind", TENSOR_FORMATS)
def test_bad_blocks_are_those_whose_values_are_no_numbers(kind: str) -> None:
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


def spoilt(path: Path, tensor: str, at: int, word: int) -> Path:
    """A tiny file with two bytes of a tensor's data replaced."""
    write_tiny_gguf(path)
    offset = GgufFile(path).tensors[f"{tensor}.weight"].offset
    with path.open("r+b") as file:
        file.seek(offset + at)
        file.write(struct.pack("<H", word))
    return path


@pytest.mark.parametrize("word", FP16_NO_NUMBERS)
def test_every_reader_refuses_a_scale_that_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: int
) -> None:
    monkeypatch.chdir(tmp_path)
    spoilt(Path("m.gguf"), "blk.1.ffn_down", 18 * 5, word)
    Path("text.txt").write_text("the cat sat on the mat and did not move. " * 20)
    for command in (
        ["trace", "--model", "m.gguf", "--out", "t.trace"],
        ["trace", "--model", "m.gguf", "--out", "t.trace", "--weights", "8g32"],
        ["activations", "--model", "m.gguf", "--out", "a.npz", "--tokens", "1,2,3"],
        ["quality", "m.gguf", "--chunks", "2", "--length", "8", "--text", "text.txt", "--out", "q"],
    ):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 2, (command, result.output)
        sentence = result.stderr.splitlines()[-1]
        assert (
            "m.gguf: a scale of blk.1.ffn_down.weight is 'no number in block 5 of q4_0'; allowed" in sentence
        ), command
        assert "Traceback" not in result.stderr
    assert not {path.name for path in Path().iterdir()} & {"t.trace", "a.npz"}


def test_what_needs_the_structure_alone_looks_at_no_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor reads what a file has behind its header: of one of many GB that would take seconds."""
    monkeypatch.chdir(tmp_path)
    write_tiny_gguf(Path("good.gguf"))
    shutil.copy(spoilt(Path("m.gguf"), "blk.1.ffn_down", 18 * 5, 0x7E00), "bad.gguf")
    for command in (
        ["run", "--model", "?", "--context", "64"],
        ["show", "model", "?"],
    ):
        said = []
        for name in ("good.gguf", "bad.gguf"):
            result = CliRunner().invoke(main, [name if word == "?" else word for word in command])
            assert result.exit_code == 0, (command, result.output)
            said.append(result.stdout.replace(name, "?").replace(name.removesuffix(".gguf"), "?"))
        assert said[0] == said[1]


def test_a_tensor_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.gguf"
    write_tiny_gguf(path)
    seen = []
    monkeypatch.setattr(
        "sailsim.workloads.gguf_model.first_bad_block", lambda kind, blocks: seen.append(len(blocks))
    )
    for _ in range(2):
        open_gguf(path).file.raw("blk.0.attn_q.weight")
    assert len(seen) == 1
    open_gguf(path).file.require_numbers()
    every = len(open_gguf(path).file.tensors)
    assert len(seen) == every
    os.utime(path, ns=(1, 1))
    file = open_gguf(path).file
    file.require_numbers()
    assert len(seen) == 2 * every
    path.unlink()
    with pytest.raises(SailsimError, match=r"m\.gguf cannot be read"):
        file.raw("blk.0.attn_q.weight")


def test_weights_too_large_for_the_model_are_never_saved(tmp_path: Path) -> None:
    """Finite scales whose products are not: the capture says so, and is not there."""
    path = tmp_path / "m.gguf"
    write_tiny_gguf(path, kind="F32")
    for name in ("blk.0.attn_v.weight", "blk.0.attn_output.weight", "blk.0.ffn_gate.weight"):
        info = GgufFile(path).tensors[name]
        with path.open("r+b") as file:
            file.seek(info.offset)
            file.write(np.full(info.n_elements, 1e30, "<f4").tobytes())
    out = tmp_path / "a.npz"
    with np.errstate(all="ignore"):
        result = CliRunner().invoke(
            main, ["activations", "--model", str(path), "--tokens", "1,2,3", "--out", str(out)]
        )
    assert result.exit_code == 2, result.output
    assert not out.exists()


@examples(30)
@given(data=st.data())
def test_tensors_that_share_bytes_are_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("overlap")
    path = folder / "m.gguf"
    write_tiny_gguf(path)
    file = GgufFile(path)
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


@pytest.mark.slow
def test_millions_of_empty_texts_are_refused_before_they_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    count = 3 << 20
    key = struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, count)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + bytes(8 * count))
    with pytest.raises(SailsimError, match=f"the length of k is {count}; allowed is {MAX_TEXTS} texts"):
        open_gguf(path)
    half = MAX_TEXTS // 2 + 1
    keys = b"".join(
        struct.pack("<Q", 1) + name + struct.pack("<IIQ", 9, 8, half) + bytes(8 * half)
        for name in (b"a", b"b")
    )
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + keys)
    with pytest.raises(SailsimError, match=f"the length of b is {half}"):
        open_gguf(path)


def test_more_keys_or_tensors_than_any_model_has(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    for tensors, keys, said in ((0, 1 << 17, "key"), (1 << 17, 0, "tensor")):
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + bytes(32 << 17))
        with pytest.raises(SailsimError, match=f"the {said} count is {1 << 17}; allowed is at most 65536"):
            open_gguf(path)


@pytest.mark.slow
def test_scales_of_a_large_file_are_looked_at_in_little_memory(tmp_path: Path) -> None:
    """A file of 267 MB, all of it a hole: what is held grows by a tenth of it at most."""
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    rows, row_bytes = 30720, 8192 // 32 * 34
    writer.add_tensor_info(
        "m.weight", (rows, row_bytes), np.dtype(np.uint8), rows * row_bytes, gguf.GGMLQuantizationType.Q8_0
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as hole:
        end = -(-hole.seek(0, 2) // 32) * 32 + rows * row_bytes
        hole.truncate(end)
    file = GgufFile(path)
    before = _resident()
    file.require_numbers()
    assert _resident() - before < end / 10
    with path.open("r+b") as changed:  # the last block of all, far behind the first piece
        changed.seek(end - 34)
        changed.write(b"\x00\x7e")
    last = rows * 8192 // 32 - 1
    with pytest.raises(SailsimError, match=f"no number in block {last} of q8_0"):
        file.require_numbers()


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_tiny_gguf(path)
    file = GgufFile(path)
    os.truncate(path, path.stat().st_size - 40)
    with pytest.raises(SailsimError, match=r"the data of .* is 'cut short'"):
        file.require_numbers()


def _resident() -> int:
    """Bytes that this process takes now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
