"""Types of options: paths, and texts of a given form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from sailsim.base.errors import SailsimError


class PathOption(click.Path):
    """Path that is not empty; pathlib would take an empty text for the current folder."""

    def __init__(self, *, written: bool = False, **limits: bool) -> None:
        """Make a type; `written` says that the command writes the file, which it must not read too."""
        super().__init__(path_type=Path, **limits)
        self.written = written

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert as click does, but refuse an empty text."""
        if value == "":
            self.fail("'' is empty; allowed is a path.", param, ctx)
        return super().convert(value, param, ctx)


class FormattedText(click.ParamType):  # type: ignore[type-arg]  # generic only from click 8.4 on
    """A text of a form; another one is refused in one sentence."""

    name = "text"

    def __init__(self, form: str, allowed: str) -> None:
        """`allowed`: the form in words."""
        self.form, self.allowed = form, allowed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text as it is."""
        if param is None or re.fullmatch(self.form, value, re.ASCII):
            return str(value)
        raise SailsimError(f"{param.name} is {value!r}; allowed is {self.allowed}.")


TEXT = FormattedText("(?s:.+)", "a text that is not empty")
OUT_FILE = PathOption(written=True, dir_okay=False)
