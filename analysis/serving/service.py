"""Requests on machines: times of requests with their ranges, what meets a service level, dollars and joules.

A machine here is a runner with the software of a server: its steps are timed by its surface, its blocks are
what its memory holds beside the weights. Its hour is paid as any run's (`costs.dollars`), with the memory of
the most blocks that it held. Joules are those of two steps, of prompts and of answers of the mean size, times
the seconds of such steps: what a server takes while it waits is not modelled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil, inf, isfinite, sqrt
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from sailsim.analysis.costs.constants import End
from sailsim.analysis.costs.dollars import HOUR_S, CostConstants, PriceList, dollars, prices
from sailsim.analysis.runs.runs import (
    RUNNERS,
    Run,
    Runner,
    named,
    read_runners,
    runner_names,
    runs,
    step_surface,
)
from sailsim.analysis.uncertainty.prior import PRIOR
from sailsim.base.arguments import check_type, items_of
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import MAX_TEXT, read_text
from sailsim.base.progress import ProgressReport, reporter
from sailsim.base.stop import heed
from sailsim.sim.backend import Prefill
from sailsim.sim.machine.system_files import SystemReference
from sailsim.sim.point import SEEDS, Point
from sailsim.sim.serve.loop import ROUTINGS, KvLink, Routing, ServingLoop, ServingResult
from sailsim.sim.serve.profiles import BLOCK_TOKENS, BLOCKS, META, StepProfiles, read_meta, write_profiles
from sailsim.sim.serve.server import SchedulerPolicy, Server, StepTime
from sailsim.sim.step.schedule import CODE_BITS
from sailsim.sim.study.keys import ResultKeys
from sailsim.sim.study.store import RESERVED, Store
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.requests import Request, at_rate

PERCENTILES = (50, 90, 99)
RESAMPLES = 200
"""Of a bootstrap."""
RANGE = (5, 95)
"""Percentiles of the resamples that a range is between."""
MOST_RATE = 1e4
"""Requests/s that are tried at most."""
CLOSE = 1.02
"""Rates nearer than by this factor are one."""
MOST_BLOCKS = 1 << 20
"""16 million tokens in blocks of 16."""


@dataclass(frozen=True)
class ServiceLevel:
    """A service level: what a request needs to count, and how many need to. The default is that of MLPerf
    Inference for Llama-2-70B, Server: 2 s to the first token, 0.2 s a token, for 99 of 100
    (mlcommons/inference @001712e9, loadgen/mlperf.conf; for Llama-3.1-8B it has 0.1 s a token)."""

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
        """Which requests have what they need."""
        times = times_of(out)
        return np.asarray((times["ttft"] <= self.ttft_s) & (times["tpot"] <= self.tpot_s))

    def holds(self, out: ServingResult) -> bool:
        """Whether enough have, and the queue has an end."""
        return bool(self.met(out).mean() >= self.share) and not out.overloaded

    def __str__(self) -> str:
        times = f"{self.ttft_s:g} s to the first token, {self.tpot_s:g} s a token"
        return f"{times}, for {self.share:.3g} of requests"


def times_of(out: ServingResult) -> dict[str, NDArray[np.float64]]:
    """Of every request, s: from arrival to the first token (ttft), from one token of the answer to the next
    (tpot; 0 of an answer of one token), and to the last (latency)."""
    first, last = out.first_s - out.arrival_s, out.last_s - out.arrival_s
    return {"ttft": first, "tpot": (last - first) / np.maximum(1, out.output - 1), "latency": last}


def percentiles(out: ServingResult, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Mean and `PERCENTILES` of each measure, s, with ranges: 90 % of resamples lie within.

    Requests near each other wait together, so the bootstrap draws runs of neighbours, as long as the
    root of their number.
    """
    random, count = np.random.default_rng(seed), len(out.arrival_s)
    length = ceil(sqrt(count))
    begins = random.integers(0, count, (RESAMPLES, ceil(count / length)))
    drawn = ((begins[:, :, None] + np.arange(length)) % count).reshape(RESAMPLES, -1)[:, :count]
    found: dict[str, dict[str, Any]] = {}
    for name, times in times_of(out).items():
        kept = out.output > 1 if name == "tpot" else np.ones(count, bool)
        found[name] = {}
        if kept.any():
            values = _measures(times[kept][None])
            ends = np.nanpercentile(_measures(np.where(kept, times, np.nan)[drawn]), RANGE, axis=1)
            for key, *own in zip(("mean", *(f"p{p}" for p in PERCENTILES)), values[:, 0], *ends, strict=True):
                found[name] |= zip((key, f"{key}_low", f"{key}_high"), map(float, own), strict=True)
    return found


def _measures(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean and `PERCENTILES` of each row, (measures, rows)."""
    return np.vstack([np.nanmean(times, axis=1), np.nanpercentile(times, PERCENTILES, axis=1)])


@dataclass(frozen=True)
class ProfileBundle:
    """A folder of step times, as `StepProfiles` reads it; nothing else is known of what runs."""

    folder: str
    blocks: int
    """Of keys and values, each of `BLOCK_TOKENS`, that its memory holds."""
    kind: ClassVar[str] = "measured"

    @property
    def name(self) -> str:
        """Of its folder."""
        return Path(self.folder).name

    marked = name

    @classmethod
    def of(cls, text: str) -> ProfileBundle:
        """The bundle of a folder, its blocks behind it, as in "rtx4090:blocks=2588", or as it says itself."""
        try:
            choice = SystemReference.parse(text)
        except ValueError as error:
            raise SailsimError(f"runners is {error}.") from None
        blocks = choice.changes.get("blocks", read_meta(choice.file).get(BLOCKS, 0))
        if (
            set(choice.changes) - {"blocks"}
            or not str(blocks).isdecimal()
            or not 0 < int(blocks) <= MOST_BLOCKS
        ):
            raise SailsimError(
                f"runners is {text!r}, a bundle; allowed behind its folder is :blocks=1..{MOST_BLOCKS}, each "
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
    """Who multiplies the prompts of an accelerator."""
    prior: str | None = None
    """That the interval of an accelerator is drawn from."""

    @cached_property
    def step(self) -> StepTime:
        """Its steps' times."""
        if isinstance(self.runner, ProfileBundle):
            return StepProfiles(self.runner.folder, load_model(self.point.model)).seconds
        accelerates = self.runner.kind == "accelerator"
        return step_surface(self.point, self.runner, self.prefill if accelerates else "units").seconds

    @cached_property
    def memory(self) -> tuple[float, float, float]:
        """Bytes of its weights, of a token's keys and values, and of its memory; that may be without end.

        A window of attention frees none. Raises SailsimError for a machine that cannot run the model.
        """
        token = load_model(self.point.model).cached(self.point.kv_bits).kv_bytes_per_token()
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
        """Of keys and values, at most as many as its software could ever fill: `MOST_BLOCKS`."""
        weights, token, limit = self.memory
        return int(min((limit - weights) // (token * policy.block_tokens), MOST_BLOCKS))

    def server(self, policy: SchedulerPolicy, role: Any = "both", factor: float = 1.0) -> Server:
        """One of it; ``factor``: how many times as long as nominally its steps take."""
        return Server(self.step, self.blocks(policy), policy, role, factor)

    def run(self, batch: int, context: int, phase: str = "decode") -> Run:
        """A step of equal sequences, of as many as the memory holds."""
        weights, token, limit = self.memory
        context = max(1, context)
        held = int(min((limit - weights) // (token * context), batch))
        return self._run(batch=max(1, held), context=context, phase=phase)


@dataclass(frozen=True)
class Deployment:
    """Servers of one machine, how they order their work and who sends them requests."""

    policy: SchedulerPolicy = field(default_factory=SchedulerPolicy)
    servers: int = 1
    """Of prompts and answers."""
    readers: int = 0
    """Servers of prompts alone; with any, the others answer alone."""
    link_gb_s: float = 0.0
    """From each reader; needed with any."""
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
                f"link_gb_s is {link!r} beside {self.readers} readers; allowed is one above 0, at "
                "most 1e9, with readers, and none without."
            )

    def run(
        self,
        machine: Replica,
        requests: Sequence[Request],
        factor: float = 1.0,
        watch: Callable[[ServingLoop], None] | None = None,
    ) -> ServingResult:
        """Serve requests on servers of one machine; `watch` as of `ServingLoop`. Raises SailsimError for what
        they cannot hold."""
        role = "answers" if self.readers else "both"
        roles = ["prompts"] * self.readers + [role] * self.servers
        servers = [machine.server(self.policy, each, factor) for each in roles]
        link = KvLink(self.link_gb_s * 1e9, machine.memory[1]) if self.readers else None
        return ServingLoop(requests, servers, self.routing, link, watch).run()


def summary(
    machine: Replica, out: ServingResult, level: ServiceLevel, listed: PriceList | None = None, seed: int = 0
) -> dict[str, Any]:
    """What came of requests on a machine, by names that JSON has; None: not known."""
    met, seconds = level.met(out), out.seconds
    usd, joules = _dollars(machine, out, prices() if listed is None else listed), _joules(machine, out)
    answers, good = int(out.output.sum()), int(out.output[met].sum())
    return {
        "runner": machine.runner.name,
        "title": machine.runner.marked,
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
    """Of a million tokens of all answers, and of those whose requests meet the level."""
    return {
        f"{unit}_per_million_tokens": None if spent is None else 1e6 * spent / answers,
        f"{unit}_per_million_good_tokens": None if spent is None or not good else 1e6 * spent / good,
    }


def _sizes(out: ServingResult) -> tuple[int, int, int]:
    """Answers of a mean step that has any, their mean tokens, and the mean prompt."""
    answers = sum(each.answers for each in out.servers)
    batch = answers / max(1, sum(each.answer_steps for each in out.servers))
    context = sum(each.contexts for each in out.servers) / max(1, answers)
    return round(batch), round(context), round(float(out.prompt.mean()))


def _dollars(machine: Replica, out: ServingResult, listed: PriceList) -> dict[str, Any]:
    """What an hour of all servers costs; every one pays for the same."""
    batch, context, _ = _sizes(out)
    hour = ("usd_per_hour", "usd_per_hour_low", "usd_per_hour_high")
    found: dict[str, Any] = dict.fromkeys((*hour, "paid", "instance"))
    if isinstance(machine.runner, ProfileBundle):
        return found
    weights, token, _ = machine.memory
    held = max(each.peak_blocks for each in out.servers) * out.servers[0].policy.block_tokens
    # Idle time is in the requests' own times, so that nothing is left to assume of it.
    ends: dict[End, CostConstants] = {
        end: replace(each, utilisation=1.0) for end, each in CostConstants.ends().items()
    }
    row = machine.run(batch, context).as_record()
    row |= {"memory_bytes": weights + held * token, "tokens_per_s": 1.0, "low": None, "high": None}
    count = len(out.servers)
    if row["reason"] or listed.named(row["priced_as"]) is None:
        return found
    said = dollars(row, listed, ends)
    if said["usd_per_hour"] is not None:
        found |= {
            "usd_per_hour": count * said["usd_per_hour"],
            "usd_per_hour_low": count * HOUR_S / said["tokens_per_usd_high"],
            "usd_per_hour_high": count * HOUR_S / said["tokens_per_usd_low"],
        }
    return found | {name: said[name] for name in ("paid", "instance")}


def _joules(machine: Replica, out: ServingResult) -> dict[str, Any]:
    """Of all steps; of a GPU its board's power, which it takes at most."""
    batch, context, prompt = _sizes(out)
    total, bound = 0.0, machine.runner.kind == "gpu"
    if isinstance(machine.runner, ProfileBundle):
        return {"joules": None, "joules_are_a_bound": bound}
    reading = sum(each.prompt_s for each in out.servers)
    answering = sum(each.busy_s for each in out.servers) - reading
    for seconds, run in (
        (reading, machine.run(1, prompt, "prefill")),
        (answering, machine.run(batch, context)),
    ):
        joules = run.energy_high_j if bound else run.energy_j
        if seconds and (joules is None or not run.step_s):
            return {"joules": None, "joules_are_a_bound": bound}
        total += seconds * joules / run.step_s if seconds else 0.0  # type: ignore[operator]
    return {"joules": total, "joules_are_a_bound": bound}


# ---- The highest rate, and the cheapest fleet --------------------------------------------------------------


class _MissedError(Exception):
    """A level that cannot be met any more."""


class _EarlyEnd:
    """Ends a loop, by `_MissedError`, once more requests than a level allows have no first token in time."""

    def __init__(self, level: ServiceLevel, count: int) -> None:
        self.level, self.left, self.next = level, int(count * (1 - level.share) + 1e-9), 0

    def __call__(self, loop: ServingLoop) -> None:
        while self.next < len(loop.states):
            job = loop.states[self.next]
            due = job.request.arrival_s + self.level.ttft_s
            if due >= loop.now:
                return
            self.left -= not 0 <= job.first_s <= due
            if self.left < 0:
                raise _MissedError
            self.next += 1


def highest_rate(
    serve: Callable[[float], ServingResult | None], level: ServiceLevel, begin: float = 1.0
) -> tuple[float, ServingResult | None]:
    """The highest rate that meets a level, requests/s, to 2 %, and what came of it; 0 and None if none does.

    ``serve``: what comes of a rate; None where it does not meet the level. Rates are tried by
    factors from ``begin`` on, then between. Where a rate meets the level, lower ones are taken to; chance may
    break that by little.
    """
    low, high, best = 0.0, inf, None
    rate = begin
    while high / CLOSE > max(low, MOST_RATE**-1):
        out = serve(rate)
        if out is not None and level.holds(out):
            low, best = rate, out
            if rate >= MOST_RATE:
                break
        else:
            high = rate
        rate = low * 2 if not isfinite(high) else high / 4 if not low else sqrt(low * high)
        rate = min(rate, MOST_RATE)
    return low, best


def rates(
    machine: Replica,
    service: Deployment,
    level: ServiceLevel,
    requests: Sequence[Request],
    seed: int = 0,
    burst: float = 1.0,
    draws: int = 3,
    interval: bool = True,
) -> dict[str, Any]:
    """The highest rate of a machine, for prompts and answers as the requests have them, in their order.

    It is the median of some draws of arrivals. Its ends are those of the draws, and beyond them those of the
    interval of the machine's steps. ``rate`` is 0 where no rate meets the level.
    """

    def one(draw: int, factor: float, begin: float) -> tuple[float, ServingResult | None]:
        def serve(rate: float) -> ServingResult | None:
            arriving = at_rate(requests, rate, seed + draw, burst)
            try:
                return service.run(machine, arriving, factor, _EarlyEnd(level, len(arriving)))
            except _MissedError:
                return None

        return highest_rate(serve, level, begin)

    alone = service.run(machine, [requests[0]._replace(arrival_s=0.0)])
    begin = min(MOST_RATE, max(1.0 / MOST_RATE, 8.0 / alone.seconds))
    found = []
    for draw in range(draws):
        found.append(one(draw, 1.0, begin))
        begin = found[-1][0] or begin
    found.sort(key=lambda each: each[0])
    rate, out = found[len(found) // 2]
    low, high = found[0][0], found[-1][0]
    ends: dict[str, Any] = {"rate": rate, "rate_low": low, "rate_high": high, "interval": None}
    factors = _interval(machine, out) if interval and out is not None else None
    if factors is not None:
        slow, fast = (one(0, factor, rate)[0] for factor in factors)
        ends |= {"rate_low": min(low, slow), "rate_high": max(high, fast), "interval": factors}
    return {**ends, "served": out}


def _interval(machine: Replica, out: ServingResult) -> tuple[float, float] | None:
    """How many times as long as nominally a step of answers takes at most and at least; None: not known."""
    if isinstance(machine.runner, ProfileBundle):
        return None
    batch, context, _ = _sizes(out)
    run = replace(machine, prior=PRIOR).run(batch, context)
    if run.low is None or run.high is None or run.tokens_per_s is None:
        return None
    return run.tokens_per_s / run.low, run.tokens_per_s / run.high


def cheapest(load: float, offers: Mapping[str, tuple[float, float]]) -> dict[str, int] | None:
    """Whole servers of machines that together serve a load, requests/s, for the least dollars an hour.

    ``offers``: of each machine the highest rate of a server, requests/s, and its dollars an hour. Requests
    are sent to servers by chance, to each as many as it can serve: it sees arrivals of its own rate. Who
    sends them by their queues needs no more servers. None where no machine serves any.
    """
    order = sorted((hour / rate, rate, hour, name) for name, (rate, hour) in offers.items() if rate > 0)
    if not order:
        return None
    best, least = dict[str, int](), inf

    def fill(at: int, left: float, spent: float, chosen: dict[str, int]) -> None:
        nonlocal best, least
        if left <= 1e-9 * load:
            best, least = (chosen, spent) if spent < least else (best, least)
            return
        each, rate, hour, name = order[at]
        if spent + left * each >= least:  # none behind it serves for less
            return
        most = ceil(left / rate - 1e-9)
        for count in range(most, -1 if at + 1 < len(order) else most - 1, -1):
            more = {name: count} if count else {}
            fill(at + 1, left - count * rate, spent + count * hour, chosen | more)

    fill(0, load, 0.0, {})
    return best


# ---- The front door --------------------------------------------------------------------------------

WHO = ("sail", "sail-ampere", "cores-best", "l4", "a100-f16")
"""Who serves where nobody is named."""


def serving_runners(names: Sequence[str] = WHO) -> tuple[Runner | ProfileBundle, ...]:
    """Runners that ship by their names, machines or files as `runners` has them beside those, and folders of
    bundles. Raises SailsimError for a name that is none of these.
    """
    found: list[Runner | ProfileBundle] = []
    for name in names:
        if (Path(name.partition(":")[0]) / META).is_file():
            found.append(ProfileBundle.of(name))
        else:
            found.extend(named(name) if name in runner_names() else read_runners(name))
    return tuple(found)


def write_bundle(folder: str | Path, machine: Replica) -> None:
    """Write a machine's step times as a bundle (`write_profiles`), with how many blocks its memory holds.

    Of an accelerator over keys and values of few bits, whose units can multiply them too, it has the line of
    attention there: ns a layer of one sequence are ``slope`` times its tokens and ``intercept``.
    """
    model = load_model(machine.point.model)
    # Their reader knows no formats of few bits: it finds a folder by the widths that it counts memory with.
    variant = "bf16" if (machine.point.kv_bits or model.kv_bits) > CODE_BITS else "bf16-kvfp8"
    about: dict[str, Any] = {"hardware": machine.runner.name, "model": model.name, "variant": variant}
    about |= {
        "weights": machine.run(1, 2).format,
        BLOCKS: machine.blocks(SchedulerPolicy(block_tokens=BLOCK_TOKENS)),
    }
    if machine.runner.kind == "accelerator" and 0 < machine.point.kv_bits <= CODE_BITS:
        about["attention_on_units"] = "{{slope: {:.6g}, intercept: {:.6g}}}".format(*attention_line(machine))
    write_profiles(folder, machine.step, model, about)


LINE = (512, 1024, 2048, 4096)
"""Tokens of a sequence that the line of attention goes through."""


def attention_line(machine: Replica) -> tuple[float, float]:
    """Attention on an accelerator's units, ns a layer of one sequence: slope by its tokens, and intercept.

    The intercept is what a step with it takes more, without a token, than one with attention on the cores.
    Raises SailsimError where the units cannot."""
    lines = []
    for where in ("units", "cores"):
        of = replace(machine, point=replace(machine.point, attention=where))
        lines.append(np.polyfit(LINE, [of.run(1, context).step_s or 0.0 for context in LINE], 1))
    scale = 1e9 / load_model(machine.point.model).n_layers
    return float(scale * lines[0][0]), float(scale * (lines[0][1] - lines[1][1]))


def serve(
    requests: Sequence[Request],
    point: Point | None = None,
    runners: Sequence[Runner | ProfileBundle] | None = None,
    service: Deployment | None = None,
    level: ServiceLevel | None = None,
    price_list: PriceList | None = None,
    seed: int = 0,
    find_rate: bool = False,
    load: float | None = None,
    burst: float = 1.0,
    prefill: Prefill = "units",
    folder: str | Path | None = None,
) -> dict[str, Any]:
    """Serve requests on each of some runners: times, what meets the level, dollars and joules.

    The point has model, weights, width of keys and values, system and threads; its batch, context and phase
    are of no account. With ``find_rate`` the requests come at the highest rate that meets the level; with
    ``load``, requests/s, ``fleet`` has the cheapest servers of the runners for it. ``served`` of a runner has
    the times of every request; one that cannot serve has a `reason`. Stopped by Ctrl-C, a call leaves the
    runners that it is through with in ``folder``, and the same call takes them from there. Raises
    SailsimError for requests that the model was not made for.
    """
    where = Point(model="llama-3.1-8b", threads=64) if point is None else point
    check_type("point", where, Point, "is a Point")
    who = (
        serving_runners()
        if runners is None
        else items_of("runners", runners, cast(Any, (Runner, ProfileBundle)), RUNNERS)
    )
    given, wanted = service or Deployment(), level or ServiceLevel()
    listed = prices() if price_list is None else price_list
    if type(seed) is not int or not 0 <= seed < SEEDS:
        raise SailsimError(f"seed is {seed!r}; allowed is a whole number 0..{SEEDS - 1}.")
    if load is not None and not 0 < load <= 1e9:
        raise SailsimError(f"fleet is {load!r}; allowed is a load above 0 requests/s, at most 1e9.")
    model = load_model(where.model)
    longest = max(each.prompt + each.output for each in requests)
    if 0 < model.max_context < longest and not where.beyond_limit:
        raise SailsimError(
            f"a request has {longest} tokens; allowed for {model.name} are at most {model.max_context}, "
            "which it was made for."
        )
    finds = find_rate or load is not None
    asked = repr((given, wanted, list(requests), listed, seed, finds, burst, prefill))

    def one(runner: Runner | ProfileBundle) -> dict[str, Any]:
        machine, ends = Replica(where, runner, prefill), dict[str, Any]()
        empty = {"runner": runner.name, "title": runner.marked, "kind": runner.kind, "reason": None}
        try:
            if finds:
                ends = rates(machine, given, wanted, requests, seed, burst)
            out = ends.pop("served") if finds else given.run(machine, requests)
            if out is None:
                return empty | ends | {"reason": f"no rate meets {wanted}"}
            return empty | ends | summary(machine, out, wanted, listed, seed) | {"served": out}
        except SailsimError as error:
            return empty | {"reason": str(error)}

    rows: list[dict[str, Any]] = []
    with reporter(len(who), True, "machines", short=True) as report, _kept(folder, report) as kept:
        for runner in who:
            rows.append(kept(where, asked, runner, one))
            report.advance(1)
            heed()
    answer = {"point": where.as_dict(), "level": str(wanted), "requests": len(requests), "machines": rows}
    return answer if load is None else answer | {"fleet": _fleet(load, rows, requests)}


@contextmanager
def _kept(folder: str | Path | None, report: ProgressReport) -> Iterator[Callable[..., dict[str, Any]]]:
    """Gives who asks for a runner's row: from a folder where a stopped call left it, else as `one` finds it.
    Ctrl-C leaves there what was found by then."""
    store, fresh = None if folder is None else Store(folder), list[dict[str, Any]]()

    def kept(
        point: Point, asked: str, runner: Runner | ProfileBundle, one: Callable[..., Any]
    ) -> dict[str, Any]:
        if store is None or isinstance(runner, ProfileBundle):
            return dict(one(runner))
        key = ResultKeys("serve", asked + runner.digest).result(point)
        for held in store.records_of([key])[0]:
            report.note(f"{runner.name} as a stopped call left it in {store.path}")
            times: dict[str, Any] = {name: np.array(each) for name, each in held["times"].items()}
            return dict(held["row"]) | ({"served": ServingResult(**times, servers=())} if times else {})
        row = dict(one(runner))
        out, said = row.get("served"), {name: row[name] for name in row if name != "served"}
        times = {name: getattr(out, name).tolist() for name in _TIMES if out is not None}
        fresh.append(dict.fromkeys(RESERVED) | {"key": key, "row": said, "times": times})
        return row

    try:
        yield kept
    except KeyboardInterrupt as stop:
        if store is not None and fresh:
            with store.locked("serve"):
                store.append(fresh)
            stop.add_note(f"{len(fresh)} of {report.total} machines are stored in {store.path}")
        raise


_TIMES = ("arrival_s", "first_s", "last_s", "prompt", "output", "restarts")
FOLDER = "serving"
"""Of a study: what `sailsim serve --find-rate --json` printed, a file for each load."""


def verdicts(folder: str | Path) -> list[str]:
    """The verdict of each file of a folder of answers, by their names; none where there is no folder. Raises
    SailsimError for a file that is no such answer."""
    found = []
    for path in sorted(Path(folder).glob("*.json")):
        try:
            found.append(verdict(json.loads(read_text(path, "answer", MAX_TEXT))))
        except (ValueError, TypeError, LookupError):
            raise SailsimError(
                f"{path} is no answer; allowed is what serve --find-rate --json prints."
            ) from None
    return found


def verdict(answer: Mapping[str, Any]) -> str:
    """Who serves most for a dollar at the level, and what SAIL costs there, in a sentence or two."""
    rows = [{**row, "usd": row.get("usd_per_million_tokens")} for row in answer["machines"]]
    priced = sorted((row for row in rows if row["usd"] and row["rate"]), key=lambda row: float(row["usd"]))
    said = f"{answer['trace']}, {answer['point']['model']} ({answer['level']}): "
    said += (
        f"{_costs(priced[0])}, the most for a dollar." if priced else "no priced machine meets this level."
    )
    ours = [row for row in rows if row["kind"] == "accelerator" and row not in priced[:1]]
    if not ours:
        return said
    best = [row for row in priced if row in ours][:1]
    return f"{said} {_costs(best[0])}." if best else f"{said} {ours[0]['title']} meets it at no rate."


def _costs(row: Mapping[str, Any]) -> str:
    """What a machine's tokens cost, with the range of its rate."""
    low, high = (
        row["usd"] * row["rate"] / end if end else inf for end in (row["rate_high"], row["rate_low"])
    )
    ends = f"{low:.3g} or more" if high == inf else f"{low:.3g}..{high:.3g}"
    usd = f"{row['usd']:.3g} USD ({ends})"
    return f"{row['title']} serves a million tokens for {usd} at {row['rate']:.3g} requests/s"


def _fleet(load: float, rows: Sequence[Mapping[str, Any]], requests: Sequence[Request]) -> dict[str, Any]:
    """The cheapest servers for a load, and what they cost; no servers where none meets the level."""
    priced = (row for row in rows if not row["reason"] and row["usd_per_hour"])
    offers = {row["runner"]: (row["rate"], row["usd_per_hour"]) for row in priced}
    chosen = cheapest(load, offers)
    if chosen is None:
        return {"load": load, "servers": {}, "usd_per_hour": None, "usd_per_million_tokens": None}
    hour = sum(count * offers[name][1] for name, count in chosen.items())
    cost = 1e6 * hour / (load * HOUR_S * float(np.mean([each.output for each in requests])))
    return {"load": load, "servers": chosen, "usd_per_hour": hour, "usd_per_million_tokens": cost}
