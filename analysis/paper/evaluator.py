"""What claims are on a sampled machine, workload by workload.

`SampledOutcomes` asks the engine and the backends' formulas for what a metric needs and no more, all
workloads at once: SAIL's step on a machine whose cores run one software, the same server's cores, cards. It
is `results.runs` for a machine of the space: equal at the nominal one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from sailsim.analysis.costs.area import Area, AreaConstants, area
from sailsim.analysis.costs.constants import NotModelledError
from sailsim.analysis.costs.dollars import (
    HOUR_S,
    CostConstants,
    prices,
    vcpus_needed,
    vcpus_of_share,
)
from sailsim.analysis.paper.claims import Choice, Metric, Numbers, values
from sailsim.analysis.paper.machine import FEW_BITS, FEW_BITS_RATE, TABLE_RATE, SampledMachine
from sailsim.analysis.paper.unknowns import ParameterSpace, scatter_of
from sailsim.analysis.results.prior import Workload
from sailsim.analysis.results.runs import OF_THE_POINT, SAIL, Runner
from sailsim.base.errors import SailsimError
from sailsim.sim.backend import StepResult, memory_needed, memory_of
from sailsim.sim.backends import cores as cpu
from sailsim.sim.backends import roofline as gpu
from sailsim.sim.backends.cores import Software
from sailsim.sim.engine import time_step
from sailsim.sim.files import leaves
from sailsim.sim.fitted import Work, decode_work
from sailsim.sim.schedule import CpuSheet
from sailsim.sim.system import Gpu, System
from sailsim.workloads.formats import uniform_format, weight_format
from sailsim.workloads.load import load_model

READS = "prt_misses"
"""What counts reads of the arrays by look-ups: every one that no PRT serves."""
Values = Mapping[Metric, Numbers]
"""Of every metric of sampled machines, (machines, workloads) or (workloads,)."""


@dataclass(frozen=True)
class Memo:
    """What is known within a block of machines or a search."""

    steps: dict[tuple[Any, ...], dict[Any, StepResult | None]] = field(default_factory=dict)
    """By the values of the machine, then by what is asked of it."""
    work: dict[tuple[Any, ...], _Work] = field(default_factory=dict)
    """By the choice of weights and the workloads."""


@dataclass
class SampledOutcomes:
    """A machine on some workloads of its space, as `claims.Outcomes`: numbers have an entry a workload."""

    space: ParameterSpace
    machine: SampledMachine
    workloads: Sequence[Workload]
    memo: Memo = field(default_factory=Memo)
    _hosts: dict[Software, _Host | None] = field(default_factory=dict)
    _rates: dict[str, tuple[Numbers, Numbers]] = field(default_factory=dict)

    def of(
        self, runner: str, quantity: str, beside: str | None = None, without: Choice | None = None
    ) -> Numbers:
        """As `Outcomes.of`; rates of others than SAIL are those of one measured machine, with its scatter."""
        opponent = None if runner == SAIL else self.space.paper.opponents[runner]
        near = opponent if beside is None else self.space.paper.opponents[beside]
        software = self.space.software if near is None else self.space.host_of(near)
        host = self.host(software)
        if host is None:
            return np.full(len(self.workloads), math.nan)
        if not quantity.startswith("tokens_per_"):
            return host.steps(quantity, without)
        if opponent is None:
            rate = host.steps("tokens_per_s")
        else:
            rate = self.predicted(host, opponent)[0] * self.machine.factor(scatter_of(opponent))
        if quantity == "tokens_per_s":
            return rate
        return rate * HOUR_S / self.usd_per_hour(host, opponent, quantity.removeprefix("tokens_per_usd_"))

    def host(self, software: Software) -> _Host | None:
        """The machine with a software on its cores; None where there is no such machine."""
        if software not in self._hosts:
            try:
                system = self.machine.system(software)
            except SailsimError:
                self._hosts[software] = None
            else:
                own = tuple(leaf.value for leaf in leaves(system).values())
                known = self.memo.steps.setdefault(own, {})
                reads = any(metric.saved == "array_reads" for metric in self.space.paper.sampled.values())
                counted = (READS,) if reads else ()  # beside a step's time, where a claim is about it
                self._hosts[software] = _Host(self.machine, system, software, self.workloads, counted, known)
        return self._hosts[software]

    def area_share(self, counted: str, base: str) -> Numbers:
        """Added area over what there is, the same on every workload; NaN where it is not modelled."""
        host = self.host(self.space.software)
        try:
            share = math.nan if host is None else host.area.share(counted, base)
        except NotModelledError:
            share = math.nan
        return np.full(len(self.workloads), share)

    # --- Dollars ---

    def usd_per_hour(self, host: _Host, opponent: Runner | None, payment: str) -> Numbers:
        """What an hour costs, SAIL's with its overhead; as `dollars.usd_per_hour`, on a server of as many
        vCPUs as the machine has cores."""
        if opponent is not None and opponent.kind == "card":
            return np.asarray(prices().of(opponent.hardware).usd_per_hour)
        named = self.machine.values.get("cost.instance")
        servers = {price.instance: price for price in self.space.servers}
        price = self.space.servers[0] if named is None else servers[str(named)]
        cores = float(host.system.cores.count.whole)
        if payment == "whole" or (opponent is not None and opponent.paid == "whole"):
            paid = np.full(len(self.workloads), cores)
        else:
            every = opponent is not None and opponent.threads == "all"
            threads = np.array([cores if every else float(w.threads) for w in self.workloads])
            paid = vcpus_needed(price, threads, self.work(OF_THE_POINT).memory)
            if payment == "bandwidth":
                paid = vcpus_of_share(paid, self._bandwidth_share(host, opponent), cores)
            paid = np.minimum(paid, cores)
        hour = price.usd_per_hour / price.units * paid
        overhead = self.machine.constants("cost", CostConstants).overhead
        return hour * (1 + overhead) if opponent is None or opponent.overhead else hour

    def _bandwidth_share(self, host: _Host, opponent: Runner | None) -> Numbers:
        """Of what reading cores reach, the part that a run takes, by its predicted rate."""
        sail = host.steps("tokens_per_s")
        rate, moved = (sail, host.steps("dram_bytes")) if opponent is None else self.predicted(host, opponent)
        tokens = sail * host.steps("step_s")
        return np.minimum(1.0, moved / tokens * rate / host.system.memory.read_bandwidth.si)

    # --- Baselines: every call of a model of cores or cards is here ---

    def work(self, weights: str) -> _Work:
        """What decoding asks of a machine, with weights of the point or of a format by its name."""
        choice = self.machine.group_size if weights == OF_THE_POINT else weights
        key = (choice, *(w.name for w in self.workloads))
        if key not in self.memo.work:
            self.memo.work[key] = _Work(self.workloads, choice)
        return self.memo.work[key]

    def predicted(self, host: _Host, opponent: Runner) -> tuple[Numbers, Numbers]:
        """Tokens/s of another runner without scatter, and the bytes that a step moves; NaN where it cannot
        run."""
        if opponent.name not in self._rates:
            work = self.work(opponent.format)
            if opponent.kind == "card":
                rate, weights = self._card(opponent, work), work.of_a_step.weight_bytes
            else:
                rate, weights = self._cores(host, opponent, work)
            moved = np.where(np.isnan(rate), math.nan, weights + work.of_a_step.kv_bytes)
            self._rates[opponent.name] = rate, moved
        return self._rates[opponent.name]

    def _cores(self, host: _Host, opponent: Runner, work: _Work) -> tuple[Numbers, Numbers]:
        """Tokens/s of the server's cores at the machine's constants, and the bytes of weights of a step; with
        as many instances as are the fastest for each workload, of equals the fewest, where it is packed."""
        of_each = [host.constants(w.wbits) for w in self.workloads]
        # A software's constants differ in the rates of its kernels alone.
        constants = replace(of_each[0], kernel_rate=np.array([float(c.kernel_rate) for c in of_each]))
        every = float(host.system.cores.count.whole)
        threads = np.array([every if opponent.threads == "all" else float(w.threads) for w in self.workloads])
        one, sheet = np.asarray(1.0), CpuSheet.of(host.system)
        if opponent.instances == "one":
            parts = cpu.step_parts(work.of_a_step, sheet, threads, constants, one)
            return np.asarray(work.of_a_step.rows / sum(parts.values())), work.of_a_step.weight_bytes
        of, instances, packed = work.packed(tuple(threads.astype(int).tolist()))
        own = replace(constants, kernel_rate=np.asarray(constants.kernel_rate)[of])
        each = np.floor(threads[of] / instances)
        seconds = np.asarray(sum(cpu.packed_parts(packed, sheet, each, own, one, instances).values()))
        best = np.array([np.flatnonzero(of == i)[np.argmin(seconds[of == i])] for i in range(len(threads))])
        rate = np.asarray(work.of_a_step.rows / seconds[best])
        return rate, (instances * packed.weight_bytes)[best]

    def _card(self, opponent: Runner, work: _Work) -> Numbers:
        """Tokens/s of a card; NaN where its memory is too small or the software has no such kernel."""
        software: gpu.GpuSoftware = "serving" if opponent.software == "serving" else "llama.cpp"
        card = opponent.machine
        assert isinstance(card, Gpu)
        formats = [fmt for _, fmt, _ in work.every]
        known = {fmt: gpu.constants(card, fmt, self.machine.fitted, software) for fmt in set(formats)}
        constants = gpu.GpuConstants.stack([known[fmt] for fmt in formats])
        parts = gpu.step_parts(work.of_a_step, gpu.GpuSheet.of(card), constants)
        kernels = [gpu.without_kernels(f, software) is None for f in formats]
        fits = work.memory <= memory_of(card)
        return np.where(fits & kernels, work.of_a_step.rows / sum(parts.values()), math.nan)


@dataclass
class _Host:
    """A machine whose cores run one software, on some workloads."""

    machine: SampledMachine
    system: System
    software: Software
    workloads: Sequence[Workload]
    counted: tuple[str, ...]
    known: dict[Any, StepResult | None]
    _constants: dict[int, cpu.Constants] = field(default_factory=dict)

    def steps(self, quantity: str, without: Choice | None = None) -> Numbers:
        """A quantity of SAIL's steps, NaN where a tile does not fit; without the PRT where that is asked."""
        steps = [self.step(w, without is None) if without is None or w.prt else None for w in self.workloads]
        return np.array([_quantity(step, quantity) for step in steps], dtype=np.float64)

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

    def constants(self, wbits: int) -> cpu.Constants:
        """Of the software with weights of a width, its kernels as fast as the machine's factors say."""
        if wbits not in self._constants:
            machine = self.machine
            fmt = uniform_format(wbits, machine.group_size)
            constants, rate = cpu.constants(self.software, fmt, machine.fitted)
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


def _quantity(step: StepResult | None, name: str) -> float:
    if step is None:
        return math.nan
    return float(step.counts.get(READS, math.nan) if name == "array_reads" else getattr(step, name))


class _Work:
    """Workloads with weights of one choice: what their steps ask of a machine, an entry each."""

    def __init__(self, workloads: Sequence[Workload], weights: str | int) -> None:
        """``weights``: a format by its name, or the workloads' widths with so many to a scale."""
        formats = [
            weight_format(weights) if isinstance(weights, str) else uniform_format(w.wbits, weights)
            for w in workloads
        ]
        self.every = [(load_model(w.model), fmt, w) for w, fmt in zip(workloads, formats, strict=True)]
        works = [decode_work(model, fmt, w.batch, w.context) for model, fmt, w in self.every]
        self.of_a_step = Work.stack(works)
        self.memory: Numbers = np.array(
            [memory_needed(m, fmt, w.batch, w.context) for m, fmt, w in self.every]
        )
        """Bytes of weights and KV caches."""
        self._packed: dict[tuple[int, ...], tuple[Any, Numbers, Work]] = {}

    def packed(self, threads: tuple[int, ...]) -> tuple[Any, Numbers, Work]:
        """Every packing of every workload on so many threads: the workload's place, instances, and the work
        of one of them."""
        if threads not in self._packed:
            tried = [
                (i, count, decode_work(m, fmt, -(-w.batch // count), w.context))
                for i, ((m, fmt, w), cores) in enumerate(zip(self.every, threads, strict=True))
                for count in cpu.packings(cores, w.batch)
            ]
            places, counts, works = zip(*tried, strict=True)
            self._packed[threads] = np.array(places), np.array(counts, dtype=float), Work.stack(list(works))
        return self._packed[threads]


def judged(
    space: ParameterSpace,
    machine: SampledMachine,
    metrics: Iterable[Metric] | None = None,
    on: Sequence[int] | None = None,
    memo: Memo | None = None,
) -> dict[Metric, Numbers]:
    """Metrics (None: all) of a machine, (workloads,); NaN where there is no number and on workloads other
    than ``on``."""
    asked = list(range(len(space.workloads)) if on is None else on)
    outcomes = SampledOutcomes(space, machine, [space.workloads[i] for i in asked], memo or Memo())
    chosen = {metric: space.paper.sampled[metric] for metric in metrics or space.paper.sampled}
    opponents = [space.paper.opponents[m.runner] for m in chosen.values() if m.runner is not None]
    softwares = dict.fromkeys([space.software, *map(space.host_of, opponents)])
    # The units do the same beside every software: workload by workload the engine remembers what they do.
    hosts = [host for host in map(outcomes.host, softwares) if host is not None]
    for workload in outcomes.workloads:
        for host in hosts:
            host.step(workload)
    answers = {}
    for key, metric in chosen.items():
        answers[key] = np.full(len(space.workloads), math.nan)
        answers[key][asked] = values(metric, outcomes)
    return answers
