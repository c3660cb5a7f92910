"""Write the tables of docs/engine.md: DRAM in closed forms, and its sharing against gem5.

Usage: engine_page.py [--check | --measure GEM5 BUILD]

--measure runs gem5 (some minutes) and writes docs/gem5-dram.json first; BUILD says how gem5 was built.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sailsim.sim import commit, load_system
from sailsim.sim.dram import Dram
from sailsim.sim.gem5 import Gem5
from sailsim.sim.gem5.streams import measure_streams

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "engine.md"
DATA = DOCS / "gem5-dram.json"


def measure(gem5: Gem5, build: str) -> None:
    """Run gem5 and write the data."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in measure_streams(gem5, load_system("sail-n1"), Path(folder)):
            rows.append(row)
            print(row, file=sys.stderr)
    code = commit()
    run = {
        "gem5_version": gem5.version,
        "build": build,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": code["id"][:12] + (" with changes" if code["changed"] else "") if code else "no checkout",
        "system": "sail-n1",
    }
    DATA.write_text(json.dumps({"run": run, "rows": rows}, indent=1) + "\n")


def patterns() -> str:
    """Shares of the peak by pattern, on the shipped machine."""
    memory = load_system("sail-n1").memory
    dram, peak = Dram(memory, 64), memory.peak_bandwidth.value
    row, batch = dram.lines_of_row, memory.write_batch.value
    lines = ["| pattern | closed form | GB/s | measured |", "|---|--:|--:|--:|"]
    measured = {
        "reads": f"{memory.read_share.value:.3f}, {memory.read_bandwidth.value:.1f} GB/s",
        "stores": f"{memory.write_share.value:.3f}, {memory.write_bandwidth.value:.1f} GB/s",
    }
    rows: list[tuple[str, float, str]] = [
        ("streams that use whole rows, banks of several streams at work", dram.reads(row), measured["reads"]),
        ("16 lines of a row, all banks", dram.reads(16), ""),
        ("one stream, one bank of a channel at a time", dram.reads(row, banks=1), ""),
        ("random lines, all banks", dram.reads(1), ""),
        ("random lines, one bank of a channel", dram.reads(1, banks=1), ""),
        ("random lines, 46 under way (one core)", dram.random(46, memory.latency.si), ""),
        (f"{batch:g} lines read, {batch:g} written in turn", dram.mixed(batch, batch), ""),
        ("stores, every line read first", dram.stores, measured["stores"]),
    ]
    lines += [f"| {name} | {share:.3f} | {share * peak:.1f} | {seen} |" for name, share, seen in rows]
    return "\n".join(lines)


def sharing(data: dict[str, Any]) -> str:
    """gem5 beside the engine."""
    run = data["run"]
    lines = [
        f"{run['build']}.",
        f"{run['system']}, {run['date']}, commit {run['commit']}. GB/s; the units together.",
        "",
        "| units | readers | gem5: units | readers get | engine | error | all but refreshes | error |",
        "|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for r in data["rows"]:
        beside = f"{r['streams']} x {r['stream_gb_s']:g} GB/s" if r["streams"] else "none"
        got = f"{r['gem5_beside_gb_s']:.1f}" if r["streams"] else ""
        lines.append(
            f"| {r['units']} | {beside} | {r['gem5_gb_s']:.1f} | {got} | {r['engine_gb_s']:.1f} | "
            f"{r['error']:+.1%} | {r['closed_gb_s']:.1f} | {r['closed_error']:+.1%} |"
        )
    return "\n".join(lines)


def page() -> str:
    """The page with its tables as code and data have them."""
    text = PAGE.read_text()
    tables = {"patterns": patterns(), "sharing": sharing(json.loads(DATA.read_text()))}
    for name, table in tables.items():
        head, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, tail = rest.partition(f"<!-- end of {name} -->")
        if not mark or not end:
            sys.exit(f"docs/engine.md has no place for the table {name!r}")
        text = head + mark + table + "\n" + end + tail
    return text


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit("docs/engine.md is old: run tools/engine_page.py" if PAGE.read_text() != page() else 0)
    if "--measure" in sys.argv:
        measure(Gem5(sys.argv[2]), sys.argv[3])
    PAGE.write_text(page())
