"""A program that asks for a checkpoint of itself goes on behind it, and again from it."""

import re
import shutil
from pathlib import Path

import pytest

from sailsim.base.errors import SailsimError
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.machine.system import System

from .conftest import ROOT, compiled

pytestmark = pytest.mark.gem5
SOURCE = (ROOT / "workloads" / "kernels" / "example" / "checkpoint.S").read_text()


def built(source: str, folder: Path) -> Path:
    return compiled(source, folder, "-nostdlib", name="program.S")


@pytest.fixture(scope="module")
def asks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program."""
    return built(SOURCE, tmp_path_factory.mktemp("program"))


def said(output: str) -> list[str]:
    return [line for line in output.splitlines() if line in ("before", "after")]


@pytest.mark.parametrize("cpu", ["timing", "o3"])
def test_a_program_goes_on_behind_its_checkpoint_and_from_it(program, asks, cpu):
    whole = program(asks, cpu=cpu)
    assert (whole.status, said(whole.output)) == (0, ["before", "after"])
    (checkpoint,) = whole.checkpoints
    rest = program(asks, to="rest", cpu=cpu, extra=["--restore", str(checkpoint)])
    assert (rest.status, said(rest.output)) == (0, ["after"])
    assert rest.ticks > int(checkpoint.name)


@pytest.fixture(scope="module")
def checkpoint(gem5: Gem5, machine: System, asks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taken")
    (found,) = gem5.run(machine, [str(asks), "word"], folder, cpu="timing").checkpoints
    return found


DAMAGED = "is damaged: its files are not what sailsim.json says"


@pytest.mark.parametrize(
    ("name", "change", "more", "word", "cores", "why"),
    [
        (None, None, b"", "other", 1, "is of words ['program', 'word']; what is to go on has ["),
        (None, None, b"", "word", 2, "is of cores 1; what is to go on has 2"),
        (None, None, b"more", "word", 1, "is of program '"),
        ("m5.cpt", lambda old: old[:-100], b"", "word", 1, DAMAGED),
        ("m5.cpt", lambda old: b"junk".ljust(len(old)), b"", "word", 1, DAMAGED),
        ("sailsim.json", lambda old: b"{", b"", "word", 1, "sailsim.json cannot be read"),
        ("sailsim.json", None, b"", "word", 1, "it has no sailsim.json"),
    ],
)
def test_nothing_else_goes_on_from_a_checkpoint(
    program, asks, checkpoint, tmp_path, name, change, more, word, cores, why
):
    """gem5 itself waits for ever on most of these, and takes another program's memory for this one's."""
    there = shutil.copytree(checkpoint, tmp_path / "there")
    if name:
        content = (there / name).read_bytes()
        (there / name).unlink()
    if change:
        (there / name).write_bytes(change(content))
    path = tmp_path / "program"
    path.write_bytes(asks.read_bytes() + more)
    how = {"cpu": "timing", "cores": cores, "extra": ["--restore", str(there)], "timeout_s": 60}
    with pytest.raises(SailsimError, match=re.escape(why)):
        program(path, word, **how)


@pytest.mark.parametrize("cpu", ["atomic,o3", "atomic,o3,5"])
def test_a_model_that_never_takes_over_is_told(program, asks, cpu):
    why = f"ended without a work item, which --cpu {cpu} waits for: no core of the later model"
    with pytest.raises(SailsimError, match=why):
        program(asks, cpu=cpu)


def test_a_program_that_ends_in_the_middle_of_a_line_has_ended(program, tmp_path):
    source = SOURCE.replace('"after\\n"', '"after!"').replace(".inst 0xff430110", "nop")
    done = program(built(source, tmp_path), cpu="atomic")
    assert (done.status, "after!" in done.output.splitlines()) == (0, True)
