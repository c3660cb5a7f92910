"""Seconds of mixed steps (chunks of prompts with decoding sequences), fast enough for every step of a server.

Fitted software has a formula, which `Backend.timer` evaluates; steps that only decode are interpolated over
the tokens of all sequences. An accelerator's step depends on rows, on sequences (the head), and on the keys
and pairs of attention alone: a node of some rows has a line over the keys, seconds a pair, and seconds of the
head. Nodes are made when they are first needed; between two nodes seconds are linear in rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import floor, inf, log2

from sailsim.sim.backend import Backend, StepQuery, load_backend
from sailsim.sim.software.fitted import mixed_demand
from sailsim.workloads.models.graph import Chunk

EVERY_ROW = 16
"""Rows up to which each number is a node: few rows wait for weights in a pattern of their own. Hardware that
takes rows in whole rounds has a node for every number."""
NODES = 4
"""Nodes above, from a number of rows to its double."""
CONTEXTS = (1, 64, 512, 4096, 32768)
"""Tokens of a sequence at the first points of a line; the last segment is extended."""
LARGEST_ERROR = 0.003
"""Largest relative error at a segment's midpoint before it is split."""
PREFIX = 2048
"""Tokens before a chunk from which the seconds of a pair of attention are derived."""

CORES_PROMPTS, CORES_CONTEXTS = (1, 8, 32, 128, 512), (64, 512, 1024, 2048, 4096)
"""First points with prompts on the cores: tokens of the prompt, and of each decoding sequence."""
CORES_NODES, CORES_LARGEST_ERROR = 2, 0.008
"""`NODES` and `LARGEST_ERROR` of steps with prompts on the cores."""


class StepSurface:
    """Seconds of any mixed step of one machine, software, model and format.

    Made from a backend and a query, whose phase, batch, prompt and context do not matter, nor does the size
    of the memory. With several processes of a software, this is one of them on all cores.

    With prompts on the cores while units decode, a step takes the seconds of the prompts alone and what
    decoding adds: all of it next to no prompt, its work on the cores next to long ones. That is interpolated
    from steps with some lengths of a prompt, some contexts and some numbers of sequences.
    """

    def __init__(self, backend: Backend, query: StepQuery) -> None:
        backend.check_prefill(query)
        self._backend, self._query = backend, query
        self._time = backend.timer(query)
        self._formula = backend.kind != "accelerator"
        self._every = EVERY_ROW if backend.piecewise_linear else inf
        self._sums = mixed_demand(query.model, query.fmt).sums
        self._windowed = bool(query.model.sliding_window)
        self._line, self._node = cache(self._make_line), cache(self._make_node)
        if query.prefill != "units":
            alone = replace(query, prefill="units", software=query.host_software)
            self._prompt_time = load_backend("cores").timer(alone)
            self._cores_line = cache(self._make_cores_line)

    def seconds(self, prefill: Sequence[tuple[int, int]], decode_contexts: Sequence[int]) -> float:
        """Seconds of a step.

        Every chunk and every sequence has a row of the head. Raises SailsimError where the software's prompts
        are not known, for a step without a row, and for a chunk without a token.

        Args:
            prefill: chunks of prompts, each its new tokens and those before it in the cache.
            decode_contexts: tokens of each decoding sequence, with the new one.
        """
        rows, chunks = len(decode_contexts), tuple(Chunk(*each) for each in prefill)
        if not chunks and rows:
            keys = self._sums(_grouped(decode_contexts))[2] if self._windowed else sum(decode_contexts)
            return self.decoding(rows, keys)
        on_cores = inf
        if self._query.prefill != "units" and chunks:
            on_cores = self._seconds_on_cores(chunks, decode_contexts)
            if self._query.prefill != "auto":
                return on_cores
        chunks += _grouped(decode_contexts) if self._windowed else _averaged(decode_contexts)
        if self._formula:
            return self._time(chunks)
        rows, sequences, keys, pairs = self._sums(chunks)
        head = self._head(rows) - self._head(sequences)

        def units(node: int) -> float:
            line, pair, _ = self._node(node)
            return line(keys) + pair * (pairs - keys)

        return min(on_cores, _between(rows, self._every, units) - head)

    def _head(self, sequences: int) -> float:
        """Seconds of the head's rows beyond the first."""
        return _between(sequences, self._every, lambda node: self._node(node)[2])

    def decoding(self, rows: int, keys: float) -> float:
        """Seconds of a step with only decoding sequences, whose attention reads so many keys together."""
        return _between(rows, self._every, lambda node: self._line(node)(keys))

    def _make_line(self, rows: int) -> PiecewiseLine:
        """Seconds of so many decoding sequences over the keys that their attention reads."""

        def point(context: int) -> tuple[float, float, int]:
            chunks = (Chunk(1, context - 1, rows),)
            return self._sums(chunks)[2], self._time(chunks), context

        first = 2 if self._formula else 1  # a context of 1 is fitted by a constant of its own
        return PiecewiseLine(_refined(point, [max(context, first) for context in CONTEXTS]))

    def _make_node(self, rows: int) -> tuple[PiecewiseLine, float, float]:
        """Line of decoding, seconds of a pair that is no key, and seconds of the head's rows beyond the
        first."""
        line, prompts = self._line(rows), []
        for before in (0, PREFIX):
            chunks = (Chunk(rows, before),)
            _, _, keys, pairs = self._sums(chunks)
            prompts.append((self._time(chunks) - line(keys), pairs - keys))
        (first, few), (second, many) = prompts
        pair = (second - first) / (many - few) if many > few else 0.0
        return line, pair, pair * few - first

    def _seconds_on_cores(self, prompts: tuple[Chunk, ...], contexts: Sequence[int]) -> float:
        """Seconds with prompts on the cores. Chunks of one token after others go to the units."""
        contexts = [*contexts, *(chunk.tokens for chunk in prompts if chunk.decodes)]
        prompts, rows = tuple(chunk for chunk in prompts if not chunk.decodes), len(contexts)
        if not prompts:
            return self.seconds((), contexts)
        alone = self._prompt_time(prompts)
        if not rows:
            return alone
        mean = sum(contexts) / rows
        ratio = alone / self.seconds((), contexts)
        at = min(max(bisect_right(CORES_CONTEXTS, mean), 1), len(CORES_CONTEXTS) - 1)

        def added(node: int) -> float:
            near = CORES_CONTEXTS[at - 1 : at + 1]
            lines = ((context, *self._cores_line(node, context)) for context in near)
            return PiecewiseLine((at, scale * (line(ratio) - ratio)) for at, scale, line in lines)(mean)

        return alone + _between(rows, 4, added, CORES_NODES)

    def _make_cores_line(self, rows: int, context: int) -> tuple[float, PiecewiseLine]:
        """Seconds of decoding, and a line in their unit: seconds of the step over those of its prompts."""
        decoding = self.seconds((), [context] * rows)

        def point(prompt: int) -> tuple[float, float, int]:
            chunks = Chunk(prompt), Chunk(1, context - 1, rows)
            step = self._backend.step(replace(self._query, prefill="cores", chunks=chunks)).step_s
            return self._prompt_time(chunks[:1]) / decoding, step / decoding, prompt

        points = _refined(point, CORES_PROMPTS, CORES_LARGEST_ERROR)
        ratio, step, _ = max(points)
        return decoding, PiecewiseLine([(0.0, 1.0), *points, (ratio + 1e3, step + 1e3)])


def _refined(
    point: Callable[[int], tuple[float, float, int]],
    sizes: Sequence[int],
    largest_error: float = LARGEST_ERROR,
) -> list[tuple[float, float, int]]:
    """Points (x, seconds, size) of a line at some sizes, and at sizes between as far as it bends there."""
    points = [point(size) for size in sizes]
    segments = list(pairwise(points))
    while segments:
        low, high = segments.pop()
        x, seconds, _ = middle = point((low[2] + high[2]) // 2)
        points.append(middle)
        error = abs(PiecewiseLine([low, high])(x) - seconds)
        if error > largest_error * seconds and high[2] - low[2] > 4:
            segments += [(low, middle), (middle, high)]
    return points


def _between(rows: int, every: float, seconds: Callable[[int], float], nodes: int = NODES) -> float:
    """Seconds of so many rows, interpolated between nodes; up to ``every`` rows each number is a node."""
    if rows <= every:
        return seconds(rows)
    step = floor(nodes * log2(rows))
    low, high = (round(2 ** (each / nodes)) for each in (step, step + 1))
    if rows < low:  # rounded up
        low, high = round(2 ** ((step - 1) / nodes)), low
    first = seconds(low)
    return first + (seconds(high) - first) * (rows - low) / (high - low)


class PiecewiseLine:
    """Piecewise linear function, extended beyond its points; constant with one point."""

    def __init__(self, points: Iterable[tuple[float, ...]]) -> None:
        """Each point begins with its x and y."""
        values = {point[0]: point[1] for point in points}
        self.xs = sorted(values)
        self._ys = [values[x] for x in self.xs]

    def __call__(self, x: float) -> float:
        """Value at ``x``."""
        if len(self.xs) == 1:
            return self._ys[0]
        at = min(max(bisect_right(self.xs, x), 1), len(self.xs) - 1)
        low, first = self.xs[at - 1], self._ys[at - 1]
        return first + (self._ys[at] - first) * (x - low) / (self.xs[at] - low)


def _grouped(contexts: Sequence[int]) -> tuple[Chunk, ...]:
    return tuple(Chunk(1, tokens - 1, times) for tokens, times in Counter(contexts).items())


def _averaged(contexts: Sequence[int]) -> tuple[Chunk, ...]:
    """Decoding sequences as chunks of at most two contexts with as many tokens: equal without windows."""
    if not contexts:
        return ()
    tokens, longer = divmod(sum(contexts), len(contexts))
    shorter = Chunk(1, tokens - 1, len(contexts) - longer)
    return (shorter, Chunk(1, tokens, longer)) if longer else (shorter,)
