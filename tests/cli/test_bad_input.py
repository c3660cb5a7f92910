"""What every command does alike with bad input: one sentence, exit status 2, nothing written."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sailsim.cli import main

from ..small_disk import small_disk_of


def refused(*arguments: object) -> str:
    """The sentence of a refused command."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nosuch"], "No such option"),
        (["nosuch"], "No such command 'nosuch'"),
        (["run", "--wbits", "x"], "'--wbits': 'x' is not a valid integer"),
        (["run", "extra"], "unexpected extra argument (extra)"),
        (["results", "nosuch"], "No such command 'nosuch'"),
        (["activations", "--text", "a"], "--text is given without --out"),
    ],
)
def test_what_click_refuses_is_one_sentence(arguments: list[str], words: str) -> None:
    assert words in refused(*arguments)


def test_no_command_prints_the_help() -> None:
    assert "One answer:" in CliRunner().invoke(main, []).output


EMPTY_PATHS = [
    ["report", ".", "--prices", ""],
    ["report", ".", "--out", ""],
    ["run", "--beside", ""],
    ["replay", ""],
    ["trace", "--model", "smollm2-135m", "--out", ""],
    ["activations", ""],
    ["activations", "--out", ""],
]


@pytest.mark.parametrize("arguments", EMPTY_PATHS, ids=" ".join)
def test_the_empty_path_is_not_the_current_folder(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "'' is empty; allowed is a path" in refused(*arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def product(tmp_path: Path) -> list[object]:
    """A gemv command without its output; the product takes 80 KB."""
    np.save(tmp_path / "w.npy", np.ones((8, 100), int))
    np.save(tmp_path / "x.npy", np.ones((100, 8), int))
    files = ["--weights", tmp_path / "w.npy", "--activations", tmp_path / "x.npy"]
    return ["gemv", *files, "--wbits", 2, "--abits", 2]


def test_an_empty_name_is_not_the_default(product: list[object]) -> None:
    sentence = refused(*product, "--system", "")
    assert "''" in sentence
    assert "sail-n1" in sentence


def test_a_place_that_cannot_be_written_is_named(product: list[object], tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "no" / "y.npy", tmp_path / "w.npy" / "y.npy"):
        assert f"{out}: " in refused(*product, "--out", out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.npy", "x.npy"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    with small_disk_of("64k", tmp_path) as disk:
        yield disk


@pytest.mark.root
def test_a_full_disk_is_named_and_nothing_is_left(
    product: list[object], small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (product, ["trace", "--model", "smollm2-135m", "--layers", "0:1"]):
        does_not_fit(command, small_disk, monkeypatch)


@pytest.mark.root
@pytest.mark.slow
def test_a_capture_that_does_not_fit_the_disk_is_not_left_either(
    small_disk: Path, smollm2_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = ["activations", "--tokens", "1,2", "--model", smollm2_path]
    does_not_fit(capture, small_disk, monkeypatch)


def does_not_fit(command: list[object], small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a command's file is named, and what was there is left as it was."""
    monkeypatch.setattr("sailsim.base.progress.QUIET_SECONDS", math.inf)  # however slow the machine is
    old = small_disk / "old"
    old.write_bytes(b"old")
    assert f"{old}: " in refused(*command, "--out", old)
    assert list(small_disk.iterdir()) == [old]
    assert old.read_bytes() == b"old"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--model", "smollm2-135m", "--substrate", "bit_serial", "--convert", "unit"],
        [
            "run",
            "--system",
            "sail-n1:pim.convert=unit",
            "--model",
            "smollm2-135m",
            "--substrate",
            "bit_serial",
        ],
        ["run", "--cost", "--model", "smollm2-135m", "--substrate", "bit_parallel", "--convert", "unit"],
    ],
    ids=" ".join,
)
def test_choices_that_no_unit_has_together_are_refused(arguments: list[str]) -> None:
    assert "convert is unit: allowed with sums in the array" in refused(*arguments)


def test_a_study_goes_on_where_choices_do_not_go_together(tmp_path: Path) -> None:
    arguments = ["sweep", "--model", "smollm2-135m", "--substrate", "row_dfm,bit_serial", "--convert", "unit"]
    found = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "out")])
    assert found.exit_code == 2
    assert "1 of 2 points were refused (the first: system sail-n1: convert is unit: allowed" in found.stderr
    assert "ValueError" not in found.stderr
