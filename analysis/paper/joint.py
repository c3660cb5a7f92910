"""Joint study of a paper's claims: machines that meet all of them at once, and how much that proves.

For each prior many machines are drawn and judged by every declared combination of readings. Results are each
claim by itself, correlations of claims, distances of the nearest machines to all claims, the unknowns that
these machines pin, and how often unpublished random numbers would be met as well. The nearest machine of few
changes is saved as a system file. Equal machines, seed and code give an equal file.

Readings that may hold together are declared before any machine is drawn: `data/combinations/<paper>.toml` has
groups of claims with rows of readings, and a combination takes one row of every group.
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

from sailsim.analysis.paper import claim_study
from sailsim.analysis.paper.claim import SHIPPED, Metric, Numbers, Paper, highest, load_paper
from sailsim.analysis.paper.claim_study import Changes, Study, answers_of, digits, quantiles, study_in
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
"""Choices of workloads: each claim where it is highest, or all claims at the same one."""
PRIORS = ("sail", "sail-wide")
"""Default files of unknowns: values that reviews describe, and all that were built or proposed."""
CANDIDATES = ("sail-n1-nbw5",)
"""Systems that the shipped paper's nominal machine is shown with."""
BLOCK = 32
"""Machines of a task."""
MACHINES = (64, 1 << 18)
"""Fewest and most machines of a study."""
BITS = 30
"""Bits of the numbers of a Sobol sequence."""
WITHIN = (1.1, 1.15, 1.25, 1.5, 2.0)
"""Factors for counts of machines: largest ratio of their numbers to the paper's."""
ACCEPTED = 200
"""Number of nearest machines for the posterior; at most a twentieth of all."""
PSEUDO = 200
"""Pseudo-papers, which claim other numbers."""
PSEUDO_SPREAD = 3.0
"""Largest factor between their numbers and the paper's."""
PINNED = 0.001
"""Significance level, after Bonferroni, at which an unknown is pinned: its posterior is not uniform."""
NAME = "nearest-all"
"""Name of the nearest machine, and of its file."""


# --- Combinations of readings ---


class JointReadings(FrozenModel):
    """Readings of some claims that hold together: a `[[together]]` table."""

    claims: Listed[str]
    readings: Listed[Listed[str]]
    """Rows, each with the words of a reading of every claim."""
    reason: str = Field(min_length=1)


class _CombinationFile(FrozenModel):
    extends: tuple[str, ...] = ()
    where: Listed[Where]
    together: Listed[JointReadings]


Combination = tuple[Where, tuple[Metric, ...]]
"""Choice of workloads, and one reading of every claim."""


@dataclass(frozen=True)
class Combinations:
    """Declared combinations of readings of a paper's claims.

    They are a product of groups, and distances to the nearest one need no loop over it: the largest of
    several distances is least where each of them is.
    """

    paper: Paper
    where: tuple[Where, ...]
    groups: tuple[tuple[tuple[Metric, ...], ...], ...]
    """Rows of every group; a row has a metric of each of the group's claims."""
    reasons: tuple[str, ...]

    def all(self) -> Iterator[Combination]:
        """Every combination."""
        for where, rows in product(self.where, product(*self.groups)):
            yield where, tuple(metric for row in rows for metric in row)

    @property
    def primary(self) -> Combination:
        """Every claim's primary reading, each at its highest."""
        return "highest", tuple(self.paper.primary.values())

    @property
    def targets(self) -> dict[str, float]:
        """The paper's numbers."""
        return {claim.name: claim.value for claim in self.paper.claim}

    def nearest(self, values: Values, targets: Mapping[str, float] | None = None) -> Numbers:
        """Distance of each machine, (machines,), to all claims at once by the combination that suits it best.

        ``targets`` are numbers in place of the paper's. The distance is the largest |log(value / number)| of
        the claims; infinite where one has no value, or 0.
        """
        every = [_distance(values, self.groups, where, targets or self.targets) for where in self.where]
        return np.asarray(np.min(every, axis=0))

    def distance(self, values: Values, combination: Combination) -> Numbers:
        """As `nearest`, of one combination."""
        where, metrics = combination
        return _distance(values, ((metrics,),), where, self.targets)

    def best(self, values: Values) -> tuple[Combination, Numbers]:
        """The combination by which one machine is nearest, and its distances by every combination.

        It is the primary one where a claim has no value, or 0.
        """
        every = list(self.all())
        distances = np.array([float(self.distance(values, each)[0]) for each in every])
        at = int(np.argmin(distances))
        return every[at] if np.isfinite(distances[at]) else self.primary, distances


def _distance(
    values: Values, groups: Sequence[Sequence[Sequence[Metric]]], where: Where, targets: Mapping[str, float]
) -> Numbers:
    """Distances of machines to the targets, by the row of every group that suits them best."""
    nearest = [np.min([_worst(values, row, targets, where) for row in rows], axis=0) for rows in groups]
    worst = np.asarray(np.max(nearest, axis=0), np.float64)
    return worst if where == "highest" else np.asarray(worst.min(axis=-1), np.float64)


def _worst(values: Values, metrics: Sequence[Metric], targets: Mapping[str, float], where: Where) -> Numbers:
    """Largest |log(value / target)| of some metrics, of the highest value or workload by workload.

    It is infinite for values that are no number above 0.
    """
    distances = []
    for metric in metrics:
        value = highest(values[metric]) if where == "highest" else values[metric]
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.abs(np.log(value / targets[metric[0]]))
        distances.append(np.where(np.isfinite(distance), distance, np.inf))
    return np.asarray(np.max(distances, axis=0))


def load_combinations(name_or_path: str, paper: Paper) -> Combinations:
    """Combinations of a paper's readings, from a file by name or path.

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
    """Numbers u, (machines, factors), each from 0 to below 1; row i is machine i in every process.

    Sobol's sequence (Joe and Kuo's direction numbers) with a digital shift: one word of PCG64 a factor, a
    stream that NumPy promises to keep, is XORed to its bits. A larger draw begins with a smaller one.
    """
    axes = len(space.factors)
    shifts = np.random.PCG64(seed).random_raw(axes) >> np.uint64(64 - BITS)
    sequence = qmc.Sobol(axes, scramble=False, bits=BITS).random_base2(math.ceil(math.log2(samples)))
    shifted = (sequence[:samples] * 2**BITS).astype(np.uint64) ^ shifts
    return np.asarray(shifted.astype(np.float64) / 2**BITS)


def sampled_values(space: ParameterSpace, prior: str, rows: Numbers, seed: int, study: Study) -> Values:
    """Values of every metric of the machines of some rows, each (machines, workloads)."""
    blocks = [rows[first : first + BLOCK] for first in range(0, len(rows), BLOCK)]
    what = f"blocks of {BLOCK} machines, prior {prior}"
    records = claim_study.judge(space, blocks, study, str(seed), what, f"machines of {prior}")
    return claim_study.of_records(records, space.paper.sampled)


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
        combinations: a file of combinations by name or path.

    Raises:
        SailsimError: a bad file, number or folder.
    """
    folder, claims = Path(out), load_paper(paper)
    spaces = {prior: space(paper, prior) for prior in priors}
    declared = load_combinations(combinations, claims)
    low, high = MACHINES
    if not low <= samples <= high or samples % BLOCK:
        raise SailsimError(f"samples is {samples}, allowed is a multiple of {BLOCK} from {low} to {high}")
    claim_study.check_seed(seed)
    config = {"samples": samples, "seed": seed, "paper": paper, "prior": list(priors)}
    config["combinations"] = combinations
    study = study_in(folder, "claims joint", config, jobs, progress)
    rows = {prior: sobol_rows(each, samples, seed) for prior, each in spaces.items()}
    results_by_prior = {}
    for prior, each in spaces.items():
        values = sampled_values(each, prior, rows[prior], seed, study)
        results_by_prior[prior] = _prior_results(declared, each, rows[prior], values, seed)
    widest = list(spaces.values())[-1]
    base = load_system(widest.hosts[widest.software])
    candidates: dict[str, Changes] = {base.name: {}}
    for name in CANDIDATES if paper == SHIPPED else ():
        changed = changed_values(load_system(name), base)
        candidates[name] = {path: value_of(leaf) for path, leaf in changed.items()}
    known = [_machine_results(declared, widest, name, changes) for name, changes in candidates.items()]
    for prior, each in spaces.items():
        best = results_by_prior[prior]["best"]["machine"]
        # Software, costs and area are drawn too, but no system file has them.
        own = {factor.name for factor in each.factors if factor.group in claim_study.OWN_GROUPS}
        drawn = each.draw(rows[prior][best]).values
        candidates[f"machine {best} of {prior}"] = {n: value for n, value in drawn.items() if n in own}
    near = nearest_to_all(widest, declared, candidates, study, folder, seed)
    near["reading"] = _machine_results(declared, widest, near["name"], near["draw"])
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
        "priors": results_by_prior,
        "candidates": known,
        "nearest": near,
    }
    write_whole(folder / "joint.json", (json.dumps(results, indent=1) + "\n").encode())
    return results


def nearest_to_all(
    space: ParameterSpace,
    declared: Combinations,
    starts: Mapping[str, Changes],
    study: Study,
    folder: Path,
    seed: int,
) -> dict[str, Any]:
    """The nearest machine that searches from some machines find; its file is saved in the folder."""
    questions = {f"{name} {json.dumps(sorted(start.items()))}": start for name, start in starts.items()}
    scope = f"{space.digest} {declared.groups} {declared.where}"
    what = "searches for the nearest machine"
    ends = answers_of(study, questions, partial(_nearest, space, declared), "nearest", scope, what)
    found = zip(ends.values(), starts, strict=True)
    (distance, changes), start = min(found, key=lambda each: float(each[0][0]))
    source = f"sailsim claims joint, nearest to all claims at once, seed {seed}"
    path, title = folder / f"{NAME}.toml", "Nearest to all of the paper's claims at once"
    return {
        "name": NAME,
        "from": start,
        "factor": _factor(distance),
        "draw": changes,
        "file": path.name,
        "changes": claim_study.save_machine(space, changes, path, title, source),
        "group_size": space.nominal.with_values(changes).group_size,
    }


def _nearest(space: ParameterSpace, declared: Combinations, start: Changes) -> tuple[float, dict[str, Value]]:
    """Distance and changes of the machine that a search from one start ends with."""
    memo = Memo()

    def distance(changes: Changes) -> float:
        values = judged(space, space.nominal.with_values(changes), memo=memo)
        return float(declared.nearest(_alone(values))[0])

    search = claim_study.NearestSearch(
        space, distance, tolerance=0.0, rounds=8, improvement=0.99, shortlist=24
    )
    changes = search.run(start)
    return search.distance(changes), changes


def _alone(values: Values) -> Values:
    """Values of one machine, (workloads,), as those of one of many, (1, workloads)."""
    return {metric: each[None, :] for metric, each in values.items()}


# --- Results ---


def _prior_results(
    declared: Combinations, space: ParameterSpace, rows: Numbers, values: Values, seed: int
) -> dict[str, Any]:
    """Results of the machines of one prior, whose u's are ``rows``."""
    distance = declared.nearest(values)
    order = np.argsort(distance, kind="stable")
    accepted = order[: min(ACCEPTED, len(rows) // 20)]
    best = int(order[0])
    own = {metric: every[best : best + 1] for metric, every in values.items()}
    claims = declared.paper.claim
    most = {claim.name: highest(values[declared.paper.primary[claim.name]]) for claim in claims}
    reach = {claim.name: claim.reaches(np.nan_to_num(most[claim.name], nan=-np.inf)) for claim in claims}
    count = np.sum(list(reach.values()), axis=0)
    together = np.column_stack(list(most.values()))
    known = together[np.isfinite(together).all(axis=1)]

    def within(distances: Numbers) -> dict[str, int]:
        return {f"{factor:g}": int((distances <= np.log(factor)).sum()) for factor in WITHIN}

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
            "reading": _reading(declared, space, own, declared.best(own)[0]),
        },
    }


def _factor(distance: float) -> float | None:
    """A distance as a factor; None for a machine without a value for a claim."""
    return digits(float(np.exp(distance)), 4) if np.isfinite(distance) else None


def _pseudo(declared: Combinations, values: Values, seed: int) -> list[float | None]:
    """Factor within which the nearest machine meets all numbers of each pseudo-paper.

    A pseudo-paper has the paper's claims with every number multiplied by its own factor, drawn evenly in its
    logarithm. If most of them were met as well as the paper, meeting the paper would prove little.
    """
    rng = np.random.default_rng(seed)
    low, high = -np.log(PSEUDO_SPREAD), np.log(PSEUDO_SPREAD)
    nearest = []
    for shifts in rng.uniform(low, high, (PSEUDO, len(declared.paper.claim))):
        claims = zip(declared.paper.claim, shifts, strict=True)
        targets = {claim.name: claim.value * float(np.exp(shift)) for claim, shift in claims}
        nearest.append(_factor(float(declared.nearest(values, targets).min())))
    return nearest


def _posterior(space: ParameterSpace, accepted: Numbers) -> list[dict[str, Any]]:
    """Distribution of every unknown over its range among the accepted machines, (machines, factors).

    A prior draws each evenly between 0 and 1. `gap` is the largest difference of the accepted machines'
    distribution from that (Kolmogorov and Smirnov). An unknown is pinned where a uniform draw would rarely
    have such a gap.
    """
    rows = []
    for at, factor in enumerate(space.factors):
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
                "pinned": bool(test.pvalue * len(space.factors) < PINNED),
                "shares": [digits(x, 3) for x in ends],
                "values": [digits(v, 3) if isinstance(v, float) else v for v in drawn],
            }
        )
    return sorted(rows, key=lambda row: -float(row["gap"] or 0))


def _reading(
    declared: Combinations, space: ParameterSpace, values: Values, combination: Combination
) -> dict[str, Any]:
    """One machine's claims by one combination, each with the words of its reading and its workload."""
    where, metrics = combination
    own = {metric: values[metric][0] for metric in metrics}
    worst = _worst(own, metrics, declared.targets, "one workload")
    rows = []
    for metric, value in own.items():
        place = int(np.argmin(worst))
        if where == "highest":
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
    return {"where": where, "rows": rows}


def _machine_results(
    declared: Combinations, space: ParameterSpace, name: str, changes: Changes
) -> dict[str, Any]:
    """Results of one machine, by the primary reading and by the combination that suits it best."""
    values = _alone(judged(space, space.nominal.with_values(changes)))
    best, distances = declared.best(values)
    return {
        "name": name,
        "changes": dict(changes),
        "factor": _factor(float(distances.min())),
        "primary_factor": _factor(float(declared.distance(values, declared.primary)[0])),
        "combinations_within": int((distances <= np.log(1.25)).sum()),
        "primary": _reading(declared, space, values, declared.primary),
        "best": _reading(declared, space, values, best),
    }
