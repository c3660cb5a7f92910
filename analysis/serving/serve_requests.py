"""Serving requests on several runners: `sailsim serve` as a function, and its verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from sailsim.analysis.costs.dollars import PriceList, prices
from sailsim.analysis.runs.runs import RUNNERS, Runner, read_runners, runner_names, runners_by_name
from sailsim.analysis.serving.fleet import fleet_for, rates
from sailsim.analysis.serving.service import Deployment, ProfileBundle, Replica, ServiceLevel, summary
from sailsim.base.arguments import check_type, items_of_type
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import MAX_TEXT_BYTES, read_text
from sailsim.base.progress import progress_report
from sailsim.base.stop import raise_if_stopped
from sailsim.sim.backend import Prefill
from sailsim.sim.point import SEEDS, Point
from sailsim.sim.serve.loop import ServingResult
from sailsim.sim.serve.profiles import META
from sailsim.sim.study.keys import ResultKeys
from sailsim.sim.study.store import RESERVED, Store
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.requests import Request

DEFAULT_RUNNERS = ("sail", "sail-ampere", "cores-best", "l4", "a100-f16")
"""Names of the runners that serve by default."""


def serving_runners(names: Sequence[str] = DEFAULT_RUNNERS) -> tuple[Runner | ProfileBundle, ...]:
    """The runners of some names: shipped ones, machines or files that `read_runners` takes, and folders of
    bundles. Raises SailsimError for a name that is none of these.
    """
    chosen: list[Runner | ProfileBundle] = []
    for name in names:
        if (Path(name.partition(":")[0]) / META).is_file():
            chosen.append(ProfileBundle.of(name))
        else:
            chosen.extend(runners_by_name(name) if name in runner_names() else read_runners(name))
    return tuple(chosen)


def serve(
    requests: Sequence[Request],
    point: Point | None = None,
    runners: Sequence[Runner | ProfileBundle] | None = None,
    deployment: Deployment | None = None,
    level: ServiceLevel | None = None,
    price_list: PriceList | None = None,
    seed: int = 0,
    find_rate: bool = False,
    load: float | None = None,
    burst: float = 1.0,
    prefill: Prefill = "units",
    folder: str | Path | None = None,
) -> dict[str, Any]:
    """Serve requests on each of some runners: times, the share that meets the level, dollars and joules.

    The point has model, weights, width of keys and values, system and threads; its batch, context and phase
    are ignored. With ``find_rate`` the requests come at the highest rate that meets the level; with ``load``,
    requests/s, ``fleet`` has the cheapest servers of the runners for it. ``served`` of a runner has the times
    of every request; one that cannot serve has a `reason`. A call that Ctrl-C stops stores the rows of
    finished runners in ``folder``, and the same call reads them from there. Raises SailsimError for requests
    that are longer than the model allows.
    """
    where = Point(model="llama-3.1-8b", threads=64) if point is None else point
    check_type("point", where, Point, "is a Point")
    kinds: Any = (Runner, ProfileBundle)
    chosen = serving_runners() if runners is None else items_of_type("runners", runners, kinds, RUNNERS)
    deployment, level = deployment or Deployment(), level or ServiceLevel()
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
    inputs = repr((deployment, level, list(requests), listed, seed, finds, burst, prefill))

    def row_of(runner: Runner | ProfileBundle) -> dict[str, Any]:
        replica, ends = Replica(where, runner, prefill), dict[str, Any]()
        empty = {"runner": runner.name, "title": runner.marked, "kind": runner.kind, "reason": None}
        try:
            if finds:
                ends = rates(replica, deployment, level, requests, seed, burst)
            out = ends.pop("served") if finds else deployment.run(replica, requests)
            if out is None:
                return empty | ends | {"reason": f"no rate meets {level}"}
            return empty | ends | summary(replica, out, level, listed, seed) | {"served": out}
        except SailsimError as error:
            return empty | {"reason": str(error)}

    rows = _rows(chosen, row_of, folder, inputs, where)
    answer = {"point": where.as_dict(), "level": str(level), "requests": len(requests), "machines": rows}
    return answer if load is None else answer | {"fleet": fleet_for(load, rows, requests)}


def _rows(
    runners: Sequence[Runner | ProfileBundle],
    row_of: Callable[[Runner | ProfileBundle], dict[str, Any]],
    folder: str | Path | None,
    inputs: str,
    point: Point,
) -> list[dict[str, Any]]:
    """Rows of all runners, those that a stopped call stored read from its folder. Ctrl-C stores new ones."""
    store = None if folder is None else Store(folder)
    rows: list[dict[str, Any]] = []
    fresh: list[dict[str, Any]] = []  # to be stored where the call is stopped
    with progress_report(len(runners), True, "machines", short=True) as report:
        try:
            for runner in runners:
                if store is None or isinstance(runner, ProfileBundle):
                    rows.append(row_of(runner))
                else:
                    key = ResultKeys("serve", inputs + runner.digest).result(point)
                    stored = store.records_of([key])[0]
                    rows.append(_row(stored[0]) if stored else row_of(runner))
                    if stored:
                        report.note(f"{runner.name} as a stopped call left it in {store.path}")
                    else:
                        fresh.append(_record(key, rows[-1]))
                report.advance(1)
                raise_if_stopped()
        except KeyboardInterrupt as stop:
            if store is not None and fresh:
                with store.locked("serve"):
                    store.append(fresh)
                stop.add_note(f"{len(fresh)} of {report.total} machines are stored in {store.path}")
            raise
    return rows


def _record(key: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A runner's row as a store has it: the times of its requests are lists."""
    out = row.get("served")
    times = {name: getattr(out, name).tolist() for name in _TIMES if out is not None}
    own = {name: row[name] for name in row if name != "served"}
    return dict.fromkeys(RESERVED) | {"key": key, "row": own, "times": times}


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    times: dict[str, Any] = {name: np.array(each) for name, each in record["times"].items()}
    return dict(record["row"]) | ({"served": ServingResult(**times, servers=())} if times else {})


_TIMES = ("arrival_s", "first_s", "last_s", "prompt", "output", "restarts")
FOLDER = "serving"
"""Folder of a study with the output of `sailsim serve --find-rate --json`, a file for each load."""


def verdicts(folder: str | Path) -> list[str]:
    """The verdict of each answer in a folder, ordered by file name; none where there is no folder. Raises
    SailsimError for a file that is no such answer."""
    sentences = []
    for path in sorted(Path(folder).glob("*.json")):
        try:
            sentences.append(verdict(json.loads(read_text(path, "answer", MAX_TEXT_BYTES))))
        except (ValueError, TypeError, LookupError):
            raise SailsimError(
                f"{path} is no answer; allowed is what serve --find-rate --json prints."
            ) from None
    return sentences


def verdict(answer: Mapping[str, Any]) -> str:
    """Sentences on the runner that serves most for a dollar at the level, and on SAIL's cost there."""
    rows = [{**row, "usd": row.get("usd_per_million_tokens")} for row in answer["machines"]]
    priced = sorted((row for row in rows if row["usd"] and row["rate"]), key=lambda row: float(row["usd"]))
    first = f"{_costs(priced[0])}, the most for a dollar" if priced else "no priced machine meets this level"
    sentence = f"{answer['trace']}, {answer['point']['model']} ({answer['level']}): {first}."
    ours = [row for row in rows if row["kind"] == "accelerator" and row not in priced[:1]]
    if not ours:
        return sentence
    best = [row for row in priced if row in ours][:1]
    return f"{sentence} {_costs(best[0])}." if best else f"{sentence} {ours[0]['title']} meets it at no rate."


def _costs(row: Mapping[str, Any]) -> str:
    low, high = (
        row["usd"] * row["rate"] / end if end else inf for end in (row["rate_high"], row["rate_low"])
    )
    ends = f"{low:.3g} or more" if high == inf else f"{low:.3g}..{high:.3g}"
    usd = f"{row['usd']:.3g} USD ({ends})"
    return f"{row['title']} serves a million tokens for {usd} at {row['rate']:.3g} requests/s"
