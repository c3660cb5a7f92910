"""The tables of docs/engine.md: DRAM in closed forms, its sharing against gem5, halves of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.render.markdown import table
from sailsim.base.records import read_records
from sailsim.sim import Point, load_system, simulate_step
from sailsim.sim.dram import Dram
from sailsim.workloads import load_model

TIMES = {"in-step": "in step", "random": "at random"}


def engine_parts() -> dict[str, str]:
    """The tables by their names."""
    data = read_records(data_file("gem5/dram.jsonl"))
    return {"patterns": patterns(), "sharing": sharing(data), "halves": halves()}


def patterns() -> str:
    """Shares of the peak by pattern, on the shipped machine."""
    memory = load_system("sail-n1").memory
    dram, peak = Dram(memory, 64), memory.peak_bandwidth.value
    row, batch = dram.lines_of_row, memory.write_batch.value
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
    lines = [(name, f"{share:.3f}", f"{share * peak:.1f}", seen) for name, share, seen in rows]
    return table(("pattern", "closed form", "GB/s", "measured"), lines, "lrrr")


def halves() -> str:
    """Steps with and without two halves of the batch."""
    model, system = load_model("llama-2-7b"), load_system("sail-n1")
    rows = []
    for batch in (2, 4, 8, 16, 32):
        point = Point(batch=batch)
        steps = [simulate_step(system, model, replace(point, overlap=overlap)) for overlap in (False, True)]
        rates = [step.tokens_per_s for step in steps]
        alone = [f"{step.breakdown['cores'] / step.step_s:.0%}" for step in steps]
        rows.append((batch, *(f"{rate:.1f}" for rate in rates), f"{rates[1] / rates[0]:.2f}x", *alone))
    head = ("batch", "tokens/s", "in halves", "gain", "cores alone", "in halves")
    return table(head, rows, "rrrrrr")


def sharing(data: dict[str, Any]) -> str:
    """gem5 beside the engine."""
    run = data["run"]
    lines = []
    for r in data["rows"]:
        lines.append(
            (
                r["units"],
                f"{r['streams']} x {r['stream_gb_s']:g} GB/s" if r["streams"] else "none",
                TIMES[r["times"]] if r["streams"] else "",
                f"{r['gem5_gb_s']:.1f}",
                f"{r['gem5_beside_gb_s']:.1f}" if r["streams"] else "",
                f"{r['engine_gb_s']:.1f}",
                f"{r['error']:+.1%}",
                f"{r['closed_gb_s']:.1f}",
                f"{r['closed_error']:+.1%}",
            )
        )
    header = ("units", "readers", "they ask", "gem5: units", "readers get", "engine", "error")
    return (
        f"{run['build']}.\n"
        f"{run['system']}, {run['date']}, commit {run['commit']}. GB/s; the units together.\n\n"
        + table((*header, "all but refreshes", "error"), lines, "rllrrrrrr")
    )
