"""A program without an operating system, in the secure state: the unit sees what its caches hold."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sailsim.sim.gem5.binary import Gem5, configs_path, machine_json
from sailsim.sim.system import System

from .pages import ROOT, the_command

pytestmark = pytest.mark.gem5
SOURCE = ROOT / "workloads" / "kernels" / "example" / "bare_metal.c"


def built(folder: Path, text: str) -> Path:
    """The program of a text, by the command that docs/gem5.md gives for its file."""
    if shutil.which("aarch64-linux-gnu-gcc") is None:
        pytest.skip("there is no aarch64-linux-gnu-gcc")
    (folder / "source.c").write_text(text)
    words = the_command("gem5.md", SOURCE.name).words.split()
    places = {"out/bare_metal": folder / "bare_metal", str(SOURCE.relative_to(ROOT)): folder / "source.c"}
    subprocess.run([str(places.get(word, word)) for word in words], cwd=ROOT, check=True)
    return folder / "bare_metal"


def end_of(gem5: Gem5, machine: System, program: Path, model: str) -> tuple[int, str]:
    """gem5's exit status and the line that says how the simulation ended."""
    folder = program.parent
    (folder / "machine.json").write_text(machine_json(machine))
    script = configs_path() / "bare_metal.py"
    words = [gem5.path, "-q", "-d", folder, script, folder / "machine.json", program]
    command = [*(str(word) for word in words), "--model", model, "--max-ticks", str(10**11)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = [line for line in done.stdout.splitlines() if line.startswith("sailsim-gem5: ")]
    assert last, done.stdout[-2000:] + done.stderr[-2000:]
    return done.returncode, last[0]


@pytest.mark.parametrize("model", ["atomic", "timing", "minor", "o3"])
def test_a_unit_reads_what_the_secure_state_has_in_its_caches(
    gem5: Gem5, machine: System, tmp_path: Path, model: str
) -> None:
    status, said = end_of(gem5, machine, built(tmp_path, SOURCE.read_text("utf-8")), model)
    assert "m5_exit instruction encountered" in said
    assert status == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("descriptor.wbits = 4", "descriptor.wbits = 9"), 2),
        (("expected = 0", "expected = 1"), 100),
    ],
)
def test_the_program_says_what_went_wrong(
    gem5: Gem5, machine: System, tmp_path: Path, change: tuple[str, str], code: int
) -> None:
    text = SOURCE.read_text("utf-8")
    assert text.count(change[0]) == 1
    status, said = end_of(gem5, machine, built(tmp_path, text.replace(*change)), "o3")
    assert "m5_fail instruction encountered" in said
    assert said.endswith(f"exit status {code}")
    assert status == 3
