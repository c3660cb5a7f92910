"""The space of what is not published: every factor, the workloads, what is held equal, other designs.

A row of numbers u in [0, 1], one a factor, is a `SampledMachine`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sailsim.analysis.costs.dollars import Price
from sailsim.analysis.paper.claims import Paper
from sailsim.analysis.paper.machine import SampledMachine
from sailsim.analysis.paper.parameters import Alternative, Factor, FixedParameter, Workload
from sailsim.analysis.results.runs import Runner
from sailsim.base.errors import SailsimError
from sailsim.sim.backends.cores import Software

Row = NDArray[np.float64]


@dataclass(frozen=True)
class ParameterSpace:
    """All factors, the workloads, what is held, other designs, and the claims that all of it is about."""

    factors: tuple[Factor, ...]
    workloads: tuple[Workload, ...]
    held: tuple[FixedParameter, ...]
    alternatives: tuple[Alternative, ...]
    apart: tuple[Factor, ...]
    """What is drawn for an alternative alone (`Alternative.drawn`): nothing else depends on it."""
    hosts: Mapping[Software, str]
    """The system whose cores run a software; the first is the nominal one."""
    servers: tuple[Price, ...]
    """Instances of which one is rented; first the nominal one."""
    paper: Paper

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the factors in order."""
        return tuple(factor.name for factor in self.factors)

    def factor(self, name: str) -> Factor:
        """A factor by name. Raises SailsimError for an unknown one."""
        if name not in self.names:
            raise SailsimError(f"factor is {name!r}, allowed are {', '.join(self.names)}")
        return self.factors[self.names.index(name)]

    @property
    def deciding(self) -> tuple[int, ...]:
        """Indices of the workloads that sensitivity is of."""
        return tuple(i for i, w in enumerate(self.workloads) if w.decides)

    @property
    def fixed(self) -> int:
        """Index of the fixed workload."""
        return next(i for i, w in enumerate(self.workloads) if w.fixed)

    def only(self, names: Sequence[str]) -> ParameterSpace:
        """The space of some factors; the others are held at their nominal values."""
        return replace(self, factors=tuple(f for f in self.factors if f.name in names))

    def draw(self, row: Sequence[float] | Row) -> SampledMachine:
        """The machine of a row of u's, one a factor.

        Raises SailsimError for a row of another length or outside [0, 1].
        """
        if len(row) != len(self.factors) or not all(0 <= u <= 1 for u in row):
            raise SailsimError(
                f"row has {len(row)} numbers, allowed are {len(self.factors)} between 0 and 1, one a factor"
            )
        values = {f.name: f.at(float(u)) for f, u in zip(self.factors, row, strict=True)}
        return SampledMachine(values, self.hosts)

    def design(
        self, alternative: Alternative, machine: SampledMachine, seed: Sequence[int]
    ) -> SampledMachine:
        """A machine with another design, and with what only that depends on drawn from a seed."""
        rng = np.random.default_rng(seed)
        drawn = {f.name: f.at(float(rng.random())) for f in self.apart if f.name in alternative.drawn}
        return machine.with_values(alternative.values | drawn)

    @property
    def software(self) -> Software:
        """What the nominal machine's cores run."""
        return next(iter(self.hosts))

    @property
    def nominal(self) -> SampledMachine:
        """The machine with every factor at its nominal value."""
        return SampledMachine({}, self.hosts)

    def host_of(self, runner: Runner) -> Software:
        """The software of SAIL's cores beside a runner: its own on cores, the nominal one beside a card."""
        return next((s for s in self.hosts if runner.kind == "cores" and s == runner.software), self.software)


def scatters_as(runner: Runner) -> str:
    """What a runner's measurements scatter with: others of its software on cores, others of the card."""
    return runner.software if runner.kind == "cores" else runner.hardware
