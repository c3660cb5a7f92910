"""The verdict: who is fastest, by how much and why, is what the rows say."""

from dataclasses import replace
from typing import Any

import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.runs.compare import compare
from sailsim.analysis.runs.runs import evaluate, runners_by_name
from sailsim.analysis.runs.verdict import OUTCOMES, times, verdict, winner_map
from sailsim.analysis.studies.stored_runs import RunTable, stored_runs
from sailsim.analysis.studies.sweep_study import run_sweep
from sailsim.sim.point import Point

WORKLOADS = {
    "small": Point(model="smollm2-135m"),
    "one": Point(),
    "many": Point(batch=32),
    "narrow": Point(batch=8, wbits=2),
    "wide": Point(batch=8, wbits=8),
    "experts": Point(model="qwen3-30b-a3b", batch=32),
    "long": Point(model="llama-3.1-8b", context=32768),
    "units": Point(system="sail-next", attention="units", kv_bits=8),
    "bare": Point(system="graviton4"),
    "prompt": Point(phase="prefill", prompt=128),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "experts" else ()) for name in WORKLOADS]
)
def test_a_verdict_is_what_the_rows_say(name: str) -> None:
    answer = compare(WORKLOADS[name])
    runs, found = answer["runs"], answer["verdict"]
    said = " ".join(found["sentences"])
    rated = {each: run for each, run in runs.items() if run["tokens_per_s"] is not None}
    assert rated[found["fastest"]]["tokens_per_s"] == max(run["tokens_per_s"] for run in rated.values())
    assert said.count(" is the fastest") == 1
    peer = runs[found["peer"]]
    assert (peer["kind"], peer["cores"]) == ("cores", runs[found["runner"]]["cores"])
    assert ("only simulated" in found["sentences"][0]) == (peer["provenance"] == "simulated")
    if found["outcome"]:
        low, high = (peer[f"speedup_{end}"] for end in ("low", "high"))
        assert found["outcome"] == ("ahead" if low > 1 else "behind" if high < 1 else "open")
        if runs["cores"]["speedup_median"] >= 1:
            assert f"SAIL is {times(runs['cores'])} as fast as llama.cpp." in found["sentences"]
        assert (times(peer) in said) == (found["outcome"] != "behind")
    assert set(found["rests_on"]) <= set(rated)
    assert {found["runner"], found["peer"], found["fastest"]} <= set(found["rests_on"])
    decides = found["decides"]
    phases = runs[decides["runner"]]["phases"]
    assert max(phases, key=phases.get) == decides["phase"]
    assert f"spends {decides['share']:.0%} of its" in said
    assert all(len(sentence.split()) <= 30 for sentence in found["sentences"])


def test_equally_tuned_software_wins_and_loses_by_the_whole_range() -> None:
    runs = compare(Point(model="smollm2-135m"))["runs"]
    assert verdict(runs)["outcome"] == "behind"
    # The same machine with nothing unknown of it, so much faster that no range can hold 1.
    faster = {
        name: run | dict.fromkeys(("tokens_per_s", "low", "high", "median"), 1e4)
        if run["kind"] == "accelerator"
        else run
        for name, run in runs.items()
    }
    found = verdict(faster)
    assert found["outcome"] == "ahead"
    assert found["sentences"][0].startswith("SAIL beats tuned software on the same 16 cores (gem5 NEON")
    assert "SAIL is the fastest nominally." in found["sentences"]


def study_of(points: list[Point], folder: Any, **how: Any) -> RunTable:
    store = run_sweep(points, lambda point: evaluate(point, **how), folder, progress=False)
    return RunTable.of(stored_runs(store), prices())


def test_a_study_says_that_bits_do_not_matter_and_what_does(tmp_path: Any) -> None:
    points = [Point(batch=batch, wbits=bits) for batch in (1, 8) for bits in (2, 8)]
    results = study_of(points, tmp_path)
    found = results.verdict()
    rates = [results.at((), batch=8, wbits=bits)["tokens_per_s"].iloc[0] for bits in (2, 8)]
    assert found["point"]["batch"] == 8
    assert rates[0] == pytest.approx(rates[1], rel=0.01)
    *_, bits, batch, _ = found["sentences"]
    assert bits == f"Bits of a weight hardly matter: {rates[0]:.4g} tokens/s at 2, {rates[1]:.4g} at 8."
    assert batch.startswith("The rate moves most with batch: ")
    assert sum(found["outcomes"].values()) == len(points)
    axes, header, rows = winner_map(results.points, results.start)
    assert axes == ["wbits", "batch"]
    assert header == ["", "bits of a weight 2", "8"]
    assert [row[0][0] for row in rows] == ["batch 1", "batch 8"]
    assert {outcome for row in rows for _, outcome in row[1:]} <= set(OUTCOMES)
    at_one = study_of([replace(points[0], wbits=bits) for bits in (2, 8)], tmp_path / "one").verdict()
    assert at_one["sentences"][-2].startswith("The rate moves most with bits of a weight: ")


@pytest.mark.parametrize("runner", ["sail", "cores", "l4"])
def test_a_study_of_one_runner_has_a_verdict(runner: str, tmp_path: Any) -> None:
    results = study_of([Point(model="smollm2-135m", context=64)], tmp_path, runners=runners_by_name(runner))
    found = results.verdict()
    assert "Nothing else ran." in found["sentences"]
    assert found["rests_on"] == [runner]
    assert (found["peer"], found["outcome"], found["outcomes"]) == ("", "", {})
