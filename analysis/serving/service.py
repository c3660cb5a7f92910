"""Replicas that serve requests: service levels, deployments, times, dollars and joules.

A replica is a runner with the software of a server. Its steps are timed by its surface, and its blocks fill
the memory that its weights leave. Its hour is paid as any run's (`costs.dollars`), with the memory of the
most blocks that it held. Joules are those of two steps, of prompts and of answers of the mean size, times
the seconds of such steps: the energy of an idle server is not modelled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil, inf, sqrt
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sailsim.analysis.costs.dollars import HOUR_S, CostConstants, PriceList, dollars, prices
from sailsim.analysis.runs.runs import Run, Runner, runs, step_surface
from sailsim.base.errors import SailsimError
from sailsim.sim.backend import Prefill
from sailsim.sim.machine.catalog import FileReference
from sailsim.sim.point import Point
from sailsim.sim.serve.loop import ROUTINGS, KvLink, Routing, ServingLoop, ServingResult
from sailsim.sim.serve.profiles import BLOCK_TOKENS, BLOCKS, StepProfiles, read_meta, write_profiles
from sailsim.sim.serve.server import SchedulerPolicy, Server, StepTime
from sailsim.sim.step.schedule import CODE_BITS
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.requests import Request

PERCENTILES = (50, 90, 99)
RESAMPLES = 200
"""Resamples of a bootstrap."""
RANGE = (5, 95)
"""Percentiles of the resamples that an interval has as its ends."""
MOST_BLOCKS = 1 << 20
"""Largest number of blocks of a memory: 16 million tokens in blocks of 16."""


@dataclass(frozen=True)
class ServiceLevel:
    """Longest times of a request, and the share of requests that must meet them.

    The default is that of MLPerf Inference for Llama-2-70B, Server: 2 s to the first token, 0.2 s a token,
    for 99 of 100 (mlcommons/inference @001712e9, loadgen/mlperf.conf; for Llama-3.1-8B it has 0.1 s a token).
    Raises SailsimError for values out of range.
    """

    ttft_s: float = 2.0
    tpot_s: float = 0.2
    share: float = 0.99

    def __post_init__(self) -> None:
        for name, most in (("ttft_s", inf), ("tpot_s", inf), ("share", 1.0)):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 < value <= most):
                words = " and at most 1" if most == 1.0 else ""
                raise SailsimError(f"level's {name} is {value!r}; allowed is a number above 0{words}.")

    def met(self, out: ServingResult) -> NDArray[np.bool_]:
        """Whether each request meets the times, (requests,)."""
        times = times_of(out)
        return np.asarray((times["ttft"] <= self.ttft_s) & (times["tpot"] <= self.tpot_s))

    def holds(self, out: ServingResult) -> bool:
        """Whether enough requests meet the times, and the queue has an end."""
        return bool(self.met(out).mean() >= self.share) and not out.overloaded

    def __str__(self) -> str:
        times = f"{self.ttft_s:g} s to the first token, {self.tpot_s:g} s a token"
        return f"{times}, for {self.share:.3g} of requests"


def times_of(out: ServingResult) -> dict[str, NDArray[np.float64]]:
    """Times of every request in seconds: from arrival to the first token (ttft), between tokens of the answer
    (tpot; 0 for an answer of one token), and from arrival to the last token (latency)."""
    first, last = out.first_s - out.arrival_s, out.last_s - out.arrival_s
    return {"ttft": first, "tpot": (last - first) / np.maximum(1, out.output - 1), "latency": last}


def percentiles(out: ServingResult, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Mean and `PERCENTILES` of each of the `times_of` requests, s, with 90 % intervals of a bootstrap.

    Requests near each other wait together, so the bootstrap draws runs of neighbours, as long as the root of
    the number of requests.
    """
    random, count = np.random.default_rng(seed), len(out.arrival_s)
    length = ceil(sqrt(count))
    begins = random.integers(0, count, (RESAMPLES, ceil(count / length)))
    resamples = ((begins[:, :, None] + np.arange(length)) % count).reshape(RESAMPLES, -1)[:, :count]
    by_name: dict[str, dict[str, Any]] = {}
    for name, times in times_of(out).items():
        defined = out.output > 1 if name == "tpot" else np.ones(count, bool)
        by_name[name] = {}
        if defined.any():
            values = _measures(times[defined][None])
            ends = np.nanpercentile(_measures(np.where(defined, times, np.nan)[resamples]), RANGE, axis=1)
            for key, *own in zip(("mean", *(f"p{p}" for p in PERCENTILES)), values[:, 0], *ends, strict=True):
                by_name[name] |= zip((key, f"{key}_low", f"{key}_high"), map(float, own), strict=True)
    return by_name


def _measures(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean and `PERCENTILES` of each row, (measures, rows)."""
    return np.vstack([np.nanmean(times, axis=1), np.nanpercentile(times, PERCENTILES, axis=1)])


@dataclass(frozen=True)
class ProfileBundle:
    """A folder of step times, as `StepProfiles` reads it; nothing else is known of the machine."""

    folder: str
    blocks: int
    """Number of blocks of keys and values that its memory holds, each of `BLOCK_TOKENS`."""
    kind: ClassVar[str] = "measured"

    @property
    def name(self) -> str:
        """Name of its folder."""
        return Path(self.folder).name

    marked = name

    @classmethod
    def of(cls, text: str) -> ProfileBundle:
        """The bundle of a folder, with the number of blocks that is given, as in "rtx4090:blocks=2588", or
        that its files have. Raises SailsimError for another number or another change."""
        try:
            choice = FileReference.parse(text)
        except ValueError as error:
            raise SailsimError(f"runners is {error}.") from None
        blocks = str(choice.changes.get("blocks", read_meta(choice.file).get(BLOCKS, 0)))
        allowed = blocks.isdecimal() and 0 < int(blocks) <= MOST_BLOCKS
        if set(choice.changes) - {"blocks"} or not allowed:
            raise SailsimError(
                f"runners is {text!r}, a bundle; allowed after its folder is :blocks=1..{MOST_BLOCKS}, each "
                f"of {BLOCK_TOKENS} tokens of keys and values."
            )
        return cls(choice.file, int(blocks))


@dataclass(frozen=True)
class Replica:
    """A runner that serves a point's model, with its weights, threads and width of keys and values; or a
    bundle of that model."""

    point: Point
    runner: Runner | ProfileBundle
    prefill: Prefill = "units"
    """Part of an accelerator that multiplies prompts: its units or its cores."""
    prior: str | None = None
    """Prior from which the interval of an accelerator is drawn."""

    @cached_property
    def step(self) -> StepTime:
        """Times of its steps."""
        if isinstance(self.runner, ProfileBundle):
            return StepProfiles(self.runner.folder, load_model(self.point.model)).seconds
        accelerates = self.runner.kind == "accelerator"
        return step_surface(self.point, self.runner, self.prefill if accelerates else "units").seconds

    @cached_property
    def memory(self) -> tuple[float, float, float]:
        """Bytes of its weights, of a token's keys and values, and of its memory, which may be infinite.

        A window of attention frees no memory. Raises SailsimError for a runner that cannot run the model.
        """
        token = load_model(self.point.model).with_kv_bits(self.point.kv_bits).kv_bytes_per_token()
        if isinstance(self.runner, ProfileBundle):
            return 0.0, token, token * BLOCK_TOKENS * self.runner.blocks
        run = self._run(batch=1, context=2)
        if run.reason:
            raise SailsimError(run.reason)
        limit = inf if run.memory_limit_bytes is None else run.memory_limit_bytes
        return run.memory_bytes - 2 * token, token, limit

    def _run(self, **sizes: Any) -> Run:
        assert isinstance(self.runner, Runner)
        point = replace(self.point, beyond_limit=True, **{"phase": "decode", "prompt": None} | sizes)
        return runs(point, None, (self.runner,), prior=self.prior)[0]

    def blocks(self, policy: SchedulerPolicy) -> int:
        """Number of blocks of keys and values that fit beside the weights, at most `MOST_BLOCKS`."""
        weights, token, limit = self.memory
        return int(min((limit - weights) // (token * policy.block_tokens), MOST_BLOCKS))

    def server(self, policy: SchedulerPolicy, role: Any = "both", factor: float = 1.0) -> Server:
        """A server of this replica; ``factor``: time of its steps over their nominal time."""
        return Server(self.step, self.blocks(policy), policy, role, factor)

    def run(self, batch: int, context: int, phase: str = "decode") -> Run:
        """A step of ``batch`` equal sequences, or of as many as the memory holds."""
        weights, token, limit = self.memory
        context = max(1, context)
        sequences = int(min((limit - weights) // (token * context), batch))
        return self._run(batch=max(1, sequences), context=context, phase=phase)


@dataclass(frozen=True)
class Deployment:
    """Servers of one kind, their scheduler and the routing of requests to them.

    Raises SailsimError for values out of range, and for readers without a link or a link without readers.
    """

    policy: SchedulerPolicy = field(default_factory=SchedulerPolicy)
    servers: int = 1
    """Number of servers of prompts and answers."""
    readers: int = 0
    """Number of servers of prompts alone; with any, the others serve answers alone."""
    link_gb_s: float = 0.0
    """Bandwidth from each reader, GB/s; needed with readers."""
    routing: Routing = "turns"

    def __post_init__(self) -> None:
        if self.routing not in ROUTINGS:
            raise SailsimError(f"routing is {self.routing!r}; allowed are {', '.join(ROUTINGS)}.")
        for name, least in (("servers", 1), ("readers", 0)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= 4096:
                raise SailsimError(f"{name} is {value!r}; allowed is a whole number {least}..4096.")
        link = self.link_gb_s
        if not isinstance(link, int | float) or not 0 <= link <= 1e9 or bool(link) != bool(self.readers):
            raise SailsimError(
                f"link_gb_s is {link!r} with {self.readers} readers; allowed is one above 0, at "
                "most 1e9, with readers, and none without."
            )

    def run(
        self,
        replica: Replica,
        requests: Sequence[Request],
        factor: float = 1.0,
        watch: Callable[[ServingLoop], None] | None = None,
    ) -> ServingResult:
        """Serve requests on servers of one replica; ``watch`` as of `ServingLoop`. Raises SailsimError for
        requests that they cannot hold."""
        role = "answers" if self.readers else "both"
        roles = ["prompts"] * self.readers + [role] * self.servers
        servers = [replica.server(self.policy, each, factor) for each in roles]
        link = KvLink(self.link_gb_s * 1e9, replica.memory[1]) if self.readers else None
        return ServingLoop(requests, servers, self.routing, link, watch).run()


def summary(
    replica: Replica, out: ServingResult, level: ServiceLevel, listed: PriceList | None = None, seed: int = 0
) -> dict[str, Any]:
    """Rates, times, dollars and joules of served requests, by JSON names; None: not known."""
    met, seconds = level.met(out), out.seconds
    usd, joules = _dollars(replica, out, prices() if listed is None else listed), _joules(replica, out)
    answers, good = int(out.output.sum()), int(out.output[met].sum())
    return {
        "runner": replica.runner.name,
        "title": replica.runner.marked,
        "requests": len(met),
        "seconds": seconds,
        "requests_per_s": len(met) / seconds,
        "tokens_per_s": answers / seconds,
        "times_s": percentiles(out, seed),
        "in_level": float(met.mean()),
        "goodput_requests_per_s": float(met.sum()) / seconds,
        "endless": out.overloaded,
        "queue_grows": out.queue_growth,
        "busy": sum(each.busy_s for each in out.servers) / (seconds * len(out.servers)),
        "restarts": int(out.restarts.sum()),
        "reused_tokens": sum(each.reused for each in out.servers),
        "moved_bytes": out.moved_bytes,
        **usd,
        **_per_million("usd", usd["usd_per_hour"] and usd["usd_per_hour"] * seconds / HOUR_S, answers, good),
        **_per_million("j", joules["joules"], answers, good),
        **joules,
    }


def _per_million(unit: str, spent: float | None, answers: int, good: int) -> dict[str, float | None]:
    return {
        f"{unit}_per_million_tokens": None if spent is None else 1e6 * spent / answers,
        f"{unit}_per_million_good_tokens": None if spent is None or not good else 1e6 * spent / good,
    }


def mean_sizes(out: ServingResult) -> tuple[int, int, int]:
    """Mean number of answers in a step that has any, their mean context, and the mean prompt, in tokens."""
    answers = sum(each.answers for each in out.servers)
    batch = answers / max(1, sum(each.answer_steps for each in out.servers))
    context = sum(each.contexts for each in out.servers) / max(1, answers)
    return round(batch), round(context), round(float(out.prompt.mean()))


def _dollars(replica: Replica, out: ServingResult, listed: PriceList) -> dict[str, Any]:
    """Price of an hour of all servers, each of which pays for the same part of its machine."""
    batch, context, _ = mean_sizes(out)
    hour = ("usd_per_hour", "usd_per_hour_low", "usd_per_hour_high")
    usd: dict[str, Any] = dict.fromkeys((*hour, "paid", "instance"))
    if isinstance(replica.runner, ProfileBundle):
        return usd
    weights, token, _ = replica.memory
    tokens = max(each.peak_blocks for each in out.servers) * out.servers[0].policy.block_tokens
    # The requests' own times have the idle time in them, so no other utilisation is assumed.
    ends = {end: replace(each, utilisation=1.0) for end, each in CostConstants.ends().items()}
    row = replica.run(batch, context).as_record()
    row |= {"memory_bytes": weights + tokens * token, "tokens_per_s": 1.0, "low": None, "high": None}
    count = len(out.servers)
    if row["reason"] or listed.named(row["priced_as"]) is None:
        return usd
    of_one = dollars(row, listed, ends)
    if of_one["usd_per_hour"] is not None:
        usd |= {
            "usd_per_hour": count * of_one["usd_per_hour"],
            "usd_per_hour_low": count * HOUR_S / of_one["tokens_per_usd_high"],
            "usd_per_hour_high": count * HOUR_S / of_one["tokens_per_usd_low"],
        }
    return usd | {name: of_one[name] for name in ("paid", "instance")}


def _joules(replica: Replica, out: ServingResult) -> dict[str, Any]:
    """Joules of all steps; for a GPU an upper bound, its board's power over their time."""
    batch, context, prompt = mean_sizes(out)
    total, bound = 0.0, replica.runner.kind == "gpu"
    if isinstance(replica.runner, ProfileBundle):
        return {"joules": None, "joules_are_a_bound": bound}
    reading = sum(each.prompt_s for each in out.servers)
    answering = sum(each.busy_s for each in out.servers) - reading
    steps = (reading, replica.run(1, prompt, "prefill")), (answering, replica.run(batch, context))
    for seconds, run in steps:
        joules = run.energy_high_j if bound else run.energy_j
        if seconds and (joules is None or not run.step_s):
            return {"joules": None, "joules_are_a_bound": bound}
        total += seconds * joules / run.step_s if seconds else 0.0  # type: ignore[operator]
    return {"joules": total, "joules_are_a_bound": bound}


def write_bundle(folder: str | Path, replica: Replica) -> None:
    """Write a replica's step times as a bundle (`write_profiles`), with the number of blocks of its memory.

    The bundle of an accelerator whose units can do attention (keys and values of few bits) has the line of
    its time there: ns a layer of one sequence are ``slope`` times its tokens plus ``intercept``.
    """
    model = load_model(replica.point.model)
    # LLMServingSim knows no formats of few bits: it finds a folder by the widths that it counts memory with.
    variant = "bf16" if (replica.point.kv_bits or model.kv_bits) > CODE_BITS else "bf16-kvfp8"
    about: dict[str, Any] = {"hardware": replica.runner.name, "model": model.name, "variant": variant}
    about["weights"] = replica.run(1, 2).format
    about[BLOCKS] = replica.blocks(SchedulerPolicy(block_tokens=BLOCK_TOKENS))
    if replica.runner.kind == "accelerator" and 0 < replica.point.kv_bits <= CODE_BITS:
        about["attention_on_units"] = "{{slope: {:.6g}, intercept: {:.6g}}}".format(*attention_line(replica))
    write_profiles(folder, replica.step, model, about)


LINE = (512, 1024, 2048, 4096)
"""Lengths of a sequence, in tokens, to which the line of attention is fitted."""


def attention_line(replica: Replica) -> tuple[float, float]:
    """Time of attention on an accelerator's units, ns a layer and sequence: slope by tokens, and intercept.

    The intercept is the extra time of a step, at no token, over one with attention on the cores. Raises
    SailsimError where the units cannot do attention.
    """
    lines = []
    for place in ("units", "cores"):
        placed = replace(replica, point=replace(replica.point, attention=place))
        lines.append(np.polyfit(LINE, [placed.run(1, context).step_s or 0.0 for context in LINE], 1))
    scale = 1e9 / load_model(replica.point.model).n_layers
    return float(scale * lines[0][0]), float(scale * (lines[0][1] - lines[1][1]))
