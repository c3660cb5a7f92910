"""The writer of Markdown tables, and the marks of a page's generated parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.analysis.render.markdown import one_decimal, table
from sailsim.analysis.render.marks import MarkError, filled, parts

PAGE = "a\n<!-- generated: x/one -->\nold\n\ntext\n<!-- end: x/one -->\nb\n"


def test_a_table_has_a_dash_for_nothing_and_three_digits() -> None:
    rows = [[None, 1.23456], ["x", 123456.0], [3, float("nan")], ["a|b\nc", -2.0]]
    assert table(("a", "b"), rows, "lr").splitlines() == [
        "| a | b |",
        "|---|--:|",
        "| - | 1.23 |",
        "| x | 123,456 |",
        "| 3 | - |",
        "| a\\|b c | -2 |",
    ]


def test_one_decimal_has_no_negative_zero() -> None:
    assert [one_decimal(value) for value in (-0.04, 0.0, -0.06, 12.34, 10.0)] == [
        "0.0",
        "0.0",
        "-0.1",
        "12.3",
        "10.0",
    ]


@pytest.mark.parametrize(("rows", "align"), [([["x"]], ""), ([["x", "y", "z"]], ""), ([], "l"), ([], "lrl")])
def test_a_row_of_another_length_is_refused(rows: list[list[str]], align: str) -> None:
    with pytest.raises(ValueError, match="of another length"):
        table(("a", "b"), rows, align)


@given(st.lists(st.lists(st.text("a|\\\n é", max_size=5), min_size=3, max_size=3), max_size=4))
def test_every_row_is_one_line_of_as_many_cells(rows: list[list[str]]) -> None:
    lines = table(("a", "b", "c"), rows).split("\n")
    assert len(lines) == len(rows) + 2
    assert {line.replace("\\|", "").count("|") for line in lines} == {4}


def test_a_part_is_read_and_only_it_is_written() -> None:
    assert parts(PAGE) == {"x/one": "old\n\ntext"}
    assert filled(PAGE, {"x/one": r"new \1"}) == PAGE.replace("old\n\ntext", r"new \1")
    two = PAGE + PAGE.replace("x/one", "y/two")
    assert filled(two, {"y/two": "new"}) == PAGE + PAGE.replace("x/one", "y/two").replace(
        "old\n\ntext", "new"
    )
    with pytest.raises(MarkError, match="no part 'x/other'"):
        filled(PAGE, {"x/other": "new"})


@pytest.mark.parametrize(
    "page",
    [
        PAGE + PAGE,
        PAGE.replace("<!-- end: x/one -->", ""),
        PAGE.replace("end: x/one", "end: x/two"),
        PAGE.replace("<!-- generated: x/one -->", ""),
        PAGE + "<!-- generated: y -->\n",
        PAGE.replace("old", "<!-- generated: y -->"),
    ],
)
def test_marks_that_do_not_pair_are_refused(page: str) -> None:
    with pytest.raises(MarkError):
        parts(page)
