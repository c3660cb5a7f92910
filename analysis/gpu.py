"""Decoding on GPU cards: a roofline per card, beside the CPU baseline.

A step takes

    t = weights / (read share * memory bandwidth) and MACs / (compute share * peak rate)
      + KV bytes / (read share * memory bandwidth)
      + layers * launch overhead [+ rows * row overhead].

Quantized formats follow llama.cpp: the first two add up, since unpacking and products share the same units; a
read share per card, times one factor for formats other than four-bit integers; the compute share is what the
card's prompt processing reaches times what small batches reach of that. 16-bit formats follow LMDeploy, whose
tensor-core products hide behind reading; its batched figures exist for A100 alone, so its shares are taken
for every card. Constants: `fits.json`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np

from sailsim.analysis.cpu import overlapped, widen
from sailsim.analysis.fits import Fits, fits
from sailsim.analysis.prediction import Floats, Prediction, Work
from sailsim.errors import SailsimError
from sailsim.sim import Card
from sailsim.workloads import ModelSpec, WeightFormat, decode_step

MEASURED_CARDS = ("v100", "t4", "a10g", "l4", "a100")
"""Cards with measurements of the software that the quantized baseline follows."""
NEAREST = {"l40s": ("l4", "a10g"), "h100": ("h100",)}
"""Whose read share a card without such measurements takes (geometric mean)."""
PARTS = ("weights", "kv_cache", "kernels", "launches")
RESERVED_SHARE = 0.05
"""Share of a card's memory that the driver, the context and the working buffers take (assumed, 0.03..0.1)."""


@dataclass(frozen=True)
class GpuConstants:
    """Shares of bandwidth and of peak fp16 MAC/s, seconds a layer and a row; scalars or arrays.

    ``overlap`` 1: the longer of reading and arithmetic hides the shorter; 0: they take turns.
    """

    read_share: Floats
    compute_share: Floats
    layer_s: Floats
    row_s: Floats
    overlap: Floats


def step_parts(work: Work, bandwidth: Floats, peak_macs: Floats, c: GpuConstants) -> dict[str, Floats]:
    """Seconds of each part of a step; they sum to the step. ``bandwidth`` bytes/s, ``peak_macs`` MAC/s."""
    reach = c.read_share * bandwidth
    weights = work.weight_bytes / reach
    kernels = (work.gemv_macs + work.attention_macs) / (c.compute_share * peak_macs)
    weights, kernels = overlapped(weights, kernels, c.overlap)
    return {
        "weights": weights,
        "kv_cache": work.kv_bytes / reach,
        "kernels": kernels,
        "launches": work.layers * c.layer_s + work.rows * c.row_s,
    }


def _geometric_mean(values: list[float]) -> float:
    return exp(sum(map(log, values)) / len(values))


def is_sixteen_bit(fmt: WeightFormat) -> bool:
    """Whether a format's weights are 16-bit floats."""
    return fmt.base.name in ("f16", "bf16")


def is_four_bit(fmt: WeightFormat) -> bool:
    """Whether a format reads like the measured q4_k_m: four-bit codes that are integers with scales."""
    return fmt.wbits == 4 and fmt.base.code != "codebook"


def constants(card: str, fmt: WeightFormat, fitted_by: Fits | None = None) -> GpuConstants:
    """The constants of one card for a format, its own where measured.

    ``fitted_by`` takes the place of the shipped fits.
    """
    g = (fitted_by or fits()).gpu
    if is_sixteen_bit(fmt):
        return GpuConstants(
            read_share=np.asarray(g.value("read_share_f16")),
            compute_share=np.asarray(g.value("compute_share_f16")),
            layer_s=np.asarray(g.value("layer_overhead_f16") * 1e-9),
            row_s=np.asarray(g.value("row_overhead_f16") * 1e-9),
            overlap=np.asarray(1.0),
        )
    readers = (card,) if card in MEASURED_CARDS else NEAREST.get(card, MEASURED_CARDS)
    computers = (card,) if card in MEASURED_CARDS else MEASURED_CARDS
    share = _geometric_mean([g.value(f"read_share_{c}") for c in readers])
    if not is_four_bit(fmt):
        share *= g.value("other_formats")
    compute = _geometric_mean([g.value(f"prompt_share_{c}") for c in computers]) * g.value("small_batch")
    return GpuConstants(
        read_share=np.asarray(share),
        compute_share=np.asarray(compute),
        layer_s=np.asarray(g.value("layer_overhead") * 1e-9),
        row_s=np.asarray(0.0),
        overlap=np.asarray(0.0),
    )


def memory_needed(model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> float:
    """Bytes of weights and KV cache."""
    return fmt.model_bytes(model) + model.kv_bytes_per_token() * batch * context


def gpu_tokens_per_s(
    card: Card, model: ModelSpec, fmt: WeightFormat, batch: int = 1, context: int = 64
) -> Prediction:
    """Tokens/s of decoding ``batch`` sequences of ``context`` tokens on one card.

    Raises SailsimError where weights and KV cache do not fit the card's memory: one card cannot run it.
    """
    need = memory_needed(model, fmt, batch, context)
    have = card.memory_size.si * (1 - RESERVED_SHARE)
    if need > have:
        raise SailsimError(
            f"card {card.name}: {model.name} in {fmt.name} with batch {batch} and context {context} needs "
            f"{need / 1e9:.1f} GB, allowed is {have / 1e9:.1f} GB"
        )
    sixteen_bit = is_sixteen_bit(fmt)
    work = Work.of(model, decode_step(model, fmt, batch, context), batch)
    parts = {
        k: float(v)
        for k, v in step_parts(
            work,
            np.asarray(card.memory_bandwidth.si),
            np.asarray(card.fp16_flops.si / 2),
            constants(card.name, fmt),
        ).items()
    }
    seconds = sum(parts.values())
    test = "f16" if sixteen_bit else "decode" if batch == 1 else "batched"
    slower, faster, notes = _unknown(card.name, fmt, sixteen_bit)
    low, high = widen(fits().gpu.band(test), slower, faster)
    rate = batch / seconds
    return Prediction(rate, rate * low, rate * high, seconds, parts, tuple(notes))


def _unknown(card: str, fmt: WeightFormat, sixteen_bit: bool) -> tuple[float, float, list[str]]:
    """How much slower and faster it may be for want of data, and why."""
    slower, faster, notes = 1.0, 1.0, []
    if sixteen_bit:
        if card not in ("a100", "h100"):
            slower, faster = 1.3, 1.1
            notes.append(
                f"16-bit decoding was measured on A100 alone; {card} is taken to reach the same shares."
            )
    else:
        if card not in MEASURED_CARDS:
            slower, faster = 1.2, 1.2
            near = " and ".join(NEAREST.get(card, MEASURED_CARDS))
            notes.append(
                f"No measurement of {card} with llama.cpp build 4753: its read share is that of "
                f"{'an older build on it' if near == card else near}, its compute share the others' mean."
            )
        if not is_four_bit(fmt):
            slower, faster = max(slower, 1.2), max(faster, 1.4)
            notes.append(
                "Only q4_k_m was measured on every card: other widths are taken to reach "
                f"{fits().gpu.value('other_formats'):.2f} of that share of bandwidth, as others do on V100."
            )
    return slower, faster, notes
