"""A sampled machine on a workload, beside the runners that a paper's claims are about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.analysis.costs.area import AreaConstants, AreaNotModelledError, area
from sailsim.analysis.paper.claims import Paper
from sailsim.analysis.paper.machine import SampledMachine
from sailsim.analysis.paper.parameters import Workload
from sailsim.analysis.paper.space import ParameterSpace
from sailsim.analysis.results.runs import OF_THE_POINT, SAIL, Runner
from sailsim.base.errors import SailsimError
from sailsim.sim.backend import RESERVED_SHARE, memory_needed
from sailsim.sim.backends import cores as cpu
from sailsim.sim.backends import roofline as gpu
from sailsim.sim.backends.cores import Software, packings
from sailsim.sim.engine import time_step
from sailsim.sim.fitted import Work, decode_work
from sailsim.sim.host import CpuSheet
from sailsim.sim.same import Same
from sailsim.sim.system import Gpu, System
from sailsim.sim.vary import leaves
from sailsim.workloads.formats import WeightFormat, uniform_format, weight_format
from sailsim.workloads.graph import decode_step
from sailsim.workloads.load import load_model

Rates = NDArray[np.float64]
"""Numbers of one machine, an entry a workload."""

STEP = ("tokens_per_s", "step_s", "pim_cycles", "array_reads", "dram_bytes")
"""What is kept of a simulated step; reads of the arrays by look-ups where a claim is about them."""
READS = "prt_misses"
"""What counts them: every look-up that no PRT serves."""
WITHOUT_PRT = ("step_s", "pim_cycles", "array_reads")
"""What is kept of the same without the PRT."""


def of_sail(name: str, without: str | None = None) -> str:
    """The name of a quantity of SAIL in a record."""
    return f"{SAIL}.{name}" + ("" if without is None else f".without_{without}")


def of_runner(runner: str, name: str) -> str:
    """The name of a quantity of another runner in a record."""
    return f"{runner}.{name}"


MEMORY, READ_BANDWIDTH = of_sail("memory_bytes"), of_sail("read_bandwidth")
"""Bytes of weights and KV cache; bytes/s of DRAM that reading cores reach."""
OF_SAIL = (*(of_sail(name) for name in STEP), *(of_sail(name, "prt") for name in WITHOUT_PRT))
"""What another design changes."""


@dataclass(frozen=True)
class Step:
    """What is kept of a simulated step, as `STEP`; NaN where a tile does not fit."""

    tokens_per_s: float = math.nan
    step_s: float = math.nan
    pim_cycles: float = math.nan
    array_reads: float = math.nan
    dram_bytes: float = math.nan


@dataclass
class Memo:
    """What has been computed already, within a block or a search."""

    steps: dict[tuple[Any, ...], dict[Any, Step]] = field(default_factory=dict)
    """By the values of the machine that a step's time depends on, then by what is asked of it."""
    cards: dict[Any, Rates] = field(default_factory=dict)


class SampleEvaluator:
    """A machine, its cores with one software, beside other runners, on some workloads together.

    What was computed is kept in `memo`.
    """

    def __init__(
        self,
        machine: SampledMachine,
        paper: Paper,
        software: Software,
        memo: Memo | None = None,
        untimed: frozenset[str] = frozenset(),
    ) -> None:
        """``untimed``: fields of the machine that no step's time depends on, as `screen` finds them."""
        self.machine, self.software, self.memo = machine, software, memo if memo is not None else Memo()
        self.system: System = machine.system(software)
        self._opponents = [
            r for r in paper.opponents("samples") if r.kind == "card" or r.software == software
        ]
        reads = any(metric.saved == "array_reads" for metric in paper.metrics("samples"))
        self._counted = (READS,) if reads else ()
        self._sheet = CpuSheet.of(self.system)
        self._constants: dict[int, cpu.Constants] = {}
        own = tuple(leaf.value for path, leaf in leaves(self.system).items() if path not in untimed)
        self._steps = self.memo.steps.setdefault(own, {})

    def outcomes(self, workloads: tuple[Workload, ...]) -> dict[str, Rates]:
        """Every quantity by its name in a record, an array over some workloads; NaN where it cannot have
        one."""
        steps, without = zip(*(self.steps(workload) for workload in workloads), strict=True)
        found = {of_sail(name): np.array([getattr(step, name) for step in steps]) for name in STEP}
        own = _asked(workloads, self.machine.group_size)
        found[MEMORY] = own.memory
        found[READ_BANDWIDTH] = np.full(len(workloads), self.system.memory.read_bandwidth.si)
        for name in WITHOUT_PRT:
            found[of_sail(name, "prt")] = np.array([getattr(step, name) for step in without])
        for runner in self._opponents:
            asked = own if runner.format == OF_THE_POINT else _asked(workloads, runner.format)
            if runner.kind == "card":
                rates, weights = self.card(runner, asked), asked.work.weight_bytes
            else:
                rates, weights = self.cores(runner, asked)
            found[of_runner(runner.name, "tokens_per_s")] = rates
            moved = weights + asked.work.kv_bytes
            found[of_runner(runner.name, "dram_bytes")] = np.where(np.isnan(rates), np.nan, moved)
        return found

    def steps(self, workload: Workload) -> tuple[Step, Step]:
        """One simulated step, and the same without the PRT where that is asked."""
        return self.step(workload), self.step(workload, prt=False) if workload.prt else Step()

    def step(self, workload: Workload, prt: bool = True) -> Step:
        """One simulated step."""
        key = (workload.name, prt, self.machine.group_size)
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = self._timed(workload, prt)
        return found

    def _timed(self, workload: Workload, prt: bool) -> Step:
        """The step as the engine has it; without a number where a tile does not fit."""
        point = workload.point(self.system.name, self.machine.group_size, prt)
        try:
            result = time_step(self.system, load_model(workload.model), point, self._counted)
        except SailsimError:
            return Step()
        return Step(
            result.tokens_per_s,
            result.step_s,
            float(result.pim_cycles),
            float(result.counts.get(READS, math.nan)),
            result.dram_bytes,
        )

    def cores(self, runner: Runner, asked: _Asked) -> tuple[Rates, Rates]:
        """Tokens/s of the same server's cores at the machine's constants, without scatter, and the bytes of
        weights that they read in a step."""
        of_each = [self._constants_of(workload.wbits) for workload in asked.workloads]
        # A software's constants differ in the rates of its kernels alone.
        constants = replace(of_each[0], kernel_rate=np.array([float(c.kernel_rate) for c in of_each]))
        all_of_them = float(self.system.cores.count.whole)
        threads = np.full(len(of_each), all_of_them) if runner.threads == "all" else asked.threads
        if runner.instances == "one":
            parts = cpu.step_parts(asked.work, self._sheet, threads, constants, np.asarray(1.0))
            return np.asarray(asked.work.rows / sum(parts.values())), asked.work.weight_bytes
        return self._packed(asked, threads, constants)

    def _packed(self, asked: _Asked, threads: Rates, constants: cpu.Constants) -> tuple[Rates, Rates]:
        """As `cores` with as many instances as are the fastest for each workload; of equals, the fewest."""
        of, instances, work = asked.packed(tuple(threads.astype(int).tolist()))
        own = replace(constants, kernel_rate=np.asarray(constants.kernel_rate)[of])
        each = np.floor(threads[of] / instances)
        parts = cpu.packed_parts(work, self._sheet, each, own, np.asarray(1.0), instances)
        seconds = np.asarray(sum(parts.values()))
        best = np.array([np.flatnonzero(of == i)[np.argmin(seconds[of == i])] for i in range(len(threads))])
        return np.asarray(asked.work.rows / seconds[best]), (instances * work.weight_bytes)[best]

    def _constants_of(self, wbits: int) -> cpu.Constants:
        if wbits not in self._constants:
            constants, rate = cpu.constants(self.software, self.machine.format(wbits), self.machine.fitted)
            if self.software == "llama.cpp":  # whose kernels the factors `rate.w*` are about
                moved = self.machine.relative_rate(rate, wbits) / rate.relative
                constants = replace(constants, kernel_rate=constants.kernel_rate * moved)
            elif self.software == "t-mac":
                moved = self.machine.table_rate
                constants = replace(constants, kernel_rate=constants.kernel_rate * moved)
            self._constants[wbits] = constants
        return self._constants[wbits]

    def card(self, runner: Runner, asked: _Asked) -> Rates:
        """Tokens/s of a card; NaN where its memory is too small or the software has no such kernel."""
        key = (runner.name, asked, *self.machine.card_values)
        if key not in self.memo.cards:
            self.memo.cards[key] = self._card(runner, asked)
        return self.memo.cards[key]

    def _card(self, runner: Runner, asked: _Asked) -> Rates:
        software: gpu.GpuSoftware = "serving" if runner.software == "serving" else "llama.cpp"
        card = runner.machine
        assert isinstance(card, Gpu)
        constants = {
            fmt: gpu.constants(card, fmt, self.machine.fitted, software)
            for fmt in dict.fromkeys(asked.formats)
        }
        of_each = gpu.GpuConstants.stack([constants[fmt] for fmt in asked.formats])
        parts = gpu.step_parts(asked.work, gpu.GpuSheet.of(card), of_each)
        kernels = [
            software != "serving" or gpu.is_four_bit(fmt) or gpu.is_sixteen_bit(fmt) for fmt in asked.formats
        ]
        fits = asked.memory <= card.memory_size.si * (1 - RESERVED_SHARE)
        return np.where(fits & kernels, asked.work.rows / sum(parts.values()), np.nan)


class _Asked:
    """Workloads, each with the format of a runner's weights; equal to itself alone."""

    def __init__(self, workloads: tuple[Workload, ...], formats: tuple[WeightFormat, ...]) -> None:
        self.workloads, self.formats = workloads, formats
        models = [load_model(workload.model) for workload in workloads]
        every = list(zip(models, formats, workloads, strict=True))
        steps = [Work.of(m, decode_step(m, fmt, w.batch, w.context), w.batch) for m, fmt, w in every]
        self.work = Work.stack(steps)
        """What their steps ask of a machine, an entry each."""
        self.memory: Rates = np.array([memory_needed(m, fmt, w.batch, w.context) for m, fmt, w in every])
        """Bytes of their weights and KV caches."""
        self.threads: Rates = np.array([float(workload.threads) for workload in workloads])
        """As the point has them."""
        self._every = every
        self._packings: dict[tuple[int, ...], tuple[NDArray[np.int_], Rates, Work]] = {}

    def packed(self, threads: tuple[int, ...]) -> tuple[NDArray[np.int_], Rates, Work]:
        """Every packing of every workload on so many threads: the workload's place, instances, and the work
        of one of them."""
        if threads not in self._packings:
            tried = [
                (i, count, decode_work(m, fmt, -(-w.batch // count), w.context))
                for i, ((m, fmt, w), cores) in enumerate(zip(self._every, threads, strict=True))
                for count in packings(cores, w.batch)
            ]
            places, counts, works = zip(*tried, strict=True)
            self._packings[threads] = (
                np.array(places),
                np.array(counts, dtype=float),
                Work.stack(list(works)),
            )
        return self._packings[threads]


def _asked(workloads: tuple[Workload, ...], weights: int | str) -> _Asked:
    """Workloads with weights of their own widths, so many to a scale, or of a format by its name."""
    return _asked_by(tuple(map(Same, workloads)), weights)


@lru_cache(maxsize=64)
def _asked_by(workloads: tuple[Same[Workload], ...], weights: int | str) -> _Asked:
    found = tuple(workload.it for workload in workloads)
    if isinstance(weights, str):
        return _Asked(found, (weight_format(weights),) * len(found))
    return _Asked(found, tuple(uniform_format(workload.wbits, weights) for workload in found))


def evaluate_machine(
    space: ParameterSpace,
    machine: SampledMachine,
    stacks: Sequence[Software] | None = None,
    memo: Memo | None = None,
    untimed: frozenset[str] = frozenset(),
    only: Sequence[int] | None = None,
) -> dict[str, list[float]]:
    """The record of a machine: every quantity, a list over the workloads, with values on those of ``only``.

    Names are those of `SampleEvaluator.outcomes` behind `<software>/`, for each of ``stacks`` (None: the
    nominal one's) on the machine's cores; `areas` has the shares of area that claims are about (`bases`). NaN
    where a machine cannot run it or nobody asked.
    """
    chosen = (space.software,) if stacks is None else stacks
    count = len(space.workloads)
    opponents = space.paper.opponents("samples")
    known = memo if memo is not None else Memo()
    asked = range(count) if only is None else only
    workloads = tuple(space.workloads[i] for i in asked)
    found: dict[str, list[float]] = {"areas": [math.nan] * len(bases(space.paper))}
    evaluators: dict[Software, SampleEvaluator] = {}
    for software in chosen:
        for name in names(opponents, software):
            found[f"{software}/{name}"] = [math.nan] * count
        with suppress(SailsimError):  # no such machine
            evaluators[software] = SampleEvaluator(machine, space.paper, software, known, untimed)
    # The units do the same beside every software: workload by workload the engine remembers what they do.
    for workload in workloads:
        for evaluator in evaluators.values():
            evaluator.steps(workload)
    for software, evaluator in evaluators.items():
        for name, values in evaluator.outcomes(workloads).items():
            of_each = found[f"{software}/{name}"]
            for i, value in zip(asked, values.tolist(), strict=True):
                of_each[i] = value
        if software == space.software:
            found["areas"] = areas(space.paper, evaluator.system, machine)
    return found


def names(opponents: Sequence[Runner], software: Software) -> tuple[str, ...]:
    """Every name of `SampleEvaluator.outcomes` of a machine whose cores run a software."""
    own = [r.name for r in opponents if r.kind == "card" or r.software == software]
    others = [of_runner(name, quantity) for name in own for quantity in ("tokens_per_s", "dram_bytes")]
    return (*OF_SAIL, MEMORY, READ_BANDWIDTH, *others)


def bases(paper: Paper) -> tuple[tuple[str, str], ...]:
    """What a paper's claims about area count, and of what it is a share."""
    return tuple(
        (metric.counted, metric.base)
        for metric in paper.metrics("samples")
        if metric.counted is not None and metric.base is not None
    )


def areas(paper: Paper, system: System, machine: SampledMachine) -> list[float]:
    """Shares of area that a machine adds, by `bases`; NaN where they are not modelled."""
    wanted = bases(paper)
    try:
        found = area(system, machine.constants("area", AreaConstants))
    except AreaNotModelledError:
        return [math.nan] * len(wanted)
    return [found.share(counted, base) for counted, base in wanted]
