"""Command class with sections in its help and a check of the files that it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from sailsim.base.errors import SailsimError
from sailsim.cli.common.path_option import PathOption

F = TypeVar("F", bound=Callable[..., Any])


def applied(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Combine several options into one decorator, in their order."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


SECTIONS = {
    "Model and numbers": "model weights wbits abits group_size kv_bits seed activations",
    "Step": "phase prompt batch threads context beyond_limit overlap",
    "Machine": "system settings substrate nbw convert attention prt",
}
"""Sections of the help, with the options of a point in each; other options follow."""


class Command(click.Command):
    """Command that does not overwrite a file that it reads."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by `SECTIONS`."""
        rows: dict[str, list[tuple[str, str]]] = {title: [] for title in (*SECTIONS, "Options")}
        for param in self.get_params(ctx):
            title = next((t for t, names in SECTIONS.items() if str(param.name) in names.split()), "Options")
            if record := param.get_help_record(ctx):
                rows[title].append(record)
        for title, own in rows.items():
            if own:
                with formatter.section(title):
                    formatter.write_dl(own)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raises SailsimError if a file to write is another argument too."""
        for param in self.params:
            if isinstance(param.type, PathOption) and param.type.written:
                _check_written(ctx, param)
        return super().invoke(ctx)


def _check_written(ctx: click.Context, param: click.Parameter) -> None:
    """Raise SailsimError if an option names the same file as another argument."""
    path = ctx.params[str(param.name)]
    if path is None or not path.exists():
        return
    for other in ctx.command.params:
        if other is not param and any(
            _is_same(path, each) for each in _named(ctx.params.get(str(other.name)))
        ):
            raise SailsimError(
                f"{_word(param)} is {path}, which {_word(other)} names too; allowed is a file of its own, "
                "which the command does not read."
            )


def _named(value: Any) -> Iterator[str]:
    """Candidate paths in a value, which may be a list, or a path followed by settings."""
    if isinstance(value, tuple | list):
        for each in value:
            yield from _named(each)
    elif isinstance(value, str | Path):
        for word in {str(value), *str(value).split(",")}:
            yield word
            yield word.partition(":")[0]


def _is_same(path: Path, name: str) -> bool:
    with suppress(OSError, ValueError):
        return bool(name) and path.samefile(name)
    return False


def _word(param: click.Parameter) -> str:
    return param.opts[0] if isinstance(param, click.Option) else str(param.name).upper()
