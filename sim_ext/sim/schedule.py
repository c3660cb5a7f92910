"""The event-driven core of the fast engine: cores, PIM units and one pool of DRAM bandwidth.

Two servers work through their queues in order: the **cores** (one task at a time, on all threads) and the
**PIM units** (one tensor at a time, on all slices). A third actor, the **weight stream**, brings weights from
DRAM in the order of the tensors. Between two events all rates are constant; `run` steps from event to event.
`docs/engine.md` has the equations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import inf
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from sailsim import _core
from sailsim.sim.dram import Reader, alone, shares

UNBOUNDED = Reader(inf)


class CoreTask(NamedTuple):
    """Work of the host's cores.

    `needs` counts the tensors that the PIM units must have finished before it starts. It takes at least
    `seconds`, moves `read` and `written` bytes over DRAM, at most `rate` bytes/s together. `sync` marks
    waiting and hand-over, as opposed to computing.
    """

    name: str
    needs: int
    seconds: float
    read: float = 0.0
    written: float = 0.0
    rate: float = inf
    sync: bool = False


class Tensor(NamedTuple):
    """One GEMV on the PIM units.

    `needs` counts the core tasks that must be done before it starts (its submission is the last of them).
    With its weights on chip it takes `seconds`; `throttled(r)` is its time when they come just in time at
    r bytes/s. `bytes` of weights are streamed from DRAM, 0 where they lie elsewhere.
    """

    name: str
    needs: int
    bytes: float
    seconds: float
    throttled: Callable[[float], float]


@dataclass(frozen=True, slots=True)
class MemorySystem:
    """What the schedule needs to know of a machine; bandwidths in bytes/s, capacities in bytes.

    `read_share` and `write_share` are the shares of the DRAM peak that a kind of access can reach: moving r
    bytes/s occupies r / share of the peak.
    """

    peak: float
    read_share: float
    write_share: float
    stream_limit: float
    """What the units' ports and outstanding misses let the weight stream draw."""
    depth: int
    background: bool
    """Whether weights that no slice works on yet give way to the cores; else all are served as they come."""
    buffer: float
    """Room in the LLC for weights that wait; `depth` is how many tensors ahead they may be."""
    stream: Reader = UNBOUNDED
    """What the weight stream has under way, and a line's latency; without bounds both share max-min fair."""
    cores: Reader = UNBOUNDED
    """The same of the cores."""

    def divide(self, cores: float, stream: float, give_way: bool) -> tuple[float, float]:
        """What cores and weight stream get when they ask for so much of the peak, bytes/s.

        give_way: the stream gets what the cores leave.
        """
        own, host = self.stream, self.cores
        weights = replace(own, demand=stream, window=own.window / self.read_share)
        if give_way:
            part = min(cores, self.peak)
            return part, alone(self.peak, weights, part) if stream else 0.0
        work = replace(host, demand=cores, window=host.window / self.read_share)
        part, rest = shares(self.peak, (work, weights))
        return part, rest


@dataclass(slots=True)
class StepTimeline:
    """What happened: seconds by cause (exclusive, they add up to `end`) and bytes over DRAM."""

    end: float = 0.0
    stalled: list[float] = field(default_factory=list)
    """Per tensor: seconds it took beyond those with its weights on chip."""
    cores: float = 0.0
    """Seconds in which only the cores computed."""
    sync: float = 0.0
    """Seconds of hand-over in which no PIM unit worked."""
    streamed: float = 0.0
    read: float = 0.0
    written: float = 0.0
    events: int = 0


def run(machine: MemorySystem, tasks: Sequence[CoreTask], tensors: Sequence[Tensor]) -> StepTimeline:
    """Play the schedule from an empty machine to the end of all tasks and tensors.

    Raises:
        RuntimeError: the needs of tasks and tensors can never be met.
    """
    play = _Play(machine, tasks, tensors)
    while play.task < len(tasks) or play.tensor < len(tensors):
        now = play.who_works()
        play.who_asks(now)
        play.share_dram(now)
        play.next_event(now)
        play.move_on(now)
        play.settle(now)
    return play.line


@dataclass(slots=True)
class _Now:
    """What goes on between two events. Speeds are shares of a task or tensor a second."""

    task: CoreTask | None
    """That the cores work on."""
    tensor: Tensor | None
    """That the PIM units work on."""
    in_step: bool
    """Its own weights are still coming."""
    starved: bool
    """And none of them waits on chip."""
    task_speed: float = inf
    task_cost: float = 0.0
    """Bytes of the DRAM peak that the task occupies."""
    full_speed: float = 0.0
    """Of the tensor with its weights on chip."""
    tensor_speed: float = 0.0
    used: float = 0.0
    """Bytes/s that the tensor takes out of the buffer."""
    rate: float = 0.0
    """Bytes/s of the weight stream."""
    task_end: float = inf
    """Of this and what follows: seconds from here."""
    tensor_end: float = inf
    stream_end: float = inf
    empty: float = inf
    full: float = inf
    step: float = inf
    """To the nearest of them."""


class _Play:
    """A schedule on its way: where cores, PIM units and weight stream are."""

    def __init__(self, machine: MemorySystem, tasks: Sequence[CoreTask], tensors: Sequence[Tensor]) -> None:
        self.machine, self.tasks, self.tensors = machine, tasks, tensors
        self.line = StepTimeline(stalled=[0.0] * len(tensors))
        self.ahead = machine.depth > 0 and machine.buffer > 0
        self.divide = cache(machine.divide)  # the same few demands come again in every layer
        self.task = self.tensor = self.stream = 0  # the next or running one of each actor
        self.task_done = self.tensor_done = 0.0  # shares of the running ones
        self.streamed = 0.0  # bytes of tensor `stream` that have come
        self.waiting = 0.0  # bytes that have come and that no slice has used yet
        self._skip_without_bytes()

    def who_works(self) -> _Now:
        """The task and the tensor whose needs are met."""
        task = self.tasks[self.task] if self.task < len(self.tasks) else None
        if task is not None and task.needs > self.tensor:
            task = None
        tensor = self.tensors[self.tensor] if self.tensor < len(self.tensors) else None
        if tensor is not None and tensor.needs > self.task:
            tensor = None
        if task is None and tensor is None:
            raise RuntimeError(f"core task {self.task} and tensor {self.tensor} wait for each other")
        in_step = tensor is not None and self.stream == self.tensor
        return _Now(task, tensor, in_step, starved=in_step and self.waiting <= 0)

    def who_asks(self, now: _Now) -> None:
        """What all would do if nobody else asked for memory."""
        if now.task is not None:
            if now.task.seconds > 0:
                now.task_speed = 1 / now.task.seconds
            moved = now.task.read + now.task.written
            if moved:
                machine = self.machine
                now.task_speed = min(now.task_speed, now.task.rate / moved)
                now.task_cost = now.task.read / machine.read_share + now.task.written / machine.write_share
        if now.tensor is not None:
            now.tensor_speed = now.full_speed = 1 / now.tensor.seconds
            now.used = now.tensor.bytes * now.tensor_speed
        now.rate = self._stream_asks(now)

    def _stream_asks(self, now: _Now) -> float:
        """Weights are asked for only for the running tensor, or ahead of it while there is room."""
        if self.stream == len(self.tensors):
            return 0.0
        if not now.in_step and not (self.ahead and self.stream <= self.tensor + self.machine.depth):
            return 0.0
        if self.ahead and self.waiting >= self.machine.buffer:
            return min(self.machine.stream_limit, now.used)
        return self.machine.stream_limit

    def share_dram(self, now: _Now) -> None:
        """What they get, and how fast they are with it."""
        machine = self.machine
        demand = now.task_speed * now.task_cost if now.task_cost else 0.0
        give_way = machine.background and not now.in_step
        core_part, stream_part = self.divide(demand, now.rate / machine.read_share, give_way)
        if now.task_cost:
            now.task_speed = min(now.task_speed, core_part / now.task_cost)
        now.rate = stream_part * machine.read_share
        if now.tensor is not None and now.starved:
            size = now.tensor.bytes
            if self.ahead:  # the buffer smooths: as fast as weights come, at most as fast as the slices are
                now.tensor_speed = min(now.tensor_speed, now.rate / size)
            else:  # no buffer: each group waits for its own weights, and the stream for the slices
                now.tensor_speed = 1 / now.tensor.throttled(now.rate)
                now.rate = size * now.tensor_speed
            now.used = size * now.tensor_speed

    def next_event(self, now: _Now) -> None:
        """When each could be through, and which is the first."""
        if now.task is not None:
            now.task_end = (1 - self.task_done) / now.task_speed
        if now.tensor is not None:
            now.tensor_end = (1 - self.tensor_done) / now.tensor_speed
        if now.rate > 0:
            now.stream_end = (self.tensors[self.stream].bytes - self.streamed) / now.rate
        if now.in_step and not now.starved and now.used > now.rate:
            now.empty = self.waiting / (now.used - now.rate)
        if now.rate > now.used and self.waiting < self.machine.buffer:
            now.full = (self.machine.buffer - self.waiting) / (now.rate - now.used)
        now.step = min(now.task_end, now.tensor_end, now.stream_end, now.empty, now.full)

    def move_on(self, now: _Now) -> None:
        """Everything moves on by the step; who worked answers for the time."""
        step, line = now.step, self.line
        line.end += step
        line.events += 1
        if now.tensor is not None:
            self.tensor_done += step * now.tensor_speed
            # The share of its speed that it lacks: exactly 0 at full speed.
            line.stalled[self.tensor] += step * (1 - now.tensor_speed / now.full_speed)
        elif now.task is not None and now.task.sync:
            line.sync += step
        else:
            line.cores += step
        if now.task is not None:
            progress = step * now.task_speed if step > 0 else 0.0
            self.task_done += progress
            line.read += progress * now.task.read
            line.written += progress * now.task.written
        line.streamed += now.rate * step
        self.streamed += now.rate * step
        self.waiting = max(0.0, self.waiting + (now.rate - now.used) * step)

    def settle(self, now: _Now) -> None:
        """Who is through, up to rounding, makes room for the next."""
        due = now.step * (1 + 1e-12)
        if now.empty <= due:
            self.waiting = 0.0
        if now.full <= due:
            self.waiting = self.machine.buffer
        if now.stream_end <= due:
            self._next_stream()
        if now.tensor_end <= due:
            if self.stream == self.tensor:  # both end here, up to rounding
                self._next_stream()
            self.tensor, self.tensor_done = self.tensor + 1, 0.0
            if self.stream == self.tensor and not self.streamed:
                self.waiting = 0.0
        if now.task_end <= due:
            self.task, self.task_done = self.task + 1, 0.0

    def _next_stream(self) -> None:
        self.stream, self.streamed = self.stream + 1, 0.0
        self._skip_without_bytes()

    def _skip_without_bytes(self) -> None:
        """Tensors whose weights do not lie in DRAM are none of the stream's."""
        while self.stream < len(self.tensors) and self.tensors[self.stream].bytes == 0:
            self.stream += 1


_NOTHING = np.empty((1, 0))


def _never(tensor: int, rate: float) -> NDArray[np.float64]:
    raise IndexError(tensor)


@dataclass(frozen=True, slots=True)
class Segments:
    """Parts of a schedule with the same tasks, such as a model's blocks, whose tensors differ in their times.

    What tasks and tensors need counts from their segment's start. A row of `bytes` and `seconds` is a
    segment, a column a tensor; `throttled(tensor, rate)` are the seconds of a column at `rate` bytes/s.
    """

    tasks: Sequence[CoreTask]
    needs: Sequence[int]
    """Of each tensor."""
    bytes: NDArray[np.float64]
    seconds: NDArray[np.float64]
    throttled: Callable[[int, float], NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.bytes)

    @classmethod
    def of_cores(cls, tasks: Sequence[CoreTask]) -> Self:
        """A single segment without tensors."""
        return cls(tasks, (), _NOTHING, _NOTHING, _never)

    @classmethod
    def one(cls, tasks: Sequence[CoreTask], tensors: Sequence[Tensor] = ()) -> Self:
        """A single segment."""
        return cls(
            tasks,
            [tensor.needs for tensor in tensors],
            np.array([[tensor.bytes for tensor in tensors]], dtype=float),
            np.array([[tensor.seconds for tensor in tensors]], dtype=float),
            lambda tensor, rate: np.array([tensors[tensor].throttled(rate)], dtype=float),
        )

    def tensors(self, at: int) -> list[Tensor]:
        """Of one segment, as `schedule.run` takes them."""
        columns = zip(self.needs, self.bytes[at].tolist(), self.seconds[at].tolist(), strict=True)
        return [
            Tensor(f"{column}", *numbers, partial(self._throttled, at, column))
            for column, numbers in enumerate(columns)
        ]

    def _throttled(self, at: int, column: int, rate: float) -> float:
        return float(self.throttled(column, rate)[at])


def unrolled(kinds: Iterable[Segments], order: Iterable[int] = (0,)) -> tuple[list[CoreTask], list[Tensor]]:
    """All tasks and tensors of segments in the given order, as `schedule.run` takes them."""
    segments = [(kind.tasks, kind.tensors(at)) for kind in kinds for at in range(len(kind))]
    tasks: list[CoreTask] = []
    tensors: list[Tensor] = []
    for place in order:
        before = (len(tasks), len(tensors))
        tasks += [task._replace(needs=task.needs + before[1]) for task in segments[place][0]]
        tensors += [tensor._replace(needs=tensor.needs + before[0]) for tensor in segments[place][1]]
    return tasks, tensors


def _bounds(reader: Reader) -> tuple[float, float, int, float]:
    """What the core takes of a reader: all but the demand, which is the schedule's."""
    if reader.even:
        raise ValueError("a reader's bursts come evenly; allowed in a schedule are those at random times")
    return reader.window, reader.latency, reader.parts, reader.queue


def play(machine: MemorySystem, kinds: Sequence[Segments], order: Sequence[int] = (0,)) -> StepTimeline:
    """Play the segments that `order` names, one behind the other; it counts them over all `kinds`.

    Raises:
        RuntimeError: the needs of tasks and tensors can never be met.
        ValueError: a time, a size or a bandwidth is negative, or 0 where nothing would ever end; a reader's
            bursts come evenly; or a place in `order` has no segment.
    """
    line = _core.run_schedule(
        [([task[1:] for task in kind.tasks], kind.needs, kind.bytes, kind.seconds) for kind in kinds],
        order,
        lambda kind, tensor, rate: kinds[kind].throttled(tensor, rate),
        peak=machine.peak,
        read_share=machine.read_share,
        write_share=machine.write_share,
        stream_limit=machine.stream_limit,
        depth=machine.depth,
        background=machine.background,
        buffer=machine.buffer,
        stream=_bounds(machine.stream),
        cores=_bounds(machine.cores),
    )
    return StepTimeline(
        line.end,
        line.stalled,
        line.cores,
        line.sync,
        line.streamed,
        line.read,
        line.written,
        line.events,
    )
