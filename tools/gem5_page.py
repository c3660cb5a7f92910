"""Write docs/gem5-validation.md from docs/gem5-validation.json, the output of `sailsim gem5 validate --json`.

Usage: gem5_page.py [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
DATA = DOCS / "gem5-validation.json"
PAGE = DOCS / "gem5-validation.md"

HEAD = """# gem5 against the core and the fast engine

Written by `python tools/gem5_page.py` from gem5-validation.json: the output of
`sailsim gem5 validate --json`, with `run` added by hand."""

LATENCIES = """## Load latencies

Pointer chase (`workloads/kernels/memory`) on one O3 core, nothing else running. The private parts and the
ways through the mesh were fitted to the published numbers, so the errors say how well that went, not more.

"""

END_TO_END = """The model is the fast engine's time of the tile with the unit's own memory latency, plus
edges: fetching the activations and writing the results, which the engine does not have. `engine` is the error
without the edges. The two substrates that compute in the arrays hardly ever wait for weights, which is why
the median over all is so small; see `row_dfm`."""


def page() -> str:
    """The page as its data has it."""
    data = json.loads(DATA.read_text())
    parts = [
        HEAD,
        _runs(data),
        LATENCIES + _latencies(data["latencies"]),
        "## End to end\n\n" + _summaries(data),
        END_TO_END,
        _tiles(data["tiles"]),
        "## Where the larger differences come from\n\n" + data["run"]["causes"],
    ]
    return "\n\n".join(parts) + "\n"


def _runs(data: dict[str, Any]) -> str:
    run = data["run"]
    rows = [("gem5", data["gem5_version"]), ("system", data["system"])]
    rows += [(key, run[key]) for key in ("commit", "date", "build", "options")]
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)])


def _latencies(rows: list[dict[str, Any]]) -> str:
    lines = ["| level | footprint, KiB | gem5, ns | published, ns | error |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['level']} | {r['footprint_bytes'] // 1024} | {r['gem5_ns']:.2f} | {r['published_ns']:.2f} | "
        f"{r['error']:+.1%} |"
        for r in rows
    ]
    return "\n".join(lines)


def _summaries(data: dict[str, Any]) -> str:
    lines = [
        "| | tiles | results | phases | median error | worst error | worst tile |",
        "|---|---|---|---|---|---|---|",
    ]
    for title, part in (("alone", data["alone"]), ("beside streams", data["beside_streams"])):
        results = "exact" if part["all_correct"] else "WRONG"
        phases = "equal" if part["all_phases_equal"] else "DIFFER"
        lines.append(
            f"| {title} | {part['tiles']} | {results} | {phases} | {part['median_error']:.1%} | "
            f"{part['worst_error']:.1%} | {part['worst_tile']} |"
        )
    return "\n".join(lines)


def _tiles(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| tile | substrate | streams | build | look-up | convert | write back | gem5 cycles "
        "| engine | model |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        names = ("build", "lookup", "convert", "write_back")
        phases = " | ".join(str(r[f"gem5_{name}"]) for name in names)
        lines.append(
            f"| {r['tile']} | {r['substrate']} | {r['streams']} | {phases} | {r['gem5_cycles']} | "
            f"{r['engine_error']:+.1%} | {r['error']:+.1%} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(
            "docs/gem5-validation.md is old: run tools/gem5_page.py" if PAGE.read_text() != page() else 0
        )
    PAGE.write_text(page())
