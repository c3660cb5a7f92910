"""Intervals of rates: an accelerator's rate at a point over systems drawn from a prior (`prior`).

Drawn are unpublished values of the system and of its cores' software. Values that the user has decided stay
fixed: the point's own choices, and values of its system that differ from the prior's. Where the system's file
gives such a value a range, it is drawn from that range. The attention software of the cores is fixed too, so
that runs of one software stay comparable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import isclose
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sailsim.analysis.uncertainty import prior as priors
from sailsim.analysis.uncertainty.prior import PRIOR, UNKNOWNS, Parameter, Prior, Value
from sailsim.base.errors import ImpossibleMachineError, SailsimError
from sailsim.base.input_file import Stamp, stamp
from sailsim.base.quantity import Quantity
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import VARIATION_NOTE, Leaf, leaves, load_system
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import core_of, fitted_constants, host_constants
from sailsim.sim.software.records import N1
from sailsim.sim.step.engine import NOT_READ, time_step
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.models.model import ModelSpec

DRAWS = 64
"""Systems drawn for an interval."""
SEED = 2
"""Seed of the drawn systems, chosen among 40 (`research/fits/interval_draws.py`).

On the ten workloads of the shipped prior these systems have the percentiles of 4,096 within 4 %, 6 % and 3 %
(5th, 50th and 95th, root mean square). Over seeds 64 systems deviate by 25 %, 7 % and 7 %. A seed chosen on
half of the workloads is as near on the others.
"""
FEWEST = DRAWS // 2
"""Fewest systems that give an interval: the ends of few similar ones say little."""
LAYERS = 1
"""Layers of a model that have their own activations on drawn systems.

Rates are scaled by the nominal system's rate with as many layers. A step takes a third to a tenth of the
time; ends differ by less than 0.1 % (decoding and prompts)."""
PERCENTILES = (5.0, 50.0, 95.0)
"""Low end, median and high end of an interval, which holds 90 % of the systems."""
CACHED = 8
"""Populations of systems that are kept: making one takes a third of the time of a first interval."""
_SUBSTRATE = "pim.substrate"
_CHOICES = {"nbw": "pim.nbw", "substrate": _SUBSTRATE, "convert": "pim.convert"}
"""System values that choices of a point replace."""
_CONSTANTS = {"memory.core_share": "read_share"}
"""Values of the cores whose fitted constants have another name."""
_DECIDED = (VARIATION_NOTE, priors.DRAWN)
"""Notes of values that a user or a study has set: the range in the file is not theirs."""
_TOLERANCE = 1e-4
"""Relative tolerance of fitted constants, which files state in six digits."""


class Interval(NamedTuple):
    """Interval of a rate over the prior, in tokens/s, and the percentile (0..100) of the nominal rate."""

    low: float | None = None
    high: float | None = None
    median: float | None = None
    percentile: float | None = None


Population = tuple[tuple[System, ...], tuple[str, ...]]
"""Systems drawn around a nominal one, and the names of the drawn values."""


def rate_interval(
    point: Point, system: System, model: ModelSpec, rate: float, prior: str = PRIOR
) -> tuple[Interval, str]:
    """Interval of an accelerator's rate at a point, and a sentence that describes it.

    Args:
        point: as its accelerator runs it; choices that the user left open stay open.
        system: the nominal system.
        model: with the point's cache.
        rate: the nominal system's, tokens/s.
        prior: a file of unknowns by name or path.

    Raises SailsimError for a prior that cannot be read, or that lacks the system that it is about.
    """
    systems, names = drawn_systems(system, point, prior)
    if not names:
        words = f"no interval: of {system.name} nothing is drawn by prior {prior}, all of it is decided"
        return Interval(), words
    activations = Activations.load(point.activations or None)  # once for all systems
    scale, rates = rate / time_step(system, model, point, (), LAYERS, activations).tokens_per_s, []
    for each in systems:
        with suppress(SailsimError):  # a model that fits the nominal system need not fit this one
            rates.append(scale * time_step(each, model, point, (), LAYERS, activations).tokens_per_s)
    unable = DRAWS - len(rates)
    if len(rates) < FEWEST:
        words = f"{len(rates)} of {DRAWS} machines of prior {prior} can run the point; allowed is {FEWEST}"
        return Interval(), f"no interval: {words} or more"
    note = f"; {unable} others cannot run it" if unable else ""
    words = (
        f"{len(rates)} machines of prior {prior} give the interval{note}; {len(names)} "
        "unpublished values differ between them, but no choice of the point or the machine's file, and not "
        "the attention"
    )
    return interval_of(rate, rates), words


def interval_of(rate: float, rates: Sequence[float]) -> Interval:
    """Interval of drawn systems' rates, with the nominal ``rate``'s percentile; linear in between."""
    ordered, percentiles = sorted(rates), np.linspace(0, 100, len(rates))
    low, median, high = np.interp(PERCENTILES, percentiles, ordered).tolist()
    return Interval(low, high, median, float(np.interp(rate, ordered, percentiles)))


# ---- The drawn systems ------------------------------------------------------------------------------------

POPULATIONS: dict[tuple[str, frozenset[str], str, Stamp], Population] = {}
"""Cache of populations by digest of the system, choices of the point, prior and its file."""


def drawn_systems(system: System, point: Point, prior: str) -> Population:
    """Systems of a prior around a nominal one, without the impossible ones; choices of the point stay fixed.

    Points of a sweep share them. Raises SailsimError for a prior that cannot be read.
    """
    choices = frozenset(path for name, path in _CHOICES.items() if getattr(point, name) is not None)
    file = None if prior in UNKNOWNS.names else Path(prior)
    key = system.digest, choices, prior, stamp(file)
    population = POPULATIONS.get(key)
    if population is None:
        population = _population(system, choices, prior)
        if len(POPULATIONS) >= CACHED:
            POPULATIONS.pop(next(iter(POPULATIONS)), None)
        POPULATIONS[key] = population
    return population


def _population(system: System, choices: frozenset[str], prior: str) -> Population:
    file = priors.load_unknowns(prior)
    softwares = _softwares(system, file)
    parameters = _parameters(system, file, choices | softwares.keys())
    normal = _normal_parameters(softwares)
    columns = {name: _column(name).tolist() for name in (*(each.name for each in parameters), *normal)}
    systems = []
    for at in range(DRAWS):
        values = {each.name: each.at(columns[each.name][at]) for each in parameters}
        changes = priors.machine_changes(system, values)
        if softwares:
            draws = {name: float(each.at(columns[name][at])) for name, each in normal.items()}
            fitted = fitted_constants().varied(priors.fitted_at("cpu", draws))
            reads = float(changes.get("memory.read_share", system.memory.read_share.value))
            constants = {each: host_constants(fitted, each, reads) for each in {*softwares.values()}}
            changes |= {path: constants[software][path] for path, software in softwares.items()}
        with suppress(ImpossibleMachineError):
            systems.append(priors.that_fits(system, changes, priors.SAMPLED, f"prior {prior}"))
    return tuple(systems), tuple(columns)


def _column(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers u of a value, (`DRAWS`,): a Latin hypercube's column, from PCG64.

    They are the middles of equal parts of [0, 1]. Their order depends on the value's name and the seed alone,
    so fixing one value leaves the others' numbers as they are.
    """
    seed = hashlib.blake2b(f"{SEED} {name}".encode(), digest_size=8).digest()
    order = np.argsort(np.random.PCG64(int.from_bytes(seed, "little")).random_raw(DRAWS), kind="stable")
    return np.asarray((order + 0.5) / DRAWS)


def _parameters(system: System, file: Prior, fixed: frozenset[str]) -> list[Parameter]:
    """Drawn parameters of the system itself: the prior's, and those that its own file gives a range."""
    nominal = load_system(next(iter(file.hosts.values())))
    of_prior = {each.name: each for each in priors.machine_parameters(nominal, file)}
    nominal_leaves, parameters = leaves(nominal), []
    for path, leaf in leaves(system).items():
        if leaf.note in _DECIDED:
            continue
        same = path in nominal_leaves and _value_and_range(leaf) == _value_and_range(nominal_leaves[path])
        parameter = (of_prior.get(path) if same else None) or _own_parameter(path, leaf)
        if parameter is not None:
            parameters.append(parameter)
        if same and path == _SUBSTRATE and path not in fixed:
            parameters += [each for name, each in of_prior.items() if name.startswith(priors.OPERATION)]
    fixed |= file.fixed.keys() | {*NOT_READ}
    return [each for each in parameters if each.name not in fixed]


def _value_and_range(leaf: Leaf) -> tuple[Value | None, ...]:
    return (leaf.value, leaf.low, leaf.high) if isinstance(leaf, Quantity) else (leaf.value,)


def _own_parameter(path: str, leaf: Leaf) -> Parameter | None:
    """Parameter of a value whose own file gives a range; that of a fit is not drawn in its logarithm."""
    if isinstance(leaf, Quantity) and (ends := priors.ends_of(leaf)):
        parameter = priors.ranged(path, "machine", leaf, *ends, leaf.note or leaf.source)
        return replace(parameter, log=parameter.log and leaf.kind != "fitted")
    return None


def _softwares(system: System, file: Prior) -> dict[str, str]:
    """str of the prior whose fitted constant a value of `FOLLOW_SOFTWARE` equals, by path."""
    if core_of(system) != N1:  # the constants are of N1 cores
        return {}
    known, reads = leaves(system), float(system.memory.read_share.value)
    nominal = {each: host_constants(fitted_constants(), each, reads) for each in file.hosts}
    found: dict[str, str] = {}
    for path in priors.FOLLOW_SOFTWARE:
        if known[path].note in _DECIDED:
            continue
        for software, constants in nominal.items():
            if isclose(float(constants[path]), float(known[path].value), rel_tol=_TOLERANCE):
                found.setdefault(path, software)
    return found


def _normal_parameters(softwares: Mapping[str, str]) -> dict[str, Parameter]:
    """Fitted constants behind some values of the cores, drawn along the fits' covariance."""
    names, matrix = fitted_constants().covariances["cpu"]
    uncertain = {name for at, name in enumerate(names) if matrix[at, at] > 0}
    found = {}
    for path, software in softwares.items():
        constant = _CONSTANTS.get(path, path.rpartition(".")[2])
        # A constant that softwares share has the first one's name.
        for name in (f"cpu.{software}.{constant}", f"cpu.llama.cpp.{constant}"):
            if name in uncertain:
                found[name] = Parameter(name, "software", "fitted", normal=True)
                break
    return found
