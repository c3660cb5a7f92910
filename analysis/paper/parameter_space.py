"""What is not published, one by one: factors with a range or choices and the reason, and what is held equal.

`space` puts the space of a paper's unknowns together: the ranges of the system file, of the fits, of costs
and area, and a file of `data/unknowns`, which adds levels, other ranges, workloads, other designs, what is
held equal, and which machines and servers all of it is about. A row of numbers u in [0, 1], one a factor, is
a `SampledMachine`.
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
from sailsim.analysis.uncertainty.prior import (
    GROUP_SIZE,
    SAMPLED,
    AlternativeDesign,
    FixedValue,
    Group,
    Parameter,
    Prior,
    Value,
    Workload,
    ends_of,
    levelled,
    load_unknowns,
    machine_factors,
    ranged,
    reading,
)
from sailsim.base.errors import ImpossibleMachineError, SailsimError
from sailsim.sim.backends.cores import Software
from sailsim.sim.machine.system_files import gpu_names, load_system
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import CORES, core_of, fitted_constants
from sailsim.sim.software.kernel_rates import format_key
from sailsim.sim.study.origin import code_version
from sailsim.workloads.models.formats import uniform_format

# --- The space ---


@dataclass(frozen=True)
class ParameterSpace:
    """All factors, the workloads, what is held, other designs, and the claims that all of it is about."""

    factors: tuple[Parameter, ...]
    workloads: tuple[Workload, ...]
    held: Mapping[str, FixedValue]
    alternatives: tuple[AlternativeDesign, ...]
    apart: tuple[Parameter, ...]
    """What is drawn for an alternative alone (`AlternativeDesign.drawn`): nothing else depends on it."""
    hosts: Mapping[Software, str]
    """The system whose cores run a software; the first is the nominal one."""
    servers: tuple[Price, ...]
    """Instances of which one is rented; first the nominal one."""
    paper: Paper

    @cached_property
    def digest(self) -> str:
        """What results rest on: a hash of the space and of the code."""
        content = json.dumps(to_jsonable_python([asdict(self), code_version()]), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the factors in order."""
        return tuple(factor.name for factor in self.factors)

    @property
    def deciding(self) -> tuple[int, ...]:
        """Indices of the workloads that sensitivity is of."""
        return tuple(i for i, w in enumerate(self.workloads) if w.decides)

    @property
    def fixed(self) -> int:
        """Index of the fixed workload."""
        return next(i for i, w in enumerate(self.workloads) if w.fixed)

    def only(self, names: Collection[str]) -> ParameterSpace:
        """The space of some factors; the others are held at their nominal values."""
        return replace(self, factors=tuple(f for f in self.factors if f.name in names))

    def draw(self, row: Sequence[float] | Numbers) -> SampledMachine:
        """The machine of a row of u's, one a factor.

        Raises SailsimError for a row of another length or outside [0, 1].
        """
        if len(row) != len(self.factors) or not all(0 <= u <= 1 for u in row):
            raise SailsimError(
                f"row has {len(row)} numbers, allowed are {len(self.factors)} between 0 and 1, one a factor"
            )
        return self.nominal.with_values(
            {f.name: f.at(float(u)) for f, u in zip(self.factors, row, strict=True)}
        )

    def design(
        self, alternative: AlternativeDesign, machine: SampledMachine, seed: Sequence[int]
    ) -> SampledMachine:
        """A machine with another design, and with what only that depends on drawn from a seed."""
        rng = np.random.default_rng(seed)
        drawn = {f.name: f.at(float(rng.random())) for f in self.apart if f.name in alternative.drawn}
        return machine.with_values(alternative.values | drawn)

    @property
    def software(self) -> Software:
        """What the nominal machine's cores run."""
        return next(iter(self.hosts))

    @cached_property
    def nominal(self) -> SampledMachine:
        """The machine with every factor at its nominal value."""
        return SampledMachine({}, self.hosts)

    def host_of(self, runner: Runner) -> Software:
        """The software of SAIL's cores beside a runner: its own on cores, the nominal one beside a GPU."""
        return next((s for s in self.hosts if runner.kind == "cores" and s == runner.software), self.software)


def space(paper: str = SHIPPED, prior: str | None = None) -> ParameterSpace:
    """Every unknown of a paper's machine, software, GPUs, cost and area.

    ``prior`` is a file of unknowns by name or path; None: the paper's own. Raises SailsimError for a bad file
    of claims or unknowns, and for a paper without unknowns.
    """
    claims = load_paper(paper)
    named = prior if prior is not None else claims.unknowns
    if named is None:
        raise SailsimError(f"claims {paper}: unknowns is missing, allowed is a file of what is not published")
    file = load_unknowns(named)
    held = {name: each for name, each in file.held.items() if name not in file.drawn}
    servers = file.rented.servers(max(w.threads for w in file.workload))
    instances = tuple(price.instance for price in servers)
    sizes = [each for name, each in file.levels.items() if name == GROUP_SIZE]
    other_cores = set(CORES) - {core_of(load_system(name)) for name in file.hosts.values()}
    factors = [
        *machine_factors(
            load_system(next(iter(file.hosts.values()))), file.levels, file.ranges, file.synthesised
        ),
        *_fitted_factors("cpu", lambda name: not other_cores & set(name.split(".")), "software"),
        *_rate_factors([w.wbits for w in file.workload]),
        *_opponent_factors(claims.opponents.values()),
        *(levelled(GROUP_SIZE, each, each.nominal, "weights", "weights") for each in sizes),
        *_constant_factors("cost", CostConstants, file.synthesised),
        Parameter("cost.instance", "cost", file.rented.reason, values=instances, nominal=instances[0]),
        *_constant_factors("area", AreaConstants, file.synthesised),
    ]
    drawn = {name: other.name for other in file.alternative for name in other.drawn}
    apart = tuple(factor for factor in factors if factor.name in drawn and factor.group == "machine")
    for name, design in drawn.items():
        if name in held or name not in {factor.name for factor in apart}:
            raise SailsimError(
                f"alternative {design!r} draws {name!r}, allowed is a value of the machine that has a range "
                "or levels and is not held"
            )
    whole = ParameterSpace(
        factors=tuple(f for f in factors if f.name not in held and f.name not in drawn),
        apart=apart,
        workloads=file.workload,
        held=held,
        alternatives=file.alternative,
        hosts=file.hosts,
        servers=servers,
        paper=claims,
    )
    _check_asked(whole, file, named)
    return whole


def _check_asked(whole: ParameterSpace, file: Prior, named: str) -> None:
    """Raise SailsimError where a range or a level of a file is one that no machine can have, whatever else it
    has; which values go together is seen when a machine is drawn."""
    asked: list[tuple[str, str, Value]] = [
        ("ranges", path, end) for path, span in file.ranges.items() for end in (span.low, span.high)
    ]
    asked += [("levels", path, level) for path, each in file.levels.items() for level in each.values]
    for what, path, value in asked:
        try:
            whole.nominal.with_values({path: value}).system()
            if path == GROUP_SIZE:
                Point(group_size=cast(int, value))
        except ImpossibleMachineError:
            continue
        except SailsimError as error:
            words = str(error).removeprefix(f"{SAMPLED}: ")
            raise SailsimError(f"unknowns {named}: {what} of {path} has {value!r}: {words}") from None


def _fitted_factors(
    group: Literal["cpu", "gpu"], is_kept: Callable[[str], bool], whose: Group
) -> list[Parameter]:
    """Constants that were fitted together, as standard normal numbers; assumed ones by their range."""
    names, matrix = fitted_constants().covariances[group]
    known, factors = fitted_constants().quantities(), []
    for name, q in known.items():
        if not (name.startswith(f"{group}.") and is_kept(name)):
            continue
        reason = f"{q.note}; {q.source}"
        low, high = (float(q.value if x is None else x) for x in (q.low, q.high))
        if name in names and matrix[names.index(name), names.index(name)] > 0:
            factors.append(
                Parameter(name, whose, reason, q.unit, low=low, high=high, normal=True, nominal=0.0)
            )
        elif q.kind == "assumed" and low < high:
            factors.append(Parameter(name, whose, reason, q.unit, low=low, high=high, nominal=float(q.value)))
    return factors


def _ratio(name: str, group: Group, reason: str, low: float, high: float) -> Parameter:
    """A factor on what is known, nominally 1."""
    return Parameter(name, group, reason, "ratio", low=low, high=high, centred=True, nominal=1.0)


def _rate_factors(widths: Iterable[int]) -> list[Parameter]:
    """Kernels of uniform codes: of two and three bits together, since the same unpacking slows both down."""
    rates = {
        w: fitted_constants().kernel_rates[format_key(uniform_format(w, 128).base)]
        for w in sorted(set(widths))
    }
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
            name, (low, high), nominal = f"rate.w{wbits}", (rate.low, rate.high), rate.relative
            factors.append(
                Parameter(name, "software", reason, "of q4_k", low=low, high=high, nominal=nominal)
            )
    return factors


def _opponent_factors(opponents: Collection[Runner]) -> list[Parameter]:
    """How far tables on the cores carry over from the machine that they were measured on; the GPUs'
    constants, but those of GPUs that no claim is about; and scatter: nine of ten measurements lie inside a
    fit's interval, and one measured baseline may be anywhere in it."""
    factors = []
    if any(runner.software == "t-mac" for runner in opponents):
        rate = fitted_constants().software("t-mac").constants["lut_rate"]
        low, high = (float(rate.value if x is None else x) / float(rate.value) for x in (rate.low, rate.high))
        reason = f"T-MAC's rate on this chip, with many threads and a batch, over the fitted one: {rate.note}"
        factors.append(_ratio(TABLE_RATE, "software", reason, low, high))
    others = set(gpu_names()) - {runner.hardware for runner in opponents}

    def is_kept(name: str) -> bool:
        # Those of 16 bits are of prompts alone, which no claim is about.
        return name.rpartition("_")[2] not in others and not re.search("_f16(_|$)", name)

    factors += _fitted_factors("gpu", is_kept, "gpu")
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
    """The factor that a runner's measurements scatter by: of its software on cores, else of its GPU."""
    return f"scatter.{runner.software if runner.kind == 'cores' else runner.hardware}"


def _constant_factors(
    group: Literal["cost", "area"], constants: type[ConstantSet], synthesised: bool
) -> list[Parameter]:
    """The constants of a model that have a range."""
    return [
        ranged(f"{group}.{name}", group, q, *ends, read.note or read.source)
        for name, q in constants.quantities().items()
        if (ends := ends_of(read := reading(q, synthesised))) is not None
    ]
