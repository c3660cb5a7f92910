"""Machines drawn from a parameter space: values by parameter, with the server, software and constants.

SAIL's cores run the software of the CPU baseline. For a fair comparison a machine takes its cores' attention
rate, barrier and share of bandwidth from the constants that its baseline is computed with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeVar, get_args

from sailsim.analysis.costs.area import Area, AreaConstants, area
from sailsim.analysis.costs.constants import ConstantSet
from sailsim.analysis.uncertainty import prior as priors
from sailsim.analysis.uncertainty.prior import ATTENTION, GROUP_SIZE, SAMPLED, FittedGroup, Value
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import Fits, core_of, fitted_constants, host_constants
from sailsim.sim.software.records import FILED, N1, load_software, software_names

_C = TypeVar("_C", bound=ConstantSet)

FEW_BITS = (2, 3)
"""Widths in bits whose kernels share one uncertainty."""
FEW_BITS_RATE = "rate.few_bits"
"""Parameter for it: speed of these kernels over the values of `kernel_rates.csv`."""
TABLE_RATE = "rate.tables"
"""Parameter for the rate of look-up tables on the cores, over the fitted one."""
AS_BASELINE = "as the baseline"
"""Value of `prior.ATTENTION` for the software that the baseline runs."""


@dataclass(frozen=True)
class SampledMachine:
    """Values by parameter; parameters without one are nominal."""

    values: Mapping[str, Value]
    hosts: Mapping[str, str]
    """Systems by the software of their cores; the first is the nominal one."""
    _systems: dict[object, System] = field(default_factory=dict, init=False, compare=False, repr=False)
    """Systems made so far; softwares with equal host values share one."""

    def with_values(self, values: Mapping[str, Value]) -> SampledMachine:
        """The machine with some values replaced or added."""
        return SampledMachine({**self.values, **values}, self.hosts)

    @cached_property
    def group_size(self) -> int:
        """Weights that share a scale."""
        return int(self.values.get(GROUP_SIZE, Point().group_size))

    def factor(self, name: str) -> float:
        """Value of a parameter that is a ratio to the nominal value."""
        return float(self.values.get(name, 1.0))

    def system(self, software: str | None = None, source: str = "a sample", name: str = SAMPLED) -> System:
        """The machine's system with a software (None: the nominal one) on its cores, at these constants.

        A table that does not fit the arrays takes the largest NBW that does. Raises SailsimError for an
        impossible machine.
        """
        nominal = next(iter(self.hosts))
        software = software or nominal
        base = load_system(self.hosts[software])
        changes = priors.machine_changes(load_system(self.hosts[nominal]), self.values)
        sampled = any(name.startswith("cpu.") for name in self.values)
        if sampled or load_software(software).host != FILED:
            if core_of(base) != N1:
                raise SailsimError(
                    f"system is {base.name}, allowed where constants of the cores' software are unknowns is "
                    f"one with {N1} cores, whose constants they are"
                )
            reads = float(changes.get("memory.read_share", base.memory.read_share.value))
            changes |= host_constants(self.fitted, software, reads)
        attention = self.values.get(ATTENTION, AS_BASELINE)
        if attention != AS_BASELINE:
            if attention not in software_names():
                allowed = f"{AS_BASELINE!r} or one of {', '.join(software_names())}"
                raise SailsimError(f"{ATTENTION} is {attention!r}, allowed is {allowed}")
            changes["host.attention_rate"] = self.fitted.software(str(attention)).value("attention_rate")
        key = (base.name, name, source, *changes.items())
        if key not in self._systems:
            self._systems[key] = priors.that_fits(base, changes, name, source)
        return self._systems[key]

    @cached_property
    def fitted(self) -> Fits:
        """Fitted constants, moved along their covariance."""
        changes: dict[str, float] = {}
        for group in get_args(FittedGroup):
            draws = {name: float(v) for name, v in self.values.items() if name.startswith(f"{group}.")}
            if draws:
                changes |= priors.fitted_at(group, draws)
        return fitted_constants().varied(changes) if changes else fitted_constants()

    def constants(self, group: Literal["cost", "area"], kind: type[_C]) -> _C:
        """Cost or area constants with the machine's values."""
        values = {name: self.values.get(f"{group}.{name}") for name in kind.quantities()}
        return replace(kind.default(), **{name: float(v) for name, v in values.items() if v is not None})

    @cached_property
    def area(self) -> Area:
        """Area of its PIM units. Raises NotModelledError where that is not modelled."""
        return area(self.system(), self.constants("area", AreaConstants))
