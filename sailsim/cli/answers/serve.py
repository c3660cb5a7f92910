"""`sailsim serve`: requests on servers, from arrival to the last token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import click

from sailsim.analysis.costs.dollars import prices as read_prices
from sailsim.analysis.serving.serve_requests import DEFAULT_RUNNERS, serve, serving_runners, verdict
from sailsim.analysis.serving.service import Deployment, Replica, ServiceLevel, write_bundle
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.cli.common.command import Command
from sailsim.cli.common.json_output import answered, as_json_option
from sailsim.cli.common.path_option import OUT_FILE, TEXT, PathOption
from sailsim.cli.common.point_options import DEFAULTS, point_options, prices_option
from sailsim.cli.common.table import echo, print_table, say
from sailsim.sim.backend import Prefill
from sailsim.sim.machine.catalog import FileReference, parse_value
from sailsim.sim.point import Point
from sailsim.sim.serve.loop import ROUTINGS
from sailsim.sim.serve.server import POLICY_FIELDS, SCHEDULERS, SchedulerPolicy
from sailsim.workloads.requests import SHIPPED, at_rate, read_requests

_MODEL, _THREADS = "llama-3.1-8b", 64
FOLDER = Path("out/served")
"""Folder in which a stopped call leaves its results."""


@click.command("serve", cls=Command)
@point_options(
    *("system", "model", "weights", "threads", "kv_bits", "convert"),
    defaults=DEFAULTS | {"model": _MODEL, "threads": str(_THREADS)},
)
@click.option(
    "--trace",
    type=TEXT,
    default="azure-conv",
    help=f"Requests: a file of Azure's, Mooncake's, Vidur's or LLMServingSim's, or {', '.join(SHIPPED)}.",
)
@click.option(
    "--rate",
    type=TEXT,
    help="Requests/s at random times; 1:burst=4: gaps of 4 times Poisson's variance; 1:seed=2: other draws; "
    "default: the trace's times.",
)
@click.option(
    "--runners",
    type=TEXT,
    default=",".join(DEFAULT_RUNNERS),
    help="Hardware and software of the servers: runners of `sailsim run --json`, machines as in its "
    "--against, or a folder of step times of LLMServingSim 2 with its blocks: rtx4090:blocks=2588.",
)
@click.option(
    "--prefill",
    type=click.Choice(get_args(Prefill)),
    default="units",
    help="Where an accelerator prefills: on units, on cores while the units decode, or auto, the faster.",
)
@click.option(
    "--scheduler",
    type=TEXT,
    default="vllm",
    help=f"Scheduler: {', '.join(SCHEDULERS)}; :sequences, :budget, :block_tokens and :reuse change it, as "
    "in vllm:budget=512.",
)
@click.option(
    "--servers",
    type=TEXT,
    default="1",
    help=f"Servers of each machine; 2:routing=least chooses the routing ({', '.join(ROUTINGS)}), "
    "2:readers=1:link_gb_s=25 adds a server that prefills for them.",
)
@click.option(
    "--level",
    type=TEXT,
    default="2,0.2,0.99",
    help="Service level: seconds to the first token, seconds per token, share of requests that meet both.",
)
@click.option("--find-rate", is_flag=True, help="Find the highest rate that meets the level.")
@click.option("--fleet", type=float, help="Find the cheapest servers for this many requests/s.")
@prices_option
@click.option("--out", type=OUT_FILE, help="Write the times of each request on each machine as CSV.")
@click.option(
    "--bundle",
    type=PathOption(written=True, file_okay=False),
    help="Write the step times of the first runner for LLMServingSim 2, and serve nothing.",
)
@as_json_option
def serve_(
    runners: str, level: str, find_rate: bool, fleet: float | None, prices: Path | None, out: Path | None,
    bundle: Path | None, **given: Any,
) -> None:  # fmt: skip
    """Serve requests on each machine: latencies, the share within a service level, dollars and joules.

    Ranges come from draws of the requests. The range of a highest rate comes from draws of arrivals and from
    the interval of the machine's steps. A stopped call continues after the machines that it has finished.
    """
    names = ("trace", "rate", "scheduler", "prefill", "servers")
    trace, rate, scheduler, prefill, servers = load = [given.pop(name) for name in names]
    defaults: dict[str, Any] = {"model": _MODEL, "threads": _THREADS}
    point = Point(**defaults | {name: value for name, value in given.items() if value is not None})
    hardware = serving_runners([name.strip() for name in runners.split(",")])
    if bundle is not None:
        write_bundle(bundle, Replica(point, hardware[0], prefill))
        say(f"{bundle} has the step times of {hardware[0].name} with {point.model}.")
        return
    requests, arrivals = read_requests(trace), dict[str, Any]()
    if rate is not None:
        arrivals = _values("rate", rate, ("burst", "seed"))
        requests = at_rate(requests, **arrivals)
    policy = SchedulerPolicy(**_values("scheduler", scheduler, POLICY_FIELDS))
    deployment = Deployment(policy, **_values("servers", servers, ("readers", "link_gb_s", "routing")))
    price_list = None if prices is None else read_prices(prices)
    burst, seed = arrivals.get("burst", 1.0), arrivals.get("seed", 0)
    options = {"find_rate": find_rate, "load": fleet, "burst": burst, "prefill": prefill, "folder": FOLDER}
    answer = serve(requests, point, hardware, deployment, _level(level), price_list, seed, **options)
    if out is not None:
        write_whole(out, _times(answer["machines"]).encode())
    for row in answer["machines"]:
        row.pop("served", None)
    answer |= dict(zip(names, load, strict=True))
    if answered(answer):
        return
    _print(answer, trace if rate is None else f"{trace} at {rate} requests/s")
    if find_rate:
        say(verdict(answer))


def _values(option: str, text: str, others: Sequence[str]) -> dict[str, Any]:
    """Values of an option by name: the first value, and those after colons. Raises SailsimError for
    others."""
    try:
        value, changes = FileReference.parse(text)
    except ValueError as error:
        raise SailsimError(f"{option} is {error}.") from None
    other = next((name for name in changes if name not in others), None)
    if other is not None:
        raise SailsimError(f"{option} is {text!r}, which sets {other}; allowed are {', '.join(others)}.")
    return {option: parse_value(value), **changes}


def _level(text: str) -> ServiceLevel:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not 0 < len(numbers) <= len(fields(ServiceLevel)):
        raise SailsimError(
            f"level is {text!r}; allowed are up to three numbers: s to the first token, s a token, share."
        )
    return ServiceLevel(*numbers)


def _times(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV of every request on every machine that served it."""
    names = "arrival_s", "prompt", "output", "first_s", "last_s", "restarts"
    lines = [",".join(("runner", *names))]
    for row in rows:
        if (served := row.get("served")) is not None:
            columns = [getattr(served, name).tolist() for name in names]
            lines += [",".join(map(str, (row["runner"], *each))) for each in zip(*columns, strict=True)]
    return "\n".join(lines) + "\n"


def _print(answer: Mapping[str, Any], trace: str) -> None:
    point = answer["point"]
    say(
        f"{point['model']}, {answer['requests']} requests of {trace}, {point['threads']} threads on "
        f"{point['system']}; level: {answer['level']}",
        "",
    )
    echo()
    served = [row for row in answer["machines"] if not row["reason"]]
    if served:
        table = [_row(row) for row in served]
        print_table(table, list(table[0]), whole=list(table[0])[1:], numbers=list(table[0])[1:])
    for row in answer["machines"]:
        if row["reason"]:
            say(f" {row['title']}: {row['reason']}")
        elif row["endless"]:
            growth = f"It grows by {row['queue_grows']:.0%} of the arrivals"
            say(f" {row['title']}: the queue has no end. {growth}; times say how long the trace is.")
    if any(row["joules_are_a_bound"] for row in served):
        say(" J of a GPU: from the power of its board, an upper bound.")
    if "fleet" in answer:
        _print_fleet(answer["fleet"], {row["runner"]: row["title"] for row in served})


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    times = row["times_s"]
    first = {"machine": row["title"]} | ({"requests/s": _ranged(row, "rate")} if "rate" in row else {})
    joules = row["j_per_million_tokens"]
    return first | {
        "TTFT p50": _short(times["ttft"]["p50"]),
        "p99, s": _ranged(times["ttft"], "p99"),
        "TPOT p99, s": _ranged(times["tpot"], "p99"),
        "latency p99, s": _ranged(times["latency"], "p99"),
        "in level": f"{row['in_level']:.1%}",
        "tokens/s": _short(row["tokens_per_s"]),
        "USD/1M": _short(row["usd_per_million_tokens"]),
        "kJ/1M": _short(joules and joules / 1e3),
    }


def _ranged(values: Mapping[str, float], key: str) -> str:
    ends = "..".join(_short(values.get(f"{key}_{end}")) for end in ("low", "high"))
    return f"{_short(values.get(key))} ({ends})" if key in values else "-"


def _short(value: float | None) -> str:
    """Number with three digits, or without decimals from a hundred on."""
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _print_fleet(fleet: Mapping[str, Any], titles: Mapping[str, str]) -> None:
    if not fleet["servers"]:
        say(f" No servers of these have a price and meet the level at {fleet['load']:g} requests/s.")
        return
    words = " + ".join(f"{count} x {titles[name]}" for name, count in fleet["servers"].items())
    say(
        f" Cheapest for {fleet['load']:g} requests/s: {words}, {_short(fleet['usd_per_hour'])} USD/h, "
        f"{_short(fleet['usd_per_million_tokens'])} USD a million tokens."
    )
