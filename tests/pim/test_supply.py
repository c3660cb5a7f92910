"""A tile whose weights are asked for ahead of need, against closed forms and a buffer played line by line."""

from collections import deque
from math import ceil, inf

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sailsim import _core
from sailsim.sim.machine.system_files import load_system

K, N, NBW, WBITS = 64, 96, 4, 8
GROUPS, GROUP_BYTES = K // NBW, NBW * N
SHAPE = (K, N, 1, WBITS, WBITS, 8, NBW, 0)


def config(arrays: int = 16, **changes: int) -> _core.SliceConfig:
    return load_system("sail-n1").slice_config(arrays=arrays, slices=1, **changes)


def profile() -> _core.PatternProfile:
    counts = [np.full(GROUPS, value, np.int32) for value in (1, 2, 5)]
    return _core.PatternProfile(*counts)


def supplied(rate: float = inf, latency: float = 0, lead: float = 0, ahead: float = inf) -> _core.TileTiming:
    return _core.TileTimer(config(), SHAPE, False).time([profile()], rate, latency, lead, ahead)[0]


FREE = supplied()
WORK = (FREE.total - FREE.load - FREE.write_back) // GROUPS
"""Cycles of computing a group."""


def by_lines(ways: int, latency: int, ahead: int) -> int:
    """The unit's rules (docs/gem5.md) cycle by cycle: lines of 64 bytes, `ways` of them under way."""
    lines = deque(
        (group, min(64, GROUP_BYTES - 64 * i))
        for group in range(GROUPS)
        for i in range(ceil(GROUP_BYTES / 64))
    )
    missing = [ceil(GROUP_BYTES / 64)] * GROUPS
    flights: deque[tuple[int, int]] = deque()
    releases: deque[int] = deque()
    taken = buffered = cycle = port_free = compute_end = 0
    while taken < GROUPS:
        while flights and flights[0][0] == cycle:
            missing[flights.popleft()[1]] -= 1
        while taken < GROUPS and missing[taken] == 0:
            load_end = max(cycle, port_free + ceil(GROUP_BYTES / 32))
            port_free = max(load_end, compute_end)
            compute_end = port_free + WORK
            releases.append(load_end)
            taken += 1
        while releases and releases[0] <= cycle:
            releases.popleft()
            buffered -= GROUP_BYTES
        if lines and len(flights) < ways and (buffered + lines[0][1] <= ahead or lines[0][0] == taken):
            group, size = lines.popleft()
            buffered += size
            flights.append((cycle + latency, group))
        cycle += 1
    return compute_end + FREE.write_back


@given(st.integers(2, 32), st.integers(20, 200), st.integers(128, 8192))
def test_the_rate_and_the_room_stand_for_single_lines(ways, latency, ahead):
    rate = min(64.0, ways * 64 / latency)
    played = by_lines(ways, latency, ahead)
    found = supplied(rate, latency=latency - 1, ahead=ahead).total
    # Lines that all come at the same time again and again are more in step than a rate can tell.
    exact = 0.1 if ahead >= ways * 64 + GROUP_BYTES else 0.4
    assert found == pytest.approx(played, rel=exact, abs=2 * latency / ways + 2)


@given(st.floats(0.1, 64), st.floats(0, 500), st.floats(0, 5000), st.floats(1, 4))
def test_more_rate_and_room_and_less_latency_are_never_slower(rate, latency, ahead, more):
    base = supplied(rate, latency, ahead=ahead)
    assert supplied(rate * more, latency, ahead=ahead).total <= base.total
    assert supplied(rate, latency / more, ahead=ahead).total <= base.total
    assert supplied(rate, latency, ahead=ahead * more).total <= base.total
    assert base.total >= FREE.total
    for phase in ("build", "lookup", "convert", "write_back"):
        assert getattr(base, phase) == getattr(FREE, phase)


@given(
    k=st.integers(1, 40),
    n=st.integers(1, 4000),
    arrays=st.sampled_from([2, 16]),
    tiles=st.integers(1, 3),
    rate=st.one_of(st.just(inf), st.floats(0.1, 40)),
    latency=st.floats(0, 200),
    lead=st.sampled_from([0.0, 50.0, 123.9]),
    ahead=st.one_of(st.just(inf), st.floats(0, 5000)),
    seed=st.integers(0, 1 << 30),
    activations=st.sampled_from([32768, 144, 96, 48]),
    sums=st.sampled_from([172032, 2000, 400]),
    batch=st.integers(1, 7),
)
@example(  # a pass is a twentieth of a cycle shorter than the one before it
    k=17, n=4000, arrays=4, tiles=1, rate=20.0, latency=123.9, lead=123.9, ahead=448.0, seed=1,
    activations=32768, sums=172032, batch=1,
)  # fmt: skip
@example(  # chunks of three, three and one row, whose shares of the patterns differ
    k=40, n=900, arrays=2, tiles=3, rate=inf, latency=0.0, lead=20.0, ahead=inf, seed=0, activations=144,
    sums=172032, batch=7,
)  # fmt: skip
def test_tiles_take_what_the_sequencer_says_that_is_told_of_every_arrival(
    k, n, arrays, tiles, rate, latency, lead, ahead, seed, activations, sums, batch
):
    """To the cycle: the timeline of the same tile has every group of every pass."""
    shape = (k, n, batch, 4, 4, 8, 3, 16)
    unit = config(arrays=arrays, activation_buffer_bits=activations, accumulator_buffer_bits=sums)
    kind = _core.TileTimer(unit, shape, False, False)
    drawn = np.random.default_rng(seed).multinomial(8 * batch, [0.3, 0.3, 0.4], (tiles, kind.plan.groups))
    profiles = [_core.PatternProfile(*map(np.ascontiguousarray, c.T)) for c in drawn.astype(np.int32)]
    timings = kind.time(profiles, rate, latency, lead, ahead)
    for profile, timing in zip(profiles, timings, strict=True):
        groups = _core.tile_timeline(
            unit, shape, profile, False, bytes_per_cycle=rate, latency=latency, lead=lead, ahead=ahead
        )
        assert timing.total == groups[-1, 4:].sum()
        names = ("build", "lookup", "convert", "write_back")
        phases = dict(zip(names, groups[:, 5:].sum(axis=0), strict=True))
        assert {name: getattr(timing, name) for name in names} == phases
        assert timing.load + sum(phases.values()) == timing.total
    assert timings.total.tolist() == [timing.total for timing in timings]
    assert timings.prt_hits.tolist() == [timing.prt_hits for timing in timings]
