"""Progress of long commands: a bar on a terminal, lines elsewhere, JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from sailsim.base.errors import escaped
from sailsim.base.stop import raise_if_stopped

QUIET_SECONDS = 5.0
"""Least time between two progress lines where there is no terminal, in seconds."""
T = TypeVar("T")


_LOG: ContextVar[TextIO | None] = ContextVar("log_json", default=None)


@contextmanager
def logged_as_json(stream: TextIO) -> Iterator[None]:
    """Context in which progress goes to a stream as one JSON object a line (docs/studies.md)."""
    token = _LOG.set(stream)
    try:
        yield
    finally:
        _LOG.reset(token)


class ProgressReport:
    """Progress of a command over ``total`` items, called ``what``.

    `resumed` items were there at the start; `done` ones were finished since. The report goes to standard
    error as a bar or lines, to the stream of `logged_as_json` as objects, or nowhere.
    """

    def __init__(
        self,
        total: int,
        what: str = "points",
        wanted: bool = True,
        bar: Progress | None = None,
        short: bool = False,
    ) -> None:
        """`short`: whether the work may end at once, so that its end alone is not reported."""
        self.total, self.what = total, what
        self.resumed = self.done = self.failed = self.workers = 0
        self._began = self._last = time.monotonic()
        self._stream, self._wanted, self._bar, self._short = _LOG.get(), wanted, bar, short
        if self._stream:
            self._log("started")
        elif bar:
            bar.add_task(what, total=total, words="")

    @property
    def rate(self) -> float:
        """Items finished a second since the start."""
        past = time.monotonic() - self._began
        return self.done / past if past > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end at the rate so far; None while nothing is done."""
        rate = self.rate
        return (self.total - self.resumed - self.done) / rate if rate > 0 else None

    def advance(self, count: int, failed: int = 0) -> None:
        """Count items as done; ``failed`` of them have no result."""
        self.done += count
        self.failed += failed
        self._show()

    def resume(self, count: int) -> None:
        """Count items that were there at the start."""
        self.resumed += count
        if count:
            self._show()

    def note(self, event: str, **more: Any) -> None:
        """Report an event that is not progress, such as a lost worker."""
        if self._stream:
            self._log(event, **more)
        elif self._wanted:
            line = ", ".join([f"{self.what}: {event}", *(f"{name} {value}" for name, value in more.items())])
            self._print(line)

    def _show(self) -> None:
        at, now = self.resumed + self.done, time.monotonic()
        failed = f", {self.failed} without a result" if self.failed else ""
        workers = f", {self.workers} workers" if self.workers > 1 else ""
        words = f"{self.rate:.3g}/s{failed}{workers}"
        if self._stream:
            self._log("progress" if at < self.total else "done")
        elif self._bar:
            self._bar.update(self._bar.task_ids[0], completed=at, words=words)
        elif self._wanted and (now - self._last >= QUIET_SECONDS or (at == self.total and not self._short)):
            self._last = now
            left = f"about {self.seconds_left or 0:.0f} s left"
            self._print(f"{self.what} {at}/{self.total}, {left}, {words}")

    def _print(self, line: str) -> None:
        if self._bar:
            self._bar.print(Text(escaped(line)))
        else:
            print(escaped(line), file=sys.stderr, flush=True)

    def _log(self, event: str, **more: Any) -> None:
        at = {
            "event": event,
            "time": time.time(),
            "what": self.what,
            "done": self.resumed + self.done,
            "total": self.total,
            "held_before": self.resumed,
            "failed": self.failed,
            "workers": self.workers,
            "rate_per_s": self.rate,
            "seconds_left": self.seconds_left,
        }
        assert self._stream
        self._stream.write(json.dumps(at | more) + "\n")
        self._stream.flush()


def with_progress(
    things: Iterable[T], what: str, wanted: bool = True, total: int | None = None
) -> Iterator[T]:
    """Yield the items of ``things``, with progress on standard error if ``wanted`` and if it takes long.

    ``total`` is their number where ``things`` has no length.
    """
    if not wanted:
        yield from things
        return
    if total is None:
        things = list(things)
        total = len(things)
    with progress_report(total, wanted, what, short=True) as report:
        for thing in things:
            yield thing
            report.advance(1)
            raise_if_stopped()


@contextmanager
def progress_report(
    total: int, wanted: bool, what: str = "points", short: bool = False
) -> Iterator[ProgressReport]:
    """Progress report on standard error, which the caller advances.

    ``short`` as in `ProgressReport`; the bar of short work disappears at its end.
    """
    console = Console(stderr=True, markup=False, emoji=False)
    if _LOG.get() or not wanted or not console.is_terminal:
        yield ProgressReport(total, what, wanted, short=short)
        return
    name, words = (TextColumn(each, markup=False) for each in ("{task.description}", "{task.fields[words]}"))
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), words)
    with Progress(*columns, console=console, transient=short) as bar:
        yield ProgressReport(total, what, bar=bar, short=short)
