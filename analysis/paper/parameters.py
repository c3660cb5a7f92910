"""What is not published, one by one: a factor with a range or choices and its reason, and what is held equal.

A factor maps a number u in [0, 1] to a value. `space` puts factors together, `machine` makes a machine of
values, `unknowns` reads all of it from a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import exp, log
from typing import Any, Literal, Self

from pydantic import model_validator

from sailsim.analysis.paper.claims import with_tuples
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Frozen
from sailsim.sim.point import Point

Group = Literal["machine", "software", "card", "weights", "cost", "area"]
Value = int | float | str | bool

TAIL = 0.01
"""Share of a normal distribution's ends that is not drawn."""


@dataclass(frozen=True)
class Factor:
    """One unknown.

    Discrete ones have `values`; others a range `low` .. `high`, drawn evenly or, if `log`, evenly in the
    logarithm; `centred` ones as often below `nominal` as above, each side evenly in the logarithm; `normal`
    ones are standard normal numbers that a group's covariance turns into values.
    """

    name: str
    group: Group
    reason: str
    unit: str = ""
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 1.0
    whole: bool = False
    log: bool = False
    normal: bool = False
    centred: bool = False
    nominal: Value = 0.0

    def at(self, u: float) -> Value:
        """The value at u in [0, 1]."""
        if self.values:
            return self.values[min(int(u * len(self.values)), len(self.values) - 1)]
        if self.normal:
            from scipy.special import ndtri  # of the extra `study`

            return float(ndtri(min(max(u, TAIL), 1 - TAIL)))
        if self.whole:
            if self.log:
                value = exp(log(self.low - 0.5) + u * (log(self.high + 0.5) - log(self.low - 0.5)))
                return int(min(max(round(value), self.low), self.high))
            return int(min(self.low + int(u * (self.high - self.low + 1)), self.high))
        if self.centred:
            middle = float(self.nominal)
            ends, way = ((self.low, middle), 2 * u) if u < 0.5 else ((middle, self.high), 2 * u - 1)
            return float(exp(log(ends[0]) + way * (log(ends[1]) - log(ends[0]))))
        if self.log:
            return float(exp(log(self.low) + u * (log(self.high) - log(self.low))))
        return float(self.low + u * (self.high - self.low))

    @property
    def span(self) -> str:
        """Range or choices in words."""
        if self.values:
            return ", ".join(str(v) for v in self.values)
        if self.normal:
            return f"{self.low:.3g} .. {self.high:.3g} (normal)"
        how = " (half of all below the nominal value)" if self.centred else " (log)" if self.log else ""
        return f"{self.low:g} .. {self.high:g}{how}"

    def levels(self) -> tuple[Value, ...]:
        """What a search tries: every choice, or the ends and the quarters between them."""
        if self.values:
            return self.values
        return tuple(dict.fromkeys(self.at(u) for u in (0.0, 0.25, 0.5, 0.75, 1.0)))


class Workload(Frozen):
    """One point of the declared set."""

    name: str
    model: str
    wbits: int
    batch: int
    threads: int
    context: int
    reason: str
    fixed: bool = False
    decides: bool = False
    """Whether sensitivity is of the highest over these alone, which is where claims are highest."""
    prt: bool = False
    """Whether a step without the PRT is simulated beside it."""

    @model_validator(mode="after")
    def _is_a_point(self) -> Self:
        try:
            self.point(Point.system, 0)
        except SailsimError as error:
            raise ValueError(str(error).rstrip(".")) from None
        return self

    def point(self, system: str, group_size: int, prt: bool = True) -> Point:
        """The engine's question."""
        return _point(self, system, group_size, prt)


@lru_cache(maxsize=256)
def _point(workload: Workload, system: str, group_size: int, prt: bool) -> Point:
    """The same for every machine of a name."""
    return Point(
        system=system,
        model=workload.model,
        wbits=workload.wbits,
        batch=workload.batch,
        threads=workload.threads,
        context=workload.context,
        group_size=group_size,
        prt=prt,
    )


class FixedParameter(Frozen):
    """What is held equal, and why."""

    name: str
    value: str
    reason: str


class Alternative(Frozen):
    """Another design: values of the system file that replace a machine's."""

    name: str
    values: dict[str, Value]
    drawn: tuple[str, ...] = ()
    """Values that only this design depends on: they are drawn for it alone, and are no factors."""
    reason: str

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, table: Any) -> Any:
        return with_tuples(table, "drawn")
