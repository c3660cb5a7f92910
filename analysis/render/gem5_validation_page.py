"""docs/gem5-validation.md, gem5 against the core and the fast engine, from data/gem5/validation.jsonl."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf
from statistics import median
from typing import Any

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.render.markdown import table
from sailsim.base.records import read_records

HEAD = """# gem5 against the core and the fast engine

Written by `sailsim docs --write gem5-validation` from `analysis/data/gem5/validation.jsonl`, the output of
`sailsim gem5 validate --write`."""

LATENCIES = """## Load latencies

Pointer chase (`workloads/kernels/memory`) on one O3 core, nothing else running. The private parts and the
ways through the mesh were fitted to the published numbers, so the errors say how well that went, not more.

"""

BANDWIDTHS = """## Bandwidths of the cores

Threads of `workloads/kernels/memory/bandwidth` on O3 cores; bytes that the program asks for. DRAM: 16 of
the 64 cores with their share of slices and channels (8 and 2), and caches so small that a pass of 2 MiB
misses (`sim_ext/sim/gem5/measure.py`). Published is what all 64 cores of a Graviton2 reach together
(lmbench bw_mem), a quarter of it here, and the L2's rate. Nothing of the bandwidths was fitted: reading
gem5 moves 89 % of the pins' bandwidth, the real machine 83 %; writing, gem5 reads every line first. One
thread has some 15 lines under way (10.6 GB/s x 90 ns) of the 46 that its L2's MSHRs allow. The DRAM rows
hold to about 7 %: that is how far they moved, by 3 % at 16 threads, when the program's stack and heap lay
elsewhere, as they did before its arguments had one length for every path (`gem5-configs/run_program.py`).

The L2's row is the crossbar between a core's caches: gem5's own (`L2XBar`, 32 bytes wide) is taken for four
cycles by a line. With 64 bytes, a change of one word in `hierarchy.py`, it is taken for three, and the same
program reads 52.3 GB/s, 8 % more than is published. An inclusive L2, 64 MSHRs, no prefetcher beside the L1
and a response without latency move it by 0.6 % at most. It is left as gem5 ships it: weights, keys and values
come to no core at more than 17 GB/s in a decode step ([gem5-decode.md](gem5-decode.md)).

"""

END_TO_END = """From the descriptor's arrival to the last result's acknowledgement. The engine's time is the
one that steps and traces use: operands, groups with weights as a unit gets them, results
(docs/engine.md). Held-out tiles were added when the engine's memory model was done; nothing
was changed after them. Fifteen earlier ones (768 x 160 and on) led to one change, as 384 x 384
was 7 % off, and count as seen. The two substrates that compute in the arrays hardly ever wait
for weights, which is why medians over all are so small: see `row_dfm`."""

BY_SIZE = """## By size

Tiles on `row_dfm`, by gem5's cycles. A model's tensors are far above: a slice's share of a 4096 x 4096
matrix takes some 100,000. Some 100 cycles at the beginning and end are not the engine's, so small tiles
are the furthest off; the least is `16 x 8`.

"""
SIZES = (0, 1_000, 5_000, 20_000)

CAUSES = """## Where the larger differences come from

- **Where in the refresh interval a tile starts.** All of gem5's ranks refresh together, 350 ns every
  7.8 us (630 cycles every 14,040). The engine spreads that evenly, but a tile of 4000 cycles that waits
  for weights meets one refresh or none. With refreshes set 100 ms apart gem5 took 3892 cycles for 127 x
  343, not 4578, and 10,997 for 512 x 344, not 11,658. Not modelled; `refreshes` counts those that began
  while the tile was under way.
- **Readers in step.** The 16 readers start together with one period, so their lines come to one channel
  and one slice at the same time. The engine takes that as bursts of 16 lines at random times, and
  overestimates the wait: they come evenly. Beside 32 readers of 2 GB/s in step a unit got 2 GB/s of its
  14: probably the 32 MSHRs of one slice, which are full each time. Not modelled, and no real machine's
  readers are in step.
- **Parts of rows.** A tile of more outputs than fit at once takes part of every row in each pass, in
  whole lines; lines that a pass asks for again come from the LLC. Modelled as a mean (`refetch_ratio` in
  the engine).
- **Lines that wait for their group.** Groups leave the fetch buffer whole. Modelled (`Supply`,
  `sim_ext/pim/timing.hh`) as a steady stream with a bound on what is ahead; single lines are not.
- **The group in turn may always come**, in both: the first that is not complete, even while complete
  ones wait for arrays that convert. So during a long conversion the buffer holds more than it has room
  for. A stricter unit would stall there.

Two earlier causes are gone. The unit looked for room in its buffer only when the next group came, which
cost the widest tile (96 x 700 at 8 bits) 8 %: mended in the unit. And the engine rounded every group up
to whole cycles, 9 % of a tile with short groups."""


def page() -> str:
    """The page as its data has it."""
    data = read_records(data_file("gem5/validation.jsonl"))
    parts = [HEAD, _runs(data), LATENCIES + _latencies(data["latencies"])]
    if data["bandwidths"]:
        parts.append(BANDWIDTHS + _bandwidths(data["bandwidths"]))
    parts += ["## End to end\n\n" + _summaries(data["tiles"]), END_TO_END]
    parts += [BY_SIZE + _by_size(data["tiles"]), "## Every tile\n\n" + _tiles(data["tiles"]), CAUSES]
    return "\n\n".join(parts) + "\n"


def _runs(data: dict[str, Any]) -> str:
    run = data["run"]
    rows = [("gem5", data["gem5_version"]), ("system", data["system"])]
    rows += [(key, run[key]) for key in ("commit", "date", "build", "options")]
    return table(("", ""), rows)


def _latencies(rows: list[dict[str, Any]]) -> str:
    lines = [
        (
            r["level"],
            r["footprint_bytes"] // 1024,
            f"{r['gem5_ns']:.2f}",
            f"{r['published_ns']:.2f}",
            f"{r['error']:+.1%}",
        )
        for r in rows
    ]
    return table(("level", "footprint, KiB", "gem5, ns", "published, ns", "error"), lines, "lrrrr")


def _bandwidths(rows: list[dict[str, Any]]) -> str:
    lines = []
    for r in rows:
        known = r["published_gb_s"] is not None
        published, error = (f"{r['published_gb_s']:.1f}", f"{r['error']:+.1%}") if known else ("", "")
        lines.append((r["level"], r["kind"], r["threads"], f"{r['gem5_gb_s']:.1f}", published, error))
    return table(("level", "kind", "threads", "gem5, GB/s", "published, GB/s", "error"), lines, "llrrrr")


def _summaries(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for where, beside in (("alone", False), ("beside streams", True)):
        placed = [row for row in rows if bool(row["streams"]) == beside]
        lines.append(_summary(f"{where}, all", placed))
        for held, name in ((False, "seen before"), (True, "held out")):
            own = [row for row in placed if row["substrate"] == "row_dfm" and row["held_out"] == held]
            lines.append(_summary(f"{where}, row_dfm, {name}", own))
    header = ("", "tiles", "results", "phases", "median error", "worst error", "worst tile")
    return table(header, lines, "lrllrrl")


def _summary(title: str, rows: Sequence[dict[str, Any]]) -> tuple[object, ...]:
    """One line on some tiles."""
    errors = [abs(row["error"]) for row in rows]
    worst = max(rows, key=lambda row: abs(float(row["error"])))
    return (
        title,
        len(rows),
        "exact" if all(row["correct"] for row in rows) else "WRONG",
        "equal" if all(row["phases_equal"] for row in rows) else "DIFFER",
        f"{median(errors):.1%}",
        f"{max(errors):.1%}",
        f"{worst['tile']} on {worst['substrate']}",
    )


def _by_size(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for place, beside in (("alone", False), ("beside streams", True)):
        for low, high in pairwise((*SIZES, inf)):
            found = [
                row
                for row in rows
                if row["substrate"] == "row_dfm"
                and bool(row["streams"]) == beside
                and low <= row["gem5_cycles"] < high
            ]
            if found:
                size = f"{low:,} .. {high:,}" if high < inf else f"{low:,} and more"
                lines.append(_summary(f"{place}, {size}", found))
    header = ("", "tiles", "results", "phases", "median error", "worst error", "worst tile")
    return table(header, lines, "lrllrrl")


def _tiles(rows: Iterable[dict[str, Any]]) -> str:
    lines = [
        (
            r["tile"],
            r["substrate"],
            r["streams"],
            *(r[f"gem5_{phase}"] for phase in ("build", "lookup", "convert", "write_back")),
            r["refreshes"],
            r["gem5_cycles"],
            f"{r['engine_cycles']:.0f}",
            f"{r['error']:+.1%}",
            "yes" if r["held_out"] else "",
        )
        for r in rows
    ]
    header = ("tile", "substrate", "streams", "build", "look-up", "convert", "write back", "refreshes")
    return table((*header, "gem5 cycles", "engine", "error", "held out"), lines, "llrrrrrrrrrl")
