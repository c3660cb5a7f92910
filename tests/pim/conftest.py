"""A plain slice that the tests of the core change where they need it different."""

from collections.abc import Callable
from typing import Any

import pytest

from sailsim import _core

MakeSlice = Callable[..., _core.SliceConfig]


@pytest.fixture(scope="session")
def make_slice() -> MakeSlice:
    """``make_slice(**changes)``: 4 arrays of 256 x 256, 32 PRT entries, substrate row_dfm."""

    def make(substrate: str = "row_dfm", **changes: Any) -> _core.SliceConfig:
        fields: dict[str, Any] = {
            "rows": 256,
            "cols": 256,
            "arrays": 4,
            "slices": 1,
            "port_bytes": 32,
            "accumulator_bits": 32,
            "prt_entries": 32,
            "prt_policy": "lru",
            "t_zero": 1,
            "t_prt": 1,
            "double_buffer": True,
            "convert_in_memory": True,
        }
        return _core.SliceConfig(**(fields | changes), substrate=_core.substrate(substrate))

    return make
