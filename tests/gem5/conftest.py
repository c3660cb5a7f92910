"""Tests of the gem5 module. What needs gem5 itself runs where SAILSIM_GEM5 names a binary with the module."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sailsim.lut_gemv.trace_file import write_trace
from sailsim.sim.gem5.binary import CPU_MODELS, VARIABLE, Gem5, Gem5Run
from sailsim.sim.gem5.validation import DrawnTile, drawn_tiles
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system, vary

ROOT = Path(__file__).parents[2]
COMPILER = "aarch64-linux-gnu-g++"
every_model = pytest.mark.parametrize("cpu", CPU_MODELS)


@pytest.fixture(scope="session")
def gem5() -> Gem5:
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} names no gem5 binary")
    return Gem5()


@pytest.fixture(scope="session")
def full_machine() -> System:
    return load_system("sail-n1")


@pytest.fixture(scope="session")
def machine(full_machine: System) -> System:
    """The machine with four slices, and so four units: gem5 builds it in a third of the time."""
    return vary(full_machine, {"llc.slices": 4})


@pytest.fixture(scope="session")
def kernels() -> Path:
    folder = ROOT / "build" / "kernels"
    if not (folder / "lutmm_driver").exists():
        pytest.skip("the AArch64 programs are not built (make kernels)")
    return folder


@pytest.fixture
def program(gem5: Gem5, machine: System, kernels: Path, tmp_path: Path) -> Callable[..., Gem5Run]:
    """Runs one of the AArch64 programs, or one by its path, on the machine with four slices or another."""

    def run(name: str | Path, *words: object, on: System = machine, to: str = "out", **how: Any) -> Gem5Run:
        return gem5.run(on, [str(kernels / name), *map(str, words)], tmp_path / to, **how)

    return run


@pytest.fixture
def script(gem5: Gem5, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script of gem5's with words; gem5's output directory is `to` in the test's folder."""

    def run(path: Path, *words: object, to: str = "out") -> subprocess.CompletedProcess[str]:
        command = [str(word) for word in (gem5.path, "-q", "-d", tmp_path / to, path, *words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "cannot import name" in done.stderr:
            pytest.skip("this gem5 was built without parts that its own standard library imports")
        return done

    return run


def compiled(source: str, folder: Path, *words: object, name: str = "program.cc") -> Path:
    """The AArch64 program of a text."""
    if shutil.which(COMPILER) is None:
        pytest.skip(f"there is no {COMPILER}")
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(source)
    subprocess.run([COMPILER, "-static", "-o", "program", name, *map(str, words)], cwd=folder, check=True)
    return folder / "program"


SHAPES = (
    DrawnTile(64, 40, 1, 4, 8, 4),
    DrawnTile(128, 128, 2, 4, 8, 4, 32),
    DrawnTile(100, 33, 3, 3, 5, 2),
    DrawnTile(256, 64, 1, 4, 8, 4, 64),
    DrawnTile(64, 1000, 2, 8, 8, 4),
    DrawnTile(77, 50, 1, 2, 16, 3),
    DrawnTile(128, 344, 4, 4, 8, 4),
    DrawnTile(64, 40, 1, 4, 8, 4),
)
"""Eight tiles: plain, ragged, scaled, 16-bit activations, several passes; golden_stats.json is of these."""


@pytest.fixture(scope="session")
def small_trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "small.trace"
    write_trace(path, drawn_tiles(SHAPES, 7))
    return path


@pytest.fixture(scope="session")
def many_tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """128 small tiles."""
    path = tmp_path_factory.mktemp("trace") / "many.trace"
    write_trace(path, drawn_tiles([SHAPES[0]] * 128, 8))
    return path
