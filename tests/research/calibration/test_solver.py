"""Least squares that says what its rows leave open, on problems whose answer is known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from calibration.solver import Parameter, Problem, held_out, solve


class FewRows(SimpleNamespace):
    """Measurements at ``x``, with labels to hold out by."""

    def where(self, keep):
        return FewRows(
            x=self.x[keep],
            measured=self.measured[keep],
            labels={name: values[keep] for name, values in self.labels.items()},
        )


def rows(predict, truth, x, labels=None):
    made = FewRows(x=np.asarray(x, dtype=float), measured=None, labels={"group": np.asarray(labels or x)})
    made.measured = predict(np.asarray(truth), made)
    return made


def parameter(name, start, low, high):
    return Parameter(name, start, low, high, "ratio", name)


def problem(predict, truth, x, *parameters, labels=None):
    return Problem(parameters, rows(predict, truth, x, labels), predict)


def line(v, rows):
    return v[0] + v[1] * rows.x


def test_values_that_are_determined_are_found_and_nothing_is_open():
    found = solve(problem(line, [2, 3], [1, 2, 3, 5], parameter("a", 1, 0, 9), parameter("b", 1, 0, 9)))
    assert found.values == pytest.approx([2, 3], rel=1e-6)
    assert found.open == found.ends == ()


@pytest.mark.parametrize("start", [0.5, 2.0, 6.0])
def test_two_that_cannot_be_told_apart_are_named_and_end_nearest_to_their_starts(start):
    def product(v, rows):
        return v[0] * v[1] * rows.x

    parts = parameter("a", start, 0.1, 10), parameter("b", start, 0.1, 10)
    found = solve(problem(product, [3, 4], [1, 2, 3], *parts))
    assert found.open in (("a with b",), ("b with a",))
    # The point of the curve a b = 12 that is nearest to (start, start): on its diagonal.
    assert found.values == pytest.approx([12**0.5, 12**0.5], rel=1e-3)
    (ends,) = found.ends
    assert all(end[0] * end[1] == pytest.approx(12, rel=1e-2) for end in ends)
    assert abs(np.log(ends[0][0] / ends[1][0])) > 0.5


def test_where_the_search_began_does_not_decide_what_is_open():
    def product(v, rows):
        return v[0] * v[1] * rows.x

    def from_there(x0):
        parts = parameter("a", 2.0, 0.1, 10), parameter("b", 3.0, 0.1, 10)
        made = problem(product, [3, 4], [1, 2, 3], *parts)
        return solve(made, starts=x0).values

    assert from_there(1) == pytest.approx(from_there(8), rel=1e-4)


def test_one_that_no_row_asks_for_stays_at_its_start():
    found = solve(problem(line, [2, 3], [1, 2, 3, 5], *(parameter(n, 1, 0, 9) for n in "abc")))
    assert found.open == ("c",)
    assert found.values[2] == 1
    assert [end[2] for end in found.ends[0]] == [0, 9]


def test_the_lowest_of_several_valleys_wins():
    def valleys(v, rows):
        return np.exp(0.3 * np.sin(3 * v[0]) * rows.x + 0.05 * v[0] * rows.x**2)

    made = problem(valleys, [8.0], [1, 1.5, 2], parameter("a", 1.0, 0.0, 10.0))
    alone, several = solve(made, starts=1), solve(made)
    assert several.values == pytest.approx([8.0], rel=1e-3)
    assert alone.cost > 1000 * several.cost


def test_a_row_that_the_others_say_nothing_of_is_not_predicted():
    def by_group(v, rows):
        return np.where(rows.labels["group"] == "x", v[0], v[1]) * rows.x

    parts = parameter("a", 1, 0.1, 9), parameter("b", 1, 0.1, 9)
    made = problem(by_group, [2, 3], [1, 2, 3, 4], *parts, labels=["x", "x", "y", "y"])
    found = held_out(made, "group")
    assert np.isnan(found.ratio).all()
    assert set(found.moved) == {"a", "b"}
    assert set(found.where(np.array([True, True, False, False])).moved) == {"a"}


def test_rows_that_were_not_held_out_have_no_ratio():
    made = problem(line, [2, 3], [1, 2, 3, 5, 6], parameter("a", 1, 0, 9), parameter("b", 1, 0, 9))
    among = made.rows.x > 4
    found = held_out(replace(made), "group", among)
    assert np.isnan(found.ratio[~among]).all()
    assert found.ratio[among] == pytest.approx([1, 1], rel=1e-6)
    assert found.moved == {}


def test_a_fold_is_the_problem_without_what_it_holds_out():
    """Where more than the parameters comes from the rows: here a slope that all rows' mean decides."""

    def with_slope(slope):
        def predict(v, rows):
            return v[0] + slope * rows.x

        return problem(predict, [2], [1, 2, 3, 5], parameter("a", 1, 0, 9), labels=["x", "x", "y", "y"])

    made = with_slope(1.0)
    found = held_out(made, "group", without=lambda group: with_slope(1.0 if group == "x" else 2.0))
    assert found.ratio[:2] == pytest.approx([1, 1], rel=1e-6)
    assert (found.ratio[2:] > 1.1).all()  # too steep, and told by the slope that it was fitted with
