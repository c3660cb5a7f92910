"""What claims are on a sampled machine, workload by workload.

`SampledOutcomes` asks the engine and the backends' formulas for what a metric needs and no more, all
workloads at once: SAIL's step on a machine whose cores run one software, the same server's cores, GPUs. It
is `results.runs` for a machine of the space: equal at the nominal one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache, partial
from operator import itemgetter
from typing import Any, cast

import numpy as np

from sailsim.analysis.costs.area import Area, AreaConstants, area
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
from sailsim.sim.backends.cores import Software
from sailsim.sim.machine.system import Gpu, System
from sailsim.sim.machine.system_files import leaves
from sailsim.sim.software.fitted import StepDemand, decode_demand
from sailsim.sim.step.engine import time_step
from sailsim.sim.step.schedule import CpuSheet
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import WeightFormat, uniform_format, weight_format

READS = "prt_misses"
"""What counts reads of the arrays by look-ups: every one that no PRT serves."""
Values = Mapping[Metric, Numbers]
"""Of every metric of sampled machines, (machines, workloads) or (workloads,)."""
Memo = dict[tuple[Any, ...], dict[Any, StepResult | None]]
"""What is known within a block of machines or a search: by the values of a machine, then by what is asked of
it, the step; None where a tile does not fit."""


@dataclass
class SampledOutcomes:
    """A machine on some workloads of its space, as `claims.Outcomes`: numbers have an entry a workload."""

    space: ParameterSpace
    machine: SampledMachine
    workloads: Sequence[Workload]
    memo: Memo = field(default_factory=dict)
    _hosts: dict[Software, _SampledHost | None] = field(default_factory=dict)
    _rates: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def of(
        self, runner: str, quantity: str, beside: str | None = None, without: Choice | None = None
    ) -> Numbers:
        """As `Outcomes.of`; rates of others than SAIL are those of one measured machine, with its scatter."""
        opponent = None if runner == SAIL else self.space.paper.opponents[runner]
        near = opponent if beside is None else self.space.paper.opponents[beside]
        host = self.host(self.space.software if near is None else self.space.host_of(near))

        def number(w: Workload) -> float:
            if host is None:
                return math.nan
            if not quantity.startswith("tokens_per_"):
                return host.number(w, quantity, without is None)
            if opponent is None:
                rate = host.number(w, "tokens_per_s")
            else:
                rate = self.predicted(host, opponent, w)[0] * self.machine.factor(scatter_of(opponent))
            if quantity == "tokens_per_s" or math.isnan(rate):
                return rate
            payment = quantity.removeprefix("tokens_per_usd_")
            return rate * HOUR_S / self.usd_per_hour(host, opponent, w, payment)

        return np.array([number(w) for w in self.workloads], dtype=np.float64)

    def host(self, software: Software) -> _SampledHost | None:
        """The machine with a software on its cores; None where there is no such machine."""
        if software not in self._hosts:
            try:
                system = self.machine.system(software)
            except SailsimError:
                self._hosts[software] = None
            else:
                own = tuple(leaf.value for leaf in leaves(system).values())
                reads = any(metric.saved == "array_reads" for metric in self.space.paper.sampled.values())
                counted = (READS,) if reads else ()  # beside a step's time, where a claim is about it
                known = self.memo.setdefault(own, {})
                self._hosts[software] = _SampledHost(self.machine, system, software, counted, known)
        return self._hosts[software]

    def area_share(self, counted: str, base: str) -> Numbers:
        """Added area over what there is, the same on every workload; NaN where it is not modelled."""
        host, share = self.host(self.space.software), math.nan
        with suppress(NotModelledError):
            share = math.nan if host is None else host.area.share(counted, base)
        return np.full(len(self.workloads), share)

    def usd_per_hour(self, host: _SampledHost, opponent: Runner | None, w: Workload, payment: str) -> float:
        """What an hour costs, SAIL's with its overhead, on a server of as many vCPUs as the machine has
        cores."""
        if opponent is not None and opponent.kind == "gpu":
            return _gpu_usd_per_hour(opponent.hardware)
        named = self.machine.values.get("cost.instance", self.space.servers[0].instance)
        price = next(each for each in self.space.servers if each.instance == named)
        cores = host.system.cores.count.whole
        memory = price.memory_gib and price.memory_gib / price.units * cores
        rate, moved = (
            [host.number(w, name) for name in ("tokens_per_s", "dram_bytes")]
            if opponent is None
            else self.predicted(host, opponent, w)
        )
        run = {
            "cores": cores if opponent is not None and opponent.threads == "all" else w.threads,
            "memory_bytes": asked(w, self.machine.group_size)[2],
            "pays": "used" if opponent is None else opponent.paid,
            "bandwidth_share": min(1.0, moved / w.batch * rate / host.system.memory.read_bandwidth.si),
        }
        sizing = "whole" if run["pays"] == "whole" else PAYMENTS[payment]
        # The memory of all vCPUs is what a run gets at most.
        paid = vcpus_paid(replace(price, units=cores, memory_gib=memory), run, sizing) or cores
        hour = price.usd_per_hour / price.units * paid
        overhead = self.machine.constants("cost", CostConstants).overhead
        return hour * (1 + overhead) if opponent is None or opponent.overhead else hour

    # --- Baselines: every call of a model of cores or GPUs is here ---

    def predicted(self, host: _SampledHost, opponent: Runner, w: Workload) -> tuple[float, float]:
        """Tokens/s of another runner without scatter, and the bytes that a step moves; NaN where it cannot
        run."""
        key = opponent.name, w.name
        if key not in self._rates:
            weights = self.machine.group_size if opponent.format == OF_THE_POINT else opponent.format
            predict = self._gpu if opponent.kind == "gpu" else partial(self._cores, host)
            seconds, read = predict(opponent, w, weights)
            self._rates[key] = w.batch / seconds, read + float(asked(w, weights)[1].kv_bytes)
        return self._rates[key]

    def _cores(
        self, host: _SampledHost, opponent: Runner, w: Workload, weights: str | int
    ) -> tuple[float, float]:
        """Seconds of a step of the server's cores at the machine's constants, and the bytes of weights that
        it reads; with as many instances as are the fastest, of equals the fewest, where it is packed."""
        threads = host.system.cores.count.whole if opponent.threads == "all" else w.threads
        sheet, tried = CpuSheet.of(host.system), []
        for count in cpu.instance_counts(threads, w.batch) if opponent.instances == "best" else (1,):
            work, one = asked(w, weights, count)[1], np.asarray(1.0)
            each = np.asarray(float(threads // count))
            parts = cpu.packed_breakdown(
                work, sheet, each, host.constants(w.wbits), one, np.asarray(float(count))
            )
            tried.append((float(sum(parts.values())), count * float(work.weight_bytes)))
        return min(tried, key=itemgetter(0))

    def _gpu(self, opponent: Runner, w: Workload, weights: str | int) -> tuple[float, float]:
        """The same of a GPU; NaN where its memory is too small or the software has no such kernel."""
        gpu, (fmt, work, memory) = opponent.machine, asked(w, weights)
        assert isinstance(gpu, Gpu)
        software = cast(roofline.GpuSoftware, opponent.software)
        if memory > usable_memory(gpu) or roofline.decode_problem(fmt, software) is not None:
            return math.nan, math.nan
        constants = roofline.gpu_fit(gpu, fmt, self.machine.fitted, software)
        parts = roofline.step_breakdown(work, roofline.GpuSheet.of(gpu), constants)
        return float(sum(parts.values())), float(work.weight_bytes)


@cache  # the price list is read anew each time
def _gpu_usd_per_hour(gpu: str) -> float:
    return prices().of(gpu).usd_per_hour


@lru_cache(maxsize=4096)
def asked(w: Workload, weights: str | int, instances: int = 1) -> tuple[WeightFormat, StepDemand, float]:
    """What a workload asks of a machine, with weights of a format by its name, or with so many of its width
    to a scale: the format, the step of one of some instances, and bytes of weights and KV caches."""
    model = load_model(w.model)
    fmt = weight_format(weights) if isinstance(weights, str) else uniform_format(w.wbits, weights)
    work = decode_demand(model, fmt, -(-w.batch // instances), w.context)
    return fmt, work, memory_needed(model, fmt, w.batch, w.context)


@dataclass
class _SampledHost:
    """A machine whose cores run one software."""

    machine: SampledMachine
    system: System
    software: Software
    counted: tuple[str, ...]
    known: dict[Any, StepResult | None]
    _constants: dict[int, cpu.CpuFit] = field(default_factory=dict)

    def number(self, w: Workload, quantity: str, prt: bool = True) -> float:
        """A quantity of SAIL's step, NaN where a tile does not fit; without the PRT where that is asked."""
        step = self.step(w, prt) if prt or w.prt else None
        if step is None:
            return math.nan
        return float(
            step.counts.get(READS, math.nan) if quantity == "array_reads" else getattr(step, quantity)
        )

    def step(self, workload: Workload, prt: bool = True) -> StepResult | None:
        """One simulated step; None where a tile does not fit."""
        key = (workload.name, prt, self.machine.group_size)
        if key not in self.known:
            point = workload.point(self.system.name, self.machine.group_size, prt)
            try:
                self.known[key] = time_step(self.system, load_model(workload.model), point, self.counted)
            except SailsimError:
                self.known[key] = None
        return self.known[key]

    def constants(self, wbits: int) -> cpu.CpuFit:
        """Of the software with weights of a width, its kernels as fast as the machine's factors say."""
        if wbits not in self._constants:
            machine = self.machine
            fmt = uniform_format(wbits, machine.group_size)
            constants, rate = cpu.cpu_fit(self.software, fmt, machine.fitted)
            moved = 1.0
            if self.software == "t-mac":
                moved = machine.factor(TABLE_RATE)
            elif self.software == "llama.cpp" and wbits in FEW_BITS:
                moved = rate.relative * machine.factor(FEW_BITS_RATE) / rate.relative
            elif self.software == "llama.cpp" and rate.low != rate.high:
                moved = float(machine.values.get(f"rate.w{wbits}", rate.relative)) / rate.relative
            self._constants[wbits] = replace(constants, kernel_rate=constants.kernel_rate * moved)
        return self._constants[wbits]

    @cached_property
    def area(self) -> Area:
        """Raises NotModelledError where it is not modelled."""
        return area(self.system, self.machine.constants("area", AreaConstants))


def judged(
    space: ParameterSpace,
    machine: SampledMachine,
    metrics: Iterable[Metric] | None = None,
    on: Sequence[int] | None = None,
    memo: Memo | None = None,
) -> dict[Metric, Numbers]:
    """Metrics (None: all) of a machine, (workloads,); NaN where there is no number and on workloads other
    than ``on``."""
    outcomes = SampledOutcomes(space, machine, space.workloads, {} if memo is None else memo)
    chosen = {metric: space.paper.sampled[metric] for metric in metrics or space.paper.sampled}
    answers = {key: np.full(len(space.workloads), math.nan) for key in chosen}
    # Workload by workload: the engine remembers what the units do, which is the same beside every software.
    for at in range(len(space.workloads)) if on is None else on:
        alone = replace(outcomes, workloads=[space.workloads[at]])
        for key, metric in chosen.items():
            (answers[key][at],) = values(metric, alone)
    return answers
