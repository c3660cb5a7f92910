"""`sailsim completion`: what makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from sailsim.cli._command import Command

SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a SHELL: bash, zsh or fish.

    For bash: `sailsim completion bash > ~/.sailsim-complete.bash`, and a line `. ~/.sailsim-complete.bash` in
    ~/.bashrc; zsh likewise in ~/.zshrc; for fish into ~/.config/fish/completions/sailsim.fish.
    """
    from sailsim.cli import main

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "sailsim", "_SAILSIM_COMPLETE").source())
