"""A paper's claims under everything that it does not publish: distributions, what decides, the nearest.

`reproduce` screens the machine's unknowns, samples the rest (Sobol sequences in Saltelli's scheme), and
gathers for every claim: its value on the nominal machine, its distribution, the share of machines that reach
the paper's, the factors that decide it, and a plausible configuration near the paper's value, as a system
file and a command. Everything is in one JSON file, from which `reproduction_page` writes the page; equal
samples, seed and code give equal files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sailsim.analysis.paper.claims import SHIPPED
from sailsim.analysis.paper.distributions import (
    Sampled,
    alternatives,
    described,
    digits,
    nominal_outcomes,
)
from sailsim.analysis.paper.evaluator import OF_SAIL, of_sail
from sailsim.analysis.paper.nearest import nearest_of_all
from sailsim.analysis.paper.parameters import Factor
from sailsim.analysis.paper.sample_outcomes import SampleOutcomes
from sailsim.analysis.paper.sampling import LAST, Study, run_samples, screen, with_design
from sailsim.analysis.paper.sensitivity import decides
from sailsim.analysis.paper.space import ParameterSpace
from sailsim.analysis.paper.unknowns import space
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import MAX_TEXT, read_text
from sailsim.sim.backends.cores import predict_cores
from sailsim.sim.engine import simulate_step
from sailsim.sim.study.workers import Workers
from sailsim.workloads.load import load_model


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
    folder = Path(out)
    sampled = sample(space(paper, prior), folder, samples, jobs, seed, progress)
    known = sampled.space.paper
    nominal = nominal_outcomes(sampled.space)
    near = nearest_of_all(sampled.space, known.claim, jobs, folder, seed, progress)
    claims = {
        claim.name: {
            "title": claim.title,
            "paper": claim.value,
            "unit": claim.unit,
            **described(claim, sampled, nominal),
            "decides": decides(sampled, claim),
            "alternatives": alternatives(sampled, claim),
            "nearest": near[claim.name],
        }
        for claim in known.claim
    }
    results: dict[str, Any] = {
        "paper": paper,
        "prior": prior or "",
        "samples": samples,
        "seed": seed,
        "machines": len(sampled.free_rows),
        "impossible": sampled.impossible,
        "factors": [_described(f) for f in sampled.space.factors],
        "inert": list(sampled.inert),
        "held": [h.model_dump() for h in sampled.space.held],
        "workloads": [w.model_dump() for w in sampled.space.workloads],
        "claims": claims,
        "facts": [{"claim": f.title, "paper": f.paper, "here": f.here} for f in known.fact],
        "breakdown": _breakdown(sampled.space, claims),
    }
    write_whole(folder / "reproduction.json", (json.dumps(results, indent=1) + "\n").encode())
    return results


def sample(
    everything: ParameterSpace, folder: Path, samples: int, jobs: int | Workers, seed: int, progress: bool
) -> Sampled:
    """The rows of the study, evaluated or read from the folder."""
    Study(everything, samples, seed)  # refuse a bad number before anything is done
    untimed, inert = _screened(everything, folder)
    kept = everything.only([name for name in everything.names if name not in inert])
    study = Study(kept, samples, seed, untimed)
    frame = run_samples(study, folder, jobs, progress)
    rows = study.rows()
    flat = [row for block in rows for row in block]
    records = [{str(k): v for k, v in record.items()} for record in frame.to_dict("records")]
    machines = [kept.draw(row) for row in flat]
    full = sum(len(block) for block in rows[: study.full])
    ends = [i for i, record in enumerate(records) if record["row"] in (0, LAST)]

    def outcomes(at: Sequence[int], changed: Mapping[str, str]) -> SampleOutcomes:
        chosen = [records[i] | {name: records[i][other] for name, other in changed.items()} for i in at]
        return SampleOutcomes.of(kept, [machines[i] for i in at], chosen)

    of_sail_there = [f"{kept.software}/{name}" for name in OF_SAIL]
    designs = [{name: with_design(a, name) for name in of_sail_there} for a in kept.alternatives]
    rate = f"{kept.software}/{of_sail('tokens_per_s')}"
    return Sampled(
        space=kept,
        saltelli=outcomes(range(full), {}),
        free=outcomes(ends, {}),
        free_rows=np.array([flat[i] for i in ends]),
        alternatives=tuple(outcomes(ends[::2], changed) for changed in designs),
        untimed=untimed,
        inert=tuple(sorted(inert)),
        impossible=sum(1 for i in ends if np.isnan(np.asarray(records[i][rate], dtype=float)).all()),
    )


def _screened(everything: ParameterSpace, folder: Path) -> tuple[frozenset[str], frozenset[str]]:
    """`screening.screen`, kept in the folder beside the code that it was made with."""
    study = Study(everything, 4, 0)
    path = folder / "screen.json"
    try:
        kept = json.loads(read_text(path, "file", MAX_TEXT))
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
    for title, machine, workload in wanted:
        system = machine.system(within.software)
        model = load_model(workload.model)
        step = simulate_step(system, model, workload.point(system.name, machine.group_size))
        fmt = machine.format(workload.wbits)
        cores = predict_cores(system, model, fmt, workload.threads, workload.batch, workload.context)
        rows.append(
            {
                "name": f"{title}: {workload.name}",
                "sail": {phase: digits(1e3 * seconds, 4) for phase, seconds in step.breakdown.items()},
                "sail_ms": digits(1e3 * step.step_s, 4),
                "cpu": {part: digits(1e3 * seconds, 4) for part, seconds in cores.parts.items()},
                "cpu_ms": digits(1e3 * cores.step_s, 4),
            }
        )
    return rows
