"""Profiles of captured rows: however they are found, they are those of the rows themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim import _core
from sailsim.sim.patterns import InputRows, ProfileCache, Scan
from sailsim.workloads import Activations

CAPTURED = Activations.load()
CACHE = ProfileCache()


@given(
    st.sampled_from(["attn_in", "ffn_out", "head"]),
    st.integers(1, 4000),
    st.sampled_from([1, 3, 8, 40]),
    st.integers(1, 6),
    st.sampled_from([0, 8, 30, 32, 60, 128]),
    st.sampled_from([0, 4, 15, 63]),
    st.sampled_from(["lru", "direct"]),
    st.sampled_from([(4, True), (8, True), (8, False), (12, True)]),
)
def test_profiles_are_those_of_the_rows(role, k, batch, nbw, group_size, entries, policy, width):
    """Whole groups or not, evictions or none, a pool that suffices or not."""
    layer = 0 if role == "head" else 7
    for columns in (k, k // nbw * nbw or nbw):
        rows = InputRows(role, layer, 32, columns, batch, 3)
        scan = Scan(*width, nbw, group_size, entries, policy)
        found = CACHE.captured(CAPTURED, rows, scan).counts
        exact = _core.pattern_profile(CAPTURED.quantized(*rows, abits=scan.abits, signed=scan.signed), *scan)
        for name in ("zero", "hits", "misses"):
            assert (getattr(found, name) == getattr(exact, name)).all(), name


def test_pools_that_are_kept_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sailsim.sim.patterns.KEPT_POOLS", 2)
    cache = ProfileCache()
    for abits in (3, 4, 5, 3):
        cache.captured(
            CAPTURED, InputRows("attn_in", 0, 32, 576, abits, 0), Scan(abits, True, 4, 0, 15, "lru")
        )
    assert len(cache._pools) == 2
