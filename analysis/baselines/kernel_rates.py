"""How fast a software's kernels multiply weights of a format, and how that is known (`kernel_rates.csv`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from sailsim.analysis.baselines.core_kinds import N1
from sailsim.analysis.baselines.fitted import Fitted, FittedSet, fitted_constants
from sailsim.analysis.baselines.prediction import data_file, read_csv
from sailsim.analysis.baselines.simulated_kernels import simulated_rate
from sailsim.analysis.baselines.simulated_rows import TABLE
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity
from sailsim.sim.same import Same
from sailsim.workloads.formats import TensorFormat, WeightFormat

Software = Literal["llama.cpp", "ampere", "t-mac", "neon", "neon-lut"]


@dataclass(frozen=True)
class KernelRate:
    """Speed of a format's kernel relative to its software's anchor, and how that is known.

    The anchor is the fitted four-bit kernel, of T-MAC a look-up a weight. ``kind`` "fitted": measured, or a
    measured rate times a ratio of kernels (``how`` names the ratio); "assumed" otherwise.
    """

    relative: float
    low: float
    high: float
    kind: str
    note: str
    source: str
    how: str = ""

    def times(self, factor: float) -> KernelRate:
        """The same rate relative to another anchor."""
        return replace(self, relative=self.relative * factor, low=self.low * factor, high=self.high * factor)


@lru_cache(maxsize=1)
def kernel_rates() -> Mapping[str, KernelRate]:
    """The table `kernel_rates.csv` for llama.cpp, by format; fitted rates as the shipped fit has them."""
    return _kernel_rates(Same(fitted_constants()))


@lru_cache(maxsize=1)
def _rate_rows() -> list[dict[str, str]]:
    return read_csv(data_file("kernel_rates.csv").read_text("utf-8"))


@lru_cache(maxsize=1)
def lut_bits() -> Mapping[str, int]:
    """Look-ups that a weight of a format takes where tables multiply it; formats without tables are not in
    it."""
    return {row["format"]: int(row["lut_bits"]) for row in _rate_rows() if row["lut_bits"]}


def without_tables(fmt: WeightFormat) -> str | None:
    """Why T-MAC has nothing to do with a format, None if its tables take a type of it."""
    if any(format_key(found) in lut_bits() for found in (fmt.base, *(found for found, _ in fmt.shares))):
        return None
    return f"weights are {fmt.name}; allowed for T-MAC's tables are some of {', '.join(lut_bits())}."


def without_kernels(fmt: WeightFormat) -> str | None:
    """Why this project's kernels do not multiply a format, None if they do."""
    without = [found.name for found in (fmt.base, *(found for found, _ in fmt.shares)) if found.wbits is None]
    if not without:
        return None
    return f"weights are {without[0]}; allowed for this project's kernels are codes of 1 to 8 bits."


@lru_cache(maxsize=8)
def _kernel_rates(fitted_by: Same[Fitted]) -> Mapping[str, KernelRate]:
    constants = fitted_by.it.software("llama.cpp").constants
    anchor = float(constants["kernel_rate_q4_k_m"].value)
    found = {}
    for row in _rate_rows():
        how = ""
        if row["gem5"]:
            how = f"the ratio of {row['gem5']} to q4_1 in gem5"
        elif row["over"]:
            how = f"the ratio of q2_k to {row['over']} on a Cortex-A76"
        if how:
            own = constants[f"kernel_rate_{row['format']}"]
            relative, low, high = (float(v or 0.0) / anchor for v in (own.value, own.low, own.high))
        else:
            relative, low, high = (float(row[key]) for key in ("relative_rate", "low", "high"))
        found[row["format"]] = KernelRate(relative, low, high, row["kind"], row["note"], row["source"], how)
    return found


def format_key(fmt: TensorFormat) -> str:
    """The row of `kernel_rates.csv` that a tensor's format uses: its type, or its width for uniform codes."""
    if fmt.name in kernel_rates():
        return fmt.name
    if fmt.wbits is None:
        raise SailsimError(
            f"format {fmt.name} has no kernel rate, allowed is one of {', '.join(kernel_rates())}"
        )
    return f"w{fmt.wbits}"


def rate_of(
    software: Software,
    fmt: WeightFormat,
    fitted_by: Fitted | None = None,
    prompts: bool = False,
    core: str = N1,
) -> tuple[float, KernelRate]:
    """The anchor of a software's kernels on a core in MAC/cycle, and the rate of a format's relative to it.

    ``fitted_by`` takes the place of the shipped fits; ``prompts`` asks for whole prompts, with which the fork
    has other rates (llama.cpp's one rate serves both). Raises SailsimError for a software that nothing is
    known of on that core.
    """
    fitted = fitted_by or fitted_constants()
    rates = kernel_rates() if fitted_by is None else _kernel_rates(Same(fitted_by))
    own = fitted.software("llama.cpp", core).constants["kernel_rate_q4_k_m"]
    anchor = float(own.value)
    match software:
        case "ampere":
            return _of_fork(fitted, fmt, "prompt_rate" if prompts else "kernel_rate", core)
        case "t-mac":
            return _of_tables(fitted, fmt, rates, core)
        case "neon" | "neon-lut":
            return _simulated(fitted.software(software, core), fmt, software == "neon-lut")
    rate = _mixed(fmt, lambda found: rates[format_key(found)])
    return anchor, rate if core == N1 else _elsewhere(rate, own, core)


def _elsewhere(rate: KernelRate, anchor: Quantity, core: str) -> KernelRate:
    """A format's rate on a core where no ratio of formats was measured: Neoverse N1's ratio.

    Where the anchor itself is assumed, its range is part of the rate's.
    """
    four_bits = rate.relative == rate.low == rate.high == 1.0
    note = rate.note if four_bits else f"{rate.note}; the ratio to four bits is that on {N1}"
    if anchor.kind != "assumed":
        return replace(rate, note=note, kind=rate.kind if four_bits else "assumed", how="")
    low, high = (
        float(anchor.value if end is None else end) / float(anchor.value) for end in (anchor.low, anchor.high)
    )
    note = (
        f"{note}; no kernel was measured on {core}" if not four_bits else f"no kernel was measured on {core}"
    )
    return replace(rate, low=low * rate.low, high=high * rate.high, kind="assumed", note=note, how="")


def _of_fork(fitted: Fitted, fmt: WeightFormat, rates: str, core: str) -> tuple[float, KernelRate]:
    """Its two formats are fitted each on their own; other widths take the nearer one's rate."""
    own = fitted.software("ampere", core)
    eight = fmt.wbits is not None and fmt.wbits > 6
    measured = format_key(fmt.base) in ("q4_k", "q8_0")
    rate = KernelRate(
        relative=1.0,
        low=1.0 if measured else 0.6,
        high=1.0 if measured else 1.4,
        kind="fitted" if measured else "assumed",
        note="taken from the fork's nearest format",
        source="prompts.csv" if rates == "prompt_rate" else "a1_batched.csv",
    )
    return own.value(f"{rates}_q8r16" if eight else f"{rates}_q4_k_4"), rate


def _of_tables(
    fitted: Fitted, fmt: WeightFormat, rates: Mapping[str, KernelRate], core: str
) -> tuple[float, KernelRate]:
    """T-MAC: a look-up a bit where its tables take a type, else llama.cpp's kernel.

    Raises SailsimError where they take none of a format's.
    """
    problem = without_tables(fmt)
    if problem is not None:
        raise SailsimError(problem)
    lut = fitted.software("t-mac", core).constants["lut_rate"]
    llama = fitted.software("llama.cpp", core).value("kernel_rate_q4_k_m")
    anchor = float(lut.value)
    low, high = (float(lut.value if end is None else end) / anchor for end in (lut.low, lut.high))

    def of(found: TensorFormat) -> KernelRate:
        key = format_key(found)
        bits = lut_bits().get(key)
        if bits is None:
            return rates[key].times(llama / anchor)
        measured = bits in (2, 4) and core == N1
        return KernelRate(
            1 / bits,
            low / bits,
            high / bits,
            "fitted" if measured else "assumed",
            "two and four bits were measured; tables take as many steps as a weight has bits",
            lut.source,
        )

    return anchor, _mixed(fmt, of)


def _simulated(own: FittedSet, fmt: WeightFormat, tables: bool) -> tuple[float, KernelRate]:
    """This project's kernels in gem5, relative to dot products of four bits.

    Raises SailsimError where they do not multiply one of a format's types.
    """
    problem = without_kernels(fmt)
    if problem is not None:
        raise SailsimError(problem)
    anchor = own.value("kernel_rate_w4")

    def of(found: TensorFormat) -> KernelRate:
        rate, low, high, run = simulated_rate(own, found, tables)
        note = "gem5 ran 2, 4 and 8 bits; a real core's rate is not known better than the core model is"
        return KernelRate(
            rate / anchor, low / anchor, high / anchor, "fitted" if run else "assumed", note, TABLE
        )

    return anchor, _mixed(fmt, of)


def _mixed(fmt: WeightFormat, rate_of_type: Callable[[TensorFormat], KernelRate]) -> KernelRate:
    """The rate of a format: its base type's, or that of all products together of a file's or policy's types.

    Each type takes the time of its share of the products, so the rates are joined as times.
    """
    parts = [(rate_of_type(found), share, found.name) for found, share in fmt.shares]
    if len(parts) < 2:
        return rate_of_type(fmt.base)

    def joined(end: str) -> float:
        return 1 / sum(share / float(getattr(rate, end)) for rate, share, _ in parts)

    assumed = any(rate.kind == "assumed" for rate, _, _ in parts)
    named = ", ".join(f"{name} {share:.0%}" for _, share, name in parts)
    return KernelRate(
        joined("relative"),
        joined("low"),
        joined("high"),
        "assumed" if assumed else "fitted",
        f"products by type: {named}",
        "here",
        "" if assumed else "the kernels of its types",
    )
