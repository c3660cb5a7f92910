"""How far a long command is: a bar on a terminal, lines elsewhere, JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from sailsim.base.errors import escaped
from sailsim.base.screen import screen

QUIET_SECONDS = 5.0
"""Between two lines of progress where there is no terminal."""
PATIENT_SECONDS = 2.0
"""Before something that is usually over at once says how far it is."""

T = TypeVar("T")


class Log(Protocol):
    """What lines of JSON are written to: a stream."""

    def write(self, text: str, /) -> object:
        """Add a line."""

    def flush(self) -> object:
        """Let others see it."""


_LOG: ContextVar[Log | None] = ContextVar("log_json", default=None)


@contextmanager
def logged_as_json(stream: Log) -> Iterator[None]:
    """Within this, progress is a JSON object a line on a stream instead of words: `event` and what belongs to
    it (docs/studies.md)."""
    token = _LOG.set(stream)
    try:
        yield
    finally:
        _LOG.reset(token)


class Report:
    """Of `total` things, `what` they are called, some are `held` from before and some `done` since."""

    def __init__(self, total: int, what: str = "points") -> None:
        self.total, self.what = total, what
        self.held = self.done = 0
        self.failed = 0
        self.workers = 0
        self._began = time.monotonic()

    @property
    def rate(self) -> float:
        """Things a second since the start; 0 while nothing is done."""
        past = time.monotonic() - self._began
        return self.done / past if past > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """As the rate so far says; None while nothing is done."""
        rate = self.rate
        return (self.total - self.held - self.done) / rate if rate > 0 else None

    def advance(self, count: int, failed: int = 0) -> None:
        """So many more are done, of which some have no result."""
        self.done += count
        self.failed += failed
        self._show()

    def hold(self, count: int) -> None:
        """So many are there from before."""
        self.held += count
        if count:
            self._show()

    def note(self, event: str, **what: Any) -> None:
        """Something happened that is not progress, such as a worker that was lost."""

    def _show(self) -> None: ...

    @property
    def _words(self) -> str:
        failed = f", {self.failed} without a result" if self.failed else ""
        workers = f", {self.workers} workers" if self.workers > 1 else ""
        return f"{self.rate:.3g}/s{failed}{workers}"


class _Quiet(Report):
    pass


class _Lines(Report):
    tells_end = True

    def __init__(self, total: int, what: str = "points") -> None:
        super().__init__(total, what)
        self._last = time.monotonic()

    def _show(self) -> None:
        present = time.monotonic()
        at = self.held + self.done
        if present - self._last >= QUIET_SECONDS or (at == self.total and self.tells_end):
            self._last = present
            left = self.seconds_left or 0.0
            self._print(f"{self.what} {at}/{self.total}, about {left:.0f} s left, {self._words}")

    def note(self, event: str, **what: Any) -> None:
        self._print(f"{self.what}: {event}" + "".join(f", {name} {value}" for name, value in what.items()))

    @staticmethod
    def _print(line: str) -> None:
        print(escaped(line), file=sys.stderr, flush=True)


class _Later(_Lines):
    """Lines of what may be over before anybody asks."""

    tells_end = False


class _Json(Report):
    def __init__(self, stream: Log, total: int, what: str = "points") -> None:
        super().__init__(total, what)
        self._stream = stream
        self._write("started")

    def _show(self) -> None:
        self._write("progress" if self.held + self.done < self.total else "done")

    def note(self, event: str, **what: Any) -> None:
        self._write(event, **what)

    def _write(self, event: str, **more: Any) -> None:
        at = {
            "event": event,
            "time": time.time(),
            "what": self.what,
            "done": self.held + self.done,
            "total": self.total,
            "held_before": self.held,
            "failed": self.failed,
            "workers": self.workers,
            "rate_per_s": self.rate,
            "seconds_left": self.seconds_left,
        }
        self._stream.write(json.dumps(at | more) + "\n")
        self._stream.flush()


class _Bar(Report):
    def __init__(self, bar: Progress, total: int, what: str = "points") -> None:
        super().__init__(total, what)
        self._bar = bar
        self._task = bar.add_task(what, total=total, completed=0, words="")

    def _show(self) -> None:
        self._bar.update(self._task, completed=self.held + self.done, words=self._words)

    def note(self, event: str, **what: Any) -> None:
        self._bar.print(f"{event}" + "".join(f", {name} {value}" for name, value in what.items()))


def followed(things: Iterable[T], what: str, wanted: bool = True, total: int | None = None) -> Iterator[T]:
    """The same things one after another; if wanted with progress on standard error, once it takes more than a
    moment. `total`: how many there are, where ``things`` has no length.
    """
    if not wanted:
        yield from things
        return
    if total is None:
        things = list(things)
        total = len(things)
    stream, console = _LOG.get(), screen(stderr=True)
    if stream is None and console.is_terminal:
        with Progress(*_columns(), console=console, transient=True, disable=True) as bar:
            began = time.monotonic()
            shown = _Bar(bar, total, what)
            for thing in things:
                yield thing
                if bar.disable and time.monotonic() - began >= PATIENT_SECONDS:
                    bar.disable = False
                    bar.start()
                shown.advance(1)
        return
    report: Report = _Json(stream, total, what) if stream is not None else _Later(total, what)
    for thing in things:
        yield thing
        report.advance(1)


@contextmanager
def reporter(total: int, wanted: bool, what: str = "points") -> Iterator[Report]:
    """Progress on standard error; the caller is given whom to tell what is done."""
    stream = _LOG.get()
    if stream is not None:
        yield _Json(stream, total, what)
        return
    if not wanted:
        yield _Quiet(total, what)
        return
    console = screen(stderr=True)
    if not console.is_terminal:
        yield _Lines(total, what)
        return
    with Progress(*_columns(), console=console) as bar:
        yield _Bar(bar, total, what)


def _columns() -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}", markup=False),
    )
