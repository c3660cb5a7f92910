"""Every command explains itself, every option too."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from sailsim.cli import main


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
    if name in ("systems schema", "systems unit", "gem5 extras-path", "gem5 machine"):
        pytest.skip("its only output is one document, or one path")
    assert any("--json" in parameter.opts for parameter in COMMANDS[name].params)


def test_an_unknown_command_ends_with_status_2() -> None:
    result = CliRunner().invoke(main, ["sail"])
    assert result.exit_code == 2
    assert "sail" in result.stderr
