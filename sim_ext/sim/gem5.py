"""gem5 with sailsim's module: finding it, running programs and traces on it, reading its statistics.

gem5 itself is no part of sailsim. The user builds stock gem5 with EXTRAS set to `extras_path()` and names the
binary by ``--gem5`` or the variable SAILSIM_GEM5.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import sailsim
from sailsim.base.errors import SailsimError
from sailsim.sim.provenance import code_version, commit
from sailsim.sim.store import Store, now
from sailsim.sim.system import System

VARIABLE = "SAILSIM_GEM5"
CPU_MODELS = ("atomic", "timing", "minor", "o3")
_FULL_DISK = 1 << 20
"""Bytes of free disk below which a failed run is put down to the disk."""
_GOOD_ENDS = ("sailsim-gem5: exiting with last active thread context", "sailsim-gem5: replay done")
_HOW_TO_BUILD = "build gem5 v24.0 for ARM with EXTRAS=$(sailsim gem5 extras-path), see docs/gem5.md"


def _part(installed: str, checkout: str, proof: str) -> Path:
    """A folder that a wheel carries inside the package and a checkout has at its top."""
    package = Path(sailsim.__file__).resolve().parent
    for folder in (package / "_gem5" / installed, package.parent / checkout):
        if (folder / proof).exists():
            return folder
    raise SailsimError(f"folder {checkout} is missing from this installation; install sailsim again.")


def extras_path() -> Path:
    """The folder that gem5's build takes as EXTRAS."""
    return _part("sim_ext", "sim_ext", "gem5/SConscript")


def configs_path() -> Path:
    """The folder of the scripts that gem5 runs."""
    return _part("configs", "gem5-configs", "machine.py")


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
        """What the program printed as JSON, one object a line."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    def unit_stat(self, unit: int, name: str) -> float:
        """A PIM unit's statistic. gem5 pads a unit's number with zeros, and a single unit has none."""
        alone = (f"system.units.{name}",) if unit == 0 else ()
        for full in (f"system.units{unit}.{name}", f"system.units{unit:02d}.{name}", *alone):
            if full in self.stats:
                return self.stats[full]
        raise SailsimError(f"statistic {name!r} of unit {unit} is not in {self.folder / 'stats.txt'}.")

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


class Gem5:
    """A gem5 binary that has the module."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        """Look the binary up and ask it for the module.

        Args:
            path: of the binary; default: the variable SAILSIM_GEM5.

        Raises:
            SailsimError: no binary, one that does not run, or one without the module.
        """
        named = path or os.environ.get(VARIABLE)
        if not named:
            raise SailsimError(f"no gem5 is named: set {VARIABLE} or --gem5; {_HOW_TO_BUILD}.")
        self.path = Path(named).resolve()
        why = _not_runnable(self.path)
        if why:
            raise SailsimError(
                f"gem5 is {named}, which is no program that can be run ({why}); {_HOW_TO_BUILD}."
            )
        found = self._ask()
        if not found.get("sailsim_module"):
            raise SailsimError(f"gem5 at {named} has no sailsim module; {_HOW_TO_BUILD}.")
        self.version = str(found["version"])
        self.compiled = str(found["compiled"])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the binary: another build may simulate otherwise."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _ask(self) -> dict[str, Any]:
        try:
            with tempfile.TemporaryDirectory() as folder:
                script = configs_path() / "check_module.py"
                answer = subprocess.run(
                    [str(self.path), "-q", "-d", folder, str(script)],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=120,
                )
            lines = [line for line in answer.stdout.splitlines() if line.startswith("{")]
            found = json.loads(lines[-1])
            assert isinstance(found, dict)
        except OSError as error:
            raise SailsimError(
                f"gem5 is {self.path}, which is no program that can be run ({error.strerror}); "
                f"{_HOW_TO_BUILD}."
            ) from None
        except (subprocess.TimeoutExpired, IndexError, ValueError):
            raise SailsimError(
                f"gem5 is {self.path}, which does not answer as gem5 does; {_HOW_TO_BUILD}."
            ) from None
        return found

    def replay(
        self,
        system: System,
        trace: Path,
        folder: Path,
        *,
        units: int | None = None,
        window: int = 0,
        streams: int = 0,
        stream_gb_s: float = 4.0,
        timeout_s: float = 3600,
        extra: Sequence[str] = (),
        debug: str | None = None,
    ) -> Gem5Run:
        """Replay a trace on the system's PIM units, without cores.

        Args:
            system: with PIM units.
            trace: file of descriptors.
            folder: gem5's output directory; created.
            units: PIM units; default one a slice.
            window: descriptors under way at most, over all units; 0 is no limit.
            streams: readers beside the replay, each asking for `stream_gb_s` of memory.
            timeout_s: wall seconds after which gem5 is stopped.
            extra: further arguments of replay_trace.py.
            debug: debug flags of gem5 whose output goes to ``debug.txt`` in the folder.

        Raises:
            SailsimError: gem5 stopped before the end, or took longer than `timeout_s`.
        """
        arguments = ["--trace", str(trace), "--window", str(window), *extra]
        if units is not None:
            arguments += ["--units", str(units)]
        if streams:
            arguments += ["--stream", str(streams), "--stream-gb-s", str(stream_gb_s)]
        return self._run("replay_trace.py", system, arguments, folder, timeout_s, good=(0, 1), debug=debug)

    def run(
        self,
        system: System,
        program: Sequence[str],
        folder: Path,
        *,
        cpu: str = "o3",
        cores: int = 1,
        pim: bool = True,
        timeout_s: float = 3600,
        extra: Sequence[str] = (),
    ) -> Gem5Run:
        """Run an AArch64 program on the system's cores.

        Args:
            program: the program and its arguments.
            cpu: one of `CPU_MODELS`.
            cores: how many; a thread of the program takes one.
            pim: False for the same machine without PIM units.
            timeout_s: wall seconds after which gem5 is stopped.
            extra: further arguments of run_program.py.

        Raises:
            SailsimError: a bad argument, gem5 stopped before the program's end, or took too long.
        """
        if cpu not in CPU_MODELS:
            raise SailsimError(f"cpu is {cpu!r}; allowed are {', '.join(CPU_MODELS)}.")
        if not 1 <= cores <= 64:
            raise SailsimError(f"cores is {cores}; allowed are 1..64.")
        if not Path(program[0]).is_file():
            raise SailsimError(
                f"program is {program[0]}, which is no file; make kernels builds those that ship."
            )
        arguments = ["--cpu", cpu, "--cores", str(cores), *([] if pim else ["--no-pim"])]
        arguments += [*extra, "--", *program]
        return self._run("run_program.py", system, arguments, folder, timeout_s, good=None)

    def _run(
        self,
        script: str,
        system: System,
        arguments: Sequence[str],
        folder: Path,
        timeout_s: float,
        good: tuple[int, ...] | None,
        debug: str | None = None,
    ) -> Gem5Run:
        if not timeout_s > 0:
            raise SailsimError(f"timeout is {timeout_s:g}; allowed are more than 0 seconds.")
        flags = [f"--debug-flags={debug}", "--debug-file=debug.txt"] if debug else []
        machine, log, stats = folder / "machine.json", folder / "gem5.log", folder / "stats.txt"
        command = [str(self.path), "-q", *flags, "-d", str(folder), str(configs_path() / script)]
        command += ["--system", str(machine), *arguments]
        started = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stats.unlink(missing_ok=True)  # an earlier run's
            machine.write_text(machine_json(system))
            with (folder / ".lock").open("w") as lock, log.open("w") as sink:
                _take(lock, folder)
                status = _execute(command, sink, lock, timeout_s, log)
        except OSError as error:
            raise SailsimError(f"folder {folder} cannot be written: {error.strerror}.") from None
        host_s = time.monotonic() - started
        output = log.read_text(errors="replace")
        ticks = _last_tick(output)
        why = ""
        if ticks is None or (good is not None and status not in good):
            why = _reason(output, status)
        elif not _complete(stats):
            why = "its statistics are not complete"
        if why:
            if shutil.disk_usage(folder).free < _FULL_DISK or "No space left on device" in output:
                why = "no space left on the disk"
            raise SailsimError(f"gem5 stopped before the end ({why}); its output is in {log}.")
        assert ticks is not None
        return Gem5Run(status, output, ticks, host_s, read_stats(stats), folder)


def gem5_unit(system: System, **overrides: Any) -> str:
    """A PIM unit of gem5 in the text form; raises as `System.unit_text`.

    A descriptor is one slice's tile, and a unit scales in memory whenever a descriptor asks for it.
    """
    return system.unit_text(slices=1, convert_in_memory=True, **overrides)


def machine_json(system: System) -> str:
    """A machine as gem5's scripts read it: its file's sections, and its PIM unit in the text form."""
    content = system.model_dump(mode="json")
    if system.pim is not None:
        content["unit"] = gem5_unit(system)
    return json.dumps(content)


def _not_runnable(path: Path) -> str:
    """Why a path cannot be run, in a few words; empty if it can."""
    if not path.exists():
        return "there is no such file"
    if not path.is_file():
        return "it is no file"
    return "" if os.access(path, os.X_OK) else "it is not executable"


def _take(lock: Any, folder: Path) -> None:
    """Hold the folder of a run. gem5 inherits the lock, so that one which outlived its sailsim keeps it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SailsimError(
            f"folder {folder} is in use by a gem5 that still runs; wait for its end, or end it."
        ) from None


def _execute(command: Sequence[str], sink: Any, lock: Any, timeout_s: float, log: Path) -> int:
    """Run gem5 to its end and return its exit status; whatever ends the wait ends gem5 and its children."""
    gem5 = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=(lock.fileno(),),
    )
    try:
        return gem5.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise SailsimError(f"gem5 took longer than {timeout_s:g} s; its output is in {log}.") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(gem5.pid, signal.SIGKILL)
        gem5.wait()


def _complete(stats: Path) -> bool:
    """Whether the last dump of a statistics file is there to its end."""
    try:
        last = stats.read_text(errors="replace").rpartition("Begin Simulation Statistics")[2]
    except OSError:
        return False
    return "End Simulation Statistics" in last


def _last_tick(output: str) -> int | None:
    """From the line that our scripts print at the end; None where what was to be run did not end."""
    for line in reversed(output.splitlines()):
        if line.startswith(_GOOD_ENDS) and " at " in line:
            return int(line.split(" at ")[1].split()[0])
    return None


def _reason(output: str, status: int) -> str:
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
    found: dict[str, float] = {}
    for name, value in _stat_lines(path):
        try:
            found[name] = float(value)
        except ValueError:
            continue
    return found


def _stat_lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text()
    except OSError:
        return
    for line in text.rpartition("Begin Simulation Statistics")[2].splitlines():
        fields = line.split()
        if len(fields) >= 2 and not line.startswith("-"):
            yield fields[0], fields[1]


def scripts_digest() -> str:
    """SHA-256 of the scripts that gem5 runs: they are part of what a result rests on."""
    digest = hashlib.sha256()
    for path in sorted(configs_path().glob("*.py")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


Record = dict[str, Any]


def keys_of(point: Mapping[str, Any], system: System, gem5: Gem5) -> tuple[str, str]:
    """Key of a result and of its question.

    The result's has the point, the machine, the gem5 binary, the scripts that it runs and our code.
    """
    question = hashlib.sha256(json.dumps(dict(point), sort_keys=True).encode()).hexdigest()
    parts = [question, system.digest, gem5.digest, scripts_digest(), code_version()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest(), question


def add(
    store: Store, gem5: Gem5, records: Sequence[tuple[str, str, Mapping[str, Any], float]]
) -> list[Record]:
    """Store records as (key, key of the question, record, seconds); all of them or none. The lock is held."""
    whole = [
        {
            **record,
            "engine": "gem5",
            "gem5_version": gem5.version,
            "gem5_compiled": gem5.compiled,
            "key": key,
            "point_key": question,
            "code_version": code_version(),
            "finished_at": now(),
            "evaluation_s": seconds,
        }
        for key, question, record, seconds in records
    ]
    store.append(whole)
    store.write_manifest({"code_version": code_version(), "commit": commit(), "gem5_version": gem5.version})
    return whole


def stored(
    store: Store,
    point: Mapping[str, Any],
    system: System,
    gem5: Gem5,
    simulate: Callable[[], Mapping[str, Any]],
) -> tuple[Record, bool]:
    """A result from the store, or a new one that is stored at once.

    Args:
        store: of the results folder.
        point: what is asked, flat; part of the key (`keys_of`).
        system: the machine.
        gem5: the simulator.
        simulate: called for a flat record, if the store has none.

    Returns:
        The record, and whether it was there before.
    """
    key, question = keys_of(point, system, gem5)
    with store.locked():
        record = store.record(key)
        if record is not None:
            return record, True
        started = time.monotonic()
        found = {**point, **simulate()}
        return add(store, gem5, [(key, question, found, time.monotonic() - started)])[0], False
