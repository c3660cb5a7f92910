"""Servers of requests: nothing is lost or made at any event, order is kept, and schedulers do as they say."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sailsim.base.errors import SailsimError
from sailsim.sim.serve.loop import ROUTINGS, KvLink, ServingLoop, ServingResult
from sailsim.sim.serve.server import SCHEDULERS, SchedulerPolicy, Server
from sailsim.workloads.requests import Request

from ...examples import examples

BLOCK = 16


@dataclass
class Straight:
    """A step: some time of its own, and some for every token."""

    own: float = 0.01
    prompt: float = 1e-4
    answer: float = 1e-3

    def __call__(self, prefill: list[tuple[int, int]], decode_contexts: list[int]) -> float:
        assert all(new > 0 and old >= 0 for new, old in prefill)
        return self.own + self.prompt * sum(new for new, _ in prefill) + self.answer * len(decode_contexts)


def conserved(loop: ServingLoop) -> None:
    """Blocks of every server, and tokens of all together."""
    for server in loop.servers:
        memory, moving = server.blocks, list(server.moving.values())
        holders = server.running + moving
        held = [block for job in holders for block in job.blocks]
        assert {at: n for at, n in enumerate(memory.users) if n} == Counter(held)
        assert set(memory.free) == set(range(memory.count)) - set(held)
        assert server.load == sum(job.prompt + job.generated for job in [*holders, *server.waiting])
        for job in holders:
            assert len(set(job.blocks)) == len(job.blocks)
            assert job.computed <= len(job.blocks) * BLOCK
        assert all(not job.blocks for job in server.waiting)
        assert len(server.running) <= server.policy.sequences
    arrived = loop.moved_tokens - sum(job.prompt for server in loop.servers for job in server.moving.values())
    total = sum(each.computed + each.reused + each.received - each.lost for each in loop.servers)
    # A job that has been taken by the next server has its own tokens and those that it came with.
    assert total == sum(job.computed for job in loop.states) + arrived


@st.composite
def traces(draw: st.DrawFn) -> list[Request]:
    beginnings = draw(st.booleans())
    time, found = 0.0, []
    for _ in range(draw(st.integers(1, 25))):
        time += draw(st.sampled_from([0.0, 0.001, 0.05, 1.0]))
        prompt, output = draw(st.integers(1, 1200)), draw(st.integers(1, 60))
        root = draw(st.integers(0, 2))
        hashes = tuple(10 * root + at for at in range(-(-prompt // 512))) if beginnings else ()
        found.append(Request(time, prompt, output, hashes))
    return found


@examples(150)
@given(
    traces(),
    st.sampled_from(SCHEDULERS),
    st.sampled_from(ROUTINGS),
    st.integers(1, 3),
    st.booleans(),
    st.integers(1, 6),
    st.integers(1, 3000),
    st.integers(0, 200),
)
def test_blocks_tokens_and_bytes_are_conserved_at_every_event(
    requests: list[Request],
    scheduler: str,
    routing: str,
    servers: int,
    split: bool,
    sequences: int,
    budget: int,
    spare: int,
) -> None:
    policy = SchedulerPolicy(scheduler, sequences, budget, BLOCK)  # type: ignore[arg-type]
    blocks = (80 + spare) * (sequences if scheduler == "slots" else 1)
    roles = ["prompts", *["answers"] * servers] if split else ["both"] * servers

    def served() -> tuple[ServingLoop, ServingResult]:
        every = [Server(Straight(), blocks, policy, role) for role in roles]  # type: ignore[arg-type]
        link = KvLink(1e6, 100.0) if split else None
        loop = ServingLoop(requests, every, routing, link, conserved)  # type: ignore[arg-type]
        return loop, loop.run()

    loop, out = served()
    assert all(job.generated == job.output and not job.blocks for job in loop.states)
    assert all(len(server.blocks.free) == blocks and server.load == 0 for server in loop.servers)
    moved = sum(each.prompt for each in requests if each.output > 1) if split else 0
    assert out.moved_bytes == 100.0 * moved
    assert (out.arrival_s < out.first_s).all()
    assert (out.first_s <= out.last_s).all()
    again = served()[1]
    for name in ("first_s", "last_s", "restarts"):
        assert np.array_equal(getattr(out, name), getattr(again, name)), name


def served(requests: list[Request], policy: SchedulerPolicy, blocks: int = 1000) -> ServingResult:
    return ServingLoop(requests, [Server(Straight(), blocks, policy)]).run()


def test_steps_of_one_request_are_reckoned_by_hand() -> None:
    out = served([Request(0.0, 3000, 3)], SchedulerPolicy())
    first = 0.01 + 0.2048 + 0.01 + 0.0952  # the budget is 2,048
    assert out.first_s[0] == pytest.approx(first)
    assert out.last_s[0] == pytest.approx(first + 2 * 0.011)


def test_a_static_batch_takes_nobody_until_all_are_done() -> None:
    requests = [Request(0.0, 10, 5), Request(0.0, 10, 50), Request(0.02, 10, 1)]
    out = served(requests, SchedulerPolicy("static", sequences=2))
    assert out.first_s[2] > out.last_s[1] > out.last_s[0]
    assert served(requests, SchedulerPolicy("vllm", sequences=2)).first_s[2] < out.last_s[1]


def test_slots_are_of_equal_room_and_take_turns_in_the_order_of_coming() -> None:
    requests = [Request(0.0, 100, 20)] * 5
    out = served(requests, SchedulerPolicy("slots", sequences=2), blocks=16)
    assert all(a <= b for a, b in pairwise(out.first_s))
    assert out.first_s[2] > out.last_s[0]
    with pytest.raises(SailsimError, match=r"request 1 has 100 \+ 29 tokens; allowed are 128"):
        served([Request(0.0, 100, 29)], SchedulerPolicy("slots", sequences=2), blocks=16)


def test_the_last_to_come_starts_again_where_blocks_run_out_and_finds_what_is_left_of_them() -> None:
    requests = [Request(0.0, 160, 100), Request(0.0, 160, 100)]
    plenty, few = served(requests, SchedulerPolicy()), Server(Straight(), 24, SchedulerPolicy())
    out = ServingLoop(requests, [few]).run()
    assert plenty.restarts.tolist() == [0, 0]
    assert out.restarts.tolist() == [0, 1]
    assert few.lost > few.reused > 0
    assert out.last_s[1] > plenty.last_s[1]


@pytest.mark.parametrize("reuse", [True, False])
def test_equal_beginnings_are_computed_once(reuse: bool) -> None:
    server = Server(Straight(), 1000, SchedulerPolicy(reuse=reuse))
    requests = [
        Request(0.0, 1024, 1, (7, 8)),
        Request(5.0, 1100, 1, (7, 8, 9)),
        Request(9.0, 1024, 1, (7, 8)),
    ]
    out = ServingLoop(requests, [server]).run()
    assert server.reused == (1024 + 1008 if reuse else 0)  # the last token of a prompt is always computed
    assert (out.first_s - out.arrival_s)[1] == pytest.approx(0.01 + 1e-4 * (76 if reuse else 1100))


def test_prefix_routing_follows_what_a_server_has() -> None:
    requests = [Request(float(at), 1024, 1, (at % 2, 10 + at % 2)) for at in range(20)]
    for routing, least in (("prefix", 18 * 1008), ("least", 0)):
        servers = [Server(Straight(), 128, SchedulerPolicy()) for _ in range(2)]
        ServingLoop(requests, servers, routing).run()  # type: ignore[arg-type]
        assert sum(server.reused for server in servers) >= least


def test_a_link_delays_answers_by_their_bytes() -> None:
    servers = [
        Server(Straight(), 200, SchedulerPolicy(), "prompts"),
        Server(Straight(), 200, SchedulerPolicy(), "answers"),
    ]
    out = ServingLoop([Request(0.0, 1000, 3)], servers, "turns", KvLink(2e6, 1000.0)).run()
    assert out.first_s[0] == pytest.approx(0.01 + 0.1)
    assert out.last_s[0] == pytest.approx(out.first_s[0] + 0.5 + 2 * 0.011)
    with pytest.raises(SailsimError, match="roles that do not go together"):
        ServingLoop([Request(0.0, 10, 3)], servers)


def test_a_queue_without_end_is_said_and_one_with_an_end_is_not() -> None:
    slow = [Request(0.1 * at, 10, 1) for at in range(400)]
    fast = [Request(0.2 * at, 10, 1) for at in range(400)]
    server = Straight(own=0.15)
    assert ServingLoop(slow, [Server(server, 100, SchedulerPolicy(sequences=1))]).run().overloaded
    assert not ServingLoop(fast, [Server(server, 100, SchedulerPolicy(sequences=1))]).run().overloaded


@pytest.mark.parametrize(
    ("field", "value"), [("scheduler", "fifo"), ("sequences", 0), ("budget", -1), ("block_tokens", 1.5)]
)
def test_bad_policies_are_refused_in_a_sentence(field: str, value: object) -> None:
    with pytest.raises(SailsimError, match=rf"^{field} is {value!r}; allowed .*\.$"):
        SchedulerPolicy(**{field: value})  # type: ignore[arg-type]


def test_a_step_of_no_time_is_refused() -> None:
    with pytest.raises(SailsimError, match=r"a step takes 0.0 s; allowed"):
        ServingLoop([Request(0.0, 1, 1)], [Server(Straight(0.0, 0.0), 10, SchedulerPolicy())]).run()
