"""Write the tables of docs/cost.md and docs/energy-area.md between their marks.

Usage: budget_tables.py [--check]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sailsim.analysis.results.cost_tables import page_tables

DOCS = Path(__file__).parents[1] / "docs"
PAGES = (DOCS / "cost.md", DOCS / "energy-area.md")
MARKED = re.compile(r"(<!-- table (.+?): tools/budget_tables\.py -->\n).*?(<!-- end of table -->)", re.DOTALL)


def filled(text: str, tables: dict[str, str]) -> str:
    """A page with its tables as they are now. Raises KeyError for a mark that names none."""
    return MARKED.sub(lambda found: f"{found[1]}{tables[found[2]]}\n{found[3]}", text)


def marks(text: str) -> list[str]:
    """The names of a page's tables."""
    return [found[1] for found in MARKED.findall(text)]


if __name__ == "__main__":
    tables = page_tables()
    old = [page for page in PAGES if filled(page.read_text(), tables) != page.read_text()]
    if "--check" in sys.argv[1:]:
        sys.exit(f"{', '.join(p.name for p in old)} old: run tools/budget_tables.py" if old else 0)
    for page in old:
        page.write_text(filled(page.read_text(), tables))
