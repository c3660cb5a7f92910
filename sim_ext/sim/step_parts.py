"""The operations of a point's step in parts, found once for the studies that ask again and again."""

from functools import lru_cache

from sailsim.base.errors import SailsimError
from sailsim.sim.parts import Part, parts_of
from sailsim.sim.point import Attention, Phase, Point
from sailsim.sim.same import Same
from sailsim.sim.system import System
from sailsim.workloads.experts import EXPECTED, Routing
from sailsim.workloads.formats import WeightFormat
from sailsim.workloads.graph import ACT_BYTES, attention_on_units, decode_step, prefill_step
from sailsim.workloads.model import ModelSpec

MAX_ROWS = 65535
"""What a descriptor can carry."""

PROMPT_CHUNK = 128
"""Tokens of each prompt whose queries look at the keys together where units attend, at most: of the powers of
two the fastest, of Llama 2 7B as of SmolLM2 (docs/decode.md)."""


def step_parts(
    system: System, model: ModelSpec, point: Point, routing: Routing = EXPECTED
) -> tuple[Part, ...]:
    """The parts of the step. Raises SailsimError for prompts of more rows than a descriptor can carry."""
    if point.phase == "prefill" and point.tokens > MAX_ROWS:
        raise SailsimError(
            f"batch x prompt is {point.tokens}; allowed is at most {MAX_ROWS} rows of one prefill."
        )
    fmt, line = Same(point.formats(model)), system.llc.line.whole
    chunk = prompt_chunk(system, model, point)
    return _known(
        Same(model), fmt, point.phase, point.batch, point.context, routing, point.attention, line, chunk
    )


def prompt_chunk(system: System, model: ModelSpec, point: Point) -> int:
    """Tokens of each prompt whose queries look at the keys together where units attend: `PROMPT_CHUNK`, or
    fewer (a power of two) if the LLC has no room for the scores of all heads and prompts; else 1."""
    if point.phase == "decode" or point.attention == "cores":
        return 1
    scores = ACT_BYTES * point.batch * model.n_heads * point.context
    chunk = PROMPT_CHUNK
    while chunk > 1 and chunk * scores > system.llc.size:
        chunk //= 2
    return chunk


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
    chunk: int,
) -> tuple[Part, ...]:
    if phase == "prefill":
        ops, queries = prefill_step(model.it, fmt.it, context, batch, routing), context
    else:
        ops, queries = decode_step(model.it, fmt.it, batch, context, routing), 1
    if attention == "units":
        ops = attention_on_units(ops, model.it, context, line, queries, chunk)
    return parts_of(ops)
