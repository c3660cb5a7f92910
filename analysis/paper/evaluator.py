"""Metrics of claims on a sampled machine, workload by workload.

`SampledOutcomes` computes only the quantities that a metric needs: SAIL's step on a system whose cores run
one software, the same server's cores, GPUs. On the nominal machine they equal those of `runs.runs`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from operator import itemgetter
from typing import Any

import numpy as np

from sailsim.analysis.costs.constants import NotModelledError
from sailsim.analysis.costs.dollars import HOUR_S, PAYMENTS, CostConstants, prices, vcpus_paid
from sailsim.analysis.paper.claim import Choice, Metric, Numbers, values
from sailsim.analysis.paper.parameter_space import ParameterSpace, scatter_of
from sailsim.analysis.paper.sampled_machine import FEW_BITS, FEW_BITS_RATE, TABLE_RATE, SampledMachine
from sailsim.analysis.runs.runs import OF_THE_POINT, SAIL, Runner
from sailsim.analysis.uncertainty.prior import Workload
from sailsim.base.errors import SailsimError
from sailsim.sim.backend import StepResult, memory_needed, usable_memory
from sailsim.sim.backends import cores as cpu
from sailsim.sim.backends import roofline
from sailsim.sim.machine.system import Gpu, System
from sailsim.sim.machine.system_files import leaves
from sailsim.sim.software.fitted import StepDemand, decode_demand
from sailsim.sim.software.gpu_software import load_gpu_software
from sailsim.sim.software.records import load_software
from sailsim.sim.step.engine import time_step
from sailsim.sim.step.schedule import CpuSheet
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import WeightFormat, uniform_format, weight_format

READS = "prt_misses"
"""Counter of array reads by look-ups: all that no PRT serves."""
Values = Mapping[Metric, Numbers]
"""Values of the metrics of sampled machines, each (machines, workloads) or (workloads,)."""
SecondsBytes = tuple[float, float]
"""Seconds of a step, and bytes of weights that it reads."""
Memo = dict[tuple[Any, ...], dict[Any, StepResult | None]]
"""Simulated steps within a block of machines or a search, by the values of a system, then by workload.

None where a tile does not fit."""


@dataclass
class SampledOutcomes:
    """Quantities of runners on a sampled machine; arrays have an entry for each of its workloads."""

    space: ParameterSpace
    machine: SampledMachine
    workloads: Sequence[Workload]
    memo: Memo = field(default_factory=dict)
    _systems: dict[str, System | None] = field(default_factory=dict)
    _steps: dict[str, dict[Any, StepResult | None]] = field(default_factory=dict)
    _fits: dict[tuple[str, int], cpu.CpuFit] = field(default_factory=dict)
    _rates: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def of(
        self, runner: str, quantity: str, against: str | None = None, without: Choice | None = None
    ) -> Numbers:
        """Values as `claim.Quantities`; rates of others than SAIL have the scatter of one measured server."""
        opponent = None if runner == SAIL else self.space.paper.opponents[runner]
        other = opponent if against is None else self.space.paper.opponents[against]
        software = self.space.software if other is None else self.space.host_of(other)

        def number(w: Workload) -> float:
            if self.system(software) is None:
                return math.nan
            if not quantity.startswith("tokens_per_"):
                return self.number(software, w, quantity, without is None)
            if opponent is None:
                rate = self.number(software, w, "tokens_per_s")
            else:
                rate = self.predicted(software, opponent, w)[0] * self.machine.factor(scatter_of(opponent))
            if quantity == "tokens_per_s" or math.isnan(rate):
                return rate
            payment = quantity.removeprefix("tokens_per_usd_")
            return rate * HOUR_S / self.usd_per_hour(software, opponent, w, payment)

        return np.array([number(w) for w in self.workloads], dtype=np.float64)

    def system(self, software: str) -> System | None:
        """The machine's system with a software on its cores; None where it is impossible."""
        if software not in self._systems:
            self._systems[software] = None
            with suppress(SailsimError):
                system = self._systems[software] = self.machine.system(software)
                values = tuple(leaf.value for leaf in leaves(system).values())
                self._steps[software] = self.memo.setdefault(values, {})
        return self._systems[software]

    def possible_system(self, software: str) -> System:
        """As `system`, where there is one."""
        system = self.system(software)
        assert system is not None
        return system

    def number(self, software: str, w: Workload, quantity: str, prt: bool = True) -> float:
        """A quantity of SAIL's step with or without the PRT; NaN where a tile does not fit."""
        step = self.step(software, w, prt) if prt or w.prt else None
        if step is None:
            return math.nan
        reads = quantity == "array_reads"
        return float(step.counts.get(READS, math.nan) if reads else getattr(step, quantity))

    def step(self, software: str, w: Workload, prt: bool = True) -> StepResult | None:
        """A simulated step; None where a tile does not fit."""
        system, steps = self.possible_system(software), self._steps[software]
        key = (w.name, prt, self.machine.group_size)
        if key not in steps:
            point = w.point(system.name, self.machine.group_size, prt)
            counted = any(metric.saved == "array_reads" for metric in self.space.paper.sampled.values())
            steps[key] = None
            with suppress(SailsimError):
                steps[key] = time_step(system, load_model(w.model), point, (READS,) if counted else ())
        return steps[key]

    def area_share(self, counted: str, base: str) -> Numbers:
        """Added area over a base, the same on every workload; NaN where it is not modelled."""
        share = math.nan
        with suppress(NotModelledError):
            if self.system(self.space.software) is not None:
                share = self.machine.area.share(counted, base)
        return np.full(len(self.workloads), share)

    def usd_per_hour(self, software: str, opponent: Runner | None, w: Workload, payment: str) -> float:
        """Price of an hour, SAIL's with its overhead, on a server with a vCPU for each core of the system."""
        if opponent is not None and opponent.kind == "gpu":
            return _gpu_usd_per_hour(opponent.hardware)
        system = self.possible_system(software)
        instance = self.machine.values.get("cost.instance", self.space.servers[0].instance)
        price = next(each for each in self.space.servers if each.instance == instance)
        cores = system.cores.count.whole
        memory = price.memory_gib and price.memory_gib / price.units * cores
        if opponent is None:
            rate, moved = (self.number(software, w, name) for name in ("tokens_per_s", "dram_bytes"))
        else:
            rate, moved = self.predicted(software, opponent, w)
        run = {
            "cores": cores if opponent is not None and opponent.threads == "all" else w.threads,
            "memory_bytes": workload_demand(w, self.machine.group_size)[2],
            "pays": "used" if opponent is None else opponent.paid,
            "bandwidth_share": min(1.0, moved / w.batch * rate / system.memory.read_bandwidth.si),
        }
        sizing = "whole" if run["pays"] == "whole" else PAYMENTS[payment]
        # A run gets at most the memory of all vCPUs.
        paid = vcpus_paid(replace(price, units=cores, memory_gib=memory), run, sizing) or cores
        hour = price.usd_per_hour / price.units * paid
        overhead = self.machine.constants("cost", CostConstants).overhead
        return hour * (1 + overhead) if opponent is None or opponent.overhead else hour

    # --- Baselines: all calls of the models of cores and GPUs ---

    def predicted(self, software: str, opponent: Runner, w: Workload) -> tuple[float, float]:
        """Tokens/s of another runner without scatter, and bytes that a step moves; NaN if it cannot run."""
        key = opponent.name, w.name
        if key not in self._rates:
            weights = self.machine.group_size if opponent.format == OF_THE_POINT else opponent.format
            predict = self._gpu if opponent.kind == "gpu" else partial(self._cores, software)
            seconds, read = predict(opponent, w, weights)
            self._rates[key] = w.batch / seconds, read + float(workload_demand(w, weights)[1].kv_bytes)
        return self._rates[key]

    def _cores(self, software: str, opponent: Runner, w: Workload, weights: str | int) -> SecondsBytes:
        """Seconds of a step of the server's cores at the machine's constants, and bytes of weights read.

        A packed runner has the fastest number of instances, among equally fast ones the smallest.
        """
        system, constants = self.possible_system(software), self.cpu_fit(software, w.wbits)
        threads = system.cores.count.whole if opponent.threads == "all" else w.threads
        sheet, packings = CpuSheet.of(system), []
        for count in cpu.instance_counts(threads, w.batch) if opponent.instances == "best" else (1,):
            work, one = workload_demand(w, weights, count)[1], np.asarray(1.0)
            each = np.asarray(float(threads // count))
            parts = cpu.packed_breakdown(work, sheet, each, constants, one, np.asarray(float(count)))
            packings.append((float(sum(parts.values())), count * float(work.weight_bytes)))
        return min(packings, key=itemgetter(0))

    def _gpu(self, opponent: Runner, w: Workload, weights: str | int) -> tuple[float, float]:
        """Seconds and bytes, as `_cores`, of a GPU; NaN if it lacks the memory or the kernel."""
        gpu, (fmt, work, memory) = opponent.machine, workload_demand(w, weights)
        assert isinstance(gpu, Gpu)
        software = load_gpu_software(opponent.software)
        if memory > usable_memory(gpu) or software.decode_problem(fmt) is not None:
            return math.nan, math.nan
        constants = roofline.gpu_fit(gpu, fmt, self.machine.fitted, software.name)
        parts = roofline.step_breakdown(work, roofline.GpuSheet.of(gpu), constants)
        return float(sum(parts.values())), float(work.weight_bytes)

    def cpu_fit(self, software: str, wbits: int) -> cpu.CpuFit:
        """Constants of a software with weights of a width; the machine's values scale its kernels' rate."""
        if (software, wbits) not in self._fits:
            machine = self.machine
            fmt = uniform_format(wbits, machine.group_size)
            constants, rate = cpu.cpu_fit(software, fmt, machine.fitted)
            factor = 1.0
            law = load_software(software).law
            if law == "look-ups":
                factor = machine.factor(TABLE_RATE)
            elif law == "ratios" and wbits in FEW_BITS:
                factor = rate.relative * machine.factor(FEW_BITS_RATE) / rate.relative
            elif law == "ratios" and rate.low != rate.high:
                factor = float(machine.values.get(f"rate.w{wbits}", rate.relative)) / rate.relative
            self._fits[software, wbits] = replace(constants, kernel_rate=constants.kernel_rate * factor)
        return self._fits[software, wbits]


@cache  # the price list is read anew each time
def _gpu_usd_per_hour(gpu: str) -> float:
    return prices().of(gpu).usd_per_hour


@lru_cache(maxsize=4096)
def workload_demand(
    w: Workload, weights: str | int, instances: int = 1
) -> tuple[WeightFormat, StepDemand, float]:
    """Format, demand of a decode step of one instance, and bytes of weights and KV caches of a workload.

    ``weights`` is the name of a format, or the number of weights that share a scale.
    """
    model = load_model(w.model)
    fmt = weight_format(weights) if isinstance(weights, str) else uniform_format(w.wbits, weights)
    work = decode_demand(model, fmt, -(-w.batch // instances), w.context)
    return fmt, work, memory_needed(model, fmt, w.batch, w.context)


def judged(
    space: ParameterSpace,
    machine: SampledMachine,
    metrics: Iterable[Metric] | None = None,
    on: Sequence[int] | None = None,
    memo: Memo | None = None,
) -> dict[Metric, Numbers]:
    """Metrics (None: all) of a machine, each (workloads,).

    NaN stands for no number, and for workloads that are not among ``on`` (None: all).
    """
    outcomes = SampledOutcomes(space, machine, space.workloads, {} if memo is None else memo)
    chosen = {metric: space.paper.sampled[metric] for metric in metrics or space.paper.sampled}
    answers = {key: np.full(len(space.workloads), math.nan) for key in chosen}
    # Workload by workload: the engine caches the units' work, which the cores' software does not change.
    for at in range(len(space.workloads)) if on is None else on:
        alone = replace(outcomes, workloads=[space.workloads[at]])
        for key, metric in chosen.items():
            (answers[key][at],) = values(metric, alone.of, alone.area_share)
    return answers
