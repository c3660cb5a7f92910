"""Discrete-event loop of serving: requests arrive, steps end, keys and values arrive over a link.

All events of one time are handled before any server begins its next step. The loop is deterministic: equal
requests and servers give equal times, to the bit.
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
MOST_GROWTH = 0.1
"""Largest `ServingResult.queue_growth` of a stable queue."""
FEWEST_ARRIVALS = 20
"""Arrivals in the second half of the time, below which a queue is taken to be stable."""


@dataclass(frozen=True)
class KvLink:
    """Link from each server of prompts to the servers of answers."""

    bytes_per_s: float
    bytes_per_token: float
    """Bytes of keys and values of a token."""


@dataclass(repr=False)
class ServingResult(ShortRepr):
    """Times and tokens of served requests: arrays of shape ``(requests,)``, times in s from the first arrival
    on."""

    arrival_s: NDArray[np.float64]
    first_s: NDArray[np.float64]
    """End of the step that made the first token."""
    last_s: NDArray[np.float64]
    prompt: NDArray[np.int64]
    output: NDArray[np.int64]
    restarts: NDArray[np.int64]
    """Number of preemptions of each request."""
    servers: Sequence[Server]
    moved_bytes: float = 0.0
    waiting: list[int] = field(default_factory=list)
    """Length of the queue after each arrival."""

    @property
    def seconds(self) -> float:
        """Seconds from the first arrival to the last token."""
        return float(self.last_s.max())

    @property
    def queue_growth(self) -> float:
        """Growth of the queue over the arrivals in the second half of the time, 0..1; 0 for fewer than
        `FEWEST_ARRIVALS`."""
        half = np.searchsorted(self.arrival_s, self.arrival_s[-1] / 2)
        count = len(self.waiting) - int(half)
        if count < FEWEST_ARRIVALS:
            return 0.0
        return max(0.0, (self.waiting[-1] - self.waiting[int(half)]) / count)

    @property
    def overloaded(self) -> bool:
        """Whether the queue would grow without end at this rate of arrivals."""
        return self.queue_growth > MOST_GROWTH


_ARRIVAL, _MOVED, _STEP = range(3)


class ServingLoop:
    """Simulation of requests on servers, some of which may read prompts for others that answer."""

    def __init__(
        self,
        requests: Sequence[Request],
        servers: Sequence[Server],
        routing: Routing = "turns",
        link: KvLink | None = None,
        watch: Callable[[ServingLoop], None] | None = None,
    ) -> None:
        """Prepare a simulation; `watch` is called after every event.

        Raises SailsimError for a request that a server cannot hold, and for inconsistent roles of servers.
        """
        self.states = [RequestState(index, request) for index, request in enumerate(requests)]
        self.servers, self.routing, self.link, self.watch = servers, routing, link, watch
        self.now, self.moved_tokens = 0.0, 0
        self._heap: list[tuple[float, int, int, int, int]] = []
        self._count = 0
        self._turns = {"prompts": 0, "answers": 0}
        self._link_free = [0.0] * len(servers)
        self._readers = [at for at, server in enumerate(servers) if server.role != "answers"]
        self._answerers = [at for at, server in enumerate(servers) if server.role == "answers"]
        split = {server.role != "both" for server in servers}
        if len(split) != 1 or not self._readers or (True in split) != bool(self._answerers and link):
            raise SailsimError(
                "servers have roles that do not go together; allowed are servers of both, or some of "
                "prompts, some of answers and a link."
            )
        most = min(server.policy.most_tokens(server.blocks.count) for server in servers)
        for state in self.states:
            if state.prompt + state.output > most:
                raise SailsimError(
                    f"request {state.index + 1} has {state.prompt} + {state.output} tokens; allowed are "
                    f"{most}, which the memory holds for one next to the weights."
                )

    def run(self) -> ServingResult:
        """Simulate until all requests are done."""
        arrivals = iter(self.states)
        waiting: list[int] = []
        self._push_arrival(arrivals)
        while self._heap:
            self.now, kind, _, place, index = heappop(self._heap)
            if kind == _ARRIVAL:
                self._route(self._readers, "prompts", self.states[index])
                self._push_arrival(arrivals)
                waiting.append(sum(len(server.waiting) for server in self.servers))
            elif kind == _MOVED:
                state = self.states[index]
                self.servers[place].release(state)
                state.computed, state.received = 0, state.prompt
                self._route(self._answerers, "answers", state)
            else:
                self._end_step(place)
            if not self._heap or self._heap[0][0] > self.now:
                self._begin_steps()
            if self.watch:
                self.watch(self)
        return self._result(waiting)

    def _push(self, time: float, kind: int, place: int, index: int) -> None:
        self._count += 1
        heappush(self._heap, (time, kind, self._count, place, index))

    def _push_arrival(self, arrivals: Iterator[RequestState]) -> None:
        if (state := next(arrivals, None)) is not None:
            self._push(state.request.arrival_s, _ARRIVAL, 0, state.index)

    def _route(self, group: list[int], role: str, state: RequestState) -> None:
        place, servers = group[0], self.servers
        if len(group) > 1:
            if self.routing == "turns":
                place = group[self._turns[role] % len(group)]
                self._turns[role] += 1
            elif self.routing == "least":
                place = min(group, key=lambda at: servers[at].load)
            else:
                place = max(group, key=lambda at: (len(servers[at].cached(state)), -servers[at].load, -at))
        server = servers[place]
        server.waiting.append(state)
        server.load += state.prompt + state.generated

    def _begin_steps(self) -> None:
        for place, server in enumerate(self.servers):
            if server.batch is None and (server.waiting or server.running):
                seconds = server.begin()
                if seconds is not None:
                    self._push(self.now + seconds, _STEP, place, 0)

    def _end_step(self, place: int) -> None:
        for state in self.servers[place].end(self.now):
            link = self.link
            assert link is not None
            self.moved_tokens += state.computed
            begin = max(self.now, self._link_free[place])
            self._link_free[place] = begin + state.computed * link.bytes_per_token / link.bytes_per_s
            self._push(self._link_free[place], _MOVED, place, state.index)

    def _result(self, waiting: list[int]) -> ServingResult:
        arrivals = np.array([state.request.arrival_s for state in self.states])
        names = ("first_s", "last_s", "prompt", "output", "restarts")
        columns = {name: np.array([getattr(state, name) for state in self.states]) for name in names}
        moved = self.moved_tokens * self.link.bytes_per_token if self.link else 0.0
        return ServingResult(arrivals, **columns, servers=self.servers, moved_bytes=moved, waiting=waiting)
