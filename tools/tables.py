"""Fill the tables of pages from the CSV files beside them.

    tables.py           write every page of docs/
    tables.py --check   write nothing; exit status 1 where one is old

A page says ``<!-- table: data/NAME.csv -->`` and ``<!-- end -->``; between them stand the first 16 rows.
Columns whose cells are all numbers are set to the right.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
MOST_ROWS = 16
MARK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
NUMBER = re.compile(r"[-+<>]?[\d,.]+(e[-+]?\d+)?[x%]?")


def table(path: Path) -> str:
    """The first rows of a CSV file as Markdown."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    rows = rows[:MOST_ROWS]
    columns = zip(*rows, strict=True)
    numbers = [all(cell in ("", "-") or NUMBER.fullmatch(cell) for cell in cells) for cells in columns]
    rule = "|" + "".join("--:|" if right else "---|" for right in numbers)
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, *rows)]
    return "\n".join([lines[0], rule, *lines[1:]])


def main() -> int:
    """Write or check every page."""
    old = []
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text("utf-8")
        new = MARK.sub(lambda found: f"{found[1]}{table(DOCS / found[2])}\n{found[3]}", text)
        if new != text:
            old.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(new, "utf-8")
    print("\n".join(old), end="\n" if old else "")
    return int(bool(old) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
