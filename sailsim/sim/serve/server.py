"""One server: what each step works on, as vLLM's scheduler, llama.cpp's slots or a static batch would.

A step has pieces of prompts and one token of every answer under way. vLLM (V1) serves who runs before who
waits, with one budget of tokens a step; when its blocks run out, the last to come starts again later.
llama.cpp's server has a number of slots of equal room, and takes prompts up to its batch beside the tokens of
answers. A static batch takes as many requests as it can hold, reads their prompts whole, and takes nobody
until all are done; who is done leaves its steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, fields
from math import inf
from typing import Literal, NamedTuple, Protocol, get_args

from sailsim.base.errors import SailsimError
from sailsim.sim.serve.blocks import KvBlocks
from sailsim.workloads.requests import HASHED_TOKENS, Request

Scheduler = Literal["vllm", "slots", "static"]
SCHEDULERS: tuple[Scheduler, ...] = get_args(Scheduler)
Role = Literal["both", "prompts", "answers"]


class StepTime(Protocol):
    """How long a step takes."""

    def seconds(self, prefill: Sequence[tuple[int, int]], decode_contexts: Sequence[int]) -> float:
        """Of pieces of prompts, ``(new tokens, tokens before them)`` each, and of a token of each answer,
        whose sequence has so many tokens with it."""
        ...


@dataclass(frozen=True)
class SchedulerPolicy:
    """How a server orders its work; the defaults are vLLM's. Raises SailsimError for what cannot be."""

    scheduler: Scheduler = "vllm"
    sequences: int = 256
    """Requests that run together at most; of slots their number."""
    budget: int = 2048
    """Tokens of a step at most, beside those of answers under way; a static batch has no limit."""
    block_tokens: int = 16
    """Tokens of a block of keys and values."""
    reuse: bool = True
    """Whether vLLM finds blocks of equal beginnings again; the other two do not."""

    def __post_init__(self) -> None:
        if self.scheduler not in SCHEDULERS:
            raise SailsimError(f"scheduler is {self.scheduler!r}; allowed are {', '.join(SCHEDULERS)}.")
        for name, most in (("sequences", 65535), ("budget", 1 << 24), ("block_tokens", 1 << 16)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise SailsimError(f"{name} is {value!r}; allowed is a whole number 1..{most}.")
        if type(self.reuse) is not bool:
            raise SailsimError(f"reuse is {self.reuse!r}; allowed are true and false.")

    def most_tokens(self, blocks: int) -> int:
        """Of one request, in a memory of so many blocks."""
        share = blocks // self.sequences if self.scheduler == "slots" else blocks
        return share * self.block_tokens


POLICY_FIELDS = tuple(each.name for each in fields(SchedulerPolicy) if each.name != "scheduler")
"""What a scheduler can be told."""


class RequestState:
    """A request on its way through servers."""

    __slots__ = (
        *("blocks", "carried", "computed", "first_s", "index", "last_s", "made", "named", "output", "prompt"),
        *("request", "restarts", "room"),
    )

    def __init__(self, index: int, request: Request) -> None:
        self.index, self.request = index, request
        self.prompt, self.output = request.prompt, request.output
        self.computed = self.made = self.named = self.carried = self.restarts = 0
        """Tokens whose keys and values are in blocks; tokens of the answer; blocks that have a key; tokens
        that came over a link; how often it lost its blocks."""
        self.blocks: list[int] = []
        self.room = 0
        """Tokens that the blocks hold."""
        self.first_s = self.last_s = -1.0

    def keys(self, tokens: int, begin: int, end: int) -> Iterator[Hashable]:
        """Of its blocks ``begin`` to ``end`` of so many tokens: shared while hashes say so, then its own."""
        hashes = self.request.hashes
        a_hash = HASHED_TOKENS // tokens if hashes and HASHED_TOKENS % tokens == 0 else 0
        for at in range(begin, end):
            if a_hash and (at + 1) * tokens <= self.prompt:
                yield hashes[at // a_hash], at % a_hash
            else:
                yield self.index, at, None


class ScheduledBatch(NamedTuple):
    """What a step works on."""

    pieces: list[tuple[RequestState, int]]
    """Of prompts, with their new tokens."""
    answers: list[RequestState]
    """With one new token each."""


class StepOutcome(NamedTuple):
    """What a step brought to an end."""

    finished: list[RequestState]
    moving: list[RequestState]
    """Prompts that another server goes on with."""


class Server:
    """A machine with software, a queue, and ``count`` blocks of keys and values; its steps take ``factor``
    times as long as ``step`` says."""

    def __init__(
        self, step: StepTime, count: int, policy: SchedulerPolicy, role: Role = "both", factor: float = 1.0
    ) -> None:
        self.step_time, self.policy, self.role, self.factor = step, policy, role, factor
        self.blocks = KvBlocks(count, policy.block_tokens, policy.reuse and policy.scheduler == "vllm")
        self.waiting: deque[RequestState] = deque()
        self.running: list[RequestState] = []
        self.moving: dict[int, RequestState] = {}
        """Read prompts, by index, whose blocks a link still reads."""
        self.load = 0
        """Tokens of all requests that are here."""
        self.work: ScheduledBatch | None = None
        """Of the step under way."""
        self.busy_s = self.prompt_s = 0.0
        """Seconds of all steps, and of those with a piece of a prompt."""
        self.steps = self.worked = self.reused = self.carried = self.lost = 0
        """Steps; tokens that they computed, that were found, that came over a link, and that were lost."""
        self.answer_steps = self.answers = self.contexts = 0
        """Steps with answers, tokens of those, and the tokens of their sequences."""
        self.most_held = 0

    def enter(self, job: RequestState) -> None:
        """A request comes."""
        self.waiting.append(job)
        self.load += job.prompt + job.made

    def found(self, job: RequestState) -> list[int]:
        """The blocks of a request's beginning that are here; its last token is always computed."""
        if not (job.request.hashes or job.restarts):
            return []
        tokens = self.blocks.tokens
        return self.blocks.found(job.keys(tokens, 0, (job.prompt + job.made - 1) // tokens))

    def begin(self) -> float | None:
        """Choose the work of a step; returns its seconds, None where there is none."""
        work = self._paged() if self.policy.scheduler == "vllm" else self._reserved()
        if not work.pieces and not work.answers:
            return None
        prefill = [(new, job.computed) for job, new in work.pieces]
        contexts = [job.computed + 1 for job in work.answers]
        seconds = self.factor * self.step_time.seconds(prefill, contexts)
        if not 0 < seconds < inf:
            raise SailsimError(f"a step takes {seconds!r} s; allowed is a time above 0.")
        self.work = work
        self.steps += 1
        self.busy_s += seconds
        self.prompt_s += seconds if prefill else 0.0
        self.answer_steps += bool(contexts)
        self.most_held = max(self.most_held, self.blocks.count - len(self.blocks.free))
        self.answers += len(contexts)
        self.contexts += sum(contexts)
        return seconds

    def _paged(self) -> ScheduledBatch:
        """vLLM: who runs, in the order of coming; then, if nobody lost its blocks, who waits."""
        work = ScheduledBatch([], [])
        running, left, at, lost = self.running, self.policy.budget, 0, False
        while at < len(running) and left > 0:
            job = running[at]
            new = job.prompt + job.made - job.computed
            if new > left:
                new = left
            if job.computed + new > job.room:
                needed = self.blocks.needed(job.computed + new - job.room)
                while (taken := self.blocks.take(needed)) is None:
                    lost = True
                    self._restart(running.pop())
                    if at == len(running):  # it was the last itself
                        return work
                self._hold(job, taken)
            if new == 1 and job.made:
                work.answers.append(job)
            else:
                self._name(job, new)
                work.pieces.append((job, new))
            left -= new
            at += 1
        while not lost and self.waiting and left > 0 and len(running) < self.policy.sequences:
            job = self.waiting[0]
            if (new := self._admit(job, left)) == 0:
                break
            running.append(self.waiting.popleft())
            if new == 1 and job.made:
                work.answers.append(job)
            else:
                work.pieces.append((job, new))
            left -= new
        return work

    def _hold(self, job: RequestState, blocks: list[int]) -> None:
        """Blocks of the memory are a request's."""
        job.blocks += blocks
        job.room += len(blocks) * self.blocks.tokens

    def _admit(self, job: RequestState, left: int) -> int:
        """Give a request that waits blocks for its first piece; returns its tokens, 0 without room."""
        blocks, held = self.blocks, self.found(job)
        computed = max(len(held) * blocks.tokens, job.carried)
        new = min(job.prompt + job.made - computed, left)
        needed = blocks.needed(computed + new) - len(held)
        if needed + blocks.idle(held) > len(blocks.free):
            return 0
        blocks.hold(held)
        self._hold(job, held + (blocks.take(needed) or []))
        job.computed, job.named = computed, len(held)
        self.carried += computed - len(held) * blocks.tokens
        self.reused += len(held) * blocks.tokens
        self._name(job, new)
        return new

    def _restart(self, job: RequestState) -> None:
        """A request gives its blocks back, and waits before all others to be computed again."""
        tokens = self.blocks.tokens
        full = job.computed // tokens
        for block, key in zip(job.blocks, job.keys(tokens, 0, full), strict=False):
            self.blocks.name(block, key)
        self.blocks.give_back(job.blocks)
        self.lost += job.computed
        job.blocks, job.room, job.computed, job.carried = [], 0, 0, 0
        job.restarts += 1
        self.waiting.appendleft(job)

    def _name(self, job: RequestState, new: int) -> None:
        """Let others find the blocks of a prompt that a piece fills."""
        if not job.request.hashes:
            return
        full = min(job.computed + new, job.prompt) // self.blocks.tokens
        for at, key in enumerate(job.keys(self.blocks.tokens, job.named, full), job.named):
            self.blocks.name(job.blocks[at], key)
        job.named = max(job.named, full)

    def _reserved(self) -> ScheduledBatch:
        """Slots and static batches: room for a whole request, and answers before prompts."""
        running, waiting = self.running, self.waiting
        static = self.policy.scheduler == "static"
        if not (static and running):
            while waiting and len(running) < self.policy.sequences:
                job = waiting[0]
                taken = self.blocks.take(self.blocks.needed(job.prompt + job.output))
                if taken is None:
                    break
                self._hold(job, taken)
                job.computed = job.carried
                self.carried += job.carried
                running.append(waiting.popleft())
        work = ScheduledBatch([], [job for job in running if job.made])
        left = inf if static else self.policy.budget - len(work.answers)
        for job in running:
            if not job.made and left > 0:
                new = int(min(job.prompt - job.computed, left))
                work.pieces.append((job, new))
                left -= new
        return work

    def end(self, now: float) -> StepOutcome:
        """The step is over."""
        work, self.work = self.work, None
        assert work is not None
        made = list(work.answers)
        for job in work.answers:
            job.computed += 1
            job.made += 1
        for job, new in work.pieces:
            job.computed += new
            self.worked += new
            if job.computed == job.prompt + job.made:
                job.made += 1
                made.append(job)
                if job.made == 1:
                    job.first_s = now
        self.worked += len(work.answers)
        self.load += len(made)
        done = StepOutcome([job for job in made if job.made == job.output], [])
        if self.role == "prompts":
            done.moving.extend(job for job in made if job.made < job.output)
        if done.finished or done.moving:
            gone = {job.index for job in (*done.finished, *done.moving)}
            self.running = [job for job in self.running if job.index not in gone]
        self.moving |= {job.index: job for job in done.moving}
        for job in done.finished:
            job.last_s = now
            self.leave(job)
        return done

    def leave(self, job: RequestState) -> None:
        """A request's blocks are free: it is done, or another server has its keys and values."""
        self.moving.pop(job.index, None)
        self.blocks.give_back(job.blocks)
        job.blocks, job.room = [], 0
        self.load -= job.prompt + job.made
