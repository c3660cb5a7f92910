"""Pattern reuse: breakdowns that can be counted by hand, and sums that must be the engine's."""

import dataclasses
import json
from pathlib import Path

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
    measure as of_measure,
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
from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.counts import PrtConfig, PrtKey
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.sim.study.folder import Store
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


def test_structure_of_known_patterns():
    captured = capture({role: [[127, 127], [127, 0]] for role in ROLES})
    found = of_patterns.structure(captured)
    own = found[(found["role"] == "head") & (found["nbw"] == 2)].set_index("bit")
    assert own["entropy"].tolist() == [1.0] * 7 + [0.0]  # 11 or 01, equally often; the sign plane is 00
    assert own["below"].tolist() == [0.0] + [1.0] * 6 + [0.0]
    assert own["top"].tolist() == [0.0] * 8
    assert own["independent"].tolist()[:3] == [0.0, 0.5, 0.75]


def test_group_patterns_are_the_references(shipped: Activations):
    x = shipped.quantized("attn_in", 0, 30, 70, 3)
    for nbw in (1, 3, 6):
        planes = of_patterns.group_patterns(x, nbw, group_size=32)
        groups = reference._groups(70, nbw, 32)
        for g, group in enumerate(groups):
            assert (reference.form_patterns(x[:, group], 8) == planes[:, :, g].T).all()


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=12), st.integers(2, 6))
def test_partial_tables_hold_what_is_looked_up_and_what_that_is_made_of(row: list[int], nbw: int):
    x = np.array([row], np.int8)
    needed = 0
    for group in reference._groups(len(row), nbw, 0):
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


@pytest.mark.parametrize("nbw", [2, 5, 6])
def test_simplest_rules_count_alike(small: Activations, nbw: int):
    rows = of_quantizers.rounded_rows(small, "token", "attn_out", 8)
    for rule in of_patterns.rules():
        exact = of_patterns.count(rows, "token", 8, nbw, rule)
        assert (exact == of_patterns.count(rows, "token", 8, nbw, rule.simplest(nbw))).all()


@pytest.mark.parametrize("batch", [1, 8])
def test_first_batches_add_up_to_the_counts_of_a_simulated_step(shipped: Activations, batch: int):
    model = load_model("smollm2-135m")
    nbw = 4
    point = Point(model=model.name, nbw=nbw, batch=batch)
    config = load_system("sail-n1").slice_config()
    expected = simulate_step(load_system("sail-n1"), model, point, shipped).counts
    # Every block of the model takes the rows of the nearest captured one.
    total = np.zeros(4, np.int64)
    for linear in (*(one for i in range(model.n_layers) for one in model.layer_linears(i)), model.head):
        x = shipped.quantized(linear.role, linear.layer, model.n_layers, linear.k, batch)
        rows = of_quantizers.RoundedRows(x, 1, 1)
        counts = of_patterns.count(rows, "token", batch, nbw, of_patterns.UNIT).sum(axis=0)
        plan = _core.plan_tile(config, linear.k, linear.n, batch, 4, 4, 8, nbw, of_settings.GROUP_SIZE, True)
        total += plan.passes * counts
    assert total[:3].tolist() == [expected[key] for key in ("zero_patterns", "prt_hits", "prt_misses")]


def test_rounded_rows_start_with_the_engines_batch(shipped: Activations):
    for role in ("attn_in", "head"):
        rows = of_quantizers.rounded_rows(shipped, "token", role, 8)
        first = shipped.quantized(role, 0, 30, shipped.codes[role].shape[-1], 8)
        assert (rows.ints[:8] == first).all()
        again = of_quantizers.QUANTIZERS["token"].round(
            shipped.rows(role, 0, 30, shipped.codes[role].shape[-1], 32)
        )
        assert (again.ints == rows.ints[:32]).all()


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


def test_sign_and_magnitude_gives_the_same_values_with_more_zero_patterns(small: Activations):
    token = of_quantizers.rounded_rows(small, "token", "attn_in", 1)
    split = of_quantizers.rounded_rows(small, "sign_magnitude", "attn_in", 1).ints.astype(int)
    assert (split[0::2] - split[1::2] == token.ints).all()
    zero = [
        of_patterns.shares(of_patterns.patterns(small, q, 1)).iloc[0]["zero"]
        for q in ("token", "sign_magnitude")
    ]
    assert zero[1] > 2 * zero[0]


@pytest.fixture(scope="module")
def frames(shipped: Activations) -> tuple[pd.DataFrame, pd.DataFrame]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_settings, "CLAIM_NBWS", (3,))
        patch.setattr(of_settings, "BATCHES", (8,))
        return of_cycles.steps(shipped, "smollm2-135m", 8), of_cycles.partial_tables(shipped)


def test_phases_are_what_the_counts_say(frames: tuple[pd.DataFrame, pd.DataFrame]):
    rows = frames[0][frames[0]["substrate"] == "row_dfm"]
    hit = rows["hit"].fillna(1).astype(int)
    lookup = rows["zero"] * rows["zero_patterns"] + hit * rows["prt_hits"] + rows["prt_misses"]
    assert (lookup == rows["lookup"]).all()
    assert (4 * rows["table_adds"] == rows["build"]).all()
    moving = rows["pim"] - rows[list(of_cycles.PHASES)].sum(axis=1)
    assert (moving > 0).all()
    assert (frames[1]["needed"] < frames[1]["table_adds"]).all()


def test_readings_by_hand(frames: tuple[pd.DataFrame, pd.DataFrame]):
    read = of_definitions.readings(*frames)
    step = frames[0]
    at = step[(step["substrate"] == "row_dfm") & (step["nbw"] == 3)]
    counts = at[at["hit"] == 0].iloc[0]
    zero, hits, misses = (int(counts[c]) for c in ("zero_patterns", "prt_hits", "prt_misses"))

    def value(change: str, of: str, machine: str) -> float:
        own = read[(read["change"] == change) & (read["of"] == of) & (read["machine"] == machine)]
        return float(own[own["nbw"] == 3]["value"].iloc[0])

    every = zero + hits + misses
    assert value(of_definitions.ALONE, "look-up", "row_dfm, hit 0") == pytest.approx(100 * hits / every)
    assert value(of_definitions.BOTH, "look-up", "row_dfm, zero 0, hit 0") == pytest.approx(
        100 * (1 - misses / every)
    )
    assert value(of_definitions.SKIP, "table reads of look-ups", "row_dfm") == pytest.approx(
        100 * zero / every
    )
    assert value(of_definitions.ON_TOP, "look-up", "row_dfm, zero 0, hit 1") == 0
    slow = value(of_definitions.ON_TOP, "look-up", "row_dfm, read 2, zero 1, hit 1")
    assert slow == pytest.approx(100 * hits / (zero + 2 * (hits + misses)))
    serial = step[step["substrate"] == "bit_serial"].iloc[0]  # another number of passes over the outputs
    skipped = 100 * serial["zero_patterns"] / serial["lookups"]
    assert value(of_definitions.SKIP, "look-up", "bit_serial, zero 0") == pytest.approx(skipped)
    assert read.groupby(["change", "of", "machine", "model", "batch", "nbw"]).size().max() == 1


def test_in_array_sums_gain_nothing_by_a_prt(shipped: Activations):
    system, model = load_system("sail-n1"), load_model("smollm2-135m")
    for substrate in ("bit_serial", "bit_parallel"):
        cycles = {
            prt: simulate_step(
                system, model, Point(model=model.name, substrate=substrate, prt=prt), shipped
            ).pim_cycles
            for prt in (True, False)
        }
        assert cycles[True] == cycles[False]


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


def test_a_part_is_kept_for_its_activations_and_comes_back_as_it_was(shipped: Activations, tmp_path: Path):
    part = of_measure.Part(shipped.id, "steps", "smollm2-135m", 1)
    made = part.measured(shipped)
    for _ in range(2):
        found = of_measure.tables({shipped.id: shipped}, [part], tmp_path, jobs=1, progress=False)
        pd.testing.assert_frame_equal(found[part], made, check_dtype=False)
    assert Store(tmp_path).manifest["held_before"] == 1
    other = dataclasses.replace(shipped, scales={**shipped.scales, "head": shipped.scales["head"] * 2})
    assert of_measure.Part(other.id, "steps", "smollm2-135m", 1).key != part.key


def test_rows_by_themselves_average_to_the_whole(small: Activations):
    found = of_patterns.patterns(small, "token", 1)
    for role in ("attn_in", "ffn_out"):
        own = of_patterns.shares(found[(found["role"] == role) & (found["nbw"] == 3)]).iloc[0]
        assert of_patterns.tile_hits(small, role, 3).mean() == pytest.approx(own["hits"])


def test_peak_over_rms_by_hand():
    assert of_patterns.peak_over_rms(capture({"head": [[3, 127]]}), "head") == pytest.approx(1.4138, rel=1e-4)


def test_the_plain_sense_is_the_reading_of_that_definition(shipped: Activations):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_settings, "CLAIM_NBWS", (4,))
        patch.setattr(of_settings, "BATCHES", (1,))
        read = of_definitions.readings(
            of_cycles.steps(shipped, of_settings.MODELS[0], 1), of_cycles.partial_tables(shipped)
        )
    assert of_definitions.nearest_of(read, "x").literal.value == of_definitions.plain_sense(shipped, 4)
