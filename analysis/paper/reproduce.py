"""The paper's claims under everything that it does not publish: distributions, what decides, the nearest.

`reproduce` screens the machine's unknowns, samples the rest (Sobol sequences in Saltelli's scheme), and
gathers for every claim: its value on the nominal machine, its distribution, the share of machines that reach
the paper's, the factors that decide it, and a plausible configuration near the paper's value, as a system
file and a command. Everything is in one JSON file, from which `reproduction_page` writes the page; equal
samples, seed and code give equal files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed, parallel_config
from numpy.typing import NDArray
from SALib.analyze import sobol

from sailsim.analysis.baselines.cpu import cpu_tokens_per_s
from sailsim.analysis.paper.claims import Claim, published
from sailsim.analysis.paper.readings import READINGS, Reading, Table, primary
from sailsim.analysis.paper.sampling import LAST, OF_SAIL, Memo, Study, evaluate_draw, run_study, screen
from sailsim.analysis.paper.uncertainty import BASES, Draw, Factor, Space, Value, space
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim import leaves, load_system, save_system, simulate_step
from sailsim.workloads import load_model

NUMERIC = ("speedup", "usd_cpu", "usd_v100", "prt", "overhead")
"""Claims that are sampled; the others are facts about the design."""
NEAR = 0.02
"""A configuration is at the paper's value when it is this near."""
SHOWN = 10
"""Factors of a tornado."""
TRIED = 12
"""Factors that the search for the nearest configuration goes on with."""
ROUNDS = 6
"""Values that the search for the nearest configuration changes at most."""


@dataclass(frozen=True)
class Sampled:
    """What the sampling gave: the space without what decides nothing, and the outcomes.

    `table` has the rows of Saltelli's scheme in SALib's order, `free` the independent machines, whose u's are
    `free_rows`; `alternatives` are every other of them with another design.
    """

    space: Space
    table: Table
    free: Table
    free_rows: NDArray[np.float64]
    alternatives: tuple[Table, ...]
    untimed: frozenset[str]
    inert: tuple[str, ...]
    impossible: int


def reproduce(
    out: str | Path, samples: int = 128, jobs: int = 1, seed: int = 0, progress: bool = True
) -> dict[str, Any]:
    """Run or finish the study in a folder and write `reproduction.json` and the nearest systems there.

    Returns what the file holds. Raises SailsimError for samples that are no power of two, a seed or jobs out
    of range, and a folder that cannot be written or that another run holds.
    """
    folder = Path(out)
    sampled = sample(folder, samples, jobs, seed, progress)
    found: dict[str, Any] = {
        "samples": samples,
        "seed": seed,
        "machines": int(sampled.free.area.shape[0]),
        "impossible": sampled.impossible,
        "factors": [_described(f) for f in sampled.space.factors],
        "inert": list(sampled.inert),
        "held": [vars(h) for h in sampled.space.held],
        "workloads": [vars(w) for w in sampled.space.workloads],
        "claims": {},
    }
    known = published()
    readings = _readings(sampled, known)
    near = _nearest_all(sampled.space, known, jobs, folder, seed)
    for name in NUMERIC:
        claim = known[name]
        found["claims"][name] = {
            "title": claim.text,
            "paper": claim.value,
            "unit": claim.unit,
            "readings": [r for r in readings if r["claim"] == name],
            "values": _rounded(np.sort(_finite(primary(name).highest(sampled.free)))),
            "fixed_values": _rounded(
                np.sort(_finite(primary(name).values(sampled.free)[:, sampled.space.fixed]))
            ),
            "decides": decides(sampled, name),
            "alternatives": _alternatives(sampled, name),
            "nearest": near[name],
        }
    found["facts"] = _facts(known)
    found["breakdown"] = _breakdown(sampled.space, found["claims"])
    write_whole(folder / "reproduction.json", (json.dumps(found, indent=1) + "\n").encode())
    return found


def sample(folder: Path, samples: int, jobs: int, seed: int, progress: bool) -> Sampled:
    """The rows of the study, evaluated or read from the folder."""
    Study(space(), samples, seed)  # refuse a bad number before anything is done
    everything = space()
    untimed, inert = _screened(everything, folder)
    kept = everything.only([name for name in everything.names if name not in inert])
    study = Study(kept, samples, seed, untimed)
    frame = run_study(study, folder, jobs, progress)
    rows = study.rows()
    flat = [row for block in rows for row in block]
    records = [{str(k): v for k, v in record.items()} for record in frame.to_dict("records")]
    draws = [kept.draw(row) for row in flat]
    full = sum(len(block) for block in rows[: study.full])
    ends = [i for i, record in enumerate(records) if record["row"] in (0, LAST)]

    def table(at: Sequence[int], prefix: str = "") -> Table:
        changed = OF_SAIL if prefix else ()
        chosen = [records[i] | {name: records[i][prefix + name] for name in changed} for i in at]
        return Table.of(kept, [draws[i] for i in at], chosen)

    return Sampled(
        space=kept,
        table=table(range(full)),
        free=table(ends),
        free_rows=np.array([flat[i] for i in ends]),
        alternatives=tuple(table(ends[::2], f"alt{k}_") for k in range(len(kept.alternatives))),
        untimed=untimed,
        inert=tuple(sorted(inert)),
        impossible=sum(1 for i in ends if np.isnan(np.asarray(records[i]["sail"], dtype=float)).all()),
    )


def _screened(everything: Space, folder: Path) -> tuple[frozenset[str], frozenset[str]]:
    """`sampling.screen`, kept in the folder beside the code that it was made with."""
    study = Study(everything, 4, 0)
    path = folder / "screen.json"
    try:
        kept = json.loads(path.read_text("utf-8"))
        if kept["study"] == study.id:
            return frozenset(kept["untimed"]), frozenset(kept["inert"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    untimed, inert = screen(everything)
    content = {"study": study.id, "untimed": sorted(untimed), "inert": sorted(inert)}
    try:
        write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        raise SailsimError(f"folder {folder} cannot be written: {error.strerror}") from None
    return untimed, inert


def _described(factor: Factor) -> dict[str, Any]:
    return {
        "name": factor.name,
        "group": factor.group,
        "unit": factor.unit,
        "span": factor.span,
        "nominal": factor.nominal,
        "reason": factor.reason,
    }


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[np.isfinite(values)]


def _digits(value: float, digits: int = 5) -> float | None:
    """A number as the file has it; None for what is no number."""
    return None if not math.isfinite(value) else float(f"{value:.{digits}g}")


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    return [_digits(float(v), 4) for v in values]


# --- Distributions ---


def nominal_table(within: Space) -> Table:
    """The nominal machine on every workload, with both softwares."""
    draw = Draw({})
    record = evaluate_draw(within, draw, "llama.cpp")
    other = evaluate_draw(within, draw, "ampere")
    return Table.of(
        within, [draw], [record | {f"ampere_{k}": v for k, v in other.items() if isinstance(v, list)}]
    )


def _readings(sampled: Sampled, known: Mapping[str, Claim]) -> list[dict[str, Any]]:
    nominal = nominal_table(sampled.space)
    return [_reading(reading, known[reading.claim], sampled, nominal) for reading in READINGS]


def _reading(reading: Reading, claim: Claim, sampled: Sampled, nominal: Table) -> dict[str, Any]:
    paper = claim.value
    assert paper is not None
    fixed = sampled.space.fixed
    of_nominal = reading.values(nominal)[0]
    at = int(np.nanargmax(of_nominal)) if np.isfinite(of_nominal).any() else None
    highest = reading.highest(sampled.free)
    highest = np.where(np.isnan(highest), -np.inf, highest)
    here = _finite(highest)
    one = _finite(reading.values(sampled.free)[:, fixed])
    return {
        "claim": reading.claim,
        "words": reading.words,
        "primary": reading.primary,
        "nominal": None if at is None else _digits(float(of_nominal[at])),
        "nominal_at": "" if at is None or reading.claim == "overhead" else sampled.space.workloads[at].name,
        "nominal_fixed": _digits(float(of_nominal[fixed])),
        "quantiles": [_digits(float(q)) for q in np.quantile(here, [0.05, 0.5, 0.95])] if len(here) else None,
        "fixed_quantiles": [_digits(float(q)) for q in np.quantile(one, [0.05, 0.5, 0.95])]
        if len(one)
        else None,
        "reach": int(reaches(reading.claim, highest, paper).sum()),
        "fixed_reach": int(reaches(reading.claim, one, paper).sum()),
        "machines": len(highest),
        "most": _digits(float(here.min() if reading.claim == "overhead" else here.max()))
        if len(here)
        else None,
    }


def _alternatives(sampled: Sampled, claim: str) -> list[dict[str, Any]]:
    """What other designs give on the same machines; an overhead is left out, areas being of row_dfm."""
    if claim == "overhead":
        return []
    reading, found = primary(claim), []
    base = Draw({})
    for alternative, table in zip(sampled.space.alternatives, sampled.alternatives, strict=True):
        draw = base.with_values(alternative.values)
        nominal = Table.of(sampled.space, [draw], [evaluate_draw(sampled.space, draw)])
        values = _finite(reading.highest(table, sampled.space.deciding))
        top = float(reading.highest(nominal, sampled.space.deciding)[0])
        found.append(
            {
                "name": alternative.name,
                "reason": alternative.reason,
                "nominal": _digits(top),
                "quantiles": [_digits(float(q)) for q in np.quantile(values, [0.05, 0.5, 0.95])]
                if len(values)
                else None,
                "machines": len(values),
            }
        )
    return found


def reaches(claim: str, values: NDArray[np.float64], paper: float) -> NDArray[np.bool_]:
    """Whether values are as good as the paper's: an overhead as low, anything else as high."""
    if claim == "overhead":
        return np.asarray(np.isfinite(values) & (values <= paper))
    return np.asarray(values >= paper)


# --- What decides ---


def decides(sampled: Sampled, claim: str) -> list[dict[str, Any]]:
    """Factors by their total Sobol index on a claim, most first, with the claim's median at their ends.

    Indices are of the logarithm, but of the value itself where a claim can be 0 (the PRT's saving). `low` and
    `high` are medians over the free machines whose factor lies in the lowest and in the highest third of its
    range; over the choices, the least and the greatest median.
    """
    reading = primary(claim)
    values = reading.highest(sampled.table, sampled.space.deciding)
    finite = np.isfinite(values)
    if not finite.any():
        return []
    values = np.where(finite, values, values[finite].min())
    if claim != "prt":
        values = np.log(np.maximum(values, 1e-9))
    count = len(sampled.space.factors)
    problem = {"num_vars": count, "names": list(sampled.space.names), "bounds": [[0.0, 1.0]] * count}
    if float(np.ptp(values)) == 0.0:
        return []
    found = sobol.analyze(
        problem, values, calc_second_order=False, num_resamples=100, print_to_console=False, seed=1
    )
    medians = _medians(sampled, reading)
    order = sorted(range(count), key=lambda i: -float(found["ST"][i]))
    return [
        {
            "factor": sampled.space.factors[i].name,
            "total": _digits(float(found["ST"][i]), 3),
            "total_conf": _digits(float(found["ST_conf"][i]), 2),
            "first": _digits(float(found["S1"][i]), 3),
            **medians[i],
        }
        for i in order[:SHOWN]
        if float(found["ST"][i]) > 0.005
    ]


def _medians(sampled: Sampled, reading: Reading) -> list[dict[str, Any]]:
    """Per factor: the claim's median at the two ends of its range, and what the ends are."""
    values = reading.highest(sampled.free)
    known = np.isfinite(values)
    found: list[dict[str, Any]] = []
    for i, factor in enumerate(sampled.space.factors):
        u = sampled.free_rows[:, i]
        if factor.values:
            drawn = np.array([str(factor.at(float(x))) for x in u])
            groups = [(str(v), known & (drawn == str(v))) for v in dict.fromkeys(factor.values)]
        else:
            groups = [
                (f"{_shown(factor, 1 / 6)}", known & (u < 1 / 3)),
                (f"{_shown(factor, 5 / 6)}", known & (u > 2 / 3)),
            ]
        medians = [(name, float(np.median(values[at]))) for name, at in groups if at.any()]
        if not medians:
            found.append({"low": None, "low_at": "", "high": None, "high_at": ""})
            continue
        low, high = min(medians, key=lambda m: m[1]), max(medians, key=lambda m: m[1])
        found.append({"low": _digits(low[1]), "low_at": low[0], "high": _digits(high[1]), "high_at": high[0]})
    return found


def _shown(factor: Factor, u: float) -> str:
    """A factor's value in words, near an end of its range."""
    if factor.normal:
        return "low" if u < 0.5 else "high"
    value = factor.at(u)
    return f"{value:.3g}" if isinstance(value, int | float) else str(value)


# --- The nearest configuration ---


def _nearest_all(
    within: Space, known: Mapping[str, Claim], jobs: int, folder: Path, seed: int
) -> dict[str, dict[str, Any]]:
    """`nearest` for every claim, in parallel, and its system file in the folder."""
    papers = {name: known[name].value for name in NUMERIC}
    with parallel_config(backend="loky", inner_max_num_threads=1):
        each = Parallel(n_jobs=jobs)(delayed(nearest)(within, name, papers[name]) for name in NUMERIC)
    found = {}
    for name, answer in zip(NUMERIC, each, strict=True):
        found[name] = answer | _saved(within, name, answer, folder, seed)
    return found


def nearest(within: Space, claim: str, paper: float) -> dict[str, Any]:
    """A machine near the nominal one whose claim is nearest to the paper's: values changed one after another.

    From the nominal machine and the workload where it comes nearest, each round makes the one change within
    the declared ranges that brings the claim nearest, bisecting a range whose end lies across the paper's
    value; it ends within `NEAR` of that, after `ROUNDS` changes, or when none helps. Constants of software,
    cost and area stay nominal. After the first round only the `TRIED` factors that
    came nearest are tried again. Two workloads are tried; the nearest result counts, of equally near ones
    that with fewest changes.
    """
    reading, memo = primary(claim), Memo()
    every = [f for f in within.factors if f.group in ("machine", "weights")]

    def value(draw: Draw, at: int) -> float:
        record = evaluate_draw(within, draw, "llama.cpp", memo, only=(at,))
        return float(reading.values(Table.of(within, [draw], [record]))[0, at])

    def of_values(at: int, values: Mapping[str, Value]) -> float:
        return value(Draw(values), at)

    def distance(v: float) -> float:
        return abs(v / paper - 1) if math.isfinite(v) else math.inf

    start = reading.values(nominal_table(within))[0]
    order = [i for i in range(len(start)) if math.isfinite(start[i])]
    if claim == "overhead":
        order = order[:1]
    best: tuple[float, int, dict[str, Value], int, float] | None = None
    for at in sorted(order, key=lambda i: (distance(float(start[i])), i))[:2]:
        values: dict[str, Value] = {}
        here = float(start[at])
        names = every
        while distance(here) > NEAR and len(values) < ROUNDS:
            tried = [
                (distance(v), factor, level, v)
                for factor in names
                for level in factor.levels()
                if level != values.get(factor.name, factor.nominal)
                for v in [value(Draw(values | {factor.name: level}), at)]
            ]
            tried.sort(key=lambda t: t[0])
            nearer, factor, level, there = tried[0]
            if names is every and len({t[3] for t in tried}) > TRIED:
                names = list({f.name: f for _, f, _, _ in reversed(tried[: 3 * TRIED])}.values())[-TRIED:]
            across = [t for t in tried if not t[1].values and (here - paper) * (t[3] - paper) < 0]
            if across:
                _, between, end, _ = across[0]
                moved, exact = _bisected(values, between, end, paper, partial(of_values, at))
                if distance(exact) < nearer:
                    nearer, factor, level, there = distance(exact), between, moved, exact
            if nearer >= distance(here) * 0.98:
                break
            values, here = values | {factor.name: level}, there
        rank = (0.0 if distance(here) <= NEAR else distance(here), len(values), values, at, here)
        if best is None or rank[:2] < best[:2]:
            best = rank
        if best[0] == 0.0 and not best[1]:
            break
    if best is None:
        raise SailsimError(
            f"claim {claim} has no value on any workload, allowed is one that can be simulated"
        )
    _, _, values, at, here = best
    return {"value": _digits(here), "workload": at, "changes": dict(sorted(values.items()))}


def _bisected(
    values: Mapping[str, Value],
    factor: Factor,
    end: Value,
    paper: float,
    claim: Callable[[Mapping[str, Value]], float],
) -> tuple[Value, float]:
    """Between a factor's value and an end across the paper's: where the claim is nearest, and what it is."""
    low, high = float(values.get(factor.name, factor.nominal)), float(end)
    above = claim({**values, factor.name: end}) > paper
    best, nearest_yet = end, claim({**values, factor.name: end})
    for _ in range(8):
        middle: Value = round((low + high) / 2) if factor.whole else float(f"{(low + high) / 2:.4g}")
        if middle in (low, high):
            break
        there = claim({**values, factor.name: middle})
        if abs(there - paper) < abs(nearest_yet - paper):
            best, nearest_yet = middle, there
        if abs(there / paper - 1) < NEAR / 4:
            break
        if (there > paper) == above:
            high = float(middle)
        else:
            low = float(middle)
    return best, nearest_yet


def _saved(within: Space, claim: str, answer: Mapping[str, Any], folder: Path, seed: int) -> dict[str, Any]:
    """The system file of a nearest configuration, and the commands that run it."""
    draw, workload = Draw(answer["changes"]), within.workloads[answer["workload"]]
    name = f"nearest-{claim.replace('_', '-')}"
    path = folder / f"{name}.toml"
    source = f"sailsim reproduce, nearest to the claim {claim}, seed {seed}"
    system = draw.system("llama.cpp", source=source, name=name)
    system = system.model_copy(
        update={"title": f"Nearest to the paper's {claim}, within the declared ranges"}
    )
    options = (
        f"--model {workload.model} --wbits {workload.wbits} --batch {workload.batch} --threads "
        f"{workload.threads} --context {workload.context} --group-size {draw.group_size}"
    )
    command = f"sailsim run --system docs/systems/{name}.toml {options} --json"
    commands = [command]
    if claim == "prt":
        commands.append(command.replace("--json", "--no-prt --json"))
    if claim == "overhead":
        commands = [f"sailsim systems show docs/systems/{name}.toml"]
    save_system(system, path, BASES["llama.cpp"], f"{source}.\n" + "\n".join(commands))
    known = leaves(load_system(BASES["llama.cpp"]))
    changes = {
        path_: {"value": leaf.value, "was": known[path_].value}
        for path_, leaf in leaves(system).items()
        if leaf.value != known[path_].value
    }
    if "weights.group_size" in answer["changes"]:
        changes["weights.group_size"] = {"value": draw.group_size, "was": 128}
    return {
        "file": path.name,
        "commands": commands,
        "find": primary(claim).find,
        "workload": workload.name,
        "draw": dict(answer["changes"]),
        "changes": changes,
    }


def _facts(known: Mapping[str, Claim]) -> list[dict[str, str]]:
    """Claims that are no numbers to sample."""
    return [
        {
            "claim": known["instructions"].text,
            "paper": known["instructions"].paper,
            "here": "1: LUTMM, sim_ext/abi/lutmm.h; unit and register are its fields",
        },
        {
            "claim": known["models"].text,
            "paper": known["models"].paper,
            "here": "both, from their shapes; their weights are not at hand, so pattern counts are those of "
            "SmolLM2-135M-Instruct",
        },
    ]


def _breakdown(within: Space, claims: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where a step goes on SAIL and on the cores alone: the nominal machine and the nearest ones."""
    fixed = within.workloads[within.fixed]
    wanted = [("nominal, fixed workload", Draw({}), fixed)]
    for name in ("speedup", "usd_cpu", "usd_v100"):
        near = claims[name]["nearest"]
        workload = next(w for w in within.workloads if w.name == near["workload"])
        wanted.append((f"nearest, {name}", Draw(near["draw"]), workload))
    found = []
    for title, draw, workload in wanted:
        system = draw.system("llama.cpp")
        model = load_model(workload.model)
        step = simulate_step(system, model, workload.point(system.name, draw.group_size))
        cores = cpu_tokens_per_s(
            system, model, draw.format(workload.wbits), workload.threads, workload.batch, workload.context
        )
        found.append(
            {
                "name": f"{title}: {workload.name}",
                "sail": {phase: _digits(1e3 * seconds, 4) for phase, seconds in step.breakdown.items()},
                "sail_ms": _digits(1e3 * step.step_s, 4),
                "cpu": {part: _digits(1e3 * seconds, 4) for part, seconds in cores.parts.items()},
                "cpu_ms": _digits(1e3 * cores.step_s, 4),
            }
        )
    return found
