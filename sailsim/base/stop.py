"""A command that is told to stop: Ctrl-C and SIGTERM end it alike, with what is finished kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Within this SIGTERM raises `Terminated`, as Ctrl-C raises KeyboardInterrupt, so that a command ends in
    its own words. In threads beside the main one it changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
