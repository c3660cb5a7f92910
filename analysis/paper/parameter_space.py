"""Parameter spaces of papers: all unpublished values, each with a range or choices and the reason.

`space` collects the unknowns of a paper: the ranges of the system file, of the fits, of costs and area, and a
file of `data/unknowns`. That file adds levels, other ranges, workloads, alternative designs, fixed values,
and the systems and cloud servers that all of it is about. A row of numbers u in [0, 1], one for each factor,
is a `SampledMachine`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Literal, cast

import numpy as np
from pydantic_core import to_jsonable_python

from sailsim.analysis.costs.area import AreaConstants
from sailsim.analysis.costs.constants import ConstantSet
from sailsim.analysis.costs.dollars import CostConstants, Price
from sailsim.analysis.paper.claim import SHIPPED, Numbers, Paper, load_paper
from sailsim.analysis.paper.sampled_machine import FEW_BITS, FEW_BITS_RATE, TABLE_RATE, SampledMachine
from sailsim.analysis.runs.runs import Runner
from sailsim.analysis.uncertainty import prior as priors
from sailsim.analysis.uncertainty.prior import (
    AlternativeDesign,
    FittedGroup,
    Group,
    Parameter,
    Prior,
    Value,
    Workload,
)
from sailsim.base.errors import ImpossibleMachineError, SailsimError
from sailsim.sim.machine.system_files import gpu_names, load_system
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import core_of, fitted_constants
from sailsim.sim.software.kernel_rates import format_key
from sailsim.sim.software.records import CORES
from sailsim.sim.study.origin import code_version
from sailsim.workloads.models.formats import uniform_format

# --- The space ---


@dataclass(frozen=True)
class ParameterSpace:
    """Factors, workloads, fixed values and alternative designs for the claims of a paper."""

    factors: tuple[Parameter, ...]
    workloads: tuple[Workload, ...]
    fixed: Mapping[str, priors.FixedValue]
    """Parameters that are not drawn."""
    alternatives: tuple[AlternativeDesign, ...]
    conditional: tuple[Parameter, ...]
    """Parameters that only an alternative design depends on (`AlternativeDesign.drawn`)."""
    hosts: Mapping[str, str]
    """Systems by the software of their cores; the first is the nominal one."""
    servers: tuple[Price, ...]
    """Instances that a server's price may be of; first the nominal one."""
    paper: Paper

    @cached_property
    def digest(self) -> str:
        """Hash of the space and of the code, for keys of results."""
        content = json.dumps(to_jsonable_python([asdict(self), code_version()]), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the factors in order."""
        return tuple(factor.name for factor in self.factors)

    @property
    def deciding(self) -> tuple[int, ...]:
        """Indices of the workloads that sensitivity considers."""
        return tuple(i for i, w in enumerate(self.workloads) if w.decides)

    @property
    def fixed_workload(self) -> int:
        """Index of the fixed workload."""
        return next(i for i, w in enumerate(self.workloads) if w.fixed)

    def only(self, names: Collection[str]) -> ParameterSpace:
        """The space of some factors; the others keep their nominal values."""
        return replace(self, factors=tuple(f for f in self.factors if f.name in names))

    def draw(self, row: Sequence[float] | Numbers) -> SampledMachine:
        """The machine of a row of u's, one for each factor.

        Raises SailsimError for a row of another length or outside [0, 1].
        """
        if len(row) != len(self.factors) or not all(0 <= u <= 1 for u in row):
            raise SailsimError(
                f"row has {len(row)} numbers, allowed are {len(self.factors)} between 0 and 1, one a factor"
            )
        values = {f.name: f.at(float(u)) for f, u in zip(self.factors, row, strict=True)}
        return self.nominal.with_values(values)

    def design(
        self, alternative: AlternativeDesign, machine: SampledMachine, seed: Sequence[int]
    ) -> SampledMachine:
        """A machine with an alternative design; parameters of that design alone are drawn from a seed."""
        rng = np.random.default_rng(seed)
        own = (f for f in self.conditional if f.name in alternative.drawn)
        return machine.with_values(alternative.values | {f.name: f.at(float(rng.random())) for f in own})

    @property
    def software(self) -> str:
        """str of the nominal machine's cores."""
        return next(iter(self.hosts))

    @cached_property
    def nominal(self) -> SampledMachine:
        """The machine with every factor at its nominal value."""
        return SampledMachine({}, self.hosts)

    def host_of(self, runner: Runner) -> str:
        """str of SAIL's cores against a runner: the runner's own on cores, else the nominal one."""
        return next((s for s in self.hosts if runner.kind == "cores" and s == runner.software), self.software)


def space(paper: str = SHIPPED, prior: str | None = None) -> ParameterSpace:
    """Every unknown of a paper's machine, software, GPUs, cost and area.

    ``prior`` is a file of unknowns by name or path; None: the paper's own. Raises SailsimError for a bad file
    of claims or unknowns, and for a paper without unknowns.
    """
    claims = load_paper(paper)
    prior = prior if prior is not None else claims.unknowns
    if prior is None:
        raise SailsimError(f"claims {paper}: unknowns is missing, allowed is a file of what is not published")
    file = priors.load_unknowns(prior)
    servers = file.rented.servers(max(w.threads for w in file.workload))
    instances = tuple(price.instance for price in servers)
    sizes = [each for name, each in file.levels.items() if name == priors.GROUP_SIZE]
    other_cores = set(CORES) - {core_of(load_system(name)) for name in file.hosts.values()}
    factors = [
        *priors.machine_parameters(load_system(next(iter(file.hosts.values()))), file),
        *_fitted_factors("cpu", lambda name: not other_cores & set(name.split(".")), "software"),
        *_rate_factors([w.wbits for w in file.workload]),
        *_opponent_factors(claims.opponents.values()),
        *(priors.levelled(priors.GROUP_SIZE, each, each.nominal, "weights", "weights") for each in sizes),
        *_constant_factors("cost", CostConstants, file.synthesised),
        Parameter("cost.instance", "cost", file.rented.reason, values=instances, nominal=instances[0]),
        *_constant_factors("area", AreaConstants, file.synthesised),
    ]
    drawn = {name: other.name for other in file.alternative for name in other.drawn}
    conditional = tuple(each for each in factors if each.name in drawn and each.group == "machine")
    for name, design in drawn.items():
        if name in file.fixed or name not in {each.name for each in conditional}:
            raise SailsimError(
                f"alternative {design!r} draws {name!r}, allowed is a value of the machine that has a range "
                "or levels and is not held"
            )
    whole = ParameterSpace(
        factors=tuple(f for f in factors if f.name not in file.fixed and f.name not in drawn),
        conditional=conditional,
        workloads=file.workload,
        fixed=file.fixed,
        alternatives=file.alternative,
        hosts=file.hosts,
        servers=servers,
        paper=claims,
    )
    _check_values(whole, file, prior)
    return whole


def _check_values(whole: ParameterSpace, file: Prior, name: str) -> None:
    """Raise SailsimError for a level or an end of a range that no machine can have, whatever else it has.

    Combinations of values are checked when a machine is drawn.
    """
    values: list[tuple[str, str, Value]] = [
        ("ranges", path, end) for path, span in file.ranges.items() for end in (span.low, span.high)
    ]
    values += [("levels", path, level) for path, each in file.levels.items() for level in each.values]
    for what, path, value in values:
        try:
            whole.nominal.with_values({path: value}).system()
            if path == priors.GROUP_SIZE:
                Point(group_size=cast(int, value))
        except ImpossibleMachineError:
            continue
        except SailsimError as error:
            words = str(error).removeprefix(f"{priors.SAMPLED}: ")
            raise SailsimError(f"unknowns {name}: {what} of {path} has {value!r}: {words}") from None


def _fitted_factors(fit: FittedGroup, relevant: Callable[[str], bool], group: Group) -> list[Parameter]:
    """Constants that were fitted together, as standard normal numbers; assumed ones with their range."""
    names, matrix = fitted_constants().covariances[fit]
    known, factors = fitted_constants().quantities(), []
    for name, q in known.items():
        if not (name.startswith(f"{fit}.") and relevant(name)):
            continue
        reason = f"{q.note}; {q.source}"
        low, high = (float(q.value if x is None else x) for x in (q.low, q.high))
        if name in names and matrix[names.index(name), names.index(name)] > 0:
            factors.append(Parameter(name, group, reason, q.unit, low=low, high=high, normal=True))
        elif q.kind == "assumed" and low < high:
            factors.append(Parameter(name, group, reason, q.unit, low=low, high=high, nominal=float(q.value)))
    return factors


def _ratio(name: str, group: Group, reason: str, low: float, high: float) -> Parameter:
    return Parameter(name, group, reason, "ratio", low=low, high=high, centred=True, nominal=1.0)


def _rate_factors(widths: Iterable[int]) -> list[Parameter]:
    """Rates of kernels for uniform codes; those of two and three bits share one, as they unpack alike."""
    keys = {w: format_key(uniform_format(w, 128).base) for w in sorted(set(widths))}
    rates = {w: fitted_constants().kernel_rates[key] for w, key in keys.items()}
    few = {wbits: rate for wbits, rate in rates.items() if wbits in FEW_BITS}
    factors = []
    if few:
        low = max(rate.low / rate.relative for rate in few.values())
        high = min(rate.high / rate.relative for rate in few.values())
        notes = "; ".join(f"{wbits} bits: {rate.note}" for wbits, rate in few.items())
        reason = f"llama.cpp's kernels for few bits, over what they are taken to be: {notes}"
        factors.append(_ratio(FEW_BITS_RATE, "software", reason, low, high))
    for wbits, rate in rates.items():
        if wbits not in few and rate.low < rate.high:
            reason = f"llama.cpp's kernel for {wbits}-bit weights: {rate.note}"
            name, low, high = f"rate.w{wbits}", rate.low, rate.high
            factor = Parameter(name, "software", reason, "of q4_k", low=low, high=high, nominal=rate.relative)
            factors.append(factor)
    return factors


def _opponent_factors(opponents: Collection[Runner]) -> list[Parameter]:
    """Rate of look-up tables on the cores, constants of the opponents' GPUs, and scatter of measurements.

    The rate of tables was measured on another machine. Scatter: 90 % of the measurements lie inside a fit's
    interval, and one measured baseline may be anywhere in it.
    """
    factors = []
    tables = [each.software for each in opponents if each.record and each.record.law == "look-ups"]
    if tables:
        rate = fitted_constants().software(tables[0]).constants["lut_rate"]
        low, high = (float(rate.value if x is None else x) / float(rate.value) for x in (rate.low, rate.high))
        reason = f"T-MAC's rate on this chip, with many threads and a batch, over the fitted one: {rate.note}"
        factors.append(_ratio(TABLE_RATE, "software", reason, low, high))
    others = set(gpu_names()) - {runner.hardware for runner in opponents}

    def relevant(name: str) -> bool:
        # Constants of 16 bits are for prompts alone, which no claim is about.
        return name.rpartition("_")[2] not in others and not re.search("_f16(_|$)", name)

    factors += _fitted_factors("gpu", relevant, "gpu")
    scatters: dict[str, Parameter] = {}
    for runner in opponents:
        group: Group = "software" if runner.kind == "cores" else "gpu"
        if runner.kind == "cores":
            interval = fitted_constants().software(runner.software).interval("decode")
            title = f"CPU decoding, {runner.software}"
        else:
            interval, title = fitted_constants().gpu.interval("decode"), f"{runner.hardware.upper()} decoding"
        name, reason = scatter_of(runner), f"{title}: measured over predicted, cross-validated interval"
        scatters[name] = _ratio(name, group, reason, interval.low, interval.high)
    return factors + list(scatters.values())


def scatter_of(runner: Runner) -> str:
    """Name of the factor for the scatter of a runner's measurements: of its software, or of its GPU."""
    return f"scatter.{runner.software if runner.kind == 'cores' else runner.hardware}"


def _constant_factors(
    group: Literal["cost", "area"], constants: type[ConstantSet], synthesised: bool
) -> list[Parameter]:
    return [
        priors.ranged(f"{group}.{name}", group, q, *ends, read.note or read.source)
        for name, q in constants.quantities().items()
        if (ends := priors.ends_of(read := priors.reading(q, synthesised))) is not None
    ]
