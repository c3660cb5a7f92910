"""A gem5 binary with sailsim's module: finding it, running programs and traces on it.

gem5 itself is no part of sailsim. The user builds stock gem5 with EXTRAS set to `extras_path()` and names the
binary by ``--gem5`` or the variable SAILSIM_GEM5.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import sailsim
from sailsim.base.errors import SailsimError
from sailsim.sim.gem5.outcome import Gem5Run, complete, in_lines, last_tick, read_stats, reason_of
from sailsim.sim.system import System


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


def gem5_unit(system: System, **overrides: Any) -> str:
    """A PIM unit of gem5 in the text form; raises as `System.unit_text`.

    A descriptor is one slice's tile, and a unit scales by itself whenever a descriptor asks for it.
    """
    return system.unit_text(slices=1, convert=system.unit_convert, **overrides)


def machine_json(system: System) -> str:
    """A machine as gem5's scripts read it: its file's sections, and its PIM unit in the text form.

    Raises SailsimError for a machine with another accelerator, which gem5 does not have.
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


VARIABLE = "SAILSIM_GEM5"

CPU_MODELS = ("atomic", "timing", "minor", "o3")

EM_AARCH64 = 183
"""Of an ELF file's header: the number of the architecture."""

_SEGMENTS = Path("/dev/shm")
"""Where Linux shows POSIX shared memory."""

_FULL_DISK = 1 << 20
"""Bytes of free disk below which a failed run is put down to the disk."""

_HOW_TO_BUILD = "build gem5 v24.0 for ARM with EXTRAS=$(sailsim gem5 extras-path), see docs/gem5.md"


class Gem5TimeoutError(SailsimError):
    """A run of gem5 took longer than it was given, and was stopped."""


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
            SailsimError: no PIM units; gem5 stopped before the end, or took longer than `timeout_s`.
        """
        system.require_pim()
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
        require_program(Path(program[0]))
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
        output = in_lines(log.read_text(errors="replace"))
        ticks = last_tick(output)
        why = ""
        if ticks is None or (good is not None and status not in good):
            why = reason_of(output, status)
        elif not complete(stats):
            why = "its statistics are not complete"
        if why:
            if shutil.disk_usage(folder).free < _FULL_DISK or "No space left on device" in output:
                why = "no space left on the disk"
            raise SailsimError(f"gem5 stopped before the end ({why}); its output is in {log}.")
        assert ticks is not None
        return Gem5Run(status, output, ticks, host_s, read_stats(stats), folder)


def _not_runnable(path: Path) -> str:
    """Why a path cannot be run, in a few words; empty if it can."""
    if not path.exists():
        return "there is no such file"
    if not path.is_file():
        return "it is no file"
    return "" if os.access(path, os.X_OK) else "it is not executable"


def require_program(path: Path) -> None:
    """Raise SailsimError where a file is no program for AArch64."""
    if not path.is_file():
        raise SailsimError(
            f"program is {path}, which is no file; make kernels, in a checkout, builds those that ship."
        )
    with path.open("rb") as file:
        head = file.read(20)
    little, machine = head[5:6] == b"\1", int.from_bytes(head[18:20], "little")
    if len(head) < 20 or head[:4] != b"\x7fELF":
        why = "which is no ELF file"
    elif head[4] != 2 or not little or machine != EM_AARCH64:
        why = f"whose ELF machine is {machine} and not {EM_AARCH64}"
    else:
        return
    raise SailsimError(f"program is {path}, {why}; allowed is one for AArch64.")


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
        raise Gem5TimeoutError(f"gem5 took longer than {timeout_s:g} s; its output is in {log}.") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(gem5.pid, signal.SIGKILL)
        gem5.wait()
        # Memory that our script shares with gem5 (preload.py) loses its name only when it is filled.
        with suppress(OSError):
            (_SEGMENTS / f"sailsim-gem5-{gem5.pid}").unlink()
