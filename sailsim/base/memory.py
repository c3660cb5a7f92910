"""What a long study does about memory: freed memory given back to the system, and no search for circles."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def no_search_for_circles() -> Iterator[None]:
    """Python does not search for objects that only know each other meanwhile.

    For work that leaves none behind: of a study of machines, whose steps make many objects and remember many,
    the search takes 8 % of the time and finds nothing.
    """
    searches = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searches:
            gc.enable()


def give_back() -> None:
    """Give back what glibc keeps between arrays that remain.

    The worker of a long study would grow to several times what it holds, and joblib replaces workers that
    grow. Machines leave no circles behind, so that nothing waits for a search.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
