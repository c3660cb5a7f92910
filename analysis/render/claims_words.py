"""Numbers and verdicts of the studies of claims in words, for their pages and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sailsim.analysis.paper.claim import Claim, load_paper

Study = Mapping[str, Any]
"""Result of `reproduce` or `joint`, or a part of it."""
NEAR = 0.1
"""Largest relative difference from the paper's value that counts as agreement."""
ROUNDING = 5e-5
"""Largest absolute value, in times or percent, that is rounding: sums in another order differ by so much."""


def claims_of(study: Study) -> list[tuple[Claim, Study]]:
    """Every claim of the paper with its results."""
    paper = load_paper(study["paper"])
    return [(paper.by_name(name), results) for name, results in study["claims"].items()]


def number(value: float | None, unit: str = "", digits: int = 3) -> str:
    """A number in the format of the page, with its unit; a dash for None and NaN."""
    if value is None or value != value:
        return "-"
    if abs(value) < ROUNDING:
        value = 0.0
    text = f"{value:.{digits}g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return text + (" %" if unit == "%" else unit)


def shown(value: Any) -> str:
    """A changed value in the format of the page."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def share(part: int, every: int) -> str:
    """A share of machines in words."""
    return f"{part} of {every} ({100 * part / every:.0f} %)"


def verdict(claim: Claim, results: Study) -> str:
    """Outcome of a claim in words, derived from its numbers."""
    main = primary(results)
    paper, nominal, near = claim.value, main["nominal"], results["nearest"]["value"]
    reach, machines = main["reach"], main["machines"]
    good = reach / machines if machines else 0.0
    if claim.better == "lower":
        if nominal <= paper:
            return "the nominal machine is within it"
        if good > 0:
            return f"the nominal machine is {nominal / paper:.2g} times it; {good:.0%} of all are within it"
        return "no machine is within it"
    if abs(nominal / paper - 1) <= NEAR:
        return f"the nominal machine gives {nominal / paper:.0%} of it"
    if nominal > paper:
        return f"exceeded by the nominal machine, {nominal / paper:.2g} times"
    if good >= 0.25:
        return f"missed by the nominal machine, reached by {good:.0%} of the machines"
    if good > 0:
        return f"missed by the nominal machine, reached in a corner of the space ({good:.1%})"
    if near is not None and near >= 0.98 * paper:
        return "missed by every sampled machine, reached by a searched one"
    most = max(v for v in (main["most"], near) if v is not None)
    return f"not reached: at most {most / paper:.0%} of it"


def primary(results: Study) -> Study:
    """The metric of a claim that is searched and explained."""
    main: Study = next(r for r in results["readings"] if r["primary"])
    return main
