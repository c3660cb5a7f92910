"""`sailsim gem5` where a stand-in answers for gem5 (the fixture `log`)."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from click.testing import Result

from .commands import sailsim as command


def elf(path: Path, machine: int = 183, bits: int = 64) -> Path:
    """The head of a program's file; 183 is AArch64."""
    path.write_bytes(b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(11) + machine.to_bytes(2, "little"))
    return path


sailsim = partial(command, "gem5")
Behave = Callable[[str], None]
"""The fixture `behave`."""


def runs(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def one_sentence(result: Result) -> str:
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith(("gem5: ", "matrices "))]
    assert len(lines) == 1, result.stderr
    return lines[0]
