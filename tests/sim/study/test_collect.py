"""What a folder's answer does not need goes, and nothing else."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.study.collect import collect, unasked_records
from sailsim.sim.study.folder import Store
from sailsim.sim.study.run import run_study
from sailsim.sim.study.scan import scanned
from sailsim.sim.study.tasks import Task


def two(what: int) -> list[dict[str, Any]]:
    return [{"x": what, "part": {"a": float(what)}}, {"x": -what, "part": {}}]


def ask(folder: Path, *numbers: int) -> Store:
    tasks = [Task(f"key {n}", f"question {n}", n) for n in numbers]
    return run_study(tasks, two, folder, progress=False)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def size(folder: Path) -> int:
    return sum(
        len(content) for name, content in files(folder).items() if name not in (".lock", "manifest.json")
    )


def test_records_of_other_questions_and_leftovers_go(tmp_path: Path) -> None:
    ask(tmp_path, 1, 2, 3)
    store = ask(tmp_path, 3, 4)
    right = store.frame()
    (tmp_path / "chunks" / f".{'0' * 32}.parquet.1.partial").write_bytes(b"half")
    (tmp_path / f"asked-{'a' * 32}.parquet").write_bytes(b"old")
    for foreign in (tmp_path / "notes.txt", tmp_path / "chunks" / "README", tmp_path / "asked-mine.parquet"):
        foreign.write_text("mine")
    before, there = files(tmp_path), size(tmp_path)
    assert unasked_records(store) == 4
    said = collect(store, dry_run=True)
    assert files(tmp_path) == before
    found = collect(store)
    assert found.records == said.records == 4
    assert sorted(found.files) == sorted(said.files)
    assert len(found.files) == 2
    assert found.bytes == said.bytes == there - size(tmp_path)
    pd.testing.assert_frame_equal(store.frame(), right)
    assert len(store.everything()) == len(right) == 4
    assert [
        (tmp_path / name).read_text() for name in ("notes.txt", "chunks/README", "asked-mine.parquet")
    ] == ["mine"] * 3
    again = collect(store)
    assert (again.records, again.files, again.bytes) == (0, (), 0)


def test_a_folder_of_no_study_and_one_in_use_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SailsimError, match="holds no results"):
        collect(Store(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    store = ask(tmp_path, 1)
    with Store(tmp_path).locked("sweep"):
        assert collect(store, dry_run=True).records == 0
        with pytest.raises(SailsimError, match="in use"):
            collect(store)


def test_what_is_scanned_is_what_the_table_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(tmp_path, 1, 2, 3)
    store = ask(tmp_path, 2, 4)
    with monkeypatch.context() as patch, store.locked("sweep"):  # a compaction that is killed doubles records
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        store.compact(small=1)
    answer, everything = scanned(store)
    assert (
        sorted(answer.to_table(columns=["x"])["x"].to_pylist())
        == sorted(store.frame()["x"])
        == [-4, -2, 2, 4]
    )
    assert set(everything.to_table()["x"].to_pylist()) == {1, -1, 2, -2, 3, -3, 4, -4}
    assert collect(store).records == 12
    pd.testing.assert_frame_equal(store.frame(), ask(tmp_path, 2, 4).frame())


def test_a_file_that_is_not_what_its_name_says_is_not_scanned(tmp_path: Path) -> None:
    store = ask(tmp_path, 1)
    (chunk,) = store.chunks()
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    with pytest.raises(SailsimError, match="damaged or another program's"):
        scanned(store)
    with pytest.raises(SailsimError, match="holds no results"):
        scanned(Store(tmp_path / "none"))


def test_columns_of_several_files_have_the_widest_type(tmp_path: Path) -> None:
    def mixed(what: int) -> dict[str, Any]:
        return [{"v": None}, {"v": 1, "w": "a"}, {"v": 2.5}][what]

    for numbers in ((0,), (0, 1), (0, 1, 2)):
        store = run_study([Task(f"{n}", f"{n}", n) for n in numbers], mixed, tmp_path, progress=False)
    assert len(store.chunks()) == 3
    answer, _ = scanned(store)
    rows = {row["key"]: (row["v"], row["w"]) for row in answer.to_table().to_pylist()}
    assert rows == {"0": (None, None), "1": (1.0, "a"), "2": (2.5, None)}
