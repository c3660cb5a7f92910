"""A point by itself: the machine and the model that it names, and one decode step of SAIL on them."""

from __future__ import annotations

from sailsim.sim.engine import StepResult, simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.workloads import load_model


def simulate(point: Point) -> StepResult:
    """Simulate one decode step of SAIL at a point. Raises SailsimError as `simulate_step`."""
    return simulate_step(load_system(point.system), load_model(point.model), point)
