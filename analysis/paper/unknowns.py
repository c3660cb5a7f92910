"""The space of unknowns of a paper, from data: ranges of the system files and of the fits, and a file.

`data/unknowns/<paper>.toml` adds levels, choices, workloads, what is held equal, and which machines and
servers all of it is about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.kernel_rates import Software, format_key, kernel_rates
from sailsim.analysis.baselines.runners import Runner
from sailsim.analysis.costs.area import AreaConstants
from sailsim.analysis.costs.constants import Constants
from sailsim.analysis.costs.dollars import CostConstants, Price, prices
from sailsim.analysis.paper.claims import SHIPPED, load_paper, with_tuples
from sailsim.analysis.paper.machine import FEW_BITS, FEW_BITS_RATE, TABLE_RATE
from sailsim.analysis.paper.parameters import Alternative, Factor, FixedParameter, Group, Value, Workload
from sailsim.analysis.paper.space import ParameterSpace, scatters_as
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Frozen
from sailsim.base.stamp import Stamp, stamp
from sailsim.sim import Choice, Quantity, System, card_names, leaves, load_system
from sailsim.sim.tables import Shelf, sentence
from sailsim.workloads import uniform_format

UNKNOWNS = Shelf("unknowns", "data/unknowns", package="sailsim.analysis")
"""The files."""
GROUP_SIZE = "weights.group_size"
"""The one factor of the weights."""
DECADE = 4.0
"""From this ratio of its ends on, a range is drawn evenly in its logarithm."""
_FOLLOW_SOFTWARE = ("host.attention_rate", "host.barrier", "host.product_overhead", "memory.core_share")
_OF_OTHER_WEIGHTS = ("host.float_rate", "host.grid_rate")
"""What only weights without scalar codes ask for, which no claim has."""


class Levels(Frozen):
    """What a value may be that does not come in every size: a `[levels."..."]` table."""

    values: tuple[Value, ...]
    nominal: Value | None = None
    """Where no system file has the value."""
    reason: str

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, table: Any) -> Any:
        return with_tuples(table, "values")


class Held(Frozen):
    """What is held equal: a `[held."..."]` table."""

    value: Value
    reason: str


class Rented(Frozen):
    """Which servers may be rented: the `[rented]` table."""

    machines: tuple[str, ...]
    """As the price list names them; the first prices the nominal machine."""
    reason: str

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, table: Any) -> Any:
        return with_tuples(table, "machines")

    def servers(self, threads: int) -> tuple[Price, ...]:
        """Every instance of theirs that has the threads; first what prices the nominal machine."""
        first = prices().of(self.machines[0])
        named = [row for row in prices().rows if row.kind == "cpu" and set(self.machines) & set(row.machines)]
        return (first, *(row for row in named if row.units >= threads and row != first))


class Unknowns(Frozen):
    """A file of unknowns."""

    hosts: dict[Software, str]
    """The system whose cores run a software; the first is the nominal machine, whose values are drawn."""
    rented: Rented
    levels: dict[str, Levels] = Field(default={})
    alternative: tuple[Alternative, ...] = ()
    workload: tuple[Workload, ...]
    held: dict[str, Held] = Field(default={})

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, table: Any) -> Any:
        return with_tuples(table, "alternative", "workload")

    @model_validator(mode="after")
    def _has_one_fixed_workload(self) -> Unknowns:
        if not self.hosts:
            raise ValueError("hosts is empty; allowed is at least one software with its system")
        fixed = [w.name for w in self.workload if w.fixed]
        if len(fixed) != 1:
            raise ValueError(f"workload has {len(fixed)} entries with fixed = true; allowed is one")
        return self


def load_unknowns(name_or_path: str = SHIPPED) -> Unknowns:
    """A file of unknowns by name or path. Raises SailsimError that names the file and the field."""
    return _loaded(name_or_path, stamp(UNKNOWNS.path(name_or_path)))


@lru_cache(maxsize=8)
def _loaded(name_or_path: str, _stamp: Stamp) -> Unknowns:
    """A file is read again only when it has changed."""
    try:
        return Unknowns.model_validate(UNKNOWNS.read(name_or_path))
    except ValidationError as error:
        raise SailsimError(sentence(f"unknowns {name_or_path}", error, "a field of such a file")) from None


def space(paper: str = SHIPPED) -> ParameterSpace:
    """Every unknown of a paper's machine, software, cards, cost and area.

    Raises SailsimError for a bad file of claims or unknowns, and for a paper without unknowns.
    """
    claims = load_paper(paper)
    if claims.unknowns is None:
        raise SailsimError(f"claims {paper}: unknowns is missing, allowed is a file of what is not published")
    file = load_unknowns(claims.unknowns)
    opponents = claims.opponents("samples")
    servers = file.rented.servers(max(w.threads for w in file.workload))
    system = load_system(next(iter(file.hosts.values())))
    factors = [
        *machine_factors(system, file.levels),
        *_software_factors("cpu", opponents),
        *_rate_factors([w.wbits for w in file.workload]),
        *_table_factors(opponents),
        *_software_factors("gpu", opponents),
        *_scatter_factors(opponents),
        *_weight_factors(file.levels),
        *_constant_factors("cost", CostConstants),
        _server_factor(servers, file.rented.reason),
        *_constant_factors("area", AreaConstants),
    ]
    drawn = {name: other.name for other in file.alternative for name in other.drawn}
    apart = tuple(factor for factor in factors if factor.name in drawn and factor.group == "machine")
    for name, design in drawn.items():
        if name in file.held or name not in {factor.name for factor in apart}:
            raise SailsimError(
                f"alternative {design!r} draws {name!r}, allowed is a value of the machine that has a range "
                "or levels and is not held"
            )
    return ParameterSpace(
        factors=tuple(f for f in factors if f.name not in file.held and f.name not in drawn),
        apart=apart,
        workloads=file.workload,
        held=tuple(
            FixedParameter(name=name, value=str(held.value), reason=held.reason)
            for name, held in file.held.items()
        ),
        alternatives=file.alternative,
        hosts=file.hosts,
        servers=servers,
        paper=claims,
    )


def machine_factors(system: System, levels: Mapping[str, Levels]) -> list[Factor]:
    """Values of a system file that are not published or not known exactly: those with a range or levels.

    Raises SailsimError for levels outside a value's range, and for levels of what is no value.
    """
    known = leaves(system)
    unknown = next((path for path in levels if path not in known and path != GROUP_SIZE), None)
    if unknown is not None:
        raise SailsimError(
            f"levels has {unknown!r}, allowed is {GROUP_SIZE} or a field of system {system.name}"
        )
    found = []
    for path, leaf in known.items():
        if path in _FOLLOW_SOFTWARE or path in _OF_OTHER_WEIGHTS:
            continue
        listed = levels.get(path)
        if listed is not None:
            found.append(_levelled(path, leaf, listed))
        elif isinstance(leaf, Quantity) and leaf.low is not None and leaf.high is not None:
            if leaf.low == leaf.high:
                continue
            low, high = float(leaf.low), float(leaf.high)
            found.append(
                Factor(
                    path,
                    "machine",
                    leaf.note or system.citation(leaf.source),
                    leaf.unit,
                    low=low,
                    high=high,
                    whole=all(isinstance(x, int) for x in (leaf.low, leaf.value, leaf.high)),
                    log=low > 0 and high / low >= DECADE,
                    nominal=leaf.value,
                )
            )
    return found


def _levelled(path: str, leaf: Quantity | Choice, listed: Levels) -> Factor:
    values = listed.values
    unit = ""
    if isinstance(leaf, Quantity):
        unit = leaf.unit
        low, high = (float(leaf.value if x is None else x) for x in (leaf.low, leaf.high))
        outside = [v for v in values if not low <= float(v) <= high]
        if outside:
            raise SailsimError(
                f"levels of {path} include {outside[0]!r}, allowed is its range {low:g} .. {high:g}"
            )
    if not values or leaf.value not in values:
        raise SailsimError(f"levels of {path} are {values!r}, allowed is a list that has {leaf.value!r}")
    return Factor(path, "machine", listed.reason, unit, values=values, nominal=leaf.value)


def _software_factors(group: Literal["cpu", "gpu"], opponents: Sequence[Runner]) -> list[Factor]:
    """Constants that were fitted together, as standard normal numbers; assumed ones by their range.

    Those of a card that no claim is about are left out.
    """
    names, matrix = fitted_constants().covariance(group)
    others = set(card_names()) - {runner.hardware for runner in opponents}
    known = fitted_constants().quantities()
    found = []
    for name in known:
        if not name.startswith(f"{group}.") or (group == "gpu" and name.rpartition("_")[2] in others):
            continue
        if group == "gpu" and re.search("_f16(_|$)", name):  # of prompts alone, which no claim is about
            continue
        q = known[name]
        reason = f"{q.note}; {q.source}"
        whose: Group = "software" if group == "cpu" else "card"
        low, high = (float(q.value if x is None else x) for x in (q.low, q.high))
        if name in names and matrix[names.index(name), names.index(name)] > 0:
            found.append(Factor(name, whose, reason, q.unit, low=low, high=high, normal=True, nominal=0.0))
        elif q.kind == "assumed" and low < high:
            found.append(Factor(name, whose, reason, q.unit, low=low, high=high, nominal=float(q.value)))
    return found


def _rate_factors(widths: Sequence[int]) -> list[Factor]:
    """Kernels of uniform codes: of two and three bits together, since the same unpacking slows both down."""
    rates = {w: kernel_rates()[format_key(uniform_format(w, 128).base)] for w in sorted(set(widths))}
    few = {wbits: rate for wbits, rate in rates.items() if wbits in FEW_BITS}
    found = []
    if few:
        low = max(rate.low / rate.relative for rate in few.values())
        high = min(rate.high / rate.relative for rate in few.values())
        notes = "; ".join(f"{wbits} bits: {rate.note}" for wbits, rate in few.items())
        reason = f"llama.cpp's kernels for few bits, over what they are taken to be: {notes}"
        found.append(
            Factor(FEW_BITS_RATE, "software", reason, "ratio", low=low, high=high, centred=True, nominal=1.0)
        )
    for wbits, rate in rates.items():
        if wbits not in few and rate.low < rate.high:
            reason = f"llama.cpp's kernel for {wbits}-bit weights: {rate.note}"
            found.append(
                Factor(
                    f"rate.w{wbits}",
                    "software",
                    reason,
                    "of q4_k",
                    low=rate.low,
                    high=rate.high,
                    nominal=rate.relative,
                )
            )
    return found


def _table_factors(opponents: Sequence[Runner]) -> list[Factor]:
    """How far tables on the cores carry over from the machine that they were measured on."""
    if all(runner.software != "t-mac" for runner in opponents):
        return []
    rate = fitted_constants().software("t-mac").constants["lut_rate"]
    low, high = (
        float(rate.value if end is None else end) / float(rate.value) for end in (rate.low, rate.high)
    )
    reason = f"T-MAC's rate on this chip, with many threads and a batch, over the fitted one: {rate.note}"
    return [Factor(TABLE_RATE, "software", reason, "ratio", low=low, high=high, centred=True, nominal=1.0)]


def _scatter_factors(opponents: Sequence[Runner]) -> list[Factor]:
    """Nine of ten measurements lie inside a fit's band: one measured baseline may be anywhere in it."""
    found = {}
    for runner in opponents:
        if runner.kind == "cores":
            band = fitted_constants().software(runner.software).band("decode")
            title = f"CPU decoding, {runner.software}"
        else:
            band, title = fitted_constants().gpu.band("decode"), f"{runner.hardware.upper()} decoding"
        group: Group = "software" if runner.kind == "cores" else "card"
        name = f"scatter.{scatters_as(runner)}"
        reason = f"{title}: measured over predicted, cross-validated band"
        found[name] = Factor(
            name, group, reason, "ratio", low=band.low, high=band.high, centred=True, nominal=1.0
        )
    return list(found.values())


def _weight_factors(levels: Mapping[str, Levels]) -> list[Factor]:
    listed = levels.get(GROUP_SIZE)
    if listed is None:
        return []
    if listed.nominal is None or listed.nominal not in listed.values:
        raise SailsimError(
            f"levels of {GROUP_SIZE}: nominal is {listed.nominal!r}, allowed is one of {listed.values}"
        )
    return [
        Factor(GROUP_SIZE, "weights", listed.reason, "weights", values=listed.values, nominal=listed.nominal)
    ]


def _constant_factors(group: Literal["cost", "area"], constants: type[Constants]) -> list[Factor]:
    """The constants of a model that have a range."""
    found = []
    for name, q in constants.quantities().items():
        if q.low is None or q.high is None or q.low == q.high:
            continue
        low, high = float(q.low), float(q.high)
        found.append(
            Factor(
                f"{group}.{name}",
                group,
                q.note or q.source,
                q.unit,
                low=low,
                high=high,
                log=low > 0 and high / low >= DECADE,
                nominal=float(q.value),
            )
        )
    return found


def _server_factor(servers: Sequence[Price], reason: str) -> Factor:
    """Which server is rented."""
    names = tuple(price.instance for price in servers)
    return Factor("cost.instance", "cost", reason, values=names, nominal=names[0])
