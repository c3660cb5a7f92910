"""A program whose emulator got a damaged unit text ends in one sentence, before it executes anything."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sailsim.sim.files import load_system
from sailsim.sim.pim import VERSION

pytestmark = [pytest.mark.aarch64, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]

# In the place of the header that unit_header.py makes, so that one program serves for many texts.
HEADER = """
#include "pim/unit_text.hh"
#include <cstdlib>
namespace sailsim::kernels
{
inline constexpr unsigned emulated_units = 1;
inline pim::SliceConfig emulated_unit()
{
    return pim::read_unit(std::getenv("UNIT_TEXT"));
}
} // namespace sailsim::kernels
"""
MAIN = """
#include "lutmm/emulator.hh"
int main()
{
    sailsim::kernels::install_emulator();
}
"""


@pytest.fixture(scope="module")
def installer(programs: Path, compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that installs the emulator of the unit in UNIT_TEXT, and ends."""
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "emulated_unit.hh").write_text(HEADER)
    (folder / "main.cc").write_text(MAIN)
    sources = [folder / "main.cc", "workloads/kernels/lutmm/emulator.cc"]
    objects = [*programs.glob("objects/pim/*.o"), *programs.glob("objects/common/*.o")]
    objects.append(programs / "objects" / "lutmm" / "probe.o")
    folders = [folder, "workloads/kernels", "sim_ext", "sim_ext/abi"]
    command = [compiler, "-std=c++17", "-static", *(f"-I{name}" for name in folders)]
    command += [*map(str, sources), *map(str, objects), "-o", str(folder / "installer")]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder / "installer"


def test_a_unit_text_as_it_is_written_is_taken(
    run: Run, installer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNIT_TEXT", load_system("sail-n1").unit_text(slices=1))
    assert run(installer).returncode == 0


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("rows 256\n", "", "rows is missing"),
        ("rows 256\n", "rows 256\ncolour blue\n", f"'colour' is no key of version {VERSION}"),
        (" read ", " multiply ", "op is 'multiply': allowed are read, write"),
        ("cost.add 1 0 0", "cost.add -1 0 0", "a cost is never negative"),
        (
            f"sailsim-unit {VERSION}",
            f"sailsim-unit {VERSION + 1}",
            f"version is {VERSION + 1}: allowed is {VERSION}",
        ),
    ],
)
def test_a_damaged_unit_text_ends_in_one_sentence(
    run: Run, installer: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, why: str
) -> None:
    text = load_system("sail-n1").unit_text(slices=1)
    assert old in text
    monkeypatch.setenv("UNIT_TEXT", text.replace(old, new))
    done = run(installer)
    assert (done.returncode, done.stdout) == (2, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("error: the emulated unit cannot be made: ")
    assert why in sentence
