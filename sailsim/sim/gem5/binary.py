"""A gem5 binary with sailsim's module: finding it, running programs and traces on it, and their results.

gem5 is not part of sailsim. The user builds stock gem5 with EXTRAS set to `extras_path()`, and names the
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
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import sailsim
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.system import System

VARIABLE = "SAILSIM_GEM5"
CPU_MODELS = ("atomic", "timing", "minor", "o3")
CPU = rf"(?:{'|'.join(CPU_MODELS)})(?:,(?:{'|'.join(CPU_MODELS)})(?:,\d{{1,18}})?)?"
"""Pattern of core models: one; two, the second from the program's first work item on; or a number of ps
later."""
BASIC_BLOCK_VECTORS = "simpoint.bb"
"""File of a run with `--simpoint-interval`: a line for each interval, with ``:block:instructions`` for each
block."""

_EM_AARCH64 = 183  # number of the architecture in an ELF file's header
_SEGMENTS = Path("/dev/shm")  # where Linux shows POSIX shared memory
_FULL_DISK = 1 << 20  # bytes of free disk below which a failed run is blamed on the disk

# Output of the scripts in gem5-configs.
_ENDS = "exiting with last active thread context|instructions of --until|replay done(?: with errors)?"
_GOOD_END = re.compile(rf"^sailsim-gem5: (?:{_ENDS}) at (\d+) ps", re.MULTILINE)
_SPENT = re.compile(r"^measured part (begins|ends) after ([\d.]+) s of processor time$", re.MULTILINE)
_CHECKPOINT = re.compile(r"^checkpoint at \d+ ps in (.+)$", re.MULTILINE)

_TOTALS: tuple[tuple[re.Pattern[str], str, Callable[[Iterable[float]], float]], ...] = (
    (re.compile(r"simInsts"), "instructions", sum),
    (re.compile(r"system\.cpus\d*\.numCycles"), "core_cycles", max),
    (re.compile(r"system\.memory\d*\.dram\.bytes(Read|Written)::total"), "dram_bytes{}", sum),
    (re.compile(r"system\.units\d*\.(?!heldStores)(\w+)"), "unit_{}", sum),
    (re.compile(r"system\.units\d*\.stageTicks::(\w+)"), "unit_{}Ticks", sum),
)
"""Statistics in `Gem5Run.totals`: names in gem5, name of the total, and the function that combines them."""


def _shipped(installed: str, checkout: str, proof: str) -> Path:
    """Path of a folder that is inside the package in a wheel, and at the top of a checkout."""
    package = Path(sailsim.__file__).resolve().parent
    for folder in (package / "_gem5" / installed, package.parent / checkout):
        if (folder / proof).exists():
            return folder
    raise SailsimError(f"folder {checkout} is missing from this installation; install sailsim again.")


def extras_path() -> Path:
    """Folder for EXTRAS of gem5's build. Raises SailsimError if it is not installed."""
    return _shipped("sim_ext", "sim_ext", "gem5/SConscript")


def configs_path() -> Path:
    """Folder of the scripts that gem5 runs. Raises SailsimError if it is not installed."""
    return _shipped("configs", "gem5-configs", "machine.py")


def how_to_build() -> str:
    """One-line instruction for building gem5, for messages."""
    return f"build gem5 v24.0 for ARM with EXTRAS={extras_path()}, see docs/gem5.md"


def gem5_unit(system: System, **overrides: Any) -> str:
    """Text form of a PIM unit in gem5; raises as `System.unit_text`.

    A descriptor describes one slice's tile, and the unit scales results itself if the descriptor asks for it.
    """
    return system.unit_text(slices=1, convert=system.unit_convert, **overrides)


def machine_json(system: System) -> str:
    """JSON of a machine for gem5's scripts: its file's sections, and its PIM unit in the text form.

    Raises SailsimError for a machine with another accelerator, which gem5 does not model.
    """
    if system.accelerator is not None:
        raise SailsimError(
            f"system {system.name} has an accelerator with backend {system.accelerator.backend}, which gem5 "
            f"does not have; allowed is a machine with PIM units, or with cores alone."
        )
    content = system.model_dump(mode="json")
    if system.pim is not None:
        content["unit"] = gem5_unit(system)
    return json.dumps(content)


class Gem5TimeoutError(SailsimError):
    """A run of gem5 was stopped at its time limit."""


@dataclass(frozen=True)
class Gem5Run:
    """Results of one run of gem5.

    Attributes:
        status: gem5's exit status; 0 is good.
        output: standard output and error of gem5 and of the simulated program.
        ticks: simulated picoseconds at the end.
        host_s: wall seconds of the run.
        dumps: statistics by full name, for example ``system.units00.buildCycles``, one mapping per dump.
        folder: gem5's output directory.
    """

    status: int
    output: str
    ticks: int
    host_s: float
    dumps: Sequence[dict[str, float]]
    folder: Path

    @property
    def stats(self) -> dict[str, float]:
        """Statistics at the end of the run."""
        return self.dumps[-1]

    @property
    def json_lines(self) -> list[dict[str, Any]]:
        """JSON objects that the program printed, one a line; other lines that begin with a brace are
        skipped."""
        objects = []
        for line in self.output.splitlines():
            if line.startswith("{"):
                with suppress(ValueError, RecursionError):
                    objects.append(json.loads(line))
        return objects

    @property
    def spent_s(self) -> dict[str, float]:
        """Processor seconds of gem5 when the program's measured part "begins" and "ends"."""
        return {word: float(seconds) for word, seconds in _SPENT.findall(self.output)}

    @property
    def checkpoints(self) -> list[Path]:
        """Folders of the checkpoints that the run wrote, in order of time."""
        return [Path(folder) for folder in _CHECKPOINT.findall(self.output)]

    @property
    def basic_block_vectors(self) -> int:
        """Number of intervals that a run with `--simpoint-interval` profiled; 0 without the option."""
        path = self.folder / BASIC_BLOCK_VECTORS
        return path.read_text().count("\n") if path.is_file() else 0

    def unit_stat(self, unit: int, name: str) -> float:
        """Statistic of a PIM unit. gem5 pads a unit's number with zeros; a single unit has no number.

        Raises SailsimError if the run has no such statistic.
        """
        for number in (f"{unit}", f"{unit:02d}", *[""] * (unit == 0)):
            if (value := self.stats.get(f"system.units{number}.{name}")) is not None:
                return value
        raise SailsimError(f"statistic {name!r} of unit {unit} is not in {self.folder / 'stats.txt'}.")

    def tiles(self) -> list[dict[str, int]]:
        """Rows of a replayed trace, one for each descriptor in the trace's order; times in ps and unit
        cycles."""
        with (self.folder / "tiles.csv").open(newline="") as file:
            return [{key: int(value) for key, value in row.items()} for row in csv.DictReader(file)]

    def totals(self, dump: int = -1) -> dict[str, float]:
        """Totals of a dump of the statistics, for a stored result.

        Instructions, cycles of the core with the most, bytes over DRAM, and all statistics of the PIM units
        summed over the units: ``unit_buildCycles`` and so on.
        """
        totals: dict[str, float] = {}
        for full, value in self.dumps[dump].items():
            for pattern, name, combine in _TOTALS:
                match = pattern.fullmatch(full)
                if match and not math.isnan(value):
                    key = name.format(*match.groups())
                    totals[key] = combine((totals[key], value)) if key in totals else value
        return totals


class Gem5:
    """A gem5 binary that has the module."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        """Find the binary and check that it has the module.

        Args:
            path: path of the binary; default: the variable SAILSIM_GEM5.

        Raises:
            SailsimError: no binary, one that does not run, or one without the module.
        """
        path = path or os.environ.get(VARIABLE)
        if not path:
            raise SailsimError(f"no gem5 is named: set {VARIABLE} or --gem5; {how_to_build()}.")
        self.path = Path(path).resolve()
        answer = self._check_module()
        if not answer.get("sailsim_module"):
            raise SailsimError(f"gem5 at {path} has no sailsim module; {how_to_build()}.")
        self.version, self.compiled = str(answer["version"]), str(answer["compiled"])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the binary; another build may give other results."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _check_module(self) -> dict[str, Any]:
        """JSON that check_module.py prints: version, date of compilation, and whether the module is there."""
        script = configs_path() / "check_module.py"
        try:
            with tempfile.TemporaryDirectory() as folder:
                done = subprocess.run(
                    [str(self.path), "-q", "-d", folder, str(script)],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=120,
                )
            lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
            return dict(json.loads(lines[-1]))
        except OSError as error:
            why = f"is no program that can be run ({error.strerror})"
        except (subprocess.TimeoutExpired, IndexError, ValueError):
            why = "does not answer as gem5 does"
        raise SailsimError(f"gem5 is {self.path}, which {why}; {how_to_build()}.")

    def replay(
        self, system: System, trace: Path, folder: Path, *, extra: Sequence[str] = (), **options: Any
    ) -> Gem5Run:
        """Replay a trace on the system's PIM units, without cores.

        Args:
            system: machine with PIM units.
            trace: file of descriptors.
            folder: gem5's output directory; created.
            extra: further arguments of replay_trace.py.
            options: `units`, `timeout_s` and `debug` of `_run`.

        Raises:
            SailsimError: no PIM units; gem5 stopped before the end, or took longer than `timeout_s`.
        """
        system.require_pim()
        return self._run("replay_trace.py", system, ["--trace", str(trace), *extra], folder, **options)

    def run(
        self,
        system: System,
        program: Sequence[str],
        folder: Path,
        *,
        cpu: str = "o3",
        cores: int = 1,
        extra: Sequence[str] = (),
        **options: Any,
    ) -> Gem5Run:
        """Run an AArch64 program on the system's cores.

        Args:
            program: the program and its arguments.
            cpu: one of `CPU_MODELS`, or a text of the form `CPU`.
            cores: number of cores, 1..64; a thread of the program takes one.
            extra: further arguments of run_program.py.
            options: `units` and `timeout_s` of `_run`.

        Raises:
            SailsimError: a bad argument, gem5 stopped before the program's end, or took too long.
        """
        require_program(Path(program[0]))
        words = ["--cpu", cpu, "--cores", str(cores), *extra, "--", *program]
        return self._run("run_program.py", system, words, folder, **options)

    def _run(
        self,
        script: str,
        system: System,
        words: Sequence[str],
        folder: Path,
        units: int | None = None,
        timeout_s: float = 3600,
        debug: str | None = None,
    ) -> Gem5Run:
        """Run a script on a machine.

        Args:
            units: number of PIM units; default: one per slice.
            timeout_s: wall seconds after which gem5 is stopped.
            debug: debug flags of gem5; their output goes to ``debug.txt`` in the folder.
        """
        if not timeout_s > 0:
            raise SailsimError(f"timeout is {timeout_s:g}; allowed are more than 0 seconds.")
        flags = [f"--debug-flags={debug}", "--debug-file=debug.txt"] if debug else []
        count = [] if units is None else ["--units", str(units)]
        machine, log, stats = folder / "machine.json", folder / "gem5.log", folder / "stats.txt"
        command = [str(self.path), "-q", *flags, "-d", str(folder), str(configs_path() / script)]
        command += ["--system", str(machine), *count, *words]
        started = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stats.unlink(missing_ok=True)  # an earlier run's
            machine.write_text(machine_json(system))
            with (folder / ".lock").open("w") as lock, log.open("w") as sink:
                _lock(lock, folder)
                status = _execute(command, sink, lock, timeout_s, log)
        except OSError as error:
            raise SailsimError(f"folder {folder} cannot be written: {error.strerror}.") from None
        host_s = time.monotonic() - started
        output = log.read_text(errors="replace")
        ends, dumps, why = _GOOD_END.findall(output), read_dumps(stats), ""
        if not ends or status < 0:
            why = _reason_of(output, status)
        elif not dumps:
            why = "its statistics are not complete"
        if why:
            if shutil.disk_usage(folder).free < _FULL_DISK or "No space left on device" in output:
                why = "no space left on the disk"
            raise SailsimError(f"gem5 stopped before the end ({why}); its output is in {log}.")
        return Gem5Run(status, output, int(ends[-1]), host_s, dumps, folder)


def require_program(path: Path) -> None:
    """Raise SailsimError if a file is not a program for AArch64."""
    if not path.is_file():
        raise SailsimError(
            f"program is {path}, which is no file; make kernels, in a checkout, builds those that ship."
        )
    with path.open("rb") as file:
        head = file.read(20)
    machine, why = int.from_bytes(head[18:20], "little"), "which is no ELF file"
    if len(head) == 20 and head[:4] == b"\x7fELF":
        if (head[4:6], machine) == (b"\2\1", _EM_AARCH64):  # 64 bits, little-endian
            return
        why = f"whose ELF machine is {machine} and not {_EM_AARCH64}"
    raise SailsimError(f"program is {path}, {why}; allowed is one for AArch64.")


def _lock(lock: Any, folder: Path) -> None:
    """Lock the folder of a run. gem5 inherits the lock and keeps it if it outlives sailsim."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SailsimError(
            f"folder {folder} is in use by a gem5 that still runs; wait for its end, or end it."
        ) from None


def _execute(command: Sequence[str], sink: Any, lock: Any, timeout_s: float, log: Path) -> int:
    """Run gem5 to its end and return its exit status. If the wait ends early, gem5 and its children are
    killed."""
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
        raise Gem5TimeoutError(f"gem5 took longer than {timeout_s:g} s; its output is in {log}.") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(gem5.pid, signal.SIGKILL)
        gem5.wait()
        # preload.py unlinks the memory that it shares with gem5 only after it has filled it.
        with suppress(OSError):
            (_SEGMENTS / f"sailsim-gem5-{gem5.pid}").unlink()


def _reason_of(output: str, status: int) -> str:
    marks = ("fatal: ", "panic: ", "error: ", "Error: ", "sailsim-gem5: ")
    for line in output.splitlines():
        for mark in marks:
            if mark in line:
                return line.split(mark, 1)[1].strip()[:200]
    if status < 0:
        name = signal.Signals(-status).name
        return f"ended by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    return f"exit status {status}"


def read_dumps(path: Path) -> list[dict[str, float]]:
    """Dumps of a statistics file: numbers by name, without distributions and text.

    Empty if there is no such file or its last dump was cut off.
    """
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    _, *parts = text.split("Begin Simulation Statistics")
    if not parts or "End Simulation Statistics" not in parts[-1]:
        return []
    dumps: list[dict[str, float]] = [{} for _ in parts]
    for dump, part in zip(dumps, parts, strict=True):
        for line in part.splitlines():
            fields = line.split(maxsplit=2)
            if len(fields) >= 2 and not line.startswith("-"):
                with suppress(ValueError):
                    dump[fields[0]] = float(fields[1])
    return dumps
