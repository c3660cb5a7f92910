"""A point takes what a notebook has at hand, and says shortly what it cannot take."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.point import Point


def test_a_path_is_a_name_of_a_file(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "sail-n1"\nname = "mine"\n')
    choice: Any = mine  # not what the hints ask for
    assert Point(system=choice) == Point(system=str(mine))
    assert Point(model=choice).model == Point(activations=choice).activations == str(mine)


@given(st.integers(1, 65535), st.sampled_from([np.int32, np.int64, np.uint32]))
def test_a_whole_number_of_numpy_is_one(batch: int, kind: Any) -> None:
    point = Point(batch=kind(batch), nbw=kind(3), kv_bits=kind(8))
    assert point == Point(batch=batch, nbw=3, kv_bits=8)
    assert {type(value) for value in (point.batch, point.nbw, point.kv_bits)} == {int}


@pytest.mark.parametrize("value", [np.float64(4.0), 4.0, True, "4", np.array([1, 2])])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(SailsimError, match=r"batch is .*; allowed is a whole number 1..65535"):
        Point(batch=value)


def test_a_machine_that_was_read_is_refused_in_a_line() -> None:
    machine: Any = load_system("sail-n1")
    with pytest.raises(SailsimError) as error:
        Point(system=machine)
    assert str(error.value) == "system is of the type System; allowed is a name or a path."
