"""Claims of a paper as data: numbers, every metric that the words of each allow, and how to compute them.

Claims of shipped papers are `data/claims/<paper>.toml`; those of another paper are a file like it, by its
path. A metric is computed from the points of a store (`stored_claims`) or from a sampled machine on some
workloads (`evaluator`). No other module names a claim or a runner that one is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from sailsim.analysis.costs.area import BASES, COUNTED
from sailsim.analysis.runs.runs import SAIL, Runner, runner_names, runners_by_name, shipped_software
from sailsim.analysis.uncertainty.prior import Listed
from sailsim.base.quantity import FrozenModel
from sailsim.sim.machine.catalog import Catalog, validate
from sailsim.sim.software.records import shipped_records

CLAIMS = Catalog("claims", "data/claims", package="sailsim.analysis")
SHIPPED = "sail"
"""Default paper."""

MetricName = Literal["speedup", "usd_ratio", "saving", "area_share"]
Payment = Literal["used", "bandwidth", "whole"]
Choice = Literal["prt"]
Source = Literal["store", "samples"]
Numbers = NDArray[np.float64]
Quantities = Callable[..., Numbers]
"""Values of a runner's quantity at some points, NaN where a run has none: `StoredOutcomes.of` and
`SampledOutcomes.of`, by (runner, quantity, against=None, without=None).

A quantity is `tokens_per_s`, `tokens_per_usd_<payment>`, `pim_cycles`, `step_s`, `array_reads`, or of a store
`products_s`, the seconds of a step's matrix products. SAIL's are those of the machine whose cores run the
software of the runner ``against``, and with ``without`` those at the same points without a choice."""

_FIELDS: dict[MetricName, tuple[str, ...]] = {
    "speedup": ("runner",),
    "usd_ratio": ("runner", "payment"),
    "saving": ("saved", "without"),
    "area_share": ("counted", "base"),
}
"""Fields that each metric requires; it allows none of the others here."""


class ClaimMetric(FrozenModel):
    """One number that the words of a claim may mean: a `[[claim.metric]]` table."""

    words: str
    """The reading of the claim, in a phrase."""
    metric: MetricName
    """speedup: the subject's tokens/s over a runner's; usd_ratio: tokens per dollar likewise; saving: percent
    that a choice saves; area_share: percent of added area."""
    subject: str = SAIL
    """Runner that the claim is about. Metrics of others than SAIL need a store."""
    runner: str | None = None
    """Runner that the subject is compared with, by its name in `data/runners.toml` or in `Paper.against`."""
    part: Literal["step", "products"] = "step"
    """Part of the step that a speedup or a ratio of dollars is about: all, or its matrix products alone."""
    payment: Payment | None = None
    """Payment of both runners: the vCPUs that they use, also those of the bandwidth, or the whole server."""
    saved: Literal["pim_cycles", "step_s", "array_reads"] | None = None
    """Saved quantity: cycles of the PIM units, the step's time, or reads of the arrays by look-ups."""
    without: Choice | None = None
    """Choice that SAIL is compared without, at the same point."""
    counted: str | None = None
    base: str | None = None
    """Counted area and its base: keys of `costs.area.COUNTED` and `BASES`."""
    machines: Literal["reference", "any"] = "reference"
    """Systems of a store that count: the reference alone, or variants too."""
    threads: Literal["any", "fitted"] = "any"
    """Points of a store that count: all, or those with as many threads as the cores' fit has."""
    primary: bool = False
    """Whether it is the one that is searched and explained, one for each claim."""
    claimed: bool = True
    """Whether it gets a verdict; others are shown for comparison."""
    of: Listed[Source] = ("store", "samples")
    """Sources of numbers that it is shown for: the points of a store, sampled machines."""
    how: str = ""
    """Sentence on how it follows from the commands, where no single run has it (`field`)."""
    remark: str = ""
    """Remark that is always printed with it."""

    @model_validator(mode="after")
    def _has_what_it_takes(self) -> Self:
        needed = _FIELDS[self.metric]
        for name in dict.fromkeys(name for names in _FIELDS.values() for name in names):
            given = getattr(self, name)
            if name in needed and given is None:
                raise ValueError(f"{name} is missing; metric {self.metric} needs it")
            if name not in needed and given is not None:
                raise ValueError(
                    f"{name} is {given!r}; allowed for metric {self.metric} are {', '.join(needed)}"
                )
        _check(self, {"counted": list(COUNTED), "base": list(BASES)})
        return self

    @property
    def sampled(self) -> bool:
        """Whether sampled machines have it: they are SAIL's, against shipped runners that somebody ran."""
        if self.runner is not None:
            claimed = [record.name for record in shipped_records() if record.provenance == "claimed"]
            if shipped_software().get(self.runner) in (None, *claimed):
                return False
        return self.subject == SAIL and self.part == "step" and "samples" in self.of

    @property
    def field(self) -> str:
        """Path of SAIL's value in an answer of `sailsim run --json`; empty where no single run has it."""
        if self.metric == "speedup":
            return f"runs.{self.runner}.speedup"
        return f"runs.{self.runner}.usd_ratio_{self.payment}" if self.metric == "usd_ratio" else ""


def _check(metric: ClaimMetric, known: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError for a field whose value is not among the known names."""
    for name, allowed in known.items():
        given = getattr(metric, name)
        if given is not None and given not in allowed:
            raise ValueError(f"{name} is {given!r}; allowed is one of {', '.join(allowed)}")


class Claim(FrozenModel):
    """One published number: a `[[claim]]` table."""

    name: str
    title: str
    short: str
    """Title for headings of figures."""
    value: float
    unit: Literal["x", "%"]
    better: Literal["higher", "lower"] = "higher"
    """Direction in which a value reaches it. "lower" is no goal: a value is near it or not."""
    aggregation: Literal["highest", "lowest", "geomean", "one a machine"] = "highest"
    """Aggregation over points: the highest ("up to"), the lowest, their geometric mean, or a value that a
    machine has whatever it runs. Sampled machines take all but the last as the highest."""
    scale: Literal["log", "linear"] = "log"
    """Scale of axes and of the value that sensitivity explains; linear where it can be 0."""
    confidence: Literal["high", "medium", "low"]
    """Confidence in the quotation: high, where it is the paper's own abstract."""
    source: str
    why: Listed[str] = ()
    """Reasons why the simulated value disagrees."""
    metric: Listed[ClaimMetric]

    @model_validator(mode="after")
    def _has_one_primary(self) -> Self:
        primary = [metric.words for metric in self.metric if metric.primary]
        if len(primary) != 1:
            raise ValueError(f"claim {self.name} has {len(primary)} primary metrics; allowed is one")
        if set(self.primary.of) != {"store", "samples"}:
            raise ValueError(f"claim {self.name}: of is {self.primary.of}; the primary metric is of both")
        if self.scale == "linear" or self.value > 0:
            return self
        raise ValueError(f"value of {self.name} is {self.value:g}; allowed on a log scale is one above 0")

    @cached_property
    def primary(self) -> ClaimMetric:
        """The metric that is searched and explained."""
        return next(metric for metric in self.metric if metric.primary)

    def metrics(self, source: Source) -> tuple[ClaimMetric, ...]:
        """Metrics for one source of numbers."""
        return tuple(m for m in self.metric if (m.sampled if source == "samples" else source in m.of))

    def reaches(self, values: Numbers) -> NDArray[np.bool_]:
        """Whether values are as good as the paper's, elementwise."""
        if self.better == "lower":
            return np.asarray(np.isfinite(values) & (values <= self.value))
        return np.asarray(values >= self.value)


class PaperFact(FrozenModel):
    """Statement of a paper that is no number: a `[[fact]]` table."""

    name: str
    title: str
    paper: str
    here: str
    """The same matter in this simulator."""
    column: str = ""
    """Column of a store whose values are shown instead of `here`."""
    confidence: Literal["high", "medium", "low"]
    source: str


Metric = tuple[str, int]
"""Name of a claim, and index among its metrics of sampled machines."""


class Paper(FrozenModel):
    """All claims and facts of one paper, and its file of unknowns."""

    source: str
    unknowns: str | None = None
    """File of `data/unknowns` by name, or one by its path from this file; None: nothing to sample."""
    models: Listed[str] = ()
    """Models that the claims are about, by name."""
    against: Listed[str] = ()
    """Runners that do not ship, by the names that `--against` gives them in a sweep."""
    claim: Listed[Claim]
    fact: Listed[PaperFact] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        allowed = [*runner_names(), *self.against]
        for claim in self.claim:
            for metric in claim.metric:
                _check(metric, {"runner": allowed, "subject": allowed})
            if self.unknowns is not None and not claim.primary.sampled:
                raise ValueError(
                    f"unknowns is {self.unknowns!r}, but the primary metric of claim {claim.name} is of "
                    "stores alone; allowed is SAIL's whole step over a runner that ships and somebody ran"
                )
        names = [claim.name for claim in self.claim]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two claims have the name {twice!r}; allowed is one name each")
        if not names:
            raise ValueError("claim is empty; allowed is at least one")
        return self

    def by_name(self, name: str) -> Claim:
        """The claim of a name."""
        return next(claim for claim in self.claim if claim.name == name)

    @cached_property
    def sampled(self) -> dict[Metric, ClaimMetric]:
        """All metrics of sampled machines, claim by claim."""
        return {(c.name, at): m for c in self.claim for at, m in enumerate(c.metrics("samples"))}

    @cached_property
    def primary(self) -> dict[str, Metric]:
        """The metric of each claim that is searched and explained, by the claim's name."""
        return {metric[0]: metric for metric, each in self.sampled.items() if each.primary}

    @cached_property
    def opponents(self) -> dict[str, Runner]:
        """The runners that sampled machines are compared with, by name."""
        names = dict.fromkeys(m.runner for m in self.sampled.values() if m.runner is not None)
        return {runner.name: runner for runner in runners_by_name(*names)}


def load_paper(name_or_path: str = SHIPPED) -> Paper:
    """Claims of a paper by name, or from a file by its path.

    Raises SailsimError that names the file, the field and what is allowed.
    """
    content = CLAIMS.read(name_or_path)
    paper = validate(Paper, content, f"claims {name_or_path}", "a field of a claims file")
    path = CLAIMS.path(name_or_path)
    if path is None or paper.unknowns is None or not paper.unknowns.endswith(".toml"):
        return paper
    return paper.model_copy(update={"unknowns": str(Path(path.parent, paper.unknowns))})


def values(metric: ClaimMetric, quantities: Quantities, area_share: Callable[[str, str], Numbers]) -> Numbers:
    """A metric at every point, as a ratio or in percent.

    ``area_share`` gives the added area over a base, by keys of `costs.area.COUNTED` and `BASES`.
    """
    if metric.metric == "area_share":
        return 100 * area_share(str(metric.counted), str(metric.base))
    if metric.metric == "saving":
        saved = str(metric.saved)
        return 100 * (1 - quantities(SAIL, saved) / quantities(SAIL, saved, without=metric.without))
    rate = "tokens_per_s" if metric.metric == "speedup" else f"tokens_per_usd_{metric.payment}"

    def rate_of(name: str, against: str | None = None) -> Numbers:
        rates = quantities(name, rate, against=against)
        if metric.part == "step":
            return rates
        seconds = (quantities(name, column, against=against) for column in ("step_s", "products_s"))
        return rates * next(seconds) / next(seconds)

    runner = str(metric.runner)
    return rate_of(metric.subject, against=runner) / rate_of(runner)


def highest(values: Numbers) -> Numbers:
    """The highest along the last axis; NaN where there is no number at all."""
    return np.asarray(np.fmax.reduce(values, axis=-1))
