"""Speedups at equal quality: SAIL at a width over another runner at its fastest width that loses no more.

The loss of a choice of weights was measured on one model (docs/quality.md), in the units' arithmetic and with
activations of 8 bits, and stands for all runners. It depends on the model; no other model was measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from math import isnan, nan
from operator import itemgetter
from typing import Any

import pandas as pd

from sailsim.analysis.costs.constants import data_file
from sailsim.analysis.runs.compare import POINT
from sailsim.analysis.runs.runs import SAIL
from sailsim.workloads.model_files.load import FILE, uniform_choice

MODEL = "smollm2-135m"
"""Name of the shipped shape of the model whose losses were measured."""
ABITS, KV_BITS, METHOD = 8, 16, "nearest"
"""Fixed values of the points that are compared, which differ in their weights alone."""
WEIGHTS = ("weights", "wbits", "group_size")
"""Columns of a point that define its weights."""
COLUMNS = ("choice", "loss", "equal_choice", "equal_loss", "speedup_equal_quality")
"""Columns that `at_equal_quality` adds."""


def measured_points() -> pd.DataFrame:
    """The points of analysis/data/quality/points.jsonl, in their order."""
    text = data_file("quality").joinpath("points.jsonl").read_text("utf-8")
    return pd.DataFrame([json.loads(line) for line in text.splitlines()])


def choice_key(weights: str, wbits: int = 0, group_size: int = 0) -> str:
    """Canonical name of a choice of weights: that of ``4`` and of 4 bits in groups of 128 is ``4g128``."""
    uniform = uniform_choice(weights) if weights else (wbits, group_size)
    return f"{uniform[0]}g{uniform[1]}" if uniform else weights.lower()


def losses() -> Mapping[str, float]:
    """Loss in nats a token by `choice_key`, of the choices that were rounded to nearest.

    The file's own codes are left out: they are the reference from which losses are counted.
    """
    points = measured_points()
    alike = points[(points.abits == ABITS) & (points.kv_bits == KV_BITS) & (points.method == METHOD)]
    return {
        choice_key(str(weights)): float(loss)
        for weights, loss in zip(alike.weights, alike.loss, strict=True)
        if weights != FILE
    }


@cache
def cache_widths(attention: str, most: float) -> tuple[int, ...]:
    """Widths of keys and values, widest first, that lose at most so many nats a token against fp16.

    Measured with the weights of a file as they are stored; ``attention``: where it is computed, cores or
    units.
    """
    lines = data_file("quality").joinpath("attention.jsonl").read_text("utf-8").splitlines()
    points = pd.concat([measured_points().assign(attention="cores"), pd.DataFrame(map(json.loads, lines))])
    alike = points[(points.weights == FILE) & (points.abits == ABITS) & (points.method == METHOD)]
    lost = dict(zip(zip(alike.attention, alike.kv_bits, strict=True), alike.loss, strict=True))
    floats = lost["cores", KV_BITS]
    able = {int(kv) for (place, kv), loss in lost.items() if place == attention and loss - floats <= most}
    return tuple(sorted(able, reverse=True))


def at_equal_quality(rows: pd.DataFrame, of: Mapping[str, float] | None = None) -> pd.DataFrame:
    """The columns `COLUMNS`, with the index of ``rows``.

    Args:
        rows: records with `tokens_per_s` and `speedup_of`, of several choices of weights.
        of: losses by choice; `losses` where it is left out.

    Returns:
        ``equal_choice`` is the fastest choice of the row's runner, among rows that differ in their weights
        alone and lose at most ``loss``. ``speedup_equal_quality`` is SAIL's rate at the row's choice over the
        runner's at that one; SAIL's cores run the same software there. Both are missing where the row's
        choice was not measured, its activations do not have 8 bits, or the runner has no rate with any choice
        that is as good.
    """
    known = losses() if of is None else of
    choices = [choice_key(*each) for each in rows[list(WEIGHTS)].itertuples(index=False, name=None)]
    same = rows[[name for name in POINT if name not in WEIGHTS]].astype(str)
    points = list(same.itertuples(index=False, name=None))
    lost = [
        known.get(c, nan) if bits == ABITS else nan for c, bits in zip(choices, rows["abits"], strict=True)
    ]
    rates = rows["tokens_per_s"].astype(float)
    cells = list(zip(points, rows["runner"], choices, lost, rates, rows["speedup_of"], strict=True))
    every = {(point, runner, choice): rate for point, runner, choice, _, rate, _ in cells}
    able: dict[tuple[Any, ...], list[tuple[float, float, str, str]]] = {}
    for point, runner, choice, loss, rate, sail in cells:
        if not isnan(loss) and not isnan(rate):
            able.setdefault((point, runner), []).append((rate, loss, choice, sail))
    found = []
    for point, runner, choice, loss, *_ in cells:
        # Among equally fast choices the row's own comes first.
        good = [
            (each[0], each[2] == choice, *each[1:])
            for each in able.get((point, runner), ())
            if each[1] <= loss
        ]
        best = max(good, key=itemgetter(0, 1), default=(nan, False, nan, None, SAIL))
        rate, _, equal_loss, equal_choice, sail = best
        ours = every.get((point, sail, choice), nan)
        found.append((choice, loss, equal_choice, equal_loss, ours / rate))
    return pd.DataFrame(found, rows.index, columns=list(COLUMNS))
