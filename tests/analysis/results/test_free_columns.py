"""Figures fix every field of a point that changes its answer: none is mixed with another's."""

from dataclasses import fields, replace

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.results.joins import as_frame
from sailsim.analysis.results.results import FREE, Runs
from sailsim.analysis.results.runs import SAIL, runs
from sailsim.sim.point import Point

OTHERS = {"prt", "seed", "activations"}
"""Which are fixed by their own names."""
CHANGES_NOTHING = {"beyond_limit"}
"""It allows a point and does not change it."""


def test_every_field_of_a_point_is_fixed() -> None:
    assert set(FREE) | OTHERS | CHANGES_NOTHING == {field.name for field in fields(Point)}


def test_steps_with_and_without_halves_are_two_points_to_a_figure() -> None:
    point = Point(model="smollm2-135m", context=64, batch=2, threads=8)
    frame = as_frame([*runs(replace(point, overlap=True)), *runs(point)])
    results = Runs.of(frame, prices())
    own = results.frame[results.frame["runner"] == SAIL]
    assert sorted(own["overlap"]) == [False, True]
    assert results.reference["overlap"] == False  # noqa: E712  # NumPy's
    (shown,) = results.at(()).to_dict("records")
    assert not shown["overlap"]
