"""How programs end in gem5's syscall emulation, where docs/gem5.md says that it differs from Linux."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.system import System

pytestmark = pytest.mark.gem5
COMPILER = shutil.which("aarch64-linux-gnu-gcc")
SOURCE = """
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


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [((), 0, ""), (("x",), 0, "Assertion `argc == 1' failed."), (("x", "y"), 1, "")],
)
def test_abort_ends_with_status_0_and_exit_with_its_own(
    gem5: Gem5, machine: System, tmp_path: Path, words: tuple[str, ...], status: int, says: str
) -> None:
    if COMPILER is None:
        pytest.skip("there is no aarch64-linux-gnu-gcc")
    (tmp_path / "ends.c").write_text(SOURCE)
    subprocess.run([COMPILER, "-static", "-o", "ends", "ends.c"], cwd=tmp_path, check=True)
    run = gem5.run(machine, [str(tmp_path / "ends"), *words], tmp_path / "out", cpu="atomic", pim=False)
    assert (run.status, "Assertion" in run.output) == (status, bool(says))
    assert says in run.output
