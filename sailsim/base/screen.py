"""Terminals on which every text stands as it is: names and paths are anybody's, and may hold markup."""

from typing import Any

from rich.console import Console
from rich.text import Text

from sailsim.base.errors import escaped


class _Screen(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(escaped(text), **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # as of any other print; rich would end the process with status 1


def screen(*, stderr: bool = False) -> Console:
    """A console that takes no text for markup or for the name of a picture."""
    return _Screen(stderr=stderr, markup=False, emoji=False)
