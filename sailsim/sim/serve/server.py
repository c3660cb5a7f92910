"""One server and its scheduler: vLLM's, llama.cpp's slots or static batching.

A step has chunks of prompts and one token of every answer under way. vLLM (V1) serves running requests before
waiting ones, with one budget of tokens a step; when its blocks run out, the last to arrive is preempted.
llama.cpp's server has a number of slots of equal size, and takes prompts up to its batch next to the tokens
of answers. A static batch takes as many requests as the memory holds, reads their prompts whole, and admits
no other until all are done; a finished request leaves its steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from math import inf
from typing import Literal, NamedTuple, get_args

from sailsim.base.errors import SailsimError
from sailsim.sim.serve.blocks import KvBlocks
from sailsim.workloads.requests import HASHED_TOKENS, Request

Scheduler = Literal["vllm", "slots", "static"]
SCHEDULERS: tuple[Scheduler, ...] = get_args(Scheduler)
Role = Literal["both", "prompts", "answers"]


StepTime = Callable[[Sequence[tuple[int, int]], Sequence[int]], float]
"""Seconds of a step by its chunks of prompts, ``(new tokens, tokens before them)`` each, and by the tokens of
each sequence that decodes one, which is included."""


@dataclass(frozen=True)
class SchedulerPolicy:
    """Scheduler of a server and its limits; the defaults are vLLM's. Raises SailsimError for values out of
    range."""

    scheduler: Scheduler = "vllm"
    sequences: int = 256
    """Most requests that run together; with slots, the number of slots."""
    budget: int = 2048
    """Most tokens of a step, those of running answers included; a static batch has no limit."""
    block_tokens: int = 16
    """Tokens of a block of keys and values."""
    reuse: bool = True
    """Whether vLLM reuses cached blocks of a common prefix; the other two never do."""

    def __post_init__(self) -> None:
        if self.scheduler not in SCHEDULERS:
            raise SailsimError(f"scheduler is {self.scheduler!r}; allowed are {', '.join(SCHEDULERS)}.")
        for name, limit in (("sequences", 65535), ("budget", 1 << 24), ("block_tokens", 1 << 16)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= limit:
                raise SailsimError(f"{name} is {value!r}; allowed is a whole number 1..{limit}.")
        if type(self.reuse) is not bool:
            raise SailsimError(f"reuse is {self.reuse!r}; allowed are true and false.")

    def most_tokens(self, blocks: int) -> int:
        """Most tokens of one request in a memory of so many blocks."""
        share = blocks // self.sequences if self.scheduler == "slots" else blocks
        return share * self.block_tokens


POLICY_FIELDS = tuple(each.name for each in fields(SchedulerPolicy) if each.name != "scheduler")
"""Settings of a scheduler."""


@dataclass(slots=True, eq=False)
class RequestState:
    """Progress of a request through servers."""

    index: int
    request: Request
    computed: int = 0
    """Tokens whose keys and values are in blocks."""
    generated: int = 0
    """Tokens of the answer."""
    registered: int = 0
    """Blocks that have a key."""
    received: int = 0
    """Tokens whose keys and values came over a link."""
    restarts: int = 0
    """Number of preemptions."""
    blocks: list[int] = field(default_factory=list)
    first_s: float = -1.0
    last_s: float = -1.0
    prompt: int = field(init=False)
    output: int = field(init=False)

    def __post_init__(self) -> None:
        self.prompt, self.output = self.request.prompt, self.request.output

    def keys(self, tokens: int, begin: int, end: int) -> Iterator[Hashable]:
        """Keys of its blocks ``begin`` to ``end`` of so many tokens: shared by equal hashes, else its own."""
        hashes = self.request.hashes
        blocks_per_hash = HASHED_TOKENS // tokens if hashes and HASHED_TOKENS % tokens == 0 else 0
        for at in range(begin, end):
            if blocks_per_hash and (at + 1) * tokens <= self.prompt:
                yield hashes[at // blocks_per_hash], at % blocks_per_hash
            else:
                yield self.index, at, None


class ScheduledBatch(NamedTuple):
    """Work of one step."""

    chunks: list[tuple[RequestState, int]]
    """Requests whose prompts are read, and their new tokens."""
    answers: list[RequestState]
    """Requests that decode one token each."""


class Server:
    """A machine with software, a queue, and ``count`` blocks of keys and values; its steps take ``factor``
    times as long as ``step`` gives."""

    def __init__(
        self, step: StepTime, count: int, policy: SchedulerPolicy, role: Role = "both", factor: float = 1.0
    ) -> None:
        self.step_time, self.policy, self.role, self.factor = step, policy, role, factor
        self.blocks = KvBlocks(count, policy.block_tokens, policy.reuse and policy.scheduler == "vllm")
        self.waiting: deque[RequestState] = deque()
        self.running: list[RequestState] = []
        self.moving: dict[int, RequestState] = {}
        """Requests, by index, whose prompts are read and whose blocks a link still reads."""
        self.load = 0
        """Tokens of all requests on the server."""
        self.batch: ScheduledBatch | None = None
        """Work of the step under way."""
        self.busy_s = self.prompt_s = 0.0
        """Seconds of all steps, and of those with a chunk of a prompt."""
        self.steps = self.computed = self.reused = self.received = self.lost = 0
        """Steps; tokens computed, reused from cached blocks, received over a link, and lost by preemption."""
        self.answer_steps = self.answers = self.contexts = 0
        """Steps with answers, tokens of those, and the tokens of their sequences."""
        self.peak_blocks = 0
        """Most blocks in use at a step."""

    def cached(self, state: RequestState) -> list[int]:
        """Cached blocks of a request's prefix; its last token is always computed."""
        if not (state.request.hashes or state.restarts):
            return []
        tokens = self.blocks.tokens
        return self.blocks.cached(state.keys(tokens, 0, (state.prompt + state.generated - 1) // tokens))

    def begin(self) -> float | None:
        """Schedule a step and return its seconds, None without work."""
        batch = self._schedule_paged() if self.policy.scheduler == "vllm" else self._schedule_reserved()
        if not batch.chunks and not batch.answers:
            return None
        prefill = [(new, state.computed) for state, new in batch.chunks]
        contexts = [state.computed + 1 for state in batch.answers]
        seconds = self.factor * self.step_time(prefill, contexts)
        if not 0 < seconds < inf:
            raise SailsimError(f"a step takes {seconds!r} s; allowed is a time above 0.")
        self.batch = batch
        self.steps += 1
        self.busy_s += seconds
        self.prompt_s += seconds if prefill else 0.0
        self.answer_steps += bool(contexts)
        self.peak_blocks = max(self.peak_blocks, self.blocks.count - len(self.blocks.free))
        self.answers += len(contexts)
        self.contexts += sum(contexts)
        return seconds

    def _schedule_paged(self) -> ScheduledBatch:
        """vLLM's schedule: running requests in order of arrival, then waiting ones if none was preempted."""
        batch = ScheduledBatch([], [])
        running, left, at, preempted = self.running, self.policy.budget, 0, False
        while at < len(running) and left > 0:
            state = running[at]
            new = state.prompt + state.generated - state.computed
            if new > left:
                new = left
            if (needed := self.blocks.needed(state.computed + new) - len(state.blocks)) > 0:
                while (blocks := self.blocks.allocate(needed)) is None:
                    preempted = True
                    self._preempt(running.pop())
                    if at == len(running):  # it was the last itself
                        return batch
                state.blocks += blocks
            if new == 1 and state.generated:
                batch.answers.append(state)
            else:
                self._register(state, new)
                batch.chunks.append((state, new))
            left -= new
            at += 1
        while not preempted and self.waiting and left > 0 and len(running) < self.policy.sequences:
            state = self.waiting[0]
            if (new := self._admit(state, left)) == 0:
                break
            running.append(self.waiting.popleft())
            if new == 1 and state.generated:
                batch.answers.append(state)
            else:
                batch.chunks.append((state, new))
            left -= new
        return batch

    def _admit(self, state: RequestState, left: int) -> int:
        """Give a waiting request blocks for its first chunk; returns the chunk's tokens, 0 without room."""
        blocks, prefix = self.blocks, self.cached(state)
        reused = len(prefix) * blocks.tokens
        computed = max(reused, state.received)
        new = min(state.prompt + state.generated - computed, left)
        needed = blocks.needed(computed + new) - len(prefix)
        if needed + blocks.idle(prefix) > len(blocks.free):
            return 0
        blocks.share(prefix)
        state.blocks += prefix + (blocks.allocate(needed) or [])
        state.computed, state.registered = computed, len(prefix)
        self.received += computed - reused
        self.reused += reused
        self._register(state, new)
        return new

    def _preempt(self, state: RequestState) -> None:
        """Free a request's blocks and put it first in the queue, to be computed again."""
        tokens = self.blocks.tokens
        full = state.computed // tokens
        for block, key in zip(state.blocks, state.keys(tokens, 0, full), strict=False):
            self.blocks.register(block, key)
        self.blocks.release(state.blocks)
        self.lost += state.computed
        state.blocks, state.computed, state.received = [], 0, 0
        state.restarts += 1
        self.waiting.appendleft(state)

    def _register(self, state: RequestState, new: int) -> None:
        """Let other requests find the blocks of a prompt that a chunk fills."""
        if not state.request.hashes:
            return
        full = min(state.computed + new, state.prompt) // self.blocks.tokens
        for at, key in enumerate(state.keys(self.blocks.tokens, state.registered, full), state.registered):
            self.blocks.register(state.blocks[at], key)
        state.registered = max(state.registered, full)

    def _schedule_reserved(self) -> ScheduledBatch:
        """Schedule of slots and static batches: blocks for a whole request, and answers before prompts."""
        running, waiting = self.running, self.waiting
        static = self.policy.scheduler == "static"
        if not (static and running):
            while waiting and len(running) < self.policy.sequences:
                state = waiting[0]
                blocks = self.blocks.allocate(self.blocks.needed(state.prompt + state.output))
                if blocks is None:
                    break
                state.blocks += blocks
                state.computed = state.received
                self.received += state.received
                running.append(waiting.popleft())
        batch = ScheduledBatch([], [state for state in running if state.generated])
        left = inf if static else self.policy.budget - len(batch.answers)
        for state in running:
            if not state.generated and left > 0:
                new = int(min(state.prompt - state.computed, left))
                batch.chunks.append((state, new))
                left -= new
        return batch

    def end(self, now: float) -> list[RequestState]:
        """Complete the step; returns the requests whose read prompts go to another server."""
        batch, self.batch = self.batch, None
        assert batch is not None
        generating = list(batch.answers)
        for state in batch.answers:
            state.computed += 1
            state.generated += 1
        for state, new in batch.chunks:
            state.computed += new
            self.computed += new
            if state.computed == state.prompt + state.generated:
                state.generated += 1
                generating.append(state)
                if state.generated == 1:
                    state.first_s = now
        self.computed += len(batch.answers)
        self.load += len(generating)
        finished = [state for state in generating if state.generated == state.output]
        reads = self.role == "prompts"
        moving = [state for state in generating if reads and state.generated < state.output]
        if finished or moving:
            gone = {state.index for state in (*finished, *moving)}
            self.running = [state for state in self.running if state.index not in gone]
        self.moving |= {state.index: state for state in moving}
        for state in finished:
            state.last_s = now
            self.release(state)
        return moving

    def release(self, state: RequestState) -> None:
        """Free the blocks of a request that is done, or whose keys and values another server has."""
        self.moving.pop(state.index, None)
        self.blocks.release(state.blocks)
        state.blocks = []
        self.load -= state.prompt + state.generated
