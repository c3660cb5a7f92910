"""A machine of the space of unknowns: values by factor, and its server, software, card and dollars.

Fairness: SAIL's cores run the software of the CPU baseline, so a machine sets its cores' attention rate,
barrier and share of bandwidth from the same constants that its baseline is computed with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from sailsim.analysis.costs.constants import Constants
from sailsim.analysis.paper.parameters import Value
from sailsim.base.errors import SailsimError
from sailsim.sim.backends.cores import KernelRate, Software
from sailsim.sim.files import load_system
from sailsim.sim.fitted import N1, Fitted, core_of, fitted_constants
from sailsim.sim.point import Point
from sailsim.sim.same import Same
from sailsim.sim.system import System
from sailsim.sim.vary import known_leaves, vary
from sailsim.workloads.formats import WeightFormat, uniform_format

_C = TypeVar("_C", bound=Constants)
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
SAMPLED = "sampled"
"""What a machine of the space is called where nothing else is said."""
OWN = "as the baseline"
"""The software that the baseline runs."""


@dataclass(frozen=True)
class SampledMachine:
    """Values by factor; what has none is nominal."""

    values: Mapping[str, Value]
    hosts: Mapping[Software, str]
    """The system whose cores run a software; the first is the nominal one."""

    def with_values(self, values: Mapping[str, Value]) -> SampledMachine:
        """The machine with some values replaced or added."""
        return replace(self, values={**self.values, **values})

    def _of(self, prefix: str) -> dict[str, Value]:
        return {name: v for name, v in self.values.items() if name.startswith(prefix)}

    @cached_property
    def group_size(self) -> int:
        """Weights that share a scale."""
        return int(self.values.get("weights.group_size", Point().group_size))

    def format(self, wbits: int) -> WeightFormat:
        """The weights' format."""
        return uniform_format(wbits, self.group_size)

    def system(
        self, software: Software = "llama.cpp", source: str = "a sample", name: str = SAMPLED
    ) -> System:
        """The machine, its cores running a software at these constants.

        A table that does not fit the arrays takes the largest NBW that does. Raises SailsimError for a
        machine that cannot be.
        """
        base = load_system(self.hosts[software])
        changes = machine_changes(load_system(next(iter(self.hosts.values()))), self.values)
        if self._of("cpu."):
            if core_of(base) != N1:
                raise SailsimError(
                    f"system is {base.name}, allowed where constants of the cores' software are unknowns is "
                    f"one with {N1} cores, whose constants they are"
                )
            reads = float(changes.get("memory.read_share", base.memory.read_share.value))
            changes |= host_constants(self.fitted, software, reads)
        whose = self.values.get(ATTENTION, OWN)
        if whose != OWN:
            changes["host.attention_rate"] = self.fitted.software(_software(whose)).value("attention_rate")
        return _system(Same(base), tuple(changes.items()), name, source)

    @cached_property
    def fitted(self) -> Fitted:
        """The fitted constants, moved along their covariance."""
        changes: dict[str, float] = {}
        for group in ("cpu", "gpu"):
            changes |= _moved(group, {k: float(v) for k, v in self._of(f"{group}.").items()})
        return fitted_constants().varied(changes) if changes else fitted_constants()

    @cached_property
    def card_values(self) -> tuple[float, ...]:
        """What decides the card's baseline."""
        return tuple(float(v) for v in self._of("gpu.").values())

    def relative_rate(self, rate: KernelRate, wbits: int) -> float:
        """A kernel's speed relative to the fitted one."""
        if wbits in FEW_BITS:
            return rate.relative * float(self.values.get(FEW_BITS_RATE, 1.0))
        u = self.values.get(f"rate.w{wbits}")
        return rate.relative if u is None or rate.low == rate.high else float(u)

    @property
    def table_rate(self) -> float:
        """Speed of look-up tables on the cores relative to the fitted one."""
        return float(self.values.get(TABLE_RATE, 1.0))

    def constants(self, group: Literal["cost", "area"], kind: type[_C]) -> _C:
        """Cost or area constants."""
        prefix = f"{group}."
        fields = kind.quantities()
        found = {
            k.removeprefix(prefix): float(v)
            for k, v in self._of(prefix).items()
            if k.removeprefix(prefix) in fields
        }
        return replace(kind.default(), **found)

    def scatter(self, what: str) -> float:
        """Factor on a prediction for a software or a card: one measured machine against the mean one."""
        return float(self.values.get(f"scatter.{what}", 1.0))


@lru_cache(maxsize=4)
def _system(base: Same[System], changes: tuple[tuple[str, Value], ...], name: str, source: str) -> System:
    """The machine with some values, once for softwares that ask the same of their host."""
    wanted = dict(changes)
    note = "drawn from its range"
    while True:
        try:
            return vary(base.it, wanted, name=name, source=source, note=note)
        except SailsimError as error:
            nbw = wanted.get("pim.nbw", known_leaves(base.it)["pim.nbw"].value)
            if "does not fit" not in str(error) or not isinstance(nbw, int) or nbw <= 1:
                raise
            wanted["pim.nbw"] = nbw - 1


def machine_changes(base: System, values: Mapping[str, Value]) -> dict[str, Value]:
    """Those of some values that are fields of a system, in agreement with each other.

    The LLC keeps its size when its slices change; of DFMs there are the most up to those asked for that share
    the arrays evenly; a floating-point unit takes a sum at the latest when the one before has left it.
    """
    known = known_leaves(base)
    changes = {n: value for n, value in values.items() if n in known or n.startswith(OPERATION)}
    if "llc.slices" in changes:
        changes["llc.slice_size"] = base.llc.slice_size_in(float(changes["llc.slices"]))
    if "pim.dfms" in changes:
        arrays = int(changes.get("pim.arrays", known["pim.arrays"].value))
        asked = int(changes["pim.dfms"])
        changes["pim.dfms"] = max(n for n in range(1, asked + 1) if arrays % n == 0)
    if "pim.convert_interval" in changes:
        latency = changes.get("pim.convert_latency", known["pim.convert_latency"].value)
        changes["pim.convert_interval"] = min(changes["pim.convert_interval"], latency)
    return changes


def host_constants(fitted: Fitted, software: Software, reads: float) -> dict[str, Value]:
    """What SAIL's cores must have where the baseline has the fitted constants of a software.

    ``reads`` is the share of the DRAM peak that reading threads reach, of which the software gets a share.
    """
    found = fitted.software(software)
    return {
        "host.attention_rate": found.value("attention_rate"),
        "host.barrier": found.value("barrier"),
        "host.product_overhead": found.value("product_overhead") if software != "ampere" else 0.0,
        "memory.core_share": min(found.value("read_share") * reads, 1.0),
    }


def _software(name: Value) -> Software:
    found = next((software for software in get_args(Software) if software == name), None)
    if found is None:
        raise SailsimError(
            f"{ATTENTION} is {name!r}, allowed is {OWN!r} or one of {', '.join(get_args(Software))}"
        )
    return found  # type: ignore[no-any-return]


def _moved(group: str, draws: Mapping[str, float]) -> dict[str, float]:
    """Constants at standard normal numbers, along the covariance of their fit; assumed ones as they are."""
    if not draws:
        return {}
    names = _covariance(group)[0]
    known = fitted_constants().quantities()
    normal = [name for name in names if name in draws]
    changes = {name: value for name, value in draws.items() if name not in names}
    if normal:
        at = [names.index(name) for name in normal]
        shift = _root(group, tuple(at)) @ np.array([draws[name] for name in normal])
        for name, moved in zip(normal, shift, strict=True):
            q = known[name]
            value = float(q.value) + float(moved)
            least = 0.0 if name.endswith("overlap") else 0.05 * float(q.value)
            most = 1.0 if q.unit == "ratio" else float("inf")
            changes[name] = min(max(value, least), most)
    # Softwares that were fitted with one barrier keep one.
    barrier = changes.get("cpu.llama.cpp.barrier")
    if barrier is not None and "cpu.ampere.barrier" not in names:
        changes["cpu.ampere.barrier"] = barrier
    # T-MAC's kernels run in llama.cpp.
    for name in known:
        moved_with = name.replace("cpu.t-mac.", "cpu.llama.cpp.")
        if name != moved_with and moved_with in changes:
            changes[name] = changes[moved_with]
    return changes


@lru_cache(maxsize=2)
def _covariance(group: str) -> tuple[list[str], NDArray[np.float64]]:
    return fitted_constants().covariance(group)


@lru_cache(maxsize=8)
def _root(group: str, at: tuple[int, ...]) -> NDArray[np.float64]:
    """Cholesky factor of a part of a covariance; of its correlations, whose scales are alike."""
    matrix = _covariance(group)[1][np.ix_(at, at)]
    sigma = np.sqrt(np.diag(matrix))
    correlation = matrix / np.outer(sigma, sigma)
    root = np.linalg.cholesky(correlation + 1e-9 * np.eye(len(at)))
    return np.asarray(sigma[:, None] * root)
