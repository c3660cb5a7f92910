"""Terminals on which every text stands as it is: names and paths are anybody's, and may hold markup."""

from rich.console import Console


def screen(*, stderr: bool = False) -> Console:
    """A console that takes no text for markup or for the name of a picture."""
    return Console(stderr=stderr, markup=False, emoji=False)
