"""`sailsim plot`: files in the house's look; bad input is one sentence and leaves no file."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sailsim.cli import main
from sailsim.sim.study import Task, run_study


def record(what: tuple[int, int]) -> dict[str, Any]:
    wbits, batch = what
    point = {"model": "cost_$x$_$", "wbits": wbits, "batch": batch, "runner": "sail", "title": "SAIL"}
    return point | {"tokens_per_s": 10.0 * batch / wbits, "step_s": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    tasks = [Task(f"{p}", f"{p}", p) for p in [(w, b) for w in (2, 4, 8) for b in range(1, 10)]]
    run_study(tasks, record, folder, progress=False)
    return folder


def plot(*words: object) -> Result:
    return CliRunner().invoke(main, ["plot", *map(str, words)])


@pytest.mark.parametrize(
    "ending", ["svg", *(pytest.param(each, marks=pytest.mark.slow) for each in ("png", "pdf"))]
)
def test_equal_calls_give_equal_files(folder: Path, tmp_path: Path, ending: str) -> None:
    files = [tmp_path / f"{i}.{ending}" for i in range(2)]
    for file in files:
        words = (
            "--x",
            "wbits",
            "--y",
            "tokens_per_s",
            "--color",
            "batch",
            "--out",
            file,
            "--log-x",
            "--log-y",
        )
        done = plot(folder, *words)
        assert done.exit_code == 0, done.output
        assert "Tokens per second by bits of a weight, 27 marks" in done.stdout
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_size > 5000


def texts(folder: Path, tmp_path: Path, *words: object) -> str:
    """All that an SVG says: its texts stand in comments beside the paths that draw them."""
    out = tmp_path / "x.svg"
    done = plot(folder, *words, "--out", out)
    assert done.exit_code == 0, done.output
    return "\n".join(re.findall(r"<!-- (.*?) -->", out.read_text("utf-8"), re.DOTALL))


def test_a_picture_says_what_it_shows_and_what_not(folder: Path, tmp_path: Path) -> None:
    words = ("--x", "wbits", "--y", "tokens_per_s")
    said = texts(folder, tmp_path, *words, "--facet", "model", "--agg", "median", "--where", "batch < 5")
    for each in (
        "Tokens per second by bits of a weight",
        "Where batch &lt; 5. ",
        "The median over batch (1, 2, 3, 4).",
        "bits of a weight (bits)",
        "tokens per second (tokens/s)",
        "model: cost_$x$_$",
    ):
        assert each.strip() in said.replace(r"\$", "$"), (each, said)
    said = texts(
        folder, tmp_path, "--x", "model", "--y", "tokens_per_s", "--color", "wbits", "--where", "batch = 2"
    )
    assert "cost_$x$_$" in said.replace(r"\$", "$")


def test_the_answer_in_json(folder: Path, tmp_path: Path) -> None:
    words = ("--x", "tokens_per_s", "--y", "wbits", "--out", tmp_path / "a.png", "--json")
    found = json.loads(plot(folder, *words).stdout)
    assert found == {
        "schema": 1,
        "path": str(tmp_path / "a.png"),
        "kind": "scatter",
        "records": 27,
        "notes": ["Varies and is not shown: batch (1, 2, 3, 4, 5, 6, ... 9 in all)."],
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--x", "wbits", "--y", "tokens_per_s"], "9 records fall on one mark, as batch varies"),
        (["--x", "wbit", "--y", "tokens_per_s"], "column 'wbit' is not in the results; near are wbits"),
        (["--x", "wbits", "--y", "step_s", "--color", "batch", "--log-y"], "y is 'step_s', down to 0;"),
        (
            ["--x", "runner", "--y", "tokens_per_s", "--agg", "max", "--log-x"],
            "x is 'runner', drawn as words",
        ),
    ],
)
def test_bad_input_leaves_no_file(folder: Path, tmp_path: Path, words: list[str], said: str) -> None:
    for out in ("a.png", "a.gif"):
        done = plot(folder, *words, "--out", tmp_path / out)
        assert done.exit_code == 2
        assert len(done.stderr.splitlines()) == 1
        assert (said if out == "a.png" else "a.gif; allowed are files that end in .png") in done.stderr
        assert list(tmp_path.iterdir()) == []
    assert "holds no results" in plot(tmp_path, *words, "--out", tmp_path / "a.png").stderr
