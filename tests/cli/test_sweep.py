"""`sailsim sweep`, then `figures` and `report` on what it stored."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sailsim.analysis.results.runs import runners
from sailsim.cli import main
from sailsim.sim.study.folder import Store


def sailsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


GRID = [
    "--model",
    "smollm2-135m",
    "--wbits",
    "2:4",
    "--batch",
    "1,8",
    "--threads",
    "4,16",
    "--group-size",
    "32",
]


def test_a_sweep_is_stored_once_and_grows(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    first = json.loads(sailsim("sweep", *GRID, "--out", out, "--json").stdout)
    assert (first["points"], first["held_before"], first["state"]) == (12, 0, "complete")
    again = json.loads(sailsim("sweep", *GRID, "--out", out, "--json").stdout)
    assert (again["points"], again["held_before"]) == (12, 12)
    more = [word if word != "2:4" else "2:5" for word in GRID]
    grown = json.loads(sailsim("sweep", *more, "--out", out, "--json").stdout)
    assert (grown["points"], grown["held_before"]) == (16, 12)
    frame = Store(out).frame()
    assert len(frame) == 16 * len(runners())
    assert sorted(set(frame["wbits"])) == [2, 3, 4, 5]
    assert set(frame["model"]) == {"smollm2-135m"}


def test_prt_on_and_off(tmp_path: Path) -> None:
    result = sailsim("sweep", "--model", "smollm2-135m", "--prt", "both", "--out", str(tmp_path), "--json")
    assert json.loads(result.stdout)["points"] == 2
    frame = Store(tmp_path).frame()
    assert sorted(frame["prt"][frame["runner"] == "sail"]) == [False, True]


def test_a_dry_run_shows_the_points_and_stores_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = sailsim("sweep", *GRID, "--out", str(out), "--dry-run")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["model", "wbits", "batch", "threads", "group_size"]
    assert lines[-1] == "12 points."
    assert len(lines) == 2 + 12 + 1
    assert not out.exists()
    told = json.loads(sailsim("sweep", *GRID, "--dry-run", "--json").stdout)
    assert len(told["points"]) == 12
    assert sailsim("sweep", *GRID).stderr == "Error: out is not given; allowed is a folder, or --dry-run.\n"


@pytest.mark.slow
def test_a_card_of_the_users_is_stored_drawn_and_reported(tmp_path: Path) -> None:
    card, out = tmp_path / "card.toml", str(tmp_path / "out")
    card.write_text('extends = "l4"\nname = "mine"\ntitle = "My card"\n')
    grid = ["sweep", "--model", "smollm2-135m", "--context", "64", "--out", out, "--json"]
    assert json.loads(sailsim(*grid).stdout)["held_before"] == 0
    first = Store(out).frame()
    # Another runner is another result of the same point, and takes its place.
    beside = [*grid, "--beside", str(card)]
    assert json.loads(sailsim(*beside).stdout)["held_before"] == 0
    assert json.loads(sailsim(*beside).stdout)["held_before"] == 1
    frame = Store(out).frame()
    assert list(frame["runner"]) == [*first["runner"], "mine"]
    assert frame["title"].iloc[-1] == "My card"
    assert list(frame["tokens_per_s"][:-1].dropna()) == list(first["tokens_per_s"].dropna())
    page = tmp_path / "r.html"
    shown = sailsim("report", out, "--out", str(page))
    assert shown.exit_code == 0, shown.output
    assert "My card" in page.read_text("utf-8")
    refused = sailsim(*grid, "--beside", str(tmp_path / "missing.toml"))
    assert refused.exit_code == 2
    assert "missing.toml cannot be read" in refused.stderr


def test_an_empty_folder_name_is_refused() -> None:
    result = sailsim("sweep", *GRID, "--out", "")
    assert result.exit_code == 2
    assert "--out" in result.stderr


def test_an_own_capture_beside_the_preset_only(tmp_path: Path) -> None:
    result = sailsim("sweep", "--preset", "paper", "--wbits", "4", "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "--wbits" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--wbits", "8:2"], ("wbits", "8:2")),
        (["--wbits", "2:9"], ("wbits", "9", "1..8")),
        (["--wbits", ""], ("wbits", "''")),
        (["--batch", "1,x"], ("batch", "1,x")),
        (["--batch", "1:99999999"], ("batch", "99999999")),
        (["--preset", "papers"], ("preset", "papers", "paper")),
        (["--model", "llama-9"], ("llama-9", "llama-2-7b")),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, arguments: list[str], words: tuple[str, ...]) -> None:
    result = sailsim("sweep", *arguments, "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert len([line for line in result.stderr.strip().splitlines() if "points" not in line[:7]]) == 1
    for word in words:
        assert word in result.stderr


def test_phase_and_prompt_are_axes(tmp_path: Path) -> None:
    out = str(tmp_path)
    both = sailsim(
        "sweep", "--model", "smollm2-135m", "--phase", "decode,prefill", "--context", "16", "--out", out
    )
    assert both.exit_code == 0, both.stderr
    more = ["--model", "smollm2-135m", "--phase", "prefill", "--prompt", "16,32"]
    found = json.loads(sailsim("sweep", *more, "--out", out, "--json").stdout)
    assert (found["points"], found["held_before"]) == (2, 1)
    frame = Store(tmp_path).frame()
    assert sorted(set(frame["prompt"])) == [16, 32]
    refused = sailsim(
        "sweep", "--model", "smollm2-135m", "--phase", "decode,prefill", "--prompt", "8", "--out", out
    )
    assert refused.exit_code == 2
    assert "prompt is 8 beside phase decode" in refused.stderr
