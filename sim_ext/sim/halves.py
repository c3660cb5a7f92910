"""A step's batch in two halves: while the cores work for one, the units work for the other.

Each half has its own tasks and tensors, which keep their order. What is settled here is the order between
those of both on the cores and on the units, from how long each would take by itself; how long all of it takes
together the schedule then says. `docs/engine.md` has the rule and what it leaves out.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from sailsim.sim.point import SEEDS, Point
from sailsim.sim.schedule import CoreTask, Tensor

Schedule = tuple[Sequence[CoreTask], Sequence[Tensor]]
"""What the cores and what the units have to do, in order."""
Place = tuple[int, int]
"""A half, and which of its tasks or tensors."""


def rows_of(point: Point) -> tuple[Point, ...]:
    """The point itself; with `overlap` its two halves, each with activations of its own."""
    if not point.overlap:
        return (point,)
    half, other = point.batch // 2, (point.seed + 1) % SEEDS
    return (
        replace(point, batch=point.batch - half, overlap=False),
        replace(point, batch=half, overlap=False, seed=other),
    )


def taking_turns(first: Schedule, second: Schedule, bandwidth: float) -> tuple[list[CoreTask], list[Tensor]]:
    """Tasks and tensors of two schedules as those of one.

    Whenever the cores are free, the half goes on that has the least to do until it hands the units something;
    the units take tensors as they are handed over, with weights at `bandwidth` bytes/s. What a task or a
    tensor needs, it needs of its own half alone.

    Raises:
        RuntimeError: the needs of a half's tasks and tensors can never be met.
    """
    halves = [_Half(*schedule, bandwidth) for schedule in (first, second)]
    tasks, tensors = _in_turn(halves)
    of_tasks = [_where(tasks, half) for half in (0, 1)]
    of_tensors = [_where(tensors, half) for half in (0, 1)]
    core_tasks = [(half, halves[half].tasks[at]) for half, at in tasks]
    products = [(half, halves[half].tensors[at]) for half, at in tensors]
    return (
        [task._replace(needs=_after(of_tensors[half], task.needs)) for half, task in core_tasks],
        [tensor._replace(needs=_after(of_tasks[half], tensor.needs)) for half, tensor in products],
    )


@dataclass
class _Half:
    """A half's schedule, and how far it has come."""

    tasks: Sequence[CoreTask]
    tensors: Sequence[Tensor]
    bandwidth: float
    done: int = 0
    """Tasks."""
    ends: list[float] = field(default_factory=list)
    """When each tensor that was handed over will be through."""

    def __post_init__(self) -> None:
        took = (max(t.seconds, (t.read + t.written) / t.rate) for t in self.tasks)
        self._until = [0.0, *accumulate(took)]
        self._handing = [tensor.needs for tensor in self.tensors]

    @property
    def ready(self) -> float:
        """When the next task may begin; infinite where it waits for what nobody has handed over."""
        needs = self.tasks[self.done].needs
        if needs > len(self.ends):
            return float("inf")
        return self.ends[needs - 1] if needs else 0.0

    @property
    def left(self) -> float:
        """Seconds of the cores until the units have something to do, or to the end."""
        after = bisect_right(self._handing, self.done)
        end = self._handing[after] if after < len(self._handing) else len(self.tasks)
        return self._until[end] - self._until[self.done]

    def work(self) -> float:
        """Do the next task; returns its seconds."""
        self.done += 1
        return self._until[self.done] - self._until[self.done - 1]

    def hand_over(self, now: float, free: float) -> float:
        """Tensors whose needs are met go to the units, which are free from then on; returns when they are
        through."""
        while len(self.ends) < len(self.tensors) and self.tensors[len(self.ends)].needs <= self.done:
            tensor = self.tensors[len(self.ends)]
            free = max(now, free) + max(tensor.seconds, tensor.bytes / self.bandwidth)
            self.ends.append(free)
        return free


def _in_turn(halves: Sequence[_Half]) -> tuple[list[Place], list[Place]]:
    """The order of all tasks and of all tensors."""
    tasks: list[Place] = []
    tensors: list[Place] = []
    now = free = 0.0
    while True:
        for at, half in enumerate(halves):
            handed = len(half.ends)
            free = half.hand_over(now, free)
            tensors += [(at, i) for i in range(handed, len(half.ends))]
        open_halves = [at for at, half in enumerate(halves) if half.done < len(half.tasks)]
        if not open_halves:
            return tasks, tensors
        now = max(now, min(halves[at].ready for at in open_halves))
        if now == float("inf"):
            raise RuntimeError("tasks and tensors of a half wait for each other")
        chosen = min((at for at in open_halves if halves[at].ready <= now), key=lambda at: halves[at].left)
        tasks.append((chosen, halves[chosen].done))
        now += halves[chosen].work()


def _where(order: Sequence[Place], half: int) -> list[int]:
    """Where in the common order each of a half's is."""
    return [place for place, (whose, _) in enumerate(order) if whose == half]


def _after(places: Sequence[int], needs: int) -> int:
    """How many of all must be done so that a half's first `needs` are."""
    return places[needs - 1] + 1 if needs else 0
