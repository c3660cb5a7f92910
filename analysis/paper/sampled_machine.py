"""A machine of the space of unknowns: values by factor, and its server, software and constants.

Fairness: SAIL's cores run the software of the CPU baseline, so a machine sets its cores' attention rate,
barrier and share of bandwidth from the same constants that its baseline is computed with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeVar, get_args

from sailsim.analysis.costs.constants import ConstantSet
from sailsim.analysis.uncertainty.prior import (
    ATTENTION,
    GROUP_SIZE,
    SAMPLED,
    FittedGroup,
    Value,
    machine_changes,
    moved,
    that_fits,
)
from sailsim.base.errors import SailsimError
from sailsim.sim.backends.cores import HOST_SOFTWARE, MEASURED, Software
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import N1, Fits, core_of, fitted_constants, host_constants

_C = TypeVar("_C", bound=ConstantSet)

FEW_BITS = (2, 3)
"""Widths whose kernels are as fast or slow together."""
FEW_BITS_RATE = "rate.few_bits"
"""The factor that says so: their speed over what `kernel_rates.csv` has."""
TABLE_RATE = "rate.tables"
"""The factor on the rate of look-up tables on the cores."""
OWN = "as the baseline"
"""Of `prior.ATTENTION`: the software that the baseline runs."""


@dataclass(frozen=True)
class SampledMachine:
    """Values by factor; what has none is nominal."""

    values: Mapping[str, Value]
    hosts: Mapping[Software, str]
    """The system with a software on its cores; the first is the nominal one."""
    _systems: dict[object, System] = field(default_factory=dict, init=False, compare=False, repr=False)
    """Softwares that ask the same of their host have one system."""

    def with_values(self, values: Mapping[str, Value]) -> SampledMachine:
        """The machine with some values replaced or added."""
        return SampledMachine({**self.values, **values}, self.hosts)

    @cached_property
    def group_size(self) -> int:
        """Weights that share a scale."""
        return int(self.values.get(GROUP_SIZE, Point().group_size))

    def factor(self, name: str) -> float:
        """The value of a factor that is a ratio to what is nominal."""
        return float(self.values.get(name, 1.0))

    def system(
        self, software: Software | None = None, source: str = "a sample", name: str = SAMPLED
    ) -> System:
        """The machine, its cores running a software (None: the nominal one) at these constants.

        A table that does not fit the arrays takes the largest NBW that does. Raises SailsimError for a
        machine that cannot be.
        """
        nominal = next(iter(self.hosts))
        software = software or nominal
        base = load_system(self.hosts[software])
        changes = machine_changes(load_system(self.hosts[nominal]), self.values)
        drawn = any(name.startswith("cpu.") for name in self.values)
        if drawn or HOST_SOFTWARE.get(software, software) != MEASURED[0]:  # whose constants the file has
            if core_of(base) != N1:
                raise SailsimError(
                    f"system is {base.name}, allowed where constants of the cores' software are unknowns is "
                    f"one with {N1} cores, whose constants they are"
                )
            reads = float(changes.get("memory.read_share", base.memory.read_share.value))
            changes |= host_constants(self.fitted, software, reads)
        whose = self.values.get(ATTENTION, OWN)
        if whose != OWN:
            if whose not in get_args(Software):
                allowed = ", ".join(get_args(Software))
                raise SailsimError(f"{ATTENTION} is {whose!r}, allowed is {OWN!r} or one of {allowed}")
            changes["host.attention_rate"] = self.fitted.software(str(whose)).value("attention_rate")
        key = (base.name, name, source, *changes.items())
        if key not in self._systems:
            self._systems[key] = that_fits(base, changes, name, source)
        return self._systems[key]

    @cached_property
    def fitted(self) -> Fits:
        """The fitted constants, moved along their covariance."""
        changes: dict[str, float] = {}
        for group in get_args(FittedGroup):
            draws = {name: float(v) for name, v in self.values.items() if name.startswith(f"{group}.")}
            if draws:
                changes |= moved(group, draws)
        return fitted_constants().varied(changes) if changes else fitted_constants()

    def constants(self, group: Literal["cost", "area"], kind: type[_C]) -> _C:
        """Cost or area constants."""
        drawn = {name: self.values.get(f"{group}.{name}") for name in kind.quantities()}
        return replace(kind.default(), **{name: float(v) for name, v in drawn.items() if v is not None})
