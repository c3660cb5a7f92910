"""Tables: current in the pages, and what they say follows from the models."""

import importlib.util
from itertools import pairwise
from pathlib import Path

import pytest

from sailsim.analysis.baselines.runners import named
from sailsim.analysis.results.cost_tables import markdown, page_tables, sensitivity_table
from sailsim.analysis.results.runs import runs
from sailsim.sim import Point

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


def test_what_decides_is_sorted_and_ends_with_the_nominal():
    sail, cores = runs(POINT, runners=named("sail", "cores"))
    table = [row.split("|")[1:4] for row in sensitivity_table(POINT, most=5).splitlines()[2:]]
    assert len(table) == 6
    swings = [abs(float(high.strip(" x")) - float(low.strip(" x"))) for _, low, high in table[:-1]]
    assert all(wide >= narrow - 0.011 for wide, narrow in pairwise(swings))  # two digits are printed
    nominal = cores.energy_j / sail.energy_j
    assert float(table[-1][1].strip(" x")) == pytest.approx(nominal, abs=0.006)


def test_markdown_has_a_dash_for_nothing_and_three_digits():
    assert markdown(("a", "b"), [[None, 1.23456], ["x", 123456.0]]).splitlines()[2:] == [
        "| - | 1.23 |",
        "| x | 123,456 |",
    ]
