"""Points of a plan: products, groups, constraints, samples."""

import itertools
import operator
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.plan.axis import Axis, Span, axis_of
from sailsim.sim.plan.combination import is_whole
from sailsim.sim.plan.constraint import Constraint
from sailsim.sim.plan.file import expand
from sailsim.sim.plan.plan import LARGEST_PLAN, Part, Plan, plan_of
from sailsim.sim.plan.sample import Sample
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
    drawn = plan_of(lists).drawn
    combinations = [dict(zip(lists, row, strict=True)) for row in itertools.product(*lists.values())]
    assert list(drawn.combinations.values()) == combinations
    assert drawn.points == [Point(**each) for each in combinations] == expand([lists])
    assert (drawn.tried, drawn.left_out, drawn.short) == (len(combinations), {}, 0)


@given(LISTS.filter(lambda lists: len(lists) >= 2), st.data())
def test_a_constraint_leaves_exactly_what_keeps_to_it(
    lists: dict[str, list[int]], data: st.DataObject
) -> None:
    one, other = data.draw(st.permutations(list(lists)))[:2]
    sign, compare = data.draw(
        st.sampled_from(
            [("<=", operator.le), ("!=", operator.ne), ("%", lambda a, b: a % b == 0), (">", operator.gt)]
        )
    )
    text = f"{one} % {other} == 0" if sign == "%" else f"{one} {sign} {other}"
    axes = tuple(axis_of(name, values) for name, values in lists.items())
    plan = Plan((Part({}, axes, (Constraint.parse(text),)),))
    rows = [dict(zip(lists, row, strict=True)) for row in itertools.product(*lists.values())]
    kept = [row for row in rows if compare(row[one], row[other])]
    if not kept:
        with pytest.raises(SailsimError, match=f"none of {len(rows)} combinations keeps"):
            _ = plan.drawn
        return
    assert list(plan.drawn.combinations.values()) == kept
    assert plan.drawn.left_out == {text: len(rows) - len(kept)}


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
    drawn = Plan((Part({}, (axis_of("batch", [1, 8]),)), Part({}, (axis_of("batch", [8, 32]),)))).drawn
    assert [point.batch for point in drawn.points] == [1, 8, 32]
    assert (drawn.tried, drawn.repeated) == (4, 1)


@given(st.integers(1, 40), st.integers(0, 2**63 - 1), st.booleans())
def test_a_sample_is_latin_on_every_continuous_axis_and_even_on_the_others(
    points: int, seed: int, log: bool
) -> None:
    spans = {"pim.clock": Span(1.0, 4.0, log), "llc.latency": Span(20, 60)}
    axes = tuple(Axis((name,), span=span) for name, span in spans.items())
    axes += (axis_of("prt", [True, False]), Axis(("batch",), span=Span(1, 4, whole=True)))
    drawn = Plan((Part({}, axes, (), Sample("lhs", points, seed)),)).drawn
    assert (len(drawn.points), drawn.tried, drawn.short) == (points, points, 0)
    for name, span in spans.items():
        found = sorted(combination[name] for combination in drawn.combinations.values())
        for place, value in enumerate(found):
            ends = [share / points for share in (place, place + 1)]
            low, high = (
                span.low * (span.high / span.low) ** end
                if span.log
                else span.low + (span.high - span.low) * end
                for end in ends
            )
            assert low * (1 - 1e-8) <= value <= high * (1 + 1e-8)
    for name, kinds in (("prt", 2), ("batch", 4)):
        counts = Counter(combination[name] for combination in drawn.combinations.values())
        # A part of the axis that lies across two values may fall to either.
        assert all(abs(count - points / kinds) < 2 for count in counts.values())
        if points % kinds == 0:
            assert set(counts.values()) == {points // kinds}


@pytest.mark.parametrize("method", ["lhs", "sobol"])
def test_what_a_constraint_refuses_is_drawn_on(method: str) -> None:
    axes = (Axis(("wbits",), span=Span(1, 8, whole=True)), Axis(("abits",), span=Span(1, 16, whole=True)),
            Axis(("pim.clock",), span=Span(1.0, 4.0)))  # fmt: skip
    part = Part({}, axes, (Constraint.parse("wbits > abits"),), Sample(method, 30, 3))
    drawn = Plan((part,)).drawn
    assert (len(drawn.points), drawn.short) == (30, 0)
    assert all(point.wbits > point.abits for point in drawn.points)
    assert drawn.tried > 60
    assert drawn.tried == 30 + drawn.repeated + sum(drawn.left_out.values())
    assert Plan((part,)).points == drawn.points


@pytest.mark.parametrize("file", ["", "mine.toml"])
def test_values_that_do_not_go_together_come_with_the_constraint_that_leaves_them_out(file: str) -> None:
    axes = (axis_of("batch", [1, 8]), axis_of("kv_bits", [16, 4]), axis_of("attention", ["cores", "units"]))
    with pytest.raises(SailsimError) as error:
        _ = Plan((Part({}, axes),), file=file).points
    constraint = "not (kv_bits == 16 and attention == 'units')"
    if file:
        assert str(error.value).startswith("mine.toml: kv_bits is 16 beside attention on the units; allowed ")
        assert str(error.value).endswith(f'A constraint leaves that out: constraints = ["{constraint}"].')
    else:
        assert str(error.value).startswith("kv_bits is 16 beside attention on the units; allowed there is ")
        assert str(error.value).endswith(f'A constraint leaves that out: --constraint "{constraint}".')
    drawn = Plan((Part({}, axes, (Constraint.parse(constraint),)),), file=file).drawn
    assert (len(drawn.points), drawn.left_out) == (6, {constraint: 2})


def test_fields_that_move_together_are_left_out_together() -> None:
    group = Axis(("attention", "abits"), (("cores", 8), ("units", 4)))
    with pytest.raises(SailsimError) as error:
        _ = Plan((Part({}, (group, axis_of("kv_bits", [4, 16]))),)).points
    constraint = "not (attention == 'units' and abits == 4 and kv_bits == 16)"
    assert f'--constraint "{constraint}"' in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"wbits": [4, 9], "batch": [1, 8]},  # a value that goes with nothing
        {"kv_bits": [4, 16], "attention": ["units"]},  # one list has a value too many
        {"kv_bits": [16], "attention": ["units"]},  # nothing is left without it
        {"overlap": [True], "row_dfm:add": [1, 2]},
    ],
)
def test_a_value_that_goes_with_nothing_is_no_matter_of_constraints(fields: dict[str, list[object]]) -> None:
    with pytest.raises(SailsimError) as error:
        _ = plan_of(fields).points
    assert "onstraint" not in str(error.value)


def test_drawing_ends_at_its_limit_and_says_how_many_are_missing() -> None:
    part = Part({}, (axis_of("batch", [1, 2, 3]),), (), Sample("lhs", 10, 0))
    drawn = Plan((part,)).drawn
    assert (len(drawn.points), drawn.tried, drawn.short) == (3, 1000, 7)
    assert sorted(point.batch for point in drawn.points) == [1, 2, 3]


def test_a_sample_of_fixed_fields_is_one_point() -> None:
    part = Part({"batch": 8}, (axis_of("wbits", [2]),), (), Sample("sobol", 4, 0))
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


def test_a_constraint_may_choose_from_more_than_a_folder_holds() -> None:
    axes = (axis_of("batch", range(1, 351)), axis_of("context", range(1, 351)))
    drawn = Plan((Part({}, axes, (Constraint.parse("batch == context"),)),)).drawn
    assert (len(drawn.points), drawn.tried) == (350, 122_500)


@pytest.mark.slow
def test_more_points_than_a_folder_holds_are_refused() -> None:
    axes = (axis_of("batch", range(1, 351)), axis_of("context", range(1, 351)))
    with pytest.raises(SailsimError, match="more than 100000 points"):
        _ = Plan((Part({}, axes, (Constraint.parse("batch < 300"),)),)).points


@examples(20)
@given(st.sampled_from(["lhs", "sobol"]), st.integers(1, 64), st.integers(0, 2**63 - 1))
def test_equal_seeds_are_equal_points(method: str, points: int, seed: int) -> None:
    axes = (Axis(("pim.clock",), span=Span(0.5, 4.0, True)), Axis(("batch",), span=Span(1, 64, True, True)))
    part = Part({}, axes, (), Sample(method, points, seed))
    assert Plan((part,)).points == Plan((part,)).points


def test_the_points_of_a_seed_are_these() -> None:
    axes = (Axis(("pim.clock",), span=Span(0.5, 4.0, True)), Axis(("batch",), span=Span(1, 64, True, True)))
    for method, told in (("lhs", LHS), ("sobol", SOBOL)):
        drawn = Plan((Part({}, axes, (), Sample(method, 4, 2)),)).drawn
        assert [(c["pim.clock"], c["batch"]) for c in drawn.combinations.values()] == told


LHS = [(3.24917938, 35), (0.73022876, 2), (0.927182862, 12), (1.45534376, 5)]
SOBOL = [(0.861448468, 3), (2.43654421, 28), (1.44877786, 1), (0.512220324, 9)]
