"""Pattern reuse: breakdowns that can be counted by hand, and sums that must be the engine's."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reuse import (
    cycles as of_cycles,
)
from reuse import (
    definitions as of_definitions,
)
from reuse import (
    patterns as of_patterns,
)
from reuse import (
    quantizers as of_quantizers,
)
from reuse import (
    settings as of_settings,
)
from reuse.keys import PrtKey
from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.counts import PrtConfig
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.workloads.activations import Activations
from sailsim.workloads.load import load_model
from sailsim.workloads.model import ROLES


def capture(codes: dict[str, list[list[int]]]) -> Activations:
    """A capture of one block whose 8-bit integers are the given rows; scale 1."""
    full = {role: np.array(codes.get(role, [[0, 127]]), np.int64) for role in ROLES}
    tokens = {len(rows) for rows in full.values()}
    longest = max(tokens)
    as_codes = {
        role: np.rint(np.resize(rows, (longest, rows.shape[1])) * (32767 / 127)).astype(np.int16)[None]
        for role, rows in full.items()
    }
    meta = {"model": "hand", "model_key": "hand", "n_layers": 1, "date": "2026-11-24"}
    scales = {role: np.ones((1, longest), np.float32) for role in ROLES}
    return Activations(meta, (0,), as_codes, scales)


@pytest.fixture(scope="module")
def shipped() -> Activations:
    return Activations.load()


@pytest.fixture(scope="module")
def small(shipped: Activations) -> Activations:
    """Two blocks and eight tokens of the shipped capture: quick."""
    cut = dict(shipped.codes), dict(shipped.scales)
    codes = {role: a[:2, :8] for role, a in cut[0].items()}
    scales = {role: a[:2, :8] for role, a in cut[1].items()}
    return Activations(shipped.meta, shipped.layers[:2], codes, scales)


def test_outcomes_by_bit_and_role_of_one_group_counted_by_hand():
    # 5 = 101, 127 = 1111111: bits 0..7 of the pair are 11 10 11 10 10 10 10 00 (127 first in the number).
    # 11 is new, 10 is new, 11 hits, 10 hits four times, and the sign plane is zero.
    found = of_patterns.patterns(capture({"attn_out": [[5, 127]]}), "token", 1)
    own = found[(found["role"] == "attn_out") & (found["nbw"] == 2)].set_index("bit")
    assert own["zero"].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    assert own["hits"].tolist() == [0, 0, 1, 1, 1, 1, 1, 0]
    assert own["misses"].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    # The other roles hold [0, 127]: 10 once read, six hits, one zero.
    other = found[(found["role"] == "head") & (found["nbw"] == 2)]
    assert other[["zero", "hits", "misses"]].sum().tolist() == [1, 6, 1]
    # q, k, v count three times, o once, gate and up twice, down and head once: the pair is
    # one of eight.
    whole = of_patterns.shares(found[found["nbw"] == 2]).iloc[0]
    assert whole["hits"] == (7 * 6 + 5) / (8 * 8)
    assert whole["lookups"] == 8 * 8


def test_batch_rows_share_the_prt_and_tiles_do_not():
    captured = capture({role: [[127, 127], [127, 127]] for role in ROLES})
    one = of_patterns.shares(of_patterns.patterns(captured, "token", 1)).iloc[0]
    two = of_patterns.shares(of_patterns.patterns(captured, "token", 2)).iloc[0]
    assert (one["zero"], one["misses"]) == (1 / 8, 1 / 8)
    assert (two["zero"], two["misses"]) == (1 / 8, 1 / 16)


def test_group_patterns_are_the_references(shipped: Activations):
    x = shipped.quantized("attn_in", 0, 30, 70, 3)
    for nbw in (1, 3, 6):
        planes = of_patterns.group_patterns(x, nbw, group_size=32)
        groups = reference.all_groups(70, nbw, 32)
        for g, group in enumerate(groups):
            assert (reference.form_patterns(x[:, group], 8) == planes[:, :, g].T).all()


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=12), st.integers(2, 6))
def test_partial_tables_hold_what_is_looked_up_and_what_that_is_made_of(row: list[int], nbw: int):
    x = np.array([row], np.int8)
    needed = 0
    for group in reference.all_groups(len(row), nbw, 0):
        built = set()
        for p in reference.form_patterns(x[:, group], 8)[0].tolist():
            while p.bit_count() > 1:
                built.add(p)
                p -= 1 << (p.bit_length() - 1)
        needed += len(built)
    assert of_patterns.entries_needed(x, nbw, group_size=0) == needed


def test_a_rule_with_a_place_for_each_pattern_is_the_unlimited_table():
    unlimited = of_patterns.Rule(PrtConfig(16))
    assert of_patterns.Rule(PrtConfig(15, "fifo")).simplest(4) == unlimited
    assert of_patterns.Rule(PrtConfig(15, "direct")).simplest(4) == unlimited
    assert of_patterns.Rule(PrtConfig(32, "direct"), PrtKey("modulo", tagged=False)).simplest(4) == unlimited
    for rule in (
        of_patterns.Rule(PrtConfig(14)),
        of_patterns.Rule(PrtConfig(14, "direct")),
        of_patterns.Rule(PrtConfig(enabled=False)),
        of_patterns.Rule(PrtConfig(32), PrtKey(flushed=False)),
        of_patterns.Rule(PrtConfig(8, "direct"), PrtKey("fold", tagged=False)),
    ):
        assert rule.simplest(4) == rule


@pytest.mark.parametrize("batch", [1, 8])
def test_first_batches_add_up_to_the_counts_of_a_simulated_step(shipped: Activations, batch: int):
    model = load_model("smollm2-135m")
    nbw = 4
    point = Point(model=model.name, nbw=nbw, batch=batch)
    config = load_system("sail-n1").slice_config()
    expected = simulate_step(load_system("sail-n1"), model, point, shipped).counts
    # Every block of the model takes the rows of the nearest captured one.
    total, counted = np.zeros(4, np.int64), {}
    for linear in (*(one for i in range(model.n_layers) for one in model.layer_linears(i)), model.head):
        x = shipped.quantized(linear.role, linear.layer, model.n_layers, linear.k, batch)
        if (key := x.tobytes()) not in counted:
            rows = of_quantizers.RoundedRows(x, 1, 1)
            counted[key] = of_patterns.count(rows, "token", batch, nbw, of_patterns.UNIT).sum(axis=0)
        plan = _core.plan_tile(
            config, (linear.k, linear.n, batch, 4, 4, 8, nbw, of_settings.GROUP_SIZE), True
        )
        total += plan.passes * counted[key]
    assert total[:3].tolist() == [expected[key] for key in ("zero_patterns", "prt_hits", "prt_misses")]


@pytest.mark.parametrize("name", list(of_quantizers.QUANTIZERS))
def test_quantizers_keep_their_widths_and_their_error_small(small: Activations, name: str):
    made = of_quantizers.QUANTIZERS[name]
    rows = of_quantizers.rounded_rows(small, name, "ffn_in", 4)
    assert len(rows.ints) == 2 * 8 * made.parts
    low, high = (
        (-(1 << (made.planes - 1)), (1 << (made.planes - 1)) - 1)
        if made.signed
        else (0, (1 << made.planes) - 1)
    )
    assert low <= rows.ints.min()
    assert rows.ints.max() <= high
    assert rows.noise < 0.02 * rows.signal
    found = of_patterns.patterns(small, name, 4)
    lookups = found[["zero", "hits", "misses"]].sum(axis=1)
    assert (lookups == found["groups"] * made.parts).all()
    assert (found["wrong"] == 0).all()


def test_the_nearest_is_the_nearest_and_says_how_many_were_tried():
    row = {
        "change": of_definitions.ON_TOP,
        "of": "build + look-up + convert",
        "substrate": "row_dfm",
        "read": 1,
    }
    row |= {"t_zero": 0, "t_prt": 0, "machine": "row_dfm, zero 0, hit 0", "model": "llama-2-7b", "batch": 1}
    rows = [row | {"nbw": nbw, "value": value} for nbw, value in ((2, 20.0), (3, 13.0), (4, 5.0), (5, 0.0))]
    rows.append(row | {"change": of_definitions.SKIP, "t_prt": None, "nbw": 2, "value": 13.9})
    found = of_definitions.nearest_of(pd.DataFrame(rows), "x")
    assert found.claim == 13.8
    assert (found.nearest.change, found.nearest.value) == (of_definitions.SKIP, 13.9)
    assert (found.nearest_prt.nbw, found.nearest_prt.value) == (3, 13.0)
    assert found.nearest_prt.distance == pytest.approx(-0.8)
    assert (found.literal.nbw, found.literal_range) == (4, (5.0, 20.0))
    assert (found.values, found.definitions, found.within) == (4, 2, 2)
    assert "nearest of 4 values of 2 definitions" in found.remark
    assert of_definitions.nearest_of(pd.DataFrame(rows), "x", claim=19.0).nearest.value == 20.0
    json.dumps(found.as_dict())
    with pytest.raises(SailsimError, match="no value other than 0"):
        of_definitions.nearest_of(pd.DataFrame(rows)[3:4], "x")


def test_the_plain_sense_is_the_reading_of_that_definition(shipped: Activations):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_settings, "CLAIM_NBWS", (4,))
        patch.setattr(of_settings, "BATCHES", (1,))
        read = of_definitions.readings(
            of_cycles.steps(shipped, of_settings.MODELS[0], 1), of_cycles.partial_tables(shipped)
        )
    assert of_definitions.nearest_of(read, "x").literal.value == of_definitions.plain_sense(shipped, 4)
