"""A paper's claims together: which machines meet all of them at once, and how much that proves.

For each prior many machines are drawn and judged by every declared combination of readings. What comes out:
each claim by itself, how the claims go together, how near the nearest machines are to all of them, which
unknowns are pinned there, and how often five numbers that nobody published would have been met as well. The
nearest machine of few changes is a system file. Equal machines, seed and code give an equal file.

Which readings may hold together is declared before any machine is drawn: `data/combinations/<paper>.toml` has
groups of claims with the readings that go together, and a combination takes one row of every group.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pydantic import Field
from scipy.stats import kstest, qmc

from sailsim.analysis.paper.claim import SHIPPED, Metric, Numbers, Paper, highest, load_paper
from sailsim.analysis.paper.claim_study import (
    OWN_GROUPS,
    AnswerFolder,
    Changes,
    NearestSearch,
    check_seed,
    digits,
    judge,
    of_records,
    quantiles,
    save_machine,
)
from sailsim.analysis.paper.evaluator import Memo, Values, judged
from sailsim.analysis.paper.parameter_space import ParameterSpace, space
from sailsim.analysis.uncertainty.prior import Listed, Value
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import FrozenModel
from sailsim.sim.machine.catalog import Catalog, validate
from sailsim.sim.machine.system_files import changed_values, load_system, value_of
from sailsim.sim.study.workers import Workers

COMBINATIONS = Catalog("combinations", "data/combinations", package="sailsim.analysis")
Where = Literal["highest", "one workload"]
WHERE: tuple[Where, ...] = get_args(Where)
"""Each claim at the workload where it is highest, or all at one and the same."""
PRIORS = ("sail", "sail-wide")
"""Files of unknowns: what reviews describe, and what anything built or proposed allows."""
CANDIDATES = ("sail-n1-nbw5",)
"""System files that stand beside the nominal machine of the shipped paper."""
BLOCK = 32
"""Machines of a task."""
MACHINES = (64, 1 << 18)
"""The fewest and the most that a study may have."""
BITS = 30
"""Of the numbers of a Sobol sequence."""
WITHIN = (1.1, 1.15, 1.25, 1.5, 2.0)
"""Factors: how far from the paper's numbers all of a machine's are at most."""
ACCEPTED = 200
"""The nearest machines, whose unknowns are looked at; of few machines a twentieth."""
PSEUDO = 200
"""Papers with other numbers that are tried."""
PSEUDO_SPREAD = 3.0
"""How far, as a factor, their numbers are from the paper's at most."""
PINNED = 0.001
"""Where an even draw is as uneven with less than this chance, after Bonferroni, an unknown is pinned."""
NAME = "nearest-all"


# --- Combinations of readings ---


class JointReadings(FrozenModel):
    """Readings of some claims that go together: a `[[together]]` table."""

    claims: Listed[str]
    readings: Listed[Listed[str]]
    """Rows, each with a reading of every claim, by its words."""
    reason: str = Field(min_length=1)


class _CombinationFile(FrozenModel):
    extends: tuple[str, ...] = ()
    where: Listed[Where]
    together: Listed[JointReadings]


@dataclass(frozen=True)
class Combination:
    """One reading of every claim, and where they are read off."""

    where: Where
    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class Combinations:
    """All that a file declares for a paper.

    What all come to for many machines at once is the product's work, not that of each combination: the
    largest of several distances is least where each of them is.
    """

    paper: Paper
    where: tuple[Where, ...]
    groups: tuple[tuple[tuple[Metric, ...], ...], ...]
    """Of every group its rows; a row has a metric of each of the group's claims."""
    reasons: tuple[str, ...]

    def all(self) -> Iterator[Combination]:
        """Every combination."""
        for where, rows in product(self.where, product(*self.groups)):
            yield Combination(where, tuple(metric for row in rows for metric in row))

    @property
    def primary(self) -> Combination:
        """Every claim's primary reading, each at its highest."""
        return Combination("highest", tuple(self.paper.primary.values()))

    @property
    def targets(self) -> dict[str, float]:
        """The paper's numbers."""
        return {claim.name: claim.value for claim in self.paper.claim}

    def nearest(self, values: Values, targets: Mapping[str, float] | None = None) -> Numbers:
        """How far each machine is from all claims at once, by the combination that suits it best.

        ``targets`` are numbers in the place of the paper's. The distance is the largest |log(value / number)|
        of the claims; infinite where one has no value, or 0.
        """
        every = [_far(values, self.groups, where, targets or self.targets) for where in self.where]
        return np.asarray(np.min(every, axis=0))

    def distance(self, values: Values, combination: Combination) -> Numbers:
        """As `nearest`, of one combination."""
        return _far(values, ((combination.metrics,),), combination.where, self.targets)

    def best(self, values: Values) -> tuple[Combination, Numbers]:
        """The combination by which one machine is nearest, and how far it is by each.

        It is that of the first readings where a claim has no value, or 0.
        """
        every = list(self.all())
        distances = np.array([float(self.distance(values, each)[0]) for each in every])
        at = int(np.argmin(distances))
        return every[at] if np.isfinite(distances[at]) else self.primary, distances


def _far(
    values: Values,
    groups: Sequence[Sequence[Sequence[Metric]]],
    where: Where,
    wanted: Mapping[str, float],
) -> Numbers:
    """How far machines are from what is wanted, by the row of every group that suits them best."""
    of_groups = [np.min([_worst(values, row, wanted, where) for row in rows], axis=0) for rows in groups]
    worst = np.asarray(np.max(of_groups, axis=0), np.float64)
    return worst if where == "highest" else np.asarray(worst.min(axis=-1), np.float64)


def _worst(values: Values, metrics: Sequence[Metric], wanted: Mapping[str, float], where: Where) -> Numbers:
    """The largest |log(value / wanted)| of some metrics: of the highest over the last axis, or workload by
    workload; infinite for what is no number above 0."""
    offs = []
    for metric in metrics:
        value = highest(values[metric]) if where == "highest" else values[metric]
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.abs(np.log(value / wanted[metric[0]]))
        offs.append(np.where(np.isfinite(off), off, np.inf))
    return np.asarray(np.max(offs, axis=0))


def load_combinations(name_or_path: str, paper: Paper) -> Combinations:
    """A file of combinations by name or path, for a paper.

    Raises SailsimError that names the file and the field: a claim that is missing or in two groups, a reading
    that a claim does not have.
    """
    what = f"combinations {name_or_path}"
    file = validate(_CombinationFile, COMBINATIONS.read(name_or_path), what, "a field of such a file")
    named = [name for group in file.together for name in group.claims]
    if sorted(named) != sorted(claim.name for claim in paper.claim):
        raise SailsimError(
            f"{what}: claims of its groups are {', '.join(named)}, allowed is each of "
            f"{', '.join(claim.name for claim in paper.claim)} once"
        )
    if not file.where:
        raise SailsimError(f"{what}: where is empty, allowed are {' and '.join(WHERE)}")
    groups = tuple(tuple(_row(what, paper, group, row) for row in group.readings) for group in file.together)
    if not all(groups):
        raise SailsimError(f"{what}: readings of a group is empty, allowed is at least one row")
    return Combinations(paper, file.where, groups, tuple(group.reason for group in file.together))


def _row(what: str, paper: Paper, group: JointReadings, row: Sequence[str]) -> tuple[Metric, ...]:
    if len(row) != len(group.claims):
        raise SailsimError(
            f"{what}: readings has a row of {len(row)}, allowed is one of {len(group.claims)}, for "
            f"{', '.join(group.claims)}"
        )
    metrics = []
    for name, words in zip(group.claims, row, strict=True):
        known = [metric.words for metric in paper.by_name(name).metrics("samples")]
        if words not in known:
            raise SailsimError(f"{what}: a reading of {name} is {words!r}, allowed are {'; '.join(known)}")
        metrics.append((name, known.index(words)))
    return tuple(metrics)


# --- Machines of a prior ---


def sobol_rows(space: ParameterSpace, samples: int, seed: int) -> Numbers:
    """(machines, factors), each from 0 to below 1: machine i is row i, whoever evaluates it.

    Sobol's sequence (Joe and Kuo's direction numbers) with a digital shift: one word of PCG64 a factor, a
    stream that NumPy promises to keep, is XORed to its bits. A larger draw begins with a smaller one.
    """
    axes = len(space.factors)
    shifts = np.random.PCG64(seed).random_raw(axes) >> np.uint64(64 - BITS)
    sequence = qmc.Sobol(axes, scramble=False, bits=BITS).random_base2(math.ceil(math.log2(samples)))
    shifted = (sequence[:samples] * 2**BITS).astype(np.uint64) ^ shifts
    return np.asarray(shifted.astype(np.float64) / 2**BITS)


def drawn(space: ParameterSpace, prior: str, rows: Numbers, seed: int, answers: AnswerFolder) -> Values:
    """Every metric of the machines of some rows, (machines, workloads)."""
    blocks = [rows[first : first + BLOCK] for first in range(0, len(rows), BLOCK)]
    what = f"blocks of {BLOCK} machines, prior {prior}"
    records = judge(space, blocks, answers, str(seed), what, f"machines of {prior}")
    return of_records(records, space.paper.sampled)


# --- The study ---


def joint(
    out: str | Path,
    samples: int = 20480,
    jobs: int | Workers = 1,
    seed: int = 0,
    progress: bool = True,
    paper: str = SHIPPED,
    priors: Sequence[str] = PRIORS,
    combinations: str = SHIPPED,
) -> dict[str, Any]:
    """Run or finish the study in a folder and write `joint.json` and the nearest machine there.

    Args:
        out: the folder.
        samples: machines of each prior.
        jobs: processes, or workers of a cluster.
        seed: of the sequence and of the pseudo-papers.
        progress: whether to show it.
        paper: claims by name or path.
        priors: files of unknowns by name or path.
        combinations: a file of them by name or path.

    Raises:
        SailsimError: a bad file, number or folder.
    """
    folder, claims = Path(out), load_paper(paper)
    spaces = {prior: space(paper, prior) for prior in priors}
    declared = load_combinations(combinations, claims)
    low, high = MACHINES
    if not low <= samples <= high or samples % BLOCK:
        raise SailsimError(f"samples is {samples}, allowed is a multiple of {BLOCK} from {low} to {high}")
    check_seed(seed)
    config = {
        "samples": samples, "seed": seed, "paper": paper, "prior": list(priors), "combinations": combinations
    }  # fmt: skip
    answers = AnswerFolder(folder, "claims joint", config, jobs, progress)
    rows = {prior: sobol_rows(of_prior, samples, seed) for prior, of_prior in spaces.items()}
    of_priors = {
        prior: _of_prior(
            declared, of_prior, rows[prior], drawn(of_prior, prior, rows[prior], seed, answers), seed
        )
        for prior, of_prior in spaces.items()
    }
    widest = list(spaces.values())[-1]
    base = load_system(widest.hosts[widest.software])
    named: dict[str, Changes] = {base.name: {}}
    for name in CANDIDATES if paper == SHIPPED else ():
        changed = changed_values(load_system(name), base)
        named[name] = {path: value_of(leaf) for path, leaf in changed.items()}
    beside = [_named(declared, widest, name, changes) for name, changes in named.items()]
    for prior, of_prior in spaces.items():
        best = of_priors[prior]["best"]["machine"]
        # Its software, costs and area are drawn too, but no file of a machine says them.
        own = {factor.name for factor in of_prior.factors if factor.group in OWN_GROUPS}
        values = of_prior.draw(rows[prior][best]).values
        named[f"machine {best} of {prior}"] = {n: value for n, value in values.items() if n in own}
    near = nearest_to_all(widest, declared, named, answers, seed)
    near["reading"] = _named(declared, widest, near["name"], near["draw"])
    results = {
        "paper": paper,
        "machines": samples,
        "seed": seed,
        "declared": combinations,
        "combinations": len(list(declared.all())),
        "groups": [
            {"claims": [m[0] for m in rows[0]], "rows": len(rows), "reason": reason}
            for rows, reason in zip(declared.groups, declared.reasons, strict=True)
        ],
        "where": list(declared.where),
        "claims": [
            {"name": c.name, "short": c.short, "unit": c.unit, "paper": c.value} for c in claims.claim
        ],
        "priors": of_priors,
        "beside": beside,
        "nearest": near,
    }
    write_whole(folder / "joint.json", (json.dumps(results, indent=1) + "\n").encode())
    return results


def nearest_to_all(
    space: ParameterSpace,
    declared: Combinations,
    starts: Mapping[str, Changes],
    answers: AnswerFolder,
    seed: int,
) -> dict[str, Any]:
    """The nearest machine that the search finds from some machines, and its file, saved in the folder."""
    asked = {f"{name} {json.dumps(sorted(start.items()))}": start for name, start in starts.items()}
    within = f"{space.digest} {declared.groups} {declared.where}"
    what = "searches for the nearest machine"
    ends = answers.of_each(asked, partial(_nearest, space, declared), "nearest", within, what)
    (distance, changes), start = min(
        ((ends[question], name) for question, name in zip(asked, starts, strict=True)),
        key=lambda each: float(each[0][0]),
    )
    source = f"sailsim claims joint, nearest to all claims at once, seed {seed}"
    path, title = answers.path / f"{NAME}.toml", "Nearest to all of the paper's claims at once"
    return {
        "name": NAME,
        "from": start,
        "factor": _factor(distance),
        "draw": changes,
        "file": path.name,
        "changes": save_machine(space, changes, path, title, source),
        "group_size": space.nominal.with_values(changes).group_size,
    }


def _nearest(space: ParameterSpace, declared: Combinations, start: Changes) -> tuple[float, dict[str, Value]]:
    """How far the machine is that a search from one start ends with, and its changes."""
    memo = Memo()

    def off(changes: Changes) -> float:
        values = judged(space, space.nominal.with_values(changes), memo=memo)
        return float(declared.nearest(_alone(values))[0])

    search = NearestSearch(space, off, enough=0.0, rounds=8, helps=0.99, kept=24)
    changes = search.run(start)
    return search.distance(changes), changes


def _alone(values: Values) -> Values:
    """A machine's numbers as those of machines of which there is one."""
    return {metric: each[None, :] for metric, each in values.items()}


# --- What came out ---


def _of_prior(
    declared: Combinations, space: ParameterSpace, rows: Numbers, values: Values, seed: int
) -> dict[str, Any]:
    """What the machines of one prior give, whose u's are ``rows``."""
    distance = declared.nearest(values)
    order = np.argsort(distance, kind="stable")
    accepted = order[: min(ACCEPTED, len(rows) // 20)]
    best = int(order[0])
    own = {metric: of_all[best : best + 1] for metric, of_all in values.items()}
    claims = declared.paper.claim
    most = {claim.name: highest(values[declared.paper.primary[claim.name]]) for claim in claims}
    reach = {claim.name: claim.reaches(np.nan_to_num(most[claim.name], nan=-np.inf)) for claim in claims}
    count = np.sum(list(reach.values()), axis=0)
    together = np.column_stack(list(most.values()))
    known = together[np.isfinite(together).all(axis=1)]

    def within(off: Numbers) -> dict[str, int]:
        return {f"{factor:g}": int((off <= np.log(factor)).sum()) for factor in WITHIN}

    ranks = known.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable").astype(float)
    return {
        "claims": [
            {"claim": name, "quantiles": quantiles(each), "reach": int(reach[name].sum())}
            for name, each in most.items()
        ],
        "reached": [int((count == n).sum()) for n in range(len(claims) + 1)],
        "correlation": [[digits(float(r), 3) for r in row] for row in np.corrcoef(ranks, rowvar=False)],
        "within": within(distance),
        "primary_within": within(declared.distance(values, declared.primary)),
        "quantiles": [_factor(q) for q in np.quantile(distance, np.linspace(0, 1, 201), method="lower")],
        "pseudo": _pseudo(declared, values, seed),
        "posterior": _posterior(space, rows[accepted]),
        "accepted": len(accepted),
        "accepted_within": _factor(float(distance[accepted[-1]])),
        "best": {
            "machine": best,
            "factor": _factor(distance[best]),
            "reading": _shown(declared, space, own, declared.best(own)[0]),
        },
    }


def _factor(distance: float) -> float | None:
    """A distance as a factor; None for a machine that lacks a claim."""
    return digits(float(np.exp(distance)), 4) if np.isfinite(distance) else None


def _pseudo(declared: Combinations, values: Values, seed: int) -> list[float | None]:
    """The factor within which the nearest machine meets all numbers of each pseudo-paper.

    A pseudo-paper has the paper's claims with every number moved by a factor of its own, drawn evenly in its
    logarithm. Were most of them met as well as the paper, meeting the paper would prove little.
    """
    rng = np.random.default_rng(seed)
    low, high = -np.log(PSEUDO_SPREAD), np.log(PSEUDO_SPREAD)
    nearest = []
    for moved in rng.uniform(low, high, (PSEUDO, len(declared.paper.claim))):
        claims = zip(declared.paper.claim, moved, strict=True)
        targets = {claim.name: claim.value * float(np.exp(by)) for claim, by in claims}
        nearest.append(_factor(float(declared.nearest(values, targets).min())))
    return nearest


def _posterior(within: ParameterSpace, accepted: Numbers) -> list[dict[str, Any]]:
    """Of every unknown, where in its range the nearest machines have it.

    A prior draws each evenly between 0 and 1; `gap` is the largest difference of the accepted machines'
    distribution from that (Kolmogorov and Smirnov), and an unknown is pinned where an even draw would hardly
    have it.
    """
    rows = []
    for at, factor in enumerate(within.factors):
        shares = accepted[:, at]
        test = kstest(shares, "uniform")
        ends = [float(q) for q in np.quantile(shares, (0.05, 0.5, 0.95))]
        drawn = [factor.at(x) for x in ends]
        rows.append(
            {
                "factor": factor.name,
                "span": factor.span,
                "nominal": factor.nominal,
                "gap": digits(float(test.statistic), 3),
                "pinned": bool(test.pvalue * len(within.factors) < PINNED),
                "shares": [digits(x, 3) for x in ends],
                "values": [digits(v, 3) if isinstance(v, float) else v for v in drawn],
            }
        )
    return sorted(rows, key=lambda row: -float(row["gap"] or 0))


def _shown(
    declared: Combinations, space: ParameterSpace, values: Values, combination: Combination
) -> dict[str, Any]:
    """One machine's claims by one combination, in words: each with the workload where it is read off."""
    own = {metric: values[metric][0] for metric in combination.metrics}
    worst = _worst(own, combination.metrics, declared.targets, "one workload")
    rows = []
    for metric, value in own.items():
        place = int(np.argmin(worst))
        if combination.where == "highest":
            place = int(np.nanargmax(value)) if np.isfinite(value).any() else 0
        per_point = declared.paper.by_name(metric[0]).aggregation == "highest"
        rows.append(
            {
                "claim": metric[0],
                "words": declared.paper.sampled[metric].words,
                "value": digits(float(value[place])),
                "at": space.workloads[place].name if per_point else "",
            }
        )
    return {"where": combination.where, "rows": rows}


def _named(declared: Combinations, within: ParameterSpace, name: str, changes: Changes) -> dict[str, Any]:
    """A named machine: by the primary reading, and by the combination that suits it best."""
    values = _alone(judged(within, within.nominal.with_values(changes)))
    best, distances = declared.best(values)
    return {
        "name": name,
        "changes": dict(changes),
        "factor": _factor(float(distances.min())),
        "primary_factor": _factor(float(declared.distance(values, declared.primary)[0])),
        "combinations_within": int((distances <= np.log(1.25)).sum()),
        "primary": _shown(declared, within, values, declared.primary),
        "best": _shown(declared, within, values, best),
    }
