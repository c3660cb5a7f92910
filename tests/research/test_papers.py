"""The committed table of other papers' claims is what the models give."""

import csv

import papers
import pytest


@pytest.mark.slow
def test_the_table_is_what_its_sweeps_give() -> None:
    with papers.TABLE.open(newline="", encoding="utf-8") as file:
        header, *rows = (tuple(row) for row in csv.reader(file))
    assert header == papers.COLUMNS
    assert rows == papers.rows()
