"""A program that asks for a checkpoint of itself goes on behind it, and again from it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.gem5.binary import Gem5

pytestmark = pytest.mark.gem5
COMPILER = shutil.which("aarch64-linux-gnu-gcc")
SOURCE = Path(__file__).parents[2] / "workloads" / "kernels" / "example" / "checkpoint.S"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(SOURCE.read_text(), tmp_path_factory.mktemp("program"))


def built(source: str, folder: Path) -> Path:
    if COMPILER is None:
        pytest.skip("there is no aarch64-linux-gnu-gcc")
    folder.mkdir(exist_ok=True)
    (folder / "checkpoint.S").write_text(source)
    words = [COMPILER, "-static", "-nostdlib", "-o", "checkpoint", "checkpoint.S"]
    subprocess.run(words, cwd=folder, check=True)
    return folder / "checkpoint"


def said(output: str) -> list[str]:
    return [line for line in output.splitlines() if line in ("before", "after")]


@pytest.mark.parametrize("cpu", ["timing", "o3"])
def test_a_program_goes_on_behind_its_checkpoint_and_from_it(gem5, machine, program, tmp_path, cpu):
    whole = gem5.run(machine, [str(program)], tmp_path / "whole", cpu=cpu)
    assert (whole.status, said(whole.output)) == (0, ["before", "after"])
    (checkpoint,) = (tmp_path / "whole" / "checkpoints").iterdir()
    extra = ["--restore", str(checkpoint)]
    rest = gem5.run(machine, [str(program)], tmp_path / "rest", cpu=cpu, extra=extra)
    assert (rest.status, said(rest.output)) == (0, ["after"])
    assert rest.ticks > int(checkpoint.name)


@pytest.fixture(scope="module")
def checkpoint(gem5: Gem5, machine, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taken")
    gem5.run(machine, [str(program), "word"], folder, cpu="timing")
    (found,) = (folder / "checkpoints").iterdir()
    return found


DAMAGED = "is damaged: its files are not what sailsim.json says"


@pytest.mark.parametrize(
    ("name", "change", "words", "cores", "why"),
    [
        ("m5.cpt", None, "other", 1, "is of words ['checkpoint', 'word']; what is to go on has ["),
        ("m5.cpt", None, "word", 2, "is of cores 1; what is to go on has 2"),
        ("m5.cpt", lambda old: old[:-100], "word", 1, DAMAGED),
        ("m5.cpt", lambda old: b"junk".ljust(len(old)), "word", 1, DAMAGED),
        ("sailsim.json", lambda old: b"{", "word", 1, "sailsim.json cannot be read"),
    ],
)
def test_nothing_else_goes_on_from_a_checkpoint(
    gem5, machine, program, checkpoint, tmp_path, name, change, words, cores, why
):
    """gem5 itself waits for ever on most of these, and takes another program's memory for this one's."""
    there = shutil.copytree(checkpoint, tmp_path / "there")
    if change:
        (there / name).write_bytes(change((there / name).read_bytes()))
    how = {"cpu": "timing", "cores": cores, "extra": ["--restore", str(there)], "timeout_s": 60}
    with pytest.raises(SailsimError, match=re.escape(why)):
        gem5.run(machine, [str(program), words], tmp_path / "run", **how)


def test_another_program_and_a_folder_without_a_note(gem5, machine, program, checkpoint, tmp_path):
    (tmp_path / "checkpoint").write_bytes(program.read_bytes() + b"more")
    for path, there, why in (
        (tmp_path / "checkpoint", checkpoint, "is of program '"),
        (program, tmp_path, "it has no sailsim.json"),
    ):
        how = {"cpu": "timing", "extra": ["--restore", str(there)], "timeout_s": 60}
        with pytest.raises(SailsimError, match=why):
            gem5.run(machine, [str(path), "word"], tmp_path / "run", **how)


@pytest.mark.parametrize("cpu", ["atomic,o3", "atomic,o3,5"])
def test_a_model_that_never_takes_over_is_told(gem5, machine, program, tmp_path, cpu):
    why = f"ended without a work item, which --cpu {cpu} waits for: no core of the later model"
    with pytest.raises(SailsimError, match=why):
        gem5.run(machine, [str(program)], tmp_path, cpu=cpu)


def test_a_program_that_ends_in_the_middle_of_a_line_has_ended(gem5, machine, tmp_path, program):
    source = SOURCE.read_text().replace('"after\\n"', '"after!"').replace(".inst 0xff430110", "nop")
    done = gem5.run(machine, [str(built(source, tmp_path / "made"))], tmp_path / "run", cpu="atomic")
    assert (done.status, "after!" in done.output.splitlines()) == (0, True)
