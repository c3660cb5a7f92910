"""One reader for every file that a user names: what is no regular file is one sentence, at once."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sailsim.base.input_file import check_regular, read_bytes, read_text, sha256_of

from ..refusals import refusal_in_little_memory

READERS: dict[str, Callable[[Path], Any]] = {
    "size": lambda path: check_regular(path, "price file"),
    "bytes": lambda path: read_bytes(path, "price file", 100),
    "text": lambda path: read_text(path, "price file", 100),
    "digest": lambda path: sha256_of(path, "price file"),
}


def refused(read: Callable[[Path], Any], path: Path) -> str:
    sentence = refusal_in_little_memory(read, path)
    assert sentence.startswith(f"price file {path} ")
    assert sentence.endswith(".")
    return sentence


@pytest.mark.parametrize("reader", READERS)
def test_only_a_regular_file_is_read(reader: str, tmp_path: Path) -> None:
    read = READERS[reader]
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert "it is a pipe; allowed is a regular file" in refused(read, tmp_path / "pipe")
    assert "it is a device; allowed is a regular file" in refused(read, Path("/dev/zero"))
    assert "it is a folder; allowed is a regular file" in refused(read, tmp_path)
    for missing in (tmp_path / "none", tmp_path / "gone", tmp_path / ("a" * 300), Path("a\0b")):
        assert "cannot be read: " in refused(read, missing)


def test_no_more_is_read_than_a_kind_of_file_may_have(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_bytes(path, "price file", 100) == b"x" * 100
    with path.open("ab") as file:
        file.truncate(1 << 40)
    assert "larger than 100 bytes" in refused(READERS["bytes"], path)


def test_a_file_that_says_no_size_is_read_whole() -> None:
    path = Path("/proc/self/limits")
    if not path.exists():
        pytest.skip("no /proc")
    assert check_regular(path, "price file") == 0
    assert read_text(path, "price file", 1 << 20).startswith("Limit")


def test_what_is_not_utf_8_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\xff")
    assert "can't decode byte 0xff" in refused(READERS["text"], path)
