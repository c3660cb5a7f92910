"""Attention on the cores after Neoverse N1, from pairs of runs that differ in their length alone.

What the two took in common (weights, products, losses, the instance's own speed) cancels in the difference
of their times. In the rows by themselves attention is so little of a step that its rate trades against losses
and overlap, and a fit of all of them leaves it where it happens to end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calibration.measurements import MeasuredRows
from sailsim.base.errors import SailsimError
from sailsim.sim.fitted import Floats

LENGTHS = ("128", "512")
"""Tokens that both runs of a pair generate."""
_SAME = ("machine", "threads", "model")


@dataclass(frozen=True)
class AttentionSeen:
    """A rate for all models, MAC/cycle of a thread, and how far it may be off by single pairs and models.

    ``rate`` is the geometric mean of the models' own, ``low`` and ``high`` the outermost quartiles of the
    pairs of any of them. ``models`` has each one's rate and number of pairs.
    """

    rate: float
    low: float
    high: float
    models: Mapping[str, tuple[float, int]]


def pair_cycles(rows: MeasuredRows) -> dict[str, Floats]:
    """Cycles that a thread takes for a MAC of attention by model, an entry each instance with both lengths.

    Negative where the longer run was faster a token: noise, which a median needs as much as its opposite.
    """
    labels = rows.labels
    seconds = rows.tokens / rows.measured
    usual = (labels["test"] == "tg") & (labels["instances"] == "usual")
    of_length: dict[str, dict[tuple[str, ...], int]] = {length: {} for length in LENGTHS}
    for at in np.flatnonzero(usual & np.isin(labels["n"], LENGTHS)):
        of_length[str(labels["n"][at])][tuple(str(labels[name][at]) for name in _SAME)] = int(at)
    shorter, longer = of_length.values()
    found: dict[str, list[float]] = {}
    for key in sorted(shorter.keys() & longer.keys()):
        i, j = shorter[key], longer[key]
        macs = rows.work.attention_macs[j] - rows.work.attention_macs[i]
        width = min(rows.threads[i], rows.work.attention_width[i])
        cycles = (seconds[j] - seconds[i]) * rows.machine.clock[i] * width / macs
        found.setdefault(key[-1], []).append(float(cycles))
    return {model: np.array(cycles) for model, cycles in found.items()}


def attention_seen(rows: MeasuredRows) -> AttentionSeen:
    """What the pairs among single runs say; raises SailsimError where they hold no model's rate."""
    models, ends = {}, []
    for model, cycles in pair_cycles(rows).items():
        slow, middle, fast = np.quantile(cycles, [0.75, 0.5, 0.25])
        if fast > 0:
            models[model] = (float(1 / middle), len(cycles))
            ends += [float(1 / slow), float(1 / fast)]
    if not models:
        raise SailsimError(
            f"rows have no pair of runs of {' and '.join(LENGTHS)} tokens on one instance with positive "
            "quartiles, allowed are rows with some"
        )
    rate = float(np.exp(np.mean([np.log(rate) for rate, _ in models.values()])))
    return AttentionSeen(rate, min(ends), max(ends), models)
