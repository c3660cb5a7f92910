"""The event-driven core of the fast engine: cores, PIM units and one pool of DRAM bandwidth.

Two servers work through their queues in order: the **cores** (one task at a time, on all threads) and the
**PIM units** (one tensor at a time, on all slices). A third actor, the **weight stream**, brings weights from
DRAM in the order of the tensors. Between two events all rates are constant; the C++ core steps from event to
event (`sim_ext/pim/schedule.cc`). `docs/engine.md` has the equations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from sailsim import _core
from sailsim.sim.dram import OPEN_LOAD, Reader

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


StepTimeline = _core.ScheduleTimeline
"""What happened: seconds by cause (exclusive, they add up to `end`) and bytes over DRAM."""


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
        """Of one segment."""
        columns = zip(self.needs, self.bytes[at].tolist(), self.seconds[at].tolist(), strict=True)
        return [
            Tensor(f"{column}", *numbers, partial(self._throttled, at, column))
            for column, numbers in enumerate(columns)
        ]

    def _throttled(self, at: int, column: int, rate: float) -> float:
        return float(self.throttled(column, rate)[at])


def unrolled(kinds: Iterable[Segments], order: Iterable[int] = (0,)) -> tuple[list[CoreTask], list[Tensor]]:
    """All tasks and tensors of segments in the given order, as those of one."""
    segments = [(kind.tasks, kind.tensors(at)) for kind in kinds for at in range(len(kind))]
    tasks: list[CoreTask] = []
    tensors: list[Tensor] = []
    for place in order:
        before = (len(tasks), len(tensors))
        tasks += [task._replace(needs=task.needs + before[1]) for task in segments[place][0]]
        tensors += [tensor._replace(needs=tensor.needs + before[0]) for tensor in segments[place][1]]
    return tasks, tensors


def play(machine: MemorySystem, kinds: Sequence[Segments], order: Sequence[int] = (0,)) -> StepTimeline:
    """Play the segments that `order` names, one behind the other; it counts them over all `kinds`.

    Raises:
        RuntimeError: the needs of tasks and tensors can never be met.
        ValueError: a time, a size or a bandwidth is negative, or 0 where nothing would ever end; or a place
            in `order` has no segment.
    """
    return _core.run_schedule(
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
        open_load=OPEN_LOAD.value,
        stream=machine.stream.fields,
        cores=machine.cores.fields,
    )
