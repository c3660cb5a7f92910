"""Policies that were searched and measured, beside widths of all matrices: the table of docs/quality.md."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import pandas as pd

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.render.markdown import table
from sailsim.workloads.choice import uniform_choice

Row = Mapping[Any, Any]
HEADER = (
    "weights", "loss allowed", "predicted", "on the search's text", "measured", "kept",
    "stored bits a weight", "SAIL: a step", "tokens/s", "over the fastest width within that loss",
    "the fastest as predicted: a step", "loss",
)  # fmt: skip


@lru_cache(maxsize=1)
def stored_policies() -> pd.DataFrame:
    """The lines of analysis/data/quality/policies.jsonl: a budget each, with the columns that
    `tools/policy_points.py` writes; a budget without a policy has ``refused``, a sentence."""
    text = data_file("quality").joinpath("policies.jsonl").read_text("utf-8")
    return pd.DataFrame([{"refused": None} | json.loads(line) for line in text.splitlines()])


def policies_of(model: str, batch: int, stored: pd.DataFrame | None = None) -> pd.DataFrame:
    """Those that were found for a model's step: rows with ``weights``, a file's name, and ``perplexity``."""
    known = stored_policies() if stored is None else stored
    return known[(known.model == model) & (known.batch == batch) & known.refused.isna()]


def policy_table(
    policies: Sequence[Row], points: pd.DataFrame, rates: Mapping[str, float], batch: int = 1
) -> str:
    """A row a policy and a width of all matrices.

    Args:
        policies: as `stored_policies` has them.
        points: of `measured`, those that differ in their weights alone.
        rates: SAIL's tokens/s by ``weights``, for both.
        batch: tokens that a step of it gives.
    """
    widths = [row for row in points.to_dict("records") if uniform_choice(str(row["weights"]))]
    rows: list[tuple[str, ...]] = [
        (
            f"{row['weights']} bits everywhere", "-", "-", "-", _loss(row, "loss"), "-",
            f"{row['bits_per_weight']:.2f}", _step(1e3 * batch / rates[row["weights"]]),
            f"{rates[row['weights']]:.1f}", *["-"] * 3,
        )
        for row in widths
    ]  # fmt: skip
    rows += [_policy(row, widths, rates) for row in policies]
    return table(HEADER, rows, "lrrrrlrrrlrr")


def _policy(row: Row, widths: Sequence[Row], rates: Mapping[str, float]) -> tuple[str, ...]:
    budget = float(row["budget"])
    if isinstance(row["refused"], str):
        return ("none", f"{budget:g}", *["-"] * 3, "refused", *["-"] * 6)
    rate = rates[row["weights"]]
    return (
        f"a policy for {budget:g}",
        f"{budget:g}",
        f"{row['predicted_loss']:+.4f}",
        _loss(row, "verified_loss", "verified_error"),
        _loss(row, "loss"),
        kept(budget, float(row["loss"]), float(row["loss_error"])),
        f"{row['bits_per_weight']:.2f}",
        _step(row["ms"]),
        f"{rate:.1f}",
        _beside(rate, budget, widths, rates),
        *_fastest(row),
    )


def _fastest(row: Row) -> tuple[str, str]:
    """What the fastest would have been; nothing of a policy that was searched as the fastest itself."""
    ms = float(row.get("fastest_ms", math.nan))
    return ("-", "-") if math.isnan(ms) else (_step(ms), f"{row['fastest_loss']:+.4f}")


def _step(ms: float) -> str:
    return f"{ms:.4f} ms"


def _loss(row: Row, name: str, error: str = "loss_error") -> str:
    return f"{row[name]:+.4f} ± {row[error]:.4f}"


def kept(budget: float, loss: float, error: float) -> str:
    """Whether a measured loss is within a budget, and by how many of its standard errors it is beyond."""
    if loss <= budget:
        return "yes"
    return f"no: {loss - budget:.4f} beyond, {(loss - budget) / error:.1f} standard errors"


def _beside(rate: float, budget: float, widths: Sequence[Row], rates: Mapping[str, float]) -> str:
    """A policy's rate over that of the fastest width whose measured loss is within the budget."""
    good = [str(row["weights"]) for row in widths if row["loss"] <= budget]
    if not good:
        return "none"
    best = max(good, key=lambda weights: rates[weights])
    return f"{rate / rates[best]:.3f}x of {best} bits"


def how_found(stored: pd.DataFrame) -> str:
    """How the policies were found, and the sentences of those that were not."""
    commands = stored[["command", "date", "version"]].drop_duplicates().itertuples(index=False, name=None)
    lines = [f"`{command}`, {date}, code {version}." for command, date, version in commands]
    lines += [
        f"Refused for {row['budget']:g}: {row['refused']}"
        for row in stored[stored.refused.notna()].to_dict("records")
    ]
    return "\n\n".join(lines)
