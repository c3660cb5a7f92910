"""Options that every study has: who evaluates, and how its progress is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from sailsim.base.errors import SailsimError
from sailsim.base.progress import logged_as_json
from sailsim.cli._path import OUT_FILE, TEXT
from sailsim.sim.study.workers import Dask, ended

F = TypeVar("F", bound=Callable[..., Any])


def study_options(default: int | None = None) -> Callable[[F], F]:
    """`--jobs`, `--dask` and `--log-json`; the command is given `jobs`, processes or workers.

    ``default`` is how many processes there are where none of them is given; None: as many as cores.
    """
    by_default = "as many as cores" if default is None else str(default)
    options = (
        click.option(
            "--jobs", type=click.IntRange(1, 1024), help=f"Processes of this machine [default: {by_default}]."
        ),
        click.option(
            "--dask",
            type=TEXT,
            metavar="ADDRESS",
            help="Evaluate on a Dask scheduler's workers: tcp://HOST:8786.",
        ),
        click.option(
            "--log-json",
            type=OUT_FILE,
            help="Tell progress as a JSON object a line, into this file; - is standard error.",
        ),
    )

    def decorate(function: F) -> F:
        @wraps(function)
        def command(
            *args: Any, jobs: int | None, dask: str | None, log_json: Path | None, **kwargs: Any
        ) -> Any:
            if jobs is not None and dask is not None:
                raise SailsimError("--dask is given beside --jobs; allowed is one of them.")
            with _told(log_json), ExitStack() as stack:
                own = jobs or default or os.cpu_count() or 1
                who = own if dask is None else stack.enter_context(ended(Dask(dask)))
                return function(*args, jobs=who, **kwargs)

        for option in reversed(options):
            command = option(command)
        return command  # type: ignore[return-value]

    return decorate


@contextmanager
def _told(path: Path | None) -> Iterator[None]:
    """Progress as JSON lines, added to a file."""
    if path is None:
        yield
    elif str(path) == "-":
        with logged_as_json(sys.stderr):
            yield
    else:
        if not path.parent.is_dir():
            raise SailsimError(f"--log-json is {path}; allowed is a file in a folder that exists.")
        stream = _Late(path)
        try:
            with logged_as_json(stream):
                yield
        finally:
            stream.close()


class _Late:
    """A file to add to. One that there is not yet is made for its first line: not by a command that is
    refused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = self._opened() if path.exists() else None

    def _opened(self) -> TextIO:
        return open(self._path, "a", encoding="utf-8", opener=_without_waiting)

    def write(self, text: str) -> None:
        if self._stream is None:
            self._stream = self._opened()
        self._stream.write(text)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody reads is an error, where it would wait for a reader."""
    opened = os.open(path, flags | os.O_NONBLOCK, 0o666)
    os.set_blocking(opened, True)
    return opened
