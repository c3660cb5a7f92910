"""Points of a plan: products, groups, samples."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.plan.file import expand
from sailsim.sim.plan.plan import LARGEST_PLAN, Axis, Part, Plan, Span, axis_of, is_whole, plan_of
from sailsim.sim.plan.sample import METHODS, Method, Sample
from sailsim.sim.point import Point

from ...examples import examples

WHOLE = {"wbits": range(1, 9), "abits": range(1, 17), "batch": range(1, 40), "threads": range(1, 40)}
LISTS = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(st.sampled_from(numbers), min_size=1, max_size=4, unique=True)
        for name, numbers in WHOLE.items()
    },
)


@given(LISTS)
def test_a_grid_is_the_product_of_its_axes_in_order(lists: dict[str, list[int]]) -> None:
    plan = plan_of(lists)
    combinations = [dict(zip(lists, row, strict=True)) for row in itertools.product(*lists.values())]
    assert list(plan.combinations.values()) == combinations
    assert plan.points == [Point(**each) for each in combinations] == expand([lists])


def test_fields_of_all_kinds_make_one_point() -> None:
    values = {
        "model": ["smollm2-135m"],
        "llc.slices": [16],
        "row_dfm:add": ["8n-2"],
        "pim.clock": [2.0],
        "row_dfm:read": [2],
    }
    (point,) = plan_of(values).points
    assert point == Point(
        model="smollm2-135m", system="sail-n1:llc.slices=16:pim.clock=2", substrate="row_dfm:read=2:add=8n-2"
    )


def test_a_group_moves_together_and_crosses_the_rest() -> None:
    group = Axis(("model", "threads"), (("llama-2-7b", 16), ("llama-2-13b", 32)))
    plan = Plan((Part({"wbits": 2}, (group, axis_of("batch", [1, 8]))),))
    assert [(p.model, p.threads, p.batch, p.wbits) for p in plan.points] == [
        ("llama-2-7b", 16, 1, 2), ("llama-2-7b", 16, 8, 2),
        ("llama-2-13b", 32, 1, 2), ("llama-2-13b", 32, 8, 2),
    ]  # fmt: skip


def test_what_parts_share_is_one_point() -> None:
    plan = Plan((Part({}, (axis_of("batch", [1, 8]),)), Part({}, (axis_of("batch", [8, 32]),))))
    assert [point.batch for point in plan.points] == [1, 8, 32]


def test_a_sample_of_fixed_fields_is_one_point() -> None:
    part = Part({"batch": 8}, (axis_of("wbits", [2]),), Sample("sobol", 4, 0))
    assert Plan((part,)).points == [Point(batch=8, wbits=2)]


def test_a_span_of_whole_numbers_is_a_grid_of_all() -> None:
    axis = Axis(("batch",), span=Span(2, 5, whole=True))
    assert [point.batch for point in Plan((Part({}, (axis,)),)).points] == [2, 3, 4, 5]
    with pytest.raises(SailsimError, match=r"pim.clock goes from 1 to 2 without a step"):
        _ = Plan((Part({}, (Axis(("pim.clock",), span=Span(1, 2)),)),)).points


def test_which_fields_are_whole() -> None:
    whole = ["wbits", "llc.slices", "pim.arrays", "memory.channels"]
    assert all(is_whole(name, "sail-n1") for name in whole)
    others = ["model", "pim.clock", "llc.latency", "pim.dfm_split", "pim", "a.b.c", "prt"]
    assert not any(is_whole(name, "sail-n1") for name in others)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pim.slices": [1]}, ("pim.slices", "sail-n1", "llc.slices")),
        ({"batches": [1]}, ("batches", "batch")),
        ({"system": ["sail-n1", "graviton2"], "pim.clock": [1]}, ("pim.clock", "graviton2")),
        ({"row_dfm:adds": [1]}, ("row_dfm:adds", "add")),
        ({"row_df:add": [1]}, ("row_df:add", "row_dfm")),
        ({"row_dfm:add": [1], "bit_serial:add": [1]}, ("row_dfm", "bit_serial")),
        ({"row_dfm:add": [1], "substrate": ["row_dfm"]}, ("row_dfm", "substrate")),
        ({"pim.substrate.add": [1], "substrate": ["row_dfm"]}, ("pim.substrate.add", "substrate")),
        ({"row_dfm:add": [-1]}, ("row_dfm:add", "-1")),
        ({"pim.substrate.add": [1.5]}, ("pim.substrate.add", "1.5")),
        ({"wbits": [2.5]}, ("wbits", "2.5", "1..8")),
        ({"model": [3]}, ("model", "3")),
        ({"prt": ["maybe"]}, ("prt", "maybe")),
        ({"wbits": []}, ("wbits", "empty")),
        ({"batch": range(1, 1000), "context": range(1, 1000)}, ("998001", str(LARGEST_PLAN))),
    ],
)
def test_what_no_point_can_have_is_one_sentence(
    fields: dict[str, list[object]], words: tuple[str, ...]
) -> None:
    with pytest.raises(SailsimError) as error:
        _ = plan_of(fields).points
    assert str(error.value).endswith(".")
    assert all(word in str(error.value) for word in words)


@examples(20)
@given(st.sampled_from(METHODS), st.integers(1, 64), st.integers(0, 2**63 - 1))
def test_a_sample_is_even_on_every_axis_and_the_same_from_the_same_seed(
    method: Method, points: int, seed: int
) -> None:
    spans = {"pim.clock": Span(1.0, 4.0), "llc.latency": Span(20, 60, log=True)}
    axes = (
        *(Axis((name,), span=span) for name, span in spans.items()),
        Axis(("batch",), span=Span(1, 4, whole=True)),
    )
    part = Part({}, axes, Sample(method, points, seed))
    plan = Plan((part,))
    assert plan.points == Plan((part,)).points
    assert len(plan.points) == points
    rows = Sample(method, points, seed).rows(3)
    assert rows.shape == (points, 3)
    if method == "lhs" or points & (points - 1) == 0:
        parts = np.sort(np.floor(rows * points).astype(int), axis=0)
        assert (parts == np.arange(points)[:, None]).all()
    for combination in plan.combinations.values():
        assert all(span.low <= combination[name] <= span.high for name, span in spans.items())
        assert combination["batch"] in (1, 2, 3, 4)
    rates = [combination["llc.latency"] for combination in plan.combinations.values()]
    assert points < 8 or abs(np.median(rates) - np.sqrt(20 * 60)) < 8
