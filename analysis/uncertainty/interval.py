"""How sure a rate is: an accelerator's rate at a point over the machines of a prior (`prior`).

Drawn are the values that are not published, of the machine and of its cores' software. Held is what the user
has decided: the point's own choices, and values of its machine that differ from the prior's, unless the
machine's file gives them a range of their own, which then is drawn. Whose attention the cores run is held
too, so that rows of one software stay like for like.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import isclose
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sailsim.analysis.uncertainty.prior import (
    DRAWN,
    FOLLOW_SOFTWARE,
    OPERATION,
    PRIOR,
    SAMPLED,
    UNKNOWNS,
    Parameter,
    Prior,
    Value,
    ends_of,
    load_unknowns,
    machine_changes,
    machine_factors,
    moved,
    ranged,
    that_fits,
)
from sailsim.base.errors import ImpossibleMachineError, SailsimError
from sailsim.base.input_file import Stamp, stamp
from sailsim.base.quantity import Quantity
from sailsim.sim.backends.cores import Software
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import VARIATION_NOTE, Leaf, leaves, load_system
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import N1, core_of, fitted_constants, host_constants
from sailsim.sim.step.engine import NOT_READ, time_step
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.models.model import ModelSpec

DRAWS = 64
"""Machines of an interval."""
SEED = 2
"""Of their sequence, chosen of 40 (`research/fits/interval_draws.py`).

On the ten workloads of the shipped prior these machines have the percentiles of 4,096 within 4 %, 6 % and 3 %
(5th, 50th and 95th, root mean square). Over seeds 64 machines deviate by 25 %, 7 % and 7 %. Chosen on half of
the workloads, the seed is as near on the others.
"""
FEWEST = DRAWS // 2
"""Machines that give an interval at least: ends of few of them, and those like one another, say little."""
LAYERS = 1
"""Of a model that have activations of their own on these machines; rates are over the nominal machine's with
as many. It takes a third to a tenth of the time; ends differ by less than 0.1 % (decoding and prompts)."""
ENDS = (5.0, 50.0, 95.0)
"""Percentiles: nine of ten machines lie between the first and the last."""
_SUBSTRATE = "pim.substrate"
_CHOICES = {"nbw": "pim.nbw", "substrate": _SUBSTRATE, "convert": "pim.convert"}
"""Choices of a point, and the value of the machine that each stands for."""
_CONSTANTS = {"memory.core_share": "read_share"}
"""Values of the cores whose fitted constants have another name."""
_DECIDED = (VARIATION_NOTE, DRAWN)
"""Notes of values that a user or a study has set: the range beside them is not their own."""
_SAME = 1e-4
"""Fitted constants that files state in six digits differ by less."""


class Interval(NamedTuple):
    """Of a rate over the machines of a prior; tokens/s, and the nominal machine's percentile, 0..100."""

    low: float | None = None
    high: float | None = None
    median: float | None = None
    percentile: float | None = None


class DrawnMachines(NamedTuple):
    """Machines that are like one but for what is not known of it."""

    systems: tuple[System, ...]
    drawn: tuple[str, ...]
    """What was, by name."""


def spread(
    point: Point, system: System, model: ModelSpec, rate: float, prior: str = PRIOR
) -> tuple[Interval, str]:
    """The interval of an accelerator's rate at a point, and a sentence that says what it is of.

    Args:
        point: as its accelerator runs it, with what the user left open.
        system: the nominal machine.
        model: with the point's cache.
        rate: the nominal machine's, tokens/s.
        prior: a file of unknowns by name or path.

    Raises SailsimError for a prior that cannot be read, or that has not the machine that it is about.
    """
    machines = drawn_machines(*kept(system, point, prior))
    if not machines.drawn:
        return (
            Interval(),
            f"no interval: of {system.name} nothing is drawn by prior {prior}, all of it is decided",
        )
    read = Activations.load(point.activations or None)  # once for all machines
    over, rates = rate / time_step(system, model, point, (), LAYERS, read).tokens_per_s, []
    for machine in machines.systems:
        try:
            rates.append(over * time_step(machine, model, point, (), LAYERS, read).tokens_per_s)
        except SailsimError:  # what fits the nominal machine need not fit this one
            continue
    left = DRAWS - len(rates)
    if len(rates) < FEWEST:
        words = f"{len(rates)} of {DRAWS} machines of prior {prior} can run the point; allowed is {FEWEST}"
        return Interval(), f"no interval: {words} or more"
    beside = f"; {left} others cannot run it" if left else ""
    words = (
        f"{len(rates)} machines of prior {prior} give the interval{beside}; {len(machines.drawn)} "
        "unpublished values differ between them, but no choice of the point or the machine's file, and not "
        "the attention"
    )
    return placed(rate, rates), words


def placed(rate: float, rates: Sequence[float]) -> Interval:
    """Percentiles of some machines' rates, and that of the nominal one, by straight lines between them."""
    ordered, places = sorted(rates), np.linspace(0, 100, len(rates))
    low, median, high = np.interp(ENDS, places, ordered).tolist()
    return Interval(low, high, median, float(np.interp(rate, ordered, places)))


# ---- The machines -----------------------------------------------------------------------------------------


class _ContentKey(NamedTuple):
    """A machine as a key: equal to every one of the same content, as a file that was read again."""

    digest: str
    system: System

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ContentKey) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def kept(system: System, point: Point, prior: str) -> tuple[_ContentKey, frozenset[str], str, Stamp]:
    """What `drawn_machines` are made of and known by: a machine, what the point chooses of it, a prior."""
    choices = frozenset(path for name, path in _CHOICES.items() if getattr(point, name) is not None)
    file = None if prior in UNKNOWNS.names else Path(prior)
    return _ContentKey(system.digest, system), choices, prior, stamp(file)


# Points of a sweep ask for the same ones, and making them takes a third of a first interval.
@lru_cache(maxsize=8)
def drawn_machines(of: _ContentKey, chosen: frozenset[str], prior: str, _read: Stamp) -> DrawnMachines:
    """The machines of a prior around one, without those that cannot be."""
    system, file = of.system, load_unknowns(prior)
    softwares = _softwares(system, file)
    factors = _factors(system, file, chosen | softwares.keys())
    normal = _normal(softwares)
    columns = {name: _column(name).tolist() for name in (*(f.name for f in factors), *normal)}
    found = []
    for at in range(DRAWS):
        changes = machine_changes(system, {f.name: f.at(columns[f.name][at]) for f in factors})
        if softwares:
            draws = {name: float(factor.at(columns[name][at])) for name, factor in normal.items()}
            fitted = fitted_constants().varied(moved("cpu", draws))
            reads = float(changes.get("memory.read_share", system.memory.read_share.value))
            of_each = {each: host_constants(fitted, each, reads) for each in {*softwares.values()}}
            changes |= {path: of_each[software][path] for path, software in softwares.items()}
        try:
            found.append(that_fits(system, changes, SAMPLED, f"prior {prior}"))
        except ImpossibleMachineError:
            continue
    return DrawnMachines(tuple(found), tuple(columns))


def _column(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers u of a value, (`DRAWS`,): the middles of equal parts of [0, 1] in an order that its name and
    the seed decide, so that a held value leaves the others' alone (a Latin hypercube of PCG64)."""
    seed = hashlib.blake2b(f"{SEED} {name}".encode(), digest_size=8).digest()
    order = np.argsort(np.random.PCG64(int.from_bytes(seed, "little")).random_raw(DRAWS), kind="stable")
    return np.asarray((order + 0.5) / DRAWS)


def _factors(system: System, file: Prior, held: frozenset[str]) -> list[Parameter]:
    """What is drawn of the machine itself."""
    nominal = load_system(next(iter(file.hosts.values())))
    of_prior = {
        factor.name: factor for factor in machine_factors(nominal, file.levels, file.ranges, file.synthesised)
    }
    known, theirs = leaves(system), leaves(nominal)
    found = []
    for path, leaf in known.items():
        if leaf.note in _DECIDED:
            continue
        same = path in theirs and _says(leaf) == _says(theirs[path])
        factor = (of_prior.get(path) if same else None) or _own(path, leaf)
        if factor is not None:
            found.append(factor)
        if same and path == _SUBSTRATE and path not in held:
            found += [factor for name, factor in of_prior.items() if name.startswith(OPERATION)]
    held |= {name for name in file.held if name not in file.drawn} | {*NOT_READ}
    return [factor for factor in found if factor.name not in held]


def _says(leaf: Leaf) -> tuple[Value | None, ...]:
    """What a leaf says, whoever says it."""
    return (leaf.value, leaf.low, leaf.high) if isinstance(leaf, Quantity) else (leaf.value,)


def _own(path: str, leaf: Leaf) -> Parameter | None:
    """A value that its own file gives a range, as a factor; that of a fit is even about its value."""
    if isinstance(leaf, Quantity) and (ends := ends_of(leaf)):
        factor = ranged(path, "machine", leaf, *ends, leaf.note or leaf.source)
        return replace(factor, log=factor.log and leaf.kind != "fitted")
    return None


def _softwares(system: System, file: Prior) -> dict[str, Software]:
    """Which of the prior's softwares each of `FOLLOW_SOFTWARE` is fitted for, where it is one's."""
    if core_of(system) != N1:  # whose constants they are
        return {}
    known, reads = leaves(system), float(system.memory.read_share.value)
    nominal = {each: host_constants(fitted_constants(), each, reads) for each in file.hosts}
    found: dict[str, Software] = {}
    for path in FOLLOW_SOFTWARE:
        if known[path].note in _DECIDED:
            continue
        for software, constants in nominal.items():
            if isclose(float(constants[path]), float(known[path].value), rel_tol=_SAME):
                found.setdefault(path, software)
    return found


def _normal(softwares: Mapping[str, Software]) -> dict[str, Parameter]:
    """The fitted constants behind some values of the cores, which are drawn along the fits' covariance."""
    names, matrix = fitted_constants().covariances["cpu"]
    spread = {name for at, name in enumerate(names) if matrix[at, at] > 0}
    found = {}
    for path, software in softwares.items():
        constant = _CONSTANTS.get(path, path.rpartition(".")[2])
        # A constant that softwares share has the first one's name.
        for name in (f"cpu.{software}.{constant}", f"cpu.llama.cpp.{constant}"):
            if name in spread:
                found[name] = Parameter(name, "software", "fitted", normal=True)
                break
    return found
