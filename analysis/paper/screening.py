"""Which unknowns of the machine decide nothing: no step's time, and perhaps no area either."""

from __future__ import annotations

from typing import Any

import numpy as np

from sailsim.analysis.paper.evaluator import Memo, SampleEvaluator, areas
from sailsim.analysis.paper.machine import SampledMachine
from sailsim.analysis.paper.space import ParameterSpace

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
