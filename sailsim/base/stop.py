"""A command that is told to stop: Ctrl-C, SIGTERM and SIGHUP end it alike, with what is finished kept."""

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
    """SIGTERM came, or SIGHUP: its terminal is gone."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class _Stop:
    """The handler of the signals: the first one raises, later ones are not heard."""

    told = 0
    """The number of the first one."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.told:
            self.told = number
            if number == signal.SIGHUP:
                _let_go_of_terminal()
            self.end()

    def end(self) -> NoReturn:
        raise KeyboardInterrupt if self.told == signal.SIGINT else Termination(self.told)


def heed() -> None:
    """Raise once more what a signal raised, if anything. Long work calls it from time to time.

    C code that tries whether something can be done (a cast, an attribute) drops any exception, this one too.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if isinstance(handler, _Stop) and handler.told:
        handler.end()


def _let_go_of_terminal() -> None:
    """Words for a terminal that is gone go nowhere: they would fail and cut the putting away short."""
    for descriptor in (1, 2):
        try:
            termios.tcgetattr(descriptor)
        except termios.error as error:
            if error.args[0] == errno.EIO:
                with Path(os.devnull).open("wb") as nowhere:
                    os.dup2(nowhere.fileno(), descriptor)


@contextmanager
def stoppable(ends: bool = False) -> Iterator[None]:
    """Within this Ctrl-C raises KeyboardInterrupt, SIGTERM and SIGHUP raise `Termination`, once: whoever
    presses twice does not cut the putting away short. In threads beside the main one it changes nothing, nor
    within another. SIGHUP stays ignored where it is, as nohup has it.

    ends: whether the process ends with this: once told, it hears none of the signals any more, so that a
    second one does not end it before it has said what it kept.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    if threading.current_thread() is not threading.main_thread() or any(
        isinstance(signal.getsignal(number), _Stop) for number in numbers
    ):
        yield
        return
    stop = _Stop()
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        if not (ends and stop.told):
            for number, handler in before.items():
                signal.signal(number, handler)
