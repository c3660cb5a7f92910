"""Outcomes by bit position: quickly as plainly, and the sums are those of the profile."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reuse.keys import PrtKey, bit_profile, plain_bit_profile
from sailsim.lut_gemv.counts import PrtConfig

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


def test_places_of_the_hashes() -> None:
    assert PrtKey("modulo").places(4, 3) == (0, 1, 2, 3, 0, 1, 2, 3)
    assert PrtKey("fold").places(4, 3) == (0, 1, 2, 3, 1, 0, 3, 2)
    assert PrtKey("multiply").places(4, 3) == (0, 2, 0, 3, 1, 0, 2, 1)
    assert PrtKey().places(4, 3) == ()
    for name in ("modulo", "fold", "multiply"):
        assert set(PrtKey(name).places(3, 6)) == {0, 1, 2}


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
