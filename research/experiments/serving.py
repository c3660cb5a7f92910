"""Who serves most for a dollar: the data and the figures of docs/serving.md.

    python research/experiments/serving.py [map] [curves] [chat] [long documents]
    python research/experiments/serving.py reuse

writes docs/data/serving-*.csv and docs/figures/serving*.png, all of them or some.

Llama-3.1-8B on SAIL, on 64 threads of N1, N2 and V2, on L4 and A100. Each machine has the budget and number
of sequences, of a few, with which it serves most. SAIL converts sums where that is the fastest.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from sailsim.analysis.render.figure import Figure, FigureAxis, Panel, draw, line_style, save
from sailsim.analysis.serving.fleet import rates
from sailsim.analysis.serving.serve_requests import serving_runners
from sailsim.analysis.serving.service import Deployment, Replica, ServiceLevel, summary
from sailsim.sim.machine.pim import AUTO
from sailsim.sim.point import Point
from sailsim.sim.serve.server import SchedulerPolicy
from sailsim.workloads.requests import Request, at_rate, read_requests

DOCS = Path(__file__).resolve().parents[2] / "docs"
POINT = Point(model="llama-3.1-8b", threads=64)
MACHINES = {
    "SAIL, fork on its cores": ("sail-n1", "sail-ampere"),
    "its cores (N1), fastest": ("sail-n1", "cores-best"),
    "N2 (Cobalt 100), fastest": ("cobalt100", "cores-best"),
    "N2 (Cobalt 100), vLLM bf16": ("cobalt100", "cores-vllm"),
    "V2 (Graviton4), fastest": ("graviton4", "cores-best"),
    "L4, llama.cpp": ("sail-n1", "l4"),
    "L4, vLLM f16": ("sail-n1", "l4-f16"),
    "A100, vLLM f16": ("sail-n1", "a100-f16"),
}
"""System and runner. What is faster on N1 was measured there; one process on 64 threads each."""
CHOICES = {"gpu": ((2048, 256),), "cores": ((128, 16), (512, 64)), "accelerator": ((128, 16), (512, 64))}
"""Tokens of a step, and sequences that run together: each machine has those with which it serves most."""
LEVELS = {
    "MLPerf": ServiceLevel(),
    "patient": ServiceLevel(60.0, 0.5, 0.9),
}
"""MLPerf's, and one that reads and answers faster than a person reads, after a minute at most."""
CHAT = read_requests("azure-conv")[:300]
LONGEST = 32768
"""Tokens of a prompt: the memory of an L4 in 16 bits holds no more than 40,000."""
LONG = tuple(each for each in read_requests("mooncake-conv") if each.prompt <= LONGEST)[:100]
"""Conversations about long texts."""
WORKS = {"chat": CHAT, "long documents": LONG}
SIZES = (128, 512, 2048, 8192)
ANSWERS = (32, 128, 512)
TOGETHER = 1e4
"""Requests/s of those that come all at once."""
MANY = 24


def services(machine: Replica) -> Iterator[Deployment]:
    """One server, with each choice of its kind."""
    for budget, sequences in CHOICES[machine.runner.kind]:
        yield Deployment(SchedulerPolicy(budget=budget, sequences=sequences))


def machine(system: str, runner: str) -> Replica:
    """Of a name."""
    (served,) = serving_runners([runner])
    convert = AUTO if served.kind == "accelerator" else None
    return Replica(replace(POINT, system=system, convert=convert), served)


def once(machine: Replica, requests: Sequence[Request]) -> dict[str, Any]:
    """The cheapest answer of requests that all are there at the beginning."""
    every = [summary(machine, each.run(machine, requests), ServiceLevel()) for each in services(machine)]
    return min(every, key=lambda row: row["usd_per_million_tokens"] or float("inf"))


def rate_rows(machines: Mapping[str, Replica], requests: Sequence[Request]) -> Iterator[dict[str, Any]]:
    """Of each machine the highest rate of each level with its dollars, and what it does with all at once."""
    for title, machine in machines.items():
        row: dict[str, Any] = {"machine": title}
        for name, level in LEVELS.items():
            tried = [
                (rates(machine, each, level, requests, draws=1, interval=False)["rate"], each)
                for each in services(machine)
            ]
            chosen = max(tried, key=lambda pair: pair[0])[1]
            best = rates(machine, chosen, level, requests)
            out, said = best["served"], {}
            if out is not None:
                said = summary(machine, out, level)
            ends = f"{short(best['rate'])} ({short(best['rate_low'])}..{short(best['rate_high'])})"
            row[f"{name}: requests/s"] = ends if best["rate_high"] else "none"
            row[f"{name}: USD/1M"] = dollars(said.get("usd_per_million_tokens"), best)
        said = once(machine, [request._replace(arrival_s=0.0) for request in requests[:200]])
        row["all at once: tokens/s"] = short(said["tokens_per_s"])
        row["all at once: USD/1M"] = short(said["usd_per_million_tokens"])
        yield row


def dollars(usd: float | None, rates: Mapping[str, float]) -> str:
    """USD for a million tokens at a rate, and at the ends of its range."""
    if usd is None:
        return "-"
    least, low = usd * rates["rate"] / rates["rate_high"], rates["rate_low"]
    most = f"..{short(usd * rates['rate'] / low)}" if low else " or more"
    return f"{short(usd)} ({short(least)}{most})"


def short(value: float | None) -> str:
    """Three digits."""
    return "-" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def curves(machines: Mapping[str, Replica]) -> Figure:
    """Throughput against p99, of chat; there are looks for seven machines."""
    rows = []
    for title, machine in machines.items():
        if title == "N2 (Cobalt 100), fastest":  # its vLLM serves eight times as much
            continue
        service = Deployment(SchedulerPolicy(budget=512))
        full = service.run(machine, [request._replace(arrival_s=0.0) for request in CHAT])
        most = len(CHAT) / full.seconds
        for share in (0.05, 0.2, 0.4, 0.6, 0.8, 0.95):
            said = summary(machine, service.run(machine, at_rate(CHAT, share * most, seed=1)), ServiceLevel())
            for measure in ("ttft", "tpot"):
                times = said["times_s"][measure]
                rows.append(
                    {
                        "machine": title,
                        "measure": measure,
                        "tokens": said["tokens_per_s"],
                        "p99": times["p99"],
                        "low": times["p99_low"],
                        "high": times["p99_high"],
                    }
                )
    frame = pd.DataFrame(rows)
    words = {"ttft": "to the first token, s (p99)", "tpot": "a token, s (p99)"}
    panels = [
        Panel(
            frame[frame["measure"] == measure],
            FigureAxis("tokens", "tokens/s of answers", log=True),
            FigureAxis("p99", label, log=True),
            "machine",
            low="low",
            high="high",
        )
        for measure, label in words.items()
    ]
    return Figure("Throughput against p99, chat", panels)


def cells(machines: Mapping[str, Replica]) -> list[dict[str, Any]]:
    """Of each size of prompt and answer, dollars of every machine, requests all at once."""
    rows = []
    for prompt in SIZES:
        for output in ANSWERS:
            for title, machine in machines.items():
                said = once(machine, [Request(0.0, prompt, output)] * MANY)
                usd = said["usd_per_million_tokens"]
                if usd is not None:
                    rows.append({"prompt": prompt, "output": output, "machine": title, "usd": usd})
    return rows


def winners(rows: Sequence[dict[str, Any]], left_out: Sequence[str]) -> pd.DataFrame:
    """The cheapest of each cell but for some machines."""
    frame = pd.DataFrame(rows)
    frame = frame[~frame["machine"].isin(left_out)]
    return frame.loc[frame.groupby(["prompt", "output"])["usd"].idxmin()]


def ratio_map(rows: Sequence[dict[str, Any]], gpus: Sequence[str]) -> Figure:
    """Who is the cheapest by the sizes of prompt and answer: of all, and of servers without a GPU."""
    panels = []
    for who, left_out in (("every machine", ()), ("machines without a GPU", gpus)):
        won = winners(rows, left_out)
        notes = [(row.prompt * 1.2, row.output * 0.93, short(row.usd)) for row in won.itertuples()]
        panels.append(
            Panel(
                won,
                FigureAxis("prompt", "tokens of the prompt", log=True, ticks={n: str(n) for n in SIZES}),
                FigureAxis("output", "tokens of the answer", log=True, ticks={n: str(n) for n in ANSWERS}),
                "machine",
                title=f"{who}: USD a million tokens",
                notes=notes,
            )
        )
    names = list(dict.fromkeys(row["machine"] for row in rows))
    looks = {name: line_style(at, dash="", size=11) for at, name in enumerate(names)}
    return Figure("Cheapest by sizes; USD a million tokens of answers", panels, looks=looks)


def reuse() -> list[dict[str, Any]]:
    """Requests whose prompts begin alike, with blocks found again and without: an A100, 8 sequences."""
    requests = at_rate(read_requests("mooncake-conv"), 0.2, seed=1)
    read, one = sum(request.prompt for request in requests), machine("sail-n1", "a100-f16")
    rows = []
    for found in (True, False):
        said = summary(
            one, Deployment(SchedulerPolicy(sequences=8, reuse=found)).run(one, requests), ServiceLevel()
        )
        row = {"equal beginnings": "found again" if found else "computed again"}
        row["tokens of prompts found"] = f"{said['reused_tokens'] / read:.1%}"
        for name, times in said["times_s"].items():
            row |= {f"{name}, {at}": short(times[at]) for at in ("p50", "p99") if name != "latency"}
        rows.append(row | {"tokens/s": short(said["tokens_per_s"]), "restarts": said["restarts"]})
    return rows


def written(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Rows as a CSV file, "-" where nothing is known."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, names, restval="-", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def main() -> None:
    """Writes what the words ask for; rates last, from the parts of all works."""
    machines = {title: machine(*names) for title, names in MACHINES.items()}
    gpus = [title for title, each in machines.items() if each.runner.kind == "gpu"]
    figures, data = DOCS / "figures", DOCS / "data"
    asked = sys.argv[1:] or ["map", "curves", "reuse", *WORKS]
    if "reuse" in asked:
        written(data / "serving-reuse.csv", reuse())
    if "map" in asked:
        rows = cells(machines)
        written(data / "serving-map.csv", [row | {"usd": f"{row['usd']:.3g}"} for row in rows])
        save(draw(ratio_map(rows, gpus)), figures / "serving_map.png")
    if "curves" in asked:
        save(draw(curves(machines)), figures / "serving.png")
    for work in WORKS:
        if work in asked:
            written(data / f"serving-{work.split()[0]}.csv", list(rate_rows(machines, WORKS[work])))


if __name__ == "__main__":
    main()
