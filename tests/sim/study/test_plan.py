"""Plans as TOML: what a file may say, where its paths lead, and a sentence for everything else."""

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.point import Point
from sailsim.sim.study.plan import (
    LARGEST_PLAN,
    METHODS,
    Plan,
    PlanPart,
    SampleTable,
    expand,
    parse_plan,
    plan_of,
    ranged,
    read_plan,
)

from ...examples import examples
from ...refusals import extending, refusal

WHOLE = """
title = "All that a plan may say"
against = ["aim-n1", "mine/gpu.toml"]

[fixed]
context = 64
model = "smollm2-135m"

[axes]
system = ["sail-n1", "sail-n1-nbw5"]
wbits = [2, 4]
abits = { from = 4, to = 8, step = 4 }
llc.slices = { from = 16, to = 64, points = 3, scale = "log" }
"pim.clock" = 2.5

[[zip]]
batch = [1, 8]
threads = [16, 32]
"""


def test_a_file_says_axes_groups_and_what_is_fixed():
    plan = parse_plan(WHOLE, "plan.toml", Path("there"))
    points = plan.points
    assert plan.against == ("aim-n1", "there/mine/gpu.toml")
    assert len(points) == 2 * 2 * 2 * 2 * 3
    first, second = points[:2]
    assert first == Point(
        system="sail-n1:llc.slices=16:pim.clock=2.5", model="smollm2-135m", batch=1, threads=16, wbits=2,
        abits=4, context=64,
    )  # fmt: skip
    assert second.system == "sail-n1:llc.slices=32:pim.clock=2.5"
    assert {(point.batch, point.threads) for point in points} == {(1, 16), (8, 32)}


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    (tmp_path / "plans").mkdir()
    extending(tmp_path, "sail-n1")
    extending(tmp_path, "row_dfm", name="sub")
    file = tmp_path / "plans" / "plan.toml"
    file.write_text("""
    [fixed]
    activations = "a.safetensors"
    weights = "policy.toml"
    model = "llama-2-7b"
    [axes]
    system = ["../mine.toml", "sail-n1"]
    "../sub.toml:add" = [2, 3]
    llc.slices = [16]
    """)
    monkeypatch.chdir(tmp_path)
    first = read_plan("plans/plan.toml")[0].points[0]
    assert (first.system, first.substrate) == ("mine.toml:llc.slices=16", "sub.toml:add=2")
    assert (first.activations, first.weights, first.model) == (
        "plans/a.safetensors",
        "plans/policy.toml",
        "llama-2-7b",
    )
    monkeypatch.chdir(tmp_path / "plans")
    assert read_plan("plan.toml")[0].points[0].system == "../mine.toml:llc.slices=16"


def test_the_plan_that_ships_has_the_points_that_it_always_had():
    points = read_plan("paper")[0].points
    text = json.dumps([point.as_dict() for point in points])
    assert len(points) == 271
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "3d4482d206768440"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("axis = 1", ("axis", "not a key", "axes, zip, sample")),
        ("wbits = 4", ("wbits", "fields in axes or fixed")),
        ("title = 1", ("title is 1", "text")),
        ("system = ['sail-n1']", ("system", "fields in axes or fixed")),
        ("axes.system = ['']", ("system is ''", "not empty")),
        ("against = [1]", ("against.0 is 1", "text")),
        ("fixed = 1", ("fixed is 1",)),
        ("fixed.wbits = [1]", ("wbits is [1]",)),
        ("fixed.wbits = 2020-01-01", ("wbits is datetime.date(2020, 1, 1)",)),
        ("fixed.wbits = inf", ("wbits is inf", "finite")),
        ("fixed.wbits = 0x" + "f" * 5000, ("more than 64 bits",)),
        ("fixed.wbits = 9", ("wbits is 9", "1..8")),
        ('fixed.model = "a\\u0000b"', ("model is", "texts")),
        ("axes.wbits = []", ("wbits is an empty list",)),
        ("axes.wbits = {}", ("wbits.from is missing",)),
        ("axes.wbits = {from = 1}", ("wbits.to is missing",)),
        ("axes.wbits = {from = 1, too = 2}", ("wbits.too is not", "from, to, step")),
        ("axes.wbits = {from = 1, to = 8, step = 0}", ("wbits", "step above 0")),
        ("axes.wbits = {from = 8, to = 1, step = 1}", ("wbits", "upwards")),
        ("axes.wbits = {from = 1, to = 8, points = 1}", ("wbits.points is 1", "2")),
        ("axes.wbits = {from = 1, to = 8, points = 3, step = 1}", ("wbits", "step and points")),
        ("axes.wbits = {from = 1, to = 8, step = 1, scale = 'log'}", ("wbits", "step and points or scale")),
        ("axes.wbits = {from = 1, to = 8, scale = 'cubic'}", ("wbits.scale", "'linear' or 'log'")),
        ("axes.wbits = {from = 0, to = 8, points = 3, scale = 'log'}", ("wbits", "above 0")),
        ("axes.wbits = {from = 1.5, to = 8}", ("wbits", "whole numbers")),
        ("axes.wbits = {from = 'a', to = 8}", ("wbits.from is 'a'", "a number")),
        ("axes.wbits = {from = 1, to = inf}", ("wbits.to is inf", "finite")),
        ("axes.pim.clock = {from = 1, to = 2}", ("pim.clock", "without a step")),
        ("axes.pim.slices = [1]", ("pim.slices", "llc.slices")),
        ("fixed.wbits = 2\naxes.wbits = [1]", ("wbits is given twice",)),
        ("zip = 1", ("zip is 1", "a list")),
        ("[[zip]]\nwbits = 1", ("wbits is 1", "list of values")),
        ("[[zip]]\nwbits = [1, 2]\nbatch = [1]", ("zip has wbits 2, batch 1", "one length")),
        ("[[zip]]", ("zip has no field",)),
        ("axes.kv_bits = [16, 4]\naxes.attention = ['cores', 'units']", ("kv_bits is 16 with attention",)),
        ("sample = 1", ("sample is 1",)),
        ("sample.method = 'grid'\nsample.points = 3", ("sample.method is 'grid'", "'lhs' or 'sobol'")),
        ("sample.method = 'lhs'", ("sample.points is missing",)),
        ("sample.method = 'lhs'\nsample.points = 0", ("sample.points is 0", "1")),
        ("sample.method = 'lhs'\nsample.points = 3\nsample.seed = -1", ("sample.seed is -1",)),
        ("sample.methods = 'lhs'", ("sample.methods is", "not a key")),
        ("part = 1", ("part is 1", "a list")),
        ("part = []", ("part is []", "at least 1")),
        ("axes.wbits = [1]\n[[part]]", ("axes", "next to [[part]]")),
        ("[[part]]\ntitle = 'x'", ("part.0.title",)),
        ("[[part]]\n[[part]]\naxes.wbits = [9]\nfixed.x = []", ("part 2, x is []",)),
        ("axes = ", ("is not TOML",)),
        ("axes = '\udc80'", ("is not TOML",)),
        ("a = " + "[" * 3000, ("nests tables or arrays",)),
        ("axes." + "a." * 12 + "b = 1", ("neither a field",)),
        ('axes."a\\u0000b" = 1', ("names of fields",)),
    ],
)
def test_what_is_wrong_is_one_sentence_with_file_and_key(text, words):
    sentence = refusal(lambda: parse_plan(text, "my.toml").points)
    assert "my.toml" in sentence
    assert len(sentence) < 1000
    assert sentence.endswith(".")
    assert all(word in sentence for word in words), sentence


def test_a_file_that_cannot_be_read(tmp_path):
    for path, content in (("a.toml", None), ("b.toml", b"\xff"), ("c.toml", b"#" * (1 << 20) + b"#")):
        if content is not None:
            (tmp_path / path).write_bytes(content)
        with pytest.raises(SailsimError, match=path):
            read_plan(tmp_path / path)


KEYS = st.sampled_from(
    [*("system", "model", "substrate", "against", "title", "fixed", "axes", "zip", "sample"),
     *("part", "from", "to", "step", "points", "scale", "method", "seed", "wbits", "batch", "llc.slices"),
     *("pim", "clock", "row_dfm:add", "pim.substrate.add", "x")]
)  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(["sail-n1", "llama-2-7b", "row_dfm", "lhs", "sobol", "log", "auto", "n"]),
    st.integers(-2, 70),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=5),
)
TABLES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def toml(value: object) -> str:
    """A value as TOML's inline text."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case str():
            return json.dumps(value)
        case _:
            return repr(value)


def check(text: str) -> None:
    """A plan, or a sentence with the file's name."""
    try:
        assert parse_plan(text, "my.toml").points
        said = "my.toml"
    except SailsimError as error:
        said = str(error)
    assert "my.toml" in said
    assert "\n" not in said


@given(st.dictionaries(KEYS, TABLES, max_size=5))
def test_any_table_is_a_plan_or_a_sentence(table):
    text = "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in table.items())
    check(text)


@given(st.data())
def test_a_damaged_plan_is_a_plan_or_a_sentence(data):
    at = data.draw(st.integers(0, len(WHOLE)))
    cut = data.draw(st.integers(0, 12))
    text = WHOLE[:at] + data.draw(st.text(max_size=6)) + WHOLE[at + cut :]
    check(text)


# --- Points of a plan: products, groups, samples ---

RANGES = {"wbits": range(1, 9), "abits": range(1, 17), "batch": range(1, 40), "threads": range(1, 40)}
LISTS = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(st.sampled_from(numbers), min_size=1, max_size=4, unique=True)
        for name, numbers in RANGES.items()
    },
)


@given(LISTS)
def test_a_grid_is_the_product_of_its_axes_in_order(lists):
    plan = plan_of(lists)
    combinations = [dict(zip(lists, row, strict=True)) for row in itertools.product(*lists.values())]
    assert list(plan.combinations.values()) == combinations
    assert plan.points == [Point(**each) for each in combinations] == expand([lists])


def test_fields_of_all_kinds_make_one_point():
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
def test_what_no_point_can_have_is_one_sentence(fields, words):
    sentence = refusal(lambda: plan_of(fields).points)
    assert sentence.endswith(".")
    assert all(word in sentence for word in words), sentence


@examples(20)
@given(st.sampled_from(METHODS), st.integers(1, 64), st.integers(0, 2**63 - 1))
def test_a_sample_is_even_on_every_axis_and_the_same_from_the_same_seed(method, points, seed):
    spans = {"pim.clock": {"from": 1.0, "to": 4.0}, "llc.latency": {"from": 20, "to": 60, "scale": "log"}}
    axes = (
        *(ranged(name, span, whole=False) for name, span in spans.items()),
        ranged("batch", {"from": 1, "to": 4}, whole=True),
    )
    part = PlanPart({}, axes, SampleTable(method=method, points=points, seed=seed))
    plan = Plan((part,))
    assert plan.points == Plan((part,)).points
    assert len(plan.points) == points
    rows = SampleTable(method=method, points=points, seed=seed).rows(3)
    assert rows.shape == (points, 3)
    if method == "lhs" or points & (points - 1) == 0:
        parts = np.sort(np.floor(rows * points).astype(int), axis=0)
        assert (parts == np.arange(points)[:, None]).all()
    for combination in plan.combinations.values():
        assert all(span["from"] <= combination[name] <= span["to"] for name, span in spans.items())
        assert combination["batch"] in (1, 2, 3, 4)
    rates = [combination["llc.latency"] for combination in plan.combinations.values()]
    assert points < 8 or abs(np.median(rates) - np.sqrt(20 * 60)) < 8
