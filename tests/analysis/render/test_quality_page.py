"""The page of quality: every stored point has a row, and every choice of weights a place in the figure."""

import pytest

from sailsim.analysis.render import quality_page
from sailsim.workloads import chosen_format, load_model


def test_every_point_has_a_row_and_the_first_is_in_floats() -> None:
    points = quality_page.measured()
    text = quality_page._points().splitlines()
    assert len(text) == len(points) + 2
    assert points.weights.iloc[0] == "float"
    assert (points.tokens >= 4000).all()
    assert not points.duplicated(["weights", "abits", "kv_bits", "method"]).any()


def test_wide_activations_lose_nothing_and_narrow_weights_much() -> None:
    """What the page says of the stored points."""
    loss = quality_page.measured().set_index(["weights", "abits", "kv_bits", "method"]).loss
    assert abs(loss["file", 16, 16, "nearest"]) < 0.001
    assert loss["5", 8, 16, "nearest"] > 2 * loss["6", 8, 16, "nearest"]
    for width, back in ((4, 0.37), (3, 1 / 3)):
        plain, made_good = (loss[f"w{width}.toml", 8, 16, how] for how in ("nearest", "compensated"))
        assert 1 - made_good / plain == pytest.approx(back, abs=0.01)


def test_every_choice_gives_the_drawn_models_a_format() -> None:
    for model in dict.fromkeys(model for model, _ in quality_page.DRAWN):
        spec = load_model(model)
        for weights in set(quality_page._drawn().weights):
            fmt = chosen_format(quality_page._choice(weights), model, spec)
            assert fmt.tensor(spec.head, spec).code is not None


@pytest.mark.parametrize(
    ("places", "labels"),
    [
        ([(10, 20, "8"), (10.1, 20.2, "8b")], ["8, 8b"]),
        ([(10, 20, "8"), (10.1, 25, "6")], ["8", "6"]),
        ([(10, 20, "4b"), (10, 20, "4b")], ["4b"]),
    ],
)
def test_marks_that_lie_on_each_other_share_a_label(
    places: list[tuple[float, float, str]], labels: list[str]
) -> None:
    assert [names for *_, names in quality_page._gathered(places, 0.05, "left")] == labels


@pytest.mark.parametrize(("side", "at"), [("left", 10.1), ("right", 10), ("center", 10)])
def test_a_shared_label_stands_at_the_mark_on_its_own_side(side: str, at: float) -> None:
    places = [(10.1, 20.2, "8b"), (10, 20, "8")]
    assert [x for x, *_ in quality_page._gathered(places, 0.05, side)] == [at]
    assert len(quality_page._gathered(places, 0.001, side)) == 2
