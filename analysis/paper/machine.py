"""A machine of the space of unknowns: values by factor, and its server, software and constants.

Fairness: SAIL's cores run the software of the CPU baseline, so a machine sets its cores' attention rate,
barrier and share of bandwidth from the same constants that its baseline is computed with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeVar, get_args

import numpy as np

from sailsim.analysis.costs.constants import Constants
from sailsim.base.errors import SailsimError
from sailsim.sim.backends.cores import AROUND, MEASURED, Software
from sailsim.sim.files import leaves, load_system, vary
from sailsim.sim.fitted import N1, Fitted, core_of, fitted_constants, host_constants
from sailsim.sim.point import Point
from sailsim.sim.system import System

_C = TypeVar("_C", bound=Constants)
Value = int | float | str | bool
FittedGroup = Literal["cpu", "gpu"]

FEW_BITS = (2, 3)
"""Widths whose kernels are as fast or slow together."""
FEW_BITS_RATE = "rate.few_bits"
"""The factor that says so: their speed over what `kernel_rates.csv` has."""
TABLE_RATE = "rate.tables"
"""The factor on the rate of look-up tables on the cores."""
OPERATION = "pim.substrate."
"""What the name of a factor on the cycles of an operation of the arrays begins with."""
ATTENTION = "host.attention_software"
"""The factor that says whose attention SAIL's cores run: `OWN`, or a software by its name."""
OWN = "as the baseline"
"""The software that the baseline runs."""
GROUP_SIZE = "weights.group_size"
"""The one factor of the weights."""
SAMPLED = "sampled"
"""What a machine of the space is called where nothing else is said."""


def moved(group: FittedGroup, draws: Mapping[str, float]) -> dict[str, float]:
    """A group's constants at standard normal numbers, moved together as they were fitted; assumed ones, which
    no fit has, as they are."""
    known, (fitted, _) = fitted_constants().quantities(), fitted_constants().covariances[group]
    normal = tuple(name for name in fitted if name in draws)
    changes = {name: value for name, value in draws.items() if name not in fitted}
    if normal:
        shifts = fitted_constants().root(group, normal) @ np.array([draws[name] for name in normal])
        for name, shift in zip(normal, shifts, strict=True):
            q = known[name]
            least = 0.0 if name.endswith("overlap") else 0.05 * float(q.value)
            most = 1.0 if q.unit == "ratio" else float("inf")
            changes[name] = min(max(float(q.value) + float(shift), least), most)
    # Softwares that were fitted with one barrier keep one.
    barrier = changes.get("cpu.llama.cpp.barrier")
    if barrier is not None and "cpu.ampere.barrier" not in fitted:
        changes["cpu.ampere.barrier"] = barrier
    # T-MAC's kernels run in llama.cpp.
    for name in known:
        moved_with = name.replace("cpu.t-mac.", "cpu.llama.cpp.")
        if name != moved_with and moved_with in changes:
            changes[name] = changes[moved_with]
    return changes


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
        if drawn or AROUND.get(software, software) != MEASURED[0]:  # whose constants the file has
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
            self._systems[key] = _that_fits(base, changes, name, source)
        return self._systems[key]

    @cached_property
    def fitted(self) -> Fitted:
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


def _that_fits(base: System, changes: dict[str, Value], name: str, source: str) -> System:
    while True:
        try:
            return vary(base, changes, name=name, source=source, note="drawn from its range")
        except SailsimError as error:
            nbw = changes.get("pim.nbw", leaves(base)["pim.nbw"].value)
            if "does not fit" not in str(error) or not isinstance(nbw, int) or nbw <= 1:
                raise
            changes["pim.nbw"] = nbw - 1


def machine_changes(base: System, values: Mapping[str, Value]) -> dict[str, Value]:
    """Those of some values that are fields of a system, in agreement with each other.

    The LLC keeps its size when its slices change; of DFMs there are the most up to those asked for that share
    the arrays evenly; a floating-point unit takes a sum at the latest when the one before has left it.
    """
    own = leaves(base)
    changes = {n: value for n, value in values.items() if n in own or n.startswith(OPERATION)}
    if "llc.slices" in changes:
        changes["llc.slice_size"] = base.llc.slice_size_in(float(changes["llc.slices"]))
    if "pim.dfms" in changes:
        arrays = int(changes.get("pim.arrays", base.require_pim().arrays.value))
        asked = int(changes["pim.dfms"])
        changes["pim.dfms"] = max(n for n in range(1, asked + 1) if arrays % n == 0)
    if "pim.convert_interval" in changes:
        latency = changes.get("pim.convert_latency", base.require_pim().convert_latency.value)
        changes["pim.convert_interval"] = min(changes["pim.convert_interval"], latency)
    return changes
