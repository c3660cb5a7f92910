"""One record a line, and the same document again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import to_lines

from sailsim.base.atomic import parse_records
from sailsim.base.errors import SailsimError

NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8), below, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, JSON, max_size=5))
def test_a_document_comes_back(document: dict[str, Any]) -> None:
    assert parse_records(to_lines(document)) == document


def test_items_and_entries_have_lines_of_their_own() -> None:
    items, entries = [{"n": 1}, {"n": 2}], {"x.y": {"v": [1, 2]}, "z[]": {}}
    document = {"run": "a", "tiles": items, "claims": entries, "none": []}
    names = [next(iter(json.loads(line))) for line in to_lines(document).splitlines()]
    assert names == ["run", "tiles[]", "tiles[]", "claims.x.y", "claims.z[]", "none"]
    assert parse_records(to_lines(document)) == document


@pytest.mark.parametrize("line", ["{", "[1]", "3", '{"a": 1, "b": 2}', "{}", ""])
def test_a_line_that_is_no_record_is_named(line: str) -> None:
    with pytest.raises(SailsimError, match=r"x\.jsonl, line 2, is no record"):
        parse_records(f'{{"a[]": 1}}\n{line}\n', "x.jsonl")


def test_a_list_and_a_value_of_one_name_are_refused() -> None:
    with pytest.raises(SailsimError, match="line 2"):
        parse_records('{"a": 1}\n{"a[]": 2}\n')
