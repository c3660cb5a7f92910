"""Rows of the space of unknowns, evaluated in blocks, in parallel, stored as they finish.

A block is what Saltelli's scheme needs for one base sample: two independent machines A and B, and for every
factor a row that is A with that factor of B. The store keeps one Parquet file a block, whole or not at all,
so a run that was killed goes on where it stopped. Within a block equal steps are simulated once.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from SALib.sample import sobol as saltelli

from sailsim.analysis.paper.evaluator import OF_SAIL, Memo, SampleEvaluator, areas, evaluate_machine, names
from sailsim.analysis.paper.machine import SampledMachine
from sailsim.analysis.paper.parameters import Alternative
from sailsim.analysis.paper.space import ParameterSpace
from sailsim.base.errors import SailsimError
from sailsim.base.memory import give_back, no_search_for_circles
from sailsim.sim.study.origin import code_version
from sailsim.sim.study.run import run_study
from sailsim.sim.study.tasks import Task
from sailsim.sim.study.workers import Workers

DRAWN = 6
"""Machines that are tried beside the nominal one."""


def screen(space: ParameterSpace, seed: int = 0) -> tuple[frozenset[str], frozenset[str]]:
    """Machine factors that no step's time depends on, and those of them that no area depends on either.

    Each is moved over its levels on the nominal machine and on `DRAWN` others, with the first two workloads:
    so many because what some decide hangs on others (how DFMs split work, on whether there are several).
    """
    rng = np.random.default_rng(seed)
    memo = Memo()
    tried = [space.nominal, *(space.draw(row) for row in rng.random((DRAWN, len(space.factors))))]

    def outcome(machine: SampledMachine) -> tuple[tuple[Any, ...], tuple[float, ...]]:
        evaluator = SampleEvaluator(machine, space.paper, space.software, memo)
        timed = evaluator.outcomes(space.workloads[:2])
        return tuple((name, *values.tolist()) for name, values in timed.items()), tuple(
            areas(space.paper, evaluator.system, machine)
        )

    untimed, inert = set(), set()
    for factor in space.factors:
        if factor.group != "machine":
            continue
        timed = sized = False
        for base in tried:
            levels = dict.fromkeys(factor.values or (factor.at(0.0), factor.at(1.0)))
            seen = [outcome(base.with_values({factor.name: v})) for v in levels]
            timed |= len({str(times) for times, _ in seen}) > 1
            sized |= len({sizes for _, sizes in seen}) > 1
            if timed:
                break
        if not timed:
            untimed.add(factor.name)
            if not sized:
                inert.add(factor.name)
    return frozenset(untimed), frozenset(inert)


KIND = "reproduce"
"""Of the folder: the command that fills it."""
MOST_SAMPLES = 4096
LAST = 1 << 30
"""The row of B, behind all others of its block."""
Rows = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Study:
    """What is sampled: `samples` base samples (a power of two) of a space, from a seed.

    Every base sample gives two machines; the first half of them, itself a Sobol sample, also the rows between
    that sensitivity indices need.
    """

    space: ParameterSpace
    samples: int
    seed: int
    untimed: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        n = self.samples
        if not 4 <= n <= MOST_SAMPLES or n & (n - 1):
            raise SailsimError(
                f"samples is {n}, allowed is a power of two from 4 to {MOST_SAMPLES}, for Sobol's sequence"
            )
        if not 0 <= self.seed < 1 << 32:
            raise SailsimError(f"seed is {self.seed}, allowed is 0..{(1 << 32) - 1}")
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

    def rows(self) -> list[Rows]:
        """Rows of every block, each (rows, factors): A, A with one factor of B each, B; or only A and B."""
        count = len(self.space.factors)
        flat = saltelli.sample(self.problem, self.samples, calc_second_order=False, seed=self.seed)
        every = np.clip(np.asarray(flat, dtype=float), 0, 1).reshape(self.samples, count + 2, count)
        return [block if i < self.full else block[[0, -1]] for i, block in enumerate(every)]

    @property
    def id(self) -> str:
        """Hash of the space, the samples, the seed and the code."""
        content = json.dumps(
            [asdict(self.space), sorted(self.untimed), self.samples, self.seed, code_version()],
            sort_keys=True,
            default=str,
        )
        return hashlib.sha256(content.encode()).hexdigest()[:24]


def evaluate_block(
    space: ParameterSpace, block: int, rows: Rows, untimed: frozenset[str] = frozenset(), seed: int = 0
) -> list[dict[str, Any]]:
    """The records of one block.

    A and B, its first and last row, are the free machines: evaluated on all workloads, their cores with every
    software, and A with every other design, whose own unknowns are drawn from the study's seed. The rows
    between are evaluated on the workloads that decide, with the nominal software.
    """
    memo, records = Memo(), []
    for i, row in enumerate(rows):
        machine = space.draw(row)
        free = i in (0, len(rows) - 1)
        record: dict[str, Any] = {"block": block, "row": i if i == 0 or not free else LAST}
        record |= {name: [] for name in _lists(space)}
        stacks, only = (tuple(space.hosts), None) if free else ((space.software,), space.deciding)
        record |= evaluate_machine(space, machine, stacks, memo, untimed, only)
        if i == 0:
            for at, alternative in enumerate(space.alternatives):
                varied = space.design(alternative, machine, (seed, block, at))
                other = evaluate_machine(space, varied, None, memo, untimed, space.deciding)
                changed = [f"{space.software}/{name}" for name in OF_SAIL]
                record |= {with_design(alternative, name): other[name] for name in changed}
        records.append(record)
    return records


def _lists(space: ParameterSpace) -> list[str]:
    """Every name that a record of a study may have a list of."""
    opponents = space.paper.opponents("samples")
    own = [f"{software}/{name}" for software in space.hosts for name in names(opponents, software)]
    changed = [f"{space.software}/{name}" for name in OF_SAIL]
    return own + [with_design(other, name) for other in space.alternatives for name in changed]


def with_design(alternative: Alternative, name: str) -> str:
    """The name in a record of what another design changes."""
    return f"{alternative.name}: {name}"


def run_samples(
    study: Study, out_dir: str | Path, jobs: int | Workers = 1, progress: bool = True
) -> pd.DataFrame:
    """Evaluate every block that the folder does not hold yet and return all records, by block and row.

    Raises SailsimError for fewer than one job, a folder that another run holds, a full disk, or blocks that
    failed; what was finished is stored and the same call goes on.
    """
    own = study.id
    tasks = [
        Task(_key(own, block), f"block {block}", (block, rows), block)
        for block, rows in enumerate(study.rows())
    ]
    config = {"samples": study.samples, "seed": study.seed}
    evaluate = partial(_evaluated, study.space, study.untimed, study.seed)
    store = run_study(
        tasks,
        evaluate,
        out_dir,
        kind=KIND,
        jobs=jobs,
        progress=progress,
        config=config,
        what="blocks",
        group="blocks",
    )
    return store.frame("blocks").sort_values(["block", "row"], kind="stable").reset_index(drop=True)


def _evaluated(
    space: ParameterSpace, untimed: frozenset[str], seed: int, what: tuple[int, Rows]
) -> list[dict[str, Any]]:
    block, rows = what
    with no_search_for_circles():
        found = evaluate_block(space, block, rows, untimed, seed)
    if len(rows) > 2:  # many machines, not A and B alone
        give_back()
    return found


def _key(study: str, block: int) -> str:
    return hashlib.sha256(f"{study}/{block}".encode()).hexdigest()[:32]
