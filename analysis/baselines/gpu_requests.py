"""Requests that come and go on a card that serves 16-bit weights: prompts stand between others' tokens.

A decoding step alone is `gpu.gpu_tokens_per_s`. Where ``batch`` requests are under way and each has a prompt
and some tokens to generate, the card works off a prompt for each request in the time that it generates them,
so every token waits, on average, for batch / generated prompts.
"""

from __future__ import annotations

import numpy as np

from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.gpu import (
    GpuSheet,
    gpu_tokens_per_s,
    is_sixteen_bit,
)
from sailsim.analysis.baselines.prediction import Floats, Prediction, Work
from sailsim.base.errors import SailsimError
from sailsim.sim import Gpu
from sailsim.workloads import ModelSpec, WeightFormat, prefill_step


def prompts_seconds(
    batch: Floats, generated: Floats, macs: Floats, share: float | Floats, sheet: GpuSheet
) -> Floats:
    """Seconds that the prompts of requests put between two tokens of each; ``macs`` are those of a prompt."""
    return np.asarray(batch / generated * macs / (share * sheet.peak_macs))


def requests_tokens_per_s(
    card: Gpu, model: ModelSpec, fmt: WeightFormat, batch: int, prompt: int, generated: int
) -> Prediction:
    """Tokens/s of ``batch`` requests under way, each of ``prompt`` and ``generated`` tokens, 16-bit weights.

    The part ``prompts`` is what others' prompts take of a step. Raises SailsimError for other weights, for
    fewer than one token, and where weights and cache do not fit the card.
    """
    for name, value in (("prompt", prompt), ("generated", generated)):
        if value < 1:
            raise SailsimError(f"{name} tokens of requests are {value}, allowed is at least 1")
    if not is_sixteen_bit(fmt):
        raise SailsimError(f"format is {fmt.name}, allowed for requests is one of 16 bits, f16 or bf16")
    step = gpu_tokens_per_s(card, model, fmt, batch, prompt + max(1, generated // 2))
    ahead = Work.of(model, prefill_step(model, fmt, prompt), prompt)
    share = fitted_constants().gpu.value("prompt_share_vllm")
    waits = float(
        prompts_seconds(
            np.asarray(float(batch)),
            np.asarray(float(generated)),
            ahead.gemv_macs + ahead.attention_macs,
            share,
            GpuSheet.of(card),
        )
    )
    seconds = step.step_s + waits
    rate = batch / seconds
    low, high = step.low / step.tokens_per_s, step.high / step.tokens_per_s
    notes = (
        *step.notes,
        f"Prompts of {prompt} tokens take {waits / seconds:.0%} of the time between tokens.",
    )
    return Prediction(rate, rate * low, rate * high, seconds, {**step.parts, "prompts": waits}, notes)
