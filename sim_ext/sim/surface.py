"""Seconds of mixed steps, prompt pieces beside decoding sequences, fast enough for a server's every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from sailsim.sim.backend import Backend, Request
from sailsim.sim.system import Gpu

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_PROMPTS = (16, 64, 256, 512, 1024, 2048)
_CONTEXTS = (64, 2048)


class StepSurface:
    """Seconds of any mixed step of one machine, software, model and format.

    Made from what runs steps and from what a step is asked for: of its point, phase, batch, prompt and
    context are of no account. Raises SailsimError where the machine cannot do such steps.
    """

    def __init__(self, backend: Backend, asked: Request) -> None:
        machine = asked.machine
        if isinstance(machine, Gpu):  # whoever asks knows what its memory holds
            endless = machine.memory_size.model_copy(update={"value": 1e9})
            machine = machine.model_copy(update={"memory_size": endless})
        self._backend, self._asked = backend, replace(asked, machine=machine)
        self._decode = cache(self._decode_at)
        self._prompt = cache(self._prompt_at)

    def seconds(self, prefill: Sequence[tuple[int, int]], decode_contexts: Sequence[int]) -> float:
        """Seconds of a step.

        Args:
            prefill: pieces of prompts, each its new tokens and those before it in the cache.
            decode_contexts: of each sequence that decodes, its tokens with the new one.
        """
        seconds = 0.0
        if len(decode_contexts):
            mean, many = sum(decode_contexts) / len(decode_contexts), len(decode_contexts)
            by_batch = []
            for batch in _BATCHES:
                low, high = (self._decode(batch, context) for context in _CONTEXTS)
                by_batch.append(low + (high - low) * (mean - _CONTEXTS[0]) / (_CONTEXTS[1] - _CONTEXTS[0]))
            seconds += float(np.interp(many, _BATCHES, by_batch)) * max(1.0, many / _BATCHES[-1])
        for new, before in prefill:
            seconds += self._prompts(before + new) - (self._prompts(before) if before else 0.0)
        return seconds

    def _prompts(self, tokens: int) -> float:
        known = [self._prompt(prompt) for prompt in _PROMPTS]
        return float(np.interp(tokens, _PROMPTS, known)) * max(1.0, tokens / _PROMPTS[-1])

    def _decode_at(self, batch: int, context: int) -> float:
        return self._step(phase="decode", prompt=0, batch=batch, context=context)

    def _prompt_at(self, prompt: int) -> float:
        return self._step(phase="prefill", prompt=prompt, batch=1, context=prompt)

    def _step(self, **point: object) -> float:
        asked = replace(self._asked, point=self._asked.point.having(**point))
        return self._backend.step(asked).step_s
