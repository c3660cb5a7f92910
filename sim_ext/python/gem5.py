"""gem5 with sailsim's module: finding it, running programs and traces on it, reading its statistics.

gem5 itself is no part of sailsim. The user builds stock gem5 with EXTRAS set to `extras_path()` and names the
binary by ``--gem5`` or the variable SAILSIM_GEM5.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sailsim
from sailsim.errors import SailsimError
from sailsim.sim.provenance import code_version, commit
from sailsim.sim.store import Store, now
from sailsim.sim.system import System

VARIABLE = "SAILSIM_GEM5"
CPU_MODELS = ("atomic", "timing", "minor", "o3")
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
        """A PIM unit's statistic. gem5 pads a unit's number with zeros in some places."""
        for full in (f"system.units{unit}.{name}", f"system.units{unit:02d}.{name}"):
            if full in self.stats:
                return self.stats[full]
        raise SailsimError(f"statistic {name!r} of unit {unit} is not in {self.folder / 'stats.txt'}.")

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
        if not self.path.is_file() or not os.access(self.path, os.X_OK):
            raise SailsimError(f"gem5 is {named}, which is no program that can be run; {_HOW_TO_BUILD}.")
        found = self._ask()
        if not found.get("sailsim_module"):
            raise SailsimError(f"gem5 at {named} has no sailsim module; {_HOW_TO_BUILD}.")
        self.version = str(found["version"])
        self.compiled = str(found["compiled"])

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
        except (OSError, subprocess.TimeoutExpired, IndexError, ValueError):
            raise SailsimError(
                f"gem5 is {self.path}, which does not answer as gem5 does; {_HOW_TO_BUILD}."
            ) from None
        assert isinstance(found, dict)
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

        Raises:
            SailsimError: gem5 stopped before the end, or took longer than `timeout_s`.
        """
        arguments = ["--trace", str(trace), "--window", str(window), *extra]
        if units is not None:
            arguments += ["--units", str(units)]
        if streams:
            arguments += ["--stream", str(streams), "--stream-gb-s", str(stream_gb_s)]
        return self._run("replay_trace.py", system, arguments, folder, timeout_s, good=(0, 1))

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
    ) -> Gem5Run:
        """Run an AArch64 program on the system's cores.

        Args:
            program: the program and its arguments.
            cpu: one of `CPU_MODELS`.
            cores: how many; a thread of the program takes one.
            pim: False for the same machine without PIM units.

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
        arguments = ["--cpu", cpu, "--cores", str(cores), *([] if pim else ["--no-pim"]), "--", *program]
        return self._run("run_program.py", system, arguments, folder, timeout_s, good=None)

    def _run(
        self,
        script: str,
        system: System,
        arguments: Sequence[str],
        folder: Path,
        timeout_s: float,
        good: tuple[int, ...] | None,
    ) -> Gem5Run:
        folder.mkdir(parents=True, exist_ok=True)
        machine = folder / "machine.json"
        machine.write_text(system.model_dump_json())
        command = [str(self.path), "-q", "-d", str(folder), str(configs_path() / script)]
        command += ["--system", str(machine), *arguments]
        started = time.monotonic()
        log = folder / "gem5.log"
        try:
            with log.open("w") as sink:
                status = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    timeout=timeout_s,
                ).returncode
        except subprocess.TimeoutExpired:
            raise SailsimError(f"gem5 took longer than {timeout_s:g} s; its output is in {log}.") from None
        host_s = time.monotonic() - started
        output = log.read_text(errors="replace")
        ticks = _last_tick(output)
        if ticks is None or (good is not None and status not in good):
            raise SailsimError(
                f"gem5 stopped before the end ({_reason(output, status)}); its output is in {log}."
            )
        return Gem5Run(status, output, ticks, host_s, read_stats(folder / "stats.txt"), folder)


def _last_tick(output: str) -> int | None:
    """From the line that our scripts print at the end; None where gem5 did not get there."""
    for line in reversed(output.splitlines()):
        if line.startswith("sailsim-gem5: ") and " at " in line:
            return int(line.split(" at ")[1].split()[0])
    return None


def _reason(output: str, status: int) -> str:
    marks = ("fatal: ", "panic: ", "error: ", "Error: ", "sailsim-gem5: ")
    for line in output.splitlines():
        for mark in marks:
            if mark in line:
                return line.split(mark, 1)[1].strip()[:200]
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


def stored(
    store: Store, point: Mapping[str, Any], system: System, gem5: Gem5, simulate: Any
) -> tuple[dict[str, Any], bool]:
    """A result from the store, or a new one that is stored at once.

    Args:
        store: of the results folder.
        point: what is asked, flat; its hash with the system, gem5's version and our code is the key.
        system: the machine.
        gem5: the simulator.
        simulate: called without arguments for a flat record, if the store has none.

    Returns:
        The record, and whether it was there before.
    """
    question = hashlib.sha256(json.dumps(dict(point), sort_keys=True).encode()).hexdigest()
    parts = [question, system.digest, gem5.version, code_version()]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    with store.locked():
        held = store.keys()
        if key in held:
            frame = store.frame()
            return dict(frame[frame["key"] == key].iloc[0]), True
        started = time.monotonic()
        record = {
            **point,
            **simulate(),
            "engine": "gem5",
            "gem5_version": gem5.version,
            "key": key,
            "point_key": question,
            "code_version": code_version(),
            "finished_at": now(),
            "evaluation_s": time.monotonic() - started,
        }
        store.append([record])
        store.write_manifest(
            {"code_version": code_version(), "commit": commit(), "gem5_version": gem5.version}
        )
        return record, False
