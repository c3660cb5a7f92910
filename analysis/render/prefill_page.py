"""The tables and the figure of docs/prefill.md: times to the first token, and where SAIL's goes."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.runners import named
from sailsim.analysis.render.baseline_page import error_table
from sailsim.analysis.render.markdown import table
from sailsim.analysis.render.phases import PHASE_STYLE
from sailsim.analysis.render.style import canvas, caption, draw_line, plain_numbers, save, style
from sailsim.analysis.results.joins import as_frame, is_missing, speedup
from sailsim.analysis.results.runs import runs
from sailsim.sim import Point, load_system
from sailsim.sim.tiles import PimUnits, Shape, TileKind, TileRequest
from sailsim.workloads import load_model, prefill_step

PROMPTS = (32, 128, 512, 2048)
"""Tokens of the table's prompts; Llama-2-7B in 4 bits, 16 threads."""
DRAWN = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
RUNNERS = (
    *("sail", "cores", "cores-ampere", "cores-all-best"),
    *("v100", "t4", "a10g", "l4", "a100", "a10g-f16", "l4-f16", "a100-f16"),
)
FAST_HOST = "sail-n1-fast-host"
"""SAIL on cores whose attention is that of Ampere's fork."""
ON_UNITS = "sail, attention on the units"
"""With a cache of so many bits that the running model loses nothing by it (docs/attention.md)."""
KV_BITS = 8
LINES = ("sail", ON_UNITS, "cores", "cores-ampere", "cores-all-best", "v100", "a100-f16")


@lru_cache(maxsize=1)
def frame() -> pd.DataFrame:
    """Every runner of the page at every prompt, with SAIL's speedup over it."""
    points = [Point(phase="prefill", prompt=n) for n in sorted({*PROMPTS, *DRAWN})]
    own = [run for point in points for run in runs(point, runners=named(*RUNNERS))]
    fast = [replace(point, system=FAST_HOST) for point in points if point.prompt in PROMPTS]
    units = [replace(point, attention="units", kv_bits=KV_BITS) for point in points]
    names = (
        (fast, FAST_HOST, "SAIL, attention as fast as the fork's"),
        (units, ON_UNITS, f"SAIL, attention on the units, cache of {KV_BITS} bits"),
    )
    other = [run for each, _, _ in names for point in each for run in runs(point, runners=named("sail"))]
    found = as_frame([*own, *other])
    found["speedup"] = speedup(found)
    begin = len(own)
    for each, runner, title in names:
        others = found.index[begin : begin + len(each)]
        found.loc[others, ["runner", "title"]] = [runner, title]
        found.loc[others, "speedup"] = np.nan
        begin += len(each)
    return found


def prefill_parts() -> dict[str, str]:
    """The tables by their names."""
    return {"runners": _runners(), "chunks": _chunks(), "errors": _errors()}


def _runners() -> str:
    """A row a runner: time to the first token and tokens/s of each prompt, and SAIL's speedup over it."""
    rows = []
    for name in (RUNNERS[0], FAST_HOST, ON_UNITS, *RUNNERS[1:]):
        own = frame()[frame()["runner"] == name].set_index("prompt")
        cells: list[object] = [own["title"].iloc[0]]
        for prompt in PROMPTS:
            cells += [float(own[column][prompt]) for column in ("ttft_s", "tokens_per_s")]
        ratios = [own["speedup"][prompt] for prompt in (128, 512)]
        rows.append([*cells, *(None if is_missing(ratio) else f"{ratio:.2g}" for ratio in ratios)])
    header = ["runner"]
    for prompt in PROMPTS:
        header += [f"{prompt} tokens: s", "tokens/s"]
    return table([*header, "SAIL's speedup, 128", "512"], rows, "l" + "r" * (len(header) + 1))


def _chunks() -> str:
    """How a prompt's rows are split: of the matrices of a block, and of the whole model."""
    units = PimUnits(load_system("sail-n1"), substrate=None, convert=None, prt=True)
    model, rows = load_model("llama-2-7b"), []
    for prompt in (1, 8, *PROMPTS):
        point = Point(phase="prefill", prompt=prompt)
        plans, read, once = {}, 0.0, 0.0
        for op in prefill_step(model, point.formats(model), prompt):
            if op.kind != "gemv":
                continue
            shape = Shape(op.k, op.n, op.batch, 4, 4, 8, 4, 128)
            plan = TileKind(units, TileRequest(shape, op.weight_bytes)).plan
            plans[op.name.rpartition(".")[2]] = plan
            once += op.weight_bytes
            read += op.weight_bytes * plan.batch_chunks
        said = [
            f"{plans[name].batch_chunks} x {plans[name].passes}" for name in ("attn_q", "ffn_up", "ffn_down")
        ]
        rows.append([prompt, *said, f"{read / once:.1f}", f"{read / 1e9:.3g}"])
    header = (
        "rows", "4096 x 4096: chunks x passes", "4096 x 11008", "11008 x 4096", "weights read, times", "GB",
    )  # fmt: skip
    return table(header, rows, "rrrrrr")


def _errors() -> str:
    """The lines of the error table that are about prompts."""
    words = ("prompt", "first token", "matrices of a layer")
    found = [e for e in fitted_constants().errors if any(w in e["measurements"] for w in words)]
    return error_table(found)


def draw(folder: Path) -> list[Path]:
    """Writes the figure."""
    with style():
        figure, (left, right) = canvas("From a prompt to the first token", 2, width=11.5, height=4.8)
        found = frame()[frame()["prompt"].isin(DRAWN)]
        for i, name in enumerate(LINES):
            own = found[(found["runner"] == name) & found["ttft_s"].notna()].sort_values("prompt")
            draw_line(left, i, own["prompt"], own["ttft_s"], str(own["title"].iloc[0]))
        left.set_yscale("log")
        left.set_ylabel("time to the first token, s")
        left.legend(fontsize=8.5, loc="upper left")
        _shares(right, found[found["runner"] == "sail"].sort_values("prompt"))
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            plain_numbers(axes.xaxis, DRAWN)
            axes.set_xlabel("tokens of the prompt")
        plain_numbers(left.yaxis)
        caption(
            figure,
            "Llama-2-7B, 4-bit weights (cards' f16: 16 bits), 8-bit activations, one prompt, 16 threads (all "
            "cores: 64) on sail-n1. Cores and cards by their measured prompts (docs/prefill.md); below 512 "
            "tokens a card may be up to 1.8 times slower than drawn. Right: attention on the cores.",
        )
        return save(figure, folder / "prefill.png")


def _shares(axes: Axes, rows: pd.DataFrame) -> None:
    """Where SAIL's time goes, stacked."""
    phases = [name for name in PHASE_STYLE if any(found.get(name, 0) for found in rows["phases"])]
    shares = [
        [100 * found[name] / step for found, step in zip(rows["phases"], rows["step_s"], strict=True)]
        for name in phases
    ]
    axes.stackplot(
        rows["prompt"],
        shares,
        labels=[PHASE_STYLE[name][0] for name in phases],
        colors=[PHASE_STYLE[name][1] for name in phases],
    )
    axes.set_ylabel("SAIL's time, %")
    axes.set_ylim(0, 100)
    axes.legend(fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
