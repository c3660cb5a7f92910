"""Folders with another program's Parquet files, or another command's results: one sentence each."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from sailsim.cli import main
from sailsim.sim.study.folder import Store

SWEEP = ["sweep", "--model", "smollm2-135m", "--wbits", "2,4", "--out"]


def call(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def refused(*words: str) -> str:
    result = call(*words)
    assert result.exit_code == 2, result.output
    (sentence,) = result.stderr.splitlines()
    return sentence


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("swept") / "sw"
    assert call(*SWEEP, str(out)).exit_code == 0
    return out


@pytest.fixture
def copied(swept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(swept, tmp_path / "sw"))


def put(folder: Path, table: pa.Table) -> None:
    """`table` in the place of all that the folder holds, under the name that such content has."""
    for path in (folder / "chunks").iterdir():
        path.unlink()
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content = sink.getvalue().to_pybytes()
    name = hashlib.sha256(content).hexdigest()[:32]
    (folder / "chunks" / f"{name}.parquet").write_bytes(content)


def stored(folder: Path) -> pa.Table:
    return Store(folder).everything()


def with_column(name: str, values: list[object]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        column = pa.array((values * len(table))[: len(table)])
        return table.set_column(table.schema.get_field_index(name), name, column)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: pa.table({"a": [1, 2], "b": ["x", "y"]}), "it has no column 'key'"),
        (lambda t: t.drop_columns(["code_version"]), "it has no column 'code_version'"),
        (with_column("key", [1]), "it has int64 in the column 'key'"),
        (with_column("finished_at", [1.5]), "it has double in the column 'finished_at'"),
        (with_column("evaluation_s", [[1]]), "it has list<element: int64> in the column 'evaluation_s'"),
    ],
)
def test_a_file_that_no_study_wrote(copied: Path, change: Callable[[pa.Table], pa.Table], words: str) -> None:
    put(copied, change(stored(copied)))
    before = sorted(copied.rglob("*"))
    for command in (["figures"], ["report"], ["results", "show"], SWEEP):
        sentence = refused(*command, str(copied))
        assert words in sentence
        assert "is damaged or another program's" in sentence
    assert sorted(copied.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop_columns(["tokens_per_s"]), "have no 'tokens_per_s'"),
        (with_column("tokens_per_s", ["x"]), "has string in the column 'tokens_per_s', which no run has"),
        (with_column("model", [["x"]]), "has list<element: string> in the column 'model'"),
        (with_column("wbits", ["four"]), "has string in the column 'wbits'"),
        (with_column("prt", [1]), "has int64 in the column 'prt'"),
        (with_column("fits", ["yes"]), "has string in the column 'fits'"),
        (with_column("phases", [3.0]), "has double in the column 'phases'"),
        (with_column("notes", ["x"]), "has string in the column 'notes'"),
        (with_column("nbw", [[4]]), "has list<element: int64> in the column 'nbw'"),
    ],
)
def test_records_that_no_run_has(copied: Path, change: Callable[[pa.Table], pa.Table], words: str) -> None:
    put(copied, change(stored(copied)))
    for command in ("figures", "report"):
        sentence = refused(command, str(copied))
        assert words in sentence
        assert "`sailsim sweep --model smollm2-135m --wbits 2,4 --out" in sentence


def test_columns_of_ones_own_and_empty_ones_are_welcome(copied: Path) -> None:
    table = stored(copied).append_column("mine [/bold]", pa.array([None] * len(stored(copied))))
    put(copied, with_column("low", [None])(table))
    assert call("results", "show", str(copied)).exit_code == 0


@pytest.mark.parametrize("kind", ["gem5 sweep", "claims explore", "claims reproduce"])
def test_a_sweep_in_the_folder_of_another_command(tmp_path: Path, kind: str) -> None:
    store = Store(tmp_path / "other")
    with store.locked(kind):
        record = dict.fromkeys(("key", "point_key", "code_version", "finished_at"), "k")
        store.append([record | {"evaluation_s": 1.0, "cycles": 3}])
        store.ask(["k"])
        store.write_manifest({"kind": kind, "state": "finished", "config": {}})
    before = {path: path.read_bytes() for path in sorted(store.path.rglob("*")) if path.is_file()}
    folder = str(store.path)
    said = f"holds results of `sailsim {kind}`"
    assert f"{said}; allowed for `sailsim sweep` is another folder" in refused(*SWEEP, folder)
    for command in ("figures", "report"):
        assert f"{said}; allowed is one of `sailsim sweep`" in refused(command, folder)
    after = {path: path.read_bytes() for path in before}
    assert {p for p in before if before[p] != after[p]} <= {store.path / ".lock"}


def test_another_command_in_the_folder_of_a_sweep(copied: Path) -> None:
    words = ("claims", "explore", "--samples", "4", "--out", str(copied))
    assert "holds results of `sailsim sweep`" in refused(*words)
