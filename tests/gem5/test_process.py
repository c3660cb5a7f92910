"""What an operating system makes of a process holds for units: protections, forked children, doorbells."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sailsim.sim.files import vary
from sailsim.sim.gem5.binary import CPU_MODELS, Gem5Run

pytestmark = [pytest.mark.gem5, pytest.mark.aarch64]
ROOT = Path(__file__).parents[2]
COMPILER = shutil.which("aarch64-linux-gnu-g++")
CHECKPOINT = r"""
#include "lutmm_runtime.h"
#include <stdio.h>
#include <sys/mman.h>
static unsigned char weights[64] alignas(64), activations[64] alignas(64);
static lutmm_completion record alignas(64);
static lutmm_descriptor d alignas(64);
int main()
{
    void *output = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    d.weights = (uintptr_t)weights;
    d.activations = (uintptr_t)activations;
    d.output = (uintptr_t)output;
    d.completion = (uintptr_t)&record;
    d.k = d.n = d.abits = 8;
    d.batch = 1;
    d.wbits = d.nbw = 4;
    register unsigned long delay __asm__("x0") = 0, period __asm__("x1") = 0;
    __asm__ volatile(".inst 0xff430110" : : "r"(delay), "r"(period) : "memory"); // m5 checkpoint
    lutmm_submit(0, &d);
    puts(lutmm_status_name(lutmm_wait(&record, 1000000)));
}
"""
ENDINGS = """
#include <assert.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    (void)argv;
    if (argc == 3)
        exit(1);
    assert(argc == 1);
    abort();
}
"""
every_model = pytest.mark.parametrize("cpu", CPU_MODELS)


@pytest.fixture
def process(program: Callable[..., Gem5Run], kernels: Path) -> Callable[..., Gem5Run]:
    """Runs a case of the program whose checks none fails."""
    if not (kernels / "lutmm_process").exists():
        pytest.skip("the AArch64 programs are older than their sources (make kernels)")

    def run(case: str, **how: Any) -> Gem5Run:
        done = program("lutmm_process", "--timeout-ms", 1, "--case", case, **how)
        assert [line["failure"] for line in done.json_lines if "failure" in line] == []
        return done

    return run


def built(source: str, folder: Path, *words: object) -> Path:
    """A program of a text."""
    if COMPILER is None:
        pytest.skip("there is no aarch64-linux-gnu-g++")
    (folder / "source.cc").write_text(source)
    command = [COMPILER, "-static", "-o", "program", "source.cc", *map(str, words)]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "program"


@pytest.mark.parametrize("cpu", ["atomic", "o3"])
def test_units_obey_the_protections_of_pages(process, cpu):
    """Segments of its file, mmap, mprotect, munmap, mremap and brk; more is reserved than there is memory."""
    run = process("pages", cpu=cpu)
    answer = run.json_lines[-1]
    assert (run.status, answer["checks"], answer["emulated"]) == (0, 28, 0)


def test_protections_are_in_a_checkpoint(program, kernels, tmp_path):
    words = (f"-I{ROOT / 'sim_ext' / 'abi'}", f"-L{kernels}", "-llutmm")
    asks = built(CHECKPOINT, tmp_path, *words)
    small = ["--memory", "64MiB"]  # a checkpoint writes all of it
    whole = program(asks, cpu="atomic", extra=small)
    (checkpoint,) = whole.checkpoints
    rest = program(asks, to="rest", cpu="atomic", extra=[*small, "--restore", str(checkpoint)])
    assert ["ERR_FAULT" in run.output.splitlines() for run in (whole, rest)] == [True, True]


@every_model
def test_a_forked_child_has_units_and_memory_of_its_own(process, cpu):
    run = process("fork", cpu=cpu, cores=2)
    checks = {line["process"]: (line["checks"], line["emulated"]) for line in run.json_lines}
    assert checks == {"parent": (4, 0), "child": (4, 0)}
    assert [run.unit_stat(0, name) for name in ("rings", "tiles", "unreported")] == [8, 3, 0]


@every_model
def test_only_a_store_rings_a_doorbell(process, cpu):
    """A swap, an addition, a comparison and a store of 4 bytes ring neither with a descriptor nor with 0."""
    run = process("doorbell", cpu=cpu)
    assert (run.status, run.json_lines[-1]["checks"]) == (0, 4)
    assert [run.unit_stat(0, name) for name in ("rings", "tiles", "unreported")] == [2, 2, 0]


@every_model
def test_tiles_outlive_their_thread_when_another_takes_its_core(program, machine, small_trace, cpu):
    """Units are so slow that most tiles wait when the second thread begins."""
    words = ("--trace", small_trace, "--gone", "place", "--units", 2, "--timeout-ms", 5)
    run = program("lutmm_driver", *words, on=vary(machine, {"pim.clock": 0.1}), cpu=cpu, cores=2)
    (answer,) = run.json_lines
    assert (answer["ok"], answer["wrong_words"], answer["emulated"]) == (8, 0, 0)
    assert [sum(run.unit_stat(unit, name) for unit in range(2)) for name in ("tiles", "unreported")] == [8, 0]


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [((), 0, ""), (("x",), 0, "Assertion `argc == 1' failed."), (("x", "y"), 1, "")],
)
def test_abort_ends_with_status_0_and_exit_with_its_own(program, tmp_path, words, status, says):
    """docs/gem5.md says that gem5's emulation differs from Linux here."""
    run = program(built(ENDINGS, tmp_path), *words, cpu="atomic", units=0)
    assert (run.status, "Assertion" in run.output) == (status, bool(says))
    assert says in run.output
