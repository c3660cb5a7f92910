"""A sampled machine on a workload, beside the runners that a paper's claims are about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from sailsim.analysis.baselines import cpu, gpu
from sailsim.analysis.baselines.kernel_rates import Software
from sailsim.analysis.baselines.prediction import Work
from sailsim.analysis.baselines.runners import OF_THE_POINT, SAIL, Runner
from sailsim.analysis.costs.area import AreaConstants, AreaNotModelledError, area
from sailsim.analysis.paper.claims import Paper
from sailsim.analysis.paper.machine import SampledMachine
from sailsim.analysis.paper.parameters import Workload
from sailsim.analysis.paper.space import ParameterSpace
from sailsim.base.errors import SailsimError
from sailsim.sim import Gpu, System, leaves, time_step
from sailsim.sim.room import RESERVED_SHARE, memory_needed
from sailsim.workloads import WeightFormat, decode_step, load_model, weight_format

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

    steps: dict[Any, Step] = field(default_factory=dict)
    cores: dict[Any, float] = field(default_factory=dict)
    cards: dict[Any, float] = field(default_factory=dict)


class SampleEvaluator:
    """A machine, its cores with one software, beside other runners, workload by workload.

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
        self._sheet = cpu.CpuSheet.of(self.system)
        self._constants: dict[int, cpu.Constants] = {}
        self._values = tuple(leaf.value for path, leaf in leaves(self.system).items() if path not in untimed)

    def outcomes(self, workload: Workload) -> dict[str, float]:
        """Every quantity on one workload by its name in a record; those that it cannot have are left out."""
        fmt = self.machine.format(workload.wbits)
        step = self.step(workload)
        found = {of_sail(name): getattr(step, name) for name in STEP}
        found[MEMORY] = _memory(workload.model, fmt, workload.batch, workload.context)
        found[READ_BANDWIDTH] = self.system.memory.read_bandwidth.si
        if workload.prt:
            off = self.step(workload, prt=False)
            found |= {of_sail(name, "prt"): getattr(off, name) for name in WITHOUT_PRT}
        for runner in self._opponents:
            weights = fmt if runner.format == OF_THE_POINT else weight_format(runner.format)
            rate = (self.card if runner.kind == "card" else self.cores)(runner, workload, weights)
            if rate is not None:
                work = _work(workload.model, weights, workload.batch, workload.context)
                found[of_runner(runner.name, "tokens_per_s")] = rate
                found[of_runner(runner.name, "dram_bytes")] = float(work.weight_bytes + work.kv_bytes)
        return found

    def step(self, workload: Workload, prt: bool = True) -> Step:
        """One simulated step."""
        key = (workload.name, prt, self.machine.group_size, self._values)
        if key not in self.memo.steps:
            point = workload.point(self.system.name, self.machine.group_size, prt)
            try:
                result = time_step(self.system, load_model(workload.model), point, self._counted)
            except SailsimError:
                self.memo.steps[key] = Step()
            else:
                self.memo.steps[key] = Step(
                    result.tokens_per_s,
                    result.step_s,
                    float(result.pim_cycles),
                    float(result.counts.get(READS, math.nan)),
                    result.dram_bytes,
                )
        return self.memo.steps[key]

    def cores(self, runner: Runner, workload: Workload, fmt: WeightFormat) -> float:
        """Tokens/s of the same server's cores at the machine's constants, without scatter."""
        constants = self._constants_of(workload.wbits)
        threads = self.system.cores.count.whole if runner.threads == "all" else workload.threads
        sheet = self._sheet
        key = (
            workload.name,
            threads,
            fmt,
            *(float(v) for v in vars(sheet).values()),
            *(float(v) for v in vars(constants).values()),
        )
        if key not in self.memo.cores:
            work = _work(workload.model, fmt, workload.batch, workload.context)
            parts = cpu.step_parts(work, sheet, np.asarray(float(threads)), constants, np.asarray(1.0))
            self.memo.cores[key] = workload.batch / float(sum(parts.values()))
        return self.memo.cores[key]

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

    def card(self, runner: Runner, workload: Workload, fmt: WeightFormat) -> float | None:
        """Tokens/s of a card; None where its memory is too small or the software has no such kernel."""
        software: gpu.GpuSoftware = "serving" if runner.software == "serving" else "llama.cpp"
        if software == "serving" and not (gpu.is_four_bit(fmt) or gpu.is_sixteen_bit(fmt)):
            return None
        card = runner.machine
        assert isinstance(card, Gpu)
        need = _memory(workload.model, fmt, workload.batch, workload.context)
        if need > card.memory_size.si * (1 - RESERVED_SHARE):
            return None
        key = (workload.name, card.name, fmt, software, *self.machine.card_values)
        if key not in self.memo.cards:
            work = _work(workload.model, fmt, workload.batch, workload.context)
            constants = gpu.constants(card.name, fmt, self.machine.fitted, software)
            parts = gpu.step_parts(work, gpu.GpuSheet.of(card), constants)
            self.memo.cards[key] = workload.batch / float(sum(parts.values()))
        return self.memo.cards[key]


@lru_cache(maxsize=512)
def _work(model: str, fmt: WeightFormat, batch: int, context: int) -> Work:
    spec = load_model(model)
    return Work.of(spec, decode_step(spec, fmt, batch, context), batch)


@lru_cache(maxsize=512)
def _memory(model: str, fmt: WeightFormat, batch: int, context: int) -> float:
    return memory_needed(load_model(model), fmt, batch, context)


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
    found: dict[str, list[float]] = {"areas": [math.nan] * len(bases(space.paper))}
    for software in chosen:
        for name in names(opponents, software):
            found[f"{software}/{name}"] = [math.nan] * count
        try:
            evaluator = SampleEvaluator(machine, space.paper, software, memo, untimed)
        except SailsimError:  # no such machine
            continue
        for i, workload in enumerate(space.workloads):
            if only is None or i in only:
                for name, value in evaluator.outcomes(workload).items():
                    found[f"{software}/{name}"][i] = value
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
