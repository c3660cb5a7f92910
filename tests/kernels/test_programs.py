"""What all programs have in common: they are static and answer --help."""

import re
from pathlib import Path

import pytest

from .conftest import Run

pytestmark = pytest.mark.aarch64

MAKEFILE = Path(__file__).resolve().parents[2] / "workloads" / "kernels" / "Makefile"
PROGRAMS = MAKEFILE.read_text("utf-8").partition("\nPROGRAMS := ")[2].partition("\n")[0].split()


@pytest.mark.parametrize("name", PROGRAMS)
def test_static_and_help(programs: Path, run: Run, name: str) -> None:
    """gem5's syscall emulation loads no interpreter."""
    assert b"ld-linux-aarch64" not in (programs / name).read_bytes()[:1024]
    result = run(name, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert re.findall(r"^  (--[a-z0-9-]+)", result.stdout, re.MULTILINE)
