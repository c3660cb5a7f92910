"""Tiles, and what they run on, as the tests of the core draw them."""

from typing import Any

from hypothesis import strategies as st

SUBSTRATES = st.sampled_from(["row_dfm", "bit_serial", "bit_parallel"])

TILE: dict[str, st.SearchStrategy[Any]] = {
    "substrate": SUBSTRATES,
    "k": st.integers(1, 60),
    "wbits": st.integers(1, 8),
    "abits": st.integers(1, 16),
    "nbw": st.integers(1, 4),
    "group_size": st.sampled_from([0, 1, 7, 32]),
    "double_buffer": st.booleans(),
}
"""Everything but outputs and batch, of which some tests want more than others, by the names of arguments."""
