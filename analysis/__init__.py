"""Baselines, cost, figures, claims and the report, all over results and system files.

Rooms, each using only those below it: `render` (figures, the report), `paper` (claims, and all that is not
published), `results` (runs, and what compares them), `costs` (dollars, joules, square millimetres),
`baselines` (CPU, cards, and who runs).
docs/baselines.md, docs/cost.md, docs/reuse.md and docs/reproduction.md explain.
"""

import importlib
from typing import TYPE_CHECKING, Any

from sailsim.analysis.baselines.cpu import CACHES, cpu_tokens_per_s, prompt_tokens_per_s
from sailsim.analysis.baselines.cpu_software import SOFTWARE
from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.gpu import gpu_tokens_per_s
from sailsim.analysis.baselines.predict import baseline
from sailsim.analysis.baselines.prediction import Prediction
from sailsim.analysis.baselines.runners import Runner, runners
from sailsim.analysis.costs.area import Area, AreaConstants, area
from sailsim.analysis.costs.dollars import (
    CostConstants,
    CostRange,
    Price,
    PriceList,
    prices,
    quoted,
    tokens_per_dollar,
    usd_per_hour,
    usd_per_million_tokens,
    vcpus_paid,
)
from sailsim.analysis.costs.energy import Energy, EnergyConstants
from sailsim.analysis.paper.stored_claims import claims
from sailsim.analysis.results.compare import compare
from sailsim.analysis.results.joins import joined
from sailsim.analysis.results.runs import Run, evaluate, runs

if TYPE_CHECKING:
    from sailsim.analysis.render.figures import FIGURES, figures
    from sailsim.analysis.render.report import report

_DRAWN = {"FIGURES": "figures", "figures": "figures", "report": "report"}
"""Names that load matplotlib, which takes as long as all others, by their module."""

__all__ = [
    "CACHES",
    "FIGURES",
    "SOFTWARE",
    "Area",
    "AreaConstants",
    "CostConstants",
    "CostRange",
    "Energy",
    "EnergyConstants",
    "Prediction",
    "Price",
    "PriceList",
    "Run",
    "Runner",
    "area",
    "baseline",
    "claims",
    "compare",
    "cpu_tokens_per_s",
    "evaluate",
    "figures",
    "fitted_constants",
    "gpu_tokens_per_s",
    "joined",
    "prices",
    "prompt_tokens_per_s",
    "quoted",
    "report",
    "runners",
    "runs",
    "tokens_per_dollar",
    "usd_per_hour",
    "usd_per_million_tokens",
    "vcpus_paid",
]


def __getattr__(name: str) -> Any:
    """Import what draws at its first use."""
    if name not in _DRAWN:
        raise AttributeError(f"module 'sailsim.analysis' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"sailsim.analysis.render.{_DRAWN[name]}"), name)
    globals()[name] = found
    return found
