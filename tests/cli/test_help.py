"""Every command explains itself, every option too."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sailsim.cli import main
from sailsim.cli._point import DEFAULTS


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, (*path, name))


COMMANDS = dict(walk(main))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_a_help_text(name: str) -> None:
    command = COMMANDS[name]
    assert command.help, name
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


@pytest.mark.parametrize("name", [n for n, c in COMMANDS.items() if not isinstance(c, click.Group)])
def test_every_command_takes_json(name: str) -> None:
    if name == "gem5 machine":
        pytest.skip("its only output is one document, or one path")
    assert any("--json" in parameter.opts for parameter in COMMANDS[name].params)


def test_a_price_file_says_that_it_stands_alone_wherever_it_is_taken() -> None:
    told = {
        name: " ".join(CliRunner().invoke(main, [*name.split(), "--help"]).output.split())
        for name, command in COMMANDS.items()
        if any("--prices" in parameter.opts for parameter in command.params)
    }
    assert {"run", "report"} <= set(told)
    for name, text in told.items():
        assert "in the place of the shipped one, whole: what it does not name has no price." in text, name


def test_an_unknown_command_ends_with_status_2() -> None:
    result = CliRunner().invoke(main, ["sail"])
    assert result.exit_code == 2
    assert "sail" in result.stderr


def test_the_list_of_commands_imports_none_and_fits_80_columns() -> None:
    code = "import sys; from click.testing import CliRunner; from sailsim.cli import main; "
    code += "print(CliRunner().invoke(main, ['--help']).output); "
    code += "heavy = ('sailsim.sim', 'numpy', 'pandas'); "
    code += "print('modules', *sorted(name for name in sys.modules if name.startswith(heavy)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *lines, modules = done.stdout.rstrip("\n").split("\n")
    assert modules == "modules"
    listed = [line.split()[0] for line in lines if re.match(r"  [a-z]", line)]
    assert set(main.list_commands(click.Context(main))) <= set(listed)
    assert max(map(len, lines)) <= 80
    assert not any(line.endswith("...") for line in lines if line.startswith("  "))


def test_completion_offers_commands_and_choices() -> None:
    def offered(words: str, count: int) -> set[str]:
        asked = {"_SAILSIM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)}
        command = [str(Path(sys.executable).parent / "sailsim")]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | asked, check=False)
        return {line.partition(",")[2] for line in done.stdout.split()}

    assert offered("sailsim re", 1) == {"results", "report", "replay"}
    assert offered("sailsim run --phase ", 3) == {"decode", "prefill"}
    assert offered("sailsim run --convert u", 3) == {"unit"}
    assert offered("sailsim run --model llama-2", 3) >= {"llama-2-7b", "llama-2-13b"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_short_help_says_defaults_and_choices(name: str) -> None:
    shown = CliRunner().invoke(main, [*name.split(), "-h"], env={"COLUMNS": "100"})
    assert shown.exit_code == 0
    text = " ".join(shown.output.split())
    for option in COMMANDS[name].params:
        if not isinstance(option, click.Option):
            continue
        if isinstance(option.type, click.Choice):
            assert all(choice in text for choice in option.type.choices), option.name
        if isinstance(option.default, str | int | float | Path) and option.default and not option.is_flag:
            assert option.show_default or "default" in (option.help or ""), option.name
        if option.name in DEFAULTS and name in ("run", "sweep", "claims explore"):
            assert "default" in (option.help or "") or option.show_default, option.name
