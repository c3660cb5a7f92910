"""Builds the AArch64 programs and runs them: under qemu-aarch64, or directly on an AArch64 machine."""

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sailsim.lut_gemv.trace_file import write_trace

ROOT = Path(__file__).resolve().parents[2]
NATIVE = platform.machine() == "aarch64"
COMPILER = "g++" if NATIVE else "aarch64-linux-gnu-g++"

Run = Callable[..., subprocess.CompletedProcess[str]]
Report = Callable[..., list[dict[str, Any]]]
Refused = Callable[..., str]


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder with the built programs."""
    for tool in (COMPILER, "make") if NATIVE else (COMPILER, "make", "qemu-aarch64"):
        if shutil.which(tool) is None:
            pytest.skip(
                f"no {tool} on this machine (Debian: g++-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user)"
            )
    out = ROOT / "build" / "kernels"
    jobs = min(2, os.cpu_count() or 1)
    variables = [f"KERNEL_CXX={COMPILER}", f"PYTHON={sys.executable}"]
    make = ["make", "-C", "workloads/kernels", f"-j{jobs}", *variables]
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:  # tests run side by side, in processes of their own
        fcntl.flock(lock, fcntl.LOCK_EX)
        build = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)
    assert build.returncode == 0, build.stderr
    return out


@pytest.fixture(scope="session")
def run(programs: Path) -> Run:
    """Runs a program, or the one at a path, with arguments and returns the finished process."""

    def run_program(name: str | Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [] if NATIVE else ["qemu-aarch64"]
        command += [str(programs / name), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run_program


@pytest.fixture(scope="session")
def report(run: Run) -> Report:
    """Runs a program that must succeed and returns the objects it prints."""

    def report_of(name: str, *arguments: object) -> list[dict[str, Any]]:
        result = run(name, *arguments)
        assert result.returncode == 0, (result.stdout, result.stderr)
        return [json.loads(line) for line in result.stdout.splitlines()]

    return report_of


@pytest.fixture(scope="session")
def refused(run: Run) -> Refused:
    """Runs a program that must refuse its input; returns the one sentence."""

    def sentence_of(name: str | Path, *arguments: object) -> str:
        result = run(name, *arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        return result.stderr.removeprefix("error: ").rstrip("\n")

    return sentence_of


@pytest.fixture(scope="session")
def cases(oracles: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared cases as a trace."""
    path = tmp_path_factory.mktemp("cases") / "cases.trace"
    write_trace(path, (oracle.tile for oracle in oracles.load_oracles()))
    return path
