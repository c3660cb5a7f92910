"""The tables and the figure of docs/attention.md: what is left of attention, what a narrow cache brings and
loses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.baselines.runners import named
from sailsim.analysis.render.markdown import table
from sailsim.analysis.render.phases import PHASE_STYLE
from sailsim.analysis.render.style import canvas, caption, save, style
from sailsim.analysis.results.runs import runs
from sailsim.lut_gemv import TILE_PHASES
from sailsim.sim import Point, StepResult, load_system, simulate_step
from sailsim.workloads import load_model

POINTS = ((1, 512), (8, 512), (32, 512), (8, 2048), (32, 2048))
"""Batch and context; Llama-2-7B in 4 bits, 16 threads."""
WAYS = (("cores", 16), ("cores", 4), ("units", 8), ("units", 4), ("units", 2))
"""Who does the products of attention, and bits of the cache."""
PROMPTS = (128, 512, 2048)
"""Tokens of one prompt; the same model, bits and threads."""
BESIDE = ("cores", "cores-ampere", "cores-all-best")
"""What SAIL's time to the first token is compared with, with a cache of fp16."""
WIDTHS = (16, 8, 4, 2)
RUNNERS = ("sail", "cores", "cores-ampere", "v100", "l4", "a100")
WIDE = Point(batch=32, context=2048)


@lru_cache(maxsize=64)
def step(batch: int, context: int, attention: str, kv_bits: int) -> StepResult:
    """SAIL's step."""
    point = Point(batch=batch, context=context, attention=attention, kv_bits=kv_bits)  # type: ignore[arg-type]
    return simulate_step(load_system(point.system), load_model(point.model), point)


def attention_parts() -> dict[str, str]:
    """The tables by their names."""
    return {
        "left": _left(),
        "events": _events(),
        "prompts": _prompts(),
        "widths": _widths(),
        "quality": _quality(),
    }


def _left() -> str:
    """A row a point and a way: rate, and what the step has beyond one of a single token of context."""
    rows: list[list[object]] = []
    for batch, context in POINTS:
        for attention, bits in WAYS:
            found, bare = (step(batch, n, attention, bits) for n in (context, 1))
            own = {name: 1e3 * (found.breakdown[name] - bare.breakdown[name]) for name in found.breakdown}
            rows.append(
                [
                    f"{batch}, {context}",
                    f"{attention}, {bits} bits",
                    found.tokens_per_s,
                    1e3 * found.step_s,
                    f"{1 - bare.step_s / found.step_s:.0%}",
                    f"{own['cores']:.2f}",
                    f"{sum(own[name] for name in TILE_PHASES):.2f}",
                    f"{own['dram']:.2f}",
                    found.bytes_by_kind.get("cache", found.bytes_by_kind["read"]) / 1e9,
                    found.bytes_by_kind["written"] / 1e6,
                ]
            )
    header = (
        "batch, context", "attention, cache", "tokens/s", "step, ms", "attention's share", "cores, ms",
        "units, ms", "units wait for DRAM, ms", "cache read, GB", "written, MB",
    )  # fmt: skip
    return table(header, rows, "llrrrrrrrr")


def _events() -> str:
    """What a slice does for weights and for attention, of the second point."""
    batch, context = POINTS[1]
    plain = step(batch, context, *WAYS[1])
    rows = []
    for bits in (8, 4, 2):
        found = step(batch, context, "units", bits)
        own = {name: found.counts_total[name] - plain.counts_total[name] for name in plain.counts_total}
        rows.append([f"attention, {bits} bits", *(float(own[name]) for name in _COUNTED)])
    weights = ["weights, 4 bits", *(float(plain.counts_total[name]) for name in _COUNTED)]
    align = "l" + "r" * len(_COUNTED)
    return table(("of all slices", *_COUNTED), [weights, *rows], align, lambda v: f"{v:.3g}")


_COUNTED = ("lookups", "zero_patterns", "prt_hits", "table_builds", "table_adds", "row_reads", "conversions")


def _prompts() -> str:
    """A row a prompt and a way: time to the first token, where it goes, and the cores' beside it."""
    rows: list[list[object]] = []
    titles: dict[str, str] = {}
    for prompt in PROMPTS:
        beside = {run.runner: run for run in runs(_prompt(prompt), runners=named(*BESIDE))}
        titles |= {name: run.title for name, run in beside.items()}
        for attention, bits in WAYS:
            found = _first_token(prompt, attention, bits)
            spent, moved = found.breakdown, found.bytes_by_kind
            rows.append(
                [
                    prompt,
                    f"{attention}, {bits} bits",
                    found.step_s,
                    found.tokens_per_s,
                    f"{spent['cores']:.3f}",
                    f"{sum(spent[name] for name in TILE_PHASES):.3f}",
                    f"{spent['dram'] + spent['sync']:.3f}",
                    moved.get("cache", moved["read"]) / 1e9,
                    moved["written"] / 1e6,
                    *(_times(run.step_s, found.step_s) for run in beside.values()),
                ]
            )
    header = (
        "tokens", "attention, cache", "first token, s", "tokens/s", "cores alone, s", "units, s",
        "neither, s", "cache read, GB", "written, MB", *(f"over {titles[name]}" for name in BESIDE),
    )  # fmt: skip
    return table(header, rows, "rl" + "r" * (len(header) - 2))


def _times(other_s: float | None, own_s: float) -> str:
    """How many times as long another takes: "none" where it has no prompts."""
    return "none" if other_s is None else f"{other_s / own_s:.2f}x"


@lru_cache(maxsize=64)
def _first_token(prompt: int, attention: str, kv_bits: int) -> StepResult:
    """SAIL's step of one prompt."""
    point = _prompt(prompt, attention, kv_bits)
    return simulate_step(load_system(point.system), load_model(point.model), point)


def _prompt(prompt: int, attention: str = "cores", kv_bits: int = 16) -> Point:
    """One prompt."""
    return Point(phase="prefill", prompt=prompt, attention=attention, kv_bits=kv_bits)  # type: ignore[arg-type]


def _widths() -> str:
    """Every runner's tokens/s by the width of the cache, where a step is mostly cache."""
    rows: list[list[object]] = []
    found = {
        bits: {run.runner: run for run in runs(replace(WIDE, kv_bits=bits), runners=named(*RUNNERS))}
        for bits in WIDTHS
    }
    for name in RUNNERS:
        rates = [found[bits][name].tokens_per_s or "does not fit" for bits in WIDTHS]
        rows.append([found[16][name].title, *rates])
    memory = ["weights and cache, GB", *(found[bits]["sail"].memory_bytes / 1e9 for bits in WIDTHS)]
    header = ("runner", *(f"{bits} bits: tokens/s" for bits in WIDTHS))
    return table(header, [memory, *rows], "l" + "r" * len(WIDTHS))


@lru_cache(maxsize=1)
def measured() -> pd.DataFrame:
    """The points of docs/quality.md that differ in their cache alone, and those of attention on the units."""
    folder = data_file("quality")
    lines = [
        json.loads(line)
        for name in ("points.jsonl", "attention.jsonl")
        for line in folder.joinpath(name).read_text("utf-8").splitlines()
    ]
    found = pd.DataFrame(lines).fillna({"attention": "cores"})
    return found[(found["weights"] == "file") & (found["abits"] == 8)]


def _quality() -> str:
    rows = [
        (
            f"{row['kv_bits']} bits",
            row["attention"],
            f"{row['perplexity']:.2f} ± {row['perplexity_error']:.2f}",
            f"{row['loss']:+.4f} ± {row['loss_error']:.4f}",
            f"{row['agreement']:.1%}",
        )
        for row in measured()
        .sort_values(["kv_bits", "attention"], ascending=[False, True])
        .to_dict("records")
    ]
    header = ("cache", "attention", "perplexity", "loss, nats a token", "agreement")
    return table(header, rows, "llrrr")


def draw(folder: Path) -> list[Path]:
    """Writes the figure."""
    shown = [
        (f"batch {batch}, context {context}", partial(step, batch, context))
        for batch, context in (POINTS[1], POINTS[-1])
    ]
    shown.append((f"a prompt of {PROMPTS[1]} tokens", partial(_first_token, PROMPTS[1])))
    with style():
        figure, axes = canvas("Attention on the cores, and on the units", 3, width=15, height=4.6)
        for place, (title, found) in zip(axes, shown, strict=True):
            _bars(place, title, found)
        axes[0].set_ylabel("time of a step, ms")
        axes[-1].legend(fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
        caption(
            figure,
            "Llama-2-7B, 4-bit weights, 8-bit activations, 16 threads on sail-n1. The cores attend to a "
            "cache of fp16, or of 4 bits that they unpack; the units to whole numbers of 8, 4 and 2 bits "
            "(docs/attention.md has what each loses).",
        )
        return save(figure, folder / "attention.png")


def _bars(axes: Axes, title: str, step_of: Callable[[str, int], StepResult]) -> None:
    """A stacked bar a way."""
    names = [f"{attention}\n{bits} bits" for attention, bits in WAYS]
    found = [step_of(attention, bits).breakdown for attention, bits in WAYS]
    below = [0.0] * len(WAYS)
    for phase, (label, color, hatch) in PHASE_STYLE.items():
        heights = [1e3 * each[phase] for each in found]
        axes.bar(
            names,
            heights,
            0.7,
            below,
            label=label,
            color=color,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.4,
        )
        below = [a + b for a, b in zip(below, heights, strict=True)]
    axes.set_title(title, loc="left")
    axes.grid(axis="x", visible=False)
