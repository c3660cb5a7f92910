"""Outcomes by bit position: quickly as plainly, and the sums are those of the profile."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from reuse.keys import PrtKey, bit_profile, plain_bit_profile
from reuse.quantizers import quantize_rows_unsigned, split_signs
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.counts import PrtConfig
from sailsim.lut_gemv.quantize import quantize_rows

floats = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.floats(-1000, 1000, width=32),
)
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
def test_the_quick_way_counts_as_the_plain_one_does(
    scan: tuple[Any, dict[str, Any], int], prt: PrtConfig, key: PrtKey
) -> None:
    x, widths, tile_rows = scan
    counts = bit_profile(x, **widths, tile_rows=tile_rows, prt=prt, key=key)
    assert (counts == plain_bit_profile(x, **widths, tile_rows=tile_rows, prt=prt, key=key)).all()


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
            lambda: plain_bit_profile(np.zeros((3, 2), int), abits=8, nbw=2, tile_rows=-3),
            "tile_rows is -3",
        ),
    ],
)
def test_bad_input(make: Any, sentence: str) -> None:
    with pytest.raises(SailsimError) as raised:
        make()
    assert sentence in str(raised.value)


X = np.array([[3, -2, 1], [0, 3, -4]])
WIDTHS: dict[str, Any] = {"abits": 3, "nbw": 2}


def rows(array: Any) -> Any:
    return array.tolist()


def test_patterns_by_bit_in_tiles_and_under_other_keys() -> None:
    # Zero, hit, miss, wrong a bit. Each row a tile: 1, 3, 2 and 1, 0, 0; then 2, 2, 0 and 0, 0, 1.
    assert rows(plain_bit_profile(X, tile_rows=1, **WIDTHS)) == [
        [[0, 0, 2, 0], [1, 0, 1, 0], [1, 0, 1, 0]],
        [[1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0]],
    ]
    # One tile, whose entries stay when the table changes: both 1 of the second table find the first's.
    stale = plain_bit_profile(X, key=PrtKey(flushed=False), **WIDTHS)
    assert rows(stale) == [[[1, 2, 1, 1], [2, 1, 1, 0], [2, 1, 1, 1]]]
    # But not those of the tile before.
    assert plain_bit_profile(X, tile_rows=1, key=PrtKey(flushed=False), **WIDTHS)[1, 2, 3] == 0
    # Without its pattern the entry of 1 is taken for 3, whose place it has: 1, 3, 1 of -1 and 2.
    untagged = PrtKey(hash="modulo", tagged=False)
    found = plain_bit_profile(np.array([[-1, 2]]), prt=PrtConfig(entries=2), key=untagged, **WIDTHS)
    assert rows(found) == [[[0, 0, 1, 0], [0, 1, 0, 1], [0, 1, 0, 0]]]


@given(floats, st.integers(2, 16))
def test_signs_and_magnitudes_give_the_value_back(x: np.ndarray, abits: int) -> None:  # type: ignore[type-arg]
    ints, _ = quantize_rows(x, abits)
    parts = split_signs(ints, abits).astype(int)
    assert parts.min() >= 0
    assert parts.max() < 1 << (abits - 1)
    assert (parts[0::2] - parts[1::2] == ints).all()
    assert (np.minimum(parts[0::2], parts[1::2]) == 0).all()


def test_unsigned_rows_use_the_whole_range() -> None:
    ints, scale, zero = quantize_rows_unsigned(np.array([[-1.0, 0.0, 2.0], [1.0, 2.0, 3.0], [0.0, 0, 0]]), 2)
    assert ints.tolist() == [[0, 1, 3], [1, 2, 3], [0, 0, 0]]
    assert (scale.tolist(), zero.tolist()) == ([1.0, 1.0, 0.0], [1, 0, 0])
