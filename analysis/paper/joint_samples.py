"""Machines of a prior, drawn and judged by every reading of every claim; many of them, on any workers.

Machine i is row i of a Sobol sequence, whoever evaluates it. A task is `BLOCK` machines; a stopped study goes
on with those that are missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sailsim.analysis.paper.combinations import Metric
from sailsim.analysis.paper.evaluator import Memo, evaluate_machine
from sailsim.analysis.paper.machine import SampledMachine
from sailsim.analysis.paper.metrics import Numbers, values
from sailsim.analysis.paper.sample_outcomes import SampleOutcomes
from sailsim.analysis.paper.space import ParameterSpace
from sailsim.base.errors import SailsimError
from sailsim.base.memory import give_back, no_search_for_circles
from sailsim.sim.plan.sample import Sample
from sailsim.sim.study.origin import code_version
from sailsim.sim.study.run import run_study
from sailsim.sim.study.tasks import Task
from sailsim.sim.study.workers import Workers

KIND = "joint"
"""Of the folder: the command that fills it."""
BLOCK = 32
"""Machines of a task."""
MACHINES = (64, 1 << 18)
"""The fewest and the most that a study may have."""


@dataclass(frozen=True)
class Draw:
    """So many machines of a prior, from a seed."""

    space: ParameterSpace
    prior: str
    machines: int
    seed: int

    def __post_init__(self) -> None:
        low, high = MACHINES
        if not low <= self.machines <= high or self.machines % BLOCK:
            raise SailsimError(
                f"machines is {self.machines}, allowed is a multiple of {BLOCK} from {low} to {high}"
            )
        if not 0 <= self.seed < 1 << 32:
            raise SailsimError(f"seed is {self.seed}, allowed is 0..{(1 << 32) - 1}")

    def rows(self) -> Numbers:
        """(machines, factors), each between 0 and 1."""
        return Sample("sobol", self.machines, self.seed).rows(len(self.space.factors))

    @property
    def id(self) -> str:
        """Hash of the space, the seed and the code; a larger draw holds a smaller one's machines."""
        content = json.dumps([asdict(self.space), self.seed, code_version()], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()[:24]


def metrics_of(space: ParameterSpace) -> tuple[Metric, ...]:
    """Every metric of sampled machines."""
    claims = space.paper.claim
    return tuple((claim.name, at) for claim in claims for at in range(len(claim.metrics("samples"))))


def judged(space: ParameterSpace, machines: Sequence[SampledMachine]) -> dict[Metric, Numbers]:
    """Every metric of some machines, (machines, workloads); NaN where there is no number."""
    with no_search_for_circles():
        records = [evaluate_machine(space, machine, tuple(space.hosts), Memo()) for machine in machines]
    outcomes = SampleOutcomes.of(space, machines, records)
    shape = (len(machines), len(space.workloads))
    return {
        (claim.name, at): np.broadcast_to(values(metric, outcomes), shape)
        for claim in space.paper.claim
        for at, metric in enumerate(claim.metrics("samples"))
    }


def run_draw(
    draw: Draw, folder: str | Path, jobs: int | Workers = 1, progress: bool = True
) -> dict[Metric, Numbers]:
    """Judge every machine that the folder does not hold yet, and return `judged` of all.

    Raises SailsimError as `run_study`.
    """
    own, rows = draw.id, draw.rows()
    tasks = [
        Task(_key(own, first), f"{draw.prior} {first}", (first, rows[first : first + BLOCK]), first)
        for first in range(0, draw.machines, BLOCK)
    ]
    store = run_study(
        tasks,
        partial(_evaluated, draw.space),
        folder,
        kind=KIND,
        jobs=jobs,
        progress=progress,
        config={"machines": draw.machines, "seed": draw.seed},
        what=f"blocks of {BLOCK} machines, prior {draw.prior}",
        group=f"machines of {draw.prior}",
    )
    return _gathered(draw, store.frame(f"machines of {draw.prior}"))


def _evaluated(space: ParameterSpace, what: tuple[int, Numbers]) -> list[dict[str, Any]]:
    first, rows = what
    found = judged(space, [space.draw(row) for row in rows])
    give_back()
    columns = {
        _column(metric, at): each[:, at] for metric, each in found.items() for at in range(each.shape[1])
    }
    return [
        {"machine": first + i} | {name: float(column[i]) for name, column in columns.items()}
        for i in range(len(rows))
    ]


def _gathered(draw: Draw, frame: pd.DataFrame) -> dict[Metric, Numbers]:
    ordered = frame.sort_values("machine", kind="stable")
    if ordered["machine"].tolist() != list(range(draw.machines)):
        raise SailsimError(f"the folder has {len(ordered)} machines, allowed is {draw.machines}, each once")
    places = range(len(draw.space.workloads))
    return {
        metric: ordered[[_column(metric, at) for at in places]].to_numpy(dtype=float)
        for metric in metrics_of(draw.space)
    }


def _column(metric: Metric, workload: int) -> str:
    return f"{metric[0]}/{metric[1]}@{workload}"


def _key(draw: str, first: int) -> str:
    return hashlib.sha256(f"{draw}/{first}".encode()).hexdigest()[:32]
