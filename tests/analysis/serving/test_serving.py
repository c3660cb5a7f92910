"""What is said of requests on machines: percentiles, levels, the highest rate, the cheapest servers."""

import json
from collections.abc import Callable
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sailsim
from sailsim.analysis.serving import serve_requests
from sailsim.analysis.serving.fleet import cheapest, highest_rate
from sailsim.analysis.serving.serve_requests import serving_runners, verdict, verdicts
from sailsim.analysis.serving.service import (
    LINE,
    Deployment,
    Replica,
    ServiceLevel,
    attention_line,
    percentiles,
)
from sailsim.base.errors import SailsimError
from sailsim.sim.point import Point
from sailsim.sim.serve.loop import ServingLoop, ServingResult
from sailsim.sim.serve.server import SchedulerPolicy, Server
from sailsim.workloads.requests import Request, at_rate

SMALL = Point(model="smollm2-135m", threads=16)
FEW = [Request(float(at), 100, 20) for at in range(30)]


class Steady:
    def __init__(self, own: float = 0.05) -> None:
        self.own = own

    def __call__(self, prefill: list[tuple[int, int]], decode_contexts: list[int]) -> float:
        return self.own


def on_one(
    requests: list[Request] | tuple[Request, ...], policy: SchedulerPolicy | None = None
) -> ServingResult:
    return ServingLoop(requests, [Server(Steady(), 1000, policy or SchedulerPolicy())]).run()


def test_percentiles_are_those_of_the_requests_and_lie_in_their_ranges() -> None:
    out = on_one(
        at_rate([Request(0.0, 10, 5), Request(0.0, 30, 1)], 40.0, 1, count=400), SchedulerPolicy(sequences=4)
    )
    found = percentiles(out, 7)
    times = out.first_s - out.arrival_s
    assert found["ttft"]["p90"] == np.percentile(times, 90)
    assert found["tpot"]["p50"] == pytest.approx(0.05)  # of the answers that have a second token
    for row in found.values():
        for key in ("mean", "p50", "p90", "p99"):
            assert row[f"{key}_low"] <= row[key] * (1 + 1e-9)
            assert row[key] * (1 - 1e-9) <= row[f"{key}_high"]
    assert found == percentiles(out, 7) != percentiles(out, 8)


def test_a_level_needs_both_times_and_a_queue_with_an_end() -> None:
    out = on_one(FEW)
    assert ServiceLevel(0.06, 0.06).holds(out)
    assert not ServiceLevel(0.04, 0.06).holds(out)
    assert not ServiceLevel(0.06, 0.04).holds(out)
    crowd = on_one([Request(0.01 * at, 10, 1) for at in range(200)], SchedulerPolicy(sequences=1))
    assert crowd.overloaded
    assert not ServiceLevel(1e9, 1e9).holds(crowd)
    with pytest.raises(
        SailsimError, match=r"level's share is 2\.0; allowed is a number above 0 and at most 1"
    ):
        ServiceLevel(share=2.0)


@pytest.mark.parametrize("capacity", [0.003, 0.7, 1.0, 40.0, 900.0])
@pytest.mark.parametrize("begin", [0.01, 1.0, 300.0])
def test_the_highest_rate_is_found_wherever_the_search_begins(capacity: float, begin: float) -> None:
    good, bad = on_one(FEW), None
    rate, out = highest_rate(lambda rate: good if rate <= capacity else bad, ServiceLevel(), begin)
    assert capacity / 1.021 <= rate <= capacity
    assert out is good
    assert highest_rate(lambda rate: None, ServiceLevel(), begin) == (0.0, None)


OFFERS = st.dictionaries(
    st.sampled_from("abc"), st.tuples(st.sampled_from([0, 1, 2.5, 7]), st.integers(1, 9)), min_size=1
)


@given(OFFERS, st.floats(0.1, 12))
def test_the_cheapest_servers_are_those_that_trying_all_finds(
    offers: dict[str, tuple[float, float]], load: float
) -> None:
    useful = {name: offer for name, offer in offers.items() if offer[0]}
    chosen = cheapest(load, offers)
    if not useful:
        assert chosen is None
        return
    assert chosen is not None
    every = product(*(range(ceil(load / rate) + 1) for rate, _ in useful.values()))

    def total(counts: tuple[int, ...], which: int) -> float:
        return sum(n * offer[which] for n, offer in zip(counts, useful.values(), strict=True))

    least = min(total(counts, 1) for counts in every if total(counts, 0) >= load * (1 - 1e-9))
    assert sum(count * offers[name][1] for name, count in chosen.items()) == pytest.approx(least)
    assert sum(count * offers[name][0] for name, count in chosen.items()) >= load * (1 - 1e-6)


@pytest.mark.slow
def test_the_library_serves_finds_rates_and_fleets() -> None:
    who = serving_runners(["cores", "l4"])
    answer = sailsim.serve(FEW, SMALL, who, level=ServiceLevel(1.0, 0.1), find_rate=True, load=50.0)
    rows = {row["runner"]: row for row in answer["machines"]}
    for row in rows.values():
        assert row["reason"] is None
        assert row["rate_low"] <= row["rate"] <= row["rate_high"]
        assert row["in_level"] >= 0.99
        spent = row["usd_per_hour"] * row["seconds"] / 3600
        assert row["usd_per_million_tokens"] == pytest.approx(1e6 * spent / (30 * 20))
        assert row["usd_per_hour_low"] <= row["usd_per_hour"] <= row["usd_per_hour_high"]
        assert row["j_per_million_tokens"] > 0
    assert rows["l4"]["joules_are_a_bound"]
    fleet = answer["fleet"]
    assert sum(count * rows[name]["rate"] for name, count in fleet["servers"].items()) >= 50.0
    assert answer["machines"][0]["served"].last_s.shape == (30,)


@pytest.mark.slow
def test_a_stopped_call_goes_on_behind_what_it_was_through_with(tmp_path, monkeypatch, capsys) -> None:
    """With the same rows to the bit; another question has none of them, and no call that ends keeps any."""
    who, folder = serving_runners(["cores", "l4"]), tmp_path / "served"
    asked: dict[str, Any] = {"level": ServiceLevel(1.0, 0.1), "find_rate": True, "folder": folder}

    def ask(**more: Any) -> list[str]:
        rows = sailsim.serve(FEW, SMALL, who, **asked, **more)["machines"]
        return [repr(row | {"served": row["served"].last_s.tolist(), "interval": None}) for row in rows]

    whole, summary, found = ask(), serve_requests.summary, []
    assert not folder.exists()

    def watched(machine: Replica, *rest: Any) -> dict[str, Any]:
        found.append(machine.runner.name)
        if len(found) == 2:
            raise KeyboardInterrupt
        return summary(machine, *rest)

    monkeypatch.setattr(serve_requests, "summary", watched)
    with pytest.raises(KeyboardInterrupt) as stopped:
        ask()
    assert stopped.value.__notes__ == [f"1 of 2 machines are stored in {folder}"]
    capsys.readouterr()
    assert ask() == whole
    assert f"cores as a stopped call left it in {folder}" in capsys.readouterr().err
    ask(seed=1)
    assert found == ["cores", "l4", "l4", "cores", "l4"]


@pytest.mark.slow
def test_readers_and_a_link_stand_before_the_others() -> None:
    (one,) = sailsim.serve(FEW, SMALL, serving_runners(["cores"]))["machines"]
    service = Deployment(readers=1, servers=2, link_gb_s=1.0)
    (split,) = sailsim.serve(FEW, SMALL, serving_runners(["cores"]), service)["machines"]
    assert split["moved_bytes"] == 30 * 100 * sailsim.load_model("smollm2-135m").kv_bytes_per_token()
    assert split["usd_per_hour"] > one["usd_per_hour"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sailsim.serve([Request(0.0, 9000, 10)], SMALL), "a request has 9010 tokens; allowed for"),
        (lambda: sailsim.serve(FEW, SMALL, load=0.0), "fleet is 0.0; allowed is a load above 0"),
        (lambda: sailsim.serve(FEW, SMALL, seed=-1), "seed is -1; allowed is a whole number"),
        (lambda: Deployment(servers=0), "servers is 0; allowed is a whole number 1"),
        (lambda: Deployment(readers=1), "link_gb_s is 0.0 with 1 readers"),
        (lambda: Deployment(link_gb_s=float("nan")), "link_gb_s is nan"),
        (lambda: serving_runners(["nobody"]), "nobody"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(call: Callable[[], object], said: str) -> None:
    with pytest.raises(SailsimError, match=said):
        call()


def test_a_machine_that_does_not_hold_the_model_has_a_reason() -> None:
    point = Point(model="llama-3.3-70b", weights="8")
    (row,) = sailsim.serve(FEW, point, serving_runners(["l4"]))["machines"]
    assert "needs" in row["reason"]
    assert "allowed is 22.8 GB" in row["reason"]


def test_the_line_of_attention_on_units_is_what_a_step_there_takes_more() -> None:
    point = Point(model="smollm2-135m", threads=16, kv_bits=8)
    sail = serving_runners(["sail"])[0]
    slope, intercept = attention_line(Replica(point, sail))
    units, cores = (Replica(point.having(attention=where), sail) for where in ("units", "cores"))
    few, more = (cores.run(1, tokens).step_s or 0.0 for tokens in (512, 1024))
    for tokens in (LINE[0], LINE[-1]):
        ours = 1e-9 * 30 * (slope * tokens + intercept)
        assert ours == pytest.approx((units.run(1, tokens).step_s or 0.0) - (2 * few - more), rel=0.1)


def row(title: str, kind: str, rate: float, usd: float | None) -> dict[str, object]:
    ends = {"rate_low": rate / 2, "rate_high": 2 * rate}
    return {"title": title, "kind": kind, "rate": rate, **ends, "usd_per_million_tokens": usd}


@pytest.mark.parametrize(
    ("machines", "said"),
    [
        (
            [row("A", "gpu", 1.0, 2.0), row("B", "gpu", 4.0, 1.0), row("S", "accelerator", 0.1, 30.0)],
            "B serves a million tokens for 1 USD (0.5..2) at 4 requests/s, the most for a dollar. S serves a "
            "million tokens for 30 USD (15..60) at 0.1 requests/s.",
        ),
        (
            [row("A", "gpu", 1.0, 2.0), {"title": "S", "kind": "accelerator", "reason": "no rate meets it"}],
            "A serves a million tokens for 2 USD (1..4) at 1 requests/s, the most for a dollar. S meets "
            "it at no rate.",
        ),
        (
            [row("S", "accelerator", 1.0, 2.0)],
            "S serves a million tokens for 2 USD (1..4) at 1 requests/s, the",
        ),
        ([row("A", "gpu", 1.0, None)], "no priced machine meets this level."),
    ],
)
def test_the_verdict_names_who_serves_for_least_and_what_sail_costs(
    tmp_path: Path, machines: list[dict[str, object]], said: str
) -> None:
    answer = {"trace": "chat", "level": "1 s", "point": {"model": "m"}, "machines": machines}
    assert verdict(answer).startswith(f"chat, m (1 s): {said}")
    (tmp_path / "chat.json").write_text(json.dumps(answer))
    assert verdicts(tmp_path) == [verdict(answer)]
    (tmp_path / "other.json").write_text('{"machines": [{"rate": 1}]}')
    with pytest.raises(SailsimError, match=r"other\.json is no answer; allowed is what serve --find-rate"):
        verdicts(tmp_path)
    assert verdicts(tmp_path / "none") == []
