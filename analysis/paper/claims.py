"""What a paper claims, as data: numbers, and every metric that the words of each allow.

Those that ship are `data/claims/<paper>.toml`; another paper's are a file like it, by its path. What a metric
computes is in `metrics`, from what runners did: the points of a store (`stored_claims`) or sampled machines
(`sample_outcomes`). No other module names a claim, or a runner that one is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError, model_validator

from sailsim.analysis.costs.area import BASES, COUNTED
from sailsim.analysis.results.runs import Runner, shipped_runners
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Frozen
from sailsim.base.stamp import Stamp, stamp
from sailsim.sim.same import Same
from sailsim.sim.tables import Shelf, sentence

CLAIMS = Shelf("claims", "data/claims", package="sailsim.analysis")
"""The files."""
SHIPPED = "sail"
"""The paper that is asked about unless another one is named."""

MetricName = Literal["speedup", "usd_ratio", "saving", "area_share"]
Payment = Literal["used", "bandwidth", "whole"]
Saved = Literal["pim_cycles", "step_s", "array_reads"]
Choice = Literal["prt"]
Source = Literal["store", "samples"]

_FIELDS_OF: dict[MetricName, tuple[str, ...]] = {
    "speedup": ("runner",),
    "usd_ratio": ("runner", "payment"),
    "saving": ("saved", "without"),
    "area_share": ("counted", "base"),
}
"""What each metric has to be told; it takes nothing else of these."""


class ClaimMetric(Frozen):
    """One number that the words of a claim may mean: a `[[claim.metric]]` table."""

    words: str
    """The reading, in a phrase."""
    metric: MetricName
    """speedup: SAIL's tokens/s over a runner's; usd_ratio: tokens per dollar likewise; saving: percent that a
    choice saves; area_share: percent of added area."""
    runner: str | None = None
    """Whom SAIL is compared with, by its name in `data/runners.toml`."""
    payment: Payment | None = None
    """What both pay: the vCPUs that they use, or those of the bandwidth that they use too, or the server."""
    saved: Saved | None = None
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
    of: tuple[Source, ...] = ("store", "samples")
    """Where it is shown: for the points of a store, for sampled machines."""
    find: str = ""
    """Where `sailsim run --json` has it, dot by dot; empty where no one run has it."""
    how: str = ""
    """A sentence that says how it follows from the commands, where `find` is empty."""
    remark: str = ""
    """What must be said beside it."""

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, table: Any) -> Any:
        return with_tuples(table, "of")

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
        known: tuple[tuple[str, Sequence[str]], ...] = (
            ("runner", [runner.name for runner in shipped_runners()]),
            ("counted", list(COUNTED)),
            ("base", list(BASES)),
        )
        for name, allowed in known:
            given = getattr(self, name)
            if given is not None and given not in allowed:
                raise ValueError(f"{name} is {given!r}; allowed is one of {', '.join(allowed)}")
        return self

    @property
    def field(self) -> str:
        """Where an answer of `sailsim run --json` has it, dot by dot; empty where no one run has it."""
        if self.metric == "speedup":
            return f"runs.{self.runner}.speedup"
        return f"runs.{self.runner}.usd_ratio_{self.payment}" if self.metric == "usd_ratio" else ""

    @property
    def opponent(self) -> Runner:
        """The runner that SAIL is compared with. Raises ValueError for a metric that has none."""
        if self.runner is None:
            raise ValueError(f"metric {self.metric} has no runner")
        return next(runner for runner in shipped_runners() if runner.name == self.runner)


class Claim(Frozen):
    """One published number: a `[[claim]]` table."""

    name: str
    title: str
    short: str
    """For headings of figures."""
    value: float
    unit: Literal["x", "%"]
    better: Literal["higher", "lower"] = "higher"
    """Whether a machine reaches it with as much or with as little. "lower" is no goal: near it or not."""
    aggregation: Literal["highest", "one a machine"] = "highest"
    """Over points: the highest ("up to"), or a value that a machine has whatever it runs."""
    scale: Literal["log", "linear"] = "log"
    """Of axes and of what sensitivity explains; linear where the value can be 0."""
    confidence: Literal["high", "medium", "low"]
    """Of the quotation: high, where it is the paper's own abstract."""
    source: str
    why: tuple[str, ...] = ()
    """Why what comes out disagrees."""
    metric: tuple[ClaimMetric, ...]

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, table: Any) -> Any:
        return with_tuples(table, "why", "metric")

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

    @property
    def primary(self) -> ClaimMetric:
        """The metric that is searched and explained."""
        return next(metric for metric in self.metric if metric.primary)

    def metrics(self, source: Source) -> tuple[ClaimMetric, ...]:
        """Its metrics for one source of numbers."""
        return tuple(metric for metric in self.metric if source in metric.of)


class Fact(Frozen):
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


class Paper(Frozen):
    """Everything that one paper says, and the file of what it does not."""

    source: str
    unknowns: str | None = None
    """A file of `data/unknowns` by name, or one by its path from this file; None: nothing to sample."""
    models: tuple[str, ...] = ()
    """The models that the claims are about, by name."""
    claim: tuple[Claim, ...]
    fact: tuple[Fact, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, table: Any) -> Any:
        return with_tuples(table, "claim", "fact", "models")

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
        """A claim. Raises SailsimError for an unknown one."""
        found = next((claim for claim in self.claim if claim.name == name), None)
        if found is None:
            raise SailsimError(
                f"claim is {name!r}, allowed is one of {', '.join(claim.name for claim in self.claim)}"
            )
        return found

    def metrics(self, source: Source) -> tuple[ClaimMetric, ...]:
        """All metrics for one source of numbers, claim by claim."""
        return _metrics(Same(self), source)

    def opponents(self, source: Source) -> tuple[Runner, ...]:
        """The runners that SAIL is compared with, each once."""
        return _opponents(Same(self), source)


@lru_cache(maxsize=16)
def _metrics(paper: Same[Paper], source: Source) -> tuple[ClaimMetric, ...]:
    return tuple(metric for claim in paper.it.claim for metric in claim.metrics(source))


@lru_cache(maxsize=16)
def _opponents(paper: Same[Paper], source: Source) -> tuple[Runner, ...]:
    found = (metric.opponent for metric in paper.it.metrics(source) if metric.runner is not None)
    return tuple({runner.name: runner for runner in found}.values())


def load_paper(name_or_path: str = SHIPPED) -> Paper:
    """A paper's claims by name, or from a file by its path.

    Raises SailsimError that names the file, the field and what is allowed.
    """
    return _loaded(name_or_path, stamp(CLAIMS.path(name_or_path)))


@lru_cache(maxsize=8)
def _loaded(name_or_path: str, _stamp: Stamp) -> Paper:
    """A file is read again only when it has changed."""
    table = CLAIMS.read(name_or_path)
    try:
        found = Paper.model_validate(table)
    except ValidationError as error:
        raise SailsimError(sentence(f"claims {name_or_path}", error, "a field of a claims file")) from None
    path = CLAIMS.path(name_or_path)
    if path is None or found.unknowns is None or not found.unknowns.endswith(".toml"):
        return found
    return found.model_copy(update={"unknowns": str(Path(path.parent, found.unknowns))})


def with_tuples(table: Any, *names: str) -> Any:
    """A table whose lists of some names, as TOML has them, are tuples, as frozen models want them."""
    if not isinstance(table, dict):
        return table
    lists = {name: tuple(table[name]) for name in names if isinstance(table.get(name), list)}
    return table | lists
