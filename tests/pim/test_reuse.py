"""Outcomes by bit position: the core counts as the reference does, and the sums are those of the profile."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.counts import PrtConfig, PrtKey
from sailsim.lut_gemv.fast import bit_profile

keys = st.builds(
    lambda hashed, tagged, flushed: PrtKey(hashed, tagged or hashed is None, flushed),
    st.sampled_from([None, "modulo", "fold", "multiply"]),
    st.booleans(),
    st.booleans(),
)
prts = st.builds(
    PrtConfig,
    st.integers(1, 64),
    st.sampled_from(["lru", "fifo", "direct"]),
    st.sampled_from([True, True, False]),
)


@st.composite
def scans(draw: st.DrawFn) -> tuple[Any, dict[str, Any], int]:
    """Activations, the widths that they are scanned by, and the rows of a tile."""
    abits, signed = draw(st.integers(1, 16)), draw(st.booleans())
    tile_rows, tiles, k = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 20))
    low = -(1 << (abits - 1)) if signed else 0
    few = draw(st.sampled_from([1, 3, 1 << abits]))  # few different values: many repeats
    x = low + np.random.default_rng(k).integers(0, 1 << abits, (tiles * tile_rows, k)) // few * few
    widths = {
        "abits": abits,
        "signed": signed,
        "nbw": draw(st.integers(1, 6)),
        "group_size": draw(st.sampled_from([0, 1, 7])),
    }
    return x, widths, tile_rows


@given(scans(), prts, keys)
def test_the_core_counts_as_the_reference_does(
    scan: tuple[Any, dict[str, Any], int], prt: PrtConfig, key: PrtKey
) -> None:
    x, widths, tile_rows = scan
    counts = bit_profile(x, **widths, tile_rows=tile_rows, prt=prt, key=key)
    assert (counts == reference.bit_profile(x, **widths, tile_rows=tile_rows, prt=prt, key=key)).all()


@given(scans(), prts, keys)
def test_hits_are_repeats_and_only_a_poorer_key_is_wrong(
    scan: tuple[Any, dict[str, Any], int], prt: PrtConfig, key: PrtKey
) -> None:
    x, widths, tile_rows = scan
    counts = bit_profile(x, **widths, tile_rows=tile_rows, prt=prt, key=key)
    repeats = bit_profile(x, **widths, tile_rows=tile_rows, prt=PrtConfig(64))
    assert (counts[..., 0] == repeats[..., 0]).all()
    right = counts[..., 1] - counts[..., 3]
    assert (right >= 0).all()
    assert (right <= repeats[..., 1]).all()
    if key.tagged and key.flushed:
        assert not counts[..., 3].any()


def test_places_of_the_hashes() -> None:
    assert PrtKey("modulo").places(4, 3) == (0, 1, 2, 3, 0, 1, 2, 3)
    assert PrtKey("fold").places(4, 3) == (0, 1, 2, 3, 1, 0, 3, 2)
    assert PrtKey("multiply").places(4, 3) == (0, 2, 0, 3, 1, 0, 2, 1)
    assert PrtKey().places(4, 3) == ()
    for name in ("modulo", "fold", "multiply"):
        assert set(PrtKey(name).places(3, 6)) == {0, 1, 2}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PrtKey("crc"), "prt hash is 'crc'; allowed are modulo, fold, multiply and None"),  # type: ignore[arg-type]
        (lambda: PrtKey(tagged=False), "prt tagged is False without a hash"),
        (
            lambda: bit_profile(np.zeros((3, 2), int), abits=8, nbw=2, tile_rows=2),
            "tile_rows is 2; allowed is 0",
        ),
        (
            lambda: reference.bit_profile(np.zeros((3, 2), int), abits=8, nbw=2, tile_rows=-3),
            "tile_rows is -3",
        ),
    ],
)
def test_bad_input(make: Any, sentence: str) -> None:
    with pytest.raises(SailsimError) as raised:
        make()
    assert sentence in str(raised.value)
