"""The PRT in RTL against the core's, access by access."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim import _core

from ..examples import examples
from .simulation import RTL, Simulation

POLICIES = ("lru", "fifo", "direct")
# Tables that evict, one entry, a number that is no power of two, and those that hold every pattern.
TABLES = {
    f"{policy}_{nbw}_{entries}": {"NBW": nbw, "ENTRIES": entries, "POLICY": POLICIES.index(policy)}
    for policy in POLICIES
    for nbw, entries in ((6, 32), (4, 5), (3, 2), (4, 32), (6, 1), (1, 4))
}
STALLS = st.sampled_from([[0], [1, 0], [0, 0, 1], [1] * 9 + [0] * 3]) | st.lists(
    st.booleans(), max_size=9
).map(lambda some: [*some, False])


@pytest.fixture(scope="session")
def prts(simulate: Callable[..., Simulation]) -> Simulation:
    return simulate([RTL / "sail_prt.sv"], {name: ("sail_prt", table) for name, table in TABLES.items()})


def hits_of_core(patterns: list[int], nbw: int, entries: int, policy: str) -> list[bool]:
    """Which accesses hit a table that was empty."""
    bits = np.array(patterns)[:, None] >> np.arange(nbw) & 1
    counts = [
        int(_core.pattern_profile(bits[: n + 1].astype(np.uint8), 1, nbw, 0, entries, policy).hits[0])
        for n in range(len(patterns))
    ]
    return np.diff(counts, prepend=0).astype(bool).tolist()


def check(
    prts: Simulation, table: str, groups: list[list[int]], bare: bool, gaps: list, stalls: list
) -> None:
    """Feed groups, each behind a flush: one of its own (``bare``), or one with the first pattern."""
    policy, nbw, entries = table.split("_")
    fed = [
        step
        for group in groups
        for step in [
            *([(None, True)] if bare else []),
            *((p, not bare and n == 0) for n, p in enumerate(group)),
        ]
    ]
    answers, cycles = prts(table, "prt", fed=fed, gaps=gaps, stalls=stalls)
    assert [p for _, p, _ in answers] == [p for group in groups for p in group]
    hits = [hit for group in groups for hit in hits_of_core(group, int(nbw), int(entries), policy)]
    assert [bool(hit) for hit, _, _ in answers] == hits
    if not any(gaps) and not any(stalls):
        searches = policy != "direct" and int(entries) < 2 ** int(nbw) - 1
        assert cycles == len(fed) + 1 + searches

    held: dict[int, int] = {}  # a hit's row is the one that the pattern's miss filled
    starts = {sum(map(len, groups[:n])) for n in range(len(groups))}
    for n, (hit, pattern, slot) in enumerate(answers):
        if n in starts:
            held.clear()
        assert not hit or held[slot] == pattern
        if pattern:
            assert slot < min(int(entries), 2 ** int(nbw) - 1)
            held[slot] = pattern


@pytest.mark.parametrize("table", TABLES)
def test_a_working_set_just_too_large(prts, table):
    _, nbw, entries = table.split("_")
    most = min(2 ** int(nbw) - 1, int(entries) + 1)
    patterns = np.random.default_rng(1).integers(0, most, 300, endpoint=True).tolist()
    check(prts, table, [patterns], False, [0], [0])


@examples(200)
@given(st.data(), st.sampled_from(list(TABLES)), STALLS, STALLS)
def test_every_access_is_the_core_s(prts, data, table, gaps, stalls):
    any_pattern = st.integers(0, 2 ** int(table.split("_")[1]) - 1)
    few = st.sampled_from(data.draw(st.lists(any_pattern, min_size=1, max_size=8)))
    group = st.lists(few | any_pattern, min_size=1, max_size=40)
    groups, bare = data.draw(st.lists(group, min_size=1, max_size=3)), data.draw(st.booleans())
    check(prts, table, groups, bare, gaps, stalls)
