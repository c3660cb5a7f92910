"""What all programs have in common: they are static and answer --help."""

import importlib
import re
import subprocess
from pathlib import Path

import pytest

from .conftest import COMPILER, ROOT, Run

pytestmark = pytest.mark.aarch64

MAKEFILE = ROOT / "workloads" / "kernels" / "Makefile"
PROGRAMS = MAKEFILE.read_text("utf-8").partition("\nPROGRAMS := ")[2].partition("\n")[0].split()


@pytest.mark.parametrize("name", PROGRAMS)
def test_static_and_help(programs: Path, run: Run, name: str) -> None:
    """gem5's syscall emulation loads no interpreter."""
    assert b"ld-linux-aarch64" not in (programs / name).read_bytes()[:1024]
    result = run(name, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert re.findall(r"^  (--[a-z0-9-]+)", result.stdout, re.MULTILINE)


def test_the_loops_that_research_measures_are_of_these_sources(programs: Path) -> None:
    folders = (programs / "generated", MAKEFILE.parent, ROOT / "sim_ext", ROOT / "sim_ext" / "abi")
    flags = [
        "-std=c++17",
        "-march=armv8.2-a+dotprod",
        "-fsyntax-only",
        *(f"-I{folder}" for folder in folders),
    ]
    subprocess.run([COMPILER, *flags, ROOT / "research" / "fits" / "loops" / "loops.cc"], check=True)


def test_no_call_reaches_llvm_mca(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take 100 cycles for each."""
    monkeypatch.syspath_prepend(ROOT / "research" / "fits")
    line = importlib.import_module("core_loops")._line
    assert [line("bl\t400 <f>"), line("blr\tx1"), line("b.ne\t400 <f+0x4>"), line("ret")] == [
        "b #4",
        "br x1",
        "b.ne #4",
        "ret ",
    ]
