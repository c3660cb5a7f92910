"""The operations of a point's step in parts, found once for the studies that ask again and again."""

from functools import lru_cache

from sailsim.base.errors import SailsimError
from sailsim.sim.parts import Part, parts_of
from sailsim.sim.point import Attention, Phase, Point
from sailsim.sim.same import Same
from sailsim.sim.system import System
from sailsim.workloads import (
    EXPECTED,
    ModelSpec,
    Routing,
    WeightFormat,
    attention_on_units,
    decode_step,
    prefill_step,
)

MAX_ROWS = 65535
"""What a descriptor can carry."""


def step_parts(
    system: System, model: ModelSpec, point: Point, routing: Routing = EXPECTED
) -> tuple[Part, ...]:
    """The parts of the step. Raises SailsimError for prompts of more rows than a descriptor can carry."""
    if point.phase == "prefill" and point.tokens > MAX_ROWS:
        raise SailsimError(
            f"batch x prompt is {point.tokens}; allowed is at most {MAX_ROWS} rows of one prefill."
        )
    fmt, line = Same(point.formats(model)), system.llc.line.whole
    return _known(Same(model), fmt, point.phase, point.batch, point.context, routing, point.attention, line)


@lru_cache(maxsize=64)
def _known(
    model: Same[ModelSpec],
    fmt: Same[WeightFormat],
    phase: Phase,
    batch: int,
    context: int,
    routing: Routing,
    attention: Attention,
    line: int,
) -> tuple[Part, ...]:
    if phase == "prefill":
        return parts_of(prefill_step(model.it, fmt.it, context, batch, routing))
    ops = decode_step(model.it, fmt.it, batch, context, routing)
    if attention == "units":
        ops = attention_on_units(ops, model.it, context, line)
    return parts_of(ops)
