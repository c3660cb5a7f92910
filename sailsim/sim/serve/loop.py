"""The clock: requests come, steps end, keys and values arrive over a link. One heap has all of that.

What happens at one time happens before any server begins its next step. Nothing is drawn by chance here:
equal requests and servers give equal times, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sailsim.base.arguments import ShortRepr
from sailsim.base.errors import SailsimError
from sailsim.sim.serve.server import RequestState, Server
from sailsim.workloads.requests import Request

Routing = Literal["turns", "least", "prefix"]
ROUTINGS: tuple[Routing, ...] = get_args(Routing)
GROWS = 0.1
"""A queue has no end where, of the requests that come in the second half of the time of arrivals, more than
this share is added to those that wait."""
FEWEST = 20
"""Requests of that half, below which nothing is said of the queue."""


@dataclass(frozen=True)
class KvLink:
    """Between servers of prompts and of answers; each of the first has one of its own."""

    bytes_per_s: float
    bytes_per_token: float
    """Of keys and values."""


@dataclass(repr=False)
class ServingResult(ShortRepr):
    """What came of requests: arrays of shape ``(requests,)``, times in seconds after the first arrival."""

    arrival_s: NDArray[np.float64]
    first_s: NDArray[np.float64]
    """End of the step that made the first token."""
    last_s: NDArray[np.float64]
    prompt: NDArray[np.int64]
    output: NDArray[np.int64]
    restarts: NDArray[np.int64]
    """How often each lost its blocks."""
    servers: Sequence[Server]
    moved_bytes: float = 0.0
    waiting: list[int] = field(default_factory=list)
    """Requests that no step has begun on, after each arrival."""

    @property
    def seconds(self) -> float:
        """From the first arrival to the last token."""
        return float(self.last_s.max())

    @property
    def grows(self) -> float:
        """Share of the second half's arrivals that the queue grew by, 0..1; 0 for fewer than `FEWEST`."""
        half = np.searchsorted(self.arrival_s, self.arrival_s[-1] / 2)
        count = len(self.waiting) - int(half)
        if count < FEWEST:
            return 0.0
        return max(0.0, (self.waiting[-1] - self.waiting[int(half)]) / count)

    @property
    def endless(self) -> bool:
        """Whether the queue would have no end if requests came on like this."""
        return self.grows > GROWS


_ARRIVAL, _MOVED, _STEP = range(3)


class ServingLoop:
    """Requests on servers, some of which may read prompts for others that answer."""

    def __init__(
        self,
        requests: Sequence[Request],
        servers: Sequence[Server],
        routing: Routing = "turns",
        link: KvLink | None = None,
        watch: Callable[[ServingLoop], None] | None = None,
    ) -> None:
        """`watch` is called after every event. Raises SailsimError for a request that a server cannot hold,
        and for servers that do not go together."""
        self.jobs = [RequestState(index, request) for index, request in enumerate(requests)]
        self.servers, self.routing, self.link, self.watch = servers, routing, link, watch
        self.now, self.moved_tokens = 0.0, 0
        self._heap: list[tuple[float, int, int, int, int]] = []
        self._count = 0
        self._turns = {"prompts": 0, "answers": 0}
        self._link_free = [0.0] * len(servers)
        self._first = [at for at, server in enumerate(servers) if server.role != "answers"]
        self._then = [at for at, server in enumerate(servers) if server.role == "answers"]
        self._check()

    def _check(self) -> None:
        split = {server.role != "both" for server in self.servers}
        if len(split) != 1 or not self._first or (True in split) != bool(self._then and self.link):
            raise SailsimError(
                "servers have roles that do not go together; allowed are servers of both, or some of "
                "prompts, some of answers and a link."
            )
        most = min(server.policy.most_tokens(server.blocks.count) for server in self.servers)
        for job in self.jobs:
            if job.prompt + job.output > most:
                raise SailsimError(
                    f"request {job.index + 1} has {job.prompt} + {job.output} tokens; allowed are {most}, "
                    "which the memory beside the weights holds for one."
                )

    def run(self) -> ServingResult:
        """Until all is done."""
        coming = iter(self.jobs)
        waiting: list[int] = []
        self._push_arrival(coming)
        while self._heap:
            self.now, kind, _, place, index = heappop(self._heap)
            if kind == _ARRIVAL:
                self._route(self._first, "prompts", self.jobs[index])
                self._push_arrival(coming)
                waiting.append(sum(len(server.waiting) for server in self.servers))
            elif kind == _MOVED:
                job = self.jobs[index]
                self.servers[place].leave(job)
                job.computed, job.carried = 0, job.prompt
                self._route(self._then, "answers", job)
            else:
                self._end_step(place)
            if not self._heap or self._heap[0][0] > self.now:
                self._begin_steps()
            if self.watch:
                self.watch(self)
        return self._served(waiting)

    def _push(self, time: float, kind: int, place: int, index: int) -> None:
        self._count += 1
        heappush(self._heap, (time, kind, self._count, place, index))

    def _push_arrival(self, coming: Iterator[RequestState]) -> None:
        job = next(coming, None)
        if job is not None:
            self._push(job.request.arrival_s, _ARRIVAL, 0, job.index)

    def _route(self, group: list[int], role: str, job: RequestState) -> None:
        """Send a request to one of some servers."""
        place = group[0]
        if len(group) > 1:
            servers = self.servers
            if self.routing == "turns":
                place = group[self._turns[role] % len(group)]
                self._turns[role] += 1
            elif self.routing == "least":
                place = min(group, key=lambda at: servers[at].load)
            else:
                place = max(group, key=lambda at: (len(servers[at].found(job)), -servers[at].load, -at))
        self.servers[place].enter(job)

    def _begin_steps(self) -> None:
        for place, server in enumerate(self.servers):
            if server.work is None and (server.waiting or server.running):
                seconds = server.begin()
                if seconds is not None:
                    self._push(self.now + seconds, _STEP, place, 0)

    def _end_step(self, place: int) -> None:
        for job in self.servers[place].end(self.now).moving:
            link = self.link
            assert link is not None
            self.moved_tokens += job.computed
            begin = max(self.now, self._link_free[place])
            self._link_free[place] = begin + job.computed * link.bytes_per_token / link.bytes_per_s
            self._push(self._link_free[place], _MOVED, place, job.index)

    def _served(self, waiting: list[int]) -> ServingResult:
        arrivals = np.array([job.request.arrival_s for job in self.jobs])
        of_job = ("first_s", "last_s", "prompt", "output", "restarts")
        columns = {name: np.array([getattr(job, name) for job in self.jobs]) for name in of_job}
        moved = self.moved_tokens * self.link.bytes_per_token if self.link else 0.0
        return ServingResult(arrivals, **columns, servers=self.servers, moved_bytes=moved, waiting=waiting)
