"""Options of every study: the folder of results, the workers, and the log of progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from sailsim.base.errors import SailsimError
from sailsim.base.progress import logged_as_json
from sailsim.cli.common.command import F, applied
from sailsim.cli.common.json_output import as_json_option
from sailsim.cli.common.path_option import OUT_FILE, TEXT, PathOption
from sailsim.sim.study.workers import Dask

MOST = 1024
"""Most processes of this computer."""


def results_folder(default: str, noun: str) -> Callable[[F], F]:
    """Option `--out`: the folder of results, from which a stopped command continues."""
    words = f"Folder of results; {noun} that it holds are not simulated again."
    return click.option("--out", type=PathOption(file_okay=False), default=Path(default), help=words)


def study_options(default: int | None = None) -> Callable[[F], F]:
    """Options `--jobs` and `--log-json`; the command gets `jobs`, a number of processes or workers.

    ``default`` is the number of processes; None means as many as cores.
    """
    words = (
        "Processes of this computer, or the Dask scheduler of a cluster, as in tcp://HOST:8786 "
        f"[default: {default or 'as many as cores'}]."
    )
    log_words = "Write progress to this file, a JSON object a line; - is standard error."

    def decorate(function: F) -> Any:
        @wraps(function)
        def command(*args: Any, jobs: str | None, log_json: Path | None, **kwargs: Any) -> Any:
            text = jobs or str(default or os.cpu_count() or 1)
            is_number = text.isdecimal() and len(text) <= len(str(MOST)) and 1 <= int(text) <= MOST
            with _logged(log_json), ExitStack() as stack:
                workers = int(text) if is_number else stack.enter_context(Dask(text))
                return function(*args, jobs=workers, **kwargs)

        return command

    return applied(
        click.option("--jobs", type=TEXT, metavar="NUMBER|ADDRESS", help=words),
        click.option("--log-json", type=OUT_FILE, help=log_words),
        decorate,
    )


@contextmanager
def _logged(path: Path | None) -> Iterator[None]:
    """Append progress as JSON lines to a file; a command without progress leaves no new file."""
    if path is None:
        yield
    elif str(path) == "-":
        with logged_as_json(sys.stderr):
            yield
    else:
        if not path.parent.is_dir():
            raise SailsimError(f"--log-json is {path}; allowed is a file in a folder that exists.")
        is_new = not path.exists()
        try:
            with open(path, "a", encoding="utf-8", opener=_without_waiting) as log, logged_as_json(log):
                yield
        finally:
            if is_new and path.stat().st_size == 0:
                path.unlink()


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe without a reader is an error instead of a wait."""
    opened = os.open(path, flags | os.O_NONBLOCK, 0o666)
    os.set_blocking(opened, True)
    return opened


def machine_study_options(folder: str, samples: int, words: str) -> Callable[[F], F]:
    """Options of a study of many machines: folder, number of machines, seed, and workers."""
    return applied(
        results_folder(f"out/{folder}", "machines"),
        click.option("--samples", type=int, default=samples, help=words),
        click.option("--seed", default=0, help="Seed of all draws."),
        study_options(),
        as_json_option,
    )
