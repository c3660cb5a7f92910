"""Samples: Latin, even, and the same from the same seed."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from sailsim.sim.plan.sample import METHODS, Sample

AXES = st.integers(1, 6)
SEEDS = st.integers(0, 2**63 - 1)


@given(st.integers(1, 70), AXES, SEEDS)
def test_each_part_of_each_axis_has_one_row(points: int, axes: int, seed: int) -> None:
    for batch in itertools.islice(Sample("lhs", points, seed).rows(axes), 3):
        assert batch.shape == (points, axes)
        parts = np.floor(batch * points).astype(int)
        assert (np.sort(parts, axis=0) == np.arange(points)[:, None]).all()


@given(st.integers(0, 7), AXES, SEEDS)
def test_a_shifted_sequence_is_as_even_as_sobols(doublings: int, axes: int, seed: int) -> None:
    points = 2**doublings
    batches = Sample("sobol", points, seed).rows(axes)
    first, second = next(batches), next(batches)
    assert first.shape == second.shape == (points, axes)
    for rows in (first, np.concatenate([first, second])):
        assert ((rows >= 0) & (rows < 1)).all()
        parts = np.floor(rows * len(rows)).astype(int)
        assert (np.sort(parts, axis=0) == np.arange(len(rows))[:, None]).all()


def test_a_sequence_covers_the_square_better_than_chance() -> None:
    rows = next(Sample("sobol", 256, 1).rows(2))
    chance = np.random.default_rng(1).random((256, 2))
    assert qmc.discrepancy(rows) < 0.2 * qmc.discrepancy(chance)


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_gives_the_same_rows_and_another_seed_others(method: str) -> None:
    one, again, other = (next(Sample(method, 16, seed).rows(3)) for seed in (7, 7, 8))
    assert (one == again).all()
    assert (one != other).any()


def test_the_rows_of_a_seed_are_these() -> None:
    """Known answers: a library that changes its random numbers must not change a study's points."""
    lhs = next(Sample("lhs", 4, 2).rows(2))
    sobol = next(Sample("sobol", 4, 2).rows(2))
    assert lhs.tolist() == LHS
    assert sobol.tolist() == SOBOL


LHS = [
    [0.9000251314719208, 0.8581576976575889],
    [0.18214013165561482, 0.16732432460412383],
    [0.2969752682838589, 0.6056961682625115],
    [0.5137866567820311, 0.4082960998057388],
]
SOBOL = [
    [0.26161213405430317, 0.29849114269018173],
    [0.7616121340543032, 0.7984911426901817],
    [0.5116121340543032, 0.04849114269018173],
    [0.01161213405430317, 0.5484911426901817],
]


def test_the_words_are_those_of_the_documented_algorithm() -> None:
    words = np.random.PCG64(5).random_raw(12)
    order, fraction = np.argsort(words[:6]), (words[6:] >> np.uint64(32)) / 2**32
    assert next(Sample("lhs", 6, 5).rows(1))[:, 0].tolist() == ((order + fraction) / 6).tolist()
    shift = int(np.random.PCG64(5).random_raw()) >> 34
    first = [0, 2**29, 2**29 + 2**28, 2**28]  # Sobol's first numbers in base 2: 0, .1, .11, .01
    assert next(Sample("sobol", 4, 5).rows(1))[:, 0].tolist() == [(x ^ shift) / 2**30 for x in first]
