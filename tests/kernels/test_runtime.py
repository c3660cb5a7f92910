"""liblutmm.a: what a program that is not ours links."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sailsim.sim.files import load_system

pytestmark = [pytest.mark.aarch64, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]

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


@pytest.fixture(scope="module")
def mine(programs: Path, compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.cc").write_text(PROGRAM)
    command = [compiler, "-std=c++17", "-static", "-Isim_ext/abi", str(folder / "mine.cc")]
    command += ["-o", str(folder / "mine"), f"-L{programs}", "-llutmm"]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder / "mine"


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


def test_a_unit_refuses_an_empty_descriptor(run: Run, mine: Path) -> None:
    units = int(load_system("sail-n1").llc.slices.value)
    assert run(mine, "submit", 0).stdout == f"2 ERR_WBITS 50 {units}\n"


def test_a_unit_that_the_machine_has_not(run: Run, mine: Path) -> None:
    assert run(mine, "submit", 63).stdout.startswith("15 ERR_UNIT 63 ")


def test_a_unit_that_the_instruction_cannot_name(run: Run, mine: Path) -> None:
    result = run(mine, "submit", 64)
    assert result.returncode == 2
    assert result.stderr == "error: lutmm_submit: unit is 64; allowed: 0 to 63\n"


def test_threads_of_the_c_library(run: Run, mine: Path) -> None:
    assert run(mine, "threads").stdout.startswith("2 ERR_WBITS 50 ")


def test_waiting_for_nobody_ends(run: Run, mine: Path) -> None:
    assert run(mine, "nothing").stdout.startswith("0 PENDING ")
