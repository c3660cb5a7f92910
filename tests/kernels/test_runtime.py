"""liblutmm.a, which programs that are not ours link, and the unit that it emulates."""

import subprocess
from pathlib import Path

import pytest

from sailsim.sim.machine.system_files import load_system

from .conftest import COMPILER, Refused, Run

pytestmark = [pytest.mark.aarch64, pytest.mark.slow]

ROOT = Path(__file__).parents[2]

# C++, and with threads, which the example in C has not.
PROGRAM = """
#include "lutmm_runtime.h"
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
int main(int, char **words)
{
    lutmm_install_emulator();
    const std::string what = words[1];
    alignas(64) static lutmm_completion record{};
    alignas(64) static lutmm_descriptor descriptor{};
    descriptor.completion = reinterpret_cast<std::uintptr_t>(&record);
    if (what == "submit")
        lutmm_submit(std::atoi(words[2]), &descriptor);
    if (what == "threads") {
        std::thread other([] { lutmm_submit(0, &descriptor); });
        other.join();
    }
    const std::uint32_t status = lutmm_wait(&record, 1000000);
    std::printf("%u %s %u %u\\n", status, lutmm_status_name(status), record.detail, lutmm_units());
}
"""


def compiled(folder: Path, *words: object) -> Path:
    """PROGRAM with more words to the compiler."""
    (folder / "mine.cc").write_text(PROGRAM)
    command = [COMPILER, "-std=c++17", "-static", f"-I{folder}", "-Isim_ext/abi", folder / "mine.cc", *words]
    subprocess.run([*map(str, command), "-o", str(folder / "mine")], cwd=ROOT, check=True)
    return folder / "mine"


@pytest.fixture(scope="module")
def mine(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("mine"), f"-L{programs}", "-llutmm")


@pytest.mark.parametrize("units", [1, 8])
def test_the_example_is_right(run: Run, units: int) -> None:
    result = run("example_gemv", units)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{16 * units} outputs right, ")
    assert result.stdout.endswith(f", {units} tiles by emulation\n")


@pytest.mark.parametrize("words", [("0",), ("9",), ("x",), ("4", "4")])
def test_the_example_says_what_is_allowed(run: Run, words: tuple[str, ...]) -> None:
    result = run("example_gemv", *words)
    assert result.returncode == 2
    assert result.stderr == f"example_gemv: UNITS is {words[0]}; allowed: 1 to 8\n"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("submit", 0), "2 ERR_WBITS 50 32\n"),
        (("submit", 63), "15 ERR_UNIT 63 "),
        (("threads",), "2 ERR_WBITS 50 "),
        (("nothing",), "0 PENDING "),
    ],
)
def test_a_unit_answers_an_empty_descriptor(
    run: Run, mine: Path, words: tuple[object, ...], answer: str
) -> None:
    """From a thread of the C library too; whoever waits for nobody ends."""
    assert run(mine, *words).stdout.startswith(answer)


def test_a_unit_that_the_instruction_cannot_name(refused: Refused, mine: Path) -> None:
    assert refused(mine, "submit", 64) == "lutmm_submit: unit is 64; allowed: 0 to 63"


# In the place of the header that unit_header.py makes, so that one program serves for many texts.
HEADER = """
#include "pim/config.hh"
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


def test_a_damaged_unit_text_ends_in_one_sentence(
    programs: Path, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same program, whose emulator is of the unit in UNIT_TEXT."""
    (tmp_path / "emulated_unit.hh").write_text(HEADER)
    objects = [programs / "objects" / name for name in ("common/program.o", "common/team.o", "libpim.a")]
    folders = ("-Iworkloads/kernels", "-Isim_ext")
    program = compiled(tmp_path, *folders, "workloads/kernels/lutmm/unit.cc", *objects)
    text = load_system("sail-n1").unit_text(slices=1)
    monkeypatch.setenv("UNIT_TEXT", text.replace("rows 256\n", ""))
    assert refused(program, "nothing").startswith(
        "the emulated unit cannot be made: unit text: rows is missing"
    )
