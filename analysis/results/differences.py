"""Two folders of one kind of study, record by record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sailsim.analysis.costs.dollars import is_missing
from sailsim.analysis.results.columns import in_order
from sailsim.analysis.results.folder import Results
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import is_number
from sailsim.sim.study.folder import RESERVED

NOT_COMPARED = (*RESERVED, "host_s", "folder")
"""When, where and how long something ran is no result."""

Question = tuple[str, str, int]
"""Of a record: its point, its runner if it has one, and the how many-th of these it is."""


@dataclass(frozen=True)
class Differing:
    """A column whose values differ."""

    column: str
    """Of a mapping with the name in it, as in `phases.dram`."""
    records: int
    """How many."""
    rel: float | None
    """The largest |a - b| over the larger of |a| and |b|; None where values are no numbers."""
    a: Any
    b: Any
    """The values that differ most."""
    question: str
    """Of the record that has them, its `point_key`."""


@dataclass(frozen=True)
class Differences:
    """What two folders differ in."""

    matched: int
    """Records whose question both answer."""
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    """Questions, as `point_key`, that one has records of and the other has not, or fewer."""
    columns: tuple[Differing, ...]

    @property
    def equal(self) -> bool:
        """Whether there is none."""
        return not (self.only_a or self.only_b or self.columns)


def differences(a: Results, b: Results, rel: float = 1e-9) -> Differences:
    """What two folders' answers differ in, points matched by their question.

    Numbers differ if their relative deviation is above ``rel``; nothing equals nothing. Raises SailsimError
    for folders of different commands, one without results, and a tolerance that is not 0 or more.
    """
    if not 0 <= rel < math.inf:
        raise SailsimError(f"rel is {rel:g}; allowed is a number from 0 on.")
    if a.kind != b.kind:
        raise SailsimError(
            f"{a.store.path} is of `sailsim {a.kind}` and {b.store.path} of `sailsim {b.kind}`; allowed "
            "are two of one command."
        )
    one, other = _by_question(a.store.records()), _by_question(b.store.records())
    both = [question for question in one if question in other]
    stored = dict.fromkeys(name for side in (one, other) for record in side.values() for name in record)
    whole = {name: name.partition("\0")[0] for name in stored}
    order = in_order(dict.fromkeys(whole.values()), a.kind)
    columns = []
    for name in sorted(stored, key=lambda name: order.index(whole[name])):
        pairs = [(question[0], one[question].get(name), other[question].get(name)) for question in both]
        columns.append(_differing(name, pairs, rel))
    return Differences(
        len(both),
        tuple(dict.fromkeys(question[0] for question in one if question not in other)),
        tuple(dict.fromkeys(question[0] for question in other if question not in one)),
        tuple(filter(None, columns)),
    )


def _by_question(records: Iterable[Mapping[str, Any]]) -> dict[Question, dict[str, Any]]:
    """The values that are compared; those of a mapping each by the column's name, a zero byte and its own."""
    times: Counter[tuple[str, str]] = Counter()
    found = {}
    for record in records:
        point = (str(record["point_key"]), str(record.get("runner", "")))
        found[(*point, times[point])] = dict(_values(record))
        times[point] += 1
    return found


def _values(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}\0{each}", inner) for each, inner in value.items())
        elif name not in NOT_COMPARED:
            yield name, value


def _differing(name: str, pairs: Iterable[tuple[str, Any, Any]], rel: float) -> Differing | None:
    """How a column's values differ, given the question and both of each."""
    differing = [(_deviation(a, b), question, a, b) for question, a, b in pairs]
    differing = [each for each in differing if each[0] > rel]
    if not differing:
        return None
    largest, question, a, b = max(differing, key=lambda each: each[0])
    numbers = all(is_missing(value) or is_number(value) for _, _, *both in differing for value in both)
    a, b = (None if is_missing(value) else value for value in (a, b))
    return Differing(name.replace("\0", "."), len(differing), largest if numbers else None, a, b, question)


def _deviation(a: Any, b: Any) -> float:
    """Of numbers relative to the larger one; of others 0 where they are equal, else without end."""
    if (is_missing(a) and is_missing(b)) or a == b:
        return 0.0
    if is_number(a) and is_number(b):
        return float(abs(a - b) / max(abs(a), abs(b)))
    return math.inf
