"""How often each part of the PIM units works in a tile: what energy is reckoned from.

Counts of the contract are of one DFM and of rows in lockstep arrays. Energy needs them over all slices and
only for the arrays and outputs that are in use, so this multiplies them out, exactly: every pass over the
outputs sees the same patterns, and only the last slice and the last pass have fewer outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import ceil
from typing import Any

from sailsim import _core

ACTIVITY = (
    "array_reads",
    "array_writes",
    "array_cycles",
    "convert_cycles",
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

array_reads, array_writes: one row of one array read or written; array_cycles: cycles in which one array
computes in place (the table's sums and the look-ups of substrates that accumulate in the array);
convert_cycles: the same while converting; unit_converts: sums and results that floating-point units at the
DFMs scale; entry_add_bits: bits of table entries added beside the array; accumulates: table entries, or
another DFM's sums, added to sums in a DFM; patterns: patterns formed, by each DFM; prt_searches: patterns
looked for in a PRT; prt_reads, prt_writes: rows of one array's width read from and written to a PRT;
port_bytes: weights and results through the slices' ports; activation_bytes: activations brought to the
units, each to every slice that has outputs.
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
        worked = sum(many * substrate.phase_cycles(phase, **widths) for phase, many in done.items())
        events["array_cycles"] = worked * each * used
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
    if config.convert == "memory" and per_convert > 0:
        rounds = sum(
            ceil(outputs / (per_convert * config.arrays)) for outputs in _passes(plan.owned, plan.lanes)
        )
        used_converting = _arrays(n, plan.owned, plan.lanes, per_convert)
        events["convert_cycles"] = timing.convert / rounds * used_converting
    # DFMs that share out the outputs form the same patterns, each for itself; idle ones form none.
    of_dfm = per_array * config.arrays // config.dfms
    feeding = 1 if config.dfm_split == "k" else ceil(plan.outputs_per_pass / of_dfm)
    events["patterns"] = timing.lookups * slices * feeding
    if prt:
        events["prt_searches"] = (timing.prt_hits + timing.prt_misses) * slices * feeding
        events["prt_reads"] = timing.prt_hits * each * used
        events["prt_writes"] = timing.prt_misses * each * used
    events["port_bytes"] = (timing.weight_bytes + timing.result_bytes) * n / plan.owned
    events["activation_bytes"] = k * batch * abits / 8 * slices
    return events


@lru_cache(maxsize=1024)
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
