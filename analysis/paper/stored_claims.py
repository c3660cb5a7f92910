"""Every claim of a paper beside what a store gives: claim, paper, here, ratio, configuration, remark.

A claim that says "up to" is compared with the highest value in the store, in every metric that its words
allow. A value below the paper's is a miss and stays one; what is not modelled or not in the store says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sailsim.analysis.costs.area import AreaNotModelledError, OverheadBasis, area, overhead_bases
from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.paper.claims import (
    SHIPPED,
    Choice,
    Claim,
    ClaimMetric,
    Fact,
    MetricName,
    Payment,
    Saved,
    load_paper,
)
from sailsim.analysis.paper.metrics import Numbers, reaches, values
from sailsim.analysis.results.equal_quality import WEIGHTS, at_equal_quality
from sailsim.analysis.results.joins import POINT
from sailsim.analysis.results.results import (
    FREE,
    MissingPointsError,
    Runs,
    numbers,
    prt_twins,
    stored_runs,
)
from sailsim.analysis.results.runs import SAIL
from sailsim.sim.files import load_system
from sailsim.sim.fitted import UNMEASURED, fitted_constants
from sailsim.sim.nbw import nbw_in_words
from sailsim.sim.study.folder import Store
from sailsim.sim.system import System

COLUMNS = (
    *("claim", "reading", "paper", "here", "unit", "ratio", "verdict"),
    *("configuration", "equal_quality", "remark"),
)
NEAR = 0.25
"""How far from the paper's a value may be that is no goal to reach, and still agree with it."""


def claims(
    store: Store | str | Path, price_file: str | Path | None = None, paper: str | None = SHIPPED
) -> pd.DataFrame:
    """The table of a store: one row a claim and metric, columns `COLUMNS`.

    ``equal_quality`` is what a speedup becomes where the other side may choose its weights too, among those
    of the store that lose no more (`results.equal_quality`); missing where that was not measured.

    ``paper`` is one by name or a file of claims; None: `compared_with` says which, and without one the table
    is empty. Raises SailsimError for a store without results, a bad price file or a bad file of claims.
    """
    opened = store if isinstance(store, Store) else Store(store)
    results = Runs.of(stored_runs(opened), prices(price_file))
    paper = compared_with(results, paper)
    return pd.DataFrame(columns=list(COLUMNS)) if paper is None else table(results, paper)


def compared_with(results: Runs, paper: str | None) -> str | None:
    """The paper whose claims stand beside a study's results: the given one, or else the shipped one where the
    study decodes a model that its claims are about; None where it does not."""
    if paper is not None:
        return paper
    models = results.frame["model"][results.frame["phase"] == "decode"]
    return SHIPPED if models.isin(load_paper().models).any() else None


def table(results: Runs, paper: str = SHIPPED) -> pd.DataFrame:
    """The table of the runs of a store."""
    known = load_paper(paper)
    stored = StoredOutcomes.of(results)
    lines = [
        _line(claim, metric, stored.within(metric))
        for claim in known.claim
        for metric in claim.metrics("store")
    ]
    lines += [_fact(fact, results.frame) for fact in known.fact]
    return pd.DataFrame(lines, columns=list(COLUMNS))


@dataclass(frozen=True)
class StoredRuns:
    """One runner's rows of a store, with those of the points that they are of."""

    rows: pd.DataFrame

    def column(self, name: str) -> Numbers:
        """A column as numbers."""
        return np.asarray(self.rows[name], dtype=np.float64)

    @property
    def tokens_per_s(self) -> Numbers:
        """Tokens of the whole batch a second."""
        return self.column("tokens_per_s")

    def tokens_per_usd(self, payment: Payment) -> Numbers:
        """Tokens that a dollar buys where it pays so."""
        return self.column(f"tokens_per_usd_{payment}")

    def spent(self, what: Saved) -> Numbers:
        """Cycles, seconds or reads of one step."""
        if what == "step_s":
            return self.column(what)
        counted = {"pim_cycles": "pim_cycles", "array_reads": "prt_misses"}[what]
        return np.asarray(numbers(self.rows, "counts", counted), dtype=np.float64)


@dataclass(frozen=True)
class StoredOutcomes:
    """The points of a store, by SAIL's rows."""

    results: Runs
    points: pd.DataFrame
    _within: dict[tuple[object, ...], StoredOutcomes] = field(default_factory=dict, repr=False)
    _runs: dict[str, StoredRuns] = field(default_factory=dict, repr=False)
    # Both hold what has been asked for: dozens of metrics are of the same few runners and points.

    @classmethod
    def of(cls, results: Runs) -> StoredOutcomes:
        """Every point, in an order of their own, so that of equal values always the same is shown."""
        frame = results.frame
        points = frame[frame["runner"] == SAIL].sort_values([*FREE, "prt", "seed"], kind="stable")
        return cls(results, points.reset_index(drop=True))

    @property
    def system(self) -> System:
        """The reference machine."""
        return load_system(str(self.results.reference["system"]))

    def within(self, metric: ClaimMetric) -> StoredOutcomes:
        """The points that count for a metric."""
        what = (metric.machines, metric.threads, metric.without)
        if what not in self._within:
            self._within[what] = StoredOutcomes(self.results, self._points_within(metric))
        return self._within[what]

    def _points_within(self, metric: ClaimMetric) -> pd.DataFrame:
        keep = pd.Series(True, self.points.index)
        if metric.machines == "reference":
            # With variants of the machine one more thing than the runner would differ.
            keep &= self.points["system"] == self.results.reference["system"]
        if metric.threads == "fitted":
            keep &= self.points["threads"] >= fitted_constants().fewest_threads
        if metric.without == "prt":
            keep &= self.points["prt"].astype(bool)
        return self.points[keep].reset_index(drop=True)

    def runs(self, runner: str, beside: str | None = None) -> StoredRuns:
        """A runner's rows, one a point."""
        if runner == SAIL:
            return StoredRuns(self.points)
        if runner not in self._runs:
            self._runs[runner] = StoredRuns(self.results.beside(self.points, runner))
        return self._runs[runner]

    def without(self, choice: Choice) -> StoredRuns:
        """SAIL's rows at the same points without a choice, where its table is of use at all.

        Raises MissingPointsError where the store has no such point.
        """
        assert choice == "prt"
        twins = prt_twins(self.results, self.points)
        hits = numbers(self.points, "counts", "prt_hits").to_numpy(dtype=float)
        return StoredRuns(twins[hits > 0].reindex(twins.index))

    def area_share(self, counted: str, base: str) -> Numbers:
        """Added area of the reference machine. Raises AreaNotModelledError where it is not modelled."""
        return np.array([area(self.system).share(counted, base)])


def _line(claim: Claim, metric: ClaimMetric, stored: StoredOutcomes) -> dict[str, Any]:
    """One row of the table."""
    words = metric.words
    if metric.threads == "fitted":
        words += f" ({fitted_constants().fewest_threads} threads or more)"
    try:
        found = values(metric, stored)
    except (MissingPointsError, AreaNotModelledError) as why:
        return _row(claim, words, None, "", str(why))
    if not np.isfinite(found).any():
        return _row(claim, words, None, "", f"no such point in this store{_named(metric)}")
    at = int(np.nanargmax(found))
    if claim.aggregation == "highest":
        where = configuration(stored.points.iloc[at]) + _unmeasured(metric, stored, at)
        nearest = int(np.nanargmin(np.abs(found / claim.value - 1)))
        said = [f"nearest: {found[nearest]:.3g} at {configuration(stored.points.iloc[nearest])}"]
    else:
        where, said = _machine(stored.system), []
    said += [_REMARKS[metric.metric](claim, metric, stored, at), metric.remark]
    line = _row(claim, words, float(found[at]), where, "; ".join(text for text in said if text))
    if metric.metric == "speedup":
        line["equal_quality"] = float(found[at]) * _slower_at_equal_quality(metric, stored, at)
    return line if metric.claimed else line | {"verdict": ""}


def _row(claim: Claim, words: str, here: float | None, where: str, remark: str) -> dict[str, Any]:
    ratio = None if here is None else here / claim.value
    if ratio is None:
        verdict = "no data"
    elif claim.better == "lower":  # no goal to reach: it is near the paper's or not
        verdict = "consistent" if abs(ratio - 1) <= NEAR else "differs"
    else:
        verdict = "reached" if bool(reaches(claim, np.asarray(here))) else "missed"
    line = (claim.title, words, claim.value, here, claim.unit, ratio, verdict, where, None, remark)
    return dict(zip(COLUMNS, line, strict=True))


def _slower_at_equal_quality(metric: ClaimMetric, stored: StoredOutcomes, at: int) -> float:
    """A runner's rate at a point over its highest with any weights of the store that lose no more."""
    assert metric.runner is not None
    same = [name for name in POINT if name not in WEIGHTS]
    points = stored.points[same].astype(str)
    ours = stored.points[(points == points.iloc[at]).all(axis=1)]
    theirs = stored.results.beside(ours, metric.runner)
    both = pd.concat([ours, theirs], ignore_index=True)
    own = len(ours) + list(ours.index).index(at)
    equal = at_equal_quality(both)["speedup_equal_quality"].iloc[own]
    return float(equal * theirs["tokens_per_s"].loc[at] / ours["tokens_per_s"].loc[at])


def _fact(fact: Fact, frame: pd.DataFrame) -> dict[str, Any]:
    """The row of what is no number: what the store has of it, or what stands here."""
    here = ", ".join(sorted(set(frame[fact.column]))) if fact.column else fact.here
    remark = "in this store" if fact.column else ""
    line = (fact.title, "", fact.paper, here, "", None, "", "", None, remark)
    return dict(zip(COLUMNS, line, strict=True))


def _named(metric: ClaimMetric) -> str:
    """Whose numbers are missing, after a sentence that says so."""
    return "" if metric.runner is None else f" with a number of the runner {metric.runner}"


def _unmeasured(metric: ClaimMetric, stored: StoredOutcomes, at: int) -> str:
    """That the runner's prediction there rests on a kernel, a card or a model that nobody has measured."""
    if metric.runner is None:
        return ""
    notes = stored.runs(metric.runner).rows.iloc[at]["notes"]
    return ", kernel not measured" if any(note.startswith(UNMEASURED) for note in notes) else ""


def _band(claim: Claim, metric: ClaimMetric, stored: StoredOutcomes, at: int) -> str:
    """A speedup at the ends of the runner's band."""
    assert metric.runner is not None
    row = stored.runs(metric.runner).rows.iloc[at]
    return f"{row['speedup_low']:.3g} .. {row['speedup_high']:.3g} over the baseline's band"


def _price_date(claim: Claim, metric: ClaimMetric, stored: StoredOutcomes, at: int) -> str:
    """When the prices were read."""
    assert metric.runner is not None
    return f"prices of {stored.runs(metric.runner).rows.iloc[at]['price_date']}"


def _arrays(claim: Claim, metric: ClaimMetric, stored: StoredOutcomes, at: int) -> str:
    """How many arrays would give the paper's area."""
    found: OverheadBasis = next(
        basis
        for basis in overhead_bases(stored.system, target=claim.value / 100)
        if (basis.counted, basis.base) == (metric.counted, metric.base)
    )
    gives = "none" if found.arrays is None else f"{found.arrays:.1f} arrays"
    return f"{gives} a slice would give {claim.value:g} %"


def _nothing(claim: Claim, metric: ClaimMetric, stored: StoredOutcomes, at: int) -> str:
    return ""


_REMARKS: Mapping[MetricName, Callable[[Claim, ClaimMetric, StoredOutcomes, int], str]] = {
    "speedup": _band,
    "usd_ratio": _price_date,
    "saving": _nothing,
    "area_share": _arrays,
}


def configuration(row: Mapping[str, Any] | pd.Series[Any]) -> str:
    """A point in words."""
    group = f"g{row['group_size']}" if row["group_size"] else "one scale a column"
    return (
        f"{row['system']}, {row['model']}, W{row['wbits']}A{row['abits']} {group}, batch {row['batch']}, "
        f"{row['threads']} threads, context {row['context']}, {nbw_in_words(row['nbw'])}, "
        f"{row['substrate']}, conversion: {row['convert']}"
        + ("" if row["prt"] else ", no PRT")
        + (", two half-batches" if row["overlap"] else "")
    )


def _machine(system: System) -> str:
    """A machine's arrays in words."""
    pim = system.pim
    if pim is None:
        return system.name
    return f"{system.name}: {pim.arrays.whole} arrays of {pim.rows.whole} x {pim.cols.whole} a slice"
