"""The type of every option and argument that is a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class PathOption(click.Path):
    """A path that is not empty: pathlib would take the empty text for the current folder."""

    def __init__(self, **limits: bool) -> None:
        super().__init__(path_type=Path, **limits)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse the empty text, then do as click does."""
        if value == "":
            self.fail("'' is empty; allowed is a path.", param, ctx)
        return super().convert(value, param, ctx)
