"""Tests of the gem5 module. What needs gem5 itself runs where SAILSIM_GEM5 names a binary with the module."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.lut_gemv.trace import write_trace
from sailsim.sim.files import load_system, vary
from sailsim.sim.gem5.binary import VARIABLE, Gem5, Gem5Run
from sailsim.sim.system import System

ROOT = Path(__file__).parents[2]


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


def small_tiles() -> list[Tile]:
    """Eight tiles: plain, ragged, scaled, 16-bit activations, several passes."""
    random = np.random.default_rng(7)
    shapes = (
        (64, 40, 1, 4, 8, 4, 0),
        (128, 128, 2, 4, 8, 4, 32),
        (100, 33, 3, 3, 5, 2, 0),
        (256, 64, 1, 4, 8, 4, 64),
        (64, 1000, 2, 8, 8, 4, 0),
        (77, 50, 1, 2, 16, 3, 0),
        (128, 344, 4, 4, 8, 4, 0),
        (64, 40, 1, 4, 8, 4, 0),
    )
    return [_tile(random, *shape) for shape in shapes]


def _tile(
    random: np.random.Generator, k: int, n: int, batch: int, wbits: int, abits: int, nbw: int, group_size: int
) -> Tile:
    """A tile of evenly drawn activations, scaled where it has blocks: golden_stats.json is of these."""
    scales, most = None, 2 ** (abits - 1)
    if group_size:
        scales = Scales(
            random.uniform(0.01, 0.1, (-(-k // group_size), n)).astype(np.float16),
            random.uniform(0.01, 0.1, batch).astype(np.float32),
        )
    x = random.integers(-most, most, (batch, k)).astype(np.int8 if abits <= 8 else np.int16)
    codes = random.integers(0, 2**wbits, (k, n)).astype(np.uint8)
    code = WeightCode.twos(wbits)
    return Tile(x=x, codes=codes, code=code, abits=abits, nbw=nbw, group_size=group_size, scales=scales)


@pytest.fixture(scope="session")
def small_trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "small.trace"
    write_trace(path, small_tiles())
    return path


@pytest.fixture(scope="session")
def many_tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """128 small tiles."""
    path = tmp_path_factory.mktemp("trace") / "many.trace"
    random = np.random.default_rng(8)
    write_trace(path, [_tile(random, 64, 40, 1, 4, 8, 4, 0) for _ in range(128)])
    return path
