"""Damaged headers, folders and indices of safetensors files: a model or one sentence, and no large memory."""

import json
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.workloads.model_files.folder_model import open_folder
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.model_files.safetensors_file import safe_tensors

from ...examples import examples
from ...refusals import refusal, refusal_in_little_memory
from ..folder_cases import CONFIG, PLAIN
from ..folder_files import AFTER, attention, ends, header_of, layers, network, write_folder, write_safetensors


def put(folder: Path, header: bytes, size: int = 0, length: int | None = None) -> None:
    whole = (len(header) if length is None else length).to_bytes(8, "little") + header
    (folder / "model.safetensors").write_bytes(whole + bytes(size))


@pytest.mark.parametrize("content", [b"", b"abc", bytes(7)])
def test_a_file_without_the_length_of_a_header_says_so(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert refusal(safe_tensors, path) == (
        f"safetensors file {path}: its size is {len(content)} bytes; allowed are 8 or more, the length of "
        "its header first."
    )


ENTRY = '{"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}'


def entry(was: str = "", becomes: str = "", name: str = "a") -> bytes:
    """A header of one tensor with another text in its entry."""
    return f'{{"{name}": {ENTRY}}}'.replace(was, becomes).encode()


@pytest.mark.parametrize(
    ("header", "size", "length", "words"),
    [
        (b"", 0, (1 << 64) - 1, "length of its header is 18446744073709551615; allowed is at most 0"),
        (b"{}", 0, 1 << 40, "length of its header is 1099511627776"),
        (b"[]", 0, None, r"its JSON is \[\]; allowed is a table"),
        (b"{", 0, None, "its JSON cannot be read"),
        (b"\xff\xfe{}", 0, None, "its JSON cannot be read"),
        (b"[" * 100_000, 0, None, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", 0, None, "its JSON cannot be read"),
        (f'{{"a": {ENTRY}, "a": {ENTRY}}}'.encode(), 24, None, "a key is there twice"),
        (b'{"a": 3}', 0, None, "the entry of a is 3; allowed is a table"),
        (entry("F32", "F4"), 24, None, "dtype of a is 'F4'; allowed is one of"),
        (entry(), 23, None, "inside the 23 of the data"),
        (entry("[2, 3]", "[2, -3]"), 24, None, "shape of a is"),
        (entry("[2, 3]", "[4611686018427387904, 9]"), 24, None, "shape of a is"),
        (entry("[2, 3]", "[4611686018427387903, 8]"), 24, None, "data_offsets of a is"),
        (entry("[0, 24]", "[0, 1e3]"), 24, None, "data_offsets of a is"),
        (entry("[0, 24]", "[24, 48]"), 24, None, "data_offsets of a is"),
        (
            f'{{"a": {ENTRY}, "b": {ENTRY}}}'.encode(), 48, None,
            "the data of b start at 0; allowed is behind those of a",
        ),
        (entry(name=r"a\nb"), 23, None, r"data_offsets of a\?b is"),
    ],
)  # fmt: skip
def test_bad_headers_end_in_one_sentence_without_large_memory(tmp_path, header, size, length, words):
    folder = write_folder(tmp_path / "m", {}, CONFIG)
    put(folder, header, size, length)
    assert re.search(words, refusal_in_little_memory(open_folder, folder))


def test_bad_folders(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    assert "has no config.json; allowed is a folder" in refusal(load_model, folder)
    (folder / "config.json").write_text("{")
    assert "config.json: its JSON cannot be read" in refusal(load_model, folder)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    assert "has 0 safetensors files" in refusal(load_model, folder)
    write_safetensors(folder / "a.safetensors", PLAIN)
    write_safetensors(folder / "b.safetensors", PLAIN)
    assert "has 2 safetensors files" in refusal(load_model, folder)
    index = folder / "model.safetensors.index.json"
    for places, words in (
        (3, "weight_map of model.safetensors.index.json is no table"),
        ({}, "is no table of 1"),
        (
            {"x": "../a.safetensors"},
            r"has x in '../a\.safetensors'; allowed is a safetensors file of the folder",
        ),
        ({"x": "c.safetensors"}, r"c\.safetensors cannot be read"),
        ({"x": "a.safetensors"}, r"has x in a\.safetensors, which does not have it"),
    ):
        index.write_text(json.dumps({"weight_map": places}))
        with pytest.raises(SailsimError, match=words):
            load_model(folder)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(PLAIN, "a.safetensors")}))
    assert load_model(folder).n_layers == 2


def test_a_large_file_costs_no_more_than_its_header(tmp_path):
    """Eight billion parameters, 16 GB of holes."""
    d, f, kv = 4096, 14336, 8
    tensors = layers(32, attention(d, 32, kv, 128), {AFTER: (d,)}, network(d, f)) | ends(d, 128256)
    config = {"num_attention_heads": 32, "num_key_value_heads": 8}
    folder = write_folder(tmp_path / "m", tensors, config, shards=4)
    tracemalloc.start()
    try:
        spec = load_model(folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert spec.n_params == load_model("llama-3.1-8b").n_params
    assert peak < 8 << 20


@examples(200, but=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_header_gives_a_model_or_one_sentence(tmp_path, data):
    folder = write_folder(tmp_path / "m", PLAIN, CONFIG)
    header, size = header_of(PLAIN)
    whole = bytearray(header)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        patch = data.draw(
            st.one_of(st.binary(min_size=1, max_size=6), st.sampled_from([b"9", b"-", b"0,", b"[", b'"']))
        )
        whole[at : at + len(patch)] = patch
    put(folder, bytes(whole), size)
    try:
        layers_read = open_folder(folder).spec.n_layers
    except SailsimError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert layers_read == 2
