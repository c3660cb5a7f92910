"""Files are written whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sailsim.base.atomic import atomic_file, write_whole


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "new" / "file", b"content")
    assert (tmp_path / "new" / "file").read_bytes() == b"content"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["file"]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(*_: object) -> None:
        # NumPy reports a short write with words alone.
        raise OSError("6 requested and 0 written") if call == "write" else OSError(errno.ENOSPC, "full")

    def write() -> None:
        with atomic_file(path) as file:
            file.write(b"new")
            if call == "write":
                full()

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="written" if call == "write" else "full") as caught:
        write()
    assert caught.value.filename == str(path)
    assert caught.value.strerror
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_any_other_error_leaves_the_old_file_too(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    with pytest.raises(TypeError), atomic_file(path) as file:
        file.write("no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_a_plain_file_is_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe, Path()):
        with pytest.raises(OSError, match="it is no plain file"), atomic_file(path):
            pass
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f".file.{os.getpid()}.partial").write_bytes(b"half")
    write_whole(tmp_path / "file", b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_writer_left_goes_with_the_next_write_and_nothing_else(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-S", "-c", ""])
    gone.wait()
    left = tmp_path / f".file.{gone.pid}.partial"
    kept = [
        tmp_path / f".file.{os.getppid()}.partial",  # its writer is alive
        tmp_path / f".file2.{gone.pid}.partial",  # of another file, which is written at another time
        tmp_path / ".file.mine.partial",
        tmp_path / f".file.{gone.pid}.partial.txt",
    ]
    for path in (left, *kept):
        path.write_bytes(b"half")
    write_whole(tmp_path / "file", b"whole")
    assert not left.exists()
    assert [path.read_bytes() for path in kept] == [b"half"] * 4
    assert {path.name for path in tmp_path.iterdir()} == {"file", *(path.name for path in kept)}
