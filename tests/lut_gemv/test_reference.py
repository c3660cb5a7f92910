"""The specification on one small tile, worked by hand: tables, patterns, the PRT, counts and scales."""

from typing import Any

import numpy as np
import pytest

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.counts import PrtConfig
from sailsim.lut_gemv.fast import lut_gemv, lut_gemv_blocks, pattern_profile

from ..refusals import refusal

X = np.array([[3, -2, 1], [0, 3, -4]])
"""Of three bits, bit 0 first: 110, 011, 100 and 000, 110, 001."""
W = np.array([[1, -2], [3, 4], [-5, 7]])
CODE = WeightCode.twos(4)
WIDTHS: dict[str, Any] = {"abits": 3, "nbw": 2}


def rows(array: Any) -> Any:
    """As lists."""
    return np.asarray(array).tolist()


def test_tables_and_patterns_of_a_full_and_a_short_group():
    # Entry 3 is the sum of both weights; a weight that is missing counts nothing.
    assert rows(reference.build_table(W[:2], 2)) == [[0, 0], [1, -2], [3, 4], [4, 2]]
    assert rows(reference.build_table(W[2:], 2)) == [[0, 0], [-5, 7], [0, 0], [-5, 7]]
    # Entry 5 of three weights is the first and the third.
    assert rows(reference.build_table(W, 3)[5]) == [-4, 5]
    # Row 0: bit 0 is 1 and 0, bit 1 is 1 and 1, bit 2 is 0 and 1.
    assert rows(reference.form_patterns(X[:, :2], 3)) == [[1, 3, 2], [2, 2, 0]]
    assert rows(reference.form_patterns(X[:, 2:], 3)) == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("dfms", [1, 2, 3])
def test_a_product_is_its_blocks_and_its_planes(dfms):
    # Row 0 of the first two weights: T[1] + 2 T[3] - 4 T[2] = (1 + 8 - 12, -2 + 4 - 16) = (-3, -14); row 1:
    # T[2] + 2 T[2] = (9, 12). The third weight: 1 and -4 of (-5, 7).
    blocks = [[[-3, -14], [9, 12]], [[-5, 7], [20, -28]]]
    found = reference.lut_gemv_blocks(X, CODE.encode(W), code=CODE, group_size=2, dfms=dfms, **WIDTHS)
    assert rows(found) == blocks
    y, counts, profile = reference.lut_gemv(X, CODE.encode(W), code=CODE, **WIDTHS)
    assert rows(y) == [[-8, -7], [29, -16]]
    # Patterns 1, 3, 2, 2, 2, 0, then 1, 0, 0, 0, 0, 1 of another table.
    assert [rows(part) for part in (profile.zero, profile.hits, profile.misses)] == [[1, 4], [2, 1], [3, 1]]
    # Two tables with one sum each (2 rows read, 1 written) beside two weights; 4 entries read for misses.
    assert counts.as_dict() == {
        "lookups": 12, "zero_patterns": 5, "prt_hits": 3, "prt_misses": 4, "table_builds": 2, "table_adds": 2,
        "row_reads": 8, "row_writes": 6, "conversions": 0, "merges": 0,
    }  # fmt: skip
    # A group of four weights where nothing is said, all in one block: 11 sums in a table of 16.
    _, counts, profile = reference.lut_gemv(X, CODE.encode(W), abits=3, code=CODE)
    assert (counts.table_builds, counts.table_adds, len(profile.zero)) == (1, 11, 1)
    assert rows(reference.lut_gemv_blocks(X, CODE.encode(W), abits=3, code=CODE)) == [rows(y)]
    # One block where nothing is said: three groups of one weight.
    assert len(reference.pattern_profile(X, abits=3, nbw=1).zero) == 3
    # Unsigned, the top plane adds: 3, 6, 1 and 0, 3, 4.
    plain, _, _ = reference.lut_gemv(X % 8, CODE.encode(W), code=CODE, signed=False, **WIDTHS)
    assert rows(plain) == [[3 + 18 - 5, -6 + 24 + 7], [9 - 20, 12 + 28]]


@pytest.mark.parametrize(
    ("prt", "hits"),
    [
        # Patterns 1, 3, 1, 2, 1. Of two entries 2 takes the place of 3, used longest ago, or of 1, the first.
        (PrtConfig(entries=2, policy="lru"), 2),
        (PrtConfig(entries=2, policy="fifo"), 1),
        # 1 and 3 have the place 1 of two: they take it from each other, until 2 has its own.
        (PrtConfig(entries=2, policy="direct"), 1),
        # Of three places they have 1 and 0.
        (PrtConfig(entries=3, policy="direct"), 2),
        (PrtConfig(entries=1), 0),
        (PrtConfig(enabled=False), 0),
    ],
)
def test_a_prt_keeps_what_its_policy_says(prt, hits):
    # The first of each pair has the bits 1, 1, 1, 0, 1 (23), the second 0, 1, 0, 1, 0 (10).
    for profile in (reference.pattern_profile, pattern_profile):
        found = profile(np.array([[23, 10]]), abits=5, signed=False, nbw=2, prt=prt)
        assert [rows(part) for part in (found.zero, found.hits, found.misses)] == [[0], [hits], [5 - hits]]


def test_scales_and_minima_by_hand():
    acc = np.array([[[3, -4]], [[5, 6]]])
    scale = np.array([[0.5, 2], [0.25, 1]], np.float16)
    act = np.array([2], np.float32)
    # (1.5 + 1.25, -8 + 6) times 2.
    assert rows(reference.scale_blocks(acc, scale, act)) == [[5.5, -4]]
    minimum = np.array([[1, 0], [0.5, -1]], np.float16)
    sums = np.array([[10], [4]])
    # And 10 * 1 + 4 * 0.5 = 12, 10 * 0 - 4 * 1 = -4: (14.75, -6) times 2.
    assert rows(reference.scale_blocks(acc, scale, act, minimum=minimum, x_sums=sums)) == [[29.5, -12]]
    for alone in ({"minimum": minimum}, {"x_sums": sums}):
        with pytest.raises(SailsimError, match="one without the other; allowed is both or neither"):
            reference.scale_blocks(acc, scale, act, **alone)
    assert "minimum" in refusal(reference.scale_blocks, acc, scale, act, minimum=minimum[:1], x_sums=sums)
    # An infinite scale of a file: infinity, and of a sum of 0 no number; no warning.
    endless = reference.scale_blocks(np.array([[[1, 0]]]), np.full((1, 2), np.inf, np.float16), act)
    assert endless[0, 0] == np.inf
    assert np.isnan(endless[0, 1])
    assert rows(reference.block_sums(X, 2)) == [[1, 3], [1, -4]]
    assert rows(reference.block_sums(X, 0)) == [[2, -1]]
    # Of bytes, whose sums are longer than they.
    assert rows(reference.block_sums(np.full((1, 300), 127, np.int8), 0)) == [[38100]]


# --- What the reference and the quick version refuse, each in one sentence ---

SPOILED: list[tuple[dict[str, Any], str]] = [
    ({"x": np.array([[8, 0]])}, "activations hold 8; allowed is -8..7, signed abits = 4."),
    (
        {"x": np.array([[-1, 0]]), "signed": False},
        "activations hold -1; allowed is 0..15, unsigned abits = 4.",
    ),
    ({"x": np.array([[1.0, 0.0]])}, "activations have dtype float64; allowed is an integer dtype."),
    ({"x": np.array([1, 2])}, "activations have shape (2,); allowed is (B, K), each at least 1."),
    ({"x": np.zeros((0, 2), int)}, "activations have shape (0, 2); allowed is (B, K), each at least 1."),
    ({"x": np.array([[1, 2, 3]])}, "weights have K = 2, but the activations have K = 3; they must be equal."),
    ({"w": np.array([[16], [0]])}, "weight codes hold 16; allowed is 0..15, twos code of 4 bits."),
    ({"w": np.array([[1.0], [0.0]])}, "weight codes have dtype float64; allowed is an integer dtype."),
    ({"w": np.array([1, 2])}, "weights have shape (2,); allowed is (K, N), each at least 1."),
    ({"w": np.zeros((2, 0), int)}, "weights have shape (2, 0); allowed is (K, N), each at least 1."),
    ({"code": WeightCode.ternary(), "w": np.array([[3], [0]])}, "weight codes hold 3; allowed is 0..2"),
    ({"abits": 0}, "abits is 0; allowed is 1..16."),
    ({"abits": 17}, "abits is 17; allowed is 1..16."),
    ({"nbw": 0}, "nbw is 0; allowed is 1..6."),
    ({"nbw": 7}, "nbw is 7; allowed is 1..6."),
    ({"group_size": -1}, "group_size is -1; allowed is 0..4294967296."),
]


@pytest.mark.parametrize(("spoil", "sentence"), SPOILED)
def test_bad_input(spoil, sentence):
    good: dict[str, Any] = {
        "x": np.array([[1, 2]]),
        "w": np.array([[1], [2]]),
        "abits": 4,
        "code": WeightCode.twos(4),
    }
    for multiply in (reference.lut_gemv, lut_gemv, lut_gemv_blocks):
        multiply(**good)
        assert sentence in refusal(multiply, **(good | spoil))


@pytest.mark.parametrize("profile", [reference.pattern_profile, pattern_profile])
def test_bad_input_of_profiles(profile):
    good = {"x": np.array([[1, 2]]), "abits": 4, "nbw": 4}
    for spoil, sentence in SPOILED:
        if not {"w", "code"} & set(spoil) and "K = 3" not in sentence:
            assert sentence in refusal(profile, **(good | spoil))


def test_bad_threads():
    one = np.ones((1, 1), int)
    for threads in (0, -1, 10**6):
        sentence = refusal(lut_gemv, one, one, abits=4, code=CODE, threads=threads)
        assert sentence == f"threads is {threads}; allowed is 1..1024."


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PrtConfig(entries=0), "prt entries is 0; allowed is 1 or more."),
        (lambda: PrtConfig(policy="random"), "prt policy is 'random'; allowed are lru, fifo, direct."),  # type: ignore[arg-type]
    ],
)
def test_bad_prt(make, sentence):
    assert refusal(make) == sentence
