"""Profile bundles of LLMServingSim 2: reading measured step times, and writing those of a machine.

A bundle is a folder. ``meta.yaml`` describes it. ``tp<N>/dense.csv`` has microseconds of a layer's kernels by
tokens of the step, ``per_sequence.csv`` those of the head by sequences, ``attention.csv`` those of attention
by new tokens and tokens before them of prompts, and by number and tokens of answers. For a mixture of
experts, ``moe.csv`` has the feed-forward networks by tokens and by activated experts.
"""

from __future__ import annotations

import csv
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

from sailsim.base.atomic import write_csv, write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import MAX_TEXT_BYTES, read_text
from sailsim.sim.serve.server import StepTime
from sailsim.sim.serve.surface import PiecewiseLine
from sailsim.workloads.models.experts import Experts, distinct_experts
from sailsim.workloads.models.model import ModelSpec

PER_SEQUENCE = ("lm_head", "sampler")
AXES = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
"""Columns of ``attention.csv`` that are axes of its grid."""
MOE, EXPERT_AXES = "moe.csv", ("tokens", "activated_experts")
META, BLOCKS = "meta.yaml", "kv_blocks"
"""The file that describes a bundle, and its key for the KV-cache blocks of the memory in bundles written
here."""
_Grid = tuple[list[float], list[Any]]
"""Points on an axis, and at each of them a grid of the other axes, or a number."""
BLOCK_TOKENS = 16
"""Tokens of a KV-cache block."""
CHUNKS, COUNTS, CONTEXTS = ((0, *(1 << n for n in range(*ends))) for ends in ((4, 12), (0, 9), (4, 15)))
"""New tokens, answers, and tokens before each, at which a bundle is written."""


class StepProfiles:
    """Step times of a bundle."""

    def __init__(self, folder: str | Path, model: ModelSpec) -> None:
        """Read the bundle of one GPU. Raises SailsimError for a missing file, layer, axis or number: none
        counts as 0."""
        own = read_meta(folder).get("model", "")
        if own.rpartition("/")[2].lower() != model.name:
            raise SailsimError(f"bundle {folder} is of the model {own!r}; allowed is one of {model.name}.")
        place = Path(folder) / "tp1"
        self.layers = model.n_layers
        self._dense = _layer_us(place / "dense.csv", "tokens", _calls(model))
        self._head = _layer_us(place / "per_sequence.csv", "sequences", dict.fromkeys(PER_SEQUENCE, 1))
        self._attention = _attention_us(place / "attention.csv")
        self._experts = (
            PiecewiseLine([(0, 0.0)]) if model.experts is None else _expert_us(place / MOE, model.experts)
        )
        self._skew = _skew(folder)

    def seconds(self, prefill: Sequence[tuple[int, int]], decode_contexts: Sequence[int]) -> float:
        """Seconds of a step (`StepTime`).

        Prompts are joined to one chunk with as many products of attention. Answers are taken at their mean
        context, and moved towards the longest one by the bundle's skew.
        """
        count = len(decode_contexts)
        new = sum(chunk for chunk, _ in prefill)
        before = 0.0
        if new:
            products = sum(chunk * (old + chunk / 2) for chunk, old in prefill)
            before = max(0.0, products / new - new / 2)
        mean = sum(decode_contexts) / count - 1 if count else 0.0
        us = self._dense(new + count) + self._head(len(prefill) + count)
        layer = _at(self._attention, new, count, before, mean)
        if self._skew and count > 1:
            longest = _at(self._attention, new, count, before, max(decode_contexts) - 1)
            layer += self._skew * max(0.0, longest - layer)
        return 1e-6 * (us + self.layers * (layer + self._experts(new + count)))


def _calls(model: ModelSpec) -> dict[str, int]:
    """Calls of each token-wise layer in a step, two of `layernorm` in a block."""
    names = ["qkv_proj", "rotary_emb", "o_proj", *["qk_norm"] * ("attn_q_norm" in model.norms)]
    names += [] if model.experts else ["gate_up_proj", "act_fn", "down_proj"]
    times = dict.fromkeys(names, model.n_layers) | {"layernorm": 2 * model.n_layers}
    return times | {"embedding": 1, "final_layernorm": 1}


def _feed_forward_share(model: ModelSpec, rows: int) -> float:
    """Share of the feed-forward networks in the layers' weights that so many tokens read."""
    read = {"attn": 0.0, "ffn": 0.0, "head": 0.0}
    for each in model.linears():
        experts = distinct_experts(each.count, each.used, rows)
        read[each.role.partition("_")[0]] += each.k * each.n * experts
    return read["ffn"] / (read["ffn"] + read["attn"])


def _attention_us(path: Path) -> _Grid:
    """Microseconds of a layer's attention by new tokens, answers, and tokens before each."""
    rows = [(new, count, before, context, us) for _, (new, before, count, context, us) in _rows(path, AXES)]
    have = {(int(new), int(count)) for new, count, *_ in rows}
    chunks, counts = (sorted({0} | {pair[at] for pair in have}) for at in (0, 1))
    # The most answers with prompts may be missing: the server that was measured had no room for one more.
    pairs = {*product(chunks, counts[:-1]), (0, counts[-1] or 1), (chunks[-1] or 1, 0)} - {(0, 0)}
    if missing := pairs - have:
        new, count = min(missing)
        raise SailsimError(f"{path} has no row of {AXES[0]} {new}, {AXES[2]} {count}; allowed are all pairs.")
    return _grid([(0, 0, 0, 0, 0.0), *rows])


def _grid(rows: Iterable[Sequence[float]]) -> _Grid:
    """Grid from rows of a point on each axis and a value; axes need not have the same points everywhere."""
    parts: dict[float, list[Sequence[float]]] = {}
    for x, *rest in rows:
        parts.setdefault(x, []).append(rest)
    xs = sorted(parts)
    return xs, [_grid(parts[x]) if len(parts[x][0]) > 1 else parts[x][-1][0] for x in xs]


def _at(grid: _Grid, x: float, *others: float) -> float:
    """Value at a point: linear between points of an axis and beyond the last, constant below the first."""
    xs, parts = grid
    low = max(bisect_right(xs, x) - 1, 0)
    if x <= xs[low] or len(xs) == 1:
        return _at(parts[low], *others) if others else parts[low]
    low = min(low, len(xs) - 2)
    first, second = (_at(part, *others) if others else part for part in parts[low : low + 2])
    return first + (second - first) * (x - xs[low]) / (xs[low + 1] - xs[low])


def read_meta(folder: str | Path) -> dict[str, str]:
    """Top-level keys and values of a bundle's `META`."""
    text = read_text(Path(folder) / META, "bundle's file", MAX_TEXT_BYTES)
    return dict(re.findall(r"^(\w+): *['\"]?(.+?)['\"]?$", text, re.MULTILINE))


def _skew(folder: str | Path) -> float:
    """Position of answers of several lengths between equal ones of the mean (0) and of the longest (1):
    ``skew_fit`` of `META`, 0 where it was not measured."""
    text = read_text(Path(folder) / META, "bundle's file", MAX_TEXT_BYTES)
    _, _, fit = text.partition("\nskew_fit:\n")
    own = re.match(r"(?:  .*\n)*? +['\"]?1['\"]?:\n(?: {6}.*\n)*? {6}alpha_default: ([\d.]+)", fit)
    return float(own[1]) if own else 0.0


def write_profiles(
    folder: str | Path, seconds: StepTime, model: ModelSpec, about: Mapping[str, object]
) -> None:
    """Write a machine's step times as a bundle, which `StepProfiles` reads with equal times at every point.

    A bundle splits a step into layers by rows, a head by sequences, and attention; a machine has one time.
    The head gets what another sequence adds. Layers get the least time of so many rows with hardly a token
    before them, each call an equal part. Attention gets the rest, at least 0.

    Args:
        folder: made where it is missing.
        seconds: step times of the machine.
        model: with experts, their feed-forward networks get a part of the layers by the weights read.
        about: lines of `META`, after those of every bundle.
    """
    folder = Path(folder)
    # Two steps of equal rows and products, of which one has a sequence more.
    row = 1e6 * max(0.0, seconds([(32, 0), (32, 32)], []) - seconds([(64, 0)], []))
    least = {
        rows: 1e6 * min(seconds([], [1] * rows) - 1e-6 * row * rows, seconds([(rows, 0)], []) - 1e-6 * row)
        for rows in sorted({new + count for new in CHUNKS for count in COUNTS} | {*range(1, 17)})
        if rows
    }
    layers, calls = _calls(model), sum(_calls(model).values())
    ffn = {
        rows: us * _feed_forward_share(model, rows) if model.experts else 0.0 for rows, us in least.items()
    }
    dense = [(name, rows, (us - ffn[rows]) / calls) for name in layers for rows, us in least.items()]
    last = [(name, n, row * n / len(PER_SEQUENCE)) for name in PER_SEQUENCE for n in range(1, COUNTS[-1] + 2)]
    attention = []
    for new, before, count, context in product(CHUNKS, CONTEXTS, COUNTS, CONTEXTS):
        if (new or not before) and bool(count) == bool(context) and new + count:
            us = 1e6 * seconds([(new, before)] if new else [], [context + 1] * count)
            us -= least[new + count] + row * (count + bool(new))
            attention.append((new, before, count, context, max(0.0, us / model.n_layers)))
    always = {
        "profiler_version": "synthetic-v1",
        "vllm_version": "n/a",
        "gpu": "n/a",
        **about,
        "tp_degrees": "[1]",
        "engine_effective": f"{{max_num_batched_tokens: {CHUNKS[-1]}, max_num_seqs: {COUNTS[-1]}}}",
    }
    write_whole(folder / META, "".join(f"{name}: {value}\n" for name, value in always.items()).encode())
    _write(folder / "tp1/dense.csv", ("layer", "tokens"), dense)
    _write(folder / "tp1/per_sequence.csv", ("layer", "sequences"), last)
    _write(folder / "tp1/attention.csv", AXES, attention)
    if model.experts is not None:
        experts = [(rows, _activated(model.experts, rows), us / model.n_layers) for rows, us in ffn.items()]
        _write(folder / "tp1" / MOE, EXPERT_AXES, experts)


def _write(path: Path, names: Sequence[str], rows: Iterable[Sequence[str | float]]) -> None:
    """Write rows whose last column is microseconds."""
    write_csv(path, (*names, "time_us"), ((*first, f"{us:.9g}") for *first, us in rows))


def _rows(path: Path, names: Sequence[str]) -> list[tuple[str | None, list[float]]]:
    """Layer, if any, and numbers of each row of a file: the named columns, then microseconds.

    Raises SailsimError for a missing column and a number out of range.
    """
    text = read_text(path, "bundle's file", MAX_TEXT_BYTES)
    rows = []
    for at, row in enumerate(csv.DictReader(text.splitlines()), 2):
        try:
            numbers = [float(row[name]) for name in (*names, "time_us")]
        except (KeyError, TypeError, ValueError):
            raise SailsimError(
                f"{path}, line {at}: allowed are numbers in the columns {', '.join(names)} and time_us."
            ) from None
        wrong = [x for x in numbers if not 0 <= x < 1e12] + [x for x in numbers[:-1] if x % 1]
        if wrong:
            raise SailsimError(
                f"{path}, line {at} has {wrong[0]:g}; allowed is 0 or more, whole but for time_us."
            )
        rows.append((row.get("layer"), numbers))
    return rows


def _activated(experts: Experts, tokens: int) -> int:
    """Activated experts in LLMServingSim's gate: each token activates others while there are any."""
    return min(tokens * experts.used, experts.count)


def _expert_us(path: Path, experts: Experts) -> PiecewiseLine:
    """Microseconds of a layer's experts by tokens, interpolated as in LLMServingSim: linear in experts and in
    tokens, constant below the fewest."""
    rows = [(number, tokens, us) for _, (tokens, number, us) in _rows(path, EXPERT_AXES)]
    for number in (experts.used, experts.count):
        if number not in {row[0] for row in rows}:
            raise SailsimError(f"{path} has no row of {EXPERT_AXES[1]} {number}; allowed is a whole grid.")
    grid = _grid(rows)
    every = {*range(1, ceil(experts.count / experts.used) + 1), *(int(row[1]) for row in rows)}
    return PiecewiseLine((tokens, _at(grid, _activated(experts, tokens), tokens)) for tokens in every)


def _layer_us(path: Path, column: str, calls: Mapping[str, int]) -> PiecewiseLine:
    """Microseconds of all layers by a column, from the number of calls of each. Raises SailsimError where the
    layers of the file are others."""
    points: dict[str, dict[int, float]] = {}
    for name, (x, us) in _rows(path, (column,)):
        points.setdefault(str(name), {})[int(x)] = us
    wrong = [f"no layer {name}" for name in calls if name not in points]
    wrong += [f"the layer {name}" for name in points if name not in calls]
    if wrong:
        raise SailsimError(f"{path} has {wrong[0]}; allowed are {', '.join(calls)}.")
    lines = {name: PiecewiseLine(points[name].items()) for name in calls}
    xs = {x for line in lines.values() for x in line.xs}
    return PiecewiseLine((x, sum(count * lines[name](x) for name, count in calls.items())) for x in xs)
