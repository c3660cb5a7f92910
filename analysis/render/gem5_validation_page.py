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
from sailsim.sim.gem5.validation import Load

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

END_TO_END = """From the descriptor's arrival to the last result's acknowledgement.
*5 at a time*: five units begin with a tile of the same shape each, and the slowest
counts. The streams are readers of 4 GB/s each, in step, whose rows lie elsewhere where they begin later.

A last line of results that they fill in part is read before it is written, and waits for DRAM (145 cycles
in gem5, 48 where the line is whole). Lines go in rounds of as many as a unit has MSHRs. Without both in the
engine, the tiles alone below 5,000 cycles are 3.7% off in the median and 2.5% too fast (1.6% and 0.4% with
them), and all tiles alone 1.4% off (0.8%).

The engine's time is the one that steps and traces use: operands, groups with weights as a unit gets
them, results (docs/engine.md). Tiles are drawn at random: `SEED` says which, and no constant of the engine
was fitted to them. The two substrates that compute in the arrays hardly ever wait for weights, so their
errors are small."""

BY_SIZE = """## By size

Tiles on `row_dfm`, by gem5's cycles. A model's tensors are far above: a slice's share of a 4096 x 4096
matrix takes some 100,000.

"""
SIZES = (0, 1_000, 5_000, 20_000)
FAR = 0.1
CONFLICT = 0.15
"""An error of the engine that rows closed by readers are the cause of."""

CAUSES = """## Where the larger differences come from

- **Where in the refresh interval a tile starts.** All of gem5's ranks refresh together, 350 ns every
  7.8 us (630 cycles every 14,040). The engine spreads that evenly, but a tile of 4000 cycles that waits
  for weights meets one refresh or none. All tiles alone on `row_dfm` that are more than 16% off met one.
  With refreshes set 100 ms apart gem5 took 3892 cycles for 127 x 343, not 4578, and 10,997 for 512 x 344,
  not 11,658. Not modelled; `refreshes` counts those that began while the tile was under way.
- **Readers in step.** The 16 readers start together with one period, so their lines come to one channel
  and one slice at the same time. The engine takes that as bursts of 16 lines at random times, and
  overestimates the wait: they come evenly. Beside 32 readers of 2 GB/s in step a unit got 2 GB/s of its
  14: probably the 32 MSHRs of one slice, which are full each time. Not modelled, and no real machine's
  readers are in step.
- **Readers in the banks of the units.** A unit whose row lies in the bank of a reader's row opens it anew
  after every line of the reader's, and the reader after the unit's. gem5 spreads rows over banks without a
  hash, so that the rows of 16 streams lie in half of the 32 banks of a channel at any time, and a tile is in
  that half or not. BANKS Controllers of
  real machines spread rows by a hash, and then every tile meets some of that. Not modelled.
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
    end_to_end = END_TO_END.replace("SEED", f"--seed {data['seed']}")
    parts += ["## End to end\n\n" + _summaries(data["tiles"]), end_to_end]
    parts += [
        BY_SIZE + _by_size(data["tiles"]),
        f"## Tiles more than {FAR:.0%} off\n\n" + _tiles(data["tiles"]),
        CAUSES.replace("BANKS", _banks(data["tiles"])),
    ]
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


def _by_load(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Tiles by what they had beside them, in words."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        load = Load(row["units"], row["streams"], stream_offset=row["stream_offset"])
        found.setdefault(str(load), []).append(row)
    return found


def _summaries(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for where, placed in _by_load(rows).items():
        for substrate in dict.fromkeys(row["substrate"] for row in placed):
            own = [row for row in placed if row["substrate"] == substrate]
            lines.append(_summary(f"{where}, {substrate}", own))
            calm = [row for row in own if not row["refreshes"]]
            if substrate == "row_dfm" and calm:
                lines.append(_summary(f"{where}, {substrate}, no refresh meanwhile", calm))
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
    for place, placed in _by_load(rows).items():
        for low, high in pairwise((*SIZES, inf)):
            found = [
                row for row in placed if row["substrate"] == "row_dfm" and low <= row["gem5_cycles"] < high
            ]
            if found:
                size = f"{low:,} .. {high:,}" if high < inf else f"{low:,} and more"
                lines.append(_summary(f"{place}, {size}", found))
    header = ("", "tiles", "results", "phases", "median error", "worst error", "worst tile")
    return table(header, lines, "lrllrrl")


def _banks(rows: Sequence[dict[str, Any]]) -> str:
    """How the tiles on several units fare with the streams at either place."""
    several = [row for row in rows if row["units"] > 1 and row["gem5_cycles"] >= 1_000]
    alone = [abs(row["error"]) for row in several if not row["streams"]]
    errors: dict[str, list[float]] = {}
    for row in several:
        if row["streams"]:
            errors.setdefault(row["tile"], []).append(row["error"])
    both = [pair for pair in errors.values() if len(pair) == 2]
    far = [pair for pair in both if min(pair) < -CONFLICT]
    twice = [pair for pair in far if max(pair) < -CONFLICT]
    other = median(max(pair) for pair in far)
    return (
        f"Of {len(both)} tiles above 1,000 cycles on {several[0]['units']} units the engine is more than "
        f"{CONFLICT:.0%} too fast for {len(far)} with the streams at one of two places, for {len(twice)} at "
        f"both; with the streams at the better place these {len(far)} are {other:+.1%} off in the median, "
        f"and without streams all are within {max(alone):.0%}."
    )


def _tiles(rows: Iterable[dict[str, Any]]) -> str:
    lines = [
        (
            r["tile"],
            r["substrate"],
            r["units"],
            r["streams"],
            r["stream_offset"] >> 10,
            *(r[f"gem5_{phase}"] for phase in ("build", "lookup", "convert", "write_back")),
            r["refreshes"],
            r["gem5_cycles"],
            f"{r['engine_cycles']:.0f}",
            f"{r['error']:+.1%}",
        )
        for r in rows
        if abs(r["error"]) > FAR
    ]
    place = ("tile", "substrate", "units", "streams", "from, KiB")
    phases = ("build", "look-up", "convert", "write back")
    header = (*place, *phases, "refreshes", "gem5 cycles", "engine", "error")
    return table(header, lines, "llrrrrrrrrrrr")
