"""What says nothing, or writes over what it reads, is refused by every command, and nothing is written."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from sailsim.base.errors import SailsimError
from sailsim.cli import main
from sailsim.cli._command import Command
from sailsim.sim.plan.file import expand, parse_plan
from sailsim.sim.plan.plan import plan_of
from sailsim.sim.point import Point

from ..workloads.conftest import model_text

SMALL = ["--model", "smollm2-135m"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(*words: str) -> str:
    before = sorted(Path().rglob("*"))
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (sentence,) = result.stderr.splitlines()
    assert sorted(Path().rglob("*")) == before
    return sentence


NUMBERS = ("wbits", "abits", "nbw", "group_size", "prompt", "batch", "threads", "context", "kv_bits", "seed")


@pytest.mark.parametrize("name", NUMBERS)
def test_minus_one_is_a_number_and_none_that_is_allowed(name: str) -> None:
    option = f"--{name.replace('_', '-')}"
    assert "-1" in refused("run", *SMALL, option, "-1")
    for command in (["sweep", "--out", "out"], ["sweep", "--dry-run"]):
        assert "-1" in refused(*command, *SMALL, option, "-1")
        assert f"{name} is '-1'" in refused(*command, "--set", f"{name}=-1")
    assert "-1" in refused("run", *SMALL, "--phase", "prefill", option, "-1")
    for phase in ("decode", "prefill"):
        with pytest.raises(SailsimError, match=f"{name} is -1"):
            Point(**{"phase": phase, name: -1})
    with pytest.raises(SailsimError, match=f"{name} is -1"):
        expand([{name: [-1]}])
    for part in ("fixed", "axes"):
        with pytest.raises(SailsimError, match=f"{name} is -1"):
            parse_plan(f"[{part}]\n{name} = -1\n", "p").points  # noqa: B018
    with pytest.raises(SailsimError, match=f"{name} is -1"):
        plan_of({name: [-1]}).points  # noqa: B018


def test_other_commands_take_no_minus_one_either() -> None:
    trace = ["trace", *SMALL, "--out", "t"]
    for words in (
        [*trace, "--group-size", "-1"],
        [*trace, "--wbits", "-1"],
        ["claims", "explore", *SMALL, "--out", "o", "--context", "-1"],
    ):
        assert "-1" in refused(*words)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--weights", ""],
        ["run", "--activations", ""],
        ["run", "--model", ""],
        ["sweep", "--out", "out", "--weights", ""],
        ["sweep", "--out", "out", "--activations", ""],
        ["sweep", "--out", "out", "--set", "weights="],
        ["sweep", "--dry-run", "--weights", "4,,8"],
        ["trace", *SMALL, "--out", "t", "--weights", ""],
        ["trace", *SMALL, "--out", "t", "--activations", ""],
        ["image", "smollm2-135m", "--out", "i", "--weights", ""],
        ["claims", "explore", *SMALL, "--out", "o", "--weights", ""],
        ["quality", "--weights", ""],
        ["gem5", "decode", *SMALL, "--weights", ""],
        ["gem5", "machine", "--check", "--gem5", ""],
    ],
    ids=" ".join,
)
def test_the_empty_text_is_not_none(words: list[str]) -> None:
    assert "''" in refused(*words) or "allowed are values" in refused(*words)


@pytest.mark.parametrize(
    "text", ['fixed.weights = ""', 'axes.activations = ["", "a.npz"]', 'axes.model = ""']
)
def test_the_empty_text_in_a_plan_is_not_none(text: str) -> None:
    Path("p.toml").write_text(text)
    assert "is ''; allowed is a text that is not empty" in refused("sweep", "--dry-run", "--plan", "p.toml")
    assert "is ''; allowed" in refused("sweep", "--plan", "p.toml", "--out", "out")


def test_a_point_has_a_model_that_there_is() -> None:
    for name in ("llama2", "", "missing.gguf", "missing/"):
        with pytest.raises(SailsimError, match=r"model is '.*'; allowed is a path of a GGUF .*llama-2-7b"):
            Point(model=name)
    Path("m.toml").write_text(model_text())
    assert Point(model="m.toml").model == "m.toml"
    assert "model is 'llama2'; allowed" in refused("sweep", "--model", "llama2", "--out", "out")


HUGE = "9" * 400


@pytest.mark.parametrize(
    "words",
    [
        ["run", *SMALL, "--set", f"pim.clock={HUGE}"],
        ["run", *SMALL, "--set", f"pim.arrays={HUGE}"],
        ["run", *SMALL, "--set", f"pim.arrays=-{HUGE}"],
        ["run", *SMALL, "--system", f"sail-n1:llc.slices={HUGE}"],
        ["run", *SMALL, "--beside", f"l4:tdp={HUGE}"],
        ["run", *SMALL, "--batch", HUGE],
        ["run", *SMALL, "--substrate", f"row_dfm:add={HUGE}"],
        ["run", *SMALL, "--system", "graviton3", "--batch", HUGE],
        ["sweep", *SMALL, "--out", "o", "--set", f"llc.slices={HUGE}"],
        ["sweep", *SMALL, "--out", "o", "--set", f"wbits={HUGE}"],
        ["show", "system", f"sail-n1:memory.latency={HUGE}", "--toml"],
        ["activations", "--tokens", HUGE, "--out", "c.npz"],
    ],
    ids=lambda words: " ".join(words).replace(HUGE, "HUGE"),
)
def test_a_whole_number_that_no_float_holds(words: list[str]) -> None:
    assert refused(*words).startswith("Error: ")


@pytest.mark.parametrize("other", ["w.npy", "link.npy", "x/../w.npy"])
def test_a_command_does_not_write_over_what_it_reads(other: str) -> None:
    np.save("w.npy", np.ones((4, 4), int))
    np.save("x.npy", np.ones((1, 4), int))
    Path("link.npy").symlink_to("w.npy")
    Path("x").mkdir()
    before = Path("w.npy").read_bytes()
    command = ["gemv", "--weights", "w.npy", "--activations", "x.npy", "--wbits", "2", "--abits", "2"]
    sentence = refused(*command, "--out", other)
    assert f"--out is {other}, which --weights names too; allowed is a file of its own" in sentence
    assert Path("w.npy").read_bytes() == before
    assert CliRunner().invoke(main, [*command, "--out", "y.npy"]).exit_code == 0
    assert CliRunner().invoke(main, [*command, "--out", "y.npy"]).exit_code == 0


def test_so_does_none_of_the_others() -> None:
    Path("m.toml").write_text(model_text())
    Path("s.toml").write_text('extends = "sail-n1"\nname = "mine"\n')
    Path("p.toml").write_text("")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    for words in (
        ["trace", "--model", "m.toml", "--out", "m.toml"],
        ["trace", *SMALL, "--system", "s.toml:llc.slices=16", "--out", "s.toml"],
        ["image", "m.toml", "--out", "m.toml"],
        ["sweep", "--plan", "p.toml", "--out", "out", "--log-json", "p.toml"],
        ["sweep", "--system", "sail-n1,s.toml", "--out", "out", "--log-json", "s.toml"],
        ["sweep", *SMALL, "--beside", "s.toml", "--out", "out", "--log-json", "s.toml"],
    ):
        assert "names too; allowed is a file of its own" in refused(*words)
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_a_refused_study_makes_no_log() -> None:
    for words in (["--wbits", "99"], ["--model", "none"], ["--weights", "q9"], ["--jobs", "0"]):
        refused("sweep", *words, "--out", "out", "--log-json", "log.jsonl")
    assert "log-json" in refused("sweep", *SMALL, "--out", "out", "--log-json", "none/log.jsonl")
    told = CliRunner().invoke(main, ["sweep", *SMALL, "--out", "out", "--log-json", "log.jsonl"])
    assert told.exit_code == 0
    assert len(Path("log.jsonl").read_text().splitlines()) >= 2


@pytest.mark.parametrize("words", [["list", "model"], ["run", *SMALL], ["--help"]], ids=" ".join)
def test_a_closed_pipe_is_silent(words: list[str]) -> None:
    """As of `sailsim results show | head`: status 141, as of a program that SIGPIPE ends."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "sailsim", *words], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141


def test_a_closed_pipe_of_errors_is_silent_too() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "sailsim", "nosuch"], stdout=subprocess.PIPE, stderr=write)
    os.close(write)
    assert (done.returncode, done.stdout) == (2, b"")


ESCAPES = "\x1b[31mred\x07\x1b]0;t\x07"


def test_names_of_files_move_no_cursor() -> None:
    Path("m.toml").write_text(model_text(ESCAPES, ESCAPES))
    text = f'extends = "sail-n1"\nname = {model_text(ESCAPES).splitlines()[0][7:]}\n'
    Path("s.toml").write_text(f"{text}title = {text.splitlines()[1][7:]}\n")
    for words in (
        ["show", "model", "m.toml"],
        ["show", "system", "s.toml"],
        ["run", "--model", "m.toml", "--system", "s.toml", "--wide", "--notes", "--beside", "s.toml"],
        ["run", "--cost", "--model", "m.toml", "--system", "s.toml", "--beside", "s.toml"],
        ["sweep", "--dry-run", "--model", "m.toml", "--system", "s.toml"],
        ["sweep", "--model", "m.toml", "--system", "s.toml", "--out", f"o{ESCAPES}".replace("/", "")],
        ["results", "ls", "."],
        ["results", "show", f"o{ESCAPES}", "--wide"],
        ["results", "query", f"o{ESCAPES}", "select system, model, 'a\x1bb' as x from runs"],
    ):
        told = CliRunner().invoke(main, words)
        assert told.exit_code == 0, told.output
        assert not {"\x1b", "\x07"} & set(told.output), words
    assert "\\x1b[31mred" in CliRunner().invoke(main, ["show", "model", "m.toml"]).output


def commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command."""
    if not isinstance(command, click.Group):
        assert isinstance(command, Command), words
        yield words
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from commands(inner, (*words, name))


def test_every_command_is_of_the_kind_that_checks_what_it_writes() -> None:
    assert len(list(commands(main))) > 20
