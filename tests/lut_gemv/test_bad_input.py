"""What the reference and the quick version refuse, each in one sentence."""

from typing import Any

import numpy as np
import pytest

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.counts import PrtConfig
from sailsim.lut_gemv.fast import lut_gemv, lut_gemv_blocks, pattern_profile

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
def test_bad_input(spoil: dict[str, Any], sentence: str) -> None:
    good: dict[str, Any] = {
        "x": np.array([[1, 2]]),
        "w": np.array([[1], [2]]),
        "abits": 4,
        "code": WeightCode.twos(4),
    }
    for multiply in (reference.lut_gemv, lut_gemv, lut_gemv_blocks):
        multiply(**good)
        with pytest.raises(SailsimError) as error:
            multiply(**(good | spoil))
        assert sentence in str(error.value)


@pytest.mark.parametrize("profile", [reference.pattern_profile, pattern_profile])
def test_bad_input_of_profiles(profile: Any) -> None:
    for spoil, sentence in SPOILED:
        if set(spoil) <= {"x", "abits", "signed", "nbw", "group_size"} and "K = 3" not in sentence:
            with pytest.raises(SailsimError) as error:
                profile(**({"x": np.array([[1, 2]]), "abits": 4, "nbw": 4} | spoil))
            assert sentence in str(error.value)


def test_bad_threads() -> None:
    for threads in (0, -1, 10**6):
        with pytest.raises(SailsimError, match=f"threads is {threads}; allowed is 1..1024."):
            lut_gemv(np.array([[1]]), np.array([[1]]), abits=4, code=WeightCode.twos(4), threads=threads)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PrtConfig(entries=0), "prt entries is 0; allowed is 1 or more."),
        (lambda: PrtConfig(policy="random"), "prt policy is 'random'; allowed are lru, fifo, direct."),  # type: ignore[arg-type]
    ],
)
def test_bad_prt(make: Any, sentence: str) -> None:
    with pytest.raises(SailsimError) as error:
        make()
    assert str(error.value) == sentence
