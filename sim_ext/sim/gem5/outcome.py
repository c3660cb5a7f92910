"""What came of a run of gem5: its statistics, its output, and why it may have stopped."""

from __future__ import annotations

import csv
import json
import math
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sailsim.base.errors import SailsimError

_GOOD_ENDS = (
    "sailsim-gem5: exiting with last active thread context",
    "sailsim-gem5: instructions of --stop-after",
    "sailsim-gem5: replay done",
)

BASIC_BLOCK_VECTORS = "simpoint.bb"
"""Of a run with `--simpoint-interval`: a line an interval, of ``:block:instructions`` for every block."""

_OURS = re.compile(
    r"(?<=[^\n])(?=sailsim-gem5: \w|measured part (?:begins|ends) after [\d.]+ s|checkpoint at \d+ ps in )"
)
"""Where a line that our scripts print begins behind something else: a program ended without a new line."""

_SPENT = re.compile(r"^measured part (begins|ends) after ([\d.]+) s of processor time$", re.MULTILINE)
_CHECKPOINT = re.compile(r"^checkpoint at \d+ ps in (.+)$", re.MULTILINE)
"""What run_program.py prints, as `_SPENT`."""

_TOTALS: tuple[tuple[re.Pattern[str], str, Callable[[Iterable[float]], float]], ...] = (
    (re.compile(r"simInsts"), "instructions", sum),
    (re.compile(r"system\.cpus\d*\.numCycles"), "core_cycles", max),
    (re.compile(r"system\.memory\d*\.dram\.bytes(Read|Written)::total"), "dram_bytes{}", sum),
    (re.compile(r"system\.units\d*\.(?!queueLength|heldStores|prtHitRate)(\w+)"), "unit_{}", sum),
    (re.compile(r"system\.units\d*\.stageTicks::(\w+)"), "unit_{}Ticks", sum),
)
"""Statistics that `Gem5Run.totals` keeps: names in gem5, the name of the total, how they are put together."""


@dataclass(frozen=True)
class Gem5Run:
    """What came of one run of gem5.

    Attributes:
        status: gem5's exit status; 0 is good.
        output: standard output and error of gem5 and of the program in it.
        ticks: simulated picoseconds at the end.
        host_s: wall seconds of the run.
        stats: statistics by their full name, for example ``system.units00.buildCycles``.
        folder: gem5's output directory.
    """

    status: int
    output: str
    ticks: int
    host_s: float
    stats: dict[str, float]
    folder: Path

    @property
    def json_lines(self) -> list[dict[str, Any]]:
        """What the program printed as JSON, one object a line; other lines may begin with a brace too."""
        return list(_json_objects(self.output))

    @property
    def spent_s(self) -> dict[str, float]:
        """Processor seconds of gem5 when the program's measured part begins and ends, by these words."""
        return {word: float(seconds) for word, seconds in _SPENT.findall(self.output)}

    def unit_stat(self, unit: int, name: str) -> float:
        """A PIM unit's statistic. gem5 pads a unit's number with zeros, and a single unit has none."""
        alone = (f"system.units.{name}",) if unit == 0 else ()
        for full in (f"system.units{unit}.{name}", f"system.units{unit:02d}.{name}", *alone):
            if full in self.stats:
                return self.stats[full]
        raise SailsimError(f"statistic {name!r} of unit {unit} is not in {self.folder / 'stats.txt'}.")

    @property
    def checkpoints(self) -> list[Path]:
        """Folders of the checkpoints that the run wrote, by their time."""
        return [Path(folder) for folder in _CHECKPOINT.findall(self.output)]

    @property
    def basic_block_vectors(self) -> int:
        """How many intervals a run with `--simpoint-interval` has profiled; 0 without one."""
        path = self.folder / BASIC_BLOCK_VECTORS
        return path.read_text().count("\n") if path.is_file() else 0

    def totals(self) -> dict[str, float]:
        """What a stored result keeps of the statistics.

        Instructions; cycles of the core that took most; bytes over DRAM; and of the PIM units every count,
        time and byte, summed over the units: ``unit_buildCycles`` and so on.
        """
        found: dict[str, float] = {}
        for full, value in self.stats.items():
            for pattern, name, combine in _TOTALS:
                match = pattern.fullmatch(full)
                if match and not math.isnan(value):
                    key = name.format(*match.groups())
                    found[key] = combine((found[key], value)) if key in found else value
        return found

    def tiles(self) -> list[dict[str, int]]:
        """One row a descriptor of a replayed trace, in the trace's order; times in ps and unit cycles."""
        with (self.folder / "tiles.csv").open(newline="") as file:
            return [{key: int(value) for key, value in row.items()} for row in csv.DictReader(file)]


def _json_objects(output: str) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        if line.startswith("{"):
            with suppress(ValueError, RecursionError):
                yield json.loads(line)


def complete(stats: Path) -> bool:
    """Whether the last dump of a statistics file is there to its end."""
    try:
        last = stats.read_text(errors="replace").rpartition("Begin Simulation Statistics")[2]
    except OSError:
        return False
    return "End Simulation Statistics" in last


def in_lines(output: str) -> str:
    """What gem5 and the program in it printed, each line of our scripts in a line of its own."""
    return _OURS.sub("\n", output)


def last_tick(output: str) -> int | None:
    """From the line that our scripts print at the end; None where what was to be run did not end."""
    for line in reversed(output.splitlines()):
        if line.startswith(_GOOD_ENDS) and " at " in line:
            return int(line.split(" at ")[1].split()[0])
    return None


def reason_of(output: str, status: int) -> str:
    """Why gem5 stopped, in a few words, from what it printed and its exit status."""
    marks = ("fatal: ", "panic: ", "error: ", "Error: ", "sailsim-gem5: ")
    for line in output.splitlines():
        for mark in marks:
            if mark in line:
                return line.split(mark, 1)[1].strip()[:200]
    if status < 0:
        name = signal.Signals(-status).name
        return f"ended by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    return f"exit status {status}"


def read_stats(path: Path) -> dict[str, float]:
    """The last dump of a statistics file: plain numbers by name; distributions and text are left out."""
    dumps = read_dumps(path)
    return dumps[-1] if dumps else {}


def read_dumps(path: Path) -> list[dict[str, float]]:
    """All dumps of a statistics file, as `read_stats` gives the last."""
    try:
        text = path.read_text()
    except OSError:
        return []
    return [dict(_numbers(dump)) for dump in text.split("Begin Simulation Statistics")[1:]]


def _numbers(dump: str) -> Iterator[tuple[str, float]]:
    for line in dump.splitlines():
        fields = line.split(maxsplit=2)
        if len(fields) >= 2 and not line.startswith("-"):
            with suppress(ValueError):
                yield fields[0], float(fields[1])
