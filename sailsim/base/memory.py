"""Memory of long studies: garbage collection paused, freed memory returned to the operating system."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause Python's cyclic garbage collector.

    Studies of systems create and keep many objects but no cycles. The collector would take 8 % of their time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def trim_heap() -> None:
    """Return free heap memory that glibc still holds to the operating system.

    A long study's worker would otherwise grow to several times its live data, and joblib replaces workers
    that grow.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
