"""DRAM against closed forms: patterns of accesses, one reader, two readers."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.sim.machine.dram import Memory, MemoryReader, bandwidth_shares
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system, vary

SAIL = load_system("sail-n1")


def dram(**changes: float) -> Memory:
    system: System = vary(SAIL, {key.replace("__", "."): value for key, value in changes.items()})
    return system.memory


REFRESH = 350 / 7800


def test_a_stream_in_one_bank_is_bound_by_its_group_of_banks():
    # Open, 127 times tCCD_L, read to close, close: 13.75 + 635 + 7.5 + 13.75 ns for 128 lines of 2.5 ns.
    expected = 128 * 2.5 / (13.75 + 127 * 5 + 7.5 + 13.75) * (1 - REFRESH)
    assert dram().reads(64, 128, banks=1) == pytest.approx(expected)
    assert dram().reads(64, 128, banks=2) == pytest.approx(2 * expected)


def test_random_lines_are_bound_by_what_is_the_slowest():
    # Four openings in 21 ns and rank: one rank gives a line in 5.25 ns, two ranks one in 2.625 ns.
    assert dram(memory__ranks=1).reads(64, 1) == pytest.approx(2.5 / 5.25 * (1 - REFRESH))
    assert dram().reads(64, 1) == pytest.approx(2.5 / 2.625 * (1 - REFRESH))
    # One bank: tRAS and tRP for a line.
    assert dram().reads(64, 1, banks=1) == pytest.approx(2.5 / 45.75 * (1 - REFRESH))


@given(st.floats(1, 500), st.integers(1, 64), st.integers(1, 4), st.integers(1, 16))
def test_more_of_anything_is_never_less(run, banks, ranks, channels):
    base = dram(memory__ranks=ranks, memory__channels=channels)
    share = base.reads(64, run, banks)
    assert 0 < share <= 1 - REFRESH
    assert base.reads(64, run, banks + 1) >= share
    assert dram(memory__ranks=ranks + 1, memory__channels=channels).reads(64, run, banks) >= share
    assert base.reads(64, 2 * run, banks) >= share * (1 - 1e-12) or banks * 2.5 < 5
    assert base.reads(64, run, banks) == pytest.approx(dram(memory__ranks=ranks).reads(64, run, banks))


def test_one_reader_is_bound_by_littles_law_or_the_capacity():
    core = MemoryReader(inf, window=46 * 64, latency=90e-9)
    assert bandwidth_shares(1e12, [core]) == [pytest.approx(46 * 64 / 90e-9)]
    assert bandwidth_shares(20e9, [replace(core, queue=10e-9)]) == [20e9]
    assert bandwidth_shares(1e12, [MemoryReader(5e9, 46 * 64, 90e-9, queue=10e-9)]) == [5e9]


def test_two_readers_share_by_what_they_have_under_way():
    """Beyond the capacity every line waits equally long: two windows of 3 to 1 get 3 to 1."""
    big, small = MemoryReader(inf, 3e4, 0.0), MemoryReader(inf, 1e4, 0.0)
    assert bandwidth_shares(100e9, [big, small]) == pytest.approx([75e9, 25e9])
    # With latencies: one wait w for which 3e4 / (90 ns + w) + 1e4 / (70 ns + w) is the capacity.
    found = bandwidth_shares(100e9, [MemoryReader(inf, 3e4, 90e-9), MemoryReader(inf, 1e4, 70e-9)])
    waits = [3e4 / found[0] - 90e-9, 1e4 / found[1] - 70e-9]
    assert sum(found) == pytest.approx(100e9)
    assert waits[0] == pytest.approx(waits[1])


def waiting(queue: float, load: float) -> float:
    """Mean wait of a line behind others' bursts: a queue with batches of fixed work."""
    return queue * load / (2 * (1 - load))


def test_bursts_that_come_evenly_never_wait_for_one_another():
    unit = MemoryReader(inf, 1024, 70e-9)
    even = MemoryReader(60e9, 1e9, 90e-9, queue=40e-9, even=True)
    assert bandwidth_shares(100e9, [even, unit])[1] == pytest.approx(1024 / (70e-9 + 40e-9 * 0.6 / 2))


def test_lines_wait_no_longer_than_a_queue_can_be():
    unit, window = MemoryReader(inf, 64, 70e-9), 1e9
    nearly = [
        bandwidth_shares(100e9, [MemoryReader(each, window, 90e-9, queue=40e-9), unit])[1]
        for each in (90e9, 97e9)
    ]
    assert nearly[0] == pytest.approx(64 / (70e-9 + waiting(40e-9, 0.9)))
    assert nearly[1] == pytest.approx(64 / (70e-9 + 40e-9 * 0.97 / 0.2))


def test_parts_of_a_reader_wait_for_one_another():
    units = MemoryReader(inf, 8 * 1024, 70e-9, parts=8, queue=10e-9)
    cores = MemoryReader(20e9, 1e9, 90e-9, queue=30e-9)
    rate = bandwidth_shares(400e9, [units, cores])[0]
    own, others = rate * 7 / 8 / 400e9, 20e9 / 400e9
    wait = (10e-9 * own + 30e-9 * others) / (2 * (1 - own - others))
    assert rate == pytest.approx(8 * 1024 / (70e-9 + wait))


def readers(queue: float = 1e-7) -> st.SearchStrategy[MemoryReader]:
    return st.builds(
        MemoryReader,
        st.floats(1e6, 1e12),
        st.floats(64, 1e6),
        st.floats(1e-9, 1e-6),
        st.sampled_from([1, 8, 32]),
        st.floats(0, queue),
        st.booleans(),
    )


def most(reader: MemoryReader) -> float:
    """Bytes/s while no line waits (Little's law)."""
    return min(reader.demand, reader.window / reader.latency)


@given(st.floats(1e9, 1e12), st.lists(readers(), min_size=1, max_size=4))
def test_shares_are_possible(capacity, asking):
    found = bandwidth_shares(capacity, asking)
    assert sum(found) <= capacity * (1 + 1e-6)
    for rate, reader in zip(found, asking, strict=True):
        assert 0 < rate <= most(reader) * (1 + 1e-12)
    # All that can be given is given: without queues, readers that want more leave nothing.
    free = bandwidth_shares(capacity, [replace(reader, queue=0.0) for reader in asking])
    wanted = sum(map(most, asking))
    assert sum(free) == pytest.approx(min(wanted, capacity), rel=1e-6)


@given(readers(2e-8), readers(2e-8), st.floats(1, 3))
def test_who_asks_for_more_leaves_no_more_to_the_other(one, other, more):
    """A step in the demand at which the capacity is reached once gave the other a quarter more."""
    before = bandwidth_shares(2e11, [one, other])
    after = bandwidth_shares(2e11, [replace(one, demand=more * one.demand), other])
    assert after[1] <= before[1] * (1 + 1e-3)
    assert after[0] >= before[0] * (1 - 1e-3)


@given(st.floats(1e-3, 1e12), st.lists(st.floats(0, 1e12), max_size=6))
def test_max_min_is_fair(capacity, demands):
    found = bandwidth_shares(capacity, [MemoryReader(demand) for demand in demands])
    assert sum(found) <= capacity * (1 + 1e-9)
    assert all(s <= d for s, d in zip(found, demands, strict=True))
    unmet = [s for s, d in zip(found, demands, strict=True) if s < d * (1 - 1e-9)]
    if unmet:
        assert sum(found) == pytest.approx(capacity)
        # Nobody who goes short has less than anybody else.
        assert min(unmet) >= max(found) * (1 - 1e-9)
