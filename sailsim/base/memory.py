"""Memory that a process has freed, given back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Give back what glibc keeps between arrays that remain.

    The worker of a long study would grow to several times what it holds, and joblib replaces workers that
    grow. What a machine leaves behind is in no circle, so that Python has freed it by then: to search all
    that a worker remembers for circles would take 7 % of its time.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
