"""A program that asks for a checkpoint of itself goes on behind it, and again from it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sailsim.sim.gem5 import Gem5

pytestmark = pytest.mark.gem5
COMPILER = shutil.which("aarch64-linux-gnu-gcc")

# m5_checkpoint with no delay and no period is the word 0xff430110 (gem5's include/gem5/asm/generic/m5ops.h).
SOURCE = """
    .macro say text, bytes
    mov x0, 1
    adr x1, \\text
    mov x2, \\bytes
    mov x8, 64
    svc 0
    .endm
    .global _start
_start:
    say before, 7
    mov x0, 0
    mov x1, 0
    .inst 0xff430110
    say after, 6
    mov x0, 0
    mov x8, 94
    svc 0
before: .ascii "before\\n"
after: .ascii "after\\n"
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("there is no aarch64-linux-gnu-gcc")
    folder = tmp_path_factory.mktemp("program")
    (folder / "checkpoint.s").write_text(SOURCE)
    words = [COMPILER, "-static", "-nostdlib", "-o", "checkpoint", "checkpoint.s"]
    subprocess.run(words, cwd=folder, check=True)
    return folder / "checkpoint"


def said(output: str) -> list[str]:
    return [line for line in output.splitlines() if line in ("before", "after")]


@pytest.mark.parametrize("cpu", ["timing", "o3"])
def test_a_program_goes_on_behind_its_checkpoint_and_from_it(
    gem5: Gem5, machine, program: Path, tmp_path: Path, cpu: str
) -> None:
    whole = gem5.run(machine, [str(program)], tmp_path / "whole", cpu=cpu)
    assert (whole.status, said(whole.output)) == (0, ["before", "after"])
    (checkpoint,) = (tmp_path / "whole" / "checkpoints").iterdir()
    extra = ["--restore", str(checkpoint)]
    rest = gem5.run(machine, [str(program)], tmp_path / "rest", cpu=cpu, extra=extra)
    assert (rest.status, said(rest.output)) == (0, ["after"])
    assert rest.ticks > int(checkpoint.name)
