"""What a paper claims, as data: numbers, every metric that the words of each allow, and how it is reckoned.

Those that ship are `data/claims/<paper>.toml`; another paper's are a file like it, by its path. A metric is
reckoned from `ClaimOutcomes`: the points of a store (`stored_claims`) or a sampled machine on some workloads
(`evaluator`). No other module names a claim, or a runner that one is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from sailsim.analysis.costs.area import BASES, COUNTED
from sailsim.analysis.runs.runs import SAIL, Runner, runner_names, runners_by_name, shipped_software
from sailsim.analysis.uncertainty.prior import Listed
from sailsim.base.quantity import FrozenModel
from sailsim.sim.backends.cores import CLAIMED
from sailsim.sim.machine.catalog import Catalog, validate

CLAIMS = Catalog("claims", "data/claims", package="sailsim.analysis")
SHIPPED = "sail"
"""The paper that is asked about unless another one is named."""

MetricName = Literal["speedup", "usd_ratio", "saving", "area_share"]
Payment = Literal["used", "bandwidth", "whole"]
Choice = Literal["prt"]
Source = Literal["store", "samples"]
Numbers = NDArray[np.float64]


_FIELDS_OF: dict[MetricName, tuple[str, ...]] = {
    "speedup": ("runner",),
    "usd_ratio": ("runner", "payment"),
    "saving": ("saved", "without"),
    "area_share": ("counted", "base"),
}
"""What each metric has to be told; it takes nothing else of these."""


class ClaimMetric(FrozenModel):
    """One number that the words of a claim may mean: a `[[claim.metric]]` table."""

    words: str
    """The reading, in a phrase."""
    metric: MetricName
    """speedup: the subject's tokens/s over a runner's; usd_ratio: tokens per dollar likewise; saving: percent
    that a choice saves; area_share: percent of added area."""
    subject: str = SAIL
    """Whom the claim is about: a runner. Metrics of another one than SAIL are of stores alone."""
    runner: str | None = None
    """Whom the subject is compared with, by its name in `data/runners.toml` or in the paper's `beside`."""
    part: Literal["step", "products"] = "step"
    """Of a speedup or a ratio of dollars: the whole step, or as if it were its matrix products alone."""
    payment: Payment | None = None
    """What both pay: the vCPUs that they use, or those of the bandwidth that they use too, or the server."""
    saved: Literal["pim_cycles", "step_s", "array_reads"] | None = None
    """What is saved: cycles of the PIM units, the step's time, or reads of the arrays by look-ups."""
    without: Choice | None = None
    """The choice whose lack SAIL is compared with at the same point."""
    counted: str | None = None
    base: str | None = None
    """What counts as added area, and what it is a share of: keys of `costs.area.COUNTED` and `BASES`."""
    machines: Literal["reference", "any"] = "reference"
    """Which machines of a store count: the reference alone, or variants too."""
    threads: Literal["any", "fitted"] = "any"
    """Which points of a store count: all, or those with as many threads as the cores' fit has."""
    primary: bool = False
    """Whether it is the one that is searched and explained: one a claim."""
    claimed: bool = True
    """False: it stands beside the claim for comparison, without a verdict."""
    of: Listed[Source] = ("store", "samples")
    """Where it is shown: for the points of a store, for sampled machines."""
    how: str = ""
    """A sentence that says how it follows from the commands, where no one run has it (`field`)."""
    remark: str = ""
    """What must be said beside it."""

    @model_validator(mode="after")
    def _has_what_it_takes(self) -> Self:
        needed = _FIELDS_OF[self.metric]
        for name in dict.fromkeys(name for names in _FIELDS_OF.values() for name in names):
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
        """Whether sampled machines have it: they are SAIL's, against runners that ship and somebody ran."""
        if self.runner is not None:
            software = shipped_software().get(self.runner)
            if software is None or software in CLAIMED:
                return False
        return self.subject == SAIL and self.part == "step" and "samples" in self.of

    @property
    def field(self) -> str:
        """Where an answer of `sailsim run --json` has SAIL's, dot by dot; empty where no one run has it."""
        if self.metric == "speedup":
            return f"runs.{self.runner}.speedup"
        return f"runs.{self.runner}.usd_ratio_{self.payment}" if self.metric == "usd_ratio" else ""


def _check(metric: ClaimMetric, known: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError for a field with a name that none of the known ones has."""
    for name, allowed in known.items():
        given = getattr(metric, name)
        if given is not None and given not in allowed:
            raise ValueError(f"{name} is {given!r}; allowed is one of {', '.join(allowed)}")


class Claim(FrozenModel):
    """One published number: a `[[claim]]` table."""

    name: str
    title: str
    short: str
    """For headings of figures."""
    value: float
    unit: Literal["x", "%"]
    better: Literal["higher", "lower"] = "higher"
    """Whether a machine reaches it with as much or with as little. "lower" is no goal: near it or not."""
    aggregation: Literal["highest", "lowest", "geomean", "one a machine"] = "highest"
    """Over points: the highest ("up to"), the lowest, their geometric mean, or a value that a machine has
    whatever it runs. Sampled machines take all but the last as the highest."""
    scale: Literal["log", "linear"] = "log"
    """Of axes and of what sensitivity explains; linear where the value can be 0."""
    confidence: Literal["high", "medium", "low"]
    """Of the quotation: high, where it is the paper's own abstract."""
    source: str
    why: Listed[str] = ()
    """Why what comes out disagrees."""
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
        """Its metrics for one source of numbers."""
        return tuple(m for m in self.metric if (m.sampled if source == "samples" else source in m.of))

    def reaches(self, values: Numbers) -> NDArray[np.bool_]:
        """Whether values are as good as the paper's."""
        if self.better == "lower":
            return np.asarray(np.isfinite(values) & (values <= self.value))
        return np.asarray(values >= self.value)


class PaperFact(FrozenModel):
    """What a paper says that is no number: a `[[fact]]` table."""

    name: str
    title: str
    paper: str
    here: str
    """What stands here in its place."""
    column: str = ""
    """A column of a store whose values are shown instead of `here`."""
    confidence: Literal["high", "medium", "low"]
    source: str


Metric = tuple[str, int]
"""A claim by its name, and which of its metrics of sampled machines."""


class Paper(FrozenModel):
    """Everything that one paper says, and the file of what it does not."""

    source: str
    unknowns: str | None = None
    """A file of `data/unknowns` by name, or one by its path from this file; None: nothing to sample."""
    models: Listed[str] = ()
    """The models that the claims are about, by name."""
    beside: Listed[str] = ()
    """Runners that do not ship, by the names that `--against` gives them in a sweep."""
    claim: Listed[Claim]
    fact: Listed[PaperFact] = ()

    @model_validator(mode="after")
    def _runners_are_known(self) -> Self:
        allowed = [*runner_names(), *self.beside]
        for claim in self.claim:
            for metric in claim.metric:
                _check(metric, {"runner": allowed, "subject": allowed})
            if self.unknowns is not None and not claim.primary.sampled:
                raise ValueError(
                    f"unknowns is {self.unknowns!r}, but the primary metric of claim {claim.name} is of "
                    "stores alone; allowed is SAIL's whole step over a runner that ships and somebody ran"
                )
        return self

    @model_validator(mode="after")
    def _names_are_different(self) -> Self:
        names = [claim.name for claim in self.claim]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two claims have the name {twice!r}; allowed is one name each")
        if not names:
            raise ValueError("claim is empty; allowed is at least one")
        return self

    def by_name(self, name: str) -> Claim:
        """One of its claims."""
        return next(claim for claim in self.claim if claim.name == name)

    @cached_property
    def sampled(self) -> dict[Metric, ClaimMetric]:
        """All metrics of sampled machines, claim by claim."""
        return {
            (claim.name, at): metric
            for claim in self.claim
            for at, metric in enumerate(claim.metrics("samples"))
        }

    @cached_property
    def primary(self) -> dict[str, Metric]:
        """Of every claim by its name the metric that is searched and explained."""
        return {metric[0]: metric for metric, each in self.sampled.items() if each.primary}

    @cached_property
    def opponents(self) -> dict[str, Runner]:
        """The runners that sampled machines are compared with, by name."""
        names = dict.fromkeys(m.runner for m in self.sampled.values() if m.runner is not None)
        return {runner.name: runner for runner in runners_by_name(*names)}


def load_paper(name_or_path: str = SHIPPED) -> Paper:
    """A paper's claims by name, or from a file by its path.

    Raises SailsimError that names the file, the field and what is allowed.
    """
    content = CLAIMS.read(name_or_path)
    paper = validate(Paper, content, f"claims {name_or_path}", "a field of a claims file")
    path = CLAIMS.path(name_or_path)
    if path is None or paper.unknowns is None or not paper.unknowns.endswith(".toml"):
        return paper
    return paper.model_copy(update={"unknowns": str(Path(path.parent, paper.unknowns))})


class ClaimOutcomes(Protocol):
    """What runners did at some points. Arrays have one shape; NaN where a run has no number."""

    def of(
        self, runner: str, quantity: str, beside: str | None = None, without: Choice | None = None
    ) -> Numbers:
        """A runner's `tokens_per_s`, `tokens_per_usd_<payment>`, `pim_cycles`, `step_s`, `array_reads`, or of
        a store `products_s`, the seconds of a step's matrix products.

        SAIL's are those of the machine whose cores run the software of the runner ``beside``, and with
        ``without`` those at the same points without a choice.
        """

    def area_share(self, counted: str, base: str) -> Numbers:
        """Added area over what there is, by `costs.area.COUNTED` and `BASES`."""


def values(metric: ClaimMetric, outcomes: ClaimOutcomes) -> Numbers:
    """A metric at every point, as a ratio or in percent."""
    if metric.metric == "area_share":
        return 100 * outcomes.area_share(str(metric.counted), str(metric.base))
    if metric.metric == "saving":
        saved = str(metric.saved)
        return 100 * (1 - outcomes.of(SAIL, saved) / outcomes.of(SAIL, saved, without=metric.without))
    rate = "tokens_per_s" if metric.metric == "speedup" else f"tokens_per_usd_{metric.payment}"

    def of(name: str, beside: str | None = None) -> Numbers:
        whole = outcomes.of(name, rate, beside=beside)
        if metric.part == "step":
            return whole
        seconds = (outcomes.of(name, column, beside=beside) for column in ("step_s", "products_s"))
        return whole * next(seconds) / next(seconds)

    runner = str(metric.runner)
    return of(metric.subject, beside=runner) / of(runner)


def highest(values: Numbers) -> Numbers:
    """The highest along the last axis; NaN where there is no number at all."""
    return np.asarray(np.fmax.reduce(values, axis=-1))
