"""Schedules written down once for each part that repeats, and played by the C++ core.

The blocks of a model are alike, so a step of hundreds of tasks has a few different parts. `play` gives what
`schedule.run` gives for all parts one behind the other; that is the readable form, and tests hold the two
equal.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sailsim import _core
from sailsim.sim.dram import Reader
from sailsim.sim.schedule import CoreTask, MemorySystem, StepTimeline, Tensor

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
