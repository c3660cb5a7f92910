"""Events of a tile against counting them one slice, one pass and one array at a time."""

from collections import Counter
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim import _core
from sailsim.sim.backend import ACTIVITY, COMPUTE, CONVERT
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.step.tiles import TileShape, activity

from ...examples import examples


def timed(substrate="row_dfm", n=100, k=64, batch=2, wbits=4, abits=8, nbw=4, scaled=True, **config):
    """Config, plan, timing and events of a tile of random activations."""
    slice_config = load_system("sail-n1").slice_config(substrate=substrate, **config)
    shape = (k, n, batch, wbits, wbits, abits, nbw, 0)
    x = np.random.default_rng(n * k + batch).integers(-128, 128, (batch, k), dtype=np.int8)
    profile = _core.pattern_profile(x, abits, nbw, 0, slice_config.prt_entries, "lru")
    tile = _core.TileTimer(slice_config, shape, scaled)
    (timing,) = tile.time([profile])
    events = activity(slice_config, tile.plan, timing, TileShape(*shape))
    return slice_config, tile.plan, timing, events


def used_to_convert(config):
    """Arrays that convert 8 sums."""
    return 1 if config.substrate.layout == "columns" else ceil(8 / (config.cols // config.accumulator_bits))


def by_hand(config, plan, n, lanes_of_array):
    """Sum over slices and passes of the arrays in use."""
    total, left = 0, n
    while left > 0:
        owned = min(left, plan.owned)
        left -= owned
        while owned > 0:
            outputs = min(owned, plan.lanes)
            total += ceil(outputs / lanes_of_array)
            owned -= outputs
    return total


@given(
    n=st.integers(1, 4000),
    batch=st.integers(1, 5),
    nbw=st.integers(2, 5),
    arrays=st.integers(1, 4),
    slices=st.integers(1, 8),
)
@examples(40)
def test_row_dfm_events_are_the_counts_times_what_is_in_use(n, batch, nbw, arrays, slices):
    config, plan, timing, events = timed(n=n, batch=batch, nbw=nbw, arrays=arrays, slices=slices)
    used = by_hand(config, plan, n, config.cols // plan.lane_bits)
    passes = plan.passes
    assert events["array_reads"] == pytest.approx(timing.row_reads / passes * used)
    assert events["array_writes"] == pytest.approx(timing.row_writes / passes * used)
    assert events["prt_reads"] == pytest.approx(timing.prt_hits / passes * used)
    assert events["prt_writes"] == pytest.approx(timing.prt_misses / passes * used)
    nonzero = (timing.prt_hits + timing.prt_misses) / passes
    assert events["accumulates"] == pytest.approx(nonzero * n)
    assert events["entry_add_bits"] == pytest.approx(timing.table_adds / passes * n * plan.entry_bits)
    assert not any(events[event] for event in COMPUTE.values())
    busiest = timing.weight_bytes + timing.result_bytes
    assert events["port_bytes"] == pytest.approx(busiest * n / plan.owned)
    assert events["activation_bytes"] == 64 * batch * ceil(n / plan.owned)
    assert all(value >= 0 for value in events.values())


@pytest.mark.parametrize("substrate", ["row_dfm", "bit_serial", "bit_parallel"])
def test_conversion_is_told_by_operation(substrate):
    config, plan, timing, events = timed(substrate, n=32 * 8, k=64, batch=3)
    assert plan.blocks == 1
    tally = Counter()
    for (operation, n), times in _core.int_to_fp32_tally(config.accumulator_bits).items():
        tally[operation] += times * config.substrate.cycles(operation, n)
    tally["fp_mul"] += 2 * config.substrate.cycles("fp_mul", 32)  # of the block's scale, and of the row's
    tally["fp_add"] += config.substrate.cycles("fp_add", 32)
    if substrate == "row_dfm":  # its sums are in the DFMs and have to be written into the arrays
        tally["write"] += config.substrate.cycles("write", 32)
    assert timing.convert == 3 * tally.total()
    for operation, event in CONVERT.items():
        assert events[event] == pytest.approx(3 * tally[operation] * used_to_convert(config) * config.slices)


def test_dfms_that_share_out_n_each_form_the_patterns_of_the_outputs_they_have():
    _, _, timing, one = timed(n=32 * 400)
    _, _, _, four = timed(n=32 * 400, dfms=4)  # 400 of 672 lanes a slice: three of four DFMs
    assert four["patterns"] == 3 * one["patterns"] == 3 * timing.lookups * 32
    assert four["prt_searches"] == 3 * one["prt_searches"]
    assert {name for name in ACTIVITY if four[name] != one[name]} == {"patterns", "prt_searches"}


@pytest.mark.parametrize("substrate", ["row_dfm", "bit_serial", "bit_parallel"])
def test_dfms_that_share_out_k_do_the_same_in_fewer_arrays_and_add_sums_up(substrate):
    # 8 outputs a slice: one pass either way, in one array of the 16, or of the 4 of a DFM.
    config, plan, timing, one = timed(substrate, n=32 * 8, convert="cores")
    _, _, shared, four = timed(substrate, n=32 * 8, convert="cores", dfms=4, dfm_split="k")
    assert shared.total < timing.total
    assert shared.merges == 2 * 3
    operations = {"bit_serial": ("read", "write", "add"), "bit_parallel": ("read", "write", "add")}
    grown = {COMPUTE[operation] for operation in operations.get(substrate, ())} or {"accumulates"}
    assert {name for name in ACTIVITY if four[name] != pytest.approx(one[name])} == grown
    if substrate == "row_dfm":
        assert four["accumulates"] - one["accumulates"] == pytest.approx(2 * 3 * 32 * 8)
    else:
        widths = {"weight": 4, "entry": plan.entry_bits, "accumulator": config.accumulator_bits}
        merging = 2 * 3 * sum(cycles for _, cycles in config.substrate.tally("merge", **widths).values())
        more = sum(four[event] - one[event] for event in COMPUTE.values())
        assert more == pytest.approx(merging * 32)
