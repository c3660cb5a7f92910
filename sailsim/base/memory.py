"""Memory that a process has freed, given back to the system."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress


def give_back() -> None:
    """Let go of what nothing asks for any more, which may take some tenths of a second.

    Units of a machine and the tiles that they have timed know each other, so that Python frees them only when
    it looks for such circles, which is seldom; and glibc keeps what lies between arrays that remain. The
    worker of a long study would grow by both to several times what it holds, and joblib replaces workers that
    grow.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
