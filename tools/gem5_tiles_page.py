"""Write docs/gem5-tiles.md and its figures from docs/gem5-tiles.json (`sailsim gem5 sweep --write`).

Usage: gem5_tiles_page.py [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

DOCS = Path(__file__).parents[1] / "docs"
DATA = DOCS / "gem5-tiles.json"
PAGE = DOCS / "gem5-tiles.md"

HEAD = """# Tiles of a sweep on gem5

Written by `python tools/gem5_tiles_page.py` from gem5-tiles.json, the output of
`sailsim gem5 sweep --write`. `make sim GEM5=/path/to/gem5.opt` runs the same tiles and shows them in
`out/figures` and in the report."""

TILES = """## Time

![Time of each tile in gem5 and in the fast engine by bit width, and their difference](figures/gem5.png)

gem5's cycles are those from the descriptor's arrival to the last result's acknowledgement; the engine's
are its own prediction for the same tile with the same activations. With 32 slices the whole matrix runs
on all units at once, and they compete for DRAM."""

TIMELINE = """## One tile, group by group

![Load, build, look-up, conversion and write-back of the tile's groups against cycles](figures/timeline.png)

Above from gem5, whose unit prints a line for each group (`--debug-flags=SailPimGroups`); below from the
fast engine. What gem5 adds is when weights arrive: with its arrivals the core's sequencer draws the upper
picture (`tests/sim/test_timeline.py`), and here {equal} of {groups} groups start to load and to compute when
the rules of [contract.md](contract.md), section 4, say. `sailsim gem5 timeline TRACE` draws any tile of a
trace, with `--engine` without gem5."""


def page(data: dict[str, Any]) -> str:
    """The page as its data has it."""
    run = data["run"]
    names = ("gem5", "commit", "date", "build", "options")
    origin = ["| | |", "|---|---|", *(f"| {name} | {run[name]} |" for name in names)]
    timeline = TIMELINE.format(**_recomputed(data))
    return "\n\n".join([HEAD, "\n".join(origin), TILES, _table(data["tiles"]), timeline]) + "\n"


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| slices | bits | NBW | batch | gem5, cycles | engine, cycles | difference | results | phases |",
        "|--:|--:|--:|--:|--:|--:|--:|---|---|",
    ]
    for r in sorted(rows, key=lambda r: (r["slices"], r["wbits"], r["nbw"], r["batch"])):
        results, phases = "exact" if r["correct"] else "WRONG", "equal" if r["phases_equal"] else "DIFFER"
        lines.append(
            f"| {r['slices']} | {r['wbits']} | {r['nbw']} | {r['batch']} | {r['gem5_cycles']:,} | "
            f"{r['engine_cycles']:,.0f} | {r['error']:+.1%} | {results} | {phases} |"
        )
    return "\n".join(lines)


def _recomputed(data: dict[str, Any]) -> dict[str, int]:
    """How many of gem5's groups the phases' rules give from the arrivals alone (double buffering).

    Computing starts when weights are here and the group before is done, a load when that one has started.
    """
    rows = data["timelines"][0]["groups"]
    equal, end, owed = 0, 0, 0
    for i, (_, _, load_start, load_end, start, build, lookup, convert, write_back) in enumerate(rows):
        expected = (rows[i - 1][4] if i else 0, max(load_end, end) + owed)
        equal += (load_start, start) == expected
        end, owed = start + build + lookup + convert, write_back
    return {"equal": equal, "groups": len(rows)}


def draw(data: dict[str, Any], folder: Path) -> None:
    """The two figures as PNG."""
    from sailsim.analysis.render.gem5_figures import save, tiles_figure, timeline_figure
    from sailsim.sim.gem5.timeline import TileTimeline

    save(tiles_figure(pd.DataFrame(data["tiles"])), folder / "gem5.png")
    save(
        timeline_figure([TileTimeline.from_dict(each) for each in data["timelines"]]), folder / "timeline.png"
    )


if __name__ == "__main__":
    content = json.loads(DATA.read_text())
    if "--check" in sys.argv:
        current = PAGE.read_text() == page(content)
        sys.exit(0 if current else "docs/gem5-tiles.md is old: run tools/gem5_tiles_page.py")
    PAGE.write_text(page(content))
    draw(content, DOCS / "figures")
