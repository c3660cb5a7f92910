"""Where a trace's weights begin so that units which work at once have DRAM banks of their own."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Tile
from sailsim.lut_gemv.trace import read_trace, replay, write_trace

RNG = np.random.default_rng(21)


def ones_by(codes: NDArray[np.uint8]) -> Tile:
    return Tile(np.ones((1, len(codes)), np.int64), codes, WeightCode.twos(4), abits=8)


def weights_of(work: list[Tile], row: int) -> NDArray[np.int64]:
    """Where in the image each tile's weights begin, after a replay that finds every result right."""
    with tempfile.TemporaryDirectory() as folder:
        write_trace(Path(folder) / "rows.trace", work, row=row)
        trace = read_trace(Path(folder) / "rows.trace")
        assert all(tile.matches for tile in replay(trace))
        return trace.descriptors["weights"].astype(np.int64) - trace.base


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 40)), min_size=1, max_size=12), st.integers(6, 12)
)
def test_weights_begin_an_odd_number_of_rows_apart(shapes: list[tuple[int, int]], bits: int) -> None:
    row = 1 << bits
    starts = weights_of([ones_by(RNG.integers(0, 16, shape, dtype=np.uint8)) for shape in shapes], row)
    distinct = np.unique(starts)  # equal weights are stored once
    assert not np.any(distinct % row)
    assert np.all(np.diff(distinct) // row % 2 == 1)


@given(st.integers(30, 400), st.integers(9, 40), st.sampled_from([4, 8, 32]))
def test_equally_large_tiles_begin_in_banks_of_their_own(k: int, n: int, banks: int) -> None:
    row = 256
    starts = weights_of([ones_by(RNG.integers(0, 16, (k, n), dtype=np.uint8)) for _ in range(banks)], row)
    assert len(np.unique(starts // row % banks)) == banks
