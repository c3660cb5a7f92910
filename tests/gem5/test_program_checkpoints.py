"""A program that asks for a checkpoint of itself goes on behind it, and again from it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sailsim.sim.gem5 import Gem5

pytestmark = pytest.mark.gem5
COMPILER = shutil.which("aarch64-linux-gnu-gcc")
SOURCE = Path(__file__).parents[2] / "workloads" / "kernels" / "example" / "checkpoint.S"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("there is no aarch64-linux-gnu-gcc")
    folder = tmp_path_factory.mktemp("program")
    words = [COMPILER, "-static", "-nostdlib", "-o", "checkpoint", str(SOURCE)]
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
