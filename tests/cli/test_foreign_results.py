"""Folders with another program's records, or another command's results: one sentence each."""

import json
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from sailsim.sim.study.store import FILE, Store

from .commands import sailsim, sentence_of

SWEEP = ["sweep", "--model", "smollm2-135m", "--wbits", "2,4", "--out"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("swept") / "sw"
    assert sailsim(*SWEEP, out).exit_code == 0
    return out


@pytest.fixture
def copied(swept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(swept, tmp_path / "sw"))


@pytest.mark.parametrize(
    ("column", "value"), [("tokens_per_s", "x"), ("model", ["x"]), ("prt", 1), ("phases", 3.0)]
)
def test_records_that_no_run_has(copied: Path, column: str, value: object) -> None:
    """Every one changed, as another program would write it."""
    with closing(sqlite3.connect(copied / FILE)) as database, database:
        for key, content in database.execute("SELECT * FROM records").fetchall():
            records = [record | {column: value} for record in json.loads(zlib.decompress(content))]
            changed = (zlib.compress(json.dumps(records).encode()), key)
            database.execute("UPDATE records SET content = ? WHERE name = ?", changed)
    sentence = sentence_of(sailsim("report", copied))
    assert f"has {value!r} in the column {column!r}, which no run has there" in sentence
    assert "`sailsim sweep --model smollm2-135m --wbits 2,4 --out" in sentence


@pytest.mark.parametrize("size", [0, 3000])
def test_a_report_over_half_a_file_is_one_sentence_and_writes_nothing(copied: Path, size: int) -> None:
    (copied / FILE).write_bytes((copied / FILE).read_bytes()[:size])
    said = "is damaged or another program's" if size else "holds no results"
    assert said in sentence_of(sailsim("report", copied))
    assert not (copied / "report.html").exists()


def test_a_report_over_another_programs_database_says_so_once(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("CREATE TABLE t (a)")
    assert sentence_of(sailsim("report", tmp_path)).count("is damaged") == 1


@pytest.mark.parametrize("kind", ["gem5", "explore", "claims reproduce"])
def test_a_sweep_in_the_folder_of_another_command(tmp_path: Path, kind: str) -> None:
    store = Store(tmp_path / "other")
    with store.locked(kind):
        record = dict.fromkeys(("key", "point_key", "code_version", "finished_at"), "k")
        store.append([record | {"evaluation_s": 1.0, "cycles": 3}])
        store.set_answer(["k"], {"kind": kind, "state": "finished", "config": {}})
    before = {path: path.read_bytes() for path in sorted(store.path.rglob("*")) if path.is_file()}
    folder = str(store.path)
    said = f"holds results of `sailsim {kind}`"
    assert f"{said}; allowed for `sailsim sweep` is another folder" in sentence_of(sailsim(*SWEEP, folder))
    assert f"{said}; allowed is one of `sailsim sweep`" in sentence_of(sailsim("report", folder))
    after = {path: path.read_bytes() for path in before}
    assert {p for p in before if before[p] != after[p]} <= {store.path / ".lock"}


def test_another_command_in_the_folder_of_a_sweep(copied: Path) -> None:
    words = ("explore", "--samples", "4", "--out", str(copied))
    assert "holds results of `sailsim sweep`" in sentence_of(sailsim(*words))
