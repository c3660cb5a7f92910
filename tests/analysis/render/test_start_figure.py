"""The drawing for newcomers shows what the arithmetic is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from sailsim.analysis.render.start_figure import patterns_of, start_figure, table_of


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 8))
def test_tables_and_patterns_make_the_product(seed: int, count: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    weights = tuple(int(w) for w in rng.integers(-8, 8, count))
    x = rng.integers(-(1 << bits - 1), 1 << bits - 1, count)
    table = table_of(weights)
    places = [1 << bit for bit in range(bits - 1)] + [-(1 << bits - 1)]
    looked_up = sum(
        place * table[pattern]
        for place, pattern in zip(places, patterns_of(tuple(int(v) for v in x), bits), strict=True)
    )
    assert looked_up == int(np.dot(weights, x))


def test_every_arrow_leads_from_a_box_to_a_box() -> None:
    panel = start_figure().axes[0]
    boxes = [patch for patch in panel.patches if isinstance(patch, FancyBboxPatch)]
    arrows = [patch for patch in panel.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 5
    for arrow in arrows:
        for x, y in arrow._posA_posB:
            touched = [
                box
                for box in boxes
                if box.get_x() <= x <= box.get_x() + box.get_width()
                and min(abs(y - box.get_y()), abs(y - box.get_y() - box.get_height())) < 0.2
            ]
            assert touched, (x, y)


def test_it_draws() -> None:
    texts = [text.get_text() for axes in start_figure().axes for text in axes.texts]
    assert any("= 11" in text for text in texts)
