"""GPUs: a roofline per GPU with fitted shares, beside the cores.

A step takes

    t = weights / (read share * memory bandwidth) and MACs / rate
      + KV bytes / (read share * memory bandwidth)
      + layers * launch overhead [+ rows * row overhead].

Quantized formats follow llama.cpp by default: the first two add up, since unpacking and products share the
same units; a read share per GPU, times one factor for formats other than four-bit integers. It has two
kernels. Up to eight rows each row is a product of its own at a share of the GPU's 8-bit dot products
(``vector_share``), the first of them behind the reading; above, a matrix kernel does so many MACs a cycle and
multiprocessor (``batch_rate``). With two-bit weights, where that was measured, eight rows take longer than
sixteen; four-bit weights, where it was not, are taken to do no worse with few rows than the matrix kernel
does with sixteen.

16 bits decode by llama.cpp at a share of the bandwidth, but each multiprocessor reads only so many bytes a
cycle, which is what holds A100 and H100 back (twelve GPUs, batch 1). By software
"serving" they follow vLLM, measured on ten machines up to nearly a hundred requests: tensor-core products
hide behind reading, a layer's kernels take so many cycles of the GPU's clock, and the processor's work of a
step hides behind the GPU's. FlashAttention 2 splits the tokens of a sequence, and shares a key among query
heads, only where all sequences decode and the layer has no window: else each query head works for itself.
Software "serving" has LMDeploy's four-bit kernels, the stronger baseline for a batch; its batched figures
exist for A100 alone, so its shares are taken for every GPU.

Prompts have the same formula with full tiles, where prompts were measured. llama.cpp works on 512 rows at a
time, and reads the weights again for each. Its prompts were measured in q4_k_m, 16-bit ones as times to the
first token of vLLM, of which what a request takes beside its prompt (text, transport) is fitted and left out:
the other runners have none of it.

What software reaches on a GPU is in the GPU's file (`sailsim.sim.machine.system.GpuKernels`); a file that
extends a GPU's has its constants under any name. Where a file has none, those GPUs stand for it that the
constant was measured on. Other constants: `fits.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, reduce
from statistics import fmean, geometric_mean
from typing import Literal, NamedTuple, cast

import numpy as np

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity
from sailsim.sim.backend import Backend, StepQuery, StepResult, Timer, room_of
from sailsim.sim.backends.cores import MIXED, SEVERAL_PROMPTS, UBATCH, ProcessBatch, ubatches
from sailsim.sim.machine.system import Gpu
from sailsim.sim.machine.system_files import gpu_names, load_gpu
from sailsim.sim.software.fitted import (
    FEW_PARAMETERS,
    UNMEASURED,
    Fits,
    Floats,
    StepDemand,
    WorkOf,
    counted_work,
    decode_work,
    fitted_constants,
    model_notes,
    overlapped,
    predicted,
    read_again,
    works_of,
)
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.graph import Chunk, split
from sailsim.workloads.models.model import ModelSpec

GpuSoftware = Literal["llama.cpp", "serving"]
GPU_SOFTWARE: Mapping[GpuSoftware, str] = {
    "llama.cpp": "llama.cpp build 4753; of 2024 for 16 bits",
    "serving": "LMDeploy (TurboMind): four-bit weights with 16-bit products; vLLM 0.22.1 for 16 bits",
}
OF_THE_FIT = "fit"
"""The source of a GPU's constants that are those of `fits.json`, where they bear the GPU's name."""
MEASURED = ("fitted", "measured")
"""Kinds of constants that stand for measurements of the GPU itself."""
VECTOR_ROWS = 8
"""Rows up to which llama.cpp's CUDA kernels multiply one row at a time (its MMVQ_MAX_BATCH_SIZE)."""
TILE_ROWS = 16.0
"""Rows of the smallest batch that the matrix kernel was measured with."""
BATCHED_DOUBT = 1.5
"""How much slower or faster a batch may be than predicted besides its interval (assumed, 1.2..2): batches
were measured with two-bit and codebook weights on V100 alone, and later GPUs have tensor cores for 8-bit
integers. V100 is here too because the held-out rows showed its own interval to be too narrow for q4_k_m."""
SERVING_ELSEWHERE = 2.0
"""How much slower they may be on a GPU where they were not measured (assumed, 1.3..3): V100 has no
asynchronous copies, which hide the unpacking on A100."""
SHORT_PROMPT_DOUBT = 1.8
"""How much slower a prompt of fewer than 512 tokens may be than predicted: prompts of 128 tokens are no full
tiles, and on V100 2B takes 1.82 times as long as predicted (docs/baselines.md, the table of errors)."""
OTHER_FORMAT_DOUBT = 1.4
"""How much slower or faster prompts of other quantized formats than four-bit integers may be (assumed,
1.2..2): tiles are unpacked before they are multiplied, and only q4_k_m was measured."""
OF_SERVING = (
    "read_share", "compute_share", "layer", "window_chain", "vocabulary", "host_rows", "host_overlap",
)  # fmt: skip
"""The fit's constants of 16-bit serving, each with _vllm behind its name."""
HOST_POINTS = 1000.0
"""Geekbench 6 single-core points of the processor that the fit's nanoseconds are of."""
NONE, NEVER = np.asarray(0.0), np.asarray(np.inf)


class GpuBackend(Backend):
    """A GPU does everything."""

    kind = "gpu"
    software = tuple(GPU_SOFTWARE)

    def timer(self, asked: StepQuery) -> Timer:
        """By the same formula, whatever the GPU's memory holds."""
        assert isinstance(asked.machine, Gpu)
        software = cast(GpuSoftware, asked.software)
        sheet = _GpuStepTime(asked.machine, works_of(asked.model, asked.fmt), asked.fmt, software)
        return lambda pieces: float(sum(sheet.parts(*split(pieces))[1].values()))

    def step(self, asked: StepQuery) -> StepResult:
        """By the GPU's constants."""
        assert isinstance(asked.machine, Gpu)
        point = asked.point
        return predict_gpu(
            asked.machine,
            asked.model,
            asked.fmt,
            point.batch,
            point.context,
            prompt=point.context if point.phase == "prefill" else None,
            software=cast(GpuSoftware, asked.software),
            pieces=asked.pieces,
        )


BACKEND = GpuBackend()


# ---- The formula ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class GpuSheet:
    """What the formula needs of a GPU's data sheet; scalars or arrays.

    ``bandwidth`` bytes/s; ``peak_macs`` fp16 MAC/s of the tensor cores; ``vector_macs`` MAC/s of four-way
    8-bit dot products on the fp32 lanes; ``sm_clock`` multiprocessors times cycles/s.
    """

    bandwidth: Floats
    peak_macs: Floats
    vector_macs: Floats
    sm_clock: Floats

    @classmethod
    def of(cls, gpu: Gpu) -> GpuSheet:
        """From a GPU's file; a dot product takes the place of one fp32 multiply-add."""
        return cls(
            bandwidth=np.asarray(gpu.memory_bandwidth.si),
            peak_macs=np.asarray(gpu.fp16_flops.si / 2),
            vector_macs=np.asarray(gpu.fp32_flops.si / 2 * 4),
            sm_clock=np.asarray(gpu.sms.value * gpu.clock.si),
        )


@dataclass(frozen=True)
class GpuFit:
    """Speeds of reading and of the kernels, seconds a layer and a row; scalars or arrays.

    ``read_share`` of the bandwidth; ``compute_share`` of the fp16 peak for full tiles (prompts, and every
    batch in 16 bits); ``vector_share`` of the 8-bit dot products up to eight rows and ``batch_rate`` MACs a
    cycle and multiprocessor above, both infinite where one kernel serves every batch. Few rows take no longer
    than ``tile_rows`` do in the matrix kernel. ``overlap`` 1: the longer of reading and arithmetic hides the
    shorter; 0: they take turns.
    """

    read_share: Floats
    compute_share: Floats
    vector_share: Floats = field(default_factory=lambda: NEVER)
    batch_rate: Floats = field(default_factory=lambda: NEVER)
    tile_rows: Floats = field(default_factory=lambda: NEVER)
    layer_s: Floats = field(default_factory=lambda: NONE)
    row_s: Floats = field(default_factory=lambda: NONE)
    overlap: Floats = field(default_factory=lambda: np.asarray(1.0))
    lone_heads: Floats = field(default_factory=lambda: NONE)
    """Beside prompts: of what query heads would read more if none shared a key head, the part they do."""
    window_s: Floats = field(default_factory=lambda: NONE)
    """Seconds a token and entry of a head, in each layer with a window."""
    entry_s: Floats = field(default_factory=lambda: NONE)
    """Seconds of the processor an entry of the vocabulary, for a step whatever its rows."""
    host_row_s: Floats = field(default_factory=lambda: NONE)
    """And times the square root of the rows."""
    host_overlap: Floats = field(default_factory=lambda: np.asarray(1.0))
    """1: the longer of processor and GPU hides the shorter; 0: they take turns."""


def step_parts(work: StepDemand, sheet: GpuSheet, c: GpuFit) -> dict[str, Floats]:
    """Seconds of each part of a step; they sum to the step."""
    weights = work.weight_bytes / (c.read_share * sheet.bandwidth)
    weights, kernels = overlapped(weights, _products(work, sheet, c), c.overlap)
    parts = {"weights": weights, "kv_cache": _cache(work, sheet, c), "kernels": kernels}
    return parts | {"launches": _launches(parts, work, work.rows, c)}


def mixed_parts(
    every: StepDemand, decoding: StepDemand, prompts: StepDemand, sheet: GpuSheet, alone: GpuFit, c: GpuFit
) -> dict[str, Floats]:
    """Seconds of each part of a mixed step, of prompts with the constants `c` beside decoding with those of
    `alone`: each part takes what it takes for the slower of the two.

    Products take what all rows take as a prompt's, and no less than the decoding ones by themselves.
    """
    reach = np.minimum(c.read_share, alone.read_share) * sheet.bandwidth
    slower = replace(c, compute_share=np.minimum(c.compute_share, alone.compute_share))
    products = np.maximum(_products(every, sheet, slower), _products(decoding, sheet, alone))
    weights, kernels = overlapped(every.weight_bytes / reach, products, np.minimum(c.overlap, alone.overlap))
    sharing = decoding.attention_width / (decoding.rows * decoding.key_heads)
    again = decoding.kv_bytes * alone.lone_heads * np.maximum(sharing - 1, 0.0)
    cache = _cache(decoding, sheet, alone) + _cache(prompts, sheet, c)
    cache += again / (alone.read_share * sheet.bandwidth)
    parts = {"weights": weights, "kv_cache": cache, "kernels": kernels}
    own = replace(alone, layer_s=np.maximum(alone.layer_s, c.layer_s))
    return parts | {"launches": _launches(parts, every, decoding.rows, own)}


def _products(work: StepDemand, sheet: GpuSheet, c: GpuFit) -> Floats:
    """Seconds of all MACs of a step."""
    macs = work.gemv_macs + work.attention_macs
    kernels = _kernels(macs - work.expert_macs, work.rows, sheet, c)
    return kernels + _kernels(work.expert_macs, work.expert_rows, sheet, c)


def _launches(parts: Mapping[str, Floats], work: StepDemand, rows: Floats, c: GpuFit) -> Floats:
    """Seconds of layers and rows, and of the processor beside the GPU as far as they do not hide behind
    it."""
    launches = work.layers * c.layer_s + rows * c.row_s
    gpu = sum(parts.values()) + launches
    host = work.vocabulary * c.entry_s + c.host_row_s * np.sqrt(rows)
    beside = np.maximum(gpu, host) + (1 - c.host_overlap) * np.minimum(gpu, host) - gpu
    return np.asarray(launches + beside)


def _cache(work: StepDemand, sheet: GpuSheet, c: GpuFit) -> Floats:
    """Seconds of reading keys and values, and of a chain over the tokens in layers with a window."""
    chained = work.windowed * work.attention_macs / (2 * work.attention_width)
    return np.asarray(work.kv_bytes / (c.read_share * sheet.bandwidth) + c.window_s * chained)


def _kernels(macs: Floats, rows: Floats, sheet: GpuSheet, c: GpuFit) -> Floats:
    """Seconds of MACs of matrices that each see so many rows: of an expert, those that chose it."""
    by_row = (rows <= VECTOR_ROWS) & np.isfinite(c.vector_share)
    after_first = macs * (rows - 1) / rows / (c.vector_share * sheet.vector_macs)
    full = np.minimum(c.compute_share * sheet.peak_macs, c.batch_rate * sheet.sm_clock)
    few = np.isfinite(c.tile_rows)
    tile = np.where(few, macs / rows * np.where(few, c.tile_rows, 0.0) / full, np.inf)
    return np.asarray(np.where(by_row, np.minimum(after_first, tile), macs / full))


# ---- Constants of a GPU ----------------------------------------------------------------------------------
def measured_on(name: str) -> Mapping[str, Quantity]:
    """A constant of `CardKernels` by the shipped GPUs that it was measured on."""
    known = {gpu: getattr(load_gpu(gpu).kernels, name) for gpu in gpu_names()}
    return {gpu: own for gpu, own in known.items() if own is not None and own.kind in MEASURED}


def is_measured(gpu: Gpu, *names: str) -> bool:
    """Whether constants of a GPU's file, its own or inherited, were all measured."""
    own = [getattr(gpu.kernels, name) for name in names]
    return all(each is not None and each.kind in MEASURED for each in own)


def of_gpu(gpu: Gpu, name: str, fitted_by: Fits | None = None) -> list[float]:
    """A constant of `CardKernels` as the GPU's file has it, else as those GPUs have it that were measured.

    ``fitted_by`` takes the place of the shipped fits where the constant is theirs.
    """
    own: Quantity | None = getattr(gpu.kernels, name)
    if own is not None:
        sources = [(own, [f"{name}_{each}" for each in (gpu.name, *gpu.extends)])]
    else:
        elsewhere = measured_on(name).items()
        sources = [(each, [f"{name}_elsewhere", f"{name}_{other}"]) for other, each in elsewhere]
    values = []
    for quantity, names in sources:
        fits = fitted_by.gpu if fitted_by is not None and quantity.source == OF_THE_FIT else None
        known = next((each for each in (*names, name) if fits and each in fits.constants), None)
        values.append(fits.value(known) if fits and known else float(quantity.value))
    return values


def taken_over(gpu: Gpu) -> list[str]:
    """Which constants a GPU has of the shipped one that its file extends, as a sentence; none of its own."""
    parent = next((name for name in gpu.extends if name in gpu_names()), None)
    if parent is None:
        return []
    known = dict(load_gpu(parent).kernels)
    same = [name for name, own in gpu.kernels if own is not None and own == known[name]]
    return [f"The kernels of {gpu.name} are taken over from {parent}: {', '.join(same)}."] if same else []


def gpus_in_words(name: str) -> str:
    """The GPUs that a constant was measured on."""
    return ", ".join(gpu.upper() for gpu in measured_on(name))


def whose(gpu: Gpu, name: str) -> str:
    """What a note says of a constant that was not measured on the GPU."""
    own: Quantity | None = getattr(gpu.kernels, name)
    return "the measured GPUs' mean" if own is None else own.note or f"{own.value:g} ({own.kind})"


def is_sixteen_bit(fmt: WeightFormat) -> bool:
    """Whether a format's weights are 16-bit floats."""
    return fmt.base.name in ("f16", "bf16")


def is_four_bit(fmt: WeightFormat) -> bool:
    """Whether a format reads like the measured q4_k_m: four-bit codes that are integers with scales."""
    code = fmt.base.code
    return code is not None and code.wbits == 4 and code.kind != "book"


def without_kernels(fmt: WeightFormat, software: GpuSoftware) -> str | None:
    """Why a software does not decode a format on GPUs, None if it does."""
    if software != "serving" or is_four_bit(fmt) or is_sixteen_bit(fmt):
        return None
    return f"format is {fmt.name}, allowed with software 'serving' is one of 4-bit integers or of 16 bits"


def serving_constants(
    value: Mapping[str, float], clock: Floats, points: Floats, lone_heads: Floats
) -> GpuFit:
    """The constants of 16-bit serving from those of the fit (`OF_SERVING`), for a GPU's clock in Hz and a
    processor of so many points beside it; ``lone_heads`` as `CardKernels` has them."""
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


def sixteen_bit_constants(share: Floats, read_share: float, layer_ns: float, overlap: float) -> GpuFit:
    """Of prompts in 16 bits: a share of the fp16 peak, reading and launches of LMDeploy's decoding."""
    return GpuFit(
        read_share=np.asarray(read_share),
        compute_share=share,
        layer_s=np.asarray(layer_ns * 1e-9),
        overlap=np.asarray(overlap),
    )


def constants(
    gpu: Gpu, fmt: WeightFormat, fitted_by: Fits | None = None, software: GpuSoftware = "llama.cpp"
) -> GpuFit:
    """The constants of one GPU for a format, by its file (`CardKernels`) and by the fits.

    ``fitted_by`` takes the place of the shipped fits.
    """
    g = (fitted_by or fitted_constants()).gpu

    def mean(name: str) -> float:
        return fmean(of_gpu(gpu, name, fitted_by))

    if is_sixteen_bit(fmt) and software == "serving":
        value = {name: g.value(f"{name}_vllm") for name in OF_SERVING}
        lone = gpu.kernels.lone_heads
        return serving_constants(
            value,
            np.asarray(gpu.clock.si),
            np.asarray(mean("host_points")),
            np.asarray(1.0 if lone is None else float(lone.value)),
        )

    if software == "serving":
        return GpuFit(
            read_share=np.asarray(mean("read_share_w4")),
            compute_share=np.asarray(mean("compute_share_w4")),
            layer_s=np.asarray(mean("layer_overhead_w4") * 1e-9),
            row_s=np.asarray(mean("row_overhead_w4") * 1e-9),
        )
    layer = mean("layer_overhead") if gpu.kernels.layer_overhead else g.value("layer_overhead")
    share = geometric_mean(of_gpu(gpu, "read_share", fitted_by))
    if is_sixteen_bit(fmt):
        asked = g.value("sm_bytes") * float(GpuSheet.of(gpu).sm_clock) / gpu.memory_bandwidth.si
        return GpuFit(
            read_share=np.asarray(min(g.value("read_share_f16_llama"), asked)),
            compute_share=np.asarray(g.value("compute_share_f16")),
            layer_s=np.asarray(layer * 1e-9),
            overlap=NONE,
        )
    if not is_four_bit(fmt):
        share *= g.value("other_formats")
    return GpuFit(
        read_share=np.asarray(share),
        compute_share=np.asarray(geometric_mean(of_gpu(gpu, "prompt_share", fitted_by))),
        vector_share=np.asarray(g.value("vector_share")),
        batch_rate=np.asarray(mean("batch_rate")),
        tile_rows=np.asarray(TILE_ROWS if is_four_bit(fmt) else np.inf),
        layer_s=np.asarray(layer * 1e-9),
        overlap=NONE,
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
    software: GpuSoftware = "llama.cpp",
    pieces: tuple[Chunk, ...] = (),
) -> StepResult:
    """A step of decoding ``batch`` sequences of ``context`` tokens on one GPU, or of processing ``batch``
    prompts of ``prompt`` tokens at once, whose seconds are those to the first token; or a mixed step of
    ``pieces`` in the place of all three.

    Software "serving" has the four-bit kernels of a serving stack; the upper end of its interval is the
    GPU's roofline (`gpu_roofline`). Raises SailsimError where weights and KV cache do not fit the GPU's
    memory, since one GPU cannot run it, for a width that the software has no kernel for, and where no prompt
    of its kind was measured.
    """
    if software not in GPU_SOFTWARE:
        raise SailsimError(f"software is {software!r}, allowed is one of {', '.join(GPU_SOFTWARE)}")
    works = partial(counted_work, model, fmt)
    every = ProcessBatch.of(works, batch, context, prompt, pieces)
    decoding, prompts = every.decoding, every.prompts
    if pieces:
        batch = sum(piece.times for piece in pieces)
    context = max(piece.tokens for piece in decoding + prompts)
    if problem := unmeasured(gpu, fmt, software) if prompts else without_kernels(fmt, software):
        raise SailsimError(problem)
    room_of(gpu, model, fmt, batch, context, pieces).check(model, fmt, batch, context)
    work, parts = _GpuStepTime(gpu, works, fmt, software).parts(decoding, prompts)
    notes, rows, seconds = taken_over(gpu), int(work.rows), sum(map(float, parts.values()))
    both = []
    if prompts:
        both.append(_prompt_factors(fmt, rows, sum(piece.times for piece in prompts)))
    if decoding:
        alone = works(decoding)
        both.append(_decode_factors(gpu, model, fmt, alone, rows / seconds, software))
    factors = reduce(_IntervalFactors.joined, both)
    notes += factors.notes
    if len(both) > 1:
        notes.append(MIXED)
    elif decoding and rows > 1 and not is_sixteen_bit(fmt) and software == "llama.cpp" and not pieces:
        notes.append(_weak(gpu, model, fmt, batch, context))
    read = float(work.weight_bytes), float(work.kv_bytes)
    return predicted(rows, parts, factors.ends, read, [*notes, *model_notes(model, rows)])


class _GpuStepTime:
    """A GPU with a software, and a model in a format: seconds of steps."""

    def __init__(self, gpu: Gpu, works: WorkOf, fmt: WeightFormat, software: GpuSoftware) -> None:
        self._gpu, self._fmt, self._software = gpu, fmt, software
        self._works, self._sheet = works, GpuSheet.of(gpu)

    @cached_property
    def _alone(self) -> GpuFit:
        if problem := without_kernels(self._fmt, self._software):
            raise SailsimError(problem)
        return constants(self._gpu, self._fmt, software=self._software)

    @cached_property
    def _prompt(self) -> GpuFit:
        if problem := unmeasured(self._gpu, self._fmt, self._software):
            raise SailsimError(problem)
        return _prompt_constants(self._gpu, self._fmt)

    def parts(
        self, decoding: tuple[Chunk, ...], prompts: tuple[Chunk, ...]
    ) -> tuple[StepDemand, dict[str, Floats]]:
        """The work of a step, and seconds of its parts."""
        work = self._works(decoding + prompts)
        if not prompts:
            return work, step_parts(work, self._sheet, self._alone)
        if not is_sixteen_bit(self._fmt):
            work = read_again(work, ubatches(int(work.rows)))
        if not decoding:
            return work, step_parts(work, self._sheet, self._prompt)
        kinds = self._works(decoding), self._works(prompts)
        return work, mixed_parts(work, *kinds, self._sheet, self._alone, self._prompt)


class _IntervalFactors(NamedTuple):
    """On a rate, to the ends of its interval, and what is said of them."""

    ends: tuple[float, float]
    notes: list[str]

    def joined(self, other: _IntervalFactors) -> _IntervalFactors:
        """The interval that holds both."""
        ends = zip(self.ends, other.ends, strict=True)
        (low, high) = (pick(both) for pick, both in zip((min, max), ends, strict=True))
        return _IntervalFactors((low, high), [*self.notes, *other.notes])


def _decode_factors(
    gpu: Gpu, model: ModelSpec, fmt: WeightFormat, work: StepDemand, rate: float, software: GpuSoftware
) -> _IntervalFactors:
    """Of decoding at a rate, tokens/s."""
    fitted, batch, notes = fitted_constants().gpu, int(work.rows), list[str]()
    if software == "serving" and not is_sixteen_bit(fmt):
        known = is_measured(gpu, "read_share_w4", "compute_share_w4")
        if not known:
            notes.append(
                f"Four-bit serving kernels were measured on {gpus_in_words('read_share_w4')} alone: the "
                "shares are taken over, the interval reaches from half of that to the GPU's roofline."
            )
        others = ", ".join(f"{each.name} {share:.0%}" for each, share in fmt.of_model(model).shares[1:])
        if others:
            notes.append(
                f"A serving stack has no kernels for mixed types: {others} taken as {fmt.base.name}."
            )
        low, high = fitted.interval("w4").widened(1.0 if known else SERVING_ELSEWHERE, 1.0)
        return _IntervalFactors((low, high if known else max(_roof(gpu, work) / rate, high)), notes)
    served = is_sixteen_bit(fmt) and software == "serving"
    test = "f16" if served else "f16 llama" if is_sixteen_bit(fmt) else "decode" if batch == 1 else "batched"
    if served and model.n_params < FEW_PARAMETERS:
        test = "f16 small"
    slower, faster, unknown = _unknown(gpu, fmt, served, batch)
    return _IntervalFactors(fitted.interval(test).widened(slower, faster), unknown)


def _weak(gpu: Gpu, model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> str:
    """What a batch would reach with better kernels than llama.cpp's."""
    roof = gpu_roofline(gpu, model, fmt, batch, context)
    known = f"the GPU's roofline is {roof:.0f} tokens/s"
    if is_four_bit(fmt):
        better = predict_gpu(gpu, model, fmt, batch, context, software="serving")
        known = (
            f"those of a serving stack would give {better.tokens_per_s:.0f} tokens/s "
            f"({better.low:.0f} .. {better.high:.0f}), and {known}"
        )
    return f"llama.cpp's kernels are a weak baseline for a batch: {known}."


def gpu_roofline(gpu: Gpu, model: ModelSpec, fmt: WeightFormat, batch: int = 1, context: int = 64) -> float:
    """Tokens/s that no software can exceed: every byte once at the sheet's bandwidth, or its fp16 peak.

    Raises SailsimError where weights and KV cache do not fit the GPU's memory.
    """
    room_of(gpu, model, fmt, batch, context).check(model, fmt, batch, context)
    return _roof(gpu, decode_work(model, fmt, batch, context))


def _roof(gpu: Gpu, work: StepDemand) -> float:
    """Tokens/s that no software can exceed in a step."""
    sheet = GpuSheet.of(gpu)
    reading = float(work.weight_bytes + work.kv_bytes) / float(sheet.bandwidth)
    macs = float(work.gemv_macs + work.attention_macs)
    return float(work.rows) / max(reading, macs / float(sheet.peak_macs))


def _unknown(gpu: Gpu, fmt: WeightFormat, served: bool, batch: int) -> tuple[float, float, list[str]]:
    """How much slower and faster it may be for want of data, and why."""
    if is_sixteen_bit(fmt) and not served:
        notes = ["llama.cpp in 16 bits was measured on twelve GPUs, one sequence of 8B, builds of 2024."]
        return (BATCHED_DOUBT, BATCHED_DOUBT, notes) if batch > 1 else (1.0, 1.0, notes)
    if served:
        if is_measured(gpu, "host_points"):
            return 1.0, 1.0, []
        note = (
            f"16-bit serving was measured on {gpus_in_words('host_points')}; {gpu.name} is "
            "taken to reach the same shares."
        )
        return 1.3, 1.1, [note]
    slower, faster, notes = 1.0, 1.0, []
    if batch > 1:
        slower = faster = BATCHED_DOUBT
        notes.append(
            f"llama.cpp's batch kernels are known from q2_k and iq4_xs on {gpus_in_words('batch_rate')} "
            "alone, and other GPUs are taken to do as many MACs a cycle: the interval is "
            f"{BATCHED_DOUBT} times wider either way."
        )
    if not is_measured(gpu, "read_share", "prompt_share"):
        slower, faster = max(slower, 1.2), max(faster, 1.2)
        notes.append(
            f"{UNMEASURED} {gpu.name} with llama.cpp build 4753: its read share is "
            f"{whose(gpu, 'read_share')}, its compute share {whose(gpu, 'prompt_share')}."
        )
    if not is_four_bit(fmt):
        slower, faster = max(slower, 1.2), max(faster, 1.4)
        notes.append(
            "Only q4_k_m was measured on every GPU: other widths are taken to reach "
            f"{fitted_constants().gpu.value('other_formats'):.2f} of that share of bandwidth, as others "
            f"do on {gpus_in_words('batch_rate')}."
        )
    return slower, faster, notes


def unmeasured(gpu: Gpu, fmt: WeightFormat, software: GpuSoftware) -> str | None:
    """Why no prompt of a GPU, a format and a software is predicted; None where some were measured."""
    if software == "serving" and not is_sixteen_bit(fmt):
        return (
            "No prompt of the serving stack's four-bit kernels was measured; allowed for phase prefill is "
            "a GPU with software llama.cpp."
        )
    share = "prompt_share_f16" if is_sixteen_bit(fmt) else "prompt_share"
    if is_measured(gpu, share):
        return None
    return (
        f"No prompt in {fmt.name} was measured on GPU {gpu.name}; allowed for phase prefill is one of "
        f"{', '.join(measured_on(share))}."
    )


def _prompt_constants(gpu: Gpu, fmt: WeightFormat) -> GpuFit:
    """The constants of prompts."""
    fitted = fitted_constants().gpu
    if is_sixteen_bit(fmt):
        return sixteen_bit_constants(
            np.asarray(fmean(of_gpu(gpu, "prompt_share_f16"))),
            fitted.value("read_share_f16"),
            fitted.value("layer_overhead_f16"),
            fitted.value("prompt_overlap_f16"),
        )
    # Full tiles: neither the kernels of few rows nor their rates.
    return replace(constants(gpu, fmt), vector_share=NEVER, batch_rate=NEVER)


def _prompt_factors(fmt: WeightFormat, rows: int, batch: int) -> _IntervalFactors:
    """Of some prompts at once, of so many rows together."""
    fitted, notes = fitted_constants().gpu, list[str]()
    slower = faster = 1.0
    if is_sixteen_bit(fmt):
        interval = fitted.interval("prompt f16")
        notes.append(
            "From vLLM's times to the first token, without what a request takes beside its prompt "
            f"({fitted.value('request') * 1e-3:.0f} ms and {fitted.value('request_token'):.0f} us a token)."
        )
    else:
        interval = fitted.interval("prompt")
        if rows < UBATCH:
            slower = SHORT_PROMPT_DOUBT
            notes.append(
                f"Fewer than {UBATCH} rows are no full tiles: prompts of 128 tokens were measured up to "
                f"{SHORT_PROMPT_DOUBT} times slower than predicted, which the interval's lower end holds."
            )
        if not is_four_bit(fmt):
            slower, faster = max(slower, OTHER_FORMAT_DOUBT), OTHER_FORMAT_DOUBT
            notes.append(
                f"Only prompts in q4_k_m were measured: {fmt.name} is taken to reach the same share of the "
                f"GPU's peak, and the interval is {OTHER_FORMAT_DOUBT} times wider either way."
            )
    if batch > 1:
        notes.append(SEVERAL_PROMPTS)
    return _IntervalFactors(interval.widened(slower, faster), notes)
