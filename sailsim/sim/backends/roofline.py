"""GPU backend: a roofline per GPU with fitted shares.

A step takes

    t = weights / (read share * memory bandwidth) and MACs / rate
      + KV bytes / (read share * memory bandwidth)
      + layers * launch overhead [+ rows * row overhead].

Quantized formats follow llama.cpp by default. Its first two terms add up, since unpacking and products share
the same units. Each GPU has a read share, times one factor for formats other than four-bit integers. There
are two kernels. Up to eight rows each row is a product of its own at a share of the GPU's 8-bit dot products
(``vector_share``), the first of them hidden by reading; above, a matrix kernel has a rate in MACs a cycle and
multiprocessor (``batch_rate``). With two-bit weights eight rows were measured to take longer than sixteen;
four-bit weights were not measured, and few rows are assumed to take no longer than sixteen in the matrix
kernel.

16-bit decoding by llama.cpp reads at a share of the bandwidth, but each multiprocessor reads only so many
bytes a cycle, which limits A100 and H100 (twelve GPUs, batch 1). With software "serving" it follows vLLM,
measured on ten machines up to nearly a hundred requests: tensor-core products hide behind reading, a layer's
kernels take cycles of the GPU's clock, and the processor's work of a step hides behind the GPU's.
FlashAttention 2 splits the tokens of a sequence, and shares a key among query heads, only if all sequences
decode and the layer has no window: otherwise each query head reads for itself. Software "serving" has
LMDeploy's four-bit kernels, the stronger baseline for a batch; its batched figures exist for A100 alone, so
its shares are used for every GPU.

Prompts have the same formula with full tiles. llama.cpp takes 512 rows at a time, and reads the weights again
for each. Its prompts were measured in q4_k_m, 16-bit ones as vLLM's times to the first token. A request's own
time (text, transport) is fitted in those and left out, as other runners have none.

Rates of software are in the GPU's file (`sailsim.sim.machine.system.GpuKernels`); a file that extends another
inherits them. Where a file has none, the GPUs that were measured stand for it. Other constants: `fits.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from statistics import fmean, geometric_mean

import numpy as np

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity
from sailsim.sim.backend import Backend, StepQuery, StepResult, Timer, memory_need
from sailsim.sim.backends.cores import MIXED_NOTE, SEVERAL_PROMPTS_NOTE, UBATCH, ProcessBatch, ubatches
from sailsim.sim.machine.system import Gpu
from sailsim.sim.machine.system_files import gpu_names, load_gpu
from sailsim.sim.software import fitted
from sailsim.sim.software.fitted import UNMEASURED, Fits, Floats, StepDemand, fitted_constants
from sailsim.sim.software.gpu_software import (
    GpuLaw,
    GpuSoftware,
    gpu_software,
    is_four_bit,
    is_sixteen_bit,
    kind_of,
    load_gpu_software,
)
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.graph import Chunk, split_chunks
from sailsim.workloads.models.model import ModelSpec

LLAMA_CPP = "llama.cpp"
"""Software of a GPU where none is named."""
FIT_SOURCE = "fit"
"""Source of a GPU's constants that are also in `fits.json`, under names with the GPU's."""
MEASURED = ("fitted", "measured")
"""Kinds of constants that stand for measurements of the GPU itself."""
VECTOR_ROWS = 8
"""Rows up to which llama.cpp's CUDA kernels multiply one row at a time (its MMVQ_MAX_BATCH_SIZE)."""
TILE_ROWS = 16.0
"""Rows of the smallest batch measured with the matrix kernel."""
BATCH_UNCERTAINTY = 1.5
"""Factor by which a batch may be slower or faster than its interval (assumed, 1.2..2). Batches were measured
with two-bit and codebook weights on V100 alone, and later GPUs have tensor cores for 8-bit integers. It holds
for V100 too: held-out rows showed its own interval to be too narrow for q4_k_m."""
OTHER_GPU_UNCERTAINTY = 2.0
"""Factor by which four-bit serving may be slower on a GPU without measurements (assumed, 1.3..3): V100 has no
asynchronous copies, which hide the unpacking on A100."""
SHORT_PROMPT_UNCERTAINTY = 1.8
"""Factor by which a prompt of fewer than 512 tokens may be slower than predicted: 128 tokens do not fill the
tiles, and on V100 2B takes 1.82 times as long as predicted (docs/baselines.md, the table of errors)."""
OTHER_FORMAT_UNCERTAINTY = 1.4
"""Factor by which prompts of quantized formats other than four-bit integers may be slower or faster (assumed,
1.2..2): tiles are unpacked before they are multiplied, and only q4_k_m was measured."""
SERVING_CONSTANTS = (
    "read_share", "compute_share", "layer", "window_chain", "vocabulary", "host_rows", "host_overlap",
)  # fmt: skip
"""Constants of 16-bit serving in `fits.json`, where their names end in _vllm."""
HOST_POINTS = 1000.0
"""Geekbench 6 single-core points of the processor to which the fit's nanoseconds refer."""
ZERO, INFINITE = np.asarray(0.0), np.asarray(np.inf)


class GpuBackend(Backend):
    """A GPU with its software."""

    kind = "gpu"
    software = tuple(gpu_software())

    def timer(self, query: StepQuery) -> Timer:
        """Seconds by the formula of `step`, without a check of the GPU's memory."""
        assert isinstance(query.machine, Gpu)
        demand_of = fitted.mixed_demand(query.model, query.fmt)
        software = load_gpu_software(query.software)
        breakdown = _breakdown_of(query.machine, demand_of, query.fmt, software)
        return lambda chunks: float(sum(breakdown(*split_chunks(chunks))[1].values()))

    def step(self, query: StepQuery) -> StepResult:
        """Predict by the GPU's constants."""
        assert isinstance(query.machine, Gpu)
        point = query.point
        machine, sizes = query.machine, (query.model, query.fmt, point.batch, point.context)
        prompt = point.context if point.phase == "prefill" else None
        return predict_gpu(machine, *sizes, prompt=prompt, software=query.software, chunks=query.chunks)


BACKEND = GpuBackend()


# ---- The formula ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class GpuSheet:
    """Numbers of a GPU's data sheet in the formula; scalars or arrays."""

    bandwidth: Floats
    """Bytes/s."""
    peak_macs: Floats
    """MAC/s of the tensor cores in fp16."""
    vector_macs: Floats
    """MAC/s of four-way 8-bit dot products on the fp32 lanes."""
    sm_clock: Floats
    """Multiprocessors times cycles/s."""

    @classmethod
    def of(cls, gpu: Gpu) -> GpuSheet:
        """Data sheet in a GPU's file; a dot product takes the place of one fp32 multiply-add."""
        return cls(
            bandwidth=np.asarray(gpu.memory_bandwidth.si),
            peak_macs=np.asarray(gpu.fp16_flops.si / 2),
            vector_macs=np.asarray(gpu.fp32_flops.si / 2 * 4),
            sm_clock=np.asarray(gpu.sms.value * gpu.clock.si),
        )


@dataclass(frozen=True)
class GpuFit:
    """Fitted constants of software on a GPU; scalars or arrays.

    ``vector_share`` and ``batch_rate`` are infinite where one kernel serves every batch.
    """

    read_share: Floats
    """Share of the bandwidth."""
    compute_share: Floats
    """Share of the fp16 peak with full tiles: prompts, and every batch in 16 bits."""
    vector_share: Floats = field(default_factory=lambda: INFINITE)
    """Share of the 8-bit dot products up to `VECTOR_ROWS` rows."""
    batch_rate: Floats = field(default_factory=lambda: INFINITE)
    """MACs a cycle and multiprocessor with more rows."""
    tile_rows: Floats = field(default_factory=lambda: INFINITE)
    """Rows in the matrix kernel that bound the time of few rows."""
    layer_s: Floats = field(default_factory=lambda: ZERO)
    row_s: Floats = field(default_factory=lambda: ZERO)
    overlap: Floats = field(default_factory=lambda: np.asarray(1.0))
    """1: the longer of reading and arithmetic hides the shorter; 0: they take turns."""
    lone_heads: Floats = field(default_factory=lambda: ZERO)
    """Share of the further reads without key heads in common that query heads do in steps with prompts."""
    window_s: Floats = field(default_factory=lambda: ZERO)
    """Seconds a token and entry of a head, in each layer with a window."""
    entry_s: Floats = field(default_factory=lambda: ZERO)
    """Seconds of the processor an entry of the vocabulary, for a step whatever its rows."""
    host_row_s: Floats = field(default_factory=lambda: ZERO)
    """Seconds of the processor, times the square root of the rows."""
    host_overlap: Floats = field(default_factory=lambda: np.asarray(1.0))
    """1: the longer of processor and GPU hides the shorter; 0: they take turns."""


def step_breakdown(work: StepDemand, sheet: GpuSheet, c: GpuFit) -> dict[str, Floats]:
    """Seconds of each part of a step, which add up to the step."""
    weights = work.weight_bytes / (c.read_share * sheet.bandwidth)
    weights, kernels = fitted.overlapped(weights, _product_seconds(work, sheet, c), c.overlap)
    parts = {"weights": weights, "kv_cache": _cache_seconds(work, sheet, c), "kernels": kernels}
    return parts | {"launches": _launch_seconds(parts, work, work.rows, c)}


def mixed_breakdown(
    every: StepDemand, decoding: StepDemand, prompts: StepDemand, sheet: GpuSheet, alone: GpuFit, c: GpuFit
) -> dict[str, Floats]:
    """Seconds of each part of a mixed step, at the slower rate of prompts (``c``) and decoding (``alone``).

    Products take the time of all rows as a prompt's, or of the decoding rows alone if longer.
    """
    reading_rate = np.minimum(c.read_share, alone.read_share) * sheet.bandwidth
    slower = replace(c, compute_share=np.minimum(c.compute_share, alone.compute_share))
    products = np.maximum(_product_seconds(every, sheet, slower), _product_seconds(decoding, sheet, alone))
    weights, kernels = fitted.overlapped(
        every.weight_bytes / reading_rate, products, np.minimum(c.overlap, alone.overlap)
    )
    sharing = decoding.attention_width / (decoding.rows * decoding.key_heads)
    again = decoding.kv_bytes * alone.lone_heads * np.maximum(sharing - 1, 0.0)
    cache = _cache_seconds(decoding, sheet, alone) + _cache_seconds(prompts, sheet, c)
    cache += again / (alone.read_share * sheet.bandwidth)
    parts = {"weights": weights, "kv_cache": cache, "kernels": kernels}
    own = replace(alone, layer_s=np.maximum(alone.layer_s, c.layer_s))
    return parts | {"launches": _launch_seconds(parts, every, decoding.rows, own)}


def _product_seconds(work: StepDemand, sheet: GpuSheet, c: GpuFit) -> Floats:
    macs = work.gemv_macs + work.attention_macs
    kernels = _kernel_seconds(macs - work.expert_macs, work.rows, sheet, c)
    return kernels + _kernel_seconds(work.expert_macs, work.expert_rows, sheet, c)


def _launch_seconds(parts: Mapping[str, Floats], work: StepDemand, rows: Floats, c: GpuFit) -> Floats:
    """Seconds of layers and rows, and of the processor as far as the GPU does not hide them."""
    launches = work.layers * c.layer_s + rows * c.row_s
    gpu = sum(parts.values()) + launches
    host = work.vocabulary * c.entry_s + c.host_row_s * np.sqrt(rows)
    exposed = np.maximum(gpu, host) + (1 - c.host_overlap) * np.minimum(gpu, host) - gpu
    return np.asarray(launches + exposed)


def _cache_seconds(work: StepDemand, sheet: GpuSheet, c: GpuFit) -> Floats:
    """Seconds of reading keys and values, and of a chain over the tokens in layers with a window."""
    chained = work.windowed * work.attention_macs / (2 * work.attention_width)
    return np.asarray(work.kv_bytes / (c.read_share * sheet.bandwidth) + c.window_s * chained)


def _kernel_seconds(macs: Floats, rows: Floats, sheet: GpuSheet, c: GpuFit) -> Floats:
    """Seconds of the MACs of matrices with ``rows`` rows each; an expert sees the rows that chose it."""
    by_row = (rows <= VECTOR_ROWS) & np.isfinite(c.vector_share)
    after_first = macs * (rows - 1) / rows / (c.vector_share * sheet.vector_macs)
    full = np.minimum(c.compute_share * sheet.peak_macs, c.batch_rate * sheet.sm_clock)
    few = np.isfinite(c.tile_rows)
    tile = np.where(few, macs / rows * np.where(few, c.tile_rows, 0.0) / full, np.inf)
    return np.asarray(np.where(by_row, np.minimum(after_first, tile), macs / full))


# ---- Constants of a GPU ----------------------------------------------------------------------------------
def measured_on(name: str) -> Mapping[str, Quantity]:
    """Values of a constant of `GpuKernels` by the shipped GPUs that it was measured on."""
    values = {gpu: getattr(load_gpu(gpu).kernels, name) for gpu in gpu_names()}
    return {gpu: own for gpu, own in values.items() if own is not None and own.kind in MEASURED}


def is_measured(gpu: Gpu, *names: str) -> bool:
    """Whether constants of a GPU's file, its own or inherited, were all measured."""
    own = [getattr(gpu.kernels, name) for name in names]
    return all(each is not None and each.kind in MEASURED for each in own)


def gpu_values(gpu: Gpu, name: str, fitted_by: Fits | None = None) -> list[float]:
    """Value of a constant of `GpuKernels` in the GPU's file, else its values on the measured GPUs.

    ``fitted_by`` replaces the shipped fits for constants that come from them.
    """
    own: Quantity | None = getattr(gpu.kernels, name)
    if own is not None:
        sources = [(own, [f"{name}_{each}" for each in (gpu.name, *gpu.extends)])]
    else:
        elsewhere = measured_on(name).items()
        sources = [(each, [f"{name}_elsewhere", f"{name}_{other}"]) for other, each in elsewhere]
    values = []
    for quantity, names in sources:
        fits = fitted_by.gpu if fitted_by is not None and quantity.source == FIT_SOURCE else None
        known = next((each for each in (*names, name) if fits and each in fits.constants), None)
        values.append(fits.value(known) if fits and known else float(quantity.value))
    return values


def inherited_note(gpu: Gpu) -> list[str]:
    """Note on constants that a GPU's file inherits from a shipped GPU; empty without any."""
    parent = next((name for name in gpu.extends if name in gpu_names()), None)
    if parent is None:
        return []
    known = dict(load_gpu(parent).kernels)
    same = [name for name, own in gpu.kernels if own is not None and own == known[name]]
    return [f"The kernels of {gpu.name} are taken over from {parent}: {', '.join(same)}."] if same else []


def measured_gpus(name: str) -> str:
    """Names of the GPUs that a constant was measured on, as words of a sentence."""
    return ", ".join(gpu.upper() for gpu in measured_on(name))


def constant_note(gpu: Gpu, name: str) -> str:
    """Origin of a constant that was not measured on the GPU, as words of a sentence."""
    own: Quantity | None = getattr(gpu.kernels, name)
    return "the measured GPUs' mean" if own is None else own.note or f"{own.value:g} ({own.kind})"


def serving_fit(value: Mapping[str, float], clock: Floats, points: Floats, lone_heads: Floats) -> GpuFit:
    """Constants of 16-bit serving.

    Args:
        value: those of the fit, by `SERVING_CONSTANTS`.
        clock: of the GPU, Hz.
        points: of the host processor, in units of `HOST_POINTS`.
        lone_heads: as in `GpuKernels`.
    """
    host = 1e-9 * HOST_POINTS / points
    return GpuFit(
        read_share=np.asarray(value["read_share"]),
        compute_share=np.asarray(value["compute_share"]),
        layer_s=value["layer"] / clock,
        lone_heads=lone_heads,
        window_s=value["window_chain"] * lone_heads / clock,
        entry_s=value["vocabulary"] * host,
        host_row_s=value["host_rows"] * host,
        host_overlap=np.asarray(value["host_overlap"]),
    )


def sixteen_bit_prompt_fit(share: Floats, read_share: float, layer_ns: float, overlap: float) -> GpuFit:
    """Constants of 16-bit prompts: a share of the fp16 peak, with reading and launches of LMDeploy's
    decoding."""
    return GpuFit(
        read_share=np.asarray(read_share),
        compute_share=share,
        layer_s=np.asarray(layer_ns * 1e-9),
        overlap=np.asarray(overlap),
    )


def gpu_fit(gpu: Gpu, fmt: WeightFormat, fitted_by: Fits | None = None, software: str = LLAMA_CPP) -> GpuFit:
    """Constants of software on a GPU for a format, from its file (`GpuKernels`) and the fits.

    ``fitted_by`` replaces the shipped fits. Raises SailsimError for a format without a kernel.
    """
    law = load_gpu_software(software).law(fmt)
    fit = (fitted_by or fitted_constants()).gpu

    def mean(name: str) -> float:
        return fmean(gpu_values(gpu, name, fitted_by))

    if law == "served":
        values = {name: fit.value(f"{name}_vllm") for name in SERVING_CONSTANTS}
        lone = 1.0 if gpu.kernels.lone_heads is None else float(gpu.kernels.lone_heads.value)
        points = np.asarray(mean("host_points"))
        return serving_fit(values, np.asarray(gpu.clock.si), points, np.asarray(lone))
    if law == "packed":
        return GpuFit(
            read_share=np.asarray(mean("read_share_w4")),
            compute_share=np.asarray(mean("compute_share_w4")),
            layer_s=np.asarray(mean("layer_overhead_w4") * 1e-9),
            row_s=np.asarray(mean("row_overhead_w4") * 1e-9),
        )
    layer = mean("layer_overhead") if gpu.kernels.layer_overhead else fit.value("layer_overhead")
    share = geometric_mean(gpu_values(gpu, "read_share", fitted_by))
    if law == "reads":
        reachable = fit.value("sm_bytes") * float(GpuSheet.of(gpu).sm_clock) / gpu.memory_bandwidth.si
        return GpuFit(
            read_share=np.asarray(min(fit.value("read_share_f16_llama"), reachable)),
            compute_share=np.asarray(fit.value("compute_share_f16")),
            layer_s=np.asarray(layer * 1e-9),
            overlap=ZERO,
        )
    if not is_four_bit(fmt):
        share *= fit.value("other_formats")
    return GpuFit(
        read_share=np.asarray(share),
        compute_share=np.asarray(geometric_mean(gpu_values(gpu, "prompt_share", fitted_by))),
        vector_share=np.asarray(fit.value("vector_share")),
        batch_rate=np.asarray(mean("batch_rate")),
        tile_rows=np.asarray(TILE_ROWS if is_four_bit(fmt) else np.inf),
        layer_s=np.asarray(layer * 1e-9),
        overlap=ZERO,
    )


# ---- Predictions ------------------------------------------------------------------------------------------
def predict_gpu(
    gpu: Gpu,
    model: ModelSpec,
    fmt: WeightFormat,
    batch: int = 1,
    context: int = 64,
    *,
    prompt: int | None = None,
    software: str = LLAMA_CPP,
    chunks: tuple[Chunk, ...] = (),
) -> StepResult:
    """Predict a step on one GPU: decoding of ``batch`` sequences of ``context`` tokens, or ``batch`` prompts
    of ``prompt`` tokens up to the first token, or a mixed step of ``chunks``.

    Software "serving" has the four-bit kernels of a serving stack; where they were not measured, the upper
    end of its interval is the GPU's roofline (`gpu_roofline`). Raises SailsimError where weights and KV cache
    do not fit the GPU's memory, for a width without a kernel, and for kinds of prompts without measurements.
    """
    record = load_gpu_software(software)
    demand_of = partial(fitted.step_demand, model, fmt)
    rows_of = ProcessBatch.of(demand_of, batch, context, prompt, chunks)
    decoding, prompts = rows_of.decoding, rows_of.prompts
    if chunks:
        batch = sum(chunk.times for chunk in chunks)
    context = max(chunk.tokens for chunk in decoding + prompts)
    if problem := prompt_problem(gpu, fmt, record) if prompts else record.decode_problem(fmt):
        raise SailsimError(problem)
    memory_need(gpu, model, fmt, batch, context, chunks).check(model, fmt, batch, context)
    work, parts = _breakdown_of(gpu, demand_of, fmt, record)(decoding, prompts)
    notes, rows, seconds = inherited_note(gpu), int(work.rows), sum(map(float, parts.values()))
    factors = []
    if prompts:
        factors.append(_prompt_factors(fmt, rows, sum(chunk.times for chunk in prompts)))
    if decoding:
        factors.append(_decode_factors(gpu, model, fmt, demand_of(decoding), rows / seconds, record))
    notes += [note for _, own in factors for note in own]
    if prompts and decoding:
        notes.append(MIXED_NOTE)
    elif decoding and rows > 1 and record.stronger and not is_sixteen_bit(fmt) and not chunks:
        notes.append(_batch_note(gpu, model, fmt, batch, context, record.stronger))
    read = float(work.weight_bytes), float(work.kv_bytes)
    notes += fitted.model_notes(model, rows)
    interval = min(low for (low, _), _ in factors), max(high for (_, high), _ in factors)
    return fitted.predicted_step(rows, parts, interval, read, notes)


def _breakdown_of(
    gpu: Gpu, demand_of: fitted.DemandOf, fmt: WeightFormat, software: GpuSoftware
) -> Callable[[tuple[Chunk, ...], tuple[Chunk, ...]], tuple[StepDemand, dict[str, Floats]]]:
    """Function from the decoding sequences and prompts of a step to its demand and the seconds of its parts.

    It raises SailsimError for a format or prompts that the software does not run on the GPU.
    """
    sheet = GpuSheet.of(gpu)

    @cache
    def fit(prompts: bool) -> GpuFit:
        if prompts and (problem := prompt_problem(gpu, fmt, software)):
            raise SailsimError(problem)
        return _prompt_fit(gpu, fmt) if prompts else gpu_fit(gpu, fmt, software=software.name)

    def breakdown(
        decoding: tuple[Chunk, ...], prompts: tuple[Chunk, ...]
    ) -> tuple[StepDemand, dict[str, Floats]]:
        work = demand_of(decoding + prompts)
        if prompts and not is_sixteen_bit(fmt):
            work = fitted.with_weight_reads(work, ubatches(int(work.rows)))
        if prompts and decoding:
            kinds = demand_of(decoding), demand_of(prompts)
            return work, mixed_breakdown(work, *kinds, sheet, fit(False), fit(True))
        return work, step_breakdown(work, sheet, fit(bool(prompts)))

    return breakdown


def _decode_factors(
    gpu: Gpu, model: ModelSpec, fmt: WeightFormat, work: StepDemand, rate: float, software: GpuSoftware
) -> tuple[tuple[float, float], list[str]]:
    """Factors from a decoding rate in tokens/s to the ends of its interval, with their notes."""
    fit, batch, notes, law = fitted_constants().gpu, int(work.rows), list[str](), software.law(fmt)
    if law == "packed":
        own = is_measured(gpu, "read_share_w4", "compute_share_w4")
        if not own:
            notes.append(
                f"Four-bit serving kernels were measured on {measured_gpus('read_share_w4')} alone: the "
                "shares are taken over, the interval reaches from half of that to the GPU's roofline."
            )
        others = ", ".join(f"{each.name} {share:.0%}" for each, share in fmt.of_model(model).shares[1:])
        if others:
            notes.append(
                f"A serving stack has no kernels for mixed types: {others} taken as {fmt.base.name}."
            )
        low, high = fit.interval("w4").widened(1.0 if own else OTHER_GPU_UNCERTAINTY, 1.0)
        return (low, high if own else max(_roof(gpu, work) / rate, high)), notes
    test = {"served": "f16", "reads": "f16 llama"}.get(law, "decode" if batch == 1 else "batched")
    if law == "served" and model.n_params < fitted.FEW_PARAMETERS:
        test = "f16 small"
    slower, faster, notes = _extrapolation(gpu, fmt, law, batch)
    return fit.interval(test).widened(slower, faster), notes


def _batch_note(
    gpu: Gpu, model: ModelSpec, fmt: WeightFormat, batch: int, context: int, stronger: str
) -> str:
    roof = gpu_roofline(gpu, model, fmt, batch, context)
    rates = f"the GPU's roofline is {roof:.0f} tokens/s"
    if load_gpu_software(stronger).decode_problem(fmt) is None:
        better = predict_gpu(gpu, model, fmt, batch, context, software=stronger)
        rates = (
            f"those of a serving stack would give {better.tokens_per_s:.0f} tokens/s "
            f"({better.low:.0f} .. {better.high:.0f}), and {rates}"
        )
    return f"llama.cpp's kernels are a weak baseline for a batch: {rates}."


def gpu_roofline(gpu: Gpu, model: ModelSpec, fmt: WeightFormat, batch: int = 1, context: int = 64) -> float:
    """Tokens/s that no software can exceed: every byte once at the full bandwidth, or MACs at the fp16 peak.

    Raises SailsimError where weights and KV cache do not fit the GPU's memory.
    """
    memory_need(gpu, model, fmt, batch, context).check(model, fmt, batch, context)
    return _roof(gpu, fitted.decode_demand(model, fmt, batch, context))


def _roof(gpu: Gpu, work: StepDemand) -> float:
    """Tokens/s that no software can exceed in a step."""
    sheet = GpuSheet.of(gpu)
    reading = float(work.weight_bytes + work.kv_bytes) / float(sheet.bandwidth)
    macs = float(work.gemv_macs + work.attention_macs)
    return float(work.rows) / max(reading, macs / float(sheet.peak_macs))


def _extrapolation(gpu: Gpu, fmt: WeightFormat, law: GpuLaw, batch: int) -> tuple[float, float, list[str]]:
    """Factors by which a rate may be slower and faster for want of measurements, with their notes."""
    if law == "reads":
        notes = ["llama.cpp in 16 bits was measured on twelve GPUs, one sequence of 8B, builds of 2024."]
        return (BATCH_UNCERTAINTY, BATCH_UNCERTAINTY, notes) if batch > 1 else (1.0, 1.0, notes)
    if law == "served":
        if is_measured(gpu, "host_points"):
            return 1.0, 1.0, []
        note = (
            f"16-bit serving was measured on {measured_gpus('host_points')}; {gpu.name} is "
            "taken to reach the same shares."
        )
        return 1.3, 1.1, [note]
    slower, faster, notes = 1.0, 1.0, []
    if batch > 1:
        slower = faster = BATCH_UNCERTAINTY
        notes.append(
            f"llama.cpp's batch kernels are known from q2_k and iq4_xs on {measured_gpus('batch_rate')} "
            "alone, and other GPUs are taken to do as many MACs a cycle: the interval is "
            f"{BATCH_UNCERTAINTY} times wider either way."
        )
    if not is_measured(gpu, "read_share", "prompt_share"):
        slower, faster = max(slower, 1.2), max(faster, 1.2)
        notes.append(
            f"{UNMEASURED} {gpu.name} with llama.cpp build 4753: its read share is "
            f"{constant_note(gpu, 'read_share')}, its compute share {constant_note(gpu, 'prompt_share')}."
        )
    if not is_four_bit(fmt):
        slower, faster = max(slower, 1.2), max(faster, 1.4)
        notes.append(
            "Only q4_k_m was measured on every GPU: other widths are taken to reach "
            f"{fitted_constants().gpu.value('other_formats'):.2f} of that share of bandwidth, as others "
            f"do on {measured_gpus('batch_rate')}."
        )
    return slower, faster, notes


def prompt_problem(gpu: Gpu, fmt: WeightFormat, software: GpuSoftware) -> str | None:
    """Reason why a software's prompts in a format are not predicted on a GPU, None if they are."""
    if kind_of(fmt) not in software.prompts:
        return software.no_prompts
    share = "prompt_share_f16" if is_sixteen_bit(fmt) else "prompt_share"
    if is_measured(gpu, share):
        return None
    return (
        f"No prompt in {fmt.name} was measured on GPU {gpu.name}; allowed for phase prefill is one of "
        f"{', '.join(measured_on(share))}."
    )


def _prompt_fit(gpu: Gpu, fmt: WeightFormat) -> GpuFit:
    fit = fitted_constants().gpu
    if is_sixteen_bit(fmt):
        share = np.asarray(fmean(gpu_values(gpu, "prompt_share_f16")))
        own = (fit.value(f"{name}_f16") for name in ("read_share", "layer_overhead", "prompt_overlap"))
        return sixteen_bit_prompt_fit(share, *own)
    # Prompts fill the tiles: neither kernel of few rows applies.
    return replace(gpu_fit(gpu, fmt), vector_share=INFINITE, batch_rate=INFINITE)


def _prompt_factors(fmt: WeightFormat, rows: int, batch: int) -> tuple[tuple[float, float], list[str]]:
    """Factors from the rate of prompts to the ends of its interval, with their notes."""
    fit, notes = fitted_constants().gpu, list[str]()
    slower = faster = 1.0
    if is_sixteen_bit(fmt):
        interval = fit.interval("prompt f16")
        notes.append(
            "From vLLM's times to the first token, without a request's time besides its prompt "
            f"({fit.value('request') * 1e-3:.0f} ms and {fit.value('request_token'):.0f} us a token)."
        )
    else:
        interval = fit.interval("prompt")
        if rows < UBATCH:
            slower = SHORT_PROMPT_UNCERTAINTY
            notes.append(
                f"Fewer than {UBATCH} rows are no full tiles: prompts of 128 tokens were measured up to "
                f"{slower} times slower than predicted, which the interval's lower end holds."
            )
        if not is_four_bit(fmt):
            slower, faster = max(slower, OTHER_FORMAT_UNCERTAINTY), OTHER_FORMAT_UNCERTAINTY
            notes.append(
                f"Only prompts in q4_k_m were measured: {fmt.name} is taken to reach the same share of the "
                f"GPU's peak, and the interval is {OTHER_FORMAT_UNCERTAINTY} times wider either way."
            )
    if batch > 1:
        notes.append(SEVERAL_PROMPTS_NOTE)
    return interval.widened(slower, faster), notes
