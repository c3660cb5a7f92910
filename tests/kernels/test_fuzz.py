"""Random descriptors, most of them bad, by the driver under emulation: memory is as the core leaves it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sailsim.lut_gemv.descriptor import Status
from sailsim.sim import load_system

pytestmark = pytest.mark.aarch64

Run = Callable[..., Any]

# No trace is without answers at its end, the emulated unit holds all these tiles, and it has a unit 0.
UNREACHABLE = {Status.PENDING, Status.ERR_CAPACITY, Status.ERR_UNIT}


def fuzz(run: Run, oracles: ModuleType, folder: Path, count: int, seed: int) -> Counter[str]:
    """Runs random descriptors: every byte of the image must be what it is after the core has had them."""
    oracles.write_random_trace(folder / "random.trace", count, seed)
    statuses, expected = oracles.replayed(folder / "random.trace", load_system("sail-n1").slice_config())
    run("lutmm_driver", "--trace", folder / "random.trace", "--in-flight", 1, "--memory", folder / "memory")
    image = np.fromfile(folder / "memory", np.uint8)
    assert oracles.differing_words(image, expected).size == 0, seed
    return statuses


def test_a_thousand_descriptors(run: Run, oracles: ModuleType, tmp_path: Path) -> None:
    statuses = fuzz(run, oracles, tmp_path, 1000, seed=1)
    assert statuses["OK"] >= 300


@pytest.mark.slow
def test_twenty_thousand_descriptors(run: Run, oracles: ModuleType, tmp_path: Path) -> None:
    """Every status is met; the rarest is ERR_OVERFLOW."""
    statuses: Counter[str] = Counter()
    for seed in range(2, 22):
        statuses += fuzz(run, oracles, tmp_path, 1000, seed)
    for status in set(Status) - UNREACHABLE:
        assert statuses[status.name] >= 5, status


def test_a_memory_that_cannot_be_written(run: Run, oracles: ModuleType, tmp_path: Path) -> None:
    oracles.write_random_trace(tmp_path / "random.trace", 1, seed=1)
    result = run("lutmm_driver", "--trace", tmp_path / "random.trace", "--memory", "/none/x")
    assert (result.returncode, result.stderr) == (2, "error: --memory /none/x cannot be written\n")
