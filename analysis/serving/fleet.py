"""The highest rate of requests that meets a service level, and the cheapest fleet for a load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil, inf, isfinite, sqrt
from typing import Any

import numpy as np

from sailsim.analysis.costs.dollars import HOUR_S
from sailsim.analysis.serving.service import Deployment, ProfileBundle, Replica, ServiceLevel, mean_sizes
from sailsim.analysis.uncertainty.prior import PRIOR
from sailsim.sim.serve.loop import ServingLoop, ServingResult
from sailsim.workloads.requests import Request, at_rate

MOST_RATE = 1e4
"""Highest rate that is tried, requests/s."""
CLOSE = 1.02
"""Factor between rates below which they count as one."""


def _stop_when_missed(level: ServiceLevel, count: int) -> Callable[[ServingLoop], None]:
    """Watcher of a loop that raises TimeoutError once so many requests have no first token in time that the
    level cannot be met any more."""
    spare, first = int(count * (1 - level.share) + 1e-9), 0

    def watch(loop: ServingLoop) -> None:
        nonlocal spare, first
        while first < len(loop.states):
            job = loop.states[first]
            due = job.request.arrival_s + level.ttft_s
            if due >= loop.now:
                return
            spare -= not 0 <= job.first_s <= due
            if spare < 0:
                raise TimeoutError
            first += 1

    return watch


def highest_rate(
    serve: Callable[[float], ServingResult | None], level: ServiceLevel, begin: float = 1.0
) -> tuple[float, ServingResult | None]:
    """The highest rate that meets a level, requests/s, to 2 %, and its result; 0 and None if no rate does.

    ``serve`` gives the result at a rate; None where it does not meet the level. Rates are tried by factors
    from ``begin`` on, then between. A rate below one that meets the level is assumed to meet it too, which
    random arrivals may break by little.
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
    replica: Replica,
    deployment: Deployment,
    level: ServiceLevel,
    requests: Sequence[Request],
    seed: int = 0,
    burst: float = 1.0,
    draws: int = 3,
    interval: bool = True,
) -> dict[str, Any]:
    """The highest rate of a deployment, for prompts and answers as the requests have them, in their order.

    It is the median over some draws of arrivals. Its ends cover those draws and the interval of the replica's
    steps. ``rate`` is 0 where no rate meets the level; ``served`` is the result at the rate.
    """

    def at_draw(draw: int, factor: float, begin: float) -> tuple[float, ServingResult | None]:
        def serve(rate: float) -> ServingResult | None:
            arriving = at_rate(requests, rate, seed + draw, burst)
            try:
                return deployment.run(replica, arriving, factor, _stop_when_missed(level, len(arriving)))
            except TimeoutError:
                return None

        return highest_rate(serve, level, begin)

    alone = deployment.run(replica, [requests[0]._replace(arrival_s=0.0)])
    begin = min(MOST_RATE, max(1.0 / MOST_RATE, 8.0 / alone.seconds))
    by_draw = []
    for draw in range(draws):
        by_draw.append(at_draw(draw, 1.0, begin))
        begin = by_draw[-1][0] or begin
    by_draw.sort(key=lambda each: each[0])
    rate, out = by_draw[len(by_draw) // 2]
    low, high = by_draw[0][0], by_draw[-1][0]
    ends: dict[str, Any] = {"rate": rate, "rate_low": low, "rate_high": high, "interval": None}
    factors = _step_interval(replica, out) if interval and out is not None else None
    if factors is not None:
        slow, fast = (at_draw(0, factor, rate)[0] for factor in factors)
        ends |= {"rate_low": min(low, slow), "rate_high": max(high, fast), "interval": factors}
    return {**ends, "served": out}


def _step_interval(replica: Replica, out: ServingResult) -> tuple[float, float] | None:
    """Longest and shortest time of a step of answers over its nominal time; None: not known."""
    if isinstance(replica.runner, ProfileBundle):
        return None
    batch, context, _ = mean_sizes(out)
    run = replace(replica, prior=PRIOR).run(batch, context)
    if run.low is None or run.high is None or run.tokens_per_s is None:
        return None
    return run.tokens_per_s / run.low, run.tokens_per_s / run.high


def cheapest(load: float, offers: Mapping[str, tuple[float, float]]) -> dict[str, int] | None:
    """Number of servers by runner that together serve a load, requests/s, for the least dollars an hour.

    ``offers``: for each runner the highest rate of a server, requests/s, and its dollars an hour. Requests
    are assigned to servers at random, to each as many as it can serve, so that it sees arrivals of its own
    rate. Routing by queues needs no more servers. None where no runner serves any.
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
        if spent + left * each >= least:  # all later offers cost at least as much a request
            return
        most = ceil(left / rate - 1e-9)
        for count in range(most, -1 if at + 1 < len(order) else most - 1, -1):
            more = {name: count} if count else {}
            fill(at + 1, left - count * rate, spent + count * hour, chosen | more)

    fill(0, load, 0.0, {})
    return best


def fleet_for(load: float, rows: Sequence[Mapping[str, Any]], requests: Sequence[Request]) -> dict[str, Any]:
    """The `cheapest` servers for a load and their cost, from the rows of an answer; no servers where no
    runner meets the level."""
    priced = (row for row in rows if not row["reason"] and row["usd_per_hour"])
    offers = {row["runner"]: (row["rate"], row["usd_per_hour"]) for row in priced}
    chosen = cheapest(load, offers)
    if chosen is None:
        return {"load": load, "servers": {}, "usd_per_hour": None, "usd_per_million_tokens": None}
    hour = sum(count * offers[name][1] for name, count in chosen.items())
    cost = 1e6 * hour / (load * HOUR_S * float(np.mean([each.output for each in requests])))
    return {"load": load, "servers": chosen, "usd_per_hour": hour, "usd_per_million_tokens": cost}
