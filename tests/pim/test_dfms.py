"""Several DFMs a slice, conversion in floating-point units, and what a PRT hit leaves to do."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim import _core
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.operands import block_slices, group_slices
from sailsim.sim.machine.substrate import Substrate, load_substrate

from ..examples import examples

SUBSTRATES = ["row_dfm", "bit_serial", "bit_parallel"]

shapes = {
    "substrate": st.sampled_from(SUBSTRATES),
    "k": st.integers(1, 90),
    "n": st.integers(1, 1200),
    "batch": st.integers(1, 6),
    "nbw": st.integers(1, 4),
    "group_size": st.sampled_from([0, 1, 7, 32]),
    "scaled": st.booleans(),
    "dfms": st.sampled_from([1, 2, 4, 8]),
}


def random_profile(config: _core.SliceConfig, k: int, batch: int, nbw: int, group_size: int) -> Any:
    x = np.random.default_rng(k * batch).integers(-128, 128, (batch, k)).astype(np.int8)
    entries = config.prt_entries if config.substrate.prt_helps else 0
    return _core.pattern_profile(x, 8, nbw, group_size, entries, "lru")


def dfm_profiles(
    profile: _core.PatternProfile, k: int, nbw: int, group_size: int, dfms: int
) -> list[_core.PatternProfile]:
    """What each of ``dfms`` that share out the groups sees of a profile: groups of a block go round."""
    places = [
        place for block in block_slices(k, group_size) for place in range(len(group_slices(block, nbw)))
    ]
    dealt = np.array(places) % dfms
    parts = (profile.zero, profile.hits, profile.misses)
    return [_core.PatternProfile(*(part[dealt == dfm] for part in parts)) for dfm in range(dfms)]


def merged_rows(k: int, batch: int, nbw: int, group_size: int, dfms: int, scaled: bool) -> int:
    """Batch rows of sums that one of ``dfms`` adds to another's in a pass: at the end of every block.

    Where blocks have no scales, at the end of the pass. A DFM that had no group has no sums.
    """
    groups = [len(group_slices(block, nbw)) for block in block_slices(k, group_size)]
    return batch * sum(min(dfms, count) - 1 for count in (groups if scaled else [max(groups)]))


@examples(80)
@given(**shapes)
def test_dfms_that_share_out_k_count_and_take_what_the_reference_says(
    make_slice, substrate, k, n, batch, nbw, group_size, scaled, dfms
):
    config = make_slice(
        substrate, rows=1024, arrays=8, dfms=dfms, dfm_split="k", t_zero=2, t_prt=3, convert="cores"
    )
    profile = random_profile(config, k, batch, nbw, group_size)
    shape = (k, n, batch, 4, 4, 8, nbw, group_size)
    tile = _core.TileTimer(config, shape, scaled)
    plan, timing = tile.plan, tile.time([profile])[0]
    merges = merged_rows(k, batch, nbw=nbw, group_size=group_size, dfms=dfms, scaled=scaled)
    counts = reference.tile_counts(
        profile, nbw=nbw, passes=plan.passes, chunks=plan.batch_chunks, merges_per_pass=merges
    )
    assert timing.counts == counts.as_dict()

    # A turn takes as long as the slowest of the groups that the DFMs have in it.
    of_dfms = dfm_profiles(profile, k, nbw=nbw, group_size=group_size, dfms=dfms)
    assert sum(int(part.zero.sum()) for part in of_dfms) == int(profile.zero.sum())
    assert sum(int(part.hits.sum()) for part in of_dfms) == int(profile.hits.sum())
    if plan.batch_chunks > 1:
        return
    widths = {"weight": 4, "entry": plan.entry_bits, "accumulator": config.accumulator_bits}
    cycles = {
        phase: sum(each for _, each in config.substrate.tally(phase, **widths).values())
        for phase in ("lookup", "hit", "merge")
    }
    hit = 3 + cycles["hit"] if config.substrate.prt_helps else cycles["lookup"]
    each = 2 * profile.zero.astype(int) + hit * profile.hits + cycles["lookup"] * profile.misses
    per_block = -(-min(group_size or k, k) // nbw)
    expected, steps = 0, {}
    for block in range(0, plan.groups, per_block):
        groups = each[block : min(block + per_block, plan.groups)]
        expected += sum(int(groups[turn : turn + dfms].max()) for turn in range(0, len(groups), dfms))
        steps[block] = int(np.ceil(np.log2(min(dfms, len(groups)))))
    merging = sum(steps.values()) if scaled else steps[0]
    assert timing.lookup == plan.passes * (expected + batch * merging * cycles["merge"])


@examples(60)
@given(**shapes)
def test_dfms_that_share_out_n_change_no_cycle_and_no_count(
    make_slice, substrate, k, n, batch, nbw, group_size, scaled, dfms
):
    one = make_slice(substrate, rows=1024, arrays=8)
    many = make_slice(substrate, rows=1024, arrays=8, dfms=dfms, dfm_split="n")
    profile = random_profile(one, k, batch, nbw, group_size)
    shape = (k, n, batch, 4, 4, 8, nbw, group_size)
    alone, shared = (_core.TileTimer(config, shape, scaled).time([profile])[0] for config in (one, many))
    assert shared.total == alone.total
    assert shared.counts == alone.counts


def test_dfms_must_divide_the_arrays(make_slice):
    with pytest.raises(ValueError, match="dfms is 3: allowed are divisors of arrays, which is 4"):
        make_slice(arrays=4, dfms=3)


def own_substrate(**changes: Any) -> Substrate:
    table = load_substrate("bit_parallel").model_dump() | {"name": "mine"}
    table["phases"] |= changes.pop("phases", {})
    return Substrate.model_validate(table | changes)


def test_a_hit_where_sums_are_in_the_array_must_say_how_it_adds():
    with pytest.raises(ValueError, match=r"prt_helps is true, but phases\.hit has no step"):
        own_substrate(prt_helps=True)
