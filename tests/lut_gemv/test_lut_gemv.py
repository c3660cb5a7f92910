"""LUT-GEMV, the reference and the quick version, against the plain product and each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sailsim import _core
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.counts import PrtConfig
from sailsim.lut_gemv.fast import lut_gemv, lut_gemv_blocks, pattern_profile, scaled_product
from sailsim.lut_gemv.operands import activation_range
from sailsim.lut_gemv.reference import block_sums, tile_counts
from sailsim.lut_gemv.tile import Tile, int_product
from sailsim.sim.machine.substrate import substrate_names
from sailsim.sim.machine.system_files import load_system

from ..examples import examples
from ..oracles.oracles import random_tile
from ..refusals import refusal


def drawn(seed: int, **fixed: bool) -> Tile:
    """A random tile of any widths, any code and any ragged shape."""
    return random_tile(np.random.default_rng(seed), (70, 70, 15), **fixed)


SEEDS = st.integers(0, 2**32 - 1)
TILES = st.builds(drawn, SEEDS)
SCALED = st.builds(drawn, SEEDS, signed=st.just(True), scaled=st.just(True))
PRTS = st.builds(
    PrtConfig,
    entries=st.sampled_from([1, 2, 3, 7, 32, 63]),
    policy=st.sampled_from(["lru", "fifo", "direct"]),
    enabled=st.sampled_from([True, True, True, False]),
)


@given(TILES, st.integers(1, 4))
def test_reference_and_core_are_the_plain_product_block_by_block(tile, threads):
    operands = {"x": tile.x, "w": tile.codes, "code": tile.code} | tile.widths
    acc = reference.lut_gemv_blocks(**operands)
    by_core = lut_gemv_blocks(**operands, threads=threads)
    assert acc.shape == by_core.shape
    assert np.array_equal(acc, by_core)
    step = tile.group_size or tile.k
    x, weights = tile.x.astype(np.int64), tile.code.decode(tile.codes).astype(np.int64)
    for block, start in enumerate(range(0, tile.k, step)):
        part = slice(start, start + step)
        assert np.array_equal(acc[block], x[:, part] @ weights[part])
    for y in (
        reference.lut_gemv(**operands)[0],
        lut_gemv(**operands, threads=threads),
        int_product(tile.x, weights),
    ):
        assert y.dtype == np.int64
        assert np.array_equal(y, x @ weights)


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


@given(TILES, PRTS, st.integers(1, 4))
def test_reference_and_core_say_the_same_of_every_pattern(tile, prt, threads):
    profile = reference.pattern_profile(tile.x, prt=prt, **tile.widths)
    assert (profile.zero + profile.hits + profile.misses == tile.batch * tile.abits).all()
    by_core = pattern_profile(tile.x, prt=prt, threads=threads, **tile.widths)
    for part in ("zero", "hits", "misses"):
        assert np.array_equal(getattr(by_core, part), getattr(profile, part)), part


@given(TILES)
def test_a_prt_that_holds_every_pattern_misses_each_once(tile):
    everything = PrtConfig(entries=(1 << tile.nbw) - 1)
    profile = reference.pattern_profile(tile.x, prt=everything, **tile.widths)
    again = reference.pattern_profile(np.concatenate([tile.x, tile.x]), prt=everything, **tile.widths)
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
    tile = _core.TileTimer(config, shape, scaled)
    plan = tile.plan
    assert plan.passes > 1
    assert plan.batch_chunks > 1 or config.substrate.layout == "rows"
    profile = pattern_profile(x, abits=6, nbw=3, group_size=7, prt=prt)
    timing = tile.time([profile])[0]
    counts = tile_counts(
        profile,
        nbw=3,
        passes=plan.passes,
        chunks=plan.batch_chunks,
        conversions_per_pass=plan.blocks * len(x) if scaled else 0,
    )
    assert counts.as_dict() == timing.counts


@examples(50)
@given(SCALED)
def test_scaling_rounds_at_every_step(tile):
    acc = reference.lut_gemv_blocks(tile.x, tile.codes, code=tile.code, **tile.widths)
    x_sums, scales = block_sums(tile.x, tile.group_size), tile.scales
    y = tile.finish(acc)
    assert y.dtype == np.float32
    f32 = np.float32
    for b in range(tile.batch):
        for column in range(tile.n):
            total = f32(0)
            for block in range(tile.blocks):
                total = f32(total + f32(f32(acc[block, b, column]) * f32(scales.scale[block, column])))
                if scales.minimum is not None:
                    total = f32(total + f32(f32(x_sums[block, b]) * f32(scales.minimum[block, column])))
            assert y[b, column] == f32(total * scales.act_scale[b])


@settings(max_examples=150)
@given(SCALED, st.integers(1, 3))
def test_a_plain_product_of_a_scaled_tile_is_that_of_look_ups_to_the_bit(tile, threads):
    said = {"abits": tile.abits, "code": tile.code, "group_size": tile.group_size, "threads": threads}
    act_scale, scale, minimum = tile.scales.act_scale, tile.scales.scale, tile.scales.minimum
    found = scaled_product(tile.x, act_scale, tile.codes, scale=scale, minimum=minimum, **said)
    for way in (reference.lut_gemv_blocks, lut_gemv_blocks):
        expected = tile.finish(way(tile.x, tile.codes, code=tile.code, **tile.widths))
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
        (
            {"x": np.full((2, 4), -(1 << 15)), "abits": 16, "code": WeightCode.book([-(1 << 15)] * 16)},
            "a sum of 2 products may reach 2147483648, which wraps the 32-bit accumulator",
        ),
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
