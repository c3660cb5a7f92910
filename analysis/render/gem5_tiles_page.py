"""docs/gem5-tiles.md and its figures from analysis/data/gem5/tiles.jsonl: tiles of a sweep on gem5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.render.gem5_figures import tiles_figure, timeline_figure
from sailsim.analysis.render.markdown import table
from sailsim.analysis.render.style import save
from sailsim.base.records import read_records
from sailsim.lut_gemv import LAYOUTS
from sailsim.sim.gem5.timeline import TileTimeline

HEAD = """# Tiles of a sweep on gem5

Written by `sailsim docs --write gem5-tiles` from `analysis/data/gem5/tiles.jsonl`, the output of
`sailsim gem5 sweep --write`. `make sim GEM5=/path/to/gem5.opt` runs the same tiles and shows them in
`out/figures` and in the report."""

TILES = """## Time

![Time of each tile in gem5 and in the fast engine by bit width, and their difference](figures/gem5.png)

gem5's cycles are those from the descriptor's arrival to the last result's acknowledgement; the engine's
are its own prediction for the same tile with the same activations. With 32 slices the whole matrix runs
on all units at once, and they compete for DRAM.

**Bare DRAM** is the engine with a DRAM that loses nothing to long reads but refreshes, as gem5's; its own has
0.833 of the peak, which a real machine was measured to give. Where shares are a matter of memory alone, that
is the difference between the two columns.

**Where shares lie.** Every unit reads its share from end to end, so a unit is in one row of one bank at
a time. gem5's controllers take the bank from the address as it is (controllers of real machines hash
it), and rows of 64 KiB over all channels come round after 32 banks: shares whose distance is near a
multiple of that crowd into few banks. Packed, shares of 4 bits are 4.13 rows apart: the last unit begins
in the first one's bank (31 x 4.13 rows are four turns), a third runs into both, and 29 of 32 units are
done after 83,900 cycles while these three take 94,900 to 102,400. An odd number of rows apart, 32 shares
begin in 32 banks (`write_trace(..., row=...)`), and the engine with bare DRAM is within 3 % of gem5. The
worst distance is a power of two: 1 MiB apart (`row=1 << 20`), shares of 8 bits lie in two banks and take
490,281 cycles, three times as long. A machine with units should hash its banks, or its software lay
shares out so."""

TIMELINE = """## One tile, group by group

![Load, build, look-up, conversion and write-back of the tile's groups against cycles](figures/timeline.png)

Above from gem5, whose unit prints a line for each group (`--debug-flags=SailPimGroups`); below from the
fast engine. What gem5 adds is when weights arrive: with its arrivals the core's sequencer draws the upper
picture (`tests/sim/gem5/test_timeline.py`), and here {equal} of {groups} groups start to load and to compute
when the rules of [contract.md](contract.md), section 4, say. `sailsim gem5 timeline TRACE` draws any tile of
a trace, with `--engine` without gem5."""


def _data() -> dict[str, Any]:
    return read_records(data_file("gem5/tiles.jsonl"))


def page() -> str:
    """The page as its data has it."""
    data = _data()
    names = ("gem5", "commit", "date", "build", "options")
    origin = table(("", ""), [(name, data["run"][name]) for name in names])
    timeline = TIMELINE.format(**_recomputed(data))
    return "\n\n".join([HEAD, origin, TILES, _table(data["tiles"]), timeline]) + "\n"


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        (
            r["slices"],
            LAYOUTS[r["layout"]] if r["slices"] > 1 else "",
            r.get("type", f"w{r['wbits']}g{r['group_size']}"),
            r["nbw"],
            r["batch"],
            f"{r['gem5_cycles']:,}",
            f"{r['engine_cycles']:,.0f}",
            f"{r['error']:+.1%}",
            f"{r['bare_cycles']:,.0f}",
            f"{r['bare_error']:+.1%}",
            "exact" if r["correct"] else "WRONG",
            "equal" if r["phases_equal"] else "DIFFER",
        )
        for r in sorted(rows, key=lambda r: (r["slices"], r["wbits"], r["nbw"], r["batch"], r["layout"]))
    ]
    header = (
        "slices",
        "shares lie",
        "weights",
        "NBW",
        "batch",
        "gem5, cycles",
        "engine, cycles",
        "difference",
    )
    return table((*header, "bare DRAM", "difference", "results", "phases"), lines, "rllrrrrrrrll")


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


def draw(folder: Path) -> list[Path]:
    """Draw the two figures as PNG into a folder; returns the paths."""
    data = _data()
    timelines = [TileTimeline.from_dict(each) for each in data["timelines"]]
    drawn = {"gem5": tiles_figure(pd.DataFrame(data["tiles"])), "timeline": timeline_figure(timelines)}
    for name, figure in drawn.items():
        save(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in drawn]
