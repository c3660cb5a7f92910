"""The help of a command has its options in sections, each once."""

import re

import click
import pytest

from sailsim.cli import main
from sailsim.cli.common.command import SECTIONS

from .commands import sailsim


@pytest.mark.parametrize("name", ["run", "sweep", "list"])
def test_options_stand_in_sections_each_once(name: str) -> None:
    shown = sailsim(name, "--help", columns=100).output
    heads = re.findall(r"^([A-Z][\w ]+):$", shown, re.MULTILINE)
    assert heads == (["Options"] if name == "list" else [*SECTIONS, "Options"])
    command = main.get_command(click.Context(main), name)
    assert command is not None
    listed = re.findall(r"^  (--[\w-]+)", shown, re.MULTILINE)
    assert sorted(listed) == sorted(param.opts[0] for param in command.params if param.opts[0][0] == "-")
