# SPDX-License-Identifier: BSD-3-Clause
"""A file's bytes in simulated memory before a program starts, without a simulated access.

gem5 fills the pages of a mapped file by functional accesses, each of which asks every cache: 70 MB take
minutes. Here simulated memory lies in a segment that this script can write as well
(`System.shared_backstore`), so a file is copied as fast as the host copies, and the process's page table
gets its pages.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from m5.util.convert import toMemorySize

SEGMENTS = Path("/dev/shm")  # where Linux shows POSIX shared memory
SEGMENT = f"sailsim-gem5-{os.getpid()}"  # `Gem5` takes it away where a run is stopped before `place`
# Where the process sees the file: above what gem5 maps for a program (from 0x4000000000 downwards), below
# the doorbells.
ADDRESS = 0x6000000000
STEP = 1 << 30  # most bytes of one copy, and of one mapping
GRAIN = 16 << 20  # by which memory grows: whole rows of all channels
OWN = 256 << 20  # what the program may need beside the file


class Preload(NamedTuple):
    """A file that is to lie in memory, above what the program may use.

    Attributes:
        path: of the file.
        start: its physical address.
        size: what memory grows by.
    """

    path: Path
    start: int
    size: int


def say(words):
    """Print a line of its own: the program may have printed half of one."""
    print(f"\n{words}", flush=True)


def give_up(why):
    """End gem5 with a sentence. It takes nothing but a number as a script's exit status."""
    say(f"sailsim-gem5: {why}")
    sys.exit(3)


def plan(path, memory):
    """Where a file will lie on a machine of so much `memory`; ends gem5 where there is no room for it."""
    path = Path(path)
    try:
        length = path.stat().st_size
        free = os.statvfs(SEGMENTS)
    except OSError as error:
        give_up(f"{error.filename} cannot be read: {error.strerror}")
    size = -(-length // GRAIN) * GRAIN
    free_bytes = free.f_bavail * free.f_frsize
    if length + OWN > free_bytes:
        allowed = f"allowed to preload {path.name} are {length + OWN} or more"
        give_up(f"{SEGMENTS} has {free_bytes} bytes free; {allowed}")
    return Preload(path, toMemorySize(memory), size)


def place(file, process):
    """Copy the file and give the process its pages; after `m5.instantiate`. The segment loses its name."""
    segment = SEGMENTS / SEGMENT
    try:
        with file.path.open("rb") as source, segment.open("r+b") as memory:
            memory.seek(file.start)
            while piece := source.read(STEP):
                memory.write(piece)
    finally:
        segment.unlink(missing_ok=True)
    for offset in range(0, file.size, STEP):
        process.map(ADDRESS + offset, file.start + offset, min(STEP, file.size - offset), True)
