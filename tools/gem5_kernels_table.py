"""Write the table of kernel rates into docs/kernels.md from analysis/data/gem5_kernels.csv.

Usage: gem5_kernels_table.py [--check]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ROOT / "analysis" / "data" / "gem5_kernels.csv"
PAGE = ROOT / "docs" / "kernels.md"
BEGIN = "<!-- kernel rates: written by tools/gem5_kernels_table.py -->"
END = "<!-- end of kernel rates -->"
COLUMNS = (
    ("L2, batch 1", "L2", 1, 1),
    ("L2, batch 4", "L2", 4, 1),
    ("L2, 4 threads", "L2", 1, 4),
    ("DRAM", "DRAM", 1, 1),
    ("DRAM, 4 threads", "DRAM", 1, 4),
)


def page() -> str:
    """The page with a current table."""
    with DATA.open(newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    rates = {
        (row["format"], row["weights_in"], int(row["batch"]), int(row["threads"])): row["cycles_per_mac"]
        for row in rows
    }
    lines = ["| format | " + " | ".join(title for title, *_ in COLUMNS) + " |"]
    lines.append("|---|" + "--:|" * len(COLUMNS))
    for fmt in dict.fromkeys(row["format"] for row in rows):
        cells = [f"{float(rates[fmt, *where]):.4f}" for _, *where in COLUMNS]
        lines.append(f"| `{fmt}` | " + " | ".join(cells) + " |")
    origin = sorted({(row["gem5_version"], row["date"], row["commit"]) for row in rows})
    said = "; ".join(f"gem5 {version}, {date}, commit {commit}" for version, date, commit in origin)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + "\n".join([BEGIN, *lines, "", said + ".", END]) + after


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(
            "docs/kernels.md is old: run tools/gem5_kernels_table.py" if PAGE.read_text() != page() else 0
        )
    PAGE.write_text(page())
