"""A plain slice that the tests of the core change where they need it different."""

from collections.abc import Callable
from typing import Any

import pytest

from sailsim import _core
from sailsim.sim.machine.system_files import load_system

MakeSlice = Callable[..., _core.SliceConfig]


@pytest.fixture(scope="session")
def make_slice() -> MakeSlice:
    """``make_slice(**changes)``: 4 arrays of 256 x 256, 32 PRT entries, substrate row_dfm."""

    def make(substrate: str = "row_dfm", **changes: Any) -> _core.SliceConfig:
        return load_system("sail-n1").slice_config(
            **{"arrays": 4, "slices": 1, "substrate": substrate} | changes
        )

    return make
