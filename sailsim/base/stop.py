"""Orderly end of a command on Ctrl-C, SIGTERM or SIGHUP, with finished work kept."""

from __future__ import annotations

import errno
import os
import signal
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn


class Termination(KeyboardInterrupt):
    """Signal that ends the process: SIGTERM, or SIGHUP after a lost terminal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class _SignalHandler:
    """Signal handler that raises at the first signal and ignores later ones."""

    received = 0
    """Number of the first signal; 0 before it."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.received:
            self.received = number
            if number == signal.SIGHUP:
                _redirect_lost_terminal()
            self.end()

    def end(self) -> NoReturn:
        raise KeyboardInterrupt if self.received == signal.SIGINT else Termination(self.received)


def raise_if_stopped() -> None:
    """Raise the exception of an earlier signal again, if there was one. Long work calls it regularly.

    C code that tries an operation (a cast, an attribute) may have swallowed the first exception.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if isinstance(handler, _SignalHandler) and handler.received:
        handler.end()


def _redirect_lost_terminal() -> None:
    """Send output for a lost terminal to the null device: writes would fail and cut the clean-up short."""
    for descriptor in (1, 2):
        try:
            termios.tcgetattr(descriptor)
        except termios.error as error:
            if error.args[0] == errno.EIO:
                with Path(os.devnull).open("wb") as null:
                    os.dup2(null.fileno(), descriptor)


@contextmanager
def stoppable(ends: bool = False) -> Iterator[None]:
    """Context in which Ctrl-C raises KeyboardInterrupt, and SIGTERM and SIGHUP raise `Termination`, once.

    Later signals do not cut the clean-up short. The context changes nothing in other threads than the main
    one, nor inside another such context. SIGHUP stays ignored where it was, as under nohup.

    ends: whether the process ends with the context. After a signal the handlers then stay in place, so that
    a second signal does not end the process before its last message.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    if threading.current_thread() is not threading.main_thread() or any(
        isinstance(signal.getsignal(number), _SignalHandler) for number in numbers
    ):
        yield
        return
    stop = _SignalHandler()
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        if not (ends and stop.received):
            for number, handler in before.items():
                signal.signal(number, handler)
