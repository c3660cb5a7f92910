"""Pattern reuse: breakdowns that can be counted by hand, and sums that must be the engine's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reuse.patterns as of_patterns
import reuse.quantizers as of_quantizers
import reuse.settings as of_settings
from sailsim import _core
from sailsim.lut_gemv import reference
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.step.engine import simulate_step
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.model import ROLES


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


@pytest.mark.slow
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


@pytest.mark.slow
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
