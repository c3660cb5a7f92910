"""The check of GPTQ's and AWQ's layouts: it passes, it can fail, and it packs as the tests of folders do."""

import numpy as np
import pytest

from sailsim.workloads import folder_weights

from .folder_data import packed_along, packed_awq
from .group_checked import CASES, K, N, checked_group, packed, packed_parts


@pytest.mark.parametrize(("method", "bits", "symmetric"), CASES)
def test_what_is_read_is_what_was_packed(method: str, bits: int, symmetric: bool) -> None:
    fmt, weights, different, minimum_error, weight_error = checked_group(method, bits, symmetric)
    assert fmt.name == f"{method}{bits}g128" + ("" if symmetric else "m")
    assert weights == N * K
    assert different == 0
    if symmetric:
        assert minimum_error == weight_error == 0
    else:
        assert 0 < minimum_error <= 2**-11
        # The minimum is at most as large as the codes' span, which is at most twice the largest weight.
        assert 0 < weight_error <= 2 * 2**-11


def test_another_order_of_columns_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_weights, "AWQ_ORDER", tuple(range(8)))
    _, weights, different, *_ = checked_group("awq", 4, True)
    assert different > weights / 2


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_codes_are_packed_as_bit_by_bit(bits: int) -> None:
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (5, 64))
    assert (packed(codes, bits) == packed_along(codes, bits)).all()


def test_awqs_columns_are_packed_as_place_by_place() -> None:
    rng = np.random.default_rng(1)
    codes, zeros = rng.integers(0, 16, (K, N)), rng.integers(0, 16, (K // 128, N))
    parts = packed_parts("awq", 4, codes, zeros, zeros.astype(np.float16))
    assert (parts["qweight"] == packed_awq(codes)).all()
    assert (parts["qzeros"] == packed_awq(zeros)).all()
