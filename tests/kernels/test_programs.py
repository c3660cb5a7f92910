"""What all programs have in common: they are static and answer --help."""

import re
import struct
from pathlib import Path

import pytest

from .conftest import Run

pytestmark = pytest.mark.aarch64

MAKEFILE = Path(__file__).resolve().parents[2] / "workloads" / "kernels" / "Makefile"
PROGRAMS = MAKEFILE.read_text("utf-8").partition("\nPROGRAMS := ")[2].partition("\n")[0].split()


@pytest.mark.parametrize("name", PROGRAMS)
def test_static_aarch64_and_help(programs: Path, run: Run, name: str) -> None:
    """gem5's syscall emulation loads no interpreter."""
    data = (programs / name).read_bytes()
    aarch64, interpreter = 183, 3
    assert data[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", data, 18)[0] == aarch64
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    types = {struct.unpack_from("<I", data, table + size * i)[0] for i in range(count)}
    assert interpreter not in types
    result = run(name, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert re.findall(r"^  (--[a-z0-9-]+)", result.stdout, re.MULTILINE)
