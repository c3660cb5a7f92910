"""Baselines, cost, figures, claims and the report, all over results and system files.

Reading order: `prediction` (what a baseline answers), `cpu` and `gpu` (their formulas), `fit` and `fits`
(where the constants come from), `cost` (dollars), `energy`, `area`, `evaluate` (one point beside its
baselines), `budget` (their tables), `figures`, `claims` and `report` (a whole sweep), `reuse` (where patterns
repeat); then everything under what is not published: `uncertainty` (the unknowns), `sampling` (machines drawn
from them), `readings` (the claims as numbers), `reproduce` and `reproduction_page`, `explore` (a search).
docs/baselines.md, docs/cost.md, docs/energy-area.md, docs/reuse.md and docs/reproduction.md explain.
"""

from sailsim.analysis.area import Area, AreaConstants, area
from sailsim.analysis.budget import CostRow, cost_rows
from sailsim.analysis.claims import claims
from sailsim.analysis.cost import (
    OVERHEAD,
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
from sailsim.analysis.cpu import CACHES, SOFTWARE, cpu_tokens_per_s, prompt_tokens_per_s
from sailsim.analysis.energy import Energy, EnergyConstants
from sailsim.analysis.evaluate import compare, evaluate, reprice
from sailsim.analysis.figures import FIGURES, figures
from sailsim.analysis.fits import fits
from sailsim.analysis.gpu import MEASURED_CARDS, gpu_tokens_per_s
from sailsim.analysis.machines import baseline
from sailsim.analysis.prediction import Prediction
from sailsim.analysis.report import report

__all__ = [
    "CACHES",
    "FIGURES",
    "MEASURED_CARDS",
    "OVERHEAD",
    "SOFTWARE",
    "Area",
    "AreaConstants",
    "CostConstants",
    "CostRange",
    "CostRow",
    "Energy",
    "EnergyConstants",
    "Prediction",
    "Price",
    "PriceList",
    "area",
    "baseline",
    "claims",
    "compare",
    "cost_rows",
    "cpu_tokens_per_s",
    "evaluate",
    "figures",
    "fits",
    "gpu_tokens_per_s",
    "prices",
    "prompt_tokens_per_s",
    "quoted",
    "report",
    "reprice",
    "tokens_per_dollar",
    "usd_per_hour",
    "usd_per_million_tokens",
    "vcpus_paid",
]
