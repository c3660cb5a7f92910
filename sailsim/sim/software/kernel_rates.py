"""Rates of kernels on cores by software and format: measured, from ratios of kernels, or assumed.

A rate is that of a software's anchor, its fitted four-bit kernel, times the format's ratio to it
(`fits/kernel_rates.csv`). This project's own kernels were not measured but run in gem5: a product and its
share of the group's sum take

    cycles a MAC = 1 / rate(bits) + group cycles * (1 / group - 1 / 128).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import exp

import numpy as np

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity
from sailsim.sim.software.fitted import RATE_ROWS, Fits, FitSet, KernelRate, fitted_constants
from sailsim.sim.software.records import N1, Law, SoftwareRecord, load_software
from sailsim.workloads.models.formats import TensorFormat, WeightFormat

GROUP = 128
"""Weights of a scale at which rates of this project's kernels are given."""
WIDTHS = (2, 4, 8)
"""Bits of the weights in the steps that were run."""
TABLE_BITS = 4
"""Most bits of a weight that tables multiply; wider codes run by dot products."""
CORE_MODEL_ERROR = 0.2
"""Error of a kernel's rate on the core model, or of the ratio of two, against a real core (log; assumed,
0.1..0.3): the model is calibrated on load latencies, not on kernels."""
COLUMN_WEIGHTS = 4096
"""Weights of a scale where a column has one (assumed, 1024..16384: a column's weights)."""
DECODE_TABLE = "gem5/decode.jsonl"
"""Steps to which the rates of this project's kernels were fitted (`analysis/data`)."""
Rated = tuple[float, KernelRate]
"""Rate of an anchor in MAC/cycle, and that of a format relative to it."""


def lut_bits() -> Mapping[str, int]:
    """Look-ups that a weight takes, by formats that tables multiply."""
    return {row["format"]: int(row["lut_bits"]) for row in RATE_ROWS if row["lut_bits"]}


def format_problem(record: SoftwareRecord, fmt: WeightFormat, core: str) -> str | None:
    """Reason why a software does not multiply a format on a core, None if it does."""
    types, words = [fmt.base, *(each for each, _ in fmt.shares)], f"weights are {fmt.name}; allowed for"
    if record.formats and not all(_key_or_name(each) in record.formats for each in types):
        return f"{words} {record.allowed or f'{record.title} are ' + ', '.join(record.formats)}."
    if record.law == "listed":
        listed = record.rates.get(core, {})
        if not all(format_key(each) in listed for each in types):
            return f"{words} {record.title} on {core} are {', '.join(listed) or 'none'}."
    tables = "look-ups" in (record.law, record.based_on and load_software(record.based_on).law)
    if tables and not any(format_key(each) in lut_bits() for each in types):
        return f"{words} T-MAC's tables are some of {', '.join(lut_bits())}."
    if record.program and (without := [each.name for each in types if each.wbits is None]):
        return f"weights are {without[0]}; allowed for this project's kernels are codes of 1 to 8 bits."
    return None


def _key_or_name(fmt: TensorFormat) -> str:
    """`format_key`, or the type's name where it has no rate."""
    return format_key(fmt) if fmt.name in fitted_constants().kernel_rates or fmt.wbits else fmt.name


def format_key(fmt: TensorFormat) -> str:
    """Row of `kernel_rates.csv` for a tensor's format: its type, or its width for uniform codes.

    Raises SailsimError where there is none.
    """
    rates = fitted_constants().kernel_rates
    if fmt.name in rates:
        return fmt.name
    if fmt.wbits is None:
        raise SailsimError(f"format {fmt.name} has no kernel rate, allowed is one of {', '.join(rates)}")
    return f"w{fmt.wbits}"


def format_rate(
    software: str, fmt: WeightFormat, fitted_by: Fits | None = None, prompts: bool = False, core: str = N1
) -> tuple[float, KernelRate]:
    """Anchor of a software's kernels on a core in MAC/cycle, and the rate of a format relative to it.

    ``fitted_by`` replaces the shipped fits; ``prompts`` selects whole prompts, for which the fork has other
    rates (llama.cpp has one for both). Raises SailsimError for software without constants on that core.
    """
    record = load_software(software)
    if problem := format_problem(record, fmt, core):
        raise SailsimError(problem)
    return _LAWS[record.law](fitted_by or fitted_constants(), record, fmt, prompts, core)


def _listed_rate(
    _: Fits, record: SoftwareRecord, fmt: WeightFormat, prompts: bool, core: str
) -> tuple[float, KernelRate]:
    """Anchor 1 MAC/cycle, and the rate that a record lists for a core."""
    rates = record.rates[core]

    def of(each: TensorFormat) -> KernelRate:
        own = rates[format_key(each)]
        low, high = (float(own.value if end is None else end) for end in (own.low, own.high))
        kind = "assumed" if own.kind == "assumed" else "fitted"
        return KernelRate(float(own.value), low, high, kind, own.note, own.source)

    return 1.0, _mean_rate(fmt, of)


def _ratio_rate(fitted: Fits, record: SoftwareRecord, fmt: WeightFormat, prompts: bool, core: str) -> Rated:
    """Anchor and rate of llama.cpp: its four-bit kernel, and the ratio of a format to it."""
    own = fitted.software(record.name, core).constants["kernel_rate_q4_k_m"]
    rate = _mean_rate(fmt, lambda each: fitted.kernel_rates[format_key(each)])
    return float(own.value), rate if core == N1 else _rate_on_core(rate, own, core)


def _single_rate(fitted: Fits, record: SoftwareRecord, fmt: WeightFormat, prompts: bool, core: str) -> Rated:
    own = fitted.software(record.name, core).constants["prompt_rate" if prompts else "kernel_rate"]
    return float(own.value), KernelRate(1.0, 1.0, 1.0, "fitted", own.note, own.source)


def _gain_rate(fitted: Fits, record: SoftwareRecord, fmt: WeightFormat, prompts: bool, core: str) -> Rated:
    """Anchor and rate of the software that a gain is over, times the gain."""
    below, gain = load_software(record.based_on), record.gain
    assert gain is not None
    anchor, rate = _LAWS[below.law](fitted, below, fmt, prompts, core)
    low, high = (rate.relative * float(end or gain.value) for end in (gain.low, gain.high))
    return anchor, replace(rate.times(float(gain.value)), low=low, high=high, source=gain.source)


def _rate_on_core(rate: KernelRate, anchor: Quantity, core: str) -> KernelRate:
    """Rate of a format on a core without measured ratios of formats, by those of Neoverse N1.

    The interval of an assumed anchor widens that of the rate.
    """
    four_bits = rate.relative == rate.low == rate.high == 1.0
    note = rate.note if four_bits else f"{rate.note}; the ratio to four bits is that on {N1}"
    if anchor.kind != "assumed":
        return replace(rate, note=note, kind=rate.kind if four_bits else "assumed", how="")
    low, high = _relative_ends(anchor)
    note = f"no kernel was measured on {core}" if four_bits else f"{note}; no kernel was measured on {core}"
    return replace(rate, low=low * rate.low, high=high * rate.high, kind="assumed", note=note, how="")


def _relative_ends(anchor: Quantity) -> tuple[float, float]:
    low, high = (anchor.value if end is None else end for end in (anchor.low, anchor.high))
    return float(low) / float(anchor.value), float(high) / float(anchor.value)


def _nearest_rate(fitted: Fits, record: SoftwareRecord, fmt: WeightFormat, prompts: bool, core: str) -> Rated:
    """Anchor and rate of Ampere's fork: two formats are fitted, other widths take the nearer one's rate."""
    rates = "prompt_rate" if prompts else "kernel_rate"
    own = fitted.software(record.name, core)
    eight = fmt.wbits is not None and fmt.wbits > 6
    measured = format_key(fmt.base) in ("q4_k", "q8_0")
    low, high, kind = (1.0, 1.0, "fitted") if measured else (0.6, 1.4, "assumed")
    source = "prompts.csv" if rates == "prompt_rate" else "a1_batched.csv"
    rate = KernelRate(1.0, low, high, kind, "taken from the fork's nearest format", source)
    return own.value(f"{rates}_q8r16" if eight else f"{rates}_q4_k_4"), rate


def _look_up_rate(fitted: Fits, record: SoftwareRecord, fmt: WeightFormat, prompts: bool, core: str) -> Rated:
    """Anchor and rate of T-MAC: a look-up a bit for types in tables, its host's kernel for others."""
    lut = fitted.software(record.name, core).constants["lut_rate"]
    llama = fitted.software(record.host, core).value("kernel_rate_q4_k_m")
    anchor, (low, high) = float(lut.value), _relative_ends(lut)

    def of(each: TensorFormat) -> KernelRate:
        key = format_key(each)
        bits = lut_bits().get(key)
        if bits is None:
            return fitted.kernel_rates[key].times(llama / anchor)
        kind = "fitted" if bits in (2, 4) and core == N1 else "assumed"
        note = "two and four bits were measured; tables take as many steps as a weight has bits"
        return KernelRate(1 / bits, low / bits, high / bits, kind, note, lut.source)

    return anchor, _mean_rate(fmt, of)


def _code_rate(fitted: Fits, record: SoftwareRecord, fmt: WeightFormat, prompts: bool, core: str) -> Rated:
    """Anchor and rate of this project's kernels in gem5, relative to dot products of four bits."""
    own, tables = fitted.software(record.name, core), record.law == "code tables"
    anchor = own.value("kernel_rate_w4")
    note = "gem5 ran 2, 4 and 8 bits; a real core's rate is not known better than the core model is"

    def of(each: TensorFormat) -> KernelRate:
        rate, common, run = simulated_rate(own, each, tables)
        kind, own_rate = "fitted" if run else "assumed", rate / anchor
        low, high = own_rate * exp(-CORE_MODEL_ERROR), own_rate * exp(CORE_MODEL_ERROR)
        return KernelRate(own_rate, low, high, kind, note, DECODE_TABLE, in_common=common)

    return anchor, _mean_rate(fmt, of)


def simulated_rate(own: FitSet, fmt: TensorFormat, tables: bool) -> tuple[float, float, bool]:
    """MAC/cycle of a thread with one row, `KernelRate.in_common`, and whether its width was run.

    The format has codes of at most 8 bits (`format_problem`). Each row scales and adds the sums of its groups
    itself. Rows of look-ups have less in common than those of dot products. Rates were fitted at `WIDTHS`;
    codes of other widths are unpacked to bytes by the same instructions, and their cycles are interpolated,
    which is assumed. Tables take as many steps as a weight has bits.
    """
    bits = fmt.wbits
    assert bits is not None
    common = 1.0
    if tables and bits <= TABLE_BITS:
        cycles, scaling = bits / own.value("lut_rate"), own.value("lut_group_cycles")
        common = own.value("lut_shared") / own.value("shared")
    else:
        fitted = [1 / own.value(f"kernel_rate_w{width}") for width in WIDTHS]
        cycles, scaling = float(np.interp(bits, WIDTHS, fitted)), own.value("group_cycles")
    weights, groups = cycles - scaling / GROUP, scaling / (fmt.group_size or COLUMN_WEIGHTS)
    total = weights + groups
    return 1 / total, common * weights / total, bits in WIDTHS


def _mean_rate(fmt: WeightFormat, rate_of_type: Callable[[TensorFormat], KernelRate]) -> KernelRate:
    """Rate of a format: that of its base type, or the harmonic mean over the types of a file or policy.

    Each type takes the time of its share of the products.
    """
    parts = [(rate_of_type(each), share, each.name) for each, share in fmt.shares]
    if len(parts) < 2:
        return rate_of_type(fmt.base)

    def mean(end: str) -> float:
        return 1 / sum(share / float(getattr(rate, end)) for rate, share, _ in parts)

    common = sum(share * rate.in_common / rate.relative for rate, share, _ in parts) * mean("relative")
    assumed = any(rate.kind == "assumed" for rate, _, _ in parts)
    kind, how = ("assumed", "") if assumed else ("fitted", "the kernels of its types")
    note = f"products by type: {', '.join(f'{name} {share:.0%}' for _, share, name in parts)}"
    return KernelRate(mean("relative"), mean("low"), mean("high"), kind, note, "here", how, common)


_LAWS: Mapping[Law, Callable[[Fits, SoftwareRecord, WeightFormat, bool, str], Rated]] = {
    "listed": _listed_rate,
    "ratios": _ratio_rate,
    "nearest": _nearest_rate,
    "single": _single_rate,
    "look-ups": _look_up_rate,
    "gain": _gain_rate,
    "codes": _code_rate,
    "code tables": _code_rate,
}
"""Law of a record -> function from fits, record, format, whether of prompts, and core to the anchor in
MAC/cycle and the rate relative to it."""
