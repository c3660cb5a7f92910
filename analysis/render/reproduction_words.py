"""Words of the reproduction page: numbers, verdicts, reasons."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from sailsim.analysis.baselines.prediction import data_file

Found = Mapping[str, Any]

NEAR = 0.1
"""How far above the paper's value one may be and still agree."""

SHORT = {
    "speedup": "Speedup over N1",
    "usd_cpu": "Tokens/$ over N1",
    "usd_v100": "Tokens/$ over V100",
    "prt": "Cycles saved by the PRT",
    "overhead": "Hardware overhead",
}


def number(value: float | None, unit: str = "", digits: int = 3) -> str:
    """A number as the page has it."""
    if value is None:
        return "-"
    text = f"{value:.{digits}g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return text + (" %" if unit == "%" else unit)


def shown(value: Any) -> str:
    """A changed value as the page has it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def share(part: int, whole: int) -> str:
    """A share of machines in words."""
    return f"{part} of {whole} ({100 * part / whole:.0f} %)"


def verdict(name: str, claim: Found) -> str:
    """What came out, in words that follow from the numbers."""
    main = primary(claim)
    paper, nominal, near = claim["paper"], main["nominal"], claim["nearest"]["value"]
    reach, machines = main["reach"], main["machines"]
    good = reach / machines if machines else 0.0
    if name == "overhead":
        if nominal <= paper:
            return "the nominal machine is within it"
        if good > 0:
            return f"the nominal machine is {nominal / paper:.2g} times it; {good:.0%} of all are within it"
        return "no machine is within it"
    if abs(nominal / paper - 1) <= NEAR:
        said = f"the nominal machine gives {nominal / paper:.0%} of it"
    elif nominal > paper:
        said = f"exceeded by the nominal machine, {nominal / paper:.2g} times"
    elif good >= 0.25:
        said = f"missed by the nominal machine, reached by {good:.0%} of the machines"
    elif good > 0:
        said = f"missed by the nominal machine, reached in a corner of the space ({good:.1%})"
    elif near is not None and near >= 0.98 * paper:
        said = "missed by every sampled machine, reached by a searched one"
    else:
        most = max(v for v in (main["most"], near) if v is not None)
        said = f"not reached: at most {most / paper:.0%} of it"
    return said


def primary(claim: Found) -> Found:
    """The reading of a claim that is searched and explained."""
    found: Found = next(r for r in claim["readings"] if r["primary"])
    return found


def reasons() -> Mapping[str, Sequence[str]]:
    """Why what disagrees does, by claim: written by hand, without numbers of results."""
    table = tomllib.loads(data_file("disagreements.toml").read_text("utf-8"))
    return {name: list(entry["why"]) for name, entry in table.items()}
