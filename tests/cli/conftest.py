"""gem5 as these tests have it."""

from pathlib import Path

import pytest

from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Tile
from sailsim.lut_gemv.trace_file import write_trace
from sailsim.sim.gem5.binary import VARIABLE

from .gem5_stand_in import Behave


@pytest.fixture
def log(tmp_path: Path, fake_gem5: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which every run of the stand-in leaves a line."""
    path = tmp_path / "runs.log"
    monkeypatch.setenv(VARIABLE, str(fake_gem5))
    monkeypatch.setenv("FAKE_GEM5_LOG", str(path))
    monkeypatch.delenv("FAKE_GEM5", raising=False)
    return path


@pytest.fixture
def behave(monkeypatch: pytest.MonkeyPatch) -> Behave:
    """Has the stand-in behave in one of its ways."""
    return lambda behaviour: monkeypatch.setenv("FAKE_GEM5", behaviour)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import numpy as np

    path = tmp_path_factory.mktemp("trace") / "one.trace"
    x, codes = np.ones((1, 8), np.int8), np.ones((8, 4), np.uint8)
    write_trace(path, [Tile(x=x, codes=codes, code=WeightCode.twos(4), abits=8, nbw=4)])
    return path
