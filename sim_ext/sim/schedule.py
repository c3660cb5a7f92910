"""The event-driven core of the fast engine: cores, PIM units and one pool of DRAM bandwidth.

Two servers work through their queues in order: the **cores** (one task at a time, on all threads) and the
**PIM units** (one tensor at a time, on all slices). A third actor, the **weight stream**, brings weights from
DRAM in the order of the tensors. Between two events all rates are constant; `run` steps from event to event.
`docs/engine.md` has the equations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import inf

from sailsim.sim.dram import Reader, alone, shares

UNBOUNDED = Reader(inf)


@dataclass(frozen=True, slots=True)
class CoreTask:
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


@dataclass(frozen=True, slots=True)
class Tensor:
    """One GEMV on the PIM units.

    `needs` counts the core tasks that must be done before it starts (its submission is the last of them).
    With its weights on chip it takes `seconds`; `throttled(r)` is its time when they come just in time at
    r bytes/s. `bytes` of weights are streamed from DRAM.
    """

    name: str
    needs: int
    bytes: float
    seconds: float
    throttled: Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Machine:
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
    queue: float = 0.0
    """Seconds of work that come to DRAM at once (`Dram.queue`)."""

    def divide(self, cores: float, stream: float, give_way: bool) -> tuple[float, float]:
        """What cores and weight stream get when they ask for so much of the peak, bytes/s.

        give_way: the stream gets what the cores leave.
        """
        own = self.stream
        weights = Reader(stream, own.window / self.read_share, own.latency, own.parts)
        if give_way:
            part = min(cores, self.peak)
            return part, alone(self.peak, self.queue, weights, part) if stream else 0.0
        work = Reader(cores, self.cores.window / self.read_share, self.cores.latency)
        part, rest = shares(self.peak, self.queue, (work, weights))
        return part, rest


@dataclass(slots=True)
class Timeline:
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


def run(machine: Machine, tasks: Sequence[CoreTask], tensors: Sequence[Tensor]) -> Timeline:
    """Play the schedule from an empty machine to the end of all tasks and tensors.

    Raises:
        RuntimeError: the needs of tasks and tensors can never be met.
    """
    line = Timeline(stalled=[0.0] * len(tensors))
    n_tasks, n_tensors = len(tasks), len(tensors)
    ahead = machine.depth > 0 and machine.buffer > 0
    divide = cache(machine.divide)  # the same few demands come again in every layer

    task = tensor = stream = 0  # the next or running one of each actor
    task_done = tensor_done = 0.0  # shares of the running ones
    streamed = 0.0  # bytes of tensor `stream` that have come
    waiting = 0.0  # bytes that have come and that no slice has used yet

    while task < n_tasks or tensor < n_tensors:
        cores_busy = task < n_tasks and tasks[task].needs <= tensor
        pim_busy = tensor < n_tensors and tensors[tensor].needs <= task
        if not cores_busy and not pim_busy:
            raise RuntimeError(f"core task {task} and tensor {tensor} wait for each other")

        # What the cores ask for: speeds are shares of the task per second, costs bytes of the DRAM peak.
        task_speed, task_cost, core_demand = inf, 0.0, 0.0
        if cores_busy:
            job = tasks[task]
            if job.seconds > 0:
                task_speed = 1 / job.seconds
            if job.read or job.written:
                task_speed = min(task_speed, job.rate / (job.read + job.written))
                task_cost = job.read / machine.read_share + job.written / machine.write_share
                core_demand = task_speed * task_cost

        # What the running tensor takes out of the buffer if its weights are there.
        tensor_speed = full_speed = used = 0.0
        if pim_busy:
            size = tensors[tensor].bytes
            tensor_speed = full_speed = 1 / tensors[tensor].seconds
            used = size * tensor_speed
        in_step = pim_busy and stream == tensor  # its own weights are still coming
        starved = in_step and waiting <= 0

        # What the weight stream asks for: only for the running tensor, or ahead of it while there is room.
        rate = 0.0
        if stream < n_tensors and (in_step or (ahead and stream <= tensor + machine.depth)):
            rate = machine.stream_limit
            if ahead and waiting >= machine.buffer:
                rate = min(rate, used)

        core_part, stream_part = divide(
            core_demand, rate / machine.read_share, machine.background and not in_step
        )
        if task_cost:
            task_speed = min(task_speed, core_part / task_cost)
        rate = stream_part * machine.read_share
        if starved:
            if ahead:  # the buffer smooths: as fast as weights come, at most as fast as the slices are
                tensor_speed = min(tensor_speed, rate / size)
            else:  # no buffer: each group waits for its own weights, and the stream for the slices
                tensor_speed = 1 / tensors[tensor].throttled(rate)
                rate = size * tensor_speed
            used = size * tensor_speed

        # The next events, in seconds from here.
        task_end = (1 - task_done) / task_speed if cores_busy else inf
        tensor_end = (1 - tensor_done) / tensor_speed if pim_busy else inf
        stream_end = (tensors[stream].bytes - streamed) / rate if rate > 0 else inf
        empty = waiting / (used - rate) if in_step and not starved and used > rate else inf
        full = (machine.buffer - waiting) / (rate - used) if rate > used and waiting < machine.buffer else inf
        step = min(task_end, tensor_end, stream_end, empty, full)
        due = step * (1 + 1e-12)

        # Everything moves on by `step`; who worked answers for the time.
        line.end += step
        line.events += 1
        if pim_busy:
            tensor_done += step * tensor_speed
            # The share of its speed that it lacks: exactly 0 at full speed.
            line.stalled[tensor] += step * (1 - tensor_speed / full_speed)
        elif tasks[task].sync:
            line.sync += step
        else:
            line.cores += step
        if cores_busy:
            progress = step * task_speed if step > 0 else 0.0
            task_done += progress
            line.read += progress * job.read
            line.written += progress * job.written
        line.streamed += rate * step
        streamed += rate * step
        waiting = max(0.0, waiting + (rate - used) * step)

        if empty <= due:
            waiting = 0.0
        if full <= due:
            waiting = machine.buffer
        if stream_end <= due:
            stream, streamed = stream + 1, 0.0
        if tensor_end <= due:
            if stream == tensor:  # both end here, up to rounding
                stream, streamed = stream + 1, 0.0
            tensor, tensor_done = tensor + 1, 0.0
            if stream == tensor and not streamed:
                waiting = 0.0
        if task_end <= due:
            task, task_done = task + 1, 0.0
    return line
