"""A paper's claims together: which machines meet all of them at once, and how much that proves.

For each prior many machines are drawn and judged by every declared combination of readings. What comes out:
each claim by itself, how the claims go together, how near the nearest machines are to all of them, which
unknowns are pinned there, and how often five numbers that nobody published would have been met as well. The
nearest machine of few changes is a system file. Equal machines, seed and code give an equal file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstest

from sailsim.analysis.paper.claims import SHIPPED
from sailsim.analysis.paper.combinations import Combination, Combinations, Values, load_combinations
from sailsim.analysis.paper.distributions import digits, finite, quantiles
from sailsim.analysis.paper.joint_nearest import OWN_GROUPS, nearest_to_all
from sailsim.analysis.paper.joint_samples import Draw, judged, run_draw
from sailsim.analysis.paper.machine import SampledMachine
from sailsim.analysis.paper.metrics import Numbers, highest, reaches
from sailsim.analysis.paper.parameters import Value
from sailsim.analysis.paper.space import ParameterSpace
from sailsim.analysis.paper.unknowns import space
from sailsim.base.atomic import write_whole
from sailsim.sim.files import load_system
from sailsim.sim.study.workers import Workers
from sailsim.sim.system import System
from sailsim.sim.vary import changed_values, value_of

PRIORS = ("sail", "sail-wide")
"""Files of unknowns: what reviews describe, and what anything built or proposed allows."""
CANDIDATES = ("sail-n1-nbw5",)
"""System files that stand beside the nominal machine."""
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
RESULTS = "joint.json"
"""The file in the folder of a study that has what came out."""


def joint(
    out: str | Path,
    machines: int = 20480,
    jobs: int | Workers = 1,
    seed: int = 0,
    progress: bool = True,
    paper: str = SHIPPED,
    priors: Sequence[str] = PRIORS,
    combinations: str = SHIPPED,
    candidates: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Run or finish the study in a folder and write `joint.json` and the nearest machine there.

    Args:
        out: the folder.
        machines: of each prior.
        jobs: processes, or workers of a cluster.
        seed: of the sequence and of the pseudo-papers.
        progress: whether to show it.
        paper: claims by name or path.
        priors: files of unknowns by name or path.
        combinations: a file of them by name or path.
        candidates: system files that differ from the nominal machine in values, which stand beside it;
            default: of the shipped paper `CANDIDATES`, of another none.

    Raises:
        SailsimError: a bad file, number or folder.
    """
    folder = Path(out)
    spaces = {prior: space(paper, prior) for prior in priors}
    first = next(iter(spaces.values()))
    declared = load_combinations(combinations, first.paper)
    draws = {prior: Draw(of_prior, prior, machines, seed) for prior, of_prior in spaces.items()}
    found = {}
    for prior, draw in draws.items():
        judgement = run_draw(draw, folder, jobs, progress)
        found[prior] = _of_prior(declared, spaces[prior], draw.rows(), judgement, seed)
    widest = spaces[list(spaces)[-1]]
    base = load_system(widest.hosts[widest.software])
    named: dict[str, Mapping[str, Value]] = {base.name: {}}
    shipped = CANDIDATES if paper == SHIPPED else ()
    beside_it = shipped if candidates is None else candidates
    named |= {name: _changes(load_system(name), base) for name in beside_it}
    beside = [_named(declared, widest, name, changes) for name, changes in named.items()]
    drawn = {
        f"machine {found[prior]['best']['machine']} of {prior}": _own_values(
            spaces[prior], found[prior], draws[prior].rows()
        )
        for prior in priors
    }
    near = nearest_to_all(widest, declared, {**named, **drawn}, folder, jobs, seed, progress)
    near["reading"] = _named(declared, widest, near["name"], near["draw"])
    results = {
        "paper": paper,
        "machines": machines,
        "seed": seed,
        "declared": combinations,
        "combinations": declared.count,
        "groups": [
            {"claims": [m[0] for m in rows[0]], "rows": len(rows), "reason": reason}
            for rows, reason in zip(declared.groups, declared.reasons, strict=True)
        ],
        "where": list(declared.where),
        "claims": [
            {"name": c.name, "short": c.short, "unit": c.unit, "paper": c.value} for c in first.paper.claim
        ],
        "priors": found,
        "beside": beside,
        "nearest": near,
    }
    write_whole(folder / RESULTS, (json.dumps(results, indent=1) + "\n").encode())
    return results


def _changes(system: System, base: System) -> dict[str, Value]:
    """A machine as what it changes of another. Raises SailsimError where no list of values can say it."""
    return {path: value_of(said) for path, said in changed_values(system, base).items()}


def _own_values(within: ParameterSpace, found: Mapping[str, Any], rows: Numbers) -> dict[str, Value]:
    """What the nearest machine of a prior has of its own; its software, costs and area are drawn too, but no
    file of a machine says them."""
    machine = within.draw(rows[found["best"]["machine"]])
    own = {factor.name for factor in within.factors if factor.group in OWN_GROUPS}
    return {name: value for name, value in machine.values.items() if name in own}


def _of_prior(
    declared: Combinations, within: ParameterSpace, rows: Numbers, values: Values, seed: int
) -> dict[str, Any]:
    """What the machines of one prior give."""
    distance = declared.nearest(values)
    order = np.argsort(distance, kind="stable")
    accepted = order[: min(ACCEPTED, len(rows) // 20)]
    best = int(order[0])
    combination = _best(declared, values, best)
    return {
        "claims": _alone(declared, values),
        "reached": _reached(declared, values),
        "correlation": _correlation(declared, values),
        "within": _within(distance),
        "primary_within": _within(declared.distance(values, declared.primary)),
        "quantiles": [_factor(q) for q in np.quantile(distance, np.linspace(0, 1, 201), method="lower")],
        "pseudo": _pseudo(declared, values, seed),
        "posterior": _posterior(within, rows[accepted]),
        "accepted": len(accepted),
        "accepted_within": _factor(float(distance[accepted[-1]])),
        "best": {
            "machine": best,
            "factor": _factor(distance[best]),
            "reading": _shown(declared, within, values, best, combination),
        },
    }


def _alone(declared: Combinations, values: Values) -> list[dict[str, Any]]:
    """Each claim's primary reading by itself."""
    found = []
    for claim, metric in zip(declared.paper.claim, declared.primary.metrics, strict=True):
        most = highest(values[metric])
        known = np.where(np.isnan(most), -np.inf, most)
        found.append(
            {
                "claim": claim.name,
                "quantiles": quantiles(finite(most)),
                "reach": int(reaches(claim, known).sum()),
            }
        )
    return found


def _reached(declared: Combinations, values: Values) -> list[int]:
    """How many machines reach 0, 1, .. all of the claims, by their primary readings."""
    claims = declared.paper.claim
    reach = [
        reaches(claim, np.nan_to_num(highest(values[metric]), nan=-np.inf))
        for claim, metric in zip(claims, declared.primary.metrics, strict=True)
    ]
    count = np.sum(reach, axis=0)
    return [int((count == n).sum()) for n in range(len(claims) + 1)]


def _correlation(declared: Combinations, values: Values) -> list[list[float | None]]:
    """Rank correlation of the claims over machines, by their primary readings."""
    most = np.column_stack([highest(values[metric]) for metric in declared.primary.metrics])
    known = most[np.isfinite(most).all(axis=1)]
    ranks = known.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable").astype(float)
    return [[digits(float(r), 3) for r in row] for row in np.corrcoef(ranks, rowvar=False)]


def _within(distance: Numbers) -> dict[str, int]:
    """How many machines are within each of the factors of all claims."""
    return {f"{factor:g}": int((distance <= np.log(factor)).sum()) for factor in WITHIN}


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
    found = []
    for moved in rng.uniform(low, high, (PSEUDO, len(declared.paper.claim))):
        claims = zip(declared.paper.claim, moved, strict=True)
        targets = {claim.name: claim.value * float(np.exp(by)) for claim, by in claims}
        found.append(_factor(float(declared.nearest(values, targets).min())))
    return found


def _posterior(within: ParameterSpace, accepted: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Of every unknown, where in its range the nearest machines have it.

    A prior draws each evenly between 0 and 1; `gap` is the largest difference of the accepted machines'
    distribution from that (Kolmogorov and Smirnov), and an unknown is pinned where an even draw would hardly
    have it.
    """
    found = []
    for at, factor in enumerate(within.factors):
        shares = accepted[:, at]
        test = kstest(shares, "uniform")
        low, middle, high = (float(q) for q in np.quantile(shares, (0.05, 0.5, 0.95)))
        found.append(
            {
                "factor": factor.name,
                "span": factor.span,
                "nominal": factor.nominal,
                "gap": digits(float(test.statistic), 3),
                "pinned": bool(test.pvalue * len(within.factors) < PINNED),
                "shares": [digits(x, 3) for x in (low, middle, high)],
                "values": [_value(factor.at(x)) for x in (low, middle, high)],
            }
        )
    return sorted(found, key=lambda row: -float(row["gap"] or 0))


def _value(value: Any) -> Any:
    return digits(value, 3) if isinstance(value, float) else value


def _best(declared: Combinations, values: Values, machine: int) -> Combination:
    """The combination by which a machine is nearest; the first readings where a claim has no value, or 0."""
    own = {metric: of_all[machine : machine + 1] for metric, of_all in values.items()}
    if not np.isfinite(declared.nearest(own)[0]):
        return declared.primary
    return min(declared.all(), key=lambda each: float(declared.distance(own, each)[0]))


def _shown(
    declared: Combinations, within: ParameterSpace, values: Values, machine: int, combination: Combination
) -> dict[str, Any]:
    """A machine's claims by one combination, in words."""
    read = declared.at(values, combination, machine)
    rows = []
    for name, at in combination.metrics:
        claim = declared.paper.by_name(name)
        value, place = read[name]
        once = claim.aggregation != "highest"
        rows.append(
            {
                "claim": name,
                "words": claim.metrics("samples")[at].words,
                "value": digits(value),
                "at": "" if once else within.workloads[place].name,
            }
        )
    return {"where": combination.where, "rows": rows}


def _named(
    declared: Combinations, within: ParameterSpace, name: str, changes: Mapping[str, Value]
) -> dict[str, Any]:
    """A named machine: by the primary reading, and by the combination that suits it best."""
    machine = SampledMachine(dict(changes), within.hosts)
    values = judged(within, [machine])
    distances = np.array([float(declared.distance(values, each)[0]) for each in declared.all()])
    best = _best(declared, values, 0)
    return {
        "name": name,
        "changes": dict(changes),
        "factor": _factor(float(distances.min())),
        "primary_factor": _factor(float(declared.distance(values, declared.primary)[0])),
        "combinations_within": int((distances <= np.log(1.25)).sum()),
        "primary": _shown(declared, within, values, 0, declared.primary),
        "best": _shown(declared, within, values, 0, best),
    }
