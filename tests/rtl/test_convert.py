"""The conversion unit in RTL against NumPy's float32, bit for bit."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ..examples import examples
from .simulation import RTL, Simulation
from .test_prt import STALLS

# Registers at every boundary, at none, at some; accumulators narrower and wider than a significand and fp32.
UNITS = {
    f"bits_{bits}_cuts_{cuts:x}": {"ACC_BITS": bits, "CUTS": cuts, "TAG_BITS": 3}
    for bits, cuts in ((32, 0x3FFF), (32, 0), (16, 0x2AAA), (24, 0x1555), (40, 0x0FF0), (63, 0x330F))
}
INFINITY, LEAST_NORMAL = 0x7F800000, 0x00800000
BITS = st.integers(0, 2**32 - 1)


@st.composite
def floats(draw: st.DrawFn) -> int:
    """Bits of a fp32: any, those around its bounds, and those whose exponents come near each other."""
    near = st.builds(
        lambda bound, by: max(bound + by, 0),
        st.sampled_from([0, LEAST_NORMAL, INFINITY - 1, 0x3F800000, 0x33800000]),
        st.integers(-2, 2),
    )
    close = st.builds(
        lambda exponent, low: exponent << 23 | low, st.integers(120, 135), st.integers(0, 2**23 - 1)
    )
    return draw(BITS | near | close | st.sampled_from([INFINITY, 0x7FC00000])) ^ draw(
        st.sampled_from([0, 1 << 31])
    )


def sums(bits: int) -> st.SearchStrategy[int]:
    """Accumulators: any, those of few bits, and those that a tie is made of."""
    ties = st.builds(
        lambda top, low: (top << 24 | 1 << 23) + low,
        st.integers(0, 2 ** max(bits - 25, 0)),
        st.integers(-1, 1),
    )
    most = 1 << (bits - 1)
    return (st.integers(-most, most - 1) | st.integers(-3, 3) | ties | ties.map(lambda tie: -tie)).filter(
        lambda x: -most <= x < most
    )


def fp32(bits: int) -> np.float32:
    return np.uint32(bits).view(np.float32)


def expected(is_float: bool, value: int, scale: int, y: int, bits: int) -> int:
    """One step of docs/contract.md, section 1; every NaN is 7fc00000."""
    with np.errstate(all="ignore"):
        if is_float:
            result = fp32(y) + fp32(value) * fp32(scale)
        else:
            result = fp32(y) + np.int64(value).astype(np.float32) * np.uint16(scale).view(np.float16).astype(
                np.float32
            )
    return 0x7FC00000 if np.isnan(result) else int(result.view(np.uint32))


@pytest.fixture(scope="session")
def units(simulate: Callable[..., Simulation]) -> Simulation:
    sources = [RTL / "sail_convert.sv", RTL / "sail_fp.sv"]
    return simulate(sources, {name: ("sail_convert", unit) for name, unit in UNITS.items()})


@pytest.mark.slow
@examples(400)
@given(st.data(), st.sampled_from(list(UNITS)), STALLS)
def test_every_sum_is_numpy_s(units, data, unit, gaps):
    bits = UNITS[unit]["ACC_BITS"]
    whole = st.tuples(st.just(False), sums(bits), st.integers(0, 2**16 - 1), floats())
    alone = st.tuples(st.just(True), floats(), floats(), floats() | st.just(1 << 31))
    drawn = data.draw(st.lists(whole | alone, min_size=1, max_size=20))
    fed = [(f, value if f else value % 2**bits, scale, y) for f, value, scale, y in drawn]
    answers, cycles = units(unit, "convert", fed=fed, gaps=gaps)
    assert answers == [expected(*step, bits) for step in drawn]
    if not any(gaps):
        assert cycles == len(fed) + 1 + UNITS[unit]["CUTS"].bit_count()


@pytest.mark.parametrize("unit", UNITS)
def test_ties_go_to_the_even_number(units, unit):
    bits, one, nothing = UNITS[unit]["ACC_BITS"], 0x3F800000, 1 << 31
    half = 0x33800000  # of the last bit of one
    fed = [(True, half, one, one), (True, half, one, one + 1), (True, half | nothing, one, one + 3)]
    fed += [(True, one + 1, one + 4, nothing), (True, one + 3, 0x3FC00000, nothing)]
    if bits > 26:
        fed += [(False, 2**24 + odd, 0x3C00, nothing) for odd in (1, 3)]
    answers, _ = units(unit, "convert", fed=fed, gaps=[0])
    assert answers == [expected(*step, bits) for step in fed]
