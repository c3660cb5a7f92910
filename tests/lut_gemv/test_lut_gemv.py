"""LUT-GEMV, the reference and the quick version, against the plain product and against counting by hand."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.counts import Counts, PrtConfig
from sailsim.lut_gemv.fast import lut_gemv, lut_gemv_blocks, pattern_profile, prepare_weights
from sailsim.lut_gemv.operands import activation_range
from sailsim.lut_gemv.reference import tile_counts
from sailsim.lut_gemv.tile import int_product
from sailsim.sim.files import load_system
from sailsim.sim.substrate import substrate_names

from ..examples import examples


@dataclass(frozen=True)
class Case:
    """A random tile of any widths, any code and any ragged shape."""

    x: NDArray[Any]
    codes: NDArray[np.uint8]
    code: WeightCode
    abits: int
    signed: bool
    nbw: int
    group_size: int
    prt: PrtConfig

    @property
    def product(self) -> NDArray[np.int64]:
        return self.x.astype(np.int64) @ self.code.decode(self.codes).astype(np.int64)

    @property
    def widths(self) -> dict[str, Any]:
        return {
            "abits": self.abits,
            "signed": self.signed,
            "nbw": self.nbw,
            "group_size": self.group_size,
        }


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    wbits = draw(st.integers(1, 8))
    code = draw(
        st.sampled_from(
            [
                WeightCode.twos(wbits),
                WeightCode.offset(wbits, int(rng.integers(1 << wbits))),
                WeightCode.ternary(),
                WeightCode.book(rng.integers(-(1 << 15), 1 << 15, 1 << wbits)),
            ]
        )
    )
    batch, k, n = draw(st.integers(1, 4)), draw(st.integers(1, 30)), draw(st.integers(1, 70))
    abits, signed = draw(st.integers(1, 16)), draw(st.booleans())
    low, high = activation_range(abits, signed)
    # Real activations are mostly small: small ones give the zero patterns and the repeats that count.
    spread = draw(st.integers(0, abits))
    x = np.clip(rng.integers(-(1 << spread), (1 << spread) + 1, (batch, k)), low, high)
    if draw(st.booleans()):
        x[rng.integers(batch), rng.integers(k)] = draw(st.sampled_from([low, high]))
    return Case(
        x=x,
        codes=rng.integers(0, code.legal_codes, (k, n), dtype=np.uint8),
        code=code,
        abits=abits,
        signed=signed,
        nbw=draw(st.integers(1, 6)),
        group_size=draw(st.integers(0, k + 2)),
        prt=draw(
            st.builds(
                PrtConfig,
                entries=st.sampled_from([1, 2, 3, 7, 32, 63]),
                policy=st.sampled_from(["lru", "fifo", "direct"]),
                enabled=st.sampled_from([True, True, True, False]),
            )
        ),
    )


@given(cases())
def test_reference_equals_the_plain_product(case: Case) -> None:
    y, _, _ = reference.lut_gemv(case.x, case.codes, code=case.code, **case.widths)
    assert y.dtype == np.int64
    assert np.array_equal(y, case.product)


@given(cases(), st.integers(1, 4))
def test_core_equals_the_plain_product(case: Case, threads: int) -> None:
    y = lut_gemv(case.x, case.codes, code=case.code, threads=threads, **case.widths)
    assert y.dtype == np.int64
    assert np.array_equal(y, case.product)


@given(cases(), st.integers(1, 4))
def test_core_equals_the_reference_block_by_block(case: Case, threads: int) -> None:
    acc = lut_gemv_blocks(case.x, case.codes, code=case.code, threads=threads, **case.widths)
    expected = reference.lut_gemv_blocks(case.x, case.codes, code=case.code, **case.widths)
    assert acc.shape == expected.shape
    assert np.array_equal(acc, expected)


@given(cases(), st.integers(1, 4))
def test_core_counts_as_the_reference_does(case: Case, threads: int) -> None:
    profile = pattern_profile(case.x, prt=case.prt, threads=threads, **case.widths)
    expected = reference.pattern_profile(case.x, prt=case.prt, **case.widths)
    for part in ("zero", "hits", "misses"):
        assert np.array_equal(getattr(profile, part), getattr(expected, part)), part


@pytest.mark.parametrize(
    "code", [WeightCode.twos(4), WeightCode.twos(8), WeightCode.book([-32768, 32767])], ids=str
)
@pytest.mark.parametrize(("abits", "signed"), [(8, True), (8, False), (16, True), (16, False), (3, True)])
def test_core_on_shapes_that_fill_vectors(code: WeightCode, abits: int, signed: bool) -> None:
    rng = np.random.default_rng(abits)
    x = rng.integers(*activation_range(abits, signed), (9, 517), endpoint=True)
    codes = rng.integers(0, code.legal_codes, (517, 1003), dtype=np.uint8)
    expected = x @ code.decode(codes).astype(np.int64)
    for nbw in range(1, 7):
        y = lut_gemv(x, codes, abits=abits, signed=signed, code=code, nbw=nbw, group_size=64, threads=2)
        assert np.array_equal(y, expected), nbw


def test_prepared_weights_serve_any_product() -> None:
    rng = np.random.default_rng(2)
    code = WeightCode.iq4_nl()
    codes = rng.integers(0, 16, (40, 33), dtype=np.uint8)
    prepared = prepare_weights(codes, code)
    for abits, nbw, group_size in ((8, 4, 0), (3, 6, 16), (16, 1, 7)):
        x = rng.integers(*activation_range(abits, True), (3, 40), endpoint=True)
        widths: dict[str, Any] = {"abits": abits, "nbw": nbw, "group_size": group_size}
        assert np.array_equal(lut_gemv(x, prepared, **widths), x @ code.decode(codes).astype(int))
        acc = lut_gemv_blocks(x, prepared, **widths)
        assert np.array_equal(acc, reference.lut_gemv_blocks(x, codes, code=code, **widths))
    with pytest.raises(SailsimError, match="weights have K = 40, but the activations have K = 39"):
        lut_gemv(x[:, 1:], prepared, abits=16)
    with pytest.raises(SailsimError, match="code is twos code of 4 bits; allowed is that of the prepared"):
        lut_gemv(x, prepared, abits=16, code=WeightCode.twos(4))
    with pytest.raises(SailsimError, match="code is missing"):
        lut_gemv(x, codes, abits=16)


@pytest.mark.parametrize("value", [-128, 127])
@pytest.mark.parametrize("weight", [-128, 127])
def test_core_at_the_ends_of_the_ranges(value: int, weight: int) -> None:
    x = np.full((3, 2048), value)
    codes = WeightCode.twos(8).encode(np.full((2048, 70), weight))
    y = lut_gemv(x, codes, abits=8, code=WeightCode.twos(8), nbw=6)
    assert (y == 2048 * value * weight).all()


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_integer_type_and_order_goes_in(dtype: type, order: Any) -> None:
    x = np.array([[1, 2, 3], [4, 5, 7]], dtype, order=order)
    codes = np.array([[1, 15], [2, 14], [3, 0]], dtype, order=order)
    for multiply in (lut_gemv, lambda *a, **k: reference.lut_gemv(*a, **k)[0]):
        y = multiply(x, codes, abits=8, code=WeightCode.twos(4))
        assert y.tolist() == [[14, -5], [35, -14]]


@given(cases())
def test_int_product_is_the_plain_product(case: Case) -> None:
    assert np.array_equal(int_product(case.x, case.code.decode(case.codes)), case.product)


def test_int_product_where_fp64_would_round() -> None:
    x, w = np.full((1, 3), (1 << 30) + 1), np.full((3, 1), (1 << 30) + 1)
    assert int_product(x, w).tolist() == [[3 * ((1 << 30) + 1) ** 2]]


@given(cases())
def test_blocks_are_the_products_of_their_weights(case: Case) -> None:
    acc = reference.lut_gemv_blocks(case.x, case.codes, code=case.code, **case.widths)
    step = case.group_size or len(case.codes)
    weights = case.code.decode(case.codes).astype(np.int64)
    for block, start in enumerate(range(0, len(weights), step)):
        part = slice(start, start + step)
        assert np.array_equal(acc[block], case.x[:, part] @ weights[part])
    assert np.array_equal(acc.sum(axis=0), case.product)


class PlainPrt:
    """A PRT as a plain list, or for direct mapping as a dictionary of places."""

    def __init__(self, case: Case) -> None:
        self.policy, self.entries = case.prt.policy, case.prt.entries
        self.held: list[int] = []
        self.places: dict[int, int] = {}

    def holds(self, pattern: int) -> bool:
        """Whether a pattern is a hit; it is held from now on."""
        if self.policy == "direct":
            hit = self.places.get(pattern % self.entries) == pattern
            self.places[pattern % self.entries] = pattern
            return hit
        hit = pattern in self.held
        if hit and self.policy == "lru":
            self.held.remove(pattern)
            self.held.append(pattern)
        elif not hit:
            self.held = [*self.held, pattern][-self.entries :]
        return hit


def count_by_hand(case: Case) -> dict[str, int]:
    """Walk over every table entry and every pattern of one pass, and keep the PRT as a plain list."""
    counts = dict.fromkeys((field.name for field in fields(Counts)), 0)
    batch, k = case.x.shape
    step = case.group_size or k
    for block_start in range(0, k, step):
        block_end = min(block_start + step, k)
        for start in range(block_start, block_end, case.nbw):
            counts["table_builds"] += 1
            counts["row_writes"] += case.nbw
            for pattern in range(1 << case.nbw):
                if pattern.bit_count() >= 2:
                    counts["table_adds"] += 1
                    counts["row_reads"] += 2
                    counts["row_writes"] += 1
            prt = PlainPrt(case)
            for b in range(batch):
                for bit in range(case.abits):
                    counts["lookups"] += 1
                    pattern = 0
                    for j, column in enumerate(range(start, min(start + case.nbw, block_end))):
                        # Python's integers are two's complement of any width.
                        pattern += (int(case.x[b, column]) >> bit & 1) << j
                    if pattern == 0:
                        counts["zero_patterns"] += 1
                        continue
                    hit = prt.holds(pattern)
                    if hit and case.prt.enabled:
                        counts["prt_hits"] += 1
                    else:
                        counts["prt_misses"] += 1
                        counts["row_reads"] += 1
    return counts


@given(cases())
def test_counts_are_those_of_a_walk_by_hand(case: Case) -> None:
    _, counts, profile = reference.lut_gemv(case.x, case.codes, code=case.code, prt=case.prt, **case.widths)
    assert counts.as_dict() == count_by_hand(case)
    assert (profile.zero + profile.hits + profile.misses == len(case.x) * case.abits).all()


@pytest.mark.parametrize("policy", ["lru", "fifo", "direct"])
def test_a_small_prt_evicts_by_its_policy(policy: Any) -> None:
    """Three entries for fifteen patterns: what random cases seldom have much of."""
    x = np.random.default_rng(9).integers(-128, 128, (16, 8))
    prt = PrtConfig(entries=3, policy=policy)
    case = Case(x, np.zeros((8, 1), np.uint8), WeightCode.twos(4), 8, True, 4, 0, prt)
    found = reference.pattern_profile(x, abits=8, nbw=4, prt=prt)
    by_hand = count_by_hand(case)
    assert 0 < by_hand["prt_hits"] < by_hand["prt_misses"]
    assert (found.hits.sum(), found.misses.sum()) == (by_hand["prt_hits"], by_hand["prt_misses"])


@given(cases())
def test_a_prt_that_holds_every_pattern_misses_each_once(case: Case) -> None:
    everything = PrtConfig(entries=(1 << case.nbw) - 1)
    profile = reference.pattern_profile(case.x, prt=everything, **case.widths)
    again = reference.pattern_profile(np.concatenate([case.x, case.x]), prt=everything, **case.widths)
    assert np.array_equal(again.misses, profile.misses)
    assert np.array_equal(again.hits, 2 * profile.hits + profile.misses)


def test_passes_chunks_and_conversions_multiply_as_the_contract_says() -> None:
    x = np.array([[1, 2, 3, 0, 5]])
    profile = reference.pattern_profile(x, abits=4, nbw=2)
    one = tile_counts(profile, nbw=2)
    assert one.as_dict() == {
        "lookups": 12,
        "zero_patterns": 6,
        "prt_hits": 2,
        "prt_misses": 4,
        "table_builds": 3,
        "table_adds": 3,
        "row_reads": 6 + 4,
        "row_writes": 6 + 3,
        "conversions": 0,
        "merges": 0,
    }
    more = tile_counts(profile, nbw=2, passes=4, chunks=2, conversions_per_pass=5, merges_per_pass=3)
    assert more.as_dict() == {
        "lookups": 48,
        "zero_patterns": 24,
        "prt_hits": 8,
        "prt_misses": 16,
        "table_builds": 24,
        "table_adds": 24,
        "row_reads": 48 + 16,
        "row_writes": 48 + 24,
        "conversions": 20,
        "merges": 12,
    }
    assert one.times(32).lookups == 32 * 12


@pytest.mark.parametrize("substrate", substrate_names())
@pytest.mark.parametrize("scaled", [False, True])
def test_the_core_counts_passes_and_chunks_alike(substrate: str, scaled: bool) -> None:
    x = np.random.default_rng(1).integers(-20, 20, (70, 30))
    config = load_system("sail-n1").slice_config(
        arrays=2, slices=3, prt_entries=5, prt_policy="fifo", t_zero=0, t_prt=0, substrate=substrate
    )
    prt = PrtConfig(entries=5, policy="fifo", enabled=config.substrate.prt_helps)
    tile = {
        "k": 30,
        "n": 5000,
        "batch": 70,
        "wbits": 4,
        "value_bits": 4,
        "abits": 6,
        "nbw": 3,
        "group_size": 7,
    }
    plan = _core.plan_tile(config, **tile, scaled=scaled)
    assert plan.passes > 1
    assert plan.batch_chunks > 1 or config.substrate.layout == "rows"
    profile = pattern_profile(x, abits=6, nbw=3, group_size=7, prt=prt)
    timing = _core.time_tile(config, **tile, profile=profile, scaled=scaled)
    counts = tile_counts(
        profile,
        nbw=3,
        passes=plan.passes,
        chunks=plan.batch_chunks,
        conversions_per_pass=plan.blocks * len(x) if scaled else 0,
    )
    assert counts.as_dict() == timing.counts


def test_one_signed_bit_means_zero_or_minus_one() -> None:
    y, _, _ = reference.lut_gemv(np.array([[-1, 0]]), np.array([[3], [5]]), abits=1, code=WeightCode.twos(4))
    assert y.tolist() == [[-3]]


@examples(50)
@given(cases(), st.booleans())
def test_scaling_rounds_at_every_step(case: Case, with_minimum: bool) -> None:
    acc = reference.lut_gemv_blocks(case.x, case.codes, code=case.code, **case.widths)
    rng = np.random.default_rng(len(case.x))
    blocks, batch, n = acc.shape
    scale, minimum = rng.normal(size=(2, blocks, n)).astype(np.float16)
    act_scale = rng.normal(size=batch).astype(np.float32)
    x_sums = reference.block_sums(case.x, case.group_size)
    extra = {"minimum": minimum, "x_sums": x_sums} if with_minimum else {}
    y = reference.scale_blocks(acc, scale, act_scale, **extra)
    assert y.dtype == np.float32
    in_core = _core.scale_blocks(
        acc, scale, act_scale, **({"minimum": minimum, "sums_of_x": x_sums} if with_minimum else {})
    )
    assert in_core.tobytes() == y.tobytes()

    f32 = np.float32
    for b in range(batch):
        for column in range(n):
            total = f32(0)
            for block in range(blocks):
                total = f32(total + f32(f32(acc[block, b, column]) * f32(scale[block, column])))
                if with_minimum:
                    total = f32(total + f32(f32(x_sums[block, b]) * f32(minimum[block, column])))
            assert y[b, column] == f32(total * act_scale[b])


def test_scales_of_another_shape_or_type_are_refused() -> None:
    acc = np.zeros((2, 3, 4), np.int64)
    scale, act_scale = np.zeros((2, 4), np.float16), np.zeros(3, np.float32)
    assert reference.scale_blocks(acc, scale, act_scale).shape == (3, 4)
    with pytest.raises(SailsimError, match=r"scale is float16 \(4, 2\); allowed is float16 \(2, 4\)"):
        reference.scale_blocks(acc, scale.T, act_scale)
    with pytest.raises(SailsimError, match="act_scale is float64"):
        reference.scale_blocks(acc, scale, act_scale.astype(float))
    with pytest.raises(SailsimError, match="minimum and x_sums"):
        reference.scale_blocks(acc, scale, act_scale, minimum=scale)
