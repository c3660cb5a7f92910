"""What an operating system makes of a process holds for units: protections, forked children, doorbells."""

import gzip

import pytest

from sailsim.sim.gem5.binary import CPU_MODELS

from .conftest import ROOT, compiled, every_model

pytestmark = [pytest.mark.gem5, pytest.mark.aarch64]
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
MARKER = b"a constant of this program's file"
THREAD = r"""
#include <sched.h>
__attribute__((used)) static const char marker[] = "@";
static int left = 1; // the kernel clears it when the thread has ended
static char stack[4096] alignas(16);
static int thread(void *) { return 0; }
int main()
{
    clone(thread, stack + sizeof(stack), CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
          CLONE_SYSVSEM | CLONE_CHILD_CLEARTID, nullptr, nullptr, nullptr, &left);
    while (__atomic_load_n(&left, __ATOMIC_ACQUIRE))
        ;
    register unsigned long delay __asm__("x0") = 0, period __asm__("x1") = 0;
    __asm__ volatile(".inst 0xff430110" : : "r"(delay), "r"(period) : "memory"); // m5 checkpoint
}
""".replace("@", MARKER.decode())
MAPPED = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
int main(int, char **words)
{
    const int file = open(words[1], O_RDONLY);
    struct stat about;
    fstat(file, &about);
    const int advice = posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
    const auto *bytes = (const char *)mmap(nullptr, about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    long sum = 0;
    for (long i = 0; i < about.st_size; ++i)
        sum += bytes[i];
    printf("advice %d sum %ld\n", advice, sum);
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


@every_model
@pytest.mark.parametrize(
    ("case", "checks", "counts"),
    [
        ("pages", {"only": 28}, None),
        ("fork", {"parent": 4, "child": 4}, [8, 3, 0]),
        ("doorbell", {"only": 4}, [2, 2, 0]),
    ],
)
def test_what_linux_makes_of_a_process_holds_for_units(program, cpu, case, checks, counts):
    """Pages: segments of its file, mmap, mprotect, munmap, mremap and brk; more is reserved than there is
    memory. A forked child has units and memory of its own. Only a store rings a doorbell: a swap, an
    addition, a comparison and a store of 4 bytes ring neither with a descriptor nor with 0."""
    run = program("lutmm_process", "--timeout-ms", 1, "--case", case, cpu=cpu, cores=2)
    assert [line["failure"] for line in run.json_lines if "failure" in line] == []
    answers = {line["process"]: (line["checks"], line["emulated"]) for line in run.json_lines}
    assert (run.status, answers) == (0, {process: (count, 0) for process, count in checks.items()})
    assert counts in (None, [run.unit_stat(0, name) for name in ("rings", "tiles", "unreported")])


def test_protections_are_in_a_checkpoint(program, kernels, tmp_path):
    words = (f"-I{ROOT / 'sim_ext' / 'abi'}", f"-L{kernels}", "-llutmm")
    asks = compiled(CHECKPOINT, tmp_path, *words)
    small = ["--memory", "64MiB"]  # a checkpoint writes all of it
    whole = program(asks, cpu="atomic", extra=small)
    (checkpoint,) = whole.checkpoints
    rest = program(asks, to="rest", cpu="atomic", extra=[*small, "--restore", str(checkpoint)])
    assert ["ERR_FAULT" in run.output.splitlines() for run in (whole, rest)] == [True, True]


def test_a_thread_has_no_copy_of_the_program(program, tmp_path):
    """gem5 loads the file for each thread, line by line through every cache, and nothing reads it."""
    run = program(compiled(THREAD, tmp_path), cpu="atomic", cores=2, units=1, extra=["--memory", "64MiB"])
    (checkpoint,) = run.checkpoints
    (memory,) = checkpoint.glob("*.pmem")
    assert (run.status, gzip.decompress(memory.read_bytes()).count(MARKER)) == (0, 1)


@pytest.mark.parametrize("cpu", CPU_MODELS)
def test_threads_are_those_of_the_c_library(program, tmp_path, cpu):
    """Each has a mutex, a condition variable, storage of its own, allocation and an exception."""
    threads = compiled((ROOT / "workloads/kernels/example/threads.cc").read_text(), tmp_path, "-O2")
    run = program(threads, cpu=cpu, cores=5, units=0)
    sums = [line for line in run.output.splitlines() if line.startswith(("thread ", "sum "))]
    parts = [f"thread {rank} adds {sum(range(rank, 1000, 4))}" for rank in range(4)]
    last = f"sum {sum(range(1000))} by 4 threads, 0 in the first one's own"
    assert (run.status, sums) == (0, [*parts, last])


@pytest.mark.parametrize("cpu", ["atomic", "o3"])
def test_a_file_is_mapped_after_advice_on_it(program, tmp_path, cpu):
    (tmp_path / "numbers").write_bytes(bytes(range(100)) * 90)
    run = program(compiled(MAPPED, tmp_path), tmp_path / "numbers", cpu=cpu, units=0)
    assert (run.status, "advice 0 sum 445500" in run.output) == (0, True)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [((), 0, ""), (("x",), 0, "Assertion `argc == 1' failed."), (("x", "y"), 1, "")],
)
def test_abort_ends_with_status_0_and_exit_with_its_own(program, tmp_path, words, status, says):
    """docs/gem5.md says that gem5's emulation differs from Linux here."""
    run = program(compiled(ENDINGS, tmp_path), *words, cpu="atomic", units=0)
    assert (run.status, "Assertion" in run.output) == (status, bool(says))
    assert says in run.output
