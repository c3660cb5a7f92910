"""The schedule against closed forms, and what must hold of any schedule."""

import hashlib
import json
from dataclasses import replace
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.sim.machine.dram import MemoryReader, MemorySystem
from sailsim.sim.step.schedule import CoreTask, ScheduledGemv, Segments, StepTimeline, play

MB = 1e6


def machine(
    peak: float = 100 * MB,
    read_share: float = 1.0,
    write_share: float = 1.0,
    limit: float = inf,
    depth: int = 0,
    background: bool = True,
    buffer: float = 1e12,
) -> MemorySystem:
    return MemorySystem(peak, read_share, write_share, min(limit, 1e15), depth, background, buffer)


plain_machine = machine


def run(machine: MemorySystem, tasks: list[CoreTask], tensors: list[ScheduledGemv]) -> StepTimeline:
    return play(machine, [Segments.one(tasks, tensors)])


def tensor(megabytes: float, seconds: float, needs: int = 0) -> ScheduledGemv:
    """A tensor whose groups all take the same time: throttled time is the longer of loading and working."""
    size = megabytes * MB
    return ScheduledGemv("t", needs, size, seconds, lambda rate: max(seconds, size / rate))


def total(line: StepTimeline, tensors: list[ScheduledGemv]) -> float:
    return sum(t.seconds for t in tensors) + sum(line.stalled) + line.cores + line.sync


@given(st.floats(1e-6, 10), st.lists(st.floats(0.001, 0.999), min_size=1, max_size=5))
def test_at_full_speed_nothing_is_stalled(seconds, shares):
    """Exactly nothing: what rounding would leave is no time that anything waited for memory."""
    tensors = [tensor(seconds * share * 100, seconds) for share in shares]
    for depth in (0, 1):
        assert run(machine(depth=depth), [], tensors).stalled == [0.0] * len(tensors)


def test_prefetch_gives_way_to_the_cores_or_shares():
    work = [CoreTask("attention", 0, 0.0, read=30 * MB, rate=60 * MB)]
    after = tensor(40, 0.1, needs=1)
    # The cores take 60 of 100 MB/s for 0.5 s; 20 MB of weights come beside it.
    way = run(machine(depth=1), work, [after])
    assert way.cores == pytest.approx(0.5)
    assert way.end == pytest.approx(0.5 + 0.2)
    # Shared evenly, the cores need 0.6 s, in which 30 MB come.
    even = run(machine(depth=1, background=False), work, [after])
    assert even.cores == pytest.approx(0.6)
    assert even.end == pytest.approx(0.6 + 0.1)


def test_prefetch_reaches_only_as_far_as_its_depth():
    work = [CoreTask("attention", 0, 1.0)]
    tensors = [tensor(40, 0.1, needs=1), tensor(40, 0.1, needs=1), tensor(40, 0.1, needs=1)]
    ends = [run(machine(depth=d), work, tensors).end for d in (0, 1, 2)]
    assert ends[0] == pytest.approx(1.0 + 1.2)
    # Two tensors wait on chip; the third may come only when the first is done, and takes 0.4 s.
    assert ends[1] == pytest.approx(1.0 + 0.1 + 0.4)
    # Half of the third waits too; the rest comes while the first two are worked on.
    assert ends[2] == pytest.approx(1.0 + 0.3)


def test_a_tensor_waits_for_its_submission_and_the_cores_for_its_result():
    tasks = [
        CoreTask("submit", 0, 0.01, sync=True),
        CoreTask("poll", 1, 0.02, sync=True),
        CoreTask("norm", 1, 0.1),
    ]
    line = run(machine(), tasks, [tensor(10, 0.3, needs=1)])
    assert line.end == pytest.approx(0.01 + 0.3 + 0.02 + 0.1)
    assert line.sync == pytest.approx(0.03)
    assert line.cores == pytest.approx(0.1)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[CoreTask], list[ScheduledGemv]]:
    """Phases as a decode step has them: some core work, a submission, some tensors, and so on."""
    tasks: list[CoreTask] = []
    tensors: list[ScheduledGemv] = []
    seconds = st.floats(1e-6, 1.0)
    for _ in range(draw(st.integers(1, 4))):
        for _ in range(draw(st.integers(0, 2))):
            moved = draw(st.sampled_from([0.0, 0.5 * MB, 40 * MB]))
            tasks.append(CoreTask("work", len(tensors), draw(seconds), moved, moved / 8, 60 * MB))
        for _ in range(draw(st.integers(0, 3))):
            tasks.append(CoreTask("submit", 0, draw(st.sampled_from([0.0, 1e-3])), sync=True))
            size = draw(st.just(0.0) | st.floats(0.1, 90))
            tensors.append(tensor(size, draw(seconds), needs=len(tasks)))
    return tasks, tensors


@given(
    schedules(), st.integers(0, 3), st.floats(0.1, 200), st.floats(1.0, 4.0), st.booleans(),
    st.sampled_from([0.0, 1e-4, 1e-3]), st.sampled_from([2e4, 2e5, inf]),
)  # fmt: skip
def test_what_holds_of_any_schedule(work, depth, room, more, background, queue, window):
    tasks, tensors = work
    bounds: dict[str, Any] = {
        "stream": MemoryReader(inf, window, 1e-3, 8, queue),
        "cores": MemoryReader(inf, 2e5, 1e-3, queue=queue),
    }

    def machine(**choices: Any) -> MemorySystem:
        return replace(plain_machine(**choices), **bounds)

    choices = {"depth": depth, "buffer": room * MB, "background": background}
    slow = run(machine(**choices), tasks, tensors)
    # Every second has one cause, every byte comes once.
    assert total(slow, tensors) == pytest.approx(slow.end, rel=1e-9)
    assert slow.streamed == pytest.approx(sum(t.bytes for t in tensors))
    assert slow.read == pytest.approx(sum(t.read for t in tasks))
    assert slow.written == pytest.approx(sum(t.written for t in tasks))
    # No schedule beats either server or the pins.
    assert slow.end >= max(sum(t.seconds for t in tensors), sum(t.seconds for t in tasks)) * (1 - 1e-9)
    assert slow.end >= (slow.streamed + slow.read + slow.written) / (100 * MB) * (1 - 1e-9)
    assert slow.events < 20 * (len(tasks) + len(tensors) + 1)
    # More bandwidth is never slower, nor is prefetching that gives way to the cores.
    fast = run(machine(peak=100 * MB * more, **choices), tasks, tensors)
    assert fast.end <= slow.end * (1 + 1e-9)
    if background:
        none = run(machine(depth=0), tasks, tensors)
        assert slow.end <= none.end * (1 + 1e-9)


def drawn(seed: int) -> tuple[MemorySystem, list[CoreTask], list[ScheduledGemv]]:
    """A machine and the phases of a decode step from a seed, the same everywhere."""
    pick = Random(seed).random  # of all methods the one that never changes

    def one_of(*values: float) -> float:
        return values[int(pick() * len(values))]

    def readers() -> dict[str, MemoryReader]:
        stream = (inf, one_of(2e4, 2e5, inf), 1e-3, int(one_of(1, 8)))
        cores = (inf, one_of(2e4, 2e5, inf), one_of(1e-3, 2e-3))
        queue = one_of(0.0, 1e-4, 1e-3)
        return {"stream": MemoryReader(*stream, queue), "cores": MemoryReader(*cores, queue=queue)}

    machine = MemorySystem(
        peak=100 * MB,
        read_share=one_of(1.0, 0.83),
        write_share=one_of(1.0, 0.37),
        stream_limit=one_of(1e15, 70 * MB, 20 * MB),
        depth=int(one_of(0, 1, 1, 2, 3)),
        background=pick() < 0.5,
        buffer=one_of(0.0, 3 * MB, 30 * MB, 1e12),
        **readers(),
    )
    tasks: list[CoreTask] = []
    tensors: list[ScheduledGemv] = []
    for _ in range(1 + int(pick() * 6)):
        for _ in range(int(pick() * 3)):
            moved = one_of(0.0, 0.5 * MB, 40 * MB) * pick()
            rate = one_of(inf, 60 * MB)
            tasks.append(
                CoreTask("work", len(tensors), one_of(0.0, 0.3) * pick() + 1e-6, moved, moved / 8, rate)
            )
        finished: list[CoreTask] = []
        for _ in range(int(pick() * 4)):
            tasks.append(CoreTask("submit", 0, one_of(0.0, 1e-3), sync=True))
            size, seconds = pick() * 90 * MB + 1.0, pick() + 1e-6
            tensors.append(slow_start(size, seconds, len(tasks)))
            finished.append(CoreTask("poll", len(tensors), one_of(0.0, 1e-3) * pick(), sync=True))
        tasks += finished
    return machine, tasks, tensors


def slow_start(size: float, seconds: float, needs: int) -> ScheduledGemv:
    """One that works on a tenth of its weights before the next can come."""
    return ScheduledGemv(
        "t", needs, size, seconds, lambda rate: max(seconds, 0.9 * size / rate + 0.1 * seconds)
    )


def fingerprint(line: StepTimeline) -> str:
    """The end of a schedule, its number of events and a hash of all else, to the last bit."""
    numbers = [*line.stalled, line.cores, line.sync, line.streamed, line.read, line.written]
    rest = hashlib.sha256(" ".join(float(x).hex() for x in numbers).encode()).hexdigest()[:16]
    return f"{line.end.hex()} {line.events} {rest}"


STORED = json.loads(Path(__file__).with_name("schedules.json").read_text())
"""Fingerprints of the schedules of seeds 0, 1, ..., of one loop without named steps."""


@pytest.mark.parametrize("seed", range(len(STORED)))
def test_schedules_come_out_as_they_did(seed):
    machine, tasks, tensors = drawn(seed)
    assert fingerprint(run(machine, tasks, tensors)) == STORED[seed]


@pytest.mark.parametrize(
    ("what", "schedule"),
    [
        ("seconds of a tensor is 0", Segments.one([], [tensor(1, 0.0)])),
        ("bytes of a tensor is -1000000", Segments.one([], [tensor(-1, 1.0)])),
        ("read of a task is -1", Segments.one([CoreTask("a", 0, 1.0, read=-1.0)])),
        ("rate of a task is 0", Segments.one([CoreTask("a", 0, 1.0, read=1.0, rate=0.0)])),
        ("needs of a task is -1", Segments.one([CoreTask("a", -1, 1.0)])),
    ],
)
def test_the_core_refuses_what_would_never_end(what, schedule):
    with pytest.raises(ValueError, match=what):
        play(machine(), [schedule])
    with pytest.raises(ValueError, match="peak is nan"):
        play(machine(peak=float("nan")), [], [])
