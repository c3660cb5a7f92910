"""Prompts on GPU cards: the formula of decoding (`gpu`) with full tiles, where prompts were measured.

llama.cpp works on 512 rows at a time, and reads the weights again for each. Its prompts were measured in
q4_k_m, 16-bit ones as times to the first token of vLLM, of which what a request takes beside its prompt
(text, transport) is fitted and left out: the other runners have none of it. A card or a software without a
measured prompt has no number.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import numpy as np

from sailsim.analysis.baselines.card_kernels import is_measured, measured_on, of_card, taken_over
from sailsim.analysis.baselines.cpu import SEVERAL_PROMPTS, UBATCH, ubatches, widen
from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.gpu import (
    GPU_SOFTWARE,
    GpuConstants,
    GpuSheet,
    GpuSoftware,
    constants,
    is_four_bit,
    is_sixteen_bit,
    step_parts,
)
from sailsim.analysis.baselines.prediction import Floats, Prediction, Work, model_notes
from sailsim.base.errors import SailsimError
from sailsim.sim.room import room_of
from sailsim.sim.system import Gpu
from sailsim.workloads.formats import WeightFormat
from sailsim.workloads.graph import prefill_step
from sailsim.workloads.model import ModelSpec

SHORT_PROMPT_DOUBT = 1.8
"""How much slower a prompt of fewer than 512 tokens may be than predicted: prompts of 128 tokens are no full
tiles, and on V100 2B takes 1.82 times as long as predicted (docs/baselines.md, the table of errors)."""
OTHER_FORMAT_DOUBT = 1.4
"""How much slower or faster prompts of other quantized formats than four-bit integers may be (assumed,
1.2..2): tiles are unpacked before they are multiplied, and only q4_k_m was measured."""


def prompt_work(model: ModelSpec, fmt: WeightFormat, prompt: int, batch: int = 1, reads: int = 1) -> Work:
    """The work of some prompts at once, which reads the weights ``reads`` times."""
    work = Work.of(model, prefill_step(model, fmt, prompt, batch), prompt * batch)
    return replace(work, weight_bytes=work.weight_bytes * reads)


def weight_reads(fmt: WeightFormat, rows: int) -> int:
    """How often the weights are read for the rows of some prompts."""
    return 1 if is_sixteen_bit(fmt) else ubatches(rows)


def sixteen_bit_constants(share: Floats, read_share: float, layer_ns: float, overlap: float) -> GpuConstants:
    """Of prompts in 16 bits: a share of the fp16 peak, reading and launches of LMDeploy's decoding."""
    return GpuConstants(
        read_share=np.asarray(read_share),
        compute_share=share,
        vector_share=np.asarray(np.inf),
        batch_rate=np.asarray(np.inf),
        tile_rows=np.asarray(np.inf),
        layer_s=np.asarray(layer_ns * 1e-9),
        row_s=np.asarray(0.0),
        overlap=np.asarray(overlap),
    )


def unmeasured(card: Gpu, fmt: WeightFormat, software: GpuSoftware) -> str | None:
    """Why no prompt of a card, a format and a software is predicted; None where some were measured."""
    if software == "serving" and not is_sixteen_bit(fmt):
        return (
            "No prompt of the serving stack's four-bit kernels was measured; allowed for phase prefill is "
            "a card with software llama.cpp."
        )
    share = "prompt_share_f16" if is_sixteen_bit(fmt) else "prompt_share"
    if is_measured(card, share):
        return None
    return (
        f"No prompt in {fmt.name} was measured on card {card.name}; allowed for phase prefill is one of "
        f"{', '.join(measured_on(share))}."
    )


def gpu_prompt_tokens_per_s(
    card: Gpu,
    model: ModelSpec,
    fmt: WeightFormat,
    prompt: int,
    batch: int = 1,
    *,
    software: GpuSoftware = "llama.cpp",
) -> Prediction:
    """Tokens/s of processing ``batch`` prompts of ``prompt`` tokens at once on one card.

    ``step_s`` is the time to the first token. Raises SailsimError where weights and cache do not fit the
    card's memory, and where no prompt of its kind was measured.
    """
    if software not in GPU_SOFTWARE:
        raise SailsimError(f"software is {software!r}, allowed is one of {', '.join(GPU_SOFTWARE)}")
    problem = unmeasured(card, fmt, software)
    if problem is not None:
        raise SailsimError(problem)
    fitted, rows = fitted_constants().gpu, batch * prompt
    work = prompt_work(model, fmt, prompt, batch, weight_reads(fmt, rows))  # refuses what no step has
    room = room_of(card, model, fmt, batch, prompt)
    if not room.fits:
        raise SailsimError(room.problem(model, fmt, batch, prompt))
    slower = faster = 1.0
    notes = taken_over(card)
    if is_sixteen_bit(fmt):
        c = sixteen_bit_constants(
            np.asarray(fmean(of_card(card, "prompt_share_f16"))),
            fitted.value("read_share_f16"),
            fitted.value("layer_overhead_f16"),
            fitted.value("prompt_overlap_f16"),
        )
        band = fitted.band("prompt f16")
        notes.append(
            "From vLLM's times to the first token, without what a request takes beside its prompt "
            f"({fitted.value('request') * 1e-3:.0f} ms and {fitted.value('request_token'):.0f} us a token)."
        )
    else:
        # Full tiles: neither the kernels of few rows nor their rates.
        c = replace(constants(card, fmt), vector_share=np.asarray(np.inf), batch_rate=np.asarray(np.inf))
        band = fitted.band("prompt")
        if rows < UBATCH:
            slower = SHORT_PROMPT_DOUBT
            notes.append(
                f"Fewer than {UBATCH} rows are no full tiles: prompts of 128 tokens were measured up to "
                f"{SHORT_PROMPT_DOUBT} times slower than predicted, which the band's lower end holds."
            )
        if not is_four_bit(fmt):
            slower, faster = max(slower, OTHER_FORMAT_DOUBT), OTHER_FORMAT_DOUBT
            notes.append(
                f"Only prompts in q4_k_m were measured: {fmt.name} is taken to reach the same share of the "
                f"card's peak, and the band is {OTHER_FORMAT_DOUBT} times wider either way."
            )
    if batch > 1:
        notes.append(SEVERAL_PROMPTS)
    found = step_parts(work, GpuSheet.of(card), c)
    parts = {name: float(seconds) for name, seconds in found.items()}
    seconds = sum(parts.values())
    low, high = widen(band, slower, faster)
    rate = rows / seconds
    return Prediction(rate, rate * low, rate * high, seconds, parts, (*notes, *model_notes(model, rows)))
