"""The factors of a space of unknowns: from the ranges of the system file, of the fits, of costs and area."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from pydantic import model_validator

from sailsim.analysis.costs.constants import Constants
from sailsim.analysis.costs.dollars import Price
from sailsim.analysis.paper.claims import with_tuples
from sailsim.analysis.paper.machine import ATTENTION, FEW_BITS, FEW_BITS_RATE, OPERATION, TABLE_RATE
from sailsim.analysis.paper.parameters import Factor, Group, Value
from sailsim.analysis.paper.space import scatters_as
from sailsim.analysis.results.runs import Runner
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Choice, Frozen, Quantity
from sailsim.sim.backends.cores import format_key, kernel_rates
from sailsim.sim.files import card_names
from sailsim.sim.fitted import CORES, fitted_constants
from sailsim.sim.nbw import AUTO
from sailsim.sim.system import System
from sailsim.sim.vary import leaves
from sailsim.workloads.formats import uniform_format

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


class Span(Frozen):
    """A range that takes the place of the system file's: a `[ranges."..."]` table."""

    low: int | float
    high: int | float
    reason: str


def machine_factors(
    system: System, levels: Mapping[str, Levels], ranges: Mapping[str, Span] | None = None
) -> list[Factor]:
    """Values of a system file that are not published or not known exactly: those with a range or levels.

    Levels may also be of an operation of the arrays (`pim.substrate.read`) and of `machine.ATTENTION`. Raises
    SailsimError for levels outside a value's range, for a range without its value, and for either of what is
    no value.
    """
    known, spans = leaves(system), ranges or {}
    beside = {path: each for path, each in levels.items() if path == ATTENTION or path.startswith(OPERATION)}
    for what, named in (("levels", levels), ("ranges", spans)):
        allowed = {*known, *beside, GROUP_SIZE} if what == "levels" else {*known}
        unknown = next((path for path in named if path not in allowed), None)
        if unknown is not None:
            raise SailsimError(
                f"{what} has {unknown!r}, allowed is {GROUP_SIZE} or a field of system {system.name}"
            )
    found = []
    for path, leaf in known.items():
        if path in _FOLLOW_SOFTWARE or path in _OF_OTHER_WEIGHTS:
            continue
        if path in levels:
            found.append(_levelled(path, leaf, levels[path]))
        elif path in spans:
            found.append(_spanned(path, leaf, spans[path]))
        elif isinstance(leaf, Quantity) and leaf.low is not None and leaf.high is not None:
            reason = leaf.note or system.citation(leaf.source)
            if leaf.low != leaf.high:
                found.append(_ranged(path, leaf, leaf.low, leaf.high, reason))
    return found + [_named(path, listed, "machine", "cycles") for path, listed in beside.items()]


def _ranged(path: str, leaf: Quantity, low: float | int, high: float | int, reason: str) -> Factor:
    return Factor(
        path,
        "machine",
        reason,
        leaf.unit,
        low=float(low),
        high=float(high),
        whole=all(isinstance(x, int) for x in (low, leaf.value, high)),
        log=low > 0 and high / low >= DECADE,
        nominal=leaf.value,
    )


def _spanned(path: str, leaf: Quantity | Choice, span: Span) -> Factor:
    if not isinstance(leaf, Quantity) or not span.low <= float(leaf.value) <= span.high:
        raise SailsimError(
            f"ranges of {path} is {span.low:g} .. {span.high:g}, allowed is a range of a number that has its "
            f"value, {leaf.value!r}"
        )
    return _ranged(path, leaf, span.low, span.high, span.reason)


def _levelled(path: str, leaf: Quantity | Choice, listed: Levels) -> Factor:
    values = listed.values
    unit = ""
    if isinstance(leaf, Quantity):
        unit = leaf.unit
        low, high = (float(leaf.value if x is None else x) for x in (leaf.low, leaf.high))
        numbers = [v for v in values if (path, v) != ("pim.nbw", AUTO)]
        outside = [v for v in numbers if not isinstance(v, int | float) or not low <= v <= high]
        if outside:
            raise SailsimError(
                f"levels of {path} include {outside[0]!r}, allowed is its range {low:g} .. {high:g}"
            )
    if not values or leaf.value not in values:
        raise SailsimError(f"levels of {path} are {values!r}, allowed is a list that has {leaf.value!r}")
    return Factor(path, "machine", listed.reason, unit, values=values, nominal=leaf.value)


def _named(path: str, listed: Levels, group: Group, unit: str) -> Factor:
    """A factor of levels that no system file has as they are."""
    if listed.nominal is None or listed.nominal not in listed.values:
        raise SailsimError(
            f"levels of {path}: nominal is {listed.nominal!r}, allowed is one of {listed.values}"
        )
    return Factor(path, group, listed.reason, unit, values=listed.values, nominal=listed.nominal)


def software_factors(cores: Collection[str]) -> list[Factor]:
    """Constants of softwares on some kinds of cores that were fitted together, as standard normal numbers;
    assumed ones by their range."""
    others = set(CORES) - set(cores)
    names = [name for name in fitted_constants().quantities() if name.startswith("cpu.")]
    return _fitted_factors("cpu", [name for name in names if not others & set(name.split("."))], "software")


def card_factors(opponents: Sequence[Runner]) -> list[Factor]:
    """The same of cards; those of a card that no claim is about are left out."""
    others = set(card_names()) - {runner.hardware for runner in opponents}
    names = [name for name in fitted_constants().quantities() if name.startswith("gpu.")]
    # Those of 16 bits are of prompts alone, which no claim is about.
    kept = [n for n in names if n.rpartition("_")[2] not in others and not re.search("_f16(_|$)", n)]
    return _fitted_factors("gpu", kept, "card")


def _fitted_factors(group: Literal["cpu", "gpu"], kept: Sequence[str], whose: Group) -> list[Factor]:
    names, matrix = fitted_constants().covariance(group)
    known, found = fitted_constants().quantities(), []
    for name in kept:
        q = known[name]
        reason = f"{q.note}; {q.source}"
        low, high = (float(q.value if x is None else x) for x in (q.low, q.high))
        if name in names and matrix[names.index(name), names.index(name)] > 0:
            found.append(Factor(name, whose, reason, q.unit, low=low, high=high, normal=True, nominal=0.0))
        elif q.kind == "assumed" and low < high:
            found.append(Factor(name, whose, reason, q.unit, low=low, high=high, nominal=float(q.value)))
    return found


def rate_factors(widths: Sequence[int]) -> list[Factor]:
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


def table_factors(opponents: Sequence[Runner]) -> list[Factor]:
    """How far tables on the cores carry over from the machine that they were measured on."""
    if all(runner.software != "t-mac" for runner in opponents):
        return []
    rate = fitted_constants().software("t-mac").constants["lut_rate"]
    low, high = (
        float(rate.value if end is None else end) / float(rate.value) for end in (rate.low, rate.high)
    )
    reason = f"T-MAC's rate on this chip, with many threads and a batch, over the fitted one: {rate.note}"
    return [Factor(TABLE_RATE, "software", reason, "ratio", low=low, high=high, centred=True, nominal=1.0)]


def scatter_factors(opponents: Sequence[Runner]) -> list[Factor]:
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


def weight_factors(levels: Mapping[str, Levels]) -> list[Factor]:
    """How many weights share a scale."""
    listed = levels.get(GROUP_SIZE)
    if listed is None:
        return []
    return [_named(GROUP_SIZE, listed, "weights", "weights")]


def constant_factors(group: Literal["cost", "area"], constants: type[Constants]) -> list[Factor]:
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


def server_factor(servers: Sequence[Price], reason: str) -> Factor:
    """Which server is rented."""
    names = tuple(price.instance for price in servers)
    return Factor("cost.instance", "cost", reason, values=names, nominal=names[0])
