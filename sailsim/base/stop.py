"""A command that is told to stop: Ctrl-C and SIGTERM end it alike, with what is finished kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


class _Stop:
    """The handler of both signals: the first one raises, later ones are not heard."""

    told = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.told:
            self.told = True
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def stoppable(ends: bool = False) -> Iterator[None]:
    """Within this Ctrl-C raises KeyboardInterrupt and SIGTERM `Terminated`, once: whoever presses twice does
    not cut the putting away short. In threads beside the main one it changes nothing, nor within another.

    ends: whether the process ends with this: once told, it hears neither signal any more, so that a second
    one does not end it before it has said what it kept.
    """
    both = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or any(
        isinstance(signal.getsignal(number), _Stop) for number in both
    ):
        yield
        return
    stop = _Stop()
    before = {number: signal.signal(number, stop) for number in both}
    try:
        yield
    finally:
        if not (ends and stop.told):
            for number, handler in before.items():
                signal.signal(number, handler)
