"""Grids: every combination once, in order; presets that ship."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.plan.file import expand, preset_names, preset_plan
from sailsim.sim.point import Point
from sailsim.sim.ranges import parse_numbers
from sailsim.workloads.load import load_model


def test_every_combination_once_in_order() -> None:
    points = expand([{"wbits": [2, 4], "batch": [1, 8]}, {"wbits": 4, "batch": 8}, {"prt": [True, False]}])
    assert [(p.wbits, p.batch) for p in points[:4]] == [(2, 1), (2, 8), (4, 1), (4, 8)]
    assert points[4:] == [Point(prt=False)]  # with the PRT, W4 at batch 1 is there already
    assert len(set(points)) == len(points)


@given(st.lists(st.integers(0, 999_999_999), min_size=1))
def test_lists_come_back(numbers: list[int]) -> None:
    assert parse_numbers("batch", ",".join(map(str, numbers))) == list(dict.fromkeys(numbers))


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_ranges_hold_both_ends(first: int, length: int) -> None:
    assert parse_numbers("batch", f"{first}:{first + length}") == list(range(first, first + length + 1))


@pytest.mark.parametrize(
    "text", ["", ",", "1,", "2:", ":3", "8:2", "1.5", "-1", "0x4", "1:20000", "1;2", "4 4"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SailsimError, match="wbits is"):
        parse_numbers("wbits", text)


def test_unknown_fields_and_empty_lists_are_refused() -> None:
    with pytest.raises(SailsimError, match="bits is neither a field of a point nor"):
        expand([{"bits": [4]}])
    with pytest.raises(SailsimError, match="wbits is an empty list"):
        expand([{"wbits": []}])


def test_a_sweep_too_large_for_one_folder_is_refused_at_once() -> None:
    many = list(range(1, 10_000))
    with pytest.raises(SailsimError, match="has 999700029999 combinations; allowed are 100000 at most"):
        expand([{"batch": many, "context": many, "seed": many}])


@pytest.mark.parametrize("name", preset_names())
def test_presets_name_what_ships(name: str) -> None:
    points = preset_plan(name).points
    assert points
    for system in {p.system for p in points}:
        assert load_system(system).has_pim
    for model in {p.model for p in points}:
        assert load_model(model).n_layers > 0
