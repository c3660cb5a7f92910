"""Tables: current in the pages, and what they say follows from the models."""

import importlib.util
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from sailsim.analysis.results.cost_tables import MACHINES, cost_rows, markdown, page_tables, sensitivity_table
from sailsim.analysis.results.evaluate import evaluate, price_columns
from sailsim.sim import Point, card_names

ROOT = Path(__file__).parents[3]
POINT = Point(model="smollm2-135m", context=64, batch=2)


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("budget_tables", ROOT / "tools" / "budget_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_of_the_pages_are_current(tool):
    tables = page_tables()
    used = []
    for page in tool.PAGES:
        text = page.read_text("utf-8")
        used += tool.marks(text)
        assert tool.filled(text, tables) == text, f"{page.name} is old: run tools/budget_tables.py"
    assert sorted(used) == sorted(tables)


def test_an_old_table_is_seen(tool):
    text = "a\n<!-- table cost: tools/budget_tables.py -->\nold\n<!-- end of table -->\nb\n"
    assert tool.filled(text, {"cost": "new"}) == text.replace("old", "new")
    with pytest.raises(KeyError):
        tool.filled(text, {})


def test_rows_of_cost_are_the_columns_of_the_record():
    record = evaluate(POINT)
    rows = cost_rows(POINT)
    assert len(rows) == len(MACHINES) + len(card_names())
    sail = rows[0].cost
    assert sail.nominal == pytest.approx(record["sail_tokens_per_usd_bandwidth"])
    assert (sail.low, sail.high) == (record["sail_tokens_per_usd_low"], record["sail_tokens_per_usd_high"])
    h100 = next(row for row in rows if "H100" in row.machine)
    assert h100.cost is None
    assert h100.as_dict()["usd_per_million_tokens"] is None


def test_wider_use_of_the_bandwidth_costs_more_and_the_whole_most(tmp_path):
    from sailsim.analysis import CostConstants, prices

    record = evaluate(POINT)
    ends = [record[f"sail_tokens_per_usd{end}"] for end in ("", "_bandwidth", "_whole")]
    assert ends == sorted(ends, reverse=True)
    half = replace(CostConstants.default(), utilisation=0.5)
    columns = price_columns(record, prices(), half)
    assert columns["sail_tokens_per_usd"] == pytest.approx(record["sail_tokens_per_usd"] / 2)
    for name in columns:
        if name.startswith("usd_ratio"):
            assert columns[name] == pytest.approx(record[name]) or columns[name] is None


def test_what_decides_is_sorted_and_ends_with_the_nominal():
    record = evaluate(POINT)
    table = [row.split("|")[1:4] for row in sensitivity_table(POINT, most=5).splitlines()[2:]]
    assert len(table) == 6
    swings = [abs(float(high.strip(" x")) - float(low.strip(" x"))) for _, low, high in table[:-1]]
    assert all(wide >= narrow - 0.011 for wide, narrow in pairwise(swings))  # two digits are printed
    nominal = record["cpu_energy_j"] / record["energy_j"]
    assert float(table[-1][1].strip(" x")) == pytest.approx(nominal, abs=0.006)


def test_markdown_has_a_dash_for_nothing_and_three_digits():
    assert markdown(("a", "b"), [[None, 1.23456], ["x", 123456.0]]).splitlines()[2:] == [
        "| - | 1.23 |",
        "| x | 123,456 |",
    ]
