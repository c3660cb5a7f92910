"""Claims of a paper against a store of runs: claim, paper, here, ratio, configuration, remark.

A claim of "up to" is compared with the highest value in the store, by every metric that its words allow. A
value below the paper's is a miss. A row without a value says that it is not modelled or not in the store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sailsim.analysis.costs.area import area, area_overheads
from sailsim.analysis.costs.constants import NotModelledError
from sailsim.analysis.costs.dollars import is_missing
from sailsim.analysis.paper import claim as claim_file
from sailsim.analysis.paper.claim import SHIPPED, Choice, Claim, ClaimMetric, Numbers
from sailsim.analysis.runs.compare import POINT
from sailsim.analysis.runs.equal_quality import WEIGHTS, at_equal_quality
from sailsim.analysis.runs.runs import SAIL
from sailsim.analysis.studies.stored_runs import FREE, MissingPointsError, RunTable, numbers, prt_twins
from sailsim.sim.machine.pim import format_nbw
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.software.fitted import UNMEASURED, fitted_constants

COLUMNS = (
    *("claim", "reading", "paper", "here", "unit", "ratio", "verdict"),
    *("configuration", "equal_quality", "remark"),
)
PLAN = "paper"
"""Sweep plan with the points of the shipped paper's claims."""
NO_PRODUCT = ("cores", "sync", "attention", "kv_cache", "synchronisation", "launches")
"""Phases without a matrix product, of any backend."""
NEAR = 0.25
"""Largest relative difference of a consistent value, for claims that are no goal."""


def claims(results: RunTable, paper: str | None = SHIPPED) -> pd.DataFrame:
    """Table of a store's runs: one row for each claim and metric, columns `COLUMNS`.

    ``equal_quality`` is the speedup if the other side may choose its weights too, among those of the store
    that lose no more (`runs.equal_quality`); missing where that was not measured. ``paper`` is one by name or
    a file of claims; without one the table is empty. Raises SailsimError for a bad file of claims.
    """
    lines: list[dict[str, Any]] = []
    if paper is not None:
        known, rows = claim_file.load_paper(paper), results.frame[results.frame["runner"] == SAIL]
        # Sorted, so that the same one of equal values is always shown.
        points = rows.sort_values([*FREE, "prt", "seed"], kind="stable").reset_index(drop=True)
        stored = StoredOutcomes(results, _with_products(points))
        for claim in known.claim:
            lines += [_line(claim, metric, stored.within(metric)) for metric in claim.metrics("store")]
        lines += [_fact(fact, results.frame) for fact in known.fact]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def compared_with(manifest: Mapping[str, Any], paper: str | None) -> str | None:
    """Paper that a study's results are compared with: the given one, else the shipped one for its own plan.

    Its plan is `sailsim sweep --plan paper`; other studies have no paper (None).
    """
    plan = (manifest.get("config") or {}).get("plan") or {}
    return SHIPPED if paper is None and plan.get("file") == PLAN else paper


@dataclass(frozen=True)
class StoredOutcomes:
    """Quantities of runners at the points of a store, which are SAIL's rows."""

    results: RunTable
    points: pd.DataFrame
    _subsets: dict[tuple[object, ...], StoredOutcomes] = field(default_factory=dict, repr=False)
    _rows: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)
    # Caches: dozens of metrics are about the same few runners and points.

    @property
    def system(self) -> System:
        """The reference system."""
        return load_system(str(self.results.reference["system"]))

    def within(self, metric: ClaimMetric) -> StoredOutcomes:
        """The points that count for a metric."""
        key = (metric.machines, metric.threads, metric.without)
        if key not in self._subsets:
            points = self.points
            if metric.machines == "reference":
                # With variants of the system more than the runner would differ.
                points = points[points["system"] == self.results.reference["system"]]
            if metric.threads == "fitted":
                points = points[points["threads"] >= fitted_constants().fewest_threads]
            if metric.without == "prt":
                points = points[points["prt"].astype(bool)]
            self._subsets[key] = StoredOutcomes(self.results, points.reset_index(drop=True))
        return self._subsets[key]

    def rows(self, runner: str) -> pd.DataFrame:
        """Rows of a runner, one for each point."""
        if runner == SAIL:
            return self.points
        if runner not in self._rows:
            self._rows[runner] = _with_products(self.results.at_points_of(self.points, runner))
        return self._rows[runner]

    def of(
        self, runner: str, quantity: str, against: str | None = None, without: Choice | None = None
    ) -> Numbers:
        """Values as `claim.Quantities`; `speedup_of` of a runner's row names SAIL's row against it.

        Without the PRT only points count where it has hits. Raises MissingPointsError for points that the
        store lacks.
        """
        if runner == SAIL and against is not None:
            names = self.rows(against)["speedup_of"]
            columns = {name: self.rows(name)[quantity] for name in names.dropna().unique()}
            chosen = [columns[name].iloc[at] if name in columns else np.nan for at, name in enumerate(names)]
            return np.asarray(chosen, dtype=np.float64)
        rows = self.rows(runner)
        if without is not None:
            twins = prt_twins(self.results, self.points)
            hits = numbers(self.points, "counts", "prt_hits").to_numpy(dtype=float)
            rows = twins[hits > 0].reindex(twins.index)
        counted = {"pim_cycles": "pim_cycles", "array_reads": "prt_misses"}.get(quantity)
        column = rows[quantity] if counted is None else numbers(rows, "counts", counted)
        return np.asarray(column, dtype=np.float64)

    def area_share(self, counted: str, base: str) -> Numbers:
        """Added area over a base, of the reference system. Raises NotModelledError if not modelled."""
        return np.array([area(self.system).share(counted, base)])


def _with_products(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with `products_s`, the seconds of a step's matrix products; NaN without a step."""

    def seconds(phases: Any) -> float:
        if is_missing(phases):
            return math.nan
        return sum(each for name, each in phases.items() if name not in NO_PRODUCT) or math.nan

    return rows.assign(products_s=rows["phases"].map(seconds))


def _line(claim: Claim, metric: ClaimMetric, stored: StoredOutcomes) -> dict[str, Any]:
    words = metric.words
    if metric.threads == "fitted":
        words += f" ({fitted_constants().fewest_threads} threads or more)"
    try:
        here = claim_file.values(metric, stored.of, stored.area_share)
    except (MissingPointsError, NotModelledError) as why:
        return _row(claim, words, None, "", str(why))
    if not np.isfinite(here).any():
        whose = "" if metric.runner is None else f" with a number of the runner {metric.runner}"
        return _row(claim, words, None, "", f"no such point in this store{whose}")
    at = int(np.nanargmin(here) if claim.aggregation == "lowest" else np.nanargmax(here))
    value, points = float(here[at]), stored.points
    if claim.aggregation == "one a machine":
        where, remarks = stored.system.name, []
        if (pim := stored.system.pim) is not None:
            where += f": {pim.arrays.whole} arrays of {pim.rows.whole} x {pim.cols.whole} a slice"
    elif claim.aggregation == "geomean":
        known = here[np.isfinite(here)]
        value, where = float(np.exp(np.log(known).mean())), f"{len(known)} points"
        remarks = [f"{known.min():.3g} .. {known.max():.3g}, the last at {configuration(points.iloc[at])}"]
    else:
        where = configuration(points.iloc[at]) + _unmeasured(metric, stored, at)
        nearest = int(np.nanargmin(np.abs(here / claim.value - 1)))
        remarks = [f"nearest: {here[nearest]:.3g} at {configuration(points.iloc[nearest])}"]
    remarks += [_remark(claim, metric, stored, at), metric.remark]
    line = _row(claim, words, value, where, "; ".join(text for text in remarks if text))
    if metric.metric == "speedup" and metric.subject == SAIL:
        line["equal_quality"] = value * _slower_at_equal_quality(metric, stored, at)
    return line if metric.claimed else line | {"verdict": ""}


def _row(claim: Claim, words: str, here: float | None, where: str, remark: str) -> dict[str, Any]:
    ratio = None if here is None else here / claim.value
    if ratio is None:
        verdict = "no data"
    elif claim.better == "lower":  # no goal to reach: it is near the paper's or not
        verdict = "consistent" if abs(ratio - 1) <= NEAR else "differs"
    else:
        verdict = "reached" if bool(claim.reaches(np.asarray(here))) else "missed"
    line = (claim.title, words, claim.value, here, claim.unit, ratio, verdict, where, None, remark)
    return dict(zip(COLUMNS, line, strict=True))


def _slower_at_equal_quality(metric: ClaimMetric, stored: StoredOutcomes, at: int) -> float:
    """Ratio of a runner's rate at a point to its highest with stored weights that lose no more."""
    assert metric.runner is not None
    same = [name for name in POINT if name not in WEIGHTS]
    points = stored.points[same].astype(str)
    ours = stored.points[(points == points.iloc[at]).all(axis=1)]
    theirs = stored.results.at_points_of(ours, metric.runner)
    # Only the runner's rates matter, whatever software SAIL's cores run.
    both = pd.concat([ours, theirs], ignore_index=True).assign(speedup_of=SAIL)
    own = len(ours) + list(ours.index).index(at)
    equal = at_equal_quality(both)["speedup_equal_quality"].iloc[own]
    return float(equal * theirs["tokens_per_s"].loc[at] / ours["tokens_per_s"].loc[at])


def _fact(fact: claim_file.PaperFact, frame: pd.DataFrame) -> dict[str, Any]:
    """Row of a fact: the store's values of its column, or this simulator's counterpart."""
    here = ", ".join(sorted(set(frame[fact.column]))) if fact.column else fact.here
    remark = "in this store" if fact.column else ""
    line = (fact.title, "", fact.paper, here, "", None, "", "", None, remark)
    return dict(zip(COLUMNS, line, strict=True))


def _unmeasured(metric: ClaimMetric, stored: StoredOutcomes, at: int) -> str:
    """Marks a prediction of the runner that rests on an unmeasured kernel, GPU or model."""
    if metric.runner is None:
        return ""
    notes = stored.rows(metric.runner).iloc[at]["notes"]
    return ", kernel not measured" if any(note.startswith(UNMEASURED) for note in notes) else ""


def _remark(claim: Claim, metric: ClaimMetric, stored: StoredOutcomes, at: int) -> str:
    """Speedup at the ends of the runner's interval, date of the prices, or arrays of the claimed area."""
    if metric.metric == "area_share":
        overheads = area_overheads(stored.system, target=claim.value / 100)
        _, arrays = overheads[str(metric.counted), str(metric.base)]
        gives = "none" if arrays is None else f"{arrays:.1f} arrays"
        return f"{gives} a slice would give {claim.value:g} %"
    if metric.runner is None:
        return ""
    row = stored.rows(metric.runner).iloc[at]
    if metric.metric == "usd_ratio":
        return f"prices of {row['price_date']}"
    if metric.metric != "speedup" or metric.subject != SAIL:
        return ""
    return f"{row['speedup_low']:.3g} .. {row['speedup_high']:.3g} over the baseline's interval"


def configuration(row: Mapping[str, Any] | pd.Series[Any]) -> str:
    """A point in words."""
    group = f"g{row['group_size']}" if row["group_size"] else "one scale a column"
    return (
        f"{row['system']}, {row['model']}, W{row['wbits']}A{row['abits']} {group}, batch {row['batch']}, "
        f"{row['threads']} threads, context {row['context']}, {format_nbw(row['nbw'])}, "
        f"{row['substrate']}, conversion: {row['convert']}"
        + ("" if row["prt"] else ", no PRT")
        + (", two half-batches" if row["overlap"] else "")
    )
