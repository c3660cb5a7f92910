"""Seconds of mixed steps, prompt pieces beside decoding sequences, fast enough for a server's every step.

Fitted software has a formula, which `Backend.timer` evaluates; steps that decode alone are kept as lines over
the tokens of all sequences. An accelerator's step depends on rows, on sequences (the head), and on the keys
and pairs of attention alone: a node, of so many rows, has a line over the keys, and slopes by pairs and by
sequences. Nodes are made when they are first asked for, and between two of them seconds are linear in rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from math import floor, log2
from typing import NamedTuple

from sailsim.sim.backend import Backend, Request
from sailsim.sim.fitted import works_of
from sailsim.workloads.graph import Piece

EVERY_ROW = 16
"""Rows up to which each number has a node: with few, products wait for weights in a way of their own."""
NODES = 4
"""Nodes above, from a number of rows to its double."""
CONTEXTS = (1, 64, 512, 4096, 32768)
"""Tokens of a sequence at which a line is begun; beyond the last it goes on as before it."""
BENT = 0.003
"""Of its seconds, what a line may be off in the middle before it has another corner there."""
BEFORE = 2048
"""Tokens before the piece that shows what pairs of attention take."""


class StepSurface:
    """Seconds of any mixed step of one machine, software, model and format.

    Made from what runs steps and from what a step is asked for: of its point, phase, batch, prompt and
    context are of no account, nor is what the memory holds. Where a runner has several processes, this is
    one of them, on all of its cores.
    """

    def __init__(self, backend: Backend, asked: Request) -> None:
        self._time = backend.timer(asked)
        self._formula = backend.kind != "accelerator"
        self._sums = works_of(asked.model, asked.fmt).sums
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
        rows, pieces = len(decode_contexts), tuple(Piece(*each) for each in prefill)
        if not pieces and rows:
            if not self._windowed:
                return self._between(rows, lambda node: self._line(node)(sum(decode_contexts)))
            keys = self._sums(_counted(decode_contexts))[2]
            return self._between(rows, lambda node: self._line(node)(keys))
        pieces += _counted(decode_contexts) if self._windowed else _evened(decode_contexts)
        if self._formula:
            return self._time(pieces)
        rows, sequences, keys, pairs = self._sums(pieces)
        return self._between(rows, lambda node: self._node(node)(node, sequences, keys, pairs))

    def _between(self, rows: int, seconds: Callable[[int], float]) -> float:
        """Of so many rows, from the nodes around them."""
        if rows <= EVERY_ROW or self._formula:
            return seconds(rows)
        step = floor(NODES * log2(rows))
        low, high = (round(2 ** (each / NODES)) for each in (step, step + 1))
        if rows < low:  # rounded up
            low, high = round(2 ** ((step - 1) / NODES)), low
        first = seconds(low)
        return first + (seconds(high) - first) * (rows - low) / (high - low)

    def _make_line(self, rows: int) -> _Line:
        """Seconds of so many sequences that decode, over the keys that their attention reads."""

        def at(context: int) -> _Corner:
            piece = (Piece(1, context - 1, rows),)
            return _Corner(self._sums(piece)[2], self._time(piece), context)

        corners = [at(max(context, self._first)) for context in CONTEXTS]
        ends = list(pairwise(corners))
        while ends:
            low, high = ends.pop()
            middle = at((low.context + high.context) // 2)
            corners.append(middle)
            off = abs(_Line([low, high])(middle.keys) - middle.seconds)
            if off > BENT * middle.seconds and high.context - low.context > 4:
                ends += [(low, middle), (middle, high)]
        return _Line(corners)

    def _make_node(self, rows: int) -> _Node:
        line, prompts = self._line(rows), []
        for before in (0, BEFORE):
            piece = (Piece(rows, before),)
            _, _, keys, pairs = self._sums(piece)
            prompts.append((self._time(piece) - line(keys), pairs - keys))
        (first, few), (second, many) = prompts
        pair = (second - first) / (many - few) if many > few else 0.0
        return _Node(line, pair, (pair * few - first) / max(rows - 1, 1))


class _Corner(NamedTuple):
    """Of a line; ordered by keys."""

    keys: float
    seconds: float
    context: int


class _Line:
    """Linear between its corners, and beyond them."""

    def __init__(self, corners: Sequence[_Corner]) -> None:
        by_keys = {corner.keys: corner.seconds for corner in corners}
        self._keys = sorted(by_keys)
        self._seconds = [by_keys[keys] for keys in self._keys]

    def __call__(self, keys: float) -> float:
        if len(self._keys) == 1:
            return self._seconds[0]
        at = min(max(bisect_right(self._keys, keys), 1), len(self._keys) - 1)
        low, first = self._keys[at - 1], self._seconds[at - 1]
        return first + (self._seconds[at] - first) * (keys - low) / (self._keys[at] - low)


class _Node(NamedTuple):
    """Steps of so many rows."""

    line: _Line
    """Where all of them decode."""
    pair: float
    """Seconds of a pair that is no key."""
    sequence: float
    """Seconds of a row of the head."""

    def __call__(self, rows: int, sequences: float, keys: float, pairs: float) -> float:
        return self.line(keys) + self.pair * (pairs - keys) - self.sequence * (rows - sequences)


def _counted(contexts: Sequence[int]) -> tuple[Piece, ...]:
    """Sequences that decode."""
    return tuple(Piece(1, tokens - 1, times) for tokens, times in Counter(contexts).items())


def _evened(contexts: Sequence[int]) -> tuple[Piece, ...]:
    """As many sequences of as many tokens together, of two contexts at most: without windows they are as
    good."""
    if not contexts:
        return ()
    tokens, longer = divmod(sum(contexts), len(contexts))
    shorter = Piece(1, tokens - 1, len(contexts) - longer)
    return (shorter, Piece(1, tokens, longer)) if longer else (shorter,)
