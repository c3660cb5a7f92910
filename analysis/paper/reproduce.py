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

from sailsim.analysis.paper.claims import SHIPPED, Claim, Metric, Numbers, highest
from sailsim.analysis.paper.evaluator import (
    Memo,
    SampledOutcomes,
    Step,
    Values,
    answers,
    column,
    judged,
    of_frame,
)
from sailsim.analysis.paper.machine import SampledMachine
from sailsim.analysis.paper.nearest import nearest_of_all
from sailsim.analysis.paper.unknowns import Alternative, Factor, ParameterSpace, space
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.memory import give_back, no_search_for_circles
from sailsim.sim.backends.cores import predict_cores
from sailsim.sim.engine import simulate_step
from sailsim.sim.study.workers import Workers
from sailsim.workloads.formats import uniform_format
from sailsim.workloads.load import load_model

KIND = "claims reproduce"
"""Of the folder: the command that fills it."""
MOST_SAMPLES = 4096
DRAWN = 6
"""Machines that are screened beside the nominal one."""
LAST = 1 << 30
"""The row of B, behind all others of its block."""
QUANTILES = (0.05, 0.5, 0.95)
SHOWN = 10
"""Factors of a tornado."""
LEAST_INDEX = 0.005
"""Total index up to which a factor is not shown."""


def check_seed(seed: int) -> None:
    """Raise SailsimError for a seed that NumPy and SALib do not take."""
    if not 0 <= seed < 1 << 32:
        raise SailsimError(f"seed is {seed}, allowed is 0..{(1 << 32) - 1}")


def digits(value: float, count: int = 5) -> float | None:
    """A number as the results' file has it; None for what is no number."""
    return None if not math.isfinite(value) else float(f"{value:.{count}g}")


def quantiles(values: Numbers) -> list[float | None] | None:
    """Those of `QUANTILES` of what is finite; None of no numbers."""
    known = finite(values)
    return [digits(float(q)) for q in np.quantile(known, QUANTILES)] if len(known) else None


def finite(values: Numbers) -> Numbers:
    """Those that are numbers."""
    return values[np.isfinite(values)]


# --- Samples ---


@dataclass(frozen=True)
class Study:
    """What is sampled: `samples` base samples (a power of two) of a space, from a seed.

    A base sample is a block of Saltelli's scheme: two independent machines A and B, and for every factor a
    row that is A with that factor of B. The first half of the blocks, itself a Sobol sample, has all rows,
    which sensitivity indices need; the others have A and B.
    """

    space: ParameterSpace
    samples: int
    seed: int
    untimed: frozenset[str] = frozenset()
    """Factors that no step's time depends on."""

    def __post_init__(self) -> None:
        n = self.samples
        if not 4 <= n <= MOST_SAMPLES or n & (n - 1):
            raise SailsimError(
                f"samples is {n}, allowed is a power of two from 4 to {MOST_SAMPLES}, for Sobol's sequence"
            )
        check_seed(self.seed)
        if not self.space.factors:
            raise SailsimError("the space has no factor, allowed is at least one")

    @property
    def problem(self) -> dict[str, Any]:
        """The space as SALib wants it."""
        count = len(self.space.factors)
        return {"num_vars": count, "names": list(self.space.names), "bounds": [[0.0, 1.0]] * count}

    @property
    def full(self) -> int:
        """Blocks that have all rows."""
        return self.samples // 2

    def rows(self) -> list[Numbers]:
        """Rows of every block, each (rows, factors): A, A with one factor of B each, B; or only A and B."""
        count = len(self.space.factors)
        flat = saltelli.sample(self.problem, self.samples, calc_second_order=False, seed=self.seed)
        every = np.clip(np.asarray(flat, dtype=float), 0, 1).reshape(self.samples, count + 2, count)
        return [block if i < self.full else block[[0, -1]] for i, block in enumerate(every)]

    def run(self, out_dir: str | Path, jobs: int | Workers = 1, progress: bool = True) -> Sampled:
        """Evaluate every block that the folder does not hold yet. Raises SailsimError as `answers`."""
        rows = self.rows()
        within = f"{self.space.digest} {sorted(self.untimed)} {self.samples} {self.seed}"
        frame = answers(
            out_dir,
            {str(block): (block, of_block) for block, of_block in enumerate(rows)},
            partial(_block, self.space, self.untimed, self.seed),
            kind=KIND, group="blocks", within=within, jobs=jobs, progress=progress,
            config={"samples": self.samples, "seed": self.seed}, what="blocks",
        )  # fmt: skip
        frame = frame.sort_values(["block", "row"], kind="stable").reset_index(drop=True)
        free = frame[frame["row"].isin([0, LAST])]
        flat = np.concatenate(rows)
        primary = self.space.paper.primary.values()
        return Sampled(
            study=self,
            saltelli=of_frame(frame[: sum(len(block) for block in rows[: self.full])], primary),
            free=of_frame(free, self.space.paper.sampled),
            free_rows=flat[free.index],
            alternatives={
                each.name: of_frame(free[::2], primary, of_design(each)) for each in self.space.alternatives
            },
            impossible=int(free["impossible"].sum()),
        )


@dataclass(frozen=True)
class Sampled:
    """What sampling gave: metrics of machines (rows) on workloads (columns).

    `saltelli` has the primary metrics of the rows of Saltelli's scheme, in SALib's order, `free` all metrics
    of the independent machines, whose u's are `free_rows`; `alternatives` the primary ones of every other of
    them with another design.
    """

    study: Study
    saltelli: Values
    free: Values
    free_rows: Numbers
    alternatives: Mapping[str, Values]
    impossible: int

    @property
    def space(self) -> ParameterSpace:
        """Without what decides nothing."""
        return self.study.space


def of_design(alternative: Alternative) -> str:
    """How names of what another design gives begin in a record."""
    return f"{alternative.name}: "


def evaluate_block(
    space: ParameterSpace, block: int, rows: Numbers, untimed: frozenset[str] = frozenset(), seed: int = 0
) -> list[dict[str, Any]]:
    """The records of one block.

    A and B, its first and last row, are the free machines: evaluated on all workloads by every metric, and A
    with every other design, whose own unknowns are drawn from the study's seed. The rows between are
    evaluated on the workloads that decide, by the primary metrics. Within a block equal steps are simulated
    once.
    """
    memo, records = Memo(), []
    primary = list(space.paper.primary.values())
    designs = [of_design(each) + column(metric) for each in space.alternatives for metric in primary]
    names = [*map(column, space.paper.sampled), *designs]
    for i, row in enumerate(rows):
        machine, free = space.draw(row), i in (0, len(rows) - 1)
        chosen, on = (None, None) if free else (primary, space.deciding)
        lists: dict[str, list[float]] = {name: [] for name in names}
        lists |= _lists(judged(space, machine, chosen, on, memo, untimed))
        if i == 0:
            for at, alternative in enumerate(space.alternatives):
                varied = space.design(alternative, machine, (seed, block, at))
                values = judged(space, varied, primary, space.deciding, memo, untimed)
                lists |= _lists(values, of_design(alternative))
        place = i if i == 0 or not free else LAST
        records.append(
            {"block": block, "row": place, "impossible": free and _idle(space, machine, memo, untimed)}
            | lists
        )
    return records


def _lists(values: Values, prefix: str = "") -> dict[str, list[float]]:
    return {prefix + column(metric): each.tolist() for metric, each in values.items()}


def _idle(space: ParameterSpace, machine: SampledMachine, memo: Memo, untimed: frozenset[str]) -> bool:
    """Whether a machine cannot run any workload."""
    host = SampledOutcomes(space, machine, space.workloads, memo, untimed).host(space.software)
    return host is None or bool(np.isnan(host.steps("tokens_per_s")).all())


def _block(
    space: ParameterSpace, untimed: frozenset[str], seed: int, what: tuple[int, Numbers]
) -> list[dict[str, Any]]:
    block, rows = what
    with no_search_for_circles():
        records = evaluate_block(space, block, rows, untimed, seed)
    if len(rows) > 2:  # many machines, not A and B alone
        give_back()
    return records


def screen(space: ParameterSpace, seed: int = 0) -> tuple[frozenset[str], frozenset[str]]:
    """Machine factors that no step's time depends on, and those of them that no area depends on either.

    Each is moved over its levels on the nominal machine and on `DRAWN` others, with the first two workloads:
    so many because what some decide hangs on others (how DFMs split work, on whether there are several).
    """
    rng, memo = np.random.default_rng(seed), Memo()
    tried = [space.nominal, *(space.draw(row) for row in rng.random((DRAWN, len(space.factors))))]
    untimed, inert = set(), set()
    for factor in space.factors:
        if factor.group != "machine":
            continue
        timed = sized = False
        for base in tried:
            levels = dict.fromkeys(factor.values or (factor.at(0.0), factor.at(1.0)))
            seen = [_decided(space, base.with_values({factor.name: level}), memo) for level in levels]
            timed |= len({times for times, _ in seen}) > 1
            sized |= len({sizes for _, sizes in seen}) > 1
            if timed:
                break
        if not timed:
            untimed.add(factor.name)
            if not sized:
                inert.add(factor.name)
    return frozenset(untimed), frozenset(inert)


def _decided(space: ParameterSpace, machine: SampledMachine, memo: Memo) -> tuple[str, str]:
    """All that a machine decides of steps, its own and those beside it, and of area, as texts to compare."""
    outcomes = SampledOutcomes(space, machine, space.workloads[:2], memo)
    host = outcomes.host(space.software)
    if host is None:
        return "", ""
    opponents = space.paper.opponents.values()
    times = [
        *([host.step(w), host.step(w, prt=False) if w.prt else Step()] for w in outcomes.workloads),
        *(
            outcomes.predicted(host, each)
            for each in opponents
            if each.kind == "card" or each.software == space.software
        ),
        host.system.memory.read_bandwidth.si,
    ]
    shares = [(m.counted, m.base) for m in space.paper.sampled.values() if m.metric == "area_share"]
    return str(times), str([host.area_share(str(counted), str(base)) for counted, base in shares])


def _screened(
    everything: ParameterSpace, folder: Path, progress: bool
) -> tuple[frozenset[str], frozenset[str]]:
    """`screen`, kept by the folder."""
    frame = answers(
        folder, {"factors": everything}, _screening, kind=KIND, group="screening", within=everything.digest,
        progress=progress, what="screening",
    )  # fmt: skip
    return frozenset(frame["untimed"][0]), frozenset(frame["inert"][0])


def _screening(everything: ParameterSpace) -> dict[str, Any]:
    untimed, inert = screen(everything)
    return {"untimed": sorted(untimed), "inert": sorted(inert)}


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
    Study(everything, samples, seed)  # refuse a bad number before anything is done
    untimed, inert = _screened(everything, folder, progress)
    kept = everything.only([name for name in everything.names if name not in inert])
    sampled = Study(kept, samples, seed, untimed).run(folder, jobs, progress)
    nominal = judged(kept, kept.nominal)
    near = nearest_of_all(kept, kept.paper.claim, folder, jobs, seed, progress)
    claims = {
        claim.name: {
            "title": claim.title,
            "paper": claim.value,
            "unit": claim.unit,
            **_described(claim, sampled, nominal),
            "decides": decides(sampled, claim),
            "alternatives": _alternatives(sampled, claim),
            "nearest": near[claim.name],
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
        "inert": sorted(inert),
        "held": [
            {"name": name, "value": str(each.value), "reason": each.reason}
            for name, each in kept.held.items()
        ],
        "workloads": [w.model_dump() for w in kept.workloads],
        "claims": claims,
        "facts": [{"claim": f.title, "paper": f.paper, "here": f.here} for f in kept.paper.fact],
        "breakdown": _breakdown(kept, claims),
    }
    write_whole(folder / "reproduction.json", (json.dumps(results, indent=1) + "\n").encode())
    return results


def _described(claim: Claim, sampled: Sampled, nominal: Values) -> dict[str, Any]:
    """A claim's metrics and the values of the primary one, as the results' file has them."""
    free = sampled.free[sampled.space.paper.primary[claim.name]]
    own = [metric for metric in sampled.space.paper.sampled if metric[0] == claim.name]
    return {
        "readings": [_metric(claim, metric, sampled, nominal) for metric in own],
        "values": [digits(float(value), 4) for value in np.sort(finite(highest(free)))],
        "fixed_values": [digits(float(v), 4) for v in np.sort(finite(free[:, sampled.space.fixed]))],
    }


def _metric(claim: Claim, metric: Metric, sampled: Sampled, nominal: Values) -> dict[str, Any]:
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
        "fixed_reach": int(claim.reaches(there).sum()),
        "machines": len(most),
        "most": digits(float(best())) if len(everywhere) else None,
    }


def _alternatives(sampled: Sampled, claim: Claim) -> list[dict[str, Any]]:
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


def decides(sampled: Sampled, claim: Claim) -> list[dict[str, Any]]:
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
    problem = sampled.study.problem
    indices = sobol.analyze(problem, outcome, calc_second_order=False, num_resamples=100, seed=1)
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


def _medians(factor: Factor, u: Numbers, outcome: Numbers) -> dict[str, Any]:
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


def _breakdown(within: ParameterSpace, claims: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where a step goes on SAIL and on the cores alone: the nominal machine and the nearest ones of claims
    over a runner."""
    by_name = {workload.name: workload for workload in within.workloads}
    wanted = [("nominal, fixed workload", within.nominal, within.workloads[within.fixed])]
    for claim in within.paper.claim:
        if claim.primary.runner is not None:
            near = claims[claim.name]["nearest"]
            machine = within.nominal.with_values(near["draw"])
            wanted.append((f"nearest, {claim.name}", machine, by_name[near["workload"]]))
    rows = []
    for title, machine, w in wanted:
        system, model = machine.system(), load_model(w.model)
        step = simulate_step(system, model, w.point(system.name, machine.group_size))
        fmt = uniform_format(w.wbits, machine.group_size)
        cores = predict_cores(system, model, fmt, w.threads, w.batch, w.context)
        rows.append(
            {
                "name": f"{title}: {w.name}",
                "sail": {phase: digits(1e3 * seconds, 4) for phase, seconds in step.breakdown.items()},
                "sail_ms": digits(1e3 * step.step_s, 4),
                "cpu": {part: digits(1e3 * seconds, 4) for part, seconds in cores.breakdown.items()},
                "cpu_ms": digits(1e3 * cores.step_s, 4),
            }
        )
    return rows
