"""How often each part of the PIM units works in a tile: what energy is reckoned from.

Counts of the contract are of one DFM and of rows in lockstep arrays. Energy needs them over all slices and
only for the arrays and outputs that are in use, so this multiplies them out, exactly: every pass over the
outputs sees the same patterns, and only the last slice and the last pass have fewer outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np

from sailsim import _core
from sailsim.sim.substrate import OPERATIONS

COMPUTE = {operation: f"compute_{operation}_cycles" for operation in OPERATIONS}
"""Operation -> event: cycles in which one array does it in place, for sums and look-ups."""
CONVERT = {operation: f"convert_{operation}_cycles" for operation in OPERATIONS}
"""The same while converting."""
ACTIVITY = (
    "array_reads",
    "array_writes",
    *COMPUTE.values(),
    *CONVERT.values(),
    "unit_converts",
    "entry_add_bits",
    "accumulates",
    "patterns",
    "prt_searches",
    "prt_reads",
    "prt_writes",
    "port_bytes",
    "activation_bytes",
)
"""Events of all slices together.

array_reads, array_writes: one row of one array read or written; compute_..._cycles: cycles in which one array
computes in place, by operation (the table's sums and the look-ups of substrates that accumulate in the
array); convert_..._cycles: the same while converting; unit_converts: sums and results that floating-point
units at the DFMs scale; entry_add_bits: bits of table entries added beside the array; accumulates: table
entries, or another DFM's sums, added to sums in a DFM; patterns: patterns formed, by each DFM; prt_searches:
patterns looked for in a PRT; prt_reads, prt_writes: rows of one array's width read from and written to a PRT;
port_bytes: weights, results and activations read again through the slices' ports; activation_bytes:
activations brought to the units, each to every slice that has outputs.
"""


def activity(
    config: _core.SliceConfig,
    plan: _core.TilePlan,
    timing: _core.TileTiming | _core.TileTimings,
    *,
    n: int,
    k: int,
    batch: int,
    value_bits: int,
    abits: int,
) -> dict[str, Any]:
    """Events by `ACTIVITY` of a tile of ``n`` outputs and ``k`` inputs, over all slices.

    ``plan`` and ``timing`` are the busiest slice's, as the core reports them; of many timings an array has
    the events that differ.
    """
    substrate = config.substrate
    columns, in_array = substrate.layout == "columns", substrate.accumulate == "in_array"
    slices = ceil(n / plan.owned)
    per_array = config.cols // plan.lane_bits
    convert_lane = 1 if columns else max(config.accumulator_bits, 32)
    per_convert = config.cols // convert_lane

    used = _arrays(n, plan.owned, plan.lanes, per_array)
    each = 1 / plan.passes  # of the busiest slice's counts: those of one pass over the outputs
    prt = substrate.prt_helps and config.prt_entries > 0
    events: dict[str, Any] = dict.fromkeys(ACTIVITY, 0.0)

    widths = {"weight": value_bits, "entry": plan.entry_bits, "accumulator": config.accumulator_bits}
    done = {
        "table_add": timing.table_adds,
        "lookup": timing.prt_misses,
        "hit": timing.prt_hits,
        "merge": timing.merges if in_array else 0,  # else sums are beside the array
    }

    def rows(phase: str, operation: str) -> int:
        """Rows of an array that a phase reads or writes once, as its tally says."""
        return substrate.times(phase, operation, **widths)

    staged = (timing.row_writes - timing.table_adds) * rows("stage", "write")  # counted are weights
    if in_array:
        # Every cycle of the sums and look-ups is one operation on rows; a zero pattern touches none.
        for operation, event in COMPUTE.items():
            worked = sum(
                many * substrate.operation_cycles(phase, operation, **widths) for phase, many in done.items()
            )
            events[event] = worked * each * used
        events["array_writes"] = staged * each * used
    else:
        reads, writes = (
            sum(many * rows(phase, operation) for phase, many in done.items())
            for operation in ("read", "write")
        )
        events["array_reads"] = reads * each * used
        events["array_writes"] = (staged + writes) * each * used
        events["entry_add_bits"] = timing.table_adds * each * n * plan.entry_bits
        events["accumulates"] = (timing.prt_hits + timing.prt_misses + timing.merges) * each * n
    events["unit_converts"] = timing.unit_converts * n / plan.owned
    if config.convert == "memory" and np.any(timing.convert):
        rounds = sum(
            ceil(outputs / (per_convert * config.arrays)) for outputs in _passes(plan.owned, plan.lanes)
        )
        used_converting = _arrays(n, plan.owned, plan.lanes, per_convert)
        for operation, share in _converting(config, plan.blocks, value_bits, plan.entry_bits).items():
            events[CONVERT[operation]] = share * timing.convert / rounds * used_converting
    # DFMs that share out the outputs form the same patterns, each for itself; idle ones form none.
    of_dfm = per_array * config.arrays // config.dfms
    feeding = 1 if config.dfm_split == "k" else ceil(plan.outputs_per_pass / of_dfm)
    events["patterns"] = timing.lookups * slices * feeding
    if prt:
        events["prt_searches"] = (timing.prt_hits + timing.prt_misses) * slices * feeding
        events["prt_reads"] = timing.prt_hits * each * used
        events["prt_writes"] = timing.prt_misses * each * used
    events["port_bytes"] = (
        (timing.weight_bytes + timing.result_bytes + timing.activation_bytes) * n / plan.owned
    )
    events["activation_bytes"] = k * batch * abits / 8 * slices
    return events


def _converting(config: _core.SliceConfig, blocks: int, value_bits: int, entry_bits: int) -> dict[str, float]:
    """Shares of the cycles of in-memory conversion that each operation has, in a tile of so many blocks.

    Of each block a sum is converted and scaled, and at the end scaled once more.
    """
    substrate, bits = config.substrate, config.accumulator_bits
    widths = {"weight": value_bits, "entry": entry_bits, "accumulator": bits}
    cycles: Counter[str] = Counter()
    for (operation, n), times in _core.int_to_fp32_tally(bits).items():
        cycles[operation] += blocks * times * substrate.cycles(operation, n)
    for operation in OPERATIONS:
        cycles[operation] += blocks * substrate.operation_cycles("scale_block", operation, **widths)
        cycles[operation] += substrate.operation_cycles("scale_row", operation, **widths)
    whole = cycles.total()
    return {operation: cycles[operation] / whole for operation in OPERATIONS}


def _arrays(n: int, owned: int, lanes: int, lanes_of_array: int) -> int:
    """Arrays in use, over the passes and slices, where one array has so many lanes."""
    slices = ceil(n / owned)
    return sum(
        many * sum(ceil(outputs / lanes_of_array) for outputs in _passes(outputs_owned, lanes))
        for outputs_owned, many in ((owned, slices - 1), (n - owned * (slices - 1), 1))
    )


def _passes(owned: int, lanes: int) -> Iterator[int]:
    """Outputs of each pass of a slice that owns some."""
    while owned > 0:
        yield min(owned, lanes)
        owned -= lanes
