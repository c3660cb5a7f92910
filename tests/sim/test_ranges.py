"""Lists of values in few words."""

import itertools
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.ranges import between, parse_numbers, parse_values, parts_of_list, spread, stepped


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("16,32,64", [16, 32, 64]),
        ("4:8", [4, 5, 6, 7, 8]),
        ("4:9:2", [4, 6, 8]),
        ("0.1:0.3:0.1", [0.1, 0.2, 0.3]),
        ("1:2:0.5", [1, 1.5, 2]),
        ("1..2/5", [1, 1.25, 1.5, 1.75, 2]),
        ("0..1/4", [0, 0.333333333, 0.666666667, 1]),
        ("1..64/7log", [1, 2, 4, 8, 16, 32, 64]),
        ("1..10/3log", [1, 3.16227766, 10]),
        ("4,4.0,2", [4, 2]),
        ("1e-3", [0.001]),
        ("true,false", [True, False]),
        ("1,true", [1, True]),
        (r"a\,b, c\\d", ["a,b", "c\\d"]),
        ("n,k", ["n", "k"]),
        ("8n-2,3", ["8n-2", 3]),
        ("./a:b.toml", ["./a:b.toml"]),
    ],
)
def test_values_of_a_text(text: str, values: list[object]) -> None:
    found = parse_values("x", text)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    "text", ["", "1,", "8:2", "1:2:0", "1:2:-1", "1:20000", "1..2/1", "2..1/3", "0..1/3log"]
)
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SailsimError, match=r"x is '.*'; allowed are values and ranges"):
        parse_values("x", text)


def test_steps_of_whole_numbers_and_words() -> None:
    assert parse_numbers("nbw", "2:6:2,auto", {"auto": 0}) == [2, 4, 6, 0]
    with pytest.raises(SailsimError, match="and auto"):
        parse_numbers("nbw", "2:3:0.5", {"auto": 0})


@given(
    st.lists(st.text(st.characters(exclude_characters="\\ \t", exclude_categories=["Z", "C"]), min_size=1))
)
def test_names_with_commas_come_back(names: list[str]) -> None:
    escaped = ",".join(name.replace(",", r"\,") for name in names)
    assert parts_of_list(escaped) == (names or [""])


@given(st.integers(-(10**6), 10**6), st.integers(0, 400), st.integers(1, 50))
def test_steps_are_those_of_python(first: int, length: int, step: int) -> None:
    assert stepped(first, first + length, step) == list(range(first, first + length + 1, step))


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(2, 200), st.booleans())
def test_a_spread_has_both_ends_and_goes_upwards(low: int, more: int, points: int, log: bool) -> None:
    found = spread(low, low + more, points, log)
    assert (found[0], found[-1]) == (low, low + more)
    assert all(one < other for one, other in itertools.pairwise(found))
    assert len(found) <= points


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(0, 1))
def test_between_is_between(one: float, other: float, share: float) -> None:
    low, high = sorted((one, other))
    for log in (False, True):
        found = between(low, high, share, log)
        assert low * (1 - 1e-8) <= found <= high * (1 + 1e-8)
        exact = low * (high / low) ** share if log else low + (high - low) * share
        assert found == pytest.approx(exact, rel=1e-7)


def test_a_range_is_reckoned_in_decimals() -> None:
    assert between(Decimal("0.1"), Decimal("0.3"), 0.5, False) == 0.2


@given(st.text("0123456789.:/-+elog, ab=\\", max_size=20))
def test_any_text_is_values_or_a_sentence(text: str) -> None:
    with suppress(SailsimError):
        assert parse_values("x", text)
