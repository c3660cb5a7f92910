"""docs/commands.md from the commands' own help, so that the page cannot differ from it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from sailsim.cli import main

HEAD = """# Commands

Written by `sailsim docs --write commands` from `--help`; a test fails where the two differ. Bad input ends in
one sentence on standard error and exit status 2; 1 means that the command ran and the answer is no (a
product that differs, say).
"""


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every command below `command` with its help, 90 columns wide."""
    name = " ".join(("sailsim", *path))
    settings = {**main.context_settings, "max_content_width": 90, "terminal_width": 90}
    context = click.Context(command, info_name=name, color=False, **settings)
    yield name, command.get_help(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from commands(found, (*path, child))


def page() -> str:
    """The whole page."""
    parts = [f"## {name}\n\n```text\n{text}\n```\n" for name, text in commands(main)]
    return "\n".join([HEAD, *parts])
