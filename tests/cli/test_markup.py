"""Names and paths are anybody's: what a library reads as markup stands as it is, and breaks nothing."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.progress import Progress

from sailsim.base import progress
from sailsim.base.errors import one_line
from sailsim.base.screen import screen
from sailsim.cli import main

from ..workloads.conftest import model_text

NAME = r"a[/bold]b :bug: $\frac$ <i>"
"""Tags that close nothing, a picture's name, mathematics that is cut short, HTML."""
TOML_NAME = json.dumps(NAME)

RUNNER = f"""[[runner]]
name = "mine"
title = {TOML_NAME}
kind = "cores"
hardware = "altra"
software = "ampere"
source = "x"
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    folder = Path("a[")
    folder.mkdir()
    (folder / "bold]s.toml").write_text(f'extends = "sail-n1"\nname = {TOML_NAME}\ntitle = {TOML_NAME}\n')
    (folder / "bold]u.toml").write_text(f'extends = "row_dfm"\nname = "mine"\ntitle = {TOML_NAME}\n')
    (folder / "bold]m.toml").write_text(model_text(NAME, NAME))
    (folder / "bold]r.toml").write_text(RUNNER)
    np.save(folder / "bold]x.npy", np.ones((1, 8), np.int8))
    np.save(folder / "bold]w.npy", np.ones((8, 4), np.int8))
    return folder


def told(*words: str) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.output
    return result.output


POINT = ["--system", "a[/bold]s.toml", "--model", "a[/bold]m.toml"]


def test_names_and_paths_are_printed_as_they_are() -> None:
    assert f"{NAME}: {NAME}" in told("show", "system", "a[/bold]s.toml", "--sources")
    assert f"mine: {NAME}" in told("show", "substrate", "a[/bold]u.toml", "--sources")
    assert NAME in told("show", "model", "a[/bold]m.toml")
    ran = told("run", *POINT, "--substrate", "a[/bold]u.toml", "--beside", "a[/bold]r.toml")
    for path in ("a[/bold]m.toml", "a[/bold]s.toml", "a[/bold]u.toml"):
        assert path in ran
    assert NAME[:20] in ran  # the runner's title, in a column of 22
    assert NAME[:20] in told("run", "--cost", *POINT, "--beside", "a[/bold]r.toml")
    product = told(
        "gemv", "--activations", "a[/bold]x.npy", "--weights", "a[/bold]w.npy",
        "--wbits", "2", "--abits", "8", "--out", "a[/bold]y.npy",
    )  # fmt: skip
    assert "saved in a[/bold]y.npy" in product
    assert "result equal to" in product


@pytest.mark.slow
def test_a_sweep_of_such_names_has_figures_and_a_report() -> None:
    out = "a[/bold]"
    assert out in told("sweep", *POINT, "--wbits", "2,4", "--batch", "1,8", "--out", out)
    told("report", out)
    report = Path(out, "report.html").read_text("utf-8")
    assert "&lt;i&gt;" in report or NAME not in report
    assert "<i>" not in report


@pytest.mark.parametrize("word", ["[/bold]x", "[red]x", ":bug:x", "a\nb", "\x1b[31mx"])
def test_an_error_about_such_a_name_is_one_line_that_has_it(word: str) -> None:
    for command in (["run", "--system"], ["run", "--model"], ["run", "--weights"], ["show", "system"]):
        result = CliRunner().invoke(main, [*command, f"{word}/n.toml"])
        assert result.exit_code == 2
        (sentence,) = result.stderr.splitlines()
        assert one_line(f"{word}/n.toml") in sentence or repr(f"{word}/n.toml") in sentence
        assert "\x1b" not in sentence


def test_one_line_has_nothing_that_moves_the_cursor() -> None:
    assert one_line("a\nb\r\tc \x1b[2J\x07\u202ed") == "a b c ?[2J??d"
    assert one_line("Größe 3 µm [b]") == "Größe 3 µm [b]"


def test_progress_on_a_terminal_shows_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    console = screen()
    console.file, console._force_terminal = stream, True
    console.width = 200

    def wide(*columns: object, **_: object) -> Progress:
        return Progress(*columns, console=console)  # type: ignore[arg-type]

    monkeypatch.setattr(progress, "Progress", wide)
    monkeypatch.setattr(progress, "screen", lambda **_: console)
    with progress.reporter(3, True, what="a[/bold]b :bug:") as report:
        report.note("[/red] lost", worker="[/x]")
        report.advance(3)
    shown = stream.getvalue()
    assert "a[/bold]b :bug:" in shown
    assert "[/red] lost, worker [/x]" in shown
