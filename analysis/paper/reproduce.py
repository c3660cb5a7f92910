"""Reproduction of a paper's claims over all unpublished values: distributions, sensitivity, nearest machines.

`reproduce` screens the machine's unknowns and samples the rest (Sobol sequences in Saltelli's scheme). For
every claim it computes the value on the nominal machine, its distribution, the share of machines that reach
the paper's, the factors that decide it, and a plausible configuration near the paper's value, as a system
file and a command. Results are one JSON file, from which `render.claims_page` writes the page. Equal samples,
seed and code give equal files. docs/reproduction.md explains.
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

from sailsim.analysis.paper import claim_study
from sailsim.analysis.paper.claim import SHIPPED, Claim, Metric, Numbers, highest
from sailsim.analysis.paper.claim_study import Study, answers_of, digits, finite, quantiles, study_in
from sailsim.analysis.paper.evaluator import Memo, SampledOutcomes, Values, judged
from sailsim.analysis.paper.parameter_space import ParameterSpace, space
from sailsim.analysis.paper.sampled_machine import SampledMachine
from sailsim.analysis.uncertainty.prior import Parameter
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim.study.workers import Workers

MOST_SAMPLES = 4096
DRAWN = 6
"""Screened machines besides the nominal one."""
NEAR = 0.02
"""Relative distance at which a configuration has the paper's value."""
STARTS = 2
"""Workloads that a claim's search starts at."""
SHOWN = 10
"""Factors of a tornado."""
LEAST_INDEX = 0.005
"""Total Sobol index up to which a factor is not shown."""


# --- Samples ---


def inert_factors(space: ParameterSpace) -> list[str]:
    """Machine factors that neither a step's time nor an area depends on, sorted by name.

    Each takes its levels on the nominal machine and on `DRAWN` others, with the first two workloads. Several
    machines are needed, as factors interact (how DFMs split work matters only where there are several).
    """
    rng, memo = np.random.default_rng(0), Memo()
    tried = [space.nominal, *(space.draw(row) for row in rng.random((DRAWN, len(space.factors))))]

    def decides(factor: Parameter, base: SampledMachine) -> bool:
        levels = dict.fromkeys(factor.values or (factor.at(0.0), factor.at(1.0)))
        return len({_outcome(space, base.with_values({factor.name: level}), memo) for level in levels}) > 1

    machine = (factor for factor in space.factors if factor.group == "machine")
    return sorted(each.name for each in machine if not any(decides(each, base) for base in tried))


def _outcome(space: ParameterSpace, machine: SampledMachine, memo: Memo) -> str:
    """Steps of a machine and of its opponents, bandwidth and areas, as a text to compare."""
    outcomes = SampledOutcomes(space, machine, space.workloads[:2], memo)
    software, system = space.software, outcomes.system(space.software)
    if system is None:
        return ""
    outcome: list[Any] = [system.memory.read_bandwidth.si]
    for w in outcomes.workloads:
        outcome += [outcomes.step(software, w), outcomes.step(software, w, prt=False) if w.prt else None]
    for each in space.paper.opponents.values():
        if each.kind == "gpu" or each.software == software:
            outcome += [outcomes.predicted(software, each, w) for w in outcomes.workloads]
    for metric in space.paper.sampled.values():
        if metric.metric == "area_share":
            outcome.append(outcomes.area_share(str(metric.counted), str(metric.base)))
    return str(outcome)


@dataclass(frozen=True)
class SampledMetrics:
    """Metrics of sampled machines (rows) on workloads (columns).

    `saltelli` has the primary metrics of the rows of Saltelli's scheme, in SALib's order. `free` has all
    metrics of the independent machines, whose u's are `free_rows`. `alternatives` has the primary metrics of
    every other independent machine with an alternative design.
    """

    space: ParameterSpace
    saltelli: Values
    free: Values
    free_rows: Numbers
    alternatives: Mapping[str, Values]

    @property
    def impossible(self) -> int:
        """Independent machines that cannot run any workload."""
        aggregation = {claim.name: claim.aggregation for claim in self.space.paper.claim}
        by_point = [values for (name, _), values in self.free.items() if aggregation[name] == "highest"]
        return int(np.isnan(np.hstack(by_point or list(self.free.values()))).all(axis=1).sum())


def check_samples(space: ParameterSpace, samples: int, seed: int) -> None:
    """Raise SailsimError for samples and seeds that Sobol's sequence does not allow, and an empty space."""
    if not 4 <= samples <= MOST_SAMPLES or samples & (samples - 1):
        raise SailsimError(
            f"samples is {samples}, allowed is a power of two from 4 to {MOST_SAMPLES}, for Sobol's sequence"
        )
    claim_study.check_seed(seed)
    if not space.factors:
        raise SailsimError("the space has no factor, allowed is at least one")


def sample(space: ParameterSpace, samples: int, seed: int, study: Study) -> SampledMetrics:
    """Evaluate the machines of ``samples`` base samples (a power of two) of a space, from a seed.

    A base sample is a block of Saltelli's scheme: two independent machines A and B, and for every factor a
    row that is A with that factor of B. The first half of the blocks, itself a Sobol sample, has all rows,
    which sensitivity indices need; the others have A and B. Raises SailsimError as `claim_study.records_of`.
    """
    count, full = len(space.factors), samples // 2
    flat = saltelli.sample(_problem(space), samples, calc_second_order=False, seed=seed)
    every = np.clip(np.asarray(flat, dtype=float), 0, 1).reshape(samples, count + 2, count)
    blocks: list[Numbers] = [*every[:full], *every[full:, [0, -1]]]
    name = f"{samples}/{seed}"
    records = claim_study.judge(space, blocks, study, name, "blocks", "blocks", designs_seed=seed)
    ends = np.cumsum([len(block) for block in blocks]).tolist()
    indices = [at for end, block in zip(ends, blocks, strict=True) for at in (end - len(block), end - 1)]
    free, primary = [records[at] for at in indices], space.paper.primary.values()
    designs = [each.name for each in space.alternatives]
    return SampledMetrics(
        space,
        saltelli=claim_study.of_records(records[: ends[full - 1]], primary),
        free=claim_study.of_records(free, space.paper.sampled),
        free_rows=np.concatenate(blocks)[indices],
        alternatives={name: claim_study.of_records(free[::2], primary, name) for name in designs},
    )


def _problem(space: ParameterSpace) -> dict[str, Any]:
    count = len(space.factors)
    return {"num_vars": count, "names": list(space.names), "bounds": [[0.0, 1.0]] * count}


# --- The nearest machine to a claim ---


def nearest(space: ParameterSpace, claim: Claim) -> dict[str, Any]:
    """Changes, value and workload of a machine near the nominal one whose claim is nearest to the paper's.

    Searches start at the workloads where the nominal machine comes nearest. The nearest result counts, among
    equally near ones that with fewest changes. Raises SailsimError for a claim without a value on any
    workload.
    """
    metric, memo = space.paper.primary[claim.name], Memo()

    def error(at: int, changes: claim_study.Changes) -> float:
        machine = space.nominal.with_values(changes)
        return float(judged(space, machine, [metric], [at], memo)[metric][at]) / claim.value - 1

    nominal = judged(space, space.nominal, [metric])[metric]
    order = [i for i in range(len(nominal)) if math.isfinite(nominal[i])]
    if claim.aggregation != "highest":
        order = order[:1]  # the same on every workload
    order.sort(key=lambda i: (abs(float(nominal[i]) / claim.value - 1), i))
    ends = []
    for at in order[:STARTS]:
        of_workload = partial(error, at)
        search = claim_study.NearestSearch(space, of_workload, NEAR, rounds=6, improvement=0.98, shortlist=12)
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
    """The answer of `nearest` with the saved system file of its machine, and the commands that run it."""
    workload, draw = space.workloads[answer["workload"]], dict(answer["changes"])
    path = folder / f"nearest-{claim.name.replace('_', '-')}.toml"
    if claim.aggregation == "highest":
        command = claim_study.run_command(path.name, workload, space.nominal.with_values(draw).group_size)
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
        "changes": claim_study.save_machine(space, draw, path, title, source, commands),
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

    ``paper`` is one by name or a file of claims, ``prior`` a file of unknowns in place of the paper's.
    Returns the content of the file. Raises SailsimError for samples that are no power of two, a seed or jobs
    out of range, a bad file of claims or unknowns, and a folder that cannot be written or that another run
    holds.
    """
    folder, everything = Path(out), space(paper, prior)
    check_samples(everything, samples, seed)
    config = {"samples": samples, "seed": seed, "paper": paper, "prior": prior}
    study = study_in(folder, "claims reproduce", config, jobs, progress)
    question = {"factors": everything}
    screened = answers_of(study, question, inert_factors, "screening", everything.digest, "screening")
    inert = screened["factors"]
    active = everything.only([name for name in everything.names if name not in inert])
    sampled = sample(active, samples, seed, study)
    nominal = judged(active, active.nominal)
    every = {claim.name: claim for claim in active.paper.claim}
    what = "searches for the nearest machine"
    near = answers_of(study, every, partial(nearest, active), "nearest", active.digest, what)
    claims = {
        claim.name: {
            "title": claim.title,
            "paper": claim.value,
            "unit": claim.unit,
            **_distributions(claim, sampled, nominal),
            "decides": decides(sampled, claim),
            "alternatives": _alternatives(sampled, claim),
            "nearest": _saved(active, claim, near[claim.name], folder, seed),
        }
        for claim in active.paper.claim
    }
    names = ("name", "group", "unit", "span", "nominal", "reason")
    results: dict[str, Any] = {
        "paper": paper,
        "prior": prior or "",
        "samples": samples,
        "seed": seed,
        "machines": len(sampled.free_rows),
        "impossible": sampled.impossible,
        "factors": [{name: getattr(factor, name) for name in names} for factor in active.factors],
        "inert": inert,
        "held": [{"name": n, "value": str(v.value), "reason": v.reason} for n, v in active.fixed.items()],
        "workloads": [w.model_dump() for w in active.workloads],
        "claims": claims,
        "facts": [{"claim": f.title, "paper": f.paper, "here": f.here} for f in active.paper.fact],
    }
    write_whole(folder / "reproduction.json", (json.dumps(results, indent=1) + "\n").encode())
    return results


def _distributions(claim: Claim, sampled: SampledMetrics, nominal: Values) -> dict[str, Any]:
    free = sampled.free[sampled.space.paper.primary[claim.name]]
    own = [metric for metric in sampled.space.paper.sampled if metric[0] == claim.name]
    return {
        "readings": [_metric_results(claim, metric, sampled, nominal) for metric in own],
        "values": [digits(float(value), 4) for value in np.sort(finite(highest(free)))],
        "fixed_values": [digits(float(v), 4) for v in np.sort(finite(free[:, sampled.space.fixed_workload]))],
    }


def _metric_results(claim: Claim, metric: Metric, sampled: SampledMetrics, nominal: Values) -> dict[str, Any]:
    fixed, reading = sampled.space.fixed_workload, sampled.space.paper.sampled[metric]
    nominal_values, free_values = nominal[metric], sampled.free[metric]
    at = int(np.nanargmax(nominal_values)) if np.isfinite(nominal_values).any() else None
    most = highest(free_values)
    most = np.where(np.isnan(most), -np.inf, most)
    everywhere, at_fixed = finite(most), finite(free_values[:, fixed])
    per_point = claim.aggregation == "highest"
    best = everywhere.min if claim.better == "lower" else everywhere.max
    return {
        "claim": claim.name,
        "words": reading.words,
        "primary": reading.primary,
        "nominal": None if at is None else digits(float(nominal_values[at])),
        "nominal_at": sampled.space.workloads[at].name if per_point and at is not None else "",
        "nominal_fixed": digits(float(nominal_values[fixed])),
        "quantiles": quantiles(everywhere),
        "fixed_quantiles": quantiles(at_fixed),
        "reach": int(claim.reaches(most).sum()),
        "machines": len(most),
        "most": digits(float(best())) if len(everywhere) else None,
    }


def _alternatives(sampled: SampledMetrics, claim: Claim) -> list[dict[str, Any]]:
    """Results of alternative designs on the same machines, for claims about points."""
    if claim.aggregation != "highest":
        return []
    space, rows = sampled.space, []
    metric, deciding = space.paper.primary[claim.name], list(space.deciding)
    for alternative in space.alternatives:
        own = [f"{f.name} {f.span}" for f in space.conditional if f.name in alternative.drawn]
        nominal = judged(space, space.nominal.with_values(alternative.values), [metric], deciding)[metric]
        values = finite(highest(sampled.alternatives[alternative.name][metric][:, deciding]))
        rows.append(
            {
                "name": alternative.name,
                "reason": alternative.reason + (f"; drawn for it {', '.join(own)}" if own else ""),
                "nominal": digits(float(highest(nominal[deciding]))),
                "quantiles": quantiles(values),
                "machines": len(values),
            }
        )
    return rows


def decides(sampled: SampledMetrics, claim: Claim) -> list[dict[str, Any]]:
    """Factors by their total Sobol index on a claim, largest first, with the claim's median at their ends.

    Indices explain the logarithm, or the value itself where a claim can be 0 (`Claim.scale`). `low` and
    `high` are medians over the free machines whose factor lies in the lowest and in the highest third of its
    range, or the least and the greatest median over its choices.
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
    problem, factors = _problem(sampled.space), sampled.space.factors
    indices = sobol.analyze(problem, outcome, calc_second_order=False, num_resamples=100, seed=1)
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
    """A claim's median at the two ends of a factor's range, and the values there."""
    known = np.isfinite(outcome)
    if factor.values:
        choices = np.array([str(factor.at(float(x))) for x in u])
        groups = [(str(v), known & (choices == str(v))) for v in dict.fromkeys(factor.values)]
    else:
        thirds = ((1 / 6, "low", u < 1 / 3), (5 / 6, "high", u > 2 / 3))
        names = (end if factor.normal else f"{factor.at(middle):.3g}" for middle, end, _ in thirds)
        groups = [(name, known & third) for name, (_, _, third) in zip(names, thirds, strict=True)]
    medians = [(name, float(np.median(outcome[at]))) for name, at in groups if at.any()]
    if not medians:
        return {"low": None, "low_at": "", "high": None, "high_at": ""}
    low, high = min(medians, key=lambda m: m[1]), max(medians, key=lambda m: m[1])
    return {"low": digits(low[1]), "low_at": low[0], "high": digits(high[1]), "high_at": high[0]}
