"""The best packing of processes and threads on one server: what all of its cores reach.

Which number of instances is the fastest at a point is reckoned, not measured, by `cpu.packed_parts`;
docs/baselines.md compares both with measurements.
"""

from __future__ import annotations

import numpy as np

from sailsim.analysis.baselines import cpu
from sailsim.analysis.baselines.core_kinds import core_of
from sailsim.analysis.baselines.kernel_rates import Software
from sailsim.analysis.baselines.prediction import Prediction
from sailsim.sim import System
from sailsim.workloads import ModelSpec, WeightFormat

FEWEST_THREADS = 8
"""Threads of an instance: as few as were measured, side by side and alone."""


def packings(threads: int, batch: int) -> tuple[int, ...]:
    """Numbers of instances that are tried: each has a sequence and `FEWEST_THREADS`, or there is one."""
    return tuple(range(1, max(1, min(batch, threads // FEWEST_THREADS)) + 1))


def packed_tokens_per_s(
    system: System,
    model: ModelSpec,
    fmt: WeightFormat,
    threads: int,
    batch: int = 1,
    context: int = 64,
    *,
    software: Software = "llama.cpp",
    cache: cpu.Cache = "separate",
) -> Prediction:
    """As `cpu.cpu_tokens_per_s` with as many instances as are the fastest; of equals, the fewest.

    The point's sequences are shared out over them: a server with more to do has a larger batch. Raises
    SailsimError as that does.
    """
    rates, _ = cpu.constants(software, fmt, core=core_of(system))
    machine = cpu.CpuSheet.of(system)

    def seconds(instances: int) -> float:
        work = cpu.decode_work(model, fmt, -(-batch // instances), context)
        shared_by = work.rows if cache == "unified" else np.asarray(1.0)
        each, together = np.asarray(float(threads // instances)), np.asarray(float(instances))
        return float(sum(cpu.packed_parts(work, machine, each, rates, shared_by, together).values()))

    best = min(packings(threads, batch), key=seconds)
    return cpu.cpu_tokens_per_s(
        system, model, fmt, threads, batch, context, software=software, cache=cache, instances=best
    )
