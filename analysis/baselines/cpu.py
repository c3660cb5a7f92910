"""Decoding and prompt processing on the cores of a server: the baseline that SAIL is compared with.

A step takes

    t = weights / bandwidth(threads) and MACs / (threads * clock * kernel rate), of which the shorter hides
    behind
        the longer as far as the software overlaps them,
      + attention MACs / (attention rate * clock * min(threads, heads * batch)) + KV bytes /
      bandwidth(threads) + operations * threads * barrier + products * product overhead,

    bandwidth(threads) = min(threads * core share * line * MSHRs / latency, share * measured read bandwidth).

Several instances side by side, each on some of the cores with some of the sequences, take the longer of that,
for one of them, and of what all of them read together at the share of the bandwidth (`packed_parts`).

Everything about the machine (clock, cores, bandwidth, latency, MSHRs) comes from its system file and
everything about the model from its shapes; only the constants of the *software* are fitted (`fits.json`,
written by `research/calibration`). That is why a fit on one machine carries over to another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import exp, hypot, log
from typing import Literal

import numpy as np

from sailsim.analysis.baselines.core_kinds import N1, core_of
from sailsim.analysis.baselines.cpu_software import SIMULATED, SOFTWARE, software_notes
from sailsim.analysis.baselines.fitted import Band, Fitted, fitted_constants
from sailsim.analysis.baselines.kernel_rates import KernelRate, Software, rate_of
from sailsim.analysis.baselines.prediction import Floats, Prediction, Work, model_notes
from sailsim.base.errors import SailsimError
from sailsim.sim.system import System
from sailsim.workloads.formats import WeightFormat
from sailsim.workloads.graph import decode_step, prefill_step
from sailsim.workloads.model import ModelSpec

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
    cache: Cache = "separate",
) -> Prediction:
    """As `cpu_tokens_per_s` with as many instances as are the fastest; of equals, the fewest.

    The point's sequences are shared out over them: a server with more to do has a larger batch. Raises
    SailsimError as that does.
    """
    rates, _ = constants(software, fmt, core=core_of(system))
    machine = CpuSheet.of(system)

    def seconds(instances: int) -> float:
        work = decode_work(model, fmt, -(-batch // instances), context)
        shared_by = work.rows if cache == "unified" else np.asarray(1.0)
        each, together = np.asarray(float(threads // instances)), np.asarray(float(instances))
        return float(sum(packed_parts(work, machine, each, rates, shared_by, together).values()))

    best = min(packings(threads, batch), key=seconds)
    return cpu_tokens_per_s(
        system, model, fmt, threads, batch, context, software=software, cache=cache, instances=best
    )


Cache = Literal["separate", "unified"]

CACHES: tuple[Cache, ...] = ("separate", "unified")
PARTS = ("weights", "kernels", "attention", "kv_cache", "synchronisation")
LARGE_BYTES = 12e9
"""Weights, three times the largest of N1's fit, from which a prediction of decoding is an extrapolation."""
FITTED_LARGE = ("neoverse-v1", "neoverse-v2")
"""Cores whose fits have models of 70B."""
LARGE_FASTER = 1.2
"""How much faster such models may run (assumed, 1.05..1.3): what 70B models showed on every N1 server."""
UBATCH = 512
"""Rows that llama.cpp works on at once in prompt processing (its default -ub)."""
ROWS_OF_A_PASS = 4
"""Rows of a batch that this project's kernels multiply with a weight once it is unpacked."""
SEVERAL_PROMPTS = "Single prompts were measured: several at once are taken as so many rows more."


@dataclass(frozen=True)
class CpuSheet:
    """What the formula needs of a machine, SI units; scalars or arrays."""

    clock: Floats
    read_bandwidth: Floats
    core_bandwidth: Floats
    """Bytes/s that one core can have under way: MSHRs * line / latency (Little's law)."""

    @classmethod
    def of(cls, system: System) -> CpuSheet:
        """From a system file."""
        under_way = system.l2.mshrs.value * system.l2.line.value
        return cls(
            clock=np.asarray(system.cores.clock.si, dtype=float),
            read_bandwidth=np.asarray(system.memory.read_bandwidth.si, dtype=float),
            core_bandwidth=np.asarray(under_way / system.memory.latency.si, dtype=float),
        )


@dataclass(frozen=True)
class Constants:
    """The fitted constants of one software; see `fits.json` for their sources and errors.

    ``read_share`` of the measured read bandwidth; ``kernel_rate`` and ``attention_rate`` in MAC/cycle of one
    thread; ``barrier_s`` seconds an operation and a thread; ``overlap`` 0 (weights and arithmetic take turns)
    to 1 (the longer hides the shorter); ``product_s`` seconds that a matrix product loses besides (uneven
    last pieces, first misses); ``row_s`` seconds that a row loses a layer, whatever the threads, which only
    prompts of the fork were seen to do. Scalars or arrays.
    """

    read_share: Floats
    kernel_rate: Floats
    attention_rate: Floats
    barrier_s: float
    overlap: Floats
    product_s: float | Floats = 0.0
    row_s: float | Floats = 0.0
    core_share: float = 1.0
    """Of what a core can have under way, what its software does have."""
    shared: float = 0.0
    """Share of a kernel's time that the rows of a pass (`ROWS_OF_A_PASS`) have in common."""


def overlapped(reading: Floats, arithmetic: Floats, overlap: Floats) -> tuple[Floats, Floats]:
    """What is left of two times when ``overlap`` of the shorter hides behind the longer, which stays
    whole."""
    hidden = overlap * np.minimum(reading, arithmetic)
    reading_longer = reading >= arithmetic
    return (
        np.asarray(reading - np.where(reading_longer, 0.0, hidden)),
        np.asarray(arithmetic - np.where(reading_longer, hidden, 0.0)),
    )


def step_parts(
    work: Work, machine: CpuSheet, threads: Floats, c: Constants, shared_by: Floats
) -> dict[str, Floats]:
    """Seconds of each part of a step; they sum to the step. Arrays broadcast.

    ``shared_by``: sequences whose cache cells every sequence scans: 1, or the batch where all share one
    cache.
    """
    bandwidth = np.minimum(
        threads * c.core_share * machine.core_bandwidth, c.read_share * machine.read_bandwidth
    )
    weights = work.weight_bytes / bandwidth
    kernels = work.gemv_macs / (threads * machine.clock * c.kernel_rate)
    if c.shared:
        passes = np.ceil(work.rows / ROWS_OF_A_PASS)
        kernels = kernels * (1 - c.shared * (1 - passes / work.rows))
    weights, kernels = overlapped(weights, kernels, c.overlap)
    width = np.minimum(threads, work.attention_width)
    return {
        "weights": weights,
        "kernels": kernels,
        "attention": work.attention_macs * shared_by / (c.attention_rate * machine.clock * width),
        "kv_cache": work.kv_bytes / bandwidth,
        "synchronisation": work.operations * threads * c.barrier_s
        + work.products * c.product_s
        + work.rows * work.layers * c.row_s,
    }


def packed_parts(
    work: Work, machine: CpuSheet, threads: Floats, c: Constants, shared_by: Floats, instances: Floats
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
    fitted_by: Fitted | None = None,
    prompts: bool = False,
    core: str = N1,
) -> tuple[Constants, KernelRate]:
    """The constants for a format on a core, and what is known of its kernel rate (range, kind).

    ``fitted_by`` takes the place of the shipped fits; ``prompts``: of whole prompts, not of decoding. Raises
    SailsimError for a software that nothing is known of on that core.
    """
    fitted = (fitted_by or fitted_constants()).software(software, core)
    anchor, rate = rate_of(software, fmt, fitted_by, prompts, core)
    simulated = software in SIMULATED
    row_s = fitted.value("prompt_row_overhead") * 1e-9 if prompts and software == "ampere" else 0.0
    return (
        Constants(
            read_share=np.asarray(fitted.value("read_share")),
            kernel_rate=np.asarray(anchor * rate.relative),
            attention_rate=np.asarray(fitted.value("attention_rate")),
            barrier_s=fitted.value("barrier") * 1e-9,
            overlap=np.asarray(fitted.value("overlap")),
            # The fork's rows have one thread count: what its products lose is in its share of the barrier.
            # Of this project's program a product loses nothing but its barrier.
            product_s=0.0 if software == "ampere" or simulated else fitted.value("product_overhead") * 1e-9,
            row_s=row_s,
            core_share=fitted.value("core_share") if simulated else 1.0,
            shared=fitted.value("shared") if simulated else 0.0,
        ),
        rate,
    )


def cpu_tokens_per_s(
    system: System,
    model: ModelSpec,
    fmt: WeightFormat,
    threads: int,
    batch: int = 1,
    context: int = 64,
    *,
    software: Software = "llama.cpp",
    cache: Cache = "separate",
    instances: int = 1,
) -> Prediction:
    """Tokens/s of token generation with ``batch`` sequences of ``context`` tokens on ``threads`` cores.

    ``instances`` processes share out threads and sequences evenly; the one with most sequences sets the pace.

    ``cache`` "separate": each sequence attends to its own tokens, as the simulated machine's cores do;
    "unified": the software's shared cache, which the batched measurements were made with. With a batch the
    lower end of the band always includes the unified cache. Raises SailsimError for more threads than cores,
    and for more instances than sequences or threads.
    """
    most = min(batch, threads)
    if instances != 1 and not 1 <= instances <= most:
        raise SailsimError(
            f"instances is {instances}, allowed is 1..{max(most, 1)}, a sequence and a thread for each"
        )
    work = decode_work(model, fmt, -(-batch // instances), context)
    found = _predict(system, fmt, threads, work, float(batch), "decode", software, cache, instances)
    return replace(found, notes=(*found.notes, *model_notes(model, batch)))


@lru_cache(maxsize=4096)
def decode_work(model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> Work:
    """The work of a step of one process with ``batch`` sequences."""
    return Work.of(model, decode_step(model, fmt, batch, context), batch)


def prompt_tokens_per_s(
    system: System,
    model: ModelSpec,
    fmt: WeightFormat,
    threads: int,
    prompt: int,
    batch: int = 1,
    *,
    software: Software = "llama.cpp",
) -> Prediction:
    """Tokens/s of processing ``batch`` prompts of ``prompt`` tokens: bound by the kernel rate.

    The weights are read once for every 512 tokens. ``step_s`` is the time to the first token. Raises
    SailsimError for more threads than cores, and for a software whose prompts were not measured.
    """
    problem = without_prompts(software)
    if problem is not None:
        raise SailsimError(problem)
    work = prompt_work(model, fmt, prompt, batch)
    found = _predict(system, fmt, threads, work, float(prompt * batch), "prompt", software, "separate")
    several = [SEVERAL_PROMPTS] if batch > 1 else []
    return replace(found, notes=(*found.notes, *model_notes(model, prompt * batch), *several))


def without_prompts(software: str) -> str | None:
    """Why a software's prompts are not predicted, None if they are."""
    if software in SIMULATED:
        return f"{SOFTWARE[software]}, decode alone; allowed for phase prefill is llama.cpp or ampere."
    if software != "t-mac":
        return None
    return (
        "T-MAC's prompts were measured on a Snapdragon X Elite alone, another core than these; allowed "
        "for phase prefill is llama.cpp or ampere."
    )


def prompt_work(model: ModelSpec, fmt: WeightFormat, prompt: int, batch: int = 1) -> Work:
    """The work of some prompts; weights are read again for every 512 rows."""
    rows = prompt * batch
    work = Work.of(model, prefill_step(model, fmt, prompt, batch), rows)
    return replace(work, weight_bytes=work.weight_bytes * ubatches(rows))


def ubatches(rows: int) -> int:
    """How often llama.cpp reads its weights for some rows."""
    return -(-rows // UBATCH)


def _predict(
    system: System,
    fmt: WeightFormat,
    threads: int,
    work: Work,
    tokens: float,
    test: Literal["decode", "prompt"],
    software: Software,
    cache: Cache,
    instances: int = 1,
) -> Prediction:
    cores = system.cores.count.whole
    if not 1 <= threads <= cores:
        raise SailsimError(f"threads is {threads}, allowed is 1..{cores}, the cores of {system.name}")
    if software not in SOFTWARE:
        raise SailsimError(f"software is {software!r}, allowed is one of {', '.join(SOFTWARE)}")
    if cache not in CACHES:
        raise SailsimError(f"cache is {cache!r}, allowed is one of {', '.join(CACHES)}")
    if cache != "separate" and software in SIMULATED:
        raise SailsimError(f"cache is {cache!r}, allowed for {SOFTWARE[software]} is 'separate'")
    core = core_of(system)
    c, rate = constants(software, fmt, prompts=test == "prompt", core=core)
    machine = CpuSheet.of(system)
    each, together = np.asarray(float(threads // instances)), np.asarray(float(instances))
    vectors = system.cores.clock.si * system.cores.fp32_flops.value * system.host.simd_share.value
    unpacking = float(work.cache_flops) / (float(each) * vectors)

    def step(constants: Constants, unified: bool) -> tuple[float, dict[str, float]]:
        shared_by = work.rows if unified else np.asarray(1.0)
        arrays = packed_parts(work, machine, each, constants, shared_by, together)
        parts = {name: float(seconds) for name, seconds in arrays.items()}
        parts["attention"] += unpacking * float(shared_by)
        return sum(parts.values()), parts

    seconds, parts = step(c, cache == "unified")
    # What the band must hold beside the scatter of measurements: the kernel rate's range, and the other
    # cache.
    simulated = software in SIMULATED
    slow, _ = step(_moved(c, rate.low / rate.relative, simulated), test == "decode" and not simulated)
    known = fitted_constants().software(software, core)
    most = float(known.constants["shared"].high or c.shared) if simulated else c.shared
    fast, _ = step(replace(_moved(c, rate.high / rate.relative, simulated), shared=most), False)
    band = known.band(test) if instances == 1 else joined(known.band(test), known.band("packed"))
    extrapolated = core not in FITTED_LARGE and float(work.weight_bytes) > LARGE_BYTES
    large = test == "decode" and extrapolated and not simulated
    low, high = widen(band, slow / seconds, seconds / fast * (LARGE_FASTER if large else 1.0))
    rate_tokens = tokens / seconds
    notes = software_notes(core, software, fmt, rate, test, threads // instances)
    if large:
        notes.append(
            "Larger than any model of the fit: 70B models were measured 5 to 28 % faster than predicted, "
            "which the band's upper end holds."
        )
    if instances > 1:
        notes.append(
            f"{instances} instances side by side, each with {threads // instances} threads and at most "
            f"{work.rows:.0f} of the sequences."
        )
    if tokens > 1 and test == "decode" and cache == "separate" and not simulated:
        notes.append(
            "Batched decoding was measured on Altra with a cache shared by all sequences: the band's lower "
            "end has it."
        )
    return Prediction(
        rate_tokens, rate_tokens * low, rate_tokens * high, seconds, parts, tuple(notes), instances
    )


def _moved(c: Constants, factor: float, attention: bool) -> Constants:
    """Constants with kernels of another speed, and ``attention`` too, where both are rates of one model."""
    moved = replace(c, kernel_rate=c.kernel_rate * factor)
    return replace(moved, attention_rate=c.attention_rate * factor) if attention else moved


def joined(first: Band, second: Band) -> Band:
    """The band that holds both."""
    return Band(low=min(first.low, second.low), high=max(first.high, second.high))


def widen(band: Band, slower: float, faster: float) -> tuple[float, float]:
    """Factors on a prediction: the band of the measurements joined with two known ratios (each at least
    1)."""
    low = exp(-hypot(log(band.low), log(max(slower, 1.0))))
    high = exp(hypot(log(band.high), log(max(faster, 1.0))))
    return low, high
