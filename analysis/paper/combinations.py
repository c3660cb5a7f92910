"""Which readings of a paper's claims may hold together: declared in a file, before any machine is drawn.

`data/combinations/<paper>.toml` has groups of claims with the readings that go together; a combination takes
one row of every group. What all combinations come to for many machines at once is the product's work, not
that of each: the largest of several distances is least where each of them is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
from pydantic import Field, ValidationError, model_validator

from sailsim.analysis.paper.claims import Claim, ClaimMetric, Paper, with_tuples
from sailsim.analysis.paper.metrics import Numbers, highest
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Frozen
from sailsim.sim.tables import Shelf, sentence

COMBINATIONS = Shelf("combinations", "data/combinations", package="sailsim.analysis")
"""The files."""
Where = Literal["highest", "one workload"]
WHERE: tuple[Where, ...] = get_args(Where)
"""Each claim at the workload where it is highest, or all at one and the same."""
Metric = tuple[str, int]
"""A claim by its name, and which of its metrics of sampled machines."""
Values = Mapping[Metric, Numbers]
"""Of every metric, (machines, workloads)."""


class Together(Frozen):
    """Readings of some claims that go together: a `[[together]]` table."""

    claims: tuple[str, ...]
    readings: tuple[tuple[str, ...], ...]
    """Rows, each with a reading of every claim, by its words."""
    reason: str = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, table: Any) -> Any:
        table = with_tuples(table, "claims", "readings")
        if isinstance(table, dict) and isinstance(table.get("readings"), tuple):
            rows = (tuple(row) if isinstance(row, list) else row for row in table["readings"])
            return table | {"readings": tuple(rows)}
        return table


class _File(Frozen):
    extends: tuple[str, ...] = ()
    where: tuple[Where, ...]
    together: tuple[Together, ...]

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, table: Any) -> Any:
        return with_tuples(table, "where", "together")


@dataclass(frozen=True)
class Combination:
    """One reading of every claim, and where they are read off."""

    where: Where
    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class Combinations:
    """All that a file declares for a paper."""

    paper: Paper
    where: tuple[Where, ...]
    groups: tuple[tuple[tuple[Metric, ...], ...], ...]
    """Of every group its rows; a row has a metric of each of the group's claims."""
    reasons: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many combinations there are."""
        return len(self.where) * math.prod(len(rows) for rows in self.groups)

    def all(self) -> Iterator[Combination]:
        """Every combination."""
        for where, rows in product(self.where, product(*self.groups)):
            yield Combination(where, tuple(metric for row in rows for metric in row))

    @property
    def primary(self) -> Combination:
        """Every claim's primary reading, each at its highest."""
        metrics = tuple((c.name, _place(c, c.primary)) for c in self.paper.claim)
        return Combination("highest", metrics)

    def nearest(self, values: Values, targets: Mapping[str, float] | None = None) -> Numbers:
        """How far each machine is from all claims at once, by the combination that suits it best.

        ``targets`` are numbers in the place of the paper's. The distance is the largest |log(value / number)|
        of the claims; infinite where one has no value, or 0.
        """
        wanted = targets if targets is not None else {c.name: c.value for c in self.paper.claim}
        found = [self._nearest(values, wanted, where) for where in self.where]
        return np.asarray(np.min(found, axis=0))

    def _nearest(self, values: Values, wanted: Mapping[str, float], where: Where) -> Numbers:
        """The largest over the groups of the least over a group's rows, which no product has to be tried
        for."""
        groups = []
        for rows in self.groups:
            of_rows = [np.max([off(values[m], wanted[m[0]], where) for m in row], axis=0) for row in rows]
            groups.append(np.min(of_rows, axis=0))
        worst = np.max(groups, axis=0)
        return np.asarray(worst if where == "highest" else worst.min(axis=-1))

    def distance(self, values: Values, combination: Combination) -> Numbers:
        """As `nearest`, of one combination."""
        wanted = {c.name: c.value for c in self.paper.claim}
        offs = [off(values[m], wanted[m[0]], combination.where) for m in combination.metrics]
        worst = np.max(offs, axis=0)
        return np.asarray(worst if combination.where == "highest" else worst.min(axis=-1))

    def at(self, values: Values, combination: Combination, machine: int) -> dict[str, tuple[float, int]]:
        """Of one machine: each claim's value and the place of the workload where it is read off."""
        shown = {m: values[m][machine] for m in combination.metrics}
        if combination.where == "highest":
            places = {m: int(np.nanargmax(v)) if np.isfinite(v).any() else 0 for m, v in shown.items()}
        else:
            wanted = {c.name: c.value for c in self.paper.claim}
            worst = np.max([off(v, wanted[m[0]], "one workload") for m, v in shown.items()], axis=0)
            places = dict.fromkeys(shown, int(np.argmin(worst)))
        return {m[0]: (float(v[places[m]]), places[m]) for m, v in shown.items()}


def off(values: Numbers, wanted: float, where: Where) -> Numbers:
    """|log(value / wanted)| of values (..., workloads): of the highest, or workload by workload; infinite for
    what is no number above 0."""
    found = highest(values) if where == "highest" else values
    with np.errstate(divide="ignore", invalid="ignore"):
        gone = np.abs(np.log(found / wanted))
    return np.where(np.isfinite(gone), gone, np.inf)


def load_combinations(name_or_path: str, paper: Paper) -> Combinations:
    """A file of combinations by name or path, for a paper.

    Raises SailsimError that names the file and the field: a claim that is missing or in two groups, a reading
    that a claim does not have.
    """
    what = f"combinations {name_or_path}"
    try:
        file = _File.model_validate(COMBINATIONS.read(name_or_path))
    except ValidationError as error:
        raise SailsimError(sentence(what, error, "a field of such a file")) from None
    named = [name for group in file.together for name in group.claims]
    if sorted(named) != sorted(claim.name for claim in paper.claim):
        raise SailsimError(
            f"{what}: claims of its groups are {', '.join(named)}, allowed is each of "
            f"{', '.join(claim.name for claim in paper.claim)} once"
        )
    if not file.where:
        raise SailsimError(f"{what}: where is empty, allowed are {' and '.join(WHERE)}")
    groups = tuple(tuple(_row(what, paper, group, row) for row in group.readings) for group in file.together)
    if not all(groups):
        raise SailsimError(f"{what}: readings of a group is empty, allowed is at least one row")
    return Combinations(paper, file.where, groups, tuple(group.reason for group in file.together))


def _row(what: str, paper: Paper, group: Together, row: Sequence[str]) -> tuple[Metric, ...]:
    if len(row) != len(group.claims):
        raise SailsimError(
            f"{what}: readings has a row of {len(row)}, allowed is one of {len(group.claims)}, for "
            f"{', '.join(group.claims)}"
        )
    found = []
    for name, words in zip(group.claims, row, strict=True):
        claim = paper.by_name(name)
        known = [metric.words for metric in claim.metrics("samples")]
        if words not in known:
            raise SailsimError(f"{what}: a reading of {name} is {words!r}, allowed are {'; '.join(known)}")
        found.append((name, known.index(words)))
    return tuple(found)


def _place(claim: Claim, metric: ClaimMetric) -> int:
    return claim.metrics("samples").index(metric)
