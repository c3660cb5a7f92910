"""What `rtl/` is told: a tile in its descriptor's fields, for test benches."""

from __future__ import annotations

from math import ceil

from sailsim import _core
from sailsim.sim.rtl import WORD_BITS, require
from sailsim.sim.step.tiles import TileShape


def tile_fields(
    config: _core.SliceConfig, shape: TileShape, scaled: bool = False, minimum: bool = False
) -> dict[str, int]:
    """A tile in the fields of `sail_unit`'s port `tile_*`, but for the values of its weight code.

    Raises:
        ValueError: a tile that does not fit, or that takes chunks of its batch, each a tile of its own here.
    """
    plan = _core.plan_tile(config, shape, scaled, minimum)
    require("minimum", minimum, not minimum or config.convert == "cores", "minima where the cores convert")
    require("batch", shape.batch, plan.batch_chunks == 1, f"{plan.chunk_rows} rows of this shape")
    bits = config.accumulator_bits
    require("accumulator_bits", bits, bits == WORD_BITS or not scaled, f"{WORD_BITS} of sums with scales")
    return {
        "k": shape.k,
        "block": min(shape.group_size or shape.k, shape.k),
        "words": plan.groups * shape.batch,
        "rows": shape.batch,
        "outputs": plan.owned,
        "lanes": plan.outputs_per_pass,
        "passes": ceil(plan.owned / plan.outputs_per_pass),
        "keep": int(plan.keeps_activations),
        "scaled": int(scaled),
    }
