"""Every claim of a paper beside what a store gives: claim, paper, here, ratio, configuration, remark.

A claim that says "up to" is compared with the highest value in the store, in every metric that its words
allow. A value below the paper's is a miss and stays one; what is not modelled or not in the store says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sailsim.analysis.costs.area import area, overhead_bases
from sailsim.analysis.costs.constants import NotModelledError
from sailsim.analysis.costs.dollars import is_missing
from sailsim.analysis.paper.claim import (
    SHIPPED,
    Choice,
    Claim,
    ClaimMetric,
    Numbers,
    PaperFact,
    load_paper,
    values,
)
from sailsim.analysis.runs.compare import POINT
from sailsim.analysis.runs.equal_quality import WEIGHTS, at_equal_quality
from sailsim.analysis.runs.runs import SAIL
from sailsim.analysis.studies.stored_runs import (
    FREE,
    MissingPointsError,
    RunTable,
    numbers,
    prt_twins,
)
from sailsim.sim.machine.pim import format_nbw
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.software.fitted import UNMEASURED, fitted_constants

COLUMNS = (
    *("claim", "reading", "paper", "here", "unit", "ratio", "verdict"),
    *("configuration", "equal_quality", "remark"),
)
PLAN = "paper"
"""The plan of the points behind the shipped paper's claims."""
NO_PRODUCT = ("cores", "sync", "attention", "kv_cache", "synchronisation", "launches")
"""Phases of a step that no matrix product is in, of any backend."""
NEAR = 0.25
"""How far from the paper's a value may be that is no goal to reach, and still agree with it."""


def claims(results: RunTable, paper: str | None = SHIPPED) -> pd.DataFrame:
    """The table of a store's runs: one row a claim and metric, columns `COLUMNS`.

    ``equal_quality`` is what a speedup becomes where the other side may choose its weights too, among those
    of the store that lose no more (`results.equal_quality`); missing where that was not measured.

    ``paper`` is one by name or a file of claims; without one the table is empty. Raises SailsimError for a
    bad file of claims.
    """
    lines: list[dict[str, Any]] = []
    if paper is not None:
        known, rows = load_paper(paper), results.frame[results.frame["runner"] == SAIL]
        # In an order of their own, so that of equal values always the same is shown.
        points = rows.sort_values([*FREE, "prt", "seed"], kind="stable").reset_index(drop=True)
        stored = StoredOutcomes(results, _with_products(points))
        for claim in known.claim:
            lines += [_line(claim, metric, stored.within(metric)) for metric in claim.metrics("store")]
        lines += [_fact(fact, results.frame) for fact in known.fact]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def compared_with(manifest: Mapping[str, Any], paper: str | None) -> str | None:
    """The paper whose claims stand beside a study's results: the given one, or the shipped one where the
    study is its plan (`sailsim sweep --plan paper`); None for every other study."""
    plan = (manifest.get("config") or {}).get("plan") or {}
    return SHIPPED if paper is None and plan.get("file") == PLAN else paper


@dataclass(frozen=True)
class StoredOutcomes:
    """The points of a store, by SAIL's rows, as `claims.Outcomes`."""

    results: RunTable
    points: pd.DataFrame
    _within: dict[tuple[object, ...], StoredOutcomes] = field(default_factory=dict, repr=False)
    _rows: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)
    # Both hold what has been asked for: dozens of metrics are of the same few runners and points.

    @property
    def system(self) -> System:
        """The reference machine."""
        return load_system(str(self.results.reference["system"]))

    def within(self, metric: ClaimMetric) -> StoredOutcomes:
        """The points that count for a metric."""
        what = (metric.machines, metric.threads, metric.without)
        if what not in self._within:
            points = self.points
            if metric.machines == "reference":
                # With variants of the machine one more thing than the runner would differ.
                points = points[points["system"] == self.results.reference["system"]]
            if metric.threads == "fitted":
                points = points[points["threads"] >= fitted_constants().fewest_threads]
            if metric.without == "prt":
                points = points[points["prt"].astype(bool)]
            self._within[what] = StoredOutcomes(self.results, points.reset_index(drop=True))
        return self._within[what]

    def rows(self, runner: str) -> pd.DataFrame:
        """A runner's rows, one a point."""
        if runner == SAIL:
            return self.points
        if runner not in self._rows:
            self._rows[runner] = _with_products(self.results.at_points_of(self.points, runner))
        return self._rows[runner]

    def of(
        self, runner: str, quantity: str, beside: str | None = None, without: Choice | None = None
    ) -> Numbers:
        """As `Outcomes.of`, SAIL's beside a runner of the row that `speedup_of` names; without a choice only
        where its table is of use at all.

        Raises MissingPointsError where the store has no such point.
        """
        if runner == SAIL and beside is not None:
            named = self.rows(beside)["speedup_of"]
            found = {name: self.rows(name)[quantity] for name in named.dropna().unique()}
            chosen = [found[name].iloc[at] if name in found else np.nan for at, name in enumerate(named)]
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
        """Added area of the reference machine. Raises NotModelledError where it is not modelled."""
        return np.array([area(self.system).share(counted, base)])


def _with_products(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with `products_s`, the seconds of a step's matrix products; NaN where there is no step."""

    def seconds(phases: Any) -> float:
        if is_missing(phases):
            return math.nan
        return sum(each for name, each in phases.items() if name not in NO_PRODUCT) or math.nan

    return rows.assign(products_s=rows["phases"].map(seconds))


def _line(claim: Claim, metric: ClaimMetric, stored: StoredOutcomes) -> dict[str, Any]:
    """One row of the table."""
    words = metric.words
    if metric.threads == "fitted":
        words += f" ({fitted_constants().fewest_threads} threads or more)"
    try:
        here = values(metric, stored)
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
    """A runner's rate at a point over its highest with any weights of the store that lose no more."""
    assert metric.runner is not None
    same = [name for name in POINT if name not in WEIGHTS]
    points = stored.points[same].astype(str)
    ours = stored.points[(points == points.iloc[at]).all(axis=1)]
    theirs = stored.results.at_points_of(ours, metric.runner)
    # Of the runner's rates alone, whatever SAIL's cores run.
    both = pd.concat([ours, theirs], ignore_index=True).assign(speedup_of=SAIL)
    own = len(ours) + list(ours.index).index(at)
    equal = at_equal_quality(both)["speedup_equal_quality"].iloc[own]
    return float(equal * theirs["tokens_per_s"].loc[at] / ours["tokens_per_s"].loc[at])


def _fact(fact: PaperFact, frame: pd.DataFrame) -> dict[str, Any]:
    """The row of what is no number: what the store has of it, or what stands here."""
    here = ", ".join(sorted(set(frame[fact.column]))) if fact.column else fact.here
    remark = "in this store" if fact.column else ""
    line = (fact.title, "", fact.paper, here, "", None, "", "", None, remark)
    return dict(zip(COLUMNS, line, strict=True))


def _unmeasured(metric: ClaimMetric, stored: StoredOutcomes, at: int) -> str:
    """That the runner's prediction there rests on a kernel, a GPU or a model that nobody has measured."""
    if metric.runner is None:
        return ""
    notes = stored.rows(metric.runner).iloc[at]["notes"]
    return ", kernel not measured" if any(note.startswith(UNMEASURED) for note in notes) else ""


def _remark(claim: Claim, metric: ClaimMetric, stored: StoredOutcomes, at: int) -> str:
    """A speedup at the ends of the runner's interval, when prices were read, how many arrays give the paper's
    area."""
    if metric.metric == "area_share":
        bases = overhead_bases(stored.system, target=claim.value / 100)
        own = next(each for each in bases if (each.counted, each.base) == (metric.counted, metric.base))
        gives = "none" if own.arrays is None else f"{own.arrays:.1f} arrays"
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
