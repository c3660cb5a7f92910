"""The tables and the figure of docs/quality.md: what widths lose, beside what they bring."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.render.markdown import table
from sailsim.analysis.render.policy_table import how_found, policies_of, policy_table, stored_policies
from sailsim.analysis.render.style import MARKERS, SERIES, canvas, caption, plain_numbers, save, style
from sailsim.analysis.results.equal_quality import (
    ABITS,
    KV_BITS,
    METHOD,
    at_equal_quality,
    choice_key,
    measured,
)
from sailsim.analysis.results.joins import as_frame, joined
from sailsim.analysis.results.quality import IN_FLOATS
from sailsim.analysis.results.runs import runs
from sailsim.sim import Point
from sailsim.workloads.choice import FILE, GROUP_SIZE, uniform_choice

DRAWN = (("smollm2-135m", 1), ("llama-2-7b", 1), ("llama-2-7b", 8))
"""Whose speed is drawn, at which batch: the model that was measured, and one of a server's size."""
EQUAL = DRAWN[1:]
"""Whose speeds are compared at equal quality."""
RUNNERS = ("sail", "cores-best", "l4")
BESIDE = ("cores", "cores-lut", "cores-best")
"""Software on the same cores that SAIL is compared with at equal quality."""
SIDES = (((-5, -2), "right"), ((0, 6), "center"), ((5, -2), "left"))
"""Where each runner's labels stand, so that marks that lie beside each other can be told apart."""
NAMES_POLICIES = "sail"
"""Whose marks of policies have labels: all runners have theirs at the same heights."""
NAMED_IN = "tokens_per_s"
"""The panels where they have them: beside it the same marks stand at the same heights again."""
CLOSE = 0.08
"""Share of a panel's width within which marks have a label together."""
POLICY = "policy-loss-"
"""How the name of a policy's file begins."""
SEARCHED = "searched"
"""The method of a mark that is a policy's."""
MOST = 60.0
"""Perplexities above it are in the table alone."""


def quality_parts() -> dict[str, str]:
    """The tables by their names."""
    return {"points": _points(), "speeds": _speeds(), "equal": _equal(), "policies": _policies()}


def _points() -> str:
    rows = [
        (
            weights_in_words(row),
            row["abits"] or "fp32",
            row["kv_bits"] or "fp32",
            f"{row['bits_per_weight']:.2f}",
            f"{_number(row['perplexity'])} ± {_number(row['perplexity_error'])}",
            f"{row['loss']:+.4f} ± {row['loss_error']:.4f}",
            f"{row['agreement']:.1%}",
        )
        for row in measured().to_dict("records")
    ]
    header = (
        "weights", "bits of an activation", "of the cache", "stored bits a weight", "perplexity",
        "loss, nats a token", "agreement",
    )  # fmt: skip
    return table(header, rows, "lrrrrrr")


def _policies() -> str:
    """A row a policy of the first of `DRAWN` and a width, and how the policies were found."""
    rates = speeds(*DRAWN[0])
    ours = rates[rates.runner == "sail"]
    of = dict(zip(ours.weights.astype(str), ours.tokens_per_s.astype(float), strict=True))
    stored = stored_policies()
    found = policy_table(stored.to_dict("records"), _nearest(), of, DRAWN[0][1])
    return f"{found}\n\n{how_found(stored)}"


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 1000 else f"{value:.0e}"


def weights_in_words(row: Mapping[Any, Any]) -> str:
    """A choice of weights as people say it."""
    weights, how = str(row["weights"]), ", compensated" * (row["method"] == "compensated")
    if weights == IN_FLOATS:
        return "the file's values"
    if weights == "file":
        return "as stored (Q4_1, table Q8_0)"
    if weights.endswith(".toml"):
        return f"{weights[1]} bits in the blocks, table Q8_0{how}"
    return f"{weights} bits everywhere{how}"


def _choice(weights: str) -> str:
    """As a point says it, of any model: the file's types are those that llama.cpp's Q4_1 gives."""
    if weights == "file":
        return "q4_1"
    return str(data_file("quality").joinpath(weights)) if weights.endswith(".toml") else weights


def _drawn() -> pd.DataFrame:
    """The points that differ in their weights alone."""
    found = measured()
    return found[(found.abits == ABITS) & (found.kv_bits == KV_BITS)]


def _nearest() -> pd.DataFrame:
    """Those of them that were rounded to nearest."""
    found = _drawn()
    return found[found.method == METHOD]


def _marked(model: str, batch: int) -> pd.DataFrame:
    """What has a mark where a model's speed is drawn: ``weights``, ``perplexity``, ``method``."""
    columns = ["weights", "perplexity", "method"]
    policies = policies_of(model, batch).assign(method=SEARCHED)
    found = pd.concat([_drawn()[columns], policies[columns]], ignore_index=True)
    return found[found.perplexity <= MOST]


@lru_cache(maxsize=len(DRAWN))
def speeds(model: str, batch: int) -> pd.DataFrame:
    """Rates and dollars of every choice of weights (``weights``), for each of `RUNNERS` and `BESIDE`; one of
    `DRAWN`. Policies are choices for the model and batch that they were searched for."""
    parts = []
    for weights in dict.fromkeys([*_drawn().weights, *policies_of(model, batch).weights]):
        fmt = _choice(str(weights))
        ran = joined(as_frame(runs(Point(model=model, weights=fmt, batch=batch))), prices())
        parts.append(ran.assign(weights=weights, choice=choice_key(str(weights))))
    found = pd.concat(parts, ignore_index=True)
    return found[found.runner.isin({*RUNNERS, *BESIDE})]


def _speeds() -> str:
    """A row a choice of weights: perplexity, and each runner's rate and dollars, of the last of `DRAWN`."""
    rates = speeds(*DRAWN[-1])
    titles = dict(zip(rates.runner, rates.title, strict=True))
    rows = []
    for _, row in _drawn().iterrows():
        cells: list[object] = [weights_in_words(row.to_dict()), f"{_number(row.perplexity)}"]
        for runner in RUNNERS:
            own = rates[(rates.runner == runner) & (rates.weights == row.weights)]
            cells += [own.tokens_per_s.iloc[0], own.tokens_per_usd.iloc[0]]
        rows.append(cells)
    header = ["weights", "perplexity of SmolLM2-135M"]
    for runner in RUNNERS:
        header += [f"{titles[runner]}: tokens/s", "tokens/USD"]
    return table(header, rows, "lr" + "rr" * len(RUNNERS))


def _equal() -> str:
    """A row a batch and choice of SAIL's: how much faster it is at equal bits, and at equal quality."""
    rows: list[list[object]] = []
    titles: dict[str, str] = {}
    for model, batch in EQUAL:
        rates = speeds(model, batch)
        titles |= dict(zip(rates.runner, rates.title, strict=True))
        equal = pd.concat([rates.drop(columns="choice"), at_equal_quality(rates)], axis=1)
        known = {(str(row["runner"]), str(row["choice"])): row for row in equal.to_dict("records")}
        ours = equal[(equal.runner == "sail") & equal.loss.notna()]
        for row in ours.sort_values("loss", kind="stable").to_dict("records"):
            choice = str(row["choice"])
            cells = [choice_in_words(choice), f"{row['loss']:+.4f}", row["tokens_per_s"]]
            for name in BESIDE:
                own = known[name, choice]
                cells += [_times(own["speedup"]), _times(own["speedup_equal_quality"], own["equal_choice"])]
            stored = known[BESIDE[-1], FILE]["tokens_per_s"]
            rows.append([batch, *cells, _times(row["tokens_per_s"] / stored)])
    header = ["batch", "SAIL's weights", "loss, nats a token", "SAIL: tokens/s"]
    for name in BESIDE:
        header += [f"over {titles[name]}, at equal bits", "at equal quality"]
    header += ["fastest with the file as stored"]
    return table(header, rows, "rlrr" + "rl" * len(BESIDE) + "r")


def _times(ratio: float, choice: str | None = None) -> str:
    """A speedup, and the choice of the other that it is over."""
    if math.isnan(ratio):
        return "none"
    return f"{ratio:.2f}x" + (f" ({choice_in_words(choice)})" if choice else "")


def choice_in_words(choice: str) -> str:
    """A choice of `at_equal_quality` in few words."""
    uniform = uniform_choice(choice)
    if uniform:
        return f"{uniform[0]} bits" + (f", {uniform[1]} a scale" if uniform[1] != GROUP_SIZE else "")
    if choice.endswith(".toml"):
        return f"{choice[1]} bits in the blocks"
    return choice.upper()


def draw(folder: Path) -> list[Path]:
    """Writes the figure."""
    with style():
        title = "What a width costs in quality, and what it brings"
        figure, axes = canvas(title, 2, len(DRAWN), width=10, height=10.5)
        for line, (model, batch) in enumerate(DRAWN):
            rates = speeds(model, batch)
            for column, (field, label) in enumerate(
                (("tokens_per_s", "tokens/s"), ("tokens_per_usd", "tokens per dollar"))
            ):
                _panel(axes[line][column], rates, field, _marked(model, batch))
                axes[line][column].set_xlabel(label)
                axes[line][column].set_title(f"{rates.model_title.iloc[0]}, batch {batch}", loc="left")
        axes[0][0].legend(handles=_legend(speeds(*DRAWN[0])), fontsize=8.5, loc="upper left")
        caption(figure, *_sentences())
        return save(figure, folder / "quality.png")


def _panel(axes: Axes, rates: pd.DataFrame, field: str, marked: pd.DataFrame) -> None:
    drawn = rates[rates.weights.isin(marked.weights)][field].astype(float)
    close = CLOSE * math.log(drawn.max() / drawn.min())
    for i, runner in enumerate(RUNNERS):
        own = rates[rates.runner == runner].set_index("weights")[field].astype(float)
        places: list[tuple[float, float, str]] = []
        policies: list[tuple[float, float, str]] = []
        for _, row in marked.iterrows():
            x, searched = own[row.weights], row.method == SEARCHED
            if math.isnan(x):
                continue
            inside = "white" if row.method == "compensated" else SERIES[i]
            edge = "black" if searched else SERIES[i]
            axes.plot(x, row.perplexity, MARKERS[i], markeredgecolor=edge, markerfacecolor=inside)
            if not searched:
                places.append((x, row.perplexity, _short(str(row.weights))))
            elif runner == NAMES_POLICIES and field == NAMED_IN:
                policies.append((x, row.perplexity, _short(str(row.weights))))
        for x, y, names in _gathered(policies, close, "left"):
            _label(axes, (x, y), names, (6, -3), "left", "black")
        for x, y, names in _gathered(places, close, SIDES[i][1]):
            _label(axes, (x, y), names, *SIDES[i], SERIES[i])
    floats = measured().perplexity.iloc[0]
    axes.axhline(floats, color="#444444", linewidth=0.9, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(x=0.12)  # the outermost marks have labels beyond them
    plain_numbers(axes.yaxis)
    plain_numbers(axes.xaxis)
    axes.set_ylabel("perplexity of SmolLM2-135M")


def _label(
    axes: Axes, of: tuple[float, float], names: str, at: tuple[int, int], side: str, color: str
) -> None:
    """Small words beside a mark, so many points from it."""
    axes.annotate(names, of, xytext=at, textcoords="offset points", ha=side, fontsize=7.5, color=color)


def _gathered(
    places: list[tuple[float, float, str]], close: float, side: str
) -> list[tuple[float, float, str]]:
    """Marks that lie on each other share a label: whose rates' logarithms are no more than ``close`` apart.

    It stands at the mark that is farthest on the label's own side (as `_label` has ``side``).
    """
    found: list[tuple[float, float, str]] = []
    for x, y, name in sorted(places):
        near = [
            i
            for i, (a, b, _) in enumerate(found)
            if abs(math.log(x / a)) < close and abs(math.log(y / b)) < 0.04
        ]
        if near:
            a, b, names = found[near[0]]
            at = (x, y) if side == "left" else (a, b)
            found[near[0]] = (*at, names if name in names.split(", ") else f"{names}, {name}")
        else:
            found.append((x, y, name))
    return found


def _short(weights: str) -> str:
    """`5` everywhere, `5b` in the blocks alone, `P0.1` a policy for that loss."""
    if weights.startswith(POLICY):
        return f"P{weights.removeprefix(POLICY).removesuffix('.toml')}"
    return "Q4_1" if weights == "file" else f"{weights[1]}b" if weights.endswith(".toml") else weights


def _legend(rates: pd.DataFrame) -> list[Line2D]:
    titles = dict(zip(rates.runner, rates.title, strict=True))
    return [
        Line2D([], [], color=SERIES[i], marker=MARKERS[i], linestyle="", label=titles[runner])
        for i, runner in enumerate(RUNNERS)
    ]


def _sentences() -> list[str]:
    left_out = _drawn()[_drawn().perplexity > MOST]
    said = ", ".join(dict.fromkeys(_short(str(weights)) for weights in left_out.weights))
    return [
        "Activations of 8 bits, 16 threads. 5: five bits everywhere; 5b: in the blocks, the table in Q8_0; "
        "Q4_1: as stored. Hollow: errors compensated. Black edge: a searched policy, P and the loss "
        "allowed; named beside SAIL's, on the left. Dotted: the file's values in fp32.",
        f"Perplexities above {MOST:g} are in the table alone ({said}). The loss is SmolLM2's also where the "
        "speed is of a larger model at the same choices: that model's own was not measured.",
        "The file is Q4_1 itself: other widths show what rounding its values again loses.",
    ]
