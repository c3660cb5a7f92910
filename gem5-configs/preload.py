# SPDX-License-Identifier: BSD-3-Clause
"""Copies a file into simulated memory before a program starts, without simulated accesses.

gem5 fills the pages of a mapped file by functional accesses, each of which queries every cache: 70 MB take
minutes. Here simulated memory lies in a shared segment (`System.shared_backstore`). The file is copied into
it at the host's speed, and the process's page table gets its pages.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from m5.util.convert import toMemorySize

SEGMENTS = Path("/dev/shm")  # where Linux shows POSIX shared memory
SEGMENT = f"sailsim-gem5-{os.getpid()}"  # `Gem5` unlinks it if a run is stopped before `place`
# Virtual address of the file: above gem5's mappings for a program (from 0x4000000000 downwards), below the
# doorbells.
ADDRESS = 0x6000000000
STEP = 1 << 30  # most bytes of one copy, and of one mapping
GRAIN = 16 << 20  # granularity of memory's growth: whole rows of all channels
OWN = 256 << 20  # bytes that the program may need in addition to the file


class Preload(NamedTuple):
    """Placement of a file in memory, above the program's memory.

    Attributes:
        path: path of the file.
        start: physical address.
        size: bytes by which memory grows.
    """

    path: Path
    start: int
    size: int


def say(words):
    """Print a line, after a line break, as the program may have printed half a line."""
    print(f"\n{words}", flush=True)


def give_up(why):
    """End gem5 with a sentence; gem5 accepts only a number as a script's exit status."""
    say(f"sailsim-gem5: {why}")
    sys.exit(3)


def plan(path, memory):
    """Plan the placement of a file on a machine with this `memory`; ends gem5 if there is no room for it."""
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
    """Copy the file and map its pages into the process, after `m5.instantiate`; unlinks the segment."""
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
