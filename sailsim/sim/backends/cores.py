"""CPU backend: a server's cores with fitted software stacks, the baseline that SAIL is compared with.

A step takes

    t = weights / bandwidth(threads) with MACs / (threads * clock * kernel rate), overlapped as far as the
        software does
      + attention MACs / (attention rate * clock * min(threads, heads * batch))
      + KV bytes / bandwidth(threads)
      + operations * threads * barrier
      + (7 layers + 1) * (product overhead, and a loss of every product without a hypervisor),

    bandwidth(threads) = min(threads * core share * line * MSHRs / latency, share * measured read bandwidth).

A decoding step has a constant part of the product overhead, the hand-over; the rest shrinks with the mean
size of matrices below that of the smallest fitted model. T-MAC's weights also pass through look-ups, at
threads ** read power * look-up rate * clock. From `TILED_ROWS` rows of one cache on, attention is tiled: MACs
at a rate of their own, cycles a score, and a barrier of all threads at each head.

Several instances side by side share cores and sequences. They take the time of one instance or of reading
everything of all instances at the share of the bandwidth, whichever is longer (`packed_breakdown`).

The machine (clock, cores, bandwidth, latency, MSHRs) comes from its system file and the model from its
shapes; only the constants of the *software* are fitted (`fits.json`, written by `research/fits/calibration`).
Therefore a fit on one machine carries over to another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Literal, Self

import numpy as np

from sailsim.base.errors import SailsimError
from sailsim.sim.backend import Backend, StepQuery, StepResult, Timer
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.software import fitted
from sailsim.sim.software.fitted import (
    UNMEASURED,
    Fits,
    Floats,
    KernelRate,
    StepDemand,
    core_of,
    fitted_constants,
)
from sailsim.sim.software.kernel_rates import format_problem, format_rate
from sailsim.sim.software.records import FILED, N1, load_software, shipped_records, software_names
from sailsim.sim.step.schedule import CODE_BITS, AttentionModel, CpuSheet, Many
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.graph import Chunk, check_sizes, split_chunks
from sailsim.workloads.models.model import ModelSpec

FASTEST = "best"
"""Choice of the measured software that is the fastest at a point."""
Cache = Literal["separate", "unified"]
CACHES: tuple[Cache, ...] = ("separate", "unified")
"""Cache that a sequence of a batch scans: its own only or, as in llama.cpp, one shared by all."""

FEWEST_THREADS = 8
"""Fewest threads of an instance, as measured, side by side and alone."""
UBATCH = 512
"""Rows that llama.cpp works on at once in prompt processing (its default -ub)."""
LAYER_PRODUCTS = 7
"""Products that a layer waits for, besides the one of the logits. Phi-4, which joins them to four, loses as
much a layer as models with seven: the loss goes by the layer's operations, not by its matrices."""
TILED_ROWS = 8
"""Fewest rows on one cache for which llama.cpp multiplies keys and values by tiles (its sgemm for fp16 on
NEON, read at 0510290e: all threads at each head)."""
PASS_ROWS = 4
"""Rows of a pass: this project's kernels multiply a weight with so many rows once it is unpacked."""
MIXED_NOTE = "Nobody measured prompts and decoding in one step: all rows are multiplied as those of a prompt."
SEVERAL_PROMPTS_NOTE = "Single prompts were measured: several at once are taken as so many rows more."


class CpuBackend(Backend):
    """A server's cores, without an accelerator."""

    kind = "cores"
    software = (*software_names(), FASTEST)

    def refusal(self, query: StepQuery) -> str | None:
        """Reason: a format or a core without kernels of the software, or prompts that were not measured."""
        software = query.software
        if software == FASTEST:
            return None
        assert isinstance(query.machine, System)
        core, record = core_of(query.machine), load_software(software)
        known = fitted_constants().known_on(core)
        has_rates = core in record.measured_on or (record.law == "gain" and record.based_on in known)
        if not has_rates:
            allowed = ", ".join(known)
            return f"software is {software}, which was not measured on {core}; allowed is one of {allowed}."
        fmt = query.fmt.of_model(query.model) if record.program else query.fmt
        problem = format_problem(record, fmt, core)
        return prompt_problem(software) if problem is None and query.prompts else problem

    def _measured(self, query: StepQuery) -> dict[str, StepQuery]:
        """The query for each measured software that is not refused."""
        measured = [record.name for record in shipped_records() if record.is_measured]
        queries = {name: replace(query, software=name) for name in measured}
        return {name: each for name, each in queries.items() if self.refusal(each) is None}

    def timer(self, query: StepQuery) -> Timer:
        """Seconds by the formula of `step`; with `FASTEST`, of the fastest software at each step."""
        if query.software == FASTEST:
            timers = {name: self.timer(each) for name, each in self._measured(query).items()}
            with_prompts = [timer for name, timer in timers.items() if prompt_problem(name) is None]
            return lambda chunks: min(
                timer(chunks) for timer in (with_prompts if split_chunks(chunks)[1] else timers.values())
            )
        assert isinstance(query.machine, System)
        return _timer(query.machine, query.model, query.fmt, query.cores, query.software)

    def step(self, query: StepQuery) -> StepResult:
        """Predict by the software's fitted constants; with `FASTEST`, by those of the fastest software."""
        if query.software == FASTEST:
            results = {name: self.step(each) for name, each in self._measured(query).items()}
            name = max(results, key=lambda name: results[name].tokens_per_s)
            note, best = f"The fastest measured here is {load_software(name).title}.", results[name]
            return replace(best, software=name, notes=(note, *best.notes))
        assert isinstance(query.machine, System)
        machine, point, chunks = query.machine, query.point, query.chunks
        sizes = query.model, query.fmt, query.cores, point.batch, point.context
        prompt = point.context if point.phase == "prefill" else None
        count = None if query.packed and point.phase == "decode" and not chunks else 1
        return predict_cores(
            machine, *sizes, prompt=prompt, software=query.software, instances=count, chunks=chunks
        )


BACKEND = CpuBackend()


@dataclass(frozen=True)
class CpuFit:
    """Fitted constants of one software, scalars or arrays; see `fits.json` for their sources and errors.

    ``kernel_rate`` and ``attention_rate`` are MAC/cycle of one thread.
    """

    read_share: Floats
    """Share of the measured read bandwidth."""
    kernel_rate: Floats
    attention_rate: Floats
    """Rate of measured software; this project's has `program` instead."""
    barrier_s: float
    """Seconds an operation and a thread."""
    overlap: Floats
    """0: weights and arithmetic take turns; 1: the longer hides the shorter."""
    product_s: float | Floats = 0.0
    """Seconds that a matrix product loses besides (uneven last pieces, first misses)."""
    row_s: float | Floats = 0.0
    """Seconds of a row in each layer, whatever the threads: prompts of the fork, and decoding by this
    project's program."""
    hand_over: float | Floats = 1.0
    """Share of ``product_s`` that a product loses however small it is."""
    whole_product: float = 1.0
    """Weights of a mean product from which on it loses all of ``product_s``."""
    read_rate: float = 0.0
    """Bytes of weights a cycle that one thread passes through its look-ups; 0 without tables."""
    read_power: float = 1.0
    """Exponent of the threads in the rate of look-ups."""
    core_share: float = 1.0
    """Share of a core's outstanding misses that the software uses."""
    shared: float | Floats = 0.0
    """Share of a kernel's time that the rows of a pass (`PASS_ROWS`) have in common."""
    output_cycles: float = 0.0
    """Cycles of a pass for each output of a product, however long its column."""
    most_threads: float = np.inf
    """Threads beyond which more of them work no faster."""
    tiled_rate: float = 0.0
    """MAC/cycle of a thread in tiled attention; 0: never tiled."""
    score_cycles: float = 0.0
    """Further cycles of a thread for a score in tiled attention."""
    head_s: float = 0.0
    """Seconds that a thread loses at each head in tiled attention."""
    program: AttentionModel | None = None
    """Attention of this project's program, which prefetches its cache."""
    attention_speed: float = 1.0
    """Factor on the program's speed of attention."""

    def scaled(self, factor: float, attention: bool) -> CpuFit:
        """The constants with ``factor`` on the speed of kernels, and of the program's ``attention`` too."""
        speed = self.attention_speed * factor if attention else self.attention_speed
        rate, output = self.kernel_rate * factor, self.output_cycles / factor
        return replace(self, kernel_rate=rate, output_cycles=output, attention_speed=speed)

    def kernels(self, machine: CpuSheet, macs: Many, outputs: Many, rows: Many, threads: Many) -> Floats:
        """Seconds of products with so many MACs and outputs, over rows that go together in passes."""
        passes = np.ceil(rows / PASS_ROWS) / rows
        cycles = macs / self.kernel_rate * (1 - self.shared * (1 - passes))
        cycles = cycles + outputs * passes * self.output_cycles
        return np.asarray(cycles / (threads * machine.clock))


def step_breakdown(
    work: StepDemand, machine: CpuSheet, threads: Floats, c: CpuFit, shared_by: Floats
) -> dict[str, Floats]:
    """Seconds of each part of a step, which add up to the step; arrays broadcast.

    ``shared_by``: sequences whose cache cells every sequence scans: 1, or the batch with one shared cache.
    """
    threads = np.minimum(threads, c.most_threads)
    bandwidth = machine.bandwidth(threads, c.core_share, c.read_share * machine.read_bandwidth)
    tables = threads**c.read_power * c.read_rate * machine.clock if c.read_rate else np.inf
    weights = work.weight_bytes / np.minimum(bandwidth, tables)
    kernels = c.kernels(machine, work.gemv_macs, work.gemv_outputs, work.rows, threads)
    products = product_count(work)
    size = work.gemv_macs / (work.rows * products)
    lost = c.hand_over + (1 - c.hand_over) * np.minimum(size / c.whole_product, 1.0)
    weights, kernels = fitted.overlapped(weights, kernels, c.overlap)
    cache = work.kv_bytes / bandwidth
    if c.program is None:
        attention = _attention(work, machine, threads, c, shared_by)
    else:
        clock = machine.clock * c.attention_speed
        cache, attention = fitted.attention_times(c.program, cache, work, threads, clock)
    return {
        "weights": weights,
        "kernels": kernels,
        "attention": attention,
        "kv_cache": cache,
        "synchronisation": barriers(work, c) * threads * c.barrier_s
        + products * (c.product_s * lost + machine.bare_metal)
        + work.rows * work.layers * c.row_s,
    }


def barriers(work: StepDemand, c: CpuFit) -> Floats:
    """Number of barriers in a step."""
    return np.asarray(work.operations + work.layers * (c.program.barriers if c.program else 0))


def _attention(work: StepDemand, machine: CpuSheet, threads: Floats, c: CpuFit, shared_by: Floats) -> Floats:
    """Seconds of attention. The key and the value of a score take as many MACs each as a head has
    numbers."""
    macs, width = work.attention_macs * shared_by, np.minimum(threads, work.attention_width)
    plain = machine.multiplying(macs, width, c.attention_rate)
    if not c.tiled_rate:
        return plain
    cycles = macs / c.tiled_rate + macs / (2 * work.head) * c.score_cycles
    heads = work.layers * work.attention_width / work.rows
    tiled = cycles / (threads * machine.clock) + heads * threads * c.head_s
    return np.asarray(np.where(shared_by >= TILED_ROWS, tiled, plain))


def product_count(work: StepDemand) -> Floats:
    """Number of products that a step waits for."""
    return np.asarray(LAYER_PRODUCTS * work.layers + 1)


def packed_breakdown(
    work: StepDemand, machine: CpuSheet, threads: Floats, c: CpuFit, shared_by: Floats, instances: Floats
) -> dict[str, Floats]:
    """Seconds of each part of a step of ``instances`` side by side, which add up to it; arrays broadcast.

    ``work`` and ``threads`` are those of one instance. One process on all cores leaves cores and memory idle
    in turn; with several, one reads while another computes, but each reads the weights for itself. Waiting
    for the others' reads counts as reading of weights. Nothing here is fitted.
    """
    parts = step_breakdown(work, machine, threads, c, shared_by)
    alone = np.asarray(sum(parts.values()))
    together = instances * (work.weight_bytes + work.kv_bytes) / (c.read_share * machine.read_bandwidth)
    waits = np.where(instances > 1, np.maximum(together - alone, 0.0), 0.0)
    return parts | {"weights": np.asarray(parts["weights"] + waits)}


def cpu_fit(
    software: str, fmt: WeightFormat, fitted_by: Fits | None = None, prompts: bool = False, core: str = N1
) -> tuple[CpuFit, KernelRate]:
    """Constants for a format on a core, and the kernel rate with its interval and kind.

    ``fitted_by`` replaces the shipped fits; ``prompts`` selects whole prompts instead of decoding. Raises
    SailsimError for software without constants on that core.
    """
    fit = (fitted_by or fitted_constants()).software(software, core)
    anchor, rate = format_rate(software, fmt, fitted_by, prompts, core)

    def value(name: str, otherwise: float = 0.0) -> float:
        return fit.value(name) if name in fit.constants else otherwise

    return (
        CpuFit(
            read_share=np.asarray(fit.value("read_share")),
            kernel_rate=np.asarray(anchor * rate.relative),
            attention_rate=np.asarray(value("attention_rate")),
            barrier_s=fit.value("barrier") * 1e-9,
            overlap=np.asarray(fit.value("overlap")),
            # The fork's rows have one thread count: what its products lose is in its share of the barrier.
            # A product of this project's program loses nothing but its barrier.
            product_s=value("product_overhead") * 1e-9,
            row_s=value("prompt_row_overhead" if prompts else "row_overhead") * 1e-9,
            hand_over=1.0 if prompts else value("hand_over", 1.0),
            whole_product=value("whole_product", 1.0),
            read_rate=anchor / 8 if load_software(software).law == "look-ups" else 0.0,
            read_power=value("read_power", 1.0),
            core_share=value("core_share", 1.0),
            shared=value("shared") * rate.in_common,
            output_cycles=value("output_cycles"),
            most_threads=value("most_threads", np.inf),
            tiled_rate=0.0 if prompts else value("tiled_rate"),
            score_cycles=value("score_cycles"),
            head_s=value("head_barrier") * 1e-9,
        ),
        rate,
    )


# ---- Predictions ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ProcessBatch:
    """Decoding sequences and chunks of prompts in one process's step."""

    demand_of: fitted.DemandOf
    decoding: tuple[Chunk, ...]
    prompts: tuple[Chunk, ...]

    @classmethod
    def of(
        cls,
        demand_of: fitted.DemandOf,
        batch: int,
        context: int,
        prompt: int | None = None,
        chunks: tuple[Chunk, ...] = (),
    ) -> Self:
        """Batch from the arguments of `predict_cores`."""
        if chunks:
            return cls(demand_of, *split_chunks(chunks))
        if prompt is not None:
            check_sizes(prompt=prompt, batch=batch)
            return cls(demand_of, (), (Chunk(prompt, 0, batch),))
        check_sizes(batch=batch, context=context)
        return cls(demand_of, (Chunk(1, context - 1, batch),), ())

    @cached_property
    def work(self) -> StepDemand:
        """Demand of the step; with prompts the weights are read for every `UBATCH` rows."""
        work = self.demand_of(self.decoding + self.prompts)
        return fitted.with_weight_reads(work, ubatches(int(work.rows))) if self.prompts else work

    @cached_property
    def scans(self) -> Floats:
        """Factor on attention's products with a shared cache: decoding sequences scan the cells of all,
        prompts their own."""
        if not self.prompts:
            return self.work.rows
        if not self.decoding:
            return np.asarray(1.0)
        cells = tuple(each._replace(new=1, before=each.tokens - 1) for each in self.decoding + self.prompts)
        scanned = sum(each.times for each in self.decoding) * self.demand_of(cells).attention_macs
        own = self.demand_of(self.prompts).attention_macs
        return np.asarray((own + scanned) / self.work.attention_macs)

    def fit(self, fit_of: Callable[[bool], CpuFit]) -> CpuFit:
        """Constants of all rows, from those of decoding and of prompts (True).

        A product takes the time of all rows at the rate of prompts, or of the decoding rows alone if longer.
        """
        c = fit_of(bool(self.prompts))
        if not self.prompts or not self.decoding:
            return c
        decoding, work = self.demand_of(self.decoding), self.work
        slowest = np.maximum(work.gemv_macs / c.kernel_rate, decoding.gemv_macs / fit_of(False).kernel_rate)
        by_prompts = 1 - decoding.rows / work.rows
        return replace(c, kernel_rate=work.gemv_macs / slowest, row_s=c.row_s * by_prompts)

    def kinds(self, parameters: int, threads: int, instances: int, metal: bool | None) -> list[str]:
        """Kinds of the prediction (`fitted.prediction_kinds`), of decoding and of prompts."""
        phases = [is_prompt for is_prompt, own in ((False, self.decoding), (True, self.prompts)) if own]
        of_process = parameters, threads, instances, metal
        return [kind for each in phases for kind in fitted.prediction_kinds(self.work, each, *of_process)]


def instance_counts(threads: int, batch: int) -> tuple[int, ...]:
    """Numbers of instances to try: one, or more with at least a sequence and `FEWEST_THREADS` each."""
    return tuple(range(1, max(1, min(batch, threads // FEWEST_THREADS)) + 1))


def ubatches(rows: int) -> int:
    """Number of times that llama.cpp reads its weights for some rows."""
    return -(-rows // UBATCH)


def predict_cores(
    system: System,
    model: ModelSpec,
    fmt: WeightFormat,
    threads: int,
    batch: int = 1,
    context: int = 64,
    *,
    prompt: int | None = None,
    software: str = FILED,
    cache: Cache | None = None,
    instances: int | None = 1,
    chunks: tuple[Chunk, ...] = (),
) -> StepResult:
    """Predict a step: decoding of ``batch`` sequences of ``context`` tokens, or ``batch`` prompts of
    ``prompt`` tokens up to the first token, or a mixed step of ``chunks`` in one process.

    Raises SailsimError for more threads than cores, more instances than sequences or threads, weights that
    the software does not multiply on that core, and prompts that were not measured.

    Args:
        instances: processes that share threads and sequences evenly, so that the one with most sequences
            sets the pace; None: the fastest number, of equals the smallest.
        cache: "unified": each sequence scans the cells of all, as in measured software; "separate": its own,
            as in this project's kernels, and the lower end of the interval holds the other. None: as in the
            software, but "separate" on a machine with units.
    """
    record = load_software(software)
    own_program = bool(record.program)
    fmt = fmt.of_model(model) if own_program else fmt  # other software's rate is of a whole mix
    cache = cache or _default_cache(system, software)
    demand_of = partial(fitted.step_demand, model, fmt)
    whole = ProcessBatch.of(demand_of, batch, context, prompt, chunks)
    unified = bool(whole.decoding) and cache == "unified"
    if problem := _problem(system, threads, batch, bool(whole.prompts), software, cache, instances):
        raise SailsimError(problem)
    core, machine = core_of(system), CpuSheet.of(system)
    _, rate = cpu_fit(software, fmt, prompts=bool(whole.prompts), core=core)
    c = whole.fit(_fits(software, fmt, model, core))

    def batch_of(count: int) -> ProcessBatch:
        return whole if count == 1 else ProcessBatch.of(demand_of, -(-batch // count), context)

    def breakdown(count: int, c: CpuFit, shared: bool) -> dict[str, float]:
        own, each = batch_of(count), np.asarray(float(threads // count))
        shared_by = own.scans if shared else np.asarray(1.0)
        parts = packed_breakdown(own.work, machine, each, c, shared_by, np.asarray(float(count)))
        return {name: float(seconds) for name, seconds in parts.items()}

    if instances is None:
        counts = instance_counts(threads, batch)
        instances = min(counts, key=lambda count: sum(breakdown(count, c, unified).values()))
    count, rows = instances, batch_of(instances)
    own_threads, work = threads // count, rows.work
    unpacking = _unpacking_seconds(system, model, software, work, float(own_threads))

    def unpacked(c: CpuFit, shared: bool) -> dict[str, float]:
        parts = breakdown(count, c, shared)
        return parts | {"attention": parts["attention"] + unpacking * float(rows.scans if shared else 1.0)}

    parts = unpacked(c, unified)
    seconds = sum(parts.values())
    # The interval holds the scatter of measurements, the intervals of rates, and the other cache.
    fit = fitted_constants().software(software, core)
    low, high = (c.scaled(end / rate.relative, own_program) for end in (rate.low, rate.high))
    if own_program:
        high = replace(high, shared=float(fit.constants["shared"].high or 0.0) * rate.in_common)
    if c.read_rate:
        power = fit.constants["read_power"]
        low = replace(low, read_power=float(power.low or c.read_power))
        high = replace(high, read_power=float(power.high or c.read_power))
    unified_by_itself = record.cache == "unified"
    slow = sum(unpacked(low, bool(rows.decoding) and unified_by_itself).values())
    fast = sum(unpacked(high, unified).values())
    metal = None if system.host.bare_metal is None else bool(machine.bare_metal)
    kinds = ["decode"] if own_program else rows.kinds(model.n_params, own_threads, count, metal)
    if own_program and count > 1:
        kinds.append("packed")
    factors = fitted.joined_interval(fit, kinds).widened(slow / seconds, seconds / fast)
    tokens = int(work.rows) if chunks else batch * (prompt or 1)
    notes = list(_software_notes(core, software, fmt, rate, bool(rows.prompts), own_threads))
    titles = {} if record.serves else fitted.KINDS  # a server's intervals are of its own rows
    notes += [f"The interval has that of {titles[kind]}." for kind in kinds if kind in titles]
    if count > 1:
        notes.append(
            f"{count} instances side by side, each with {own_threads} threads and at most "
            f"{work.rows:.0f} of the sequences."
        )
    if rows.decoding and work.rows > 1 and unified_by_itself:
        notes.append(
            "Every sequence scans the cache of all, as this software does."
            if unified
            else "Batches were measured with one cache for all sequences: the interval's lower end has it."
        )
    as_codes = own_program and model.kv_bits == CODE_BITS
    notes += fitted.model_notes(replace(model, kv_bits=16, kv_scale_bits=0) if as_codes else model, tokens)
    notes += [SEVERAL_PROMPTS_NOTE] if sum(chunk.times for chunk in rows.prompts) > 1 else []
    notes += [MIXED_NOTE] if rows.prompts and rows.decoding and not record.serves else []
    read = count * float(work.weight_bytes), float(work.kv_bytes if count == 1 else whole.work.kv_bytes)
    return fitted.predicted_step(tokens, parts, factors, read, notes, count)


def _fits(software: str, fmt: WeightFormat, model: ModelSpec, core: str) -> Callable[[bool], CpuFit]:
    """Constants of decoding and of prompts (True), which raise SailsimError where none were measured."""

    @cache
    def fit(prompts: bool) -> CpuFit:
        if prompts and (problem := prompt_problem(software)):
            raise SailsimError(problem)
        c, _ = cpu_fit(software, fmt, prompts=prompts, core=core)
        if program := load_software(software).program:
            return replace(c, program=AttentionModel.of(load_system(program).host, model.kv_bits))
        return c

    return fit


def _default_cache(system: System, software: str) -> Cache:
    """The software's cache; on a machine with units their program's, so that only the products differ."""
    units = system.has_pim or system.accelerator is not None
    return "separate" if units else load_software(software).cache


def _unpacking_seconds(
    system: System, model: ModelSpec, software: str, work: StepDemand, threads: float
) -> float:
    """Seconds in which the cores round and unpack keys and values of few bits."""
    if load_software(software).program:
        return 0.0  # part of the program's attention
    vectors = system.cores.clock.si * system.cores.fp32_flops.value * system.host.simd_share.value
    return float(work.cache_flops) / (threads * vectors)


def _timer(system: System, model: ModelSpec, fmt: WeightFormat, threads: int, software: str) -> Timer:
    """Seconds of `predict_cores` for one process."""
    fmt = fmt.of_model(model) if load_software(software).program else fmt
    demand_of, sheet = fitted.mixed_demand(model, fmt), CpuSheet.of(system)
    cache, fits = _default_cache(system, software), _fits(software, fmt, model, core_of(system))
    if problem := _problem(system, threads, 1, False, software, cache, 1):
        raise SailsimError(problem)

    def seconds(chunks: tuple[Chunk, ...]) -> float:
        rows = ProcessBatch(demand_of, *split_chunks(chunks))
        scans = rows.scans if cache == "unified" and rows.decoding else np.asarray(1.0)
        parts = step_breakdown(rows.work, sheet, np.asarray(float(threads)), rows.fit(fits), scans)
        unpacking = _unpacking_seconds(system, model, software, rows.work, threads)
        return float(sum(parts.values())) + unpacking * float(scans)

    return seconds


def _problem(
    system: System, threads: int, batch: int, prompts: bool, software: str, cache: str, instances: int | None
) -> str | None:
    """Reason why the arguments of `predict_cores` are refused, None if they are not."""
    cores, most = system.cores.count.whole, max(1, min(batch, threads))
    if prompts and (unmeasured := prompt_problem(software)):
        return unmeasured
    if prompts and instances != 1:
        return f"instances is {instances or 'best'}, allowed with a prompt is 1"
    if instances is not None and not 1 <= instances <= most:
        return f"instances is {instances}, allowed is 1..{most}, a sequence and a thread for each"
    if not 1 <= threads <= cores:
        return f"threads is {threads}, allowed is 1..{cores}, the cores of {system.name}"
    if cache not in CACHES:
        return f"cache is {cache!r}, allowed is one of {', '.join(CACHES)}"
    if cache != "separate" == load_software(software).cache:
        return f"cache is {cache!r}, allowed for {load_software(software).title} is 'separate'"
    return None


def prompt_problem(software: str) -> str | None:
    """Reason why a software's prompts are not predicted, None if they are."""
    *others, last = (record.name for record in shipped_records() if not record.no_prompts)
    why = load_software(software).no_prompts
    return (why and f"{why}; allowed for phase prefill is {', '.join(others)} or {last}.") or None


def _software_notes(
    core: str, software: str, fmt: WeightFormat, rate: KernelRate, prompts: bool, threads: int
) -> Iterator[str]:
    record = load_software(software)
    yield from record.notes.always
    if core != N1 and record.notes.elsewhere:
        yield record.notes.elsewhere.format(core=core)
    if not record.notes.always or record.notes.elsewhere:
        yield from _core_notes(core, software)
    if rate.kind == "assumed":
        yield (
            f"{UNMEASURED} {fmt.name} on this software: its kernel is assumed at {rate.relative:.3g} "
            f"({rate.low:.3g}..{rate.high:.3g}) of the fitted rate ({rate.note})."
        )
    if not record.is_measured:
        return
    if rate.how:
        yield (
            f"{UNMEASURED} {fmt.name} on this chip: its kernel runs at {rate.relative:.2f} "
            f"({rate.low:.2f}..{rate.high:.2f}) of the measured four-bit rate, {rate.how}."
        )
    if prompts and record.notes.prompts:
        yield record.notes.prompts
    fewest = fitted_constants().fewest_threads
    if threads < fewest:
        yield f"Fewer threads than the {fewest} of the smallest measured machine: extrapolated."


def _core_notes(core: str, software: str) -> Iterator[str]:
    if fitted_constants().software(software, core).constants["attention_rate"].kind == "assumed":
        yield (
            f"Of llama.cpp on {core} only the kernels were measured: its other constants lie between those "
            "of the cores that it was measured on."
        )
