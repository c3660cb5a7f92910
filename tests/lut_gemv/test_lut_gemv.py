"""LUT-GEMV, the reference and the quick version, against the plain product and each other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sailsim import _core
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.counts import PrtConfig
from sailsim.lut_gemv.fast import lut_gemv, lut_gemv_blocks, pattern_profile, scaled_product
from sailsim.lut_gemv.operands import activation_range
from sailsim.lut_gemv.reference import block_sums, scale_blocks, tile_counts
from sailsim.lut_gemv.tile import int_product
from sailsim.sim.files import load_system
from sailsim.sim.substrate import substrate_names

from ..examples import examples
from ..refusals import refusal


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
        return {"abits": self.abits, "signed": self.signed, "nbw": self.nbw, "group_size": self.group_size}


@st.composite
def cases(draw: st.DrawFn, signs: tuple[bool, ...] = (True, False), rows: int = 4) -> Case:
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
    batch, k, n = draw(st.integers(1, rows)), draw(st.integers(1, 30)), draw(st.integers(1, 70))
    abits, signed = draw(st.integers(1, 16)), draw(st.sampled_from(signs))
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


@given(cases(), st.integers(1, 4))
def test_reference_and_core_are_the_plain_product_block_by_block(case, threads):
    acc = reference.lut_gemv_blocks(case.x, case.codes, code=case.code, **case.widths)
    by_core = lut_gemv_blocks(case.x, case.codes, code=case.code, threads=threads, **case.widths)
    assert acc.shape == by_core.shape
    assert np.array_equal(acc, by_core)
    step = case.group_size or len(case.codes)
    weights = case.code.decode(case.codes).astype(np.int64)
    for block, start in enumerate(range(0, len(weights), step)):
        part = slice(start, start + step)
        assert np.array_equal(acc[block], case.x[:, part] @ weights[part])
    for y in (
        reference.lut_gemv(case.x, case.codes, code=case.code, **case.widths)[0],
        lut_gemv(case.x, case.codes, code=case.code, threads=threads, **case.widths),
        int_product(case.x, weights),
    ):
        assert y.dtype == np.int64
        assert np.array_equal(y, case.product)


@pytest.mark.parametrize(
    "code", [WeightCode.twos(4), WeightCode.twos(8), WeightCode.book([-32768, 32767])], ids=str
)
@pytest.mark.parametrize(("abits", "signed"), [(8, True), (8, False), (16, True), (16, False), (3, True)])
def test_core_on_shapes_that_fill_vectors(code, abits, signed):
    rng = np.random.default_rng(abits)
    x = rng.integers(*activation_range(abits, signed), (9, 517), endpoint=True)
    codes = rng.integers(0, code.legal_codes, (517, 1003), dtype=np.uint8)
    expected = x @ code.decode(codes).astype(np.int64)
    for nbw in range(1, 7):
        y = lut_gemv(x, codes, abits=abits, signed=signed, code=code, nbw=nbw, group_size=64, threads=2)
        assert np.array_equal(y, expected), nbw


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_integer_type_and_order_goes_in(dtype, order):
    x = np.array([[1, 2, 3], [4, 5, 7]], dtype, order=order)
    codes = np.array([[1, 15], [2, 14], [3, 0]], dtype, order=order)
    for multiply in (lut_gemv, lambda *a, **k: reference.lut_gemv(*a, **k)[0]):
        y = multiply(x, codes, abits=8, code=WeightCode.twos(4))
        assert y.tolist() == [[14, -5], [35, -14]]


def test_int_product_where_fp64_would_round():
    x, w = np.full((1, 3), (1 << 30) + 1), np.full((3, 1), (1 << 30) + 1)
    assert int_product(x, w).tolist() == [[3 * ((1 << 30) + 1) ** 2]]


@given(cases(), st.integers(1, 4))
def test_reference_and_core_say_the_same_of_every_pattern(case, threads):
    profile = reference.pattern_profile(case.x, prt=case.prt, **case.widths)
    assert (profile.zero + profile.hits + profile.misses == len(case.x) * case.abits).all()
    by_core = pattern_profile(case.x, prt=case.prt, threads=threads, **case.widths)
    for part in ("zero", "hits", "misses"):
        assert np.array_equal(getattr(by_core, part), getattr(profile, part)), part


@given(cases())
def test_a_prt_that_holds_every_pattern_misses_each_once(case):
    everything = PrtConfig(entries=(1 << case.nbw) - 1)
    profile = reference.pattern_profile(case.x, prt=everything, **case.widths)
    again = reference.pattern_profile(np.concatenate([case.x, case.x]), prt=everything, **case.widths)
    assert np.array_equal(again.misses, profile.misses)
    assert np.array_equal(again.hits, 2 * profile.hits + profile.misses)


@pytest.mark.parametrize("substrate", substrate_names())
@pytest.mark.parametrize("scaled", [False, True])
def test_the_core_counts_passes_and_chunks_alike(substrate, scaled):
    x = np.random.default_rng(1).integers(-20, 20, (70, 30))
    config = load_system("sail-n1").slice_config(
        arrays=2, slices=3, prt_entries=5, prt_policy="fifo", t_zero=0, t_prt=0, substrate=substrate
    )
    prt = PrtConfig(entries=5, policy="fifo", enabled=config.substrate.prt_helps)
    shape = (30, 5000, 70, 4, 4, 6, 3, 7)
    plan = _core.plan_tile(config, shape, scaled=scaled)
    assert plan.passes > 1
    assert plan.batch_chunks > 1 or config.substrate.layout == "rows"
    profile = pattern_profile(x, abits=6, nbw=3, group_size=7, prt=prt)
    timing = _core.time_tile(config, shape, profile, scaled=scaled)
    counts = tile_counts(
        profile,
        nbw=3,
        passes=plan.passes,
        chunks=plan.batch_chunks,
        conversions_per_pass=plan.blocks * len(x) if scaled else 0,
    )
    assert counts.as_dict() == timing.counts


@examples(50)
@given(cases(), st.booleans())
def test_scaling_rounds_at_every_step(case, with_minimum):
    acc = reference.lut_gemv_blocks(case.x, case.codes, code=case.code, **case.widths)
    rng = np.random.default_rng(len(case.x))
    blocks, batch, n = acc.shape
    scale, minimum = rng.normal(size=(2, blocks, n)).astype(np.float16)
    act_scale = rng.normal(size=batch).astype(np.float32)
    x_sums = reference.block_sums(case.x, case.group_size)
    extra = {"minimum": minimum, "x_sums": x_sums} if with_minimum else {}
    y = reference.scale_blocks(acc, scale, act_scale, **extra)
    assert y.dtype == np.float32
    f32 = np.float32
    for b in range(batch):
        for column in range(n):
            total = f32(0)
            for block in range(blocks):
                total = f32(total + f32(f32(acc[block, b, column]) * f32(scale[block, column])))
                if with_minimum:
                    total = f32(total + f32(f32(x_sums[block, b]) * f32(minimum[block, column])))
            assert y[b, column] == f32(total * act_scale[b])


# --- Plain multiplication of scaled tiles: to the bit what the look-ups of the reference and th ---


@settings(max_examples=150)
@given(cases(signs=(True,), rows=15), st.booleans(), st.integers(1, 3))
def test_results_are_those_of_look_ups_to_the_bit(case, with_minimum, threads):
    rng = np.random.default_rng(len(case.x))
    sums = block_sums(case.x, case.group_size)
    scale, minimum = rng.normal(0, 0.1, (2, len(sums), case.codes.shape[1])).astype(np.float16)
    act_scale, said = rng.random(len(case.x), np.float32), case.widths | {"code": case.code}
    extra = {"minimum": minimum} if with_minimum else {}

    def product():
        widths = {"abits": case.abits, "code": case.code, "group_size": case.group_size, "threads": threads}
        return scaled_product(case.x, act_scale, case.codes, scale=scale, **extra, **widths)

    summed = min(case.group_size or len(case.codes), len(case.codes))
    if case.code.magnitude * (1 << (case.abits - 1)) * summed >= 1 << 31:
        assert "wraps the 32-bit accumulator" in refusal(product)
        return
    found, of_sums = product(), {"x_sums": sums} if with_minimum else {}
    for way in (reference.lut_gemv_blocks, lut_gemv_blocks):
        expected = scale_blocks(way(case.x, case.codes, **said), scale, act_scale, **extra, **of_sums)
        np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_the_largest_sums_that_fit_are_exact():
    code = WeightCode.book([-(1 << 15), (1 << 15) - 1])
    x = np.array([[(1 << 15) - 1, (1 << 15) - 1]], np.int16)
    codes = np.array([[1], [1]], np.uint8)
    said = {"abits": 16, "code": code, "group_size": 1, "scale": np.ones((2, 1), np.float16)}
    each = np.float32(((1 << 15) - 1) ** 2)
    assert scaled_product(x, np.ones(1, np.float32), codes, **said)[0, 0] == each + each


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.zeros((2, 5), np.int16)}, "weights have K = 4, but the activations have K = 5"),
        ({"x": np.full((2, 4), 128, np.int16)}, "activations hold 128; allowed is -128..127"),
        ({"act_scale": np.ones(3, np.float32)}, "act_scale is float32 (3,); allowed is float32 (2,)"),
        ({"threads": 0}, "threads is 0"),
        ({"abits": 17}, "abits is 17; allowed is 1..16"),
        *(
            ({field: np.ones((1, 3), np.float16)}, f"{field} is float16 (1, 3); allowed is float16 (2, 3)")
            for field in ("scale", "minimum")
        ),
    ],
)
def test_bad_operands_are_refused(change, words):
    scale = np.ones((2, 3), np.float16)
    call = {
        "x": np.zeros((2, 4), np.int16), "act_scale": np.ones(2, np.float32),
        "codes": np.zeros((4, 3), np.uint8), "abits": 8, "code": WeightCode.twos(4), "group_size": 2,
        "scale": scale, "minimum": scale,
    }  # fmt: skip
    assert words in refusal(scaled_product, **(call | change))
