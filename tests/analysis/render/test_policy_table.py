"""The table of searched policies, and that what is stored of them holds together."""

import math
from typing import Any

import pandas as pd
import pytest

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.render import quality_page
from sailsim.analysis.render.policy_table import (
    HEADER,
    how_found,
    kept,
    policies_of,
    policy_table,
    stored_policies,
)
from sailsim.analysis.results.equal_quality import measured
from sailsim.sim import Point
from sailsim.sim.simulate import simulate
from sailsim.workloads import chosen_format, load_model
from sailsim.workloads.choice import uniform_choice

WIDTHS = pd.DataFrame(
    [
        {"weights": "8", "loss": 0.04, "loss_error": 0.005, "bits_per_weight": 8.1},
        {"weights": "6", "loss": 0.09, "loss_error": 0.01, "bits_per_weight": 6.1},
        {"weights": "4", "loss": 0.8, "loss_error": 0.03, "bits_per_weight": 4.1},
        {"weights": "w4.toml", "loss": 0.5, "loss_error": 0.03, "bits_per_weight": 5.1},
    ]
)
RATES = {"8": 100.0, "6": 120.0, "4": 200.0, "p.toml": 150.0}


def policy(**changes: Any) -> dict[str, Any]:
    row = {
        "budget": 0.1, "weights": "p.toml", "refused": None, "model": "m", "batch": 1, "bits_per_weight": 5.5,
        "ms": 6.6667, "fastest_ms": 6.6622, "fastest_loss": 0.095,
        "predicted_loss": 0.08, "verified_loss": 0.07, "verified_error": 0.01, "loss": 0.09,
        "loss_error": 0.008, "command": "c", "date": "2026-11-27", "version": "v", "perplexity": 24.0,
    }  # fmt: skip
    return row | changes


def cells(*policies: dict[str, Any]) -> list[list[str]]:
    lines = policy_table(policies, WIDTHS, RATES).splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == list(HEADER)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_a_policy_stands_beside_the_fastest_width_that_keeps_its_budget() -> None:
    *widths, ours = cells(policy())
    assert [row[0] for row in widths] == ["8 bits everywhere", "6 bits everywhere", "4 bits everywhere"]
    assert ours[1:6] == ["0.1", "+0.0800", "+0.0700 ± 0.0100", "+0.0900 ± 0.0080", "yes"]
    assert ours[8:10] == ["150.0", "1.250x of 6 bits"]
    assert cells(policy(budget=0.05))[-1][9] == "1.500x of 8 bits"
    assert cells(policy(budget=0.01))[-1][9] == "none"


def test_a_policy_stands_beside_the_fastest_that_was_found() -> None:
    *widths, ours = cells(policy())
    assert [row[7] for row in widths] == ["10.0000 ms", "8.3333 ms", "5.0000 ms"]
    assert ours[7] == "6.6667 ms"
    assert ours[10:] == ["6.6622 ms", "+0.0950"]
    before = {name: value for name, value in policy().items() if not name.startswith("fastest")}
    assert cells(before)[-1][10:] == ["-", "-"]
    eight = policy_table([], WIDTHS, RATES, 8).splitlines()[2]
    assert "80.0000 ms" in eight


def test_a_budget_that_is_missed_says_by_how_much() -> None:
    assert kept(0.1, 0.1, 0.01) == "yes"
    assert kept(0.1, 0.112, 0.008) == "no: 0.0120 beyond, 1.5 standard errors"
    assert cells(policy(loss=0.112))[-1][5].startswith("no: 0.0120 beyond")


def test_a_refused_budget_has_a_row_and_its_sentence() -> None:
    refused = {
        "budget": 0.02, "refused": "loss is 0.02; allowed is more than 0.04.", "command": "c",
        "date": "2026-11-27", "version": "v", "model": "m", "batch": 1,
    }  # fmt: skip
    stored = pd.DataFrame([policy(), refused])
    assert cells(*stored.to_dict("records"))[-1] == ["none", "0.02", *["-"] * 3, "refused", *["-"] * 6]
    text = how_found(stored)
    assert text == "`c`, 2026-11-27, code v.\n\nRefused for 0.02: loss is 0.02; allowed is more than 0.04."
    assert list(policies_of("m", 1, stored).weights) == ["p.toml"]
    assert policies_of("m", 8, stored).empty
    assert policies_of("n", 1, stored).empty


def test_policies_are_drawn_where_they_were_searched_alone() -> None:
    stored = stored_policies()
    found = stored[stored.refused.isna()]
    assert len(found) >= 1
    for model, batch in quality_page.DRAWN:
        names = set(quality_page._marked(model, batch).weights)
        fits = (found.model == model) & (found.batch == batch) & (found.perplexity <= quality_page.MOST)
        assert {name for name in names if name.startswith(quality_page.POLICY)} == set(found.weights[fits])
        assert "8" in names
    labels = {quality_page._short(str(name)) for name in found.weights}
    assert labels == {f"P{budget:g}" for budget in found.budget}


def test_what_is_stored_holds_together() -> None:
    points = measured().set_index(["weights", "abits", "kv_bits", "method"])
    floats = float(measured().perplexity.iloc[0])
    stored = stored_policies()
    assert not stored.duplicated(["model", "batch", "budget"]).any()
    for row in stored[stored.refused.isna()].to_dict("records"):
        weights = str(data_file("quality").joinpath(str(row["weights"])))
        spec = load_model(row["model"])
        fmt = chosen_format(weights, row["model"], spec)
        assert fmt.model_bits_per_weight(spec) == pytest.approx(row["bits_per_weight"], rel=1e-3)
        allowed = {uniform_choice(word) for word in _choices(row["command"])}
        used = {fmt.tensor(linear, spec).name for linear in spec.linears()}
        assert used <= {chosen_format(word, row["model"], spec).tensor(spec.head, spec).name
                        for word in _choices(row["command"])}  # fmt: skip
        assert None not in allowed
        # It was kept on the search's text by two standard errors, and nowhere is it better than floats.
        assert row["verified_loss"] + 2 * row["verified_error"] <= row["budget"]
        if "--slower" in row["command"].split():  # it is about as fast as the fastest, which is stored too
            most = (1 + float(_after(row["command"], "--slower"))) * row["fastest_ms"]
            assert row["fastest_ms"] * (1 - 1e-9) <= row["predicted_ms"] <= most * (1 + 1e-9)
        else:
            assert math.isnan(row.get("fastest_ms", math.nan))
        assert math.log(row["perplexity"] / floats) == pytest.approx(row["loss"], abs=1e-6)
        best = float(points.loss["8", row["abits"], 16, "nearest"])
        assert row["loss"] > best - 3 * row["loss_error"]
        step = simulate(
            Point(system=row["system"], model=row["model"], weights=weights, batch=row["batch"],
                  threads=row["threads"], context=row["context"], abits=row["abits"])
        )  # fmt: skip
        assert 1e3 * step.step_s == pytest.approx(row["ms"], rel=0.05)
        assert row["predicted_ms"] == pytest.approx(row["ms"], rel=0.05)


def _choices(command: str) -> list[str]:
    return _after(command, "--choices").split(",")


def _after(command: str, option: str) -> str:
    words = command.split()
    return words[words.index(option) + 1]
