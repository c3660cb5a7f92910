"""Claims of papers about other machines beside what this project gives: docs/data/reproduction-papers.csv.

python research/experiments/papers.py   write the table (some seconds)

It runs the sweeps of docs/reproduction.md. CENT's own figures are of its artifact, Yufeng98/CENT at 8c79786
on GitHub: 960 tokens/s of an A100 (data/GPU_throughput.csv), and 0.2076 ms a block, which its simulated times
of contexts of 128 and 256 tokens come to at no context (cent_simulation/simulation_results.csv).
"""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import pandas as pd

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.paper.stored_claims import claims
from sailsim.analysis.runs.runs import evaluate, runners
from sailsim.analysis.studies.stored_runs import RunTable
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_machine
from sailsim.sim.point import Point
from sailsim.sim.step.engine import accelerator_of
from sailsim.sim.step.parts import step_parts
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.load import load_model

DOCS = Path(__file__).resolve().parents[2] / "docs"
TABLE = DOCS / "data" / "reproduction-papers.csv"
COLUMNS = ("claim", "definition", "published", "here", "error")

LOCALUT = [
    Point(model=model, wbits=w, abits=a, group_size=0, phase="prefill", context=128)
    for model, w, a in product(("smollm2-135m", "llama-2-7b"), (1, 2, 4), (2, 3, 4))
]
CENT = Point(batch=32, context=2304, threads=64)
T_SAR = [Point(wbits=2, threads=threads) for threads in (1, 2, 4, 8, 16, 32, 64)]
STAGE = "aim-n1:accelerator.channels=8:accelerator.bank_size=1024"
"""The channels that a block of Llama-2-7B has in CENT, with room for all blocks."""
A100_TOKENS_PER_S, BLOCK_MS = 960.0, 0.2076


def main() -> None:
    """Write the table."""
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows()])


def rows() -> list[tuple[str, ...]]:
    """By `COLUMNS`."""
    beside = DOCS / "systems" / "cent-runners.toml"
    gpu = next(r for r in evaluate(CENT, runners([beside])) if r["runner"] == "a100-80-f16")
    return [
        *_claimed("localut", LOCALUT, "localut-runners.toml"),
        *_claimed("cent", [CENT], "cent-runners.toml", "cent-prices.csv"),
        _row("CENT's A100, decoding", "batch 32", A100_TOKENS_PER_S, float(gpu["tokens_per_s"]), " tokens/s"),
        _row("CENT's block on 8 channels", "matrix products", BLOCK_MS, _block_ms(), " ms"),
        *_claimed("t-sar", T_SAR),
    ]


def _claimed(paper: str, points: list[Point], beside: str = "", listed: str = "") -> list[tuple[str, ...]]:
    """The claims of a paper at some points."""
    who = runners([DOCS / "systems" / beside] if beside else [])
    frame = pd.DataFrame.from_records([record for point in points for record in evaluate(point, who)])
    table = claims(RunTable.of(frame, prices(DOCS / "systems" / listed if listed else None)), paper)
    return [
        _row(row["claim"], row["reading"], row["paper"], row["here"], row["unit"])
        for row in table.to_dict("records")
        if row["unit"]
    ]


def _row(claim: str, reading: str, published: float, here: float, unit: str) -> tuple[str, ...]:
    error = f"{here / published - 1:+.0%}"
    return claim, reading, f"{published:.4g}{unit}", f"{here:.3g}{unit}", error


def _block_ms() -> float:
    """The matrix products of a block of Llama-2-7B on the channels that it has."""
    machine, point, model = load_machine(STAGE), Point(), load_model("llama-2-7b")
    assert isinstance(machine, System)
    units = accelerator_of(machine).units_of(machine, point)
    parts = step_parts(machine, model, point)
    _, timer = units.step(point, parts, Activations.load(None))
    ops = [op for _, part in parts.parts for op in part if op.kind == "gemv" and op.layer == 0]
    link = units.phases.index("link")
    each = [timer(op, [0]) for op in ops]
    return 1e3 * sum(float(times.seconds[0] - times.numbers[0, link]) for times in each)


if __name__ == "__main__":
    main()
