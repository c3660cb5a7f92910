"""`sailsim results`: what a folder holds, to look at and to take along."""

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sailsim.analysis.runs.compare import compare
from sailsim.sim.point import Point
from sailsim.sim.study.open_study import Task, run_study
from sailsim.sim.study.store import FILE, Store

from ..examples import examples
from .commands import answer, sailsim, sentence_of

results = partial(sailsim, "results")


found = partial(answer, "results")


def record(what: tuple[int, int]) -> list[dict[str, Any]]:
    wbits, batch = what
    point = {"system": "sail-n1", "model": "a[/bold]b", "wbits": wbits, "batch": batch, "context": 512}
    rate = 11_420_600.25 / wbits
    sail = {
        "runner": "sail",
        "tokens_per_s": rate,
        "phases": {"dram": rate / 3, "load": 1.0},
        "notes": ["x", "y"],
    }
    cores = {"runner": "cores", "tokens_per_s": None, "reason": "it does not fit " + "x" * 40}
    return [point | sail | {"reason": ""}, point | cores]


def made(folder: Path, *points: tuple[int, int]) -> Store:
    tasks = [Task(f"{point}", f"question {point}", point) for point in points]
    return run_study(tasks, record, folder, progress=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    made(folder, (2, 1), (3, 1), (4, 1))
    made(folder, (2, 1), (4, 8))
    return folder


def test_studies_are_listed_below_a_folder_too(folder: Path, tmp_path: Path) -> None:
    made(tmp_path / "b" / "c", (2, 1))
    made(tmp_path / "b", (2, 1))
    (tmp_path / "b" / FILE).write_text("{}")
    (tmp_path / "d").mkdir()  # of no study
    rows = found("ls", tmp_path, folder)["folders"]
    assert [row["folder"] for row in rows] == [str(tmp_path / "b"), str(tmp_path / "b" / "c"), str(folder)]
    assert [row["state"] for row in rows] == ["damaged", "complete", "complete"]
    assert "is not a database" in rows[0]["reason"]
    assert (rows[2]["kind"], rows[2]["points"]) == ("sweep", 2)
    assert rows[2]["bytes"] == (folder / FILE).stat().st_size
    shown = results("ls", tmp_path, folder).stdout
    assert all(words in shown for words in ("complete", str(folder), "is not a database"))
    assert "is no folder" in results("ls", tmp_path / "none").stderr


def test_conditions_columns_and_rows(folder: Path) -> None:
    some = found(
        "show", folder, "--where", "runner = 'sail' and wbits = 4", "--columns", "batch,tokens_per_s"
    )
    assert some["records"] == [{"batch": 8, "tokens_per_s": 11_420_600.25 / 4}]
    assert found("show", folder, "--rows", 1)["total"] == 4
    assert "; 1 are shown (--rows)" in results("show", folder, "--rows", 1).stdout
    assert results("show", folder, "--where", "wbits = 7").stdout.startswith("0 records")
    for option, value, said in (
        ("--columns", "tokens_per_ss", "column 'tokens_per_ss' is not in the results; near are tokens_per_s"),
        ("--columns", "a,,b", "columns is 'a,,b'; allowed are names"),
        ("--where", "wbits =", "where is 'wbits ='"),
        ("--where", "nope = 2", "no such column: nope"),
        ("--where", "1); DELETE FROM runs; SELECT (1", "one statement at a time"),
        ("--where", "load_extension('x')", "not authorized"),
    ):
        assert said in sentence_of(results("show", folder, option, value))


@given(where=st.text(max_size=40) | st.text(max_size=20).map(lambda text: f"batch = 1) UNION SELECT ({text}"))
@example(where="'\0'")
@example(where="1) UNION SELECT (99")
@examples(40)
def test_any_condition_is_answered_or_refused_in_a_sentence(folder: Path, where: str) -> None:
    done = results("show", folder, "--where", where)
    assert done.exit_code in (0, 2)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception


def test_a_table_is_written_whole_and_in_order(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs.csv"
    written = found("show", folder, "--out", out)
    frame = Store(folder).frame()
    rows = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    assert len(rows) == len(frame) == written["records"]
    assert list(rows[0])[:5] == ["system", "model", "wbits", "batch", "context"] == written["columns"][:5]
    assert list(rows[0])[-5:] == ["key", "point_key", "code_version", "finished_at", "evaluation_s"]
    assert [json.loads(row["phases"] or "null") for row in rows] == list(frame["phases"])
    assert [float(row["tokens_per_s"] or "nan") for row in rows[::2]] == list(frame["tokens_per_s"][::2])
    assert rows[1]["tokens_per_s"] == ""
    words = ("--where", "runner='sail'", "--columns", "batch,wbits", "--out", out)
    assert results("show", folder, *words).exit_code == 0
    assert out.read_text() == "batch,wbits\n1,2\n8,4\n"
    assert results("show", folder, "--out", out / "x.csv").exit_code == 2
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


@pytest.mark.slow
def test_machines_models_and_studies_stand_beside_each_other_on_what_they_share(tmp_path: Path) -> None:
    answer = found("compare", "sail-n1", "sail-next")["rows"]
    assert [row["batch"] for row in answer] == [1, 8, 32]
    for row in answer:
        run = {name: compare(Point(system=name, batch=row["batch"])) for name in ("sail-n1", "sail-next")}
        a, b = (of["runs"]["sail"]["tokens_per_s"] for of in run.values())
        assert (row["a"], row["b"], row["b_vs_a"]) == pytest.approx((a, b, b / a))
        peer = run["sail-n1"]["verdict"]["peer"]
        assert row["a_tuned"].endswith(f"{run['sail-n1']['runs'][peer]['speedup_median']:.2f}x")
    out = tmp_path / "out"
    assert sailsim("sweep", "--model", "smollm2-135m", "--batch", "8,32", "--out", out).exit_code == 0
    shared = found("compare", out, "llama-2-7b")["rows"]
    assert [row["batch"] for row in shared] == [8, 32]
    assert not any(row["equal"] for row in shared)
    same = results("compare", out, out, columns=200)
    assert "same rate on both sides at 2 of 2 points" in same.stdout
    other = tmp_path / "other"
    assert sailsim("sweep", "--model", "smollm2-135m", "--batch", "2", "--out", other).exit_code == 0
    assert "no point in common" in sentence_of(results("compare", other, "llama-2-7b"))
