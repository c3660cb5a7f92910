"""Schedules written down once for each part that repeats, and played by the C++ core.

The blocks of a model are alike, so a step of hundreds of tasks has a few different parts. `play` gives what
`schedule.run` gives for all parts one behind the other; that is the readable form, and tests hold the two
equal.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from sailsim import _core
from sailsim.sim.schedule import CoreTask, MemorySystem, StepTimeline, Tensor


@dataclass(frozen=True, slots=True)
class Segment:
    """Tasks and tensors that follow each other; their `needs` count from the segment's start."""

    tasks: Sequence[CoreTask]
    tensors: Sequence[Tensor] = ()


def unrolled(segments: Sequence[Segment], order: Iterable[int]) -> tuple[list[CoreTask], list[Tensor]]:
    """All tasks and tensors of segments in the given order, as `schedule.run` takes them."""
    tasks: list[CoreTask] = []
    tensors: list[Tensor] = []
    for place in order:
        segment, before = segments[place], (len(tasks), len(tensors))
        tasks += [task._replace(needs=task.needs + before[1]) for task in segment.tasks]
        tensors += [tensor._replace(needs=tensor.needs + before[0]) for tensor in segment.tensors]
    return tasks, tensors


def play(machine: MemorySystem, segments: Sequence[Segment], order: Sequence[int] = (0,)) -> StepTimeline:
    """Play the segments that `order` names, one behind the other.

    Raises:
        RuntimeError: the needs of tasks and tensors can never be met.
        ValueError: a time, a size or a bandwidth is negative, or 0 where nothing would ever end; or a place
            in `order` has no segment.
    """
    # Segments that differ in their tensors alone share their tasks.
    tasks = {
        id(segment.tasks): [(t.needs, t.seconds, t.read, t.written, t.rate, t.sync) for t in segment.tasks]
        for segment in {id(segment.tasks): segment for segment in segments}.values()
    }
    tiles = [tensor.throttled for segment in segments for tensor in segment.tensors]
    number = count()
    line = _core.run_schedule(
        [
            (tasks[id(segment.tasks)], [(t.needs, t.bytes, t.seconds, next(number)) for t in segment.tensors])
            for segment in segments
        ],
        order,
        lambda tile, rate: tiles[tile](rate),
        peak=machine.peak,
        read_share=machine.read_share,
        write_share=machine.write_share,
        stream_limit=machine.stream_limit,
        depth=machine.depth,
        background=machine.background,
        buffer=machine.buffer,
        stream=(machine.stream.window, machine.stream.latency, machine.stream.parts),
        cores=(machine.cores.window, machine.cores.latency),
        queue=machine.queue,
    )
    return StepTimeline(
        line.end,
        list(line.stalled),
        line.cores,
        line.sync,
        line.streamed,
        line.read,
        line.written,
        line.events,
    )
