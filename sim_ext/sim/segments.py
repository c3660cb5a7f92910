"""Schedules written down once for each part that repeats, and played by the C++ core.

The blocks of a model are alike, so a step of hundreds of tasks has a few different parts. `play` gives what
`schedule.run` gives for all parts one behind the other; that is the readable form, and tests hold the two
equal.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sailsim import _core
from sailsim.sim.schedule import CoreTask, Machine, Tensor, Timeline


@dataclass(frozen=True, slots=True)
class Segment:
    """Tasks and tensors that follow each other; their `needs` count from the segment's start."""

    tasks: Sequence[CoreTask]
    tensors: Sequence[Tensor] = ()


def unrolled(segments: Iterable[Segment]) -> tuple[list[CoreTask], list[Tensor]]:
    """All tasks and tensors of segments one behind the other, as `schedule.run` takes them."""
    tasks: list[CoreTask] = []
    tensors: list[Tensor] = []
    for segment in segments:
        before = len(tasks), len(tensors)
        tasks += [replace(task, needs=task.needs + before[1]) for task in segment.tasks]
        tensors += [replace(tensor, needs=tensor.needs + before[0]) for tensor in segment.tensors]
    return tasks, tensors


def play(machine: Machine, segments: Sequence[Segment]) -> Timeline:
    """Play segments one behind the other; one that occurs several times is best the same object.

    Raises:
        RuntimeError: the needs of tasks and tensors can never be met.
        ValueError: a time, a size or a bandwidth is negative, or 0 where nothing would ever end.
    """
    different = {id(segment): segment for segment in segments}
    place = {key: i for i, key in enumerate(different)}
    tiles = [tensor for segment in different.values() for tensor in segment.tensors]
    number = iter(range(len(tiles)))
    line = _core.run_schedule(
        [
            (
                [(t.needs, t.seconds, t.read, t.written, t.rate, t.sync) for t in segment.tasks],
                [(t.needs, t.bytes, t.seconds, next(number)) for t in segment.tensors],
            )
            for segment in different.values()
        ],
        [place[id(segment)] for segment in segments],
        lambda tile, rate: tiles[tile].throttled(rate),
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
    return Timeline(
        line.end,
        list(line.stalled),
        line.cores,
        line.sync,
        line.streamed,
        line.read,
        line.written,
        line.events,
    )
