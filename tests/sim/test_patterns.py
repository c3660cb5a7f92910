"""Profiles of captured rows: however they are found, they are those of the rows themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim import _core
from sailsim.sim.patterns import InputRows, ProfileCache, Scan
from sailsim.workloads.activations import Activations

CAPTURED = Activations.load()
CACHE = ProfileCache()


@given(
    st.sampled_from(["attn_in", "ffn_out", "head"]),
    st.integers(1, 4000),
    st.sampled_from([1, 3, 8, 40]),
    st.integers(1, 6),
    st.sampled_from([0, 8, 30, 32, 60, 128]),
    st.sampled_from([0, 4, 15, 63]),
    st.sampled_from(["lru", "fifo", "direct"]),
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


@given(st.integers(1, 6), st.sampled_from([30, 32, 60, 128]))
def test_the_size_of_blocks_of_whole_groups_makes_no_other_profile(nbw: int, group_size: int) -> None:
    """Groups of 3 end at the end of a block of 32, groups of 4 would end there anyway."""
    rows = InputRows("attn_in", 7, 32, 1920, 3, 3)
    of_one_block = CACHE.captured(CAPTURED, rows, Scan(8, True, nbw, 0, 32, "lru"))
    found = CACHE.captured(CAPTURED, rows, Scan(8, True, nbw, group_size, 32, "lru"))
    assert (found is of_one_block) == (group_size % nbw == 0)


@given(st.integers(1, 6), st.sampled_from([0, 1, 3, 30, 31, 32, 63]), st.sampled_from(["fifo", "direct"]))
def test_the_policy_makes_another_profile_where_patterns_have_to_leave(
    nbw: int, entries: int, policy: str
) -> None:
    """A table of 5 weights has 31 patterns but 0, for which 31 entries suffice."""
    rows = InputRows("attn_in", 7, 32, 1920, 3, 3)
    of_lru = CACHE.captured(CAPTURED, rows, Scan(8, True, nbw, 32, entries, "lru"))
    found = CACHE.captured(CAPTURED, rows, Scan(8, True, nbw, 32, entries, policy))
    assert (found is of_lru) == (entries == 0 or entries >= 2**nbw - 1)


def test_profiles_are_kept_up_to_a_limit_in_bytes() -> None:
    """Of 480 groups, four bytes each."""
    cache = ProfileCache(limit=2 * 4 * 480)
    found = []
    for layer in (0, 11, 31):
        rows = InputRows("attn_in", layer, 32, 1920, 3, 3)
        found.append(cache.captured(CAPTURED, rows, Scan(8, True, 4, 32, 32, "lru")))
        assert found[-1].packed.bytes == 4 * 480
    assert list(cache._profiles) == [profile.key for profile in found[1:]]
