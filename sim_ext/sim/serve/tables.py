"""Bundles of profiles of LLMServingSim 2: step times that others measured are read, a machine's own written.

A bundle is a folder: ``meta.yaml`` says of what it is, ``tp<N>/dense.csv`` has microseconds of a layer's
kernels by tokens of the step, ``per_sequence.csv`` those of the head by sequences, ``attention.csv`` those of
attention by new tokens and tokens before them of prompts, and by number and tokens of answers. Where tokens
choose experts, ``moe.csv`` has their feed-forward networks by tokens and by experts that any token took.
"""

from __future__ import annotations

import csv
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from itertools import product
from math import ceil
from pathlib import Path

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import MAX_TEXT, read_text
from sailsim.sim.serve.server import StepTime
from sailsim.sim.surface import Line
from sailsim.workloads.experts import Experts, distinct_experts
from sailsim.workloads.model import ModelSpec

PER_SEQUENCE = ("lm_head", "sampler")
AXES = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
"""Of attention."""
MOE, EXPERT_AXES = "moe.csv", ("tokens", "activated_experts")
META, BLOCKS = "meta.yaml", "kv_blocks"
"""The file that says what a bundle is of, and its line, where we wrote it, of how many blocks of keys and
values the memory holds."""
BLOCK_TOKENS = 16
"""Tokens of one of them."""
CHUNKS, COUNTS, KEPT = ((0, *(1 << n for n in range(*ends))) for ends in ((4, 12), (0, 9), (4, 15)))
"""New tokens, answers, and tokens before each, at which a bundle is written."""


class Tables:
    """Step times of a bundle, s (`StepTime`)."""

    def __init__(self, folder: str | Path, model: ModelSpec) -> None:
        """Of one card. Raises SailsimError for a missing file, layer, axis or number: none counts as 0."""
        said = said_by(folder).get("model", "")
        if said.rpartition("/")[2].lower() != model.name:
            raise SailsimError(f"bundle {folder} is of the model {said!r}; allowed is one of {model.name}.")
        place = Path(folder) / "tp1"
        self.layers = model.n_layers
        self._dense = _summed(place / "dense.csv", "tokens", _calls(model))
        self._head = _summed(place / "per_sequence.csv", "sequences", dict.fromkeys(PER_SEQUENCE, 1))
        self._attention = _Grid(place / "attention.csv")
        self._experts = Line([(0, 0.0)]) if model.experts is None else _chosen(place / MOE, model.experts)

    def seconds(self, prefill: Sequence[tuple[int, int]], decode_contexts: Sequence[int]) -> float:
        """Of a step (`StepTime`). Prompts are taken together: as many products as one piece of all their new
        tokens would have. So are answers: of their mean context, as the grid has them."""
        count = len(decode_contexts)
        new = sum(piece for piece, _ in prefill)
        before = 0.0
        if new:
            products = sum(piece * (old + piece / 2) for piece, old in prefill)
            before = max(0.0, products / new - new / 2)
        mean = sum(decode_contexts) / count - 1 if count else 0.0
        us = self._dense(new + count) + self._head(len(prefill) + count)
        layer = self._attention(new, before, count, mean) + self._experts(new + count)
        return 1e-6 * (us + self.layers * layer)


def _calls(model: ModelSpec) -> dict[str, int]:
    """How often a step calls each layer by tokens, `layernorm` twice in a block."""
    names = ["qkv_proj", "rotary_emb", "o_proj", *["qk_norm"] * ("attn_q_norm" in model.norms)]
    names += [] if model.experts else ["gate_up_proj", "act_fn", "down_proj"]
    times = dict.fromkeys(names, model.n_layers) | {"layernorm": 2 * model.n_layers}
    return times | {"embedding": 1, "final_layernorm": 1}


def _fed(model: ModelSpec, rows: int) -> float:
    """Of the weights that so many tokens read in layers, the share of the feed-forward networks."""
    read = {"attn": 0.0, "ffn": 0.0, "head": 0.0}
    for each in model.linears():
        experts = distinct_experts(each.count, each.used, rows)
        read[each.role.partition("_")[0]] += each.k * each.n * experts
    return read["ffn"] / (read["ffn"] + read["attn"])


class _Grid:
    """Attention between the points of a grid of four axes, straight along each of them."""

    def __init__(self, path: Path) -> None:
        self.path, rows = path, [numbers for _, numbers in _rows(path, AXES)]
        self.axes = [sorted({int(row[at]) for row in rows}) for at in range(4)]
        for name, axis in zip(AXES, self.axes, strict=True):
            if len(axis) < 2:
                raise SailsimError(f"{path} has no two numbers of {name}; allowed is a whole grid.")
        times = {tuple(map(int, row[:4])): row[4] for row in rows}
        self.strides = [1, 1, 1, 1]
        for at in (2, 1, 0):
            self.strides[at] = self.strides[at + 1] * len(self.axes[at + 1])
        least = min((x for x in self.axes[3] if x), default=0)
        self.times: list[float] = []
        for new, before, count, context in product(*self.axes):
            # Without prompts, or answers, the tokens before them make no difference; answers behind fewer
            # tokens than the least take as long.
            key = (new, before if new else 0, count, (context or least) if count else 0)
            self.times.append(self._time(times, key) if new or count else 0.0)

    def _time(self, times: Mapping[tuple[int, ...], float], key: tuple[int, int, int, int]) -> float:
        """Of a point; where the most answers beside prompts are missing, straight on from fewer ones."""
        if key in times:
            return times[key]
        new, before, count, context = key
        fewer = self.axes[2].index(count)
        nearest = [(new, before, less, context) for less in self.axes[2][max(fewer - 2, 0) : fewer]]
        if count != self.axes[2][-1] or len(nearest) < 2 or not all(each in times for each in nearest):
            words = ", ".join(f"{name} {x}" for name, x in zip(AXES, key, strict=True))
            raise SailsimError(f"{self.path} has no row of {words}; allowed is a whole grid.")
        return Line((each[2], times[each]) for each in nearest)(count)

    def __call__(self, *at: float) -> float:
        """Microseconds of a layer."""
        corners = [(0, 1.0)]
        for x, axis, stride in zip(at, self.axes, self.strides, strict=True):
            low = min(max(bisect_right(axis, x) - 1, 0), len(axis) - 2)
            share = max(0.0, (x - axis[low]) / (axis[low + 1] - axis[low]))
            base = low * stride
            if share == 0.0:
                corners = [(place + base, weight) for place, weight in corners]
            else:
                corners = [
                    (place + base + step, weight * part)
                    for place, weight in corners
                    for step, part in ((0, 1 - share), (stride, share))
                ]
        times = self.times
        return sum(times[place] * weight for place, weight in corners)


def said_by(folder: str | Path) -> dict[str, str]:
    """What the first level of a bundle's `META` says, by its names."""
    text = read_text(Path(folder) / META, "bundle's file", MAX_TEXT)
    return dict(re.findall(r"^(\w+): *['\"]?(.+?)['\"]?$", text, re.MULTILINE))


def write_tables(folder: str | Path, step: StepTime, model: ModelSpec, about: Mapping[str, object]) -> None:
    """Write a machine's step times as a bundle, which reads as `Tables` with its times at every point.

    A bundle adds up layers by a step's rows, a head by its sequences, and attention; a machine's time is one.
    So the head is what another sequence adds. Layers are the least that so many rows take with hardly a token
    before them, each call an equal part. Attention is the rest; it is never below 0.

    Args:
        folder: is made where it is missing.
        step: of the machine.
        model: with experts, their feed-forward networks have the layers' part by the weights that are read.
        about: lines of `META`, behind what every bundle has.
    """
    place, seconds = Path(folder), step.seconds
    # Two steps of equal rows and products, of which one has a sequence more.
    row = 1e6 * max(0.0, seconds([(32, 0), (32, 32)], []) - seconds([(64, 0)], []))
    least = {
        rows: 1e6 * min(seconds([], [1] * rows) - 1e-6 * row * rows, seconds([(rows, 0)], []) - 1e-6 * row)
        for rows in sorted({new + count for new in CHUNKS for count in COUNTS} | {*range(1, 17)})
        if rows
    }
    layers, calls = _calls(model), sum(_calls(model).values())
    fed = {rows: us * _fed(model, rows) if model.experts else 0.0 for rows, us in least.items()}
    dense = [(name, rows, (us - fed[rows]) / calls) for name in layers for rows, us in least.items()]
    last = [(name, n, row * n / len(PER_SEQUENCE)) for name in PER_SEQUENCE for n in range(1, COUNTS[-1] + 2)]
    attention = []
    for new, before, count, context in product(CHUNKS, KEPT, COUNTS, KEPT):
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
    write_whole(place / META, "".join(f"{name}: {value}\n" for name, value in always.items()).encode())
    _write(place / "tp1/dense.csv", ("layer", "tokens"), dense)
    _write(place / "tp1/per_sequence.csv", ("layer", "sequences"), last)
    _write(place / "tp1/attention.csv", AXES, attention)
    if model.experts is not None:
        chosen = [(rows, _taken(model.experts, rows), us / model.n_layers) for rows, us in fed.items()]
        _write(place / "tp1" / MOE, EXPERT_AXES, chosen)


def _write(path: Path, names: Sequence[str], rows: Iterable[Sequence[str | float]]) -> None:
    """Rows whose last column is microseconds."""
    text = StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow((*names, "time_us"))
    lines.writerows((*first, f"{us:.9g}") for *first, us in rows)
    write_whole(path, text.getvalue().encode())


def _rows(path: Path, names: Sequence[str]) -> list[tuple[str | None, list[float]]]:
    """Of each row of a file its layer, if any, numbers of some columns, and microseconds behind them."""
    text = read_text(path, "bundle's file", MAX_TEXT)
    found = []
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
        found.append((row.get("layer"), numbers))
    return found


def _taken(experts: Experts, tokens: int) -> int:
    """Experts that LLMServingSim's gate gives to so many tokens: each takes others while there are any."""
    return min(tokens * experts.used, experts.count)


def _chosen(path: Path, experts: Experts) -> Line:
    """Microseconds of the experts of a layer by tokens, as LLMServingSim finds them: of a number of experts
    linear in tokens, and as of its fewest below them; linear in experts."""
    columns: dict[int, dict[int, float]] = {}
    for _, (tokens, number, us) in _rows(path, EXPERT_AXES):
        columns.setdefault(int(number), {})[int(tokens)] = us
    for number in (experts.used, experts.count):
        if number not in columns:
            raise SailsimError(f"{path} has no row of activated_experts {number}; allowed is a whole grid.")
    lines = {number: Line(points.items()) for number, points in columns.items()}

    def at(tokens: int) -> float:
        found = ((number, line(max(tokens, line.keys[0]))) for number, line in lines.items())
        return Line(found)(_taken(experts, tokens))

    every = {*range(1, ceil(experts.count / experts.used) + 1), *columns[experts.count]}
    return Line((tokens, at(tokens)) for tokens in every)


def _summed(path: Path, column: str, calls: Mapping[str, int]) -> Line:
    """Microseconds of all layers by a column, each called so often."""
    points: dict[str, dict[int, float]] = {}
    for name, (x, us) in _rows(path, (column,)):
        points.setdefault(str(name), {})[int(x)] = us
    wrong = [f"no layer {name}" for name in calls if name not in points]
    wrong += [f"the layer {name}" for name in points if name not in calls]
    if wrong:
        raise SailsimError(f"{path} has {wrong[0]}; allowed are {', '.join(calls)}.")
    lines = {name: Line(points[name].items()) for name in calls}
    xs = {x for line in lines.values() for x in line.keys}
    return Line((x, sum(count * lines[name](x) for name, count in calls.items())) for x in xs)
