"""Every option and argument of every command, with values that nobody means: an answer, or one sentence."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from sailsim.cli import main
from sailsim.sim.gem5.binary import VARIABLE

SMALL = ["--model", "smollm2-135m"]
ARGUMENTS: dict[str, list[str]] = {
    "gemv": ["--weights", "w.npy", "--activations", "x.npy", "--wbits", "2", "--abits", "2"],
    "run": SMALL,
    "serve": [*SMALL, "--trace", "few.csv", "--runners", "cores"],
    "sweep": [*SMALL, "--out", "out"],
    "results ls": ["."],
    "results show": ["study"],
    "results compare": ["none", "none"],
    "trace": [*SMALL, "--layers", "0:1", "--tensors", "*attn_q*", "--out", "t"],
    "replay": ["w.npy"],
    "list": ["price"],
    "show": ["system", "sail-n1"],
    "gem5 decode": SMALL,
    "gem5 run": ["w.npy"],
    "gem5 replay": ["w.npy"],
    # What takes long is refused in the end.
    "report": ["none"],
    "image": ["none", "--out", "i"],
    "activations": ["--model", "none", "--out", "c"],
    "quality": ["none"],
    "explore": ["--search", "none", "--out", "out"],
    "claims reproduce": ["--paper", "none.toml", "--out", "out"],
    "claims joint": ["--paper", "none.toml", "--out", "out"],
}
"""What each command is given besides; none of it takes long."""
ANSWERED = ("claims check",)
"""Takes long whatever it is given."""

HUGE = "9" * 400
INTEGERS = ("-1", HUGE, "nan")
FLOATS = ("-1", "nan", "1e308", HUGE)
TEXTS = ("", "\x1b[31mx", "zero", HUGE, "\udcffx")
PATHS = ("", "pipe.toml", "zero", "junk.toml", "\udcffx.toml", f"l4:tdp={HUGE}")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    Path("few.csv").write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,9,2\n1,9,2\n")
    np.save("w.npy", np.ones((8, 16), int))
    np.save("x.npy", np.ones((2, 8), int))
    os.mkfifo("pipe.toml")
    Path("zero").symlink_to("/dev/zero")
    Path("junk.toml").write_bytes(b"\xff\x00\x1b[")
    assert CliRunner().invoke(main, ["sweep", *SMALL, "--wbits", "2,4", "--out", "study"]).exit_code == 0


def commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(words), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from commands(inner, (*words, name))


def with_values(name: str, command: click.Command) -> Iterator[list[str]]:
    """The command with each of its options and arguments at each value that suits its type."""
    given = ARGUMENTS.get(name, [])
    places = [param for param in command.params if isinstance(param, click.Argument)]
    for param in command.params:
        if isinstance(param, click.Option) and param.is_flag:
            continue
        kind = param.type
        values: Sequence[str] = TEXTS
        if isinstance(kind, click.Path):
            values = PATHS
        elif isinstance(kind, type(click.INT)):
            values = INTEGERS
        elif isinstance(kind, type(click.FLOAT)):
            values = FLOATS
        for value in values:
            if isinstance(param, click.Option):
                yield [*name.split(), *given, max(param.opts, key=len), value]
            else:
                at = places.index(param)
                yield [*name.split(), *given[:at], value, *given[at + 1 :]]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, _ in commands(main) if name not in ANSWERED])
def test_any_value_is_answered_or_one_sentence(name: str) -> None:
    (command,) = (each for named, each in commands(main) if named == name)
    for words in with_values(name, command):
        before = set(Path().iterdir())
        result = CliRunner().invoke(main, words)
        shown = [word.replace(HUGE, "HUGE") for word in words]
        assert result.exception is None or isinstance(result.exception, SystemExit), (shown, result.exception)
        assert "\x1b" not in result.output, shown
        if result.exit_code == 2:
            # A slow machine tells of progress before.
            said = [line for line in result.stderr.splitlines() if not line.startswith("points ")]
            assert len(said) == 1, (shown, result.stderr)
            assert set(Path().iterdir()) == before, shown
        else:
            assert result.exit_code in (0, 1), (shown, result.output)
