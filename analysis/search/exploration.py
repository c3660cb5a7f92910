"""Exploration of a design search: proposals, the front of area and score, and the results.

Proposals come from a seed: single changes of the best systems, and children of the front. A system is given
up as soon as the memory's roofline on the remaining workloads cannot bring it past one of the front that is
no larger, so no system of the front is missed. Results of the front equal those of `sailsim run` with its
files.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import isnan, nan
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sailsim.analysis.costs.dollars import CostConstants, prices
from sailsim.analysis.runs.compare import comparisons
from sailsim.analysis.runs.ratios import INTERVAL_COLUMNS
from sailsim.analysis.search import design_search as designs
from sailsim.analysis.search.design_search import OUTCOME, WIDER, DesignSearch, Values
from sailsim.analysis.uncertainty.interval import Interval, interval_of
from sailsim.analysis.uncertainty.prior import Value
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.catalog import format_value
from sailsim.sim.machine.system_files import save_system
from sailsim.sim.study.keys import ResultKeys
from sailsim.sim.study.open_study import OpenStudy, opened
from sailsim.sim.study.store import Record, Store
from sailsim.sim.study.workers import Workers

GENERATION = 64
"""Systems that are proposed together, for any number of jobs, so that jobs change no result."""
MOST_TRIALS = 1_000_000
FRESH = 0.1
"""Share of proposals without parents."""
TRIES = 1000
"""Draws of known systems in turn that end the proposals."""
IDLE = 0.005
"""Relative gain in score that a change must bring, or the best system is without it."""
FRONT = "front"
"""Folder of system files, in that of the search; nothing else belongs there."""
_WRITTEN = "# Found by sailsim explore"
"""First words of these files."""
Evaluator = Callable[..., list[Record]]
"""Function from trials to their records, by `trial_record` or another function of `design_search`."""


class FrontPoint(NamedTuple):
    """A system of the front."""

    area: float
    score: float
    values: Values


@dataclass(frozen=True)
class SearchResult:
    """Tables of a search's results."""

    trials: pd.DataFrame
    front: pd.DataFrame
    """Systems of the front by area; their files are in the folder `FRONT`."""
    waterfall: pd.DataFrame
    """Changes from the base system to the best within the limits, most helpful first."""
    workloads: pd.DataFrame
    """Opponent, base system, best system and bound for each workload, and last for the mix."""


def explore(
    search: DesignSearch, out: str | Path, samples: int = 2000, jobs: int | Workers = 1, progress: bool = True
) -> SearchResult:
    """Run or finish a search of ``samples`` trials in a folder, and write its results there.

    Results are `trials.csv`, `front.csv`, `waterfall.csv`, `workloads.csv`, and a system file for each system
    of `front/`, where `best.toml` is the best one within the limits. Every search starts from the beginning
    and reads stored answers from the folder, so a stopped search that goes on equals an undisturbed one.

    Raises SailsimError for samples or jobs out of range, for limits that no system meets, a folder of another
    command, or one that cannot be written.
    """
    if not 1 <= samples <= MOST_TRIALS:
        raise SailsimError(f"samples is {samples}, allowed is 1..{MOST_TRIALS}")
    folder, keys = Path(out), ResultKeys("explore")
    for load in search.content.workload:  # every file that a trial reads
        keys.result(load.point(0, system=search.content.system))
    assert search.ceilings
    how: dict[str, Any] = {"kind": "explore", "jobs": jobs, "progress": progress, "changed": keys.changed}
    with opened(folder, samples, noun="trials", **how) as study:
        guard = (lambda f: f) if isinstance(jobs, int) else keys.guard
        evaluate: Evaluator = partial(_records_of, search, Store(folder), study, guard)
        rows, front = run_trials(search, evaluate, samples)
        best = without_idle(search, evaluate, best_within(search, rows, front))
        steps = with_late(search, evaluate, waterfall(search, evaluate, best))
        intervals = [speedup_intervals(search, evaluate, each) for each in (search.start, steps[-1].values)]
    study.complain()
    result = _result(search, rows, front, steps, intervals)
    _write(search, result, front, steps[-1].values, folder)
    return result


def _records_of(
    search: DesignSearch,
    store: Store,
    study: OpenStudy,
    guard: Callable[[Any], Any],
    trials: Sequence[tuple[Values, Any]],
    evaluate: Any = designs.trial_record,
) -> list[Record]:
    tasks = [search.task(evaluate.__name__, at, each) for at, each in enumerate(trials)]
    report = study.report
    report.total = max(report.total, report.resumed + report.done + len(tasks))
    study.run(tasks, guard(partial(evaluate, search)))
    failed = OUTCOME | {"reason": "its evaluation failed"}
    return [dict(*each or [failed]) for each in store.records_of([task.key for task in tasks])]


def run_trials(
    search: DesignSearch, evaluate: Evaluator, samples: int
) -> tuple[list[Record], list[FrontPoint]]:
    """Records of up to ``samples`` systems, and the front of them."""
    draw, seen, rows = random.Random(search.seed), set[str](), list[Record]()
    front: list[FrontPoint] = []
    while len(rows) < samples:
        count = min(GENERATION, samples - len(rows))
        proposals = list(islice(_proposals(search, draw, front, seen), count))
        if not proposals:
            break
        scores = [(each.area, each.score) for each in front]
        records = evaluate([(each, scores) for each in proposals])
        for values, record in zip(proposals, records, strict=True):
            rows.append({"trial": len(rows), **values} | {name: record[name] for name in OUTCOME})
            if record["score"] > 0:
                front = _with(front, FrontPoint(record["area_percent"], record["score"], values))
    return rows, front


def score_all(evaluate: Evaluator, every: Sequence[Values]) -> list[FrontPoint]:
    """Systems evaluated to the end; impossible ones have the score 0."""
    records = evaluate([(values, None) for values in every])
    scores = [0.0 if isnan(each["score"]) else each["score"] for each in records]
    return [FrontPoint(r["area_percent"], s, v) for r, s, v in zip(records, scores, every, strict=True)]


def without_idle(search: DesignSearch, evaluate: Evaluator, best: FrontPoint) -> FrontPoint:
    """The system without changes that bring less than `IDLE` together and save no area."""
    here, least = best, best.score * (1 - IDLE)
    while True:
        fewer = [{**here.values, name: search.start[name]} for name in search.changes(here.values)]
        able = [each for each in score_all(evaluate, fewer) if each.score >= least and each.area <= here.area]
        if not able:
            return here
        here = max(able, key=lambda each: each.score)


def waterfall(search: DesignSearch, evaluate: Evaluator, best: FrontPoint) -> list[FrontPoint]:
    """Steps from the base system to a found one, each by the change that brings most."""
    steps = score_all(evaluate, [search.start])
    while left := {n: v for n, v in best.values.items() if v != steps[-1].values[n]}:
        every = score_all(evaluate, [{**steps[-1].values, name: value} for name, value in left.items()])
        steps.append(max(every, key=lambda each: each.score))
    return steps


def with_late(search: DesignSearch, evaluate: Evaluator, steps: list[FrontPoint]) -> list[FrontPoint]:
    """A waterfall, and a step for each choice whose late value brings `IDLE` within the limit."""
    for name, choice in search.content.choices.items():
        every = score_all(evaluate, [{**steps[-1].values, name: value} for value in choice.late])
        able = [each for each in every if each.area <= search.most_area]
        best = max(able, key=lambda each: each.score, default=steps[-1])
        if best.score > (1 + IDLE) * steps[-1].score:
            steps = [*steps, best]
    return steps


def speedup_intervals(search: DesignSearch, evaluate: Evaluator, values: Values) -> dict[str, Interval]:
    """90 % intervals of a system's speedups over the prior, by workload and for the mix ("")."""
    loads = search.content.workload
    records = evaluate([(values, at) for at in range(len(loads))], designs.sampled_speedups)
    every = [each["speedups"] for each in records]
    means = [search.mean(ratios) for ratios in zip(*every, strict=True) if not any(map(isnan, ratios))]
    rows = [*zip((load.name for load in loads), every, strict=True), ("", means)]
    return {name: interval_of(nan, [each for each in ratios if not isnan(each)]) for name, ratios in rows}


def _with(front: Sequence[FrontPoint], new: FrontPoint) -> list[FrontPoint]:
    """The front with another system, unless it is dominated; without systems that it dominates."""
    if any(each.area <= new.area and each.score >= new.score for each in front):
        return list(front)
    left = [each for each in front if each.area < new.area or each.score > new.score]
    return sorted([*left, new], key=lambda each: each.area)


def _proposals(
    search: DesignSearch, draw: random.Random, front: Sequence[FrontPoint], seen: set[str]
) -> Iterator[dict[str, Value]]:
    """New systems: the base, neighbours of the best within each area, then children of the front.

    They end when `TRIES` draws in turn give none that is new.
    """

    def is_new(values: Values) -> bool:
        key = json.dumps(values, sort_keys=True)
        new = key not in seen
        seen.add(key)
        return new

    if not seen:
        seen.add(json.dumps(search.start, sort_keys=True))
        yield dict(search.start)
    bests = [_within(front, search.most_area * wider) for wider in WIDER]
    neighbours = [
        {**best.values, name: value}
        for best in filter(None, bests)
        for name, choice in search.content.choices.items()
        for value in choice.values
        if value != best.values[name]
    ]
    draw.shuffle(neighbours)
    yield from islice(filter(is_new, neighbours), GENERATION // 2)
    tries = 0
    while tries < TRIES:
        values = _child(search, draw, front)
        tries = 0 if is_new(values) else tries + 1
        if not tries:
            yield values


def _child(search: DesignSearch, draw: random.Random, front: Sequence[FrontPoint]) -> dict[str, Value]:
    """A cross of two systems of the front with a few choices drawn again, or sometimes a random system."""
    choices = search.content.choices
    if not front or draw.random() < FRESH:
        return {name: draw.choice(choice.values) for name, choice in choices.items()}
    one, other = draw.choice(front).values, draw.choice(front).values
    values = {name: (other if draw.random() < 0.25 else one)[name] for name in choices}
    for name in draw.sample(list(choices), draw.randint(1, 3)):
        values[name] = draw.choice(choices[name].values)
    return values


def _within(front: Sequence[FrontPoint], limit: float) -> FrontPoint | None:
    return max((each for each in front if each.area <= limit), key=lambda each: each.score, default=None)


def best_within(search: DesignSearch, rows: Sequence[Record], front: Sequence[FrontPoint]) -> FrontPoint:
    """The best system within the limits.

    Raises SailsimError with the limit that no system meets, and by how much.
    """
    best = _within(front, search.most_area)
    if best is not None:
        return best
    smallest = min((row["area_percent"] for row in rows if not isnan(row["area_percent"])), default=nan)
    if smallest > search.most_area:
        raise SailsimError(
            f"area is {search.most_area:g} %, which none of {len(rows)} machines meets: the smallest takes "
            f"{smallest:.3g} %, {smallest - search.most_area:.3g} more; allowed is that."
        )
    able = [row for row in rows if row["area_percent"] <= search.most_area]
    least = min((row["power_w"] for row in able if not isnan(row["power_w"])), default=nan)
    if least > search.most_power:
        raise SailsimError(
            f"power is {search.most_power:g} W, which none of {len(able)} machines meets: the thriftiest "
            f"draws {least:.3g} W, {least - search.most_power:.3g} more; allowed is that."
        )
    reason = next((row["reason"] for row in able if row["reason"]), "all were given up")
    raise SailsimError(f"none of {len(rows)} machines runs the mix: {reason.rstrip('.')}.")


# ---- Results ----------------------------------------------------------------------------------------------


def _costed(search: DesignSearch, values: Values) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Score, area, energy, dollars and power of a system over the mix, and the records of its runs."""
    machine, ends = search.machine(values), CostConstants.ends()
    hosted = search.with_host_software(machine)
    points = [search.fastest(load, hosted, values)[1] for load in search.content.workload]
    rows = [
        row | comparisons([row], prices(), ends)[0] for row in designs.records_of(search, machine, points)
    ]
    share, whole = search.area_of(machine)
    pairs = zip(rows, search.opponents, strict=True)
    means = {
        "score": search.mean([row["tokens_per_s"] / rate for row, (rate, _) in pairs]),
        "area_percent": share,
        "area_mm2": whole.added_mm2(designs.COUNTED),
        "joules_per_token": 1 / search.mean([row["tokens_per_j"] for row in rows]),
        "tokens_per_usd": search.mean([row["tokens_per_usd"] for row in rows]),
        "power_w": max(map(designs.watts, rows)),
    }
    return means, rows


def _result(
    search: DesignSearch,
    rows: Sequence[Record],
    front: Sequence[FrontPoint],
    steps: Sequence[FrontPoint],
    intervals: Sequence[Mapping[str, Interval]],
) -> SearchResult:
    table = [
        {"machine": f"point-{at:02d}"}
        | _costed(search, values)[0]
        | {"changes": in_words(search.changes(values))}
        for at, (_, _, values) in enumerate(front, 1)
    ]
    falls, costs = [], [_costed(search, step.values) for step in steps]
    for before, step, (means, _) in zip([steps[0], *steps], steps, costs, strict=False):
        new = {name: value for name, value in step.values.items() if value != before.values[name]}
        change = {"change": in_words(new) or search.base.name, "gain": step.score / before.score}
        falls.append(change | means)
    loads: list[dict[str, Any]] = []
    sides = list(zip(("first", "best"), (costs[0], costs[-1]), intervals, strict=True))
    for at, (load, (rate, kv)) in enumerate(zip(search.content.workload, search.opponents, strict=True)):
        row: dict[str, Any] = {"workload": load.name, "share": load.share}
        row |= {"opponent_tokens_per_s": rate, "opponent_kv": kv}
        for side, (_, records), interval in sides:
            own = records[at]
            columns = {"tokens_per_s": own["tokens_per_s"], "speedup": own["tokens_per_s"] / rate}
            columns |= {name: getattr(interval[load.name], name) for name in INTERVAL_COLUMNS}
            columns |= {"kv": own["kv_bits"], "overlap": own["overlap"]}
            columns["joules_per_token"] = 1 / own["tokens_per_j"]
            row |= {f"{side}_{name}": value for name, value in columns.items()}
        loads.append(row | {"bound": search.roofline(load, row["best_kv"]) / rate})
    mix: dict[str, Any] = {"workload": "the mix", "bound": search.mean([row["bound"] for row in loads])}
    for side, (means, _), interval in sides:
        mix[f"{side}_speedup"] = means["score"]
        mix |= {f"{side}_{name}": getattr(interval[""], name) for name in INTERVAL_COLUMNS}
    return SearchResult(*map(pd.DataFrame, (rows, table, falls, [*loads, mix])))


def in_words(changes: Values) -> str:
    """Values of fields in the format of --set."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in changes.items())


def _write(
    search: DesignSearch, result: SearchResult, front: Sequence[FrontPoint], best: Values, folder: Path
) -> None:
    points = folder / FRONT
    points.mkdir(exist_ok=True)
    for old in points.glob("point-*.toml"):
        # An earlier search in this folder wrote it.
        if old.is_file() and old.read_bytes().startswith(_WRITTEN.encode()):
            old.unlink()
    systems = ((f"point-{at:02d}", each.values) for at, each in enumerate(front, 1))
    for name, values in (("best", best), *systems):
        machine = search.machine(values, name)
        if machine is not search.base:
            chosen = in_words({each: values[each] for each in designs.SOFTWARE if each in values})
            comment = f"{_WRITTEN.lstrip('# ')} {search.file}, seed {search.seed}: {chosen}"
            save_system(machine, points / f"{name}.toml", search.content.system, comment)
    for name in ("trials", "front", "waterfall", "workloads"):
        write_whole(folder / f"{name}.csv", getattr(result, name).to_csv(index=False).encode())
