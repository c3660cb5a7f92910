"""A point by itself: the machine and the model that it names, and one step of SAIL on them."""

from __future__ import annotations

from sailsim.base.arguments import check_type
from sailsim.base.errors import SailsimError
from sailsim.sim.engine import StepResult, simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.sim.room import check_context, room_of
from sailsim.workloads.load import load_model


def simulate(point: Point) -> StepResult:
    """Simulate one step of SAIL at a point, decoding or prefill.

    Raises:
        SailsimError: as `simulate_step`; also where weights and KV cache do not fit the server's memory.
        ArgumentTypeError: what is no point.
    """
    check_type("point", point, Point, "is a Point")
    system, model = load_system(point.system), load_model(point.model).cached(point.kv_bits)
    check_context(model, point)
    room = room_of(system, model, point.formats(model), point.batch, point.context)
    if not room.fits:
        raise SailsimError(room.problem(model, point.formats(model), point.batch, point.context))
    return simulate_step(system, model, point)
