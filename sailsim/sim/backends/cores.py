"""A server's cores alone: fitted software stacks, the baseline that SAIL is compared with.

A step takes

    t = weights / bandwidth(threads) and MACs / (threads * clock * kernel rate), of which the shorter hides
    behind
        the longer as far as the software overlaps them,
      + attention MACs / (attention rate * clock * min(threads, heads * batch)) + KV bytes /
      bandwidth(threads) + operations * threads * barrier + (7 layers + 1) * product overhead (and what every
      product loses where no hypervisor runs),

    bandwidth(threads) = min(threads * core share * line * MSHRs / latency, share * measured read bandwidth).

Of the product overhead a decoding step keeps a hand-over however small the matrices; the rest shrinks with
their mean size below that of the smallest fitted model. T-MAC's weights also pass through look-ups, which do
not scale as threads do: threads ** read power * look-up rate * clock. From `TILED_ROWS` rows of one cache on
attention goes by tiles: MACs at their rate, cycles a score, and all threads meet at each head.

Several instances side by side, each on some of the cores with some of the sequences, take the longer of that,
for one of them, and of what all of them read together at the share of the bandwidth (`packed_parts`).

Everything about the machine (clock, cores, bandwidth, latency, MSHRs) comes from its system file and
everything about the model from its shapes; only the constants of the *software* are fitted (`fits.json`,
written by `research/fits/calibration`). That is why a fit on one machine carries over to another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Literal, Self, cast

import numpy as np

from sailsim.base.errors import SailsimError
from sailsim.sim.backend import Backend, StepQuery, StepResult, Timer
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.software.fitted import (
    KINDS,
    N1,
    SIMULATED_HOST,
    UNMEASURED,
    Fits,
    Floats,
    KernelRate,
    StepDemand,
    WorkOf,
    by_phases,
    core_of,
    counted_work,
    fitted_constants,
    interval_of_kinds,
    kinds_of,
    model_notes,
    overlapped,
    predicted,
    read_again,
    works_of,
)
from sailsim.sim.software.kernel_rates import rate_of, without_kernels, without_tables
from sailsim.sim.step.schedule import CODE_BITS, AttentionModel, CpuSheet, Many
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.graph import Chunk, check_sizes, split
from sailsim.workloads.models.model import ModelSpec

Software = Literal["llama.cpp", "ampere", "t-mac", "vllm", "t-sar", "neon", "neon-lut"]
SOFTWARE: Mapping[Software, str] = {
    "llama.cpp": "llama.cpp build 4753, April 2025",
    "ampere": "Ampere's llama.cpp fork, release 2.0.0",
    "t-mac": "T-MAC, look-up tables on the cores, commit 7042f8f7",
    "vllm": "vLLM, bf16, of 2026",
    "t-sar": "T-SAR, tables in vector registers by new instructions, as its authors simulated them",
    "neon": "NEON kernels of this project, as gem5 runs them",
    "neon-lut": "look-up tables in NEON of this project, as gem5 runs them",
}
SIMULATED: tuple[Software, ...] = ("neon", "neon-lut")
"""Software whose rates are of gem5's model of a core, not measured on a machine."""
CLAIMED: Mapping[Software, Software] = {"t-sar": "t-mac"}
"""Software whose speed is its authors' claim of a simulation, over another one, whose constants it has."""
MEASURED = tuple(name for name in SOFTWARE if name not in (*SIMULATED, *CLAIMED))
AROUND: Mapping[str, str] = {"t-mac": "llama.cpp", "t-sar": "llama.cpp", "neon-lut": "neon"}
"""Software that only multiplies matrices in its own way, and whose attention and norms it runs."""
SERVING: Software = "vllm"
"""Serves requests alone: its steps are known, but not its attention around units."""
OWN_CACHES = (*SIMULATED, SERVING)
"""Software whose sequences each scan their own cache."""
FASTEST = "best"
"""Of the measured stacks: whichever is the fastest at a point."""
Cache = Literal["separate", "unified"]
CACHES: tuple[Cache, ...] = ("separate", "unified")
"""Whether a sequence of a batch scans its own cache only or, as llama.cpp does, one shared by all."""

FEWEST_THREADS = 8
"""Threads of an instance: as few as were measured, side by side and alone."""
UBATCH = 512
"""Rows that llama.cpp works on at once in prompt processing (its default -ub)."""
LAYER_PRODUCTS = 7
"""Products that a layer waits for, beside the one of the logits. Phi-4, which joins them to four, loses as
much a layer as models with seven: what is lost goes by the layer's operations, not by its matrices."""
TILED_ROWS = 8
"""Rows that scan one cache from which on llama.cpp multiplies keys and values by tiles (its sgemm for fp16 on
NEON, read at 0510290e: all threads at each head)."""
ROWS_OF_A_PASS = 4
"""Rows of a batch that this project's kernels multiply with a weight once it is unpacked."""
SIMULATION = (
    "Simulated, not measured: steps of 1 to 16 threads and 1 to 8 rows on gem5's model of a Neoverse N1, "
    "which is calibrated on load latencies alone; the interval moves its kernels and attention by a fifth."
)
CLAIM = (
    "Simulated by its authors on other cores, not measured: T-MAC's tables, times the ends of the gains that "
    "they claim, and in the middle their geometric mean. Its weights are -1, 0 and 1. Its joules lack "
    "what its instructions add."
)
EXTRAPOLATED = (
    "vLLM was measured on Neoverse N2 with models of 0.1 and 2.6e9 parameters and at most 1,280 tokens: all "
    "else is extrapolated."
)
ONE_MODEL = "What several rows of a table kernel have in common is known from SmolLM2's steps alone."
_SAID: Mapping[str, Sequence[str]] = {
    **{"neon": [SIMULATION], "neon-lut": [SIMULATION, ONE_MODEL]},
    **{"t-sar": [CLAIM], "vllm": [EXTRAPOLATED]},
}
"""What is said of a software whatever the core."""
MIXED = "Nobody measured prompts and decoding in one step: all rows are multiplied as those of a prompt."
SEVERAL_PROMPTS = "Single prompts were measured: several at once are taken as so many rows more."


class CpuBackend(Backend):
    """A server's cores alone do everything."""

    kind = "cores"
    software = (*SOFTWARE, FASTEST)

    def refusal(self, asked: StepQuery) -> str | None:
        """Weights or a core that the software has no kernels of its own for, or prompts not measured."""
        software = asked.software
        if software == FASTEST:
            return None
        assert isinstance(asked.machine, System)
        core = core_of(asked.machine)
        known = fitted_constants().known_on(core)
        if CLAIMED.get(cast(Software, software), software) not in known:
            allowed = ", ".join(known)
            return f"software is {software}, which was not measured on {core}; allowed is one of {allowed}."
        problem = without_tables(asked.fmt, software) if software in ("t-mac", "t-sar") else None
        if software in SIMULATED:
            problem = without_kernels(asked.fmt.of_model(asked.model))
        if software == SERVING and asked.fmt.name != "bf16":
            problem = (
                f"weights are {asked.fmt.name}; allowed for vLLM is bf16: no rows of its int4 are at hand."
            )
        if problem is None and asked.prompts:
            return without_prompts(software)
        return problem

    def _measured(self, asked: StepQuery) -> dict[Software, StepQuery]:
        """The same of each measured software that is not refused."""
        every = {name: replace(asked, software=name) for name in MEASURED}
        return {name: each for name, each in every.items() if self.refusal(each) is None}

    def timer(self, asked: StepQuery) -> Timer:
        """By the same formula; of `FASTEST`, by the one that is the fastest at each step."""
        if asked.software == FASTEST:
            timers = {name: self.timer(each) for name, each in self._measured(asked).items()}
            with_prompts = [timer for name, timer in timers.items() if without_prompts(name) is None]
            return lambda pieces: min(
                timer(pieces) for timer in (with_prompts if split(pieces)[1] else timers.values())
            )
        assert isinstance(asked.machine, System)
        return _timer(asked.machine, asked.model, asked.fmt, asked.cores, cast(Software, asked.software))

    def step(self, asked: StepQuery) -> StepResult:
        """By the software's fitted constants; of `FASTEST`, by all that run it."""
        if asked.software == FASTEST:
            results = {name: self.step(each) for name, each in self._measured(asked).items()}
            first = max(results, key=lambda name: results[name].tokens_per_s)
            note, best = f"The fastest measured here is {SOFTWARE[first]}.", results[first]
            return replace(best, software=first, notes=(note, *best.notes))
        assert isinstance(asked.machine, System)
        point = asked.point
        return predict_cores(
            asked.machine,
            asked.model,
            asked.fmt,
            asked.cores,
            point.batch,
            point.context,
            prompt=point.context if point.phase == "prefill" else None,
            software=cast(Software, asked.software),
            instances=None if asked.packed and point.phase == "decode" and not asked.pieces else 1,
            pieces=asked.pieces,
        )


BACKEND = CpuBackend()


@dataclass(frozen=True)
class CpuFit:
    """The fitted constants of one software; see `fits.json` for their sources and errors.

    ``read_share`` of the measured read bandwidth; ``kernel_rate`` and ``attention_rate`` in MAC/cycle of one
    thread; ``barrier_s`` seconds an operation and a thread; ``overlap`` 0 (weights and arithmetic take turns)
    to 1 (the longer hides the shorter); ``product_s`` seconds that a matrix product loses besides (uneven
    last pieces, first misses); ``row_s`` seconds that a row loses a layer, whatever the threads, which
    prompts of the fork and decoding by this project's program were seen to do. Scalars or arrays.
    """

    read_share: Floats
    kernel_rate: Floats
    attention_rate: Floats
    """Of measured software; of this project's `program` has it."""
    barrier_s: float
    overlap: Floats
    product_s: float | Floats = 0.0
    row_s: float | Floats = 0.0
    hand_over: float | Floats = 1.0
    """Of ``product_s``, what a product loses however small it is."""
    whole_product: float = 1.0
    """Weights of a mean product from which on it loses all of ``product_s``."""
    read_rate: float = 0.0
    """Bytes of weights a cycle that one thread passes through its look-ups; 0 without tables."""
    read_power: float = 1.0
    """Power of the threads that look-ups read with together."""
    core_share: float = 1.0
    """Of what a core can have under way, what its software does have."""
    shared: float | Floats = 0.0
    """Share of a kernel's time that the rows of a pass (`ROWS_OF_A_PASS`) have in common."""
    output_cycles: float = 0.0
    """Of a pass, for each output of a product, however long its column."""
    most_threads: float = np.inf
    """Threads beyond which more of them work no faster."""
    tiled_rate: float = 0.0
    """MAC/cycle of a thread in attention by tiles; 0: not by tiles, whatever the rows."""
    score_cycles: float = 0.0
    """Cycles of a thread for a score besides, by tiles."""
    head_s: float = 0.0
    """Seconds that a thread loses at each head, by tiles."""
    program: AttentionModel | None = None
    """Attention as this project's program does it, which reads its cache ahead."""
    attention_speed: float = 1.0
    """How many times as fast it computes."""

    def moved(self, factor: float, attention: bool) -> CpuFit:
        """With kernels of another speed, and ``attention`` too, where both are rates of one model."""
        speed = self.attention_speed * factor if attention else self.attention_speed
        rate, output = self.kernel_rate * factor, self.output_cycles / factor
        return replace(self, kernel_rate=rate, output_cycles=output, attention_speed=speed)

    def kernels(self, machine: CpuSheet, macs: Many, outputs: Many, rows: Many, threads: Many) -> Floats:
        """Seconds of products with so many MACs and outputs, over rows that go together in passes."""
        passes = np.ceil(rows / ROWS_OF_A_PASS) / rows
        cycles = macs / self.kernel_rate * (1 - self.shared * (1 - passes))
        cycles = cycles + outputs * passes * self.output_cycles
        return np.asarray(cycles / (threads * machine.clock))


def step_parts(
    work: StepDemand, machine: CpuSheet, threads: Floats, c: CpuFit, shared_by: Floats
) -> dict[str, Floats]:
    """Seconds of each part of a step; they sum to the step. Arrays broadcast.

    ``shared_by``: sequences whose cache cells every sequence scans: 1, or the batch where all share one
    cache.
    """
    threads = np.minimum(threads, c.most_threads)
    bandwidth = machine.bandwidth(threads, c.core_share, c.read_share * machine.read_bandwidth)
    tables = threads**c.read_power * c.read_rate * machine.clock if c.read_rate else np.inf
    weights = work.weight_bytes / np.minimum(bandwidth, tables)
    kernels = c.kernels(machine, work.gemv_macs, work.gemv_outputs, work.rows, threads)
    products = products_of(work)
    size = work.gemv_macs / (work.rows * products)
    lost = c.hand_over + (1 - c.hand_over) * np.minimum(size / c.whole_product, 1.0)
    weights, kernels = overlapped(weights, kernels, c.overlap)
    cache = work.kv_bytes / bandwidth
    if c.program is None:
        attention = _attention(work, machine, threads, c, shared_by)
    else:
        cache, attention = by_phases(c.program, cache, work, threads, machine.clock * c.attention_speed)
    return {
        "weights": weights,
        "kernels": kernels,
        "attention": attention,
        "kv_cache": cache,
        "synchronisation": meetings(work, c) * threads * c.barrier_s
        + products * (c.product_s * lost + machine.bare_metal)
        + work.rows * work.layers * c.row_s,
    }


def meetings(work: StepDemand, c: CpuFit) -> Floats:
    """Barriers of a step."""
    return np.asarray(work.operations + work.layers * (c.program.barriers if c.program else 0))


def _attention(work: StepDemand, machine: CpuSheet, threads: Floats, c: CpuFit, shared_by: Floats) -> Floats:
    """Seconds of attention: a score takes as many MACs with its key and its value as a head has numbers."""
    macs, width = work.attention_macs * shared_by, np.minimum(threads, work.attention_width)
    plain = machine.multiplying(macs, width, c.attention_rate)
    if not c.tiled_rate:
        return plain
    cycles = macs / c.tiled_rate + macs / (2 * work.head) * c.score_cycles
    heads = work.layers * work.attention_width / work.rows
    tiled = cycles / (threads * machine.clock) + heads * threads * c.head_s
    return np.asarray(np.where(shared_by >= TILED_ROWS, tiled, plain))


def products_of(work: StepDemand) -> Floats:
    """Products that a step waits for."""
    return np.asarray(LAYER_PRODUCTS * work.layers + 1)


def packed_parts(
    work: StepDemand, machine: CpuSheet, threads: Floats, c: CpuFit, shared_by: Floats, instances: Floats
) -> dict[str, Floats]:
    """Seconds of each part of a step of ``instances`` side by side; they sum to the step. Arrays broadcast.

    ``work`` and ``threads`` are those of one instance. One process on all cores leaves them and the memory
    idle in turn; of several, one reads while another computes, but each reads the weights for itself. What an
    instance waits for the others' reading counts as reading of weights. Nothing in it is fitted.
    """
    parts = step_parts(work, machine, threads, c, shared_by)
    alone = np.asarray(sum(parts.values()))
    together = instances * (work.weight_bytes + work.kv_bytes) / (c.read_share * machine.read_bandwidth)
    waits = np.where(instances > 1, np.maximum(together - alone, 0.0), 0.0)
    return parts | {"weights": np.asarray(parts["weights"] + waits)}


def constants(
    software: Software,
    fmt: WeightFormat,
    fitted_by: Fits | None = None,
    prompts: bool = False,
    core: str = N1,
) -> tuple[CpuFit, KernelRate]:
    """The constants for a format on a core, and what is known of its kernel rate (range, kind).

    ``fitted_by`` takes the place of the shipped fits; ``prompts``: of whole prompts, not of decoding. Raises
    SailsimError for a software that nothing is known of on that core.
    """
    fitted = (fitted_by or fitted_constants()).software(CLAIMED.get(software, software), core)
    anchor, rate = rate_of(software, fmt, fitted_by, prompts, core)

    def known(name: str, otherwise: float = 0.0) -> float:
        return fitted.value(name) if name in fitted.constants else otherwise

    return (
        CpuFit(
            read_share=np.asarray(fitted.value("read_share")),
            kernel_rate=np.asarray(anchor * rate.relative),
            attention_rate=np.asarray(known("attention_rate")),
            barrier_s=fitted.value("barrier") * 1e-9,
            overlap=np.asarray(fitted.value("overlap")),
            # The fork's rows have one thread count: what its products lose is in its share of the barrier.
            # Of this project's program a product loses nothing but its barrier.
            product_s=known("product_overhead") * 1e-9,
            row_s=known("prompt_row_overhead" if prompts else "row_overhead") * 1e-9,
            hand_over=1.0 if prompts else known("hand_over", 1.0),
            whole_product=known("whole_product", 1.0),
            read_rate=anchor / 8 if software == "t-mac" else 0.0,
            read_power=known("read_power", 1.0),
            core_share=known("core_share", 1.0),
            shared=known("shared") * rate.in_common,
            output_cycles=known("output_cycles"),
            most_threads=known("most_threads", np.inf),
            tiled_rate=0.0 if prompts else known("tiled_rate"),
            score_cycles=known("score_cycles"),
            head_s=known("head_barrier") * 1e-9,
        ),
        rate,
    )


# ---- Predictions ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ProcessBatch:
    """What one process works on in a step: sequences that decode and pieces of prompts."""

    works: WorkOf
    decoding: tuple[Chunk, ...]
    prompts: tuple[Chunk, ...]

    @classmethod
    def of(
        cls,
        works: WorkOf,
        batch: int,
        context: int,
        prompt: int | None = None,
        pieces: tuple[Chunk, ...] = (),
    ) -> Self:
        """As `predict_cores` is asked."""
        if pieces:
            return cls(works, *split(pieces))
        if prompt is not None:
            check_sizes(prompt=prompt, batch=batch)
            return cls(works, (), (Chunk(prompt, 0, batch),))
        check_sizes(batch=batch, context=context)
        return cls(works, (Chunk(1, context - 1, batch),), ())

    @cached_property
    def work(self) -> StepDemand:
        """Of all; the weights are read for every `UBATCH` rows where there are prompts."""
        work = self.works(self.decoding + self.prompts)
        return read_again(work, ubatches(int(work.rows))) if self.prompts else work

    @cached_property
    def scans(self) -> Floats:
        """How many times as many products attention has where all sequences share a cache: those that decode
        scan the cells of all, prompts their own."""
        if not self.prompts:
            return self.work.rows
        if not self.decoding:
            return np.asarray(1.0)
        cells = tuple(
            piece._replace(new=1, before=piece.tokens - 1) for piece in self.decoding + self.prompts
        )
        scanned = sum(piece.times for piece in self.decoding) * self.works(cells).attention_macs
        return np.asarray((self.works(self.prompts).attention_macs + scanned) / self.work.attention_macs)

    def constants(self, known: Callable[[bool], CpuFit]) -> CpuFit:
        """The constants of all rows, from those of decoding and of prompts (True).

        A product takes what all rows take at the rate of prompts, and no less than those that decode by
        themselves.
        """
        c = known(bool(self.prompts))
        if not self.prompts or not self.decoding:
            return c
        decoding, work = self.works(self.decoding), self.work
        slowest = np.maximum(work.gemv_macs / c.kernel_rate, decoding.gemv_macs / known(False).kernel_rate)
        by_prompts = 1 - decoding.rows / work.rows
        return replace(c, kernel_rate=work.gemv_macs / slowest, row_s=c.row_s * by_prompts)

    def kinds(self, parameters: int, threads: int, instances: int, metal: bool | None) -> list[str]:
        """The kinds of predictions that it is, by `kinds_of`."""
        there = [is_prompt for is_prompt in (False, True) if (self.prompts if is_prompt else self.decoding)]
        asked = parameters, threads, instances, metal
        return [kind for each in there for kind in kinds_of(self.work, each, *asked)]


def packings(threads: int, batch: int) -> tuple[int, ...]:
    """Numbers of instances that are tried: each has a sequence and `FEWEST_THREADS`, or there is one."""
    return tuple(range(1, max(1, min(batch, threads // FEWEST_THREADS)) + 1))


def ubatches(rows: int) -> int:
    """How often llama.cpp reads its weights for some rows."""
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
    software: Software = "llama.cpp",
    cache: Cache | None = None,
    instances: int | None = 1,
    pieces: tuple[Chunk, ...] = (),
) -> StepResult:
    """A step of token generation with ``batch`` sequences of ``context`` tokens, or of processing ``batch``
    prompts of ``prompt`` tokens, whose seconds are those to the first token; or a mixed step of ``pieces``
    in the place of all three, by one process.

    ``instances`` processes share out threads and sequences evenly, so that the one with most sequences sets
    the pace; None: as many as are the fastest, of equals the fewest. ``cache`` "unified": each sequence scans
    the cells of all, as measured software does; "separate": its own alone, as this project's kernels do, and
    then the lower end of the interval has the other. None: as the software does, on a machine with units as
    their program does, which has one each.

    Raises SailsimError for more threads than cores, more instances than sequences or threads, weights that
    the software does not multiply on that core, and prompts where none were measured.
    """
    simulated = software in SIMULATED
    fmt = fmt.of_model(model) if simulated else fmt  # measured software's rate is of a whole mix
    cache = cache or _cache_of(system, software)
    works = partial(counted_work, model, fmt)
    every = ProcessBatch.of(works, batch, context, prompt, pieces)
    unified = bool(every.decoding) and cache == "unified"
    if problem := _problem(system, threads, batch, bool(every.prompts), software, cache, instances):
        raise SailsimError(problem)
    core, machine = core_of(system), CpuSheet.of(system)

    def rows_of(count: int) -> ProcessBatch:
        return every if count == 1 else ProcessBatch.of(works, -(-batch // count), context)

    _, rate = constants(software, fmt, prompts=bool(every.prompts), core=core)
    c = every.constants(_known(software, fmt, model, core))

    def step(count: int, by: CpuFit, shared: bool) -> dict[str, float]:
        own, each = rows_of(count), float(threads // count)
        shared_by = own.scans if shared else np.asarray(1.0)
        arrays = packed_parts(own.work, machine, np.asarray(each), by, shared_by, np.asarray(float(count)))
        return {name: float(seconds) for name, seconds in arrays.items()}

    if instances is None:
        tried = packings(threads, batch)
        instances = min(tried, key=lambda count: sum(step(count, c, unified).values()))
    rows, count = rows_of(instances), instances
    work = rows.work

    def whole(by: CpuFit, shared: bool) -> dict[str, float]:
        parts = step(count, by, shared)
        unpacking = _unpacking(system, model, software, work, float(threads // count))
        return parts | {"attention": parts["attention"] + unpacking * float(rows.scans if shared else 1.0)}

    parts = whole(c, unified)
    seconds = sum(parts.values())
    # What the interval must hold beside the scatter of measurements: the ranges of rates, the other cache.
    known = fitted_constants().software(CLAIMED.get(software, software), core)
    low, high = c.moved(rate.low / rate.relative, simulated), c.moved(rate.high / rate.relative, simulated)
    if simulated:
        high = replace(high, shared=float(known.constants["shared"].high or 0.0) * rate.in_common)
    if c.read_rate:
        power = known.constants["read_power"]
        low = replace(low, read_power=float(power.low or c.read_power))
        high = replace(high, read_power=float(power.high or c.read_power))
    slow, fast = (
        sum(whole(by, shared).values())
        for by, shared in ((low, bool(rows.decoding) and software not in OWN_CACHES), (high, unified))
    )
    metal = None if system.host.bare_metal is None else bool(machine.bare_metal)
    kinds = ["decode"] if simulated else rows.kinds(model.n_params, threads // count, count, metal)
    if simulated and count > 1:
        kinds.append("packed")
    factors = interval_of_kinds(known, kinds).widened(slow / seconds, seconds / fast)
    tokens = int(work.rows) if pieces else batch * (prompt or 1)
    notes = list(_software_notes(core, software, fmt, rate, bool(rows.prompts), threads // count))
    said = {} if software == SERVING else KINDS  # whose intervals are of its own rows
    notes += [f"The interval has that of {said[kind]}." for kind in kinds if kind in said]
    if count > 1:
        notes.append(
            f"{count} instances side by side, each with {threads // count} threads and at most "
            f"{work.rows:.0f} of the sequences."
        )
    if rows.decoding and work.rows > 1 and software not in OWN_CACHES:
        notes.append(
            "Every sequence scans the cache of all, as this software does."
            if unified
            else "Batches were measured with one cache for all sequences: the interval's lower end has it."
        )
    as_codes = simulated and model.kv_bits == CODE_BITS
    of_model = model_notes(replace(model, kv_bits=16, kv_scale_bits=0) if as_codes else model, tokens)
    notes += [*of_model, *([SEVERAL_PROMPTS] if sum(piece.times for piece in rows.prompts) > 1 else [])]
    notes += [MIXED] if rows.prompts and rows.decoding and software != SERVING else []
    read = count * float(work.weight_bytes), float(work.kv_bytes if count == 1 else every.work.kv_bytes)
    return predicted(tokens, parts, factors, read, notes, count)


def _known(software: Software, fmt: WeightFormat, model: ModelSpec, core: str) -> Callable[[bool], CpuFit]:
    """The constants of decoding and of prompts (True). Raises SailsimError for prompts not measured."""

    @cache
    def known(prompts: bool) -> CpuFit:
        if prompts and (problem := without_prompts(software)):
            raise SailsimError(problem)
        c, _ = constants(software, fmt, prompts=prompts, core=core)
        if software in SIMULATED:
            return replace(c, program=AttentionModel.of(load_system(SIMULATED_HOST).host, model.kv_bits))
        return c

    return known


def _cache_of(system: System, software: Software) -> Cache:
    """Beside units software has the caches of their program, so that the products alone differ."""
    beside = system.has_pim or system.accelerator is not None
    return "separate" if software in OWN_CACHES or beside else "unified"


def _unpacking(
    system: System, model: ModelSpec, software: Software, work: StepDemand, threads: float
) -> float:
    """Seconds in which the cores round and unpack keys and values of few bits."""
    if software in SIMULATED:
        return 0.0  # it is in what the program takes
    vectors = system.cores.clock.si * system.cores.fp32_flops.value * system.host.simd_share.value
    return float(work.cache_flops) / (threads * vectors)


def _timer(system: System, model: ModelSpec, fmt: WeightFormat, threads: int, software: Software) -> Timer:
    """`predict_cores` of one process, its seconds alone."""
    fmt = fmt.of_model(model) if software in SIMULATED else fmt
    works, sheet, many = works_of(model, fmt), CpuSheet.of(system), np.asarray(float(threads))
    kept, known = _cache_of(system, software), _known(software, fmt, model, core_of(system))
    if problem := _problem(system, threads, 1, False, software, kept, 1):
        raise SailsimError(problem)

    def seconds(pieces: tuple[Chunk, ...]) -> float:
        rows = ProcessBatch(works, *split(pieces))
        scans = rows.scans if kept == "unified" and rows.decoding else np.asarray(1.0)
        parts = step_parts(rows.work, sheet, many, rows.constants(known), scans)
        unpacking = _unpacking(system, model, software, rows.work, threads)
        return float(sum(parts.values())) + unpacking * float(scans)

    return seconds


def _problem(
    system: System, threads: int, batch: int, prompts: bool, software: str, cache: str, instances: int | None
) -> str | None:
    """Why there is no such step: prompts where none were measured, more instances than have work, and what
    no step has."""
    cores, most = system.cores.count.whole, max(1, min(batch, threads))
    if prompts and (unmeasured := without_prompts(software)):
        return unmeasured
    if prompts and instances != 1:
        return f"instances is {instances or 'best'}, allowed with a prompt is 1"
    if instances is not None and not 1 <= instances <= most:
        return f"instances is {instances}, allowed is 1..{most}, a sequence and a thread for each"
    if not 1 <= threads <= cores:
        return f"threads is {threads}, allowed is 1..{cores}, the cores of {system.name}"
    if software not in SOFTWARE:
        return f"software is {software!r}, allowed is one of {', '.join(SOFTWARE)}"
    if cache not in CACHES:
        return f"cache is {cache!r}, allowed is one of {', '.join(CACHES)}"
    if cache != "separate" and software in OWN_CACHES:
        return f"cache is {cache!r}, allowed for {SOFTWARE[software]} is 'separate'"
    return None


def without_prompts(software: str) -> str | None:
    """Why a software's prompts are not predicted, None if they are."""
    reasons: dict[str, str] = {
        "t-mac": "T-MAC's prompts were measured on a Snapdragon X Elite alone, another core than these",
        "t-sar": "T-SAR's prompts are not modelled",
        **{name: f"{SOFTWARE[name]}, decode alone" for name in SIMULATED},
    }
    why = reasons.get(software)
    return why and f"{why}; allowed for phase prefill is llama.cpp, ampere or vllm."


def _software_notes(
    core: str, software: Software, fmt: WeightFormat, rate: KernelRate, prompts: bool, threads: int
) -> Iterator[str]:
    """What the notes say of a software, its kernels and the threads of a process."""
    simulated = software in SIMULATED
    yield from _SAID[software] if software in _SAID else _core_notes(core, software)
    if rate.kind == "assumed":
        yield (
            f"{UNMEASURED} {fmt.name} on this software: its kernel is assumed at {rate.relative:.3g} "
            f"({rate.low:.3g}..{rate.high:.3g}) of the fitted rate ({rate.note})."
        )
    if simulated or software in CLAIMED:
        return
    if rate.how:
        yield (
            f"{UNMEASURED} {fmt.name} on this chip: its kernel runs at {rate.relative:.2f} "
            f"({rate.low:.2f}..{rate.high:.2f}) of the measured four-bit rate, {rate.how}."
        )
    if software == "t-mac":
        yield (
            "T-MAC was measured on one and two threads of a Cortex-A76, Neoverse N1's sibling, and one row "
            "at a time: more threads read as those of three other chips did; the interval has their range."
        )
    if prompts and software == "ampere":
        yield (
            "The fork's prompts were measured on an Altra with 48 to 80 threads, 512 tokens each: all else "
            "is extrapolated."
        )
    fewest = fitted_constants().fewest_threads
    if threads < fewest:
        yield f"Fewer threads than the {fewest} of the smallest measured machine: extrapolated."


def _core_notes(core: str, software: Software) -> Iterator[str]:
    """What is said of a core where a software was not measured on it."""
    assumed = fitted_constants().software(software, core).constants["attention_rate"].kind == "assumed"
    tables = software == "t-mac" and core != N1
    between = "lie between those of the cores that it was measured on."
    if tables:
        yield f"T-MAC was not measured on {core}: its look-ups are those of {N1}, by vector pipes."
    if assumed:
        yield f"Of llama.cpp on {core} only the kernels were measured: its other constants {between}"
