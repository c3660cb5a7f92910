"""Two folders of one kind of study, record by record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sailsim.analysis.results.columns import in_order
from sailsim.analysis.results.folder import Results
from sailsim.base.errors import SailsimError
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
    one, other = _by_question(a.frame()), _by_question(b.frame())
    both = one.index.intersection(other.index, sort=False)
    names = in_order(dict.fromkeys([*one, *other]), a.kind)
    left, right = one.loc[both], other.loc[both]
    empty = pd.Series(None, index=both, dtype=object)
    found: list[Differing] = []
    for name in names:
        if name not in NOT_COMPARED:
            found += _differing(name, left.get(name, empty), right.get(name, empty), rel)
    return Differences(
        len(both),
        tuple(dict.fromkeys(key for key, _, _ in one.index.difference(both, sort=False))),
        tuple(dict.fromkeys(key for key, _, _ in other.index.difference(both, sort=False))),
        tuple(found),
    )


def _by_question(frame: pd.DataFrame) -> pd.DataFrame:
    runner = frame["runner"] if "runner" in frame else pd.Series("", index=frame.index)
    nth = frame.groupby([frame["point_key"], runner], sort=False).cumcount()
    index: list[Question] = list(zip(frame["point_key"], runner, nth, strict=True))
    return frame.set_axis(pd.MultiIndex.from_tuples(index))


def _differing(name: str, a: pd.Series[Any], b: pd.Series[Any], rel: float) -> Iterator[Differing]:
    if pd.api.types.is_numeric_dtype(a) and pd.api.types.is_numeric_dtype(b):
        yield from _numbers(name, a.astype(float), b.astype(float), rel)
        return
    if any(isinstance(value, Mapping) for value in (*a, *b)):
        for each in dict.fromkeys(key for value in (*a, *b) for key in value or ()):
            ours, theirs = (_named(side, each) for side in (a, b))
            yield from _numbers(f"{name}.{each}", ours, theirs, rel)
        return
    unequal = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if not _equal(x, y)]
    if unequal:
        i = unequal[0]
        yield Differing(name, len(unequal), None, _plain(a.iloc[i]), _plain(b.iloc[i]), a.index[i][0])


def _named(side: pd.Series[Any], name: str) -> pd.Series[Any]:
    found = [value.get(name, math.nan) if isinstance(value, Mapping) else math.nan for value in side]
    return pd.Series(found, index=side.index, dtype=float)


def _numbers(name: str, a: pd.Series[Any], b: pd.Series[Any], rel: float) -> Iterator[Differing]:
    x, y = a.to_numpy(), b.to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.abs(x - y) / np.maximum(np.abs(x), np.abs(y))
    deviation[(x == y) | (np.isnan(x) & np.isnan(y))] = 0.0
    deviation[np.isnan(deviation)] = math.inf  # a number beside nothing, or beside no end
    differ = deviation > rel
    if differ.any():
        i = int(deviation.argmax())
        yield Differing(
            name, int(differ.sum()), float(deviation[i]), _plain(x[i]), _plain(y[i]), a.index[i][0]
        )


def _equal(x: Any, y: Any) -> bool:
    if isinstance(x, np.ndarray | list) and isinstance(y, np.ndarray | list):
        return list(x) == list(y)
    if _missing(x) or _missing(y):
        return _missing(x) and _missing(y)
    return bool(x == y)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    """Python's own value, nothing as None."""
    found = value.tolist() if isinstance(value, np.generic | np.ndarray) else value
    return None if _missing(found) else found
