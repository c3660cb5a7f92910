"""Choices of experts, drawn: what the expected ones are compared with."""

from collections import Counter

import numpy as np

from sailsim.workloads.models.experts import Spread


def drawn_spread(count: int, used: int, tokens: int, seed: int) -> Spread:
    """Every token chooses `used` of `count` experts, none twice."""
    keys = np.random.default_rng(seed).random((tokens, count))
    seen = np.bincount(np.argsort(keys, axis=1)[:, :used].reshape(-1), minlength=count)
    return tuple((on, float(experts)) for on, experts in sorted(Counter(seen[seen > 0].tolist()).items()))
