"""Seconds of mixed steps, prompt pieces beside decoding sequences, fast enough for a server's every step.

Fitted software has a formula, which `Backend.timer` evaluates; steps that decode alone are kept as lines over
the tokens of all sequences. An accelerator's step depends on rows, on sequences (the head), and on the keys
and pairs of attention alone: a node, of so many rows, has a line over the keys, a slope by pairs, and what
the head takes. Nodes are made when they are first asked for; between two of them seconds are linear in rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import floor, inf, log2
from typing import NamedTuple

from sailsim.sim.backend import Backend, StepQuery, load_backend
from sailsim.sim.software.fitted import mixed_demand
from sailsim.workloads.models.graph import Chunk

EVERY_ROW = 16
"""Rows up to which each number has a node: with few, products wait for weights in a way of their own. What
works rows in whole rounds has one for every number."""
NODES = 4
"""Nodes above, from a number of rows to its double."""
CONTEXTS = (1, 64, 512, 4096, 32768)
"""Tokens of a sequence at which a line is begun; beyond the last it goes on as before it."""
BENT = 0.003
"""Of its seconds, what a line may be off in the middle before it has another corner there."""
BEFORE = 2048
"""Tokens before the piece that shows what pairs of attention take."""

BESIDE_PROMPTS, BESIDE_CONTEXTS = (1, 8, 32, 128, 512), (64, 512, 1024, 2048, 4096)
"""Tokens of a prompt on the cores at which a line of steps of both is begun, and of each sequence beside."""
BESIDE_NODES, BESIDE_BENT = 2, 0.008
"""Of such steps, as `NODES` and `BENT`."""


class StepSurface:
    """Seconds of any mixed step of one machine, software, model and format.

    Made from what runs steps and from what a step is asked for: of its point, phase, batch, prompt and
    context are of no account, nor is what the memory holds. Where a runner has several processes, this is
    one of them, on all of its cores.
    """

    def __init__(self, backend: Backend, asked: StepQuery) -> None:
        backend.check_prefill(asked)
        self._time = backend.timer(asked)
        self._beside = None if asked.prefill == "units" else _PrefillOnCores(backend, asked, self)
        self._auto = asked.prefill == "auto"
        self._formula = backend.kind != "accelerator"
        self._every = EVERY_ROW if backend.smooth else inf
        self._sums = mixed_demand(asked.model, asked.fmt).sums
        self._windowed = bool(asked.model.sliding_window)
        self._first = 2 if self._formula else 1  # context of a sequence that decodes by a fitted constant
        self._line, self._node = cache(self._make_line), cache(self._make_node)

    def seconds(self, prefill: Sequence[tuple[int, int]], decode_contexts: Sequence[int]) -> float:
        """Seconds of a step.

        Every piece and every sequence has a row of the head. Raises SailsimError where the software's prompts
        are not known, for a step without a row, and for a piece without a token.

        Args:
            prefill: pieces of prompts, each its new tokens and those before it in the cache.
            decode_contexts: of each sequence that decodes, its tokens with the new one.
        """
        rows, pieces = len(decode_contexts), tuple(Chunk(*each) for each in prefill)
        if not pieces and rows:
            windowed = self._windowed
            keys = self._sums(_counted(decode_contexts))[2] if windowed else sum(decode_contexts)
            return self.decoding(rows, keys)
        on_cores = inf
        if self._beside is not None and pieces:
            on_cores = self._beside.seconds(pieces, decode_contexts)
            if not self._auto:
                return on_cores
        pieces += _counted(decode_contexts) if self._windowed else _evened(decode_contexts)
        if self._formula:
            return self._time(pieces)
        rows, sequences, keys, pairs = self._sums(pieces)
        head = self._head(rows) - self._head(sequences)
        units = _between(rows, self._every, lambda node: self._node(node)(keys, pairs))
        return min(on_cores, units - head)

    def _head(self, sequences: int) -> float:
        """Seconds of so many rows of the head beyond the first's."""
        return _between(sequences, self._every, lambda node: self._node(node).head)

    def decoding(self, rows: int, keys: float) -> float:
        """Seconds of so many sequences that decode, which read so many keys together."""
        return _between(rows, self._every, lambda node: self._line(node)(keys))

    def _make_line(self, rows: int) -> PiecewiseLine:
        """Seconds of so many sequences that decode, over the keys that their attention reads."""

        def at(context: int) -> _LinePoint:
            piece = (Chunk(1, context - 1, rows),)
            return _LinePoint(self._sums(piece)[2], self._time(piece), context)

        return PiecewiseLine(_bent(at, [max(context, self._first) for context in CONTEXTS]))

    def _make_node(self, rows: int) -> _RowSteps:
        line, prompts = self._line(rows), []
        for before in (0, BEFORE):
            piece = (Chunk(rows, before),)
            _, _, keys, pairs = self._sums(piece)
            prompts.append((self._time(piece) - line(keys), pairs - keys))
        (first, few), (second, many) = prompts
        pair = (second - first) / (many - few) if many > few else 0.0
        return _RowSteps(line, pair, pair * few - first)


class _PrefillOnCores:
    """Steps with prompts on the cores while units decode: what the prompts take by themselves, and what
    decoding adds, which is all of it beside none and its work on the cores beside long ones.

    That was timed at some lengths of a prompt and some contexts, for some numbers of sequences.
    """

    def __init__(self, backend: Backend, asked: StepQuery, surface: StepSurface) -> None:
        self._backend, self._asked, self._surface = backend, replace(asked, prefill="cores"), surface
        self._prompts = load_backend("cores").timer(replace(asked, prefill="units", software=asked.around))
        self._both = cache(self._make_both)

    def seconds(self, prompts: tuple[Chunk, ...], contexts: Sequence[int]) -> float:
        """Of a step. A piece of one token behind others is no prompt's: units work on it too."""
        contexts = [*contexts, *(piece.tokens for piece in prompts if piece.decodes)]
        prompts, rows = tuple(piece for piece in prompts if not piece.decodes), len(contexts)
        if not prompts:
            return self._surface.seconds((), contexts)
        alone = self._prompts(prompts)
        if not rows:
            return alone
        mean = sum(contexts) / rows
        share = alone / self._surface.seconds((), contexts)

        at = min(max(bisect_right(BESIDE_CONTEXTS, mean), 1), len(BESIDE_CONTEXTS) - 1)

        def added(node: int) -> float:
            near = BESIDE_CONTEXTS[at - 1 : at + 1]
            lines = ((context, *self._both(node, context)) for context in near)
            return PiecewiseLine((at, scale * (line(share) - share)) for at, scale, line in lines)(mean)

        return alone + _between(rows, 4, added, BESIDE_NODES)

    def _make_both(self, rows: int, context: int) -> tuple[float, PiecewiseLine]:
        """Seconds of decoding, and those of a step as a share of it over those of its prompts as a share."""
        decoding = self._surface.seconds((), [context] * rows)

        def at(prompt: int) -> _LinePoint:
            pieces = Chunk(prompt), Chunk(1, context - 1, rows)
            step = self._backend.step(replace(self._asked, pieces=pieces)).step_s
            return _LinePoint(self._prompts(pieces[:1]) / decoding, step / decoding, prompt)

        corners = _bent(at, BESIDE_PROMPTS, BESIDE_BENT)
        share, step, _ = max(corners)
        return decoding, PiecewiseLine([(0.0, 1.0), *corners, (share + 1e3, step + 1e3)])


def _bent(at: Callable[[int], _LinePoint], sizes: Sequence[int], bent: float = BENT) -> list[_LinePoint]:
    """Through corners of some sizes, and of others between them as far as it is bent there."""
    corners = [at(size) for size in sizes]
    ends = list(pairwise(corners))
    while ends:
        low, high = ends.pop()
        middle = at((low.size + high.size) // 2)
        corners.append(middle)
        off = abs(PiecewiseLine([low, high])(middle.keys) - middle.seconds)
        if off > bent * middle.seconds and high.size - low.size > 4:
            ends += [(low, middle), (middle, high)]
    return corners


def _between(rows: int, every: float, seconds: Callable[[int], float], nodes: int = NODES) -> float:
    """Of so many rows, from the nodes around them: up to ``every`` row each number is one."""
    if rows <= every:
        return seconds(rows)
    step = floor(nodes * log2(rows))
    low, high = (round(2 ** (each / nodes)) for each in (step, step + 1))
    if rows < low:  # rounded up
        low, high = round(2 ** ((step - 1) / nodes)), low
    first = seconds(low)
    return first + (seconds(high) - first) * (rows - low) / (high - low)


class _LinePoint(NamedTuple):
    """Of a line; ordered by keys."""

    keys: float
    seconds: float
    size: int
    """Of a sequence or a prompt, tokens."""


class PiecewiseLine:
    """Linear between its corners, and beyond them; one corner is everywhere."""

    def __init__(self, corners: Iterable[tuple[float, ...]]) -> None:
        """``corners``: where each is and what it is worth, before whatever else it has."""
        worth = {corner[0]: corner[1] for corner in corners}
        self.keys = sorted(worth)
        self._seconds = [worth[keys] for keys in self.keys]

    def __call__(self, keys: float) -> float:
        """What is at a place."""
        if len(self.keys) == 1:
            return self._seconds[0]
        at = min(max(bisect_right(self.keys, keys), 1), len(self.keys) - 1)
        low, first = self.keys[at - 1], self._seconds[at - 1]
        return first + (self._seconds[at] - first) * (keys - low) / (self.keys[at] - low)


class _RowSteps(NamedTuple):
    """Steps of so many rows."""

    line: PiecewiseLine
    """Where all of them decode."""
    pair: float
    """Seconds of a pair that is no key."""
    head: float
    """Seconds of the head's rows beyond the first."""

    def __call__(self, keys: float, pairs: float) -> float:
        return self.line(keys) + self.pair * (pairs - keys)


def _counted(contexts: Sequence[int]) -> tuple[Chunk, ...]:
    """Sequences that decode."""
    return tuple(Chunk(1, tokens - 1, times) for tokens, times in Counter(contexts).items())


def _evened(contexts: Sequence[int]) -> tuple[Chunk, ...]:
    """As many sequences of as many tokens together, of two contexts at most: without windows they are as
    good."""
    if not contexts:
        return ()
    tokens, longer = divmod(sum(contexts), len(contexts))
    shorter = Chunk(1, tokens - 1, len(contexts) - longer)
    return (shorter, Chunk(1, tokens, longer)) if longer else (shorter,)
