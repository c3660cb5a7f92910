"""How fast this project's kernels multiply on gem5's cores, by bits and group of the weights.

A kernel takes cycles for a product and cycles to scale and add the sum of a group:

    cycles a MAC = 1 / rate(bits) + group cycles * (1 / group - 1 / 128)

Rates were fitted at three widths (`research/calibration/simulated_problem.py`). Codes of other widths
are widened to bytes by the same instructions: their cycles lie between those of the widths beside them, which
is assumed. Tables take as many steps as a weight has bits.
"""

from __future__ import annotations

from math import exp

import numpy as np

from sailsim.analysis.baselines.fitted import FittedSet
from sailsim.workloads.formats import TensorFormat

GROUP = 128
"""Weights of a scale at which rates are given."""
WIDTHS = (2, 4, 8)
"""Bits that whole steps were run with."""
TABLE_BITS = 4
"""Most bits of a weight that tables multiply; wider codes run by dot products."""
DOUBT = 0.2
"""How far a kernel's rate on the core model, or the ratio of two, may be off a real core's (log; assumed,
0.1..0.3): the model is calibrated on load latencies, not on kernels."""
WHOLE_COLUMN = 4096
"""Weights of a scale where a column has one (assumed, 1024..16384: a column's weights)."""


def simulated_rate(constants: FittedSet, fmt: TensorFormat, tables: bool) -> tuple[float, float, float, bool]:
    """MAC/cycle of a thread with one row, the ends of its range, and whether its width was run.

    The format has codes of at most 8 bits (`kernel_rates.without_kernels`).
    """
    bits = fmt.wbits
    assert bits is not None
    if tables and bits <= TABLE_BITS:
        found = bits / constants.value("lut_rate")
        scaling, run = constants.value("lut_group_cycles"), bits in WIDTHS
    else:
        of = [1 / constants.value(f"kernel_rate_w{width}") for width in WIDTHS]
        found = float(np.interp(bits, WIDTHS, of))
        scaling, run = constants.value("group_cycles"), bits in WIDTHS
    rate = 1 / (found + scaling * (1 / (fmt.group_size or WHOLE_COLUMN) - 1 / GROUP))
    return rate, rate * exp(-DOUBT), rate * exp(DOUBT), run
