"""A paper's claims under everything that it does not publish: distributions, what decides, the nearest.

`reproduce` screens the machine's unknowns, samples the rest (Sobol sequences in Saltelli's scheme), and
gathers for every claim: its value on the nominal machine, its distribution, the share of machines that reach
the paper's, the factors that decide it, and a plausible configuration near the paper's value, as a system
file and a command. Everything is in one JSON file, from which `render.claims_page` writes the page; equal
samples, seed and code give equal files. docs/reproduction.md explains.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from SALib.analyze import sobol
from SALib.sample import sobol as saltelli

from sailsim.analysis.paper.claim import SHIPPED, Claim, Metric, Numbers, highest
from sailsim.analysis.paper.claim_study import (
    AnswerFolder,
    Changes,
    NearestSearch,
    check_seed,
    digits,
    finite,
    judge,
    of_records,
    quantiles,
    run_command,
    save_machine,
)
from sailsim.analysis.paper.evaluator import Memo, SampledOutcomes, Values, judged
from sailsim.analysis.paper.parameter_space import ParameterSpace, space
from sailsim.analysis.paper.sampled_machine import SampledMachine
from sailsim.analysis.uncertainty.prior import Parameter
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim.study.workers import Workers

MOST_SAMPLES = 4096
DRAWN = 6
"""Machines that are screened beside the nominal one."""
NEAR = 0.02
"""A configuration is at the paper's value when it is this near."""
STARTS = 2
"""Workloads that are tried for a claim."""
SHOWN = 10
"""Factors of a tornado."""
LEAST_INDEX = 0.005
"""Total index up to which a factor is not shown."""


# --- Samples ---


def inert_factors(space: ParameterSpace) -> list[str]:
    """Machine factors that neither a step's time nor an area depends on, in order of their names.

    Each is moved over its levels on the nominal machine and on `DRAWN` others, with the first two workloads:
    so many because what some decide hangs on others (how DFMs split work, on whether there are several).
    """
    rng, memo = np.random.default_rng(0), Memo()
    tried = [space.nominal, *(space.draw(row) for row in rng.random((DRAWN, len(space.factors))))]

    def decides(factor: Parameter, base: SampledMachine) -> bool:
        levels = dict.fromkeys(factor.values or (factor.at(0.0), factor.at(1.0)))
        return len({_decided(space, base.with_values({factor.name: level}), memo) for level in levels}) > 1

    machine = (factor for factor in space.factors if factor.group == "machine")
    return sorted(each.name for each in machine if not any(decides(each, base) for base in tried))


def _decided(space: ParameterSpace, machine: SampledMachine, memo: Memo) -> str:
    """All that a machine decides of steps, its own and those beside it, and of area, as a text to compare."""
    outcomes = SampledOutcomes(space, machine, space.workloads[:2], memo)
    host = outcomes.host(space.software)
    if host is None:
        return ""
    opponents = space.paper.opponents.values()
    decided = [
        *([host.step(w), host.step(w, prt=False) if w.prt else None] for w in outcomes.workloads),
        *(
            outcomes.predicted(host, each, w)
            for each in opponents
            if each.kind == "gpu" or each.software == space.software
            for w in outcomes.workloads
        ),
        host.system.memory.read_bandwidth.si,
        *(
            outcomes.area_share(str(metric.counted), str(metric.base))
            for metric in space.paper.sampled.values()
            if metric.metric == "area_share"
        ),
    ]
    return str(decided)


@dataclass(frozen=True)
class SampledMetrics:
    """What sampling gave: metrics of machines (rows) on workloads (columns).

    `saltelli` has the primary metrics of the rows of Saltelli's scheme, in SALib's order, `free` all metrics
    of the independent machines, whose u's are `free_rows`; `alternatives` the primary ones of every other of
    them with another design.
    """

    space: ParameterSpace
    saltelli: Values
    free: Values
    free_rows: Numbers
    alternatives: Mapping[str, Values]

    @property
    def impossible(self) -> int:
        """Independent machines that cannot run any workload."""
        by_point = [
            values
            for (claim, _), values in self.free.items()
            if self.space.paper.by_name(claim).aggregation == "highest"
        ]
        return int(np.isnan(np.hstack(by_point or list(self.free.values()))).all(axis=1).sum())


def check_samples(space: ParameterSpace, samples: int, seed: int) -> None:
    """Raise SailsimError for numbers of samples and seeds that Sobol's sequence cannot have, and for a space
    without a factor."""
    if not 4 <= samples <= MOST_SAMPLES or samples & (samples - 1):
        raise SailsimError(
            f"samples is {samples}, allowed is a power of two from 4 to {MOST_SAMPLES}, for Sobol's sequence"
        )
    check_seed(seed)
    if not space.factors:
        raise SailsimError("the space has no factor, allowed is at least one")


def sample(space: ParameterSpace, samples: int, seed: int, answers: AnswerFolder) -> SampledMetrics:
    """Judge the machines of so many base samples (a power of two) of a space, from a seed.

    A base sample is a block of Saltelli's scheme: two independent machines A and B, and for every factor a
    row that is A with that factor of B. The first half of the blocks, itself a Sobol sample, has all rows,
    which sensitivity indices need; the others have A and B. Raises SailsimError as `AnswerFolder`.
    """
    count, full = len(space.factors), samples // 2
    flat = saltelli.sample(_problem(space), samples, calc_second_order=False, seed=seed)
    every = np.clip(np.asarray(flat, dtype=float), 0, 1).reshape(samples, count + 2, count)
    blocks: list[Numbers] = [*every[:full], *every[full:, [0, -1]]]
    records = judge(space, blocks, answers, f"{samples}/{seed}", "blocks", "blocks", designs_seed=seed)
    ends = np.cumsum([len(block) for block in blocks]).tolist()
    places = [at for end, block in zip(ends, blocks, strict=True) for at in (end - len(block), end - 1)]
    free, primary = [records[at] for at in places], space.paper.primary.values()
    return SampledMetrics(
        space,
        saltelli=of_records(records[: ends[full - 1]], primary),
        free=of_records(free, space.paper.sampled),
        free_rows=np.concatenate(blocks)[places],
        alternatives={each.name: of_records(free[::2], primary, each.name) for each in space.alternatives},
    )


def _problem(space: ParameterSpace) -> dict[str, Any]:
    """A space as SALib wants it."""
    count = len(space.factors)
    return {"num_vars": count, "names": list(space.names), "bounds": [[0.0, 1.0]] * count}


# --- The nearest machine to a claim ---


def nearest(space: ParameterSpace, claim: Claim) -> dict[str, Any]:
    """A machine near the nominal one whose claim is nearest to the paper's: its changes, value and workload.

    Starts are the workloads where the nominal machine comes nearest. Of what they lead to the nearest result
    counts, of equally near ones that with fewest changes. Raises SailsimError where the claim has no value on
    any workload.
    """
    metric, memo = space.paper.primary[claim.name], Memo()

    def off(at: int, changes: Changes) -> float:
        machine = space.nominal.with_values(changes)
        return float(judged(space, machine, [metric], [at], memo)[metric][at]) / claim.value - 1

    nominal = judged(space, space.nominal, [metric])[metric]
    order = [i for i in range(len(nominal)) if math.isfinite(nominal[i])]
    if claim.aggregation != "highest":
        order = order[:1]  # the same on every workload
    order.sort(key=lambda i: (abs(float(nominal[i]) / claim.value - 1), i))
    ends = []
    for at in order[:STARTS]:
        search = NearestSearch(space, partial(off, at), enough=NEAR, rounds=6, helps=0.98, kept=12)
        changes = search.run({})
        distance = search.distance(changes)
        ends.append((0.0 if distance <= NEAR else distance, len(changes), at, changes))
        if ends[-1][:2] == (0.0, 0):
            break
    if not ends:
        raise SailsimError(
            f"claim {claim.name} has no value on any workload, allowed is one that can be simulated"
        )
    _, _, at, changes = min(ends, key=lambda end: end[:2])
    machine = space.nominal.with_values(changes)
    value = float(judged(space, machine, [metric], [at], memo)[metric][at])
    return {"value": float(f"{value:.5g}"), "workload": at, "changes": dict(sorted(changes.items()))}


def _saved(
    space: ParameterSpace, claim: Claim, answer: Mapping[str, Any], folder: Path, seed: int
) -> dict[str, Any]:
    """The answer with the system file of its machine, and the commands that run it."""
    workload, draw = space.workloads[answer["workload"]], dict(answer["changes"])
    path = folder / f"nearest-{claim.name.replace('_', '-')}.toml"
    if claim.aggregation == "highest":
        command = run_command(path.name, workload, space.nominal.with_values(draw).group_size)
        commands = [command]
        if claim.primary.without is not None:
            commands.append(command.replace("--json", f"--no-{claim.primary.without} --json"))
    else:
        commands = [f"sailsim show system docs/systems/{path.name}"]
    source = f"sailsim claims reproduce, nearest to the claim {claim.name}, seed {seed}"
    title = f"Nearest to the paper's {claim.name}, within the declared ranges"
    return {
        "value": answer["value"],
        "workload": workload.name,
        "changes": save_machine(space, draw, path, title, source, commands),
        "file": path.name,
        "commands": commands,
        "find": claim.primary.field,
        "draw": draw,
    }


# --- The study ---


def reproduce(
    out: str | Path,
    samples: int = 128,
    jobs: int | Workers = 1,
    seed: int = 0,
    progress: bool = True,
    paper: str = SHIPPED,
    prior: str | None = None,
) -> dict[str, Any]:
    """Run or finish the study in a folder and write `reproduction.json` and the nearest systems there.

    ``paper`` is one by name or a file of claims, ``prior`` a file of unknowns in the place of its own.
    Returns what the file holds. Raises SailsimError for samples that are no power of two, a seed or jobs out
    of range, a bad file of claims or unknowns, and a folder that cannot be written or that another run holds.
    """
    folder, everything = Path(out), space(paper, prior)
    check_samples(everything, samples, seed)
    config = {"samples": samples, "seed": seed, "paper": paper, "prior": prior}
    answers = AnswerFolder(folder, "claims reproduce", config, jobs, progress)
    inert = answers.of_each(
        {"factors": everything}, inert_factors, "screening", everything.digest, "screening"
    )["factors"]
    kept = everything.only([name for name in everything.names if name not in inert])
    sampled = sample(kept, samples, seed, answers)
    nominal = judged(kept, kept.nominal)
    every = {claim.name: claim for claim in kept.paper.claim}
    what = "searches for the nearest machine"
    near = answers.of_each(every, partial(nearest, kept), "nearest", kept.digest, what)
    claims = {
        claim.name: {
            "title": claim.title,
            "paper": claim.value,
            "unit": claim.unit,
            **_described(claim, sampled, nominal),
            "decides": decides(sampled, claim),
            "alternatives": _alternatives(sampled, claim),
            "nearest": _saved(kept, claim, near[claim.name], folder, seed),
        }
        for claim in kept.paper.claim
    }
    names = ("name", "group", "unit", "span", "nominal", "reason")
    results: dict[str, Any] = {
        "paper": paper,
        "prior": prior or "",
        "samples": samples,
        "seed": seed,
        "machines": len(sampled.free_rows),
        "impossible": sampled.impossible,
        "factors": [{name: getattr(factor, name) for name in names} for factor in kept.factors],
        "inert": inert,
        "held": [
            {"name": name, "value": str(each.value), "reason": each.reason}
            for name, each in kept.held.items()
        ],
        "workloads": [w.model_dump() for w in kept.workloads],
        "claims": claims,
        "facts": [{"claim": f.title, "paper": f.paper, "here": f.here} for f in kept.paper.fact],
    }
    write_whole(folder / "reproduction.json", (json.dumps(results, indent=1) + "\n").encode())
    return results


def _described(claim: Claim, sampled: SampledMetrics, nominal: Values) -> dict[str, Any]:
    """A claim's metrics and the values of the primary one, as the results' file has them."""
    free = sampled.free[sampled.space.paper.primary[claim.name]]
    own = [metric for metric in sampled.space.paper.sampled if metric[0] == claim.name]
    return {
        "readings": [_metric(claim, metric, sampled, nominal) for metric in own],
        "values": [digits(float(value), 4) for value in np.sort(finite(highest(free)))],
        "fixed_values": [digits(float(v), 4) for v in np.sort(finite(free[:, sampled.space.fixed]))],
    }


def _metric(claim: Claim, metric: Metric, sampled: SampledMetrics, nominal: Values) -> dict[str, Any]:
    fixed, words = sampled.space.fixed, sampled.space.paper.sampled[metric]
    of_nominal, of_free = nominal[metric], sampled.free[metric]
    at = int(np.nanargmax(of_nominal)) if np.isfinite(of_nominal).any() else None
    most = highest(of_free)
    most = np.where(np.isnan(most), -np.inf, most)
    everywhere, there = finite(most), finite(of_free[:, fixed])
    per_point = claim.aggregation == "highest"
    best = everywhere.min if claim.better == "lower" else everywhere.max
    return {
        "claim": claim.name,
        "words": words.words,
        "primary": words.primary,
        "nominal": None if at is None else digits(float(of_nominal[at])),
        "nominal_at": sampled.space.workloads[at].name if per_point and at is not None else "",
        "nominal_fixed": digits(float(of_nominal[fixed])),
        "quantiles": quantiles(everywhere),
        "fixed_quantiles": quantiles(there),
        "reach": int(claim.reaches(most).sum()),
        "machines": len(most),
        "most": digits(float(best())) if len(everywhere) else None,
    }


def _alternatives(sampled: SampledMetrics, claim: Claim) -> list[dict[str, Any]]:
    """What other designs give on the same machines; for a claim about points, as they were run on those
    alone."""
    if claim.aggregation != "highest":
        return []
    space, rows = sampled.space, []
    metric, deciding = space.paper.primary[claim.name], list(space.deciding)
    for alternative in space.alternatives:
        own = [f"{f.name} {f.span}" for f in space.apart if f.name in alternative.drawn]
        nominal = judged(space, space.nominal.with_values(alternative.values), [metric], deciding)[metric]
        drawn = finite(highest(sampled.alternatives[alternative.name][metric][:, deciding]))
        rows.append(
            {
                "name": alternative.name,
                "reason": alternative.reason + (f"; drawn for it {', '.join(own)}" if own else ""),
                "nominal": digits(float(highest(nominal[deciding]))),
                "quantiles": quantiles(drawn),
                "machines": len(drawn),
            }
        )
    return rows


def decides(sampled: SampledMetrics, claim: Claim) -> list[dict[str, Any]]:
    """Factors by their total Sobol index on a claim, most first, with the claim's median at their ends.

    Indices are of the logarithm, but of the value itself where a claim can be 0 (`Claim.scale`). `low` and
    `high` are medians over the free machines whose factor lies in the lowest and in the highest third of its
    range; over the choices, the least and the greatest median.
    """
    metric = sampled.space.paper.primary[claim.name]
    outcome = highest(sampled.saltelli[metric][:, list(sampled.space.deciding)])
    known = np.isfinite(outcome)
    if not known.any():
        return []
    outcome = np.where(known, outcome, outcome[known].min())
    if claim.scale == "log":
        outcome = np.log(np.maximum(outcome, 1e-9))
    if float(np.ptp(outcome)) == 0.0:
        return []
    indices = sobol.analyze(
        _problem(sampled.space), outcome, calc_second_order=False, num_resamples=100, seed=1
    )
    factors = sampled.space.factors
    order = sorted(range(len(factors)), key=lambda i: -float(indices["ST"][i]))
    free = highest(sampled.free[metric])
    return [
        {
            "factor": factors[i].name,
            "total": digits(float(indices["ST"][i]), 3),
            "total_conf": digits(float(indices["ST_conf"][i]), 2),
            "first": digits(float(indices["S1"][i]), 3),
            **_medians(factors[i], sampled.free_rows[:, i], free),
        }
        for i in order[:SHOWN]
        if float(indices["ST"][i]) > LEAST_INDEX
    ]


def _medians(factor: Parameter, u: Numbers, outcome: Numbers) -> dict[str, Any]:
    """A claim's median at the two ends of a factor's range, and what the ends are."""
    known = np.isfinite(outcome)
    if factor.values:
        drawn = np.array([str(factor.at(float(x))) for x in u])
        groups = [(str(v), known & (drawn == str(v))) for v in dict.fromkeys(factor.values)]
    else:
        thirds = ((1 / 6, "low", u < 1 / 3), (5 / 6, "high", u > 2 / 3))
        groups = [
            (end if factor.normal else f"{factor.at(middle):.3g}", known & there)
            for middle, end, there in thirds
        ]
    medians = [(name, float(np.median(outcome[at]))) for name, at in groups if at.any()]
    if not medians:
        return {"low": None, "low_at": "", "high": None, "high_at": ""}
    low, high = min(medians, key=lambda m: m[1]), max(medians, key=lambda m: m[1])
    return {"low": digits(low[1]), "low_at": low[0], "high": digits(high[1]), "high_at": high[0]}
