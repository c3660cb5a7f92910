"""Prefill by every runner: times to the first token, tokens of the prompts, and results of before."""

from pathlib import Path

import pytest

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.results.compare import compare
from sailsim.analysis.results.folder import Results
from sailsim.analysis.results.joins import as_frame, joined
from sailsim.analysis.results.runs import named, problems, runs
from sailsim.analysis.results.sweep import sweep
from sailsim.sim.backends.cores import FASTEST
from sailsim.sim.backends.roofline import predict_card
from sailsim.sim.engine import simulate_step
from sailsim.sim.files import load_card, load_system
from sailsim.sim.fitted import prompt_work
from sailsim.sim.point import Point
from sailsim.workloads.formats import uniform_format
from sailsim.workloads.load import load_model

POINT = Point(model="smollm2-135m", phase="prefill", prompt=96, batch=2, threads=8)
MODEL = load_model("smollm2-135m")


def test_every_runner_has_a_first_token_or_a_reason() -> None:
    for run in runs(POINT):
        if run.tokens_per_s is None:
            assert run.reason
            assert run.ttft_s is None
            continue
        assert run.ttft_s == run.step_s
        assert run.tokens_per_s == pytest.approx(2 * 96 / run.ttft_s)
        assert 0 < run.bandwidth_share <= 1
        assert sum(run.phases.values()) == pytest.approx(run.step_s)
    assert all(run.ttft_s is None for run in runs(Point(model="smollm2-135m", context=8)))


def test_runners_are_what_they_say_alone() -> None:
    found = {run.runner: run for run in runs(POINT)}
    sail = simulate_step(
        load_system("sail-n1"), MODEL, Point(model=POINT.model, context=96, batch=2, threads=8).prefilling()
    )
    assert found["sail"].step_s == sail.step_s
    card = predict_card(load_card("a10g"), MODEL, uniform_format(4, 128), 2, prompt=96)
    assert (found["a10g"].tokens_per_s, found["a10g"].low) == (card.tokens_per_s, card.low)
    assert "Snapdragon" in found["cores-lut"].reason
    assert "four-bit kernels was measured" in found["a100-serving"].reason
    assert "No prompt in f16 was measured on card t4" in found["t4-f16"].reason
    best = max(found[name].tokens_per_s for name in ("cores", "cores-ampere"))
    assert found["cores-best"].tokens_per_s == best
    assert found["cores-best"].software == FASTEST
    assert "Snapdragon" in problems(POINT)["cores-lut"]


def test_traffic_is_the_weights_as_often_as_they_are_read() -> None:
    point = Point(model="gemma-2b", phase="prefill", prompt=1024)
    model = load_model("gemma-2b")
    found = {run.runner: run for run in runs(point, runners=named("cores", "a10g", "a10g-f16"))}
    once = float(prompt_work(model, uniform_format(4, 128), 1024).weight_bytes)
    assert found["cores"].traffic["weights"] == found["a10g"].traffic["weights"] == pytest.approx(2 * once)
    assert found["a10g-f16"].traffic["weights"] == pytest.approx(2 * model.n_params, rel=0.01)


def test_joules_and_dollars_are_those_of_the_prompts_tokens() -> None:
    frame = joined(as_frame(runs(POINT, runners=named("sail", "cores"))), prices())
    answer = compare(POINT, runners=named("sail", "cores"))["runs"]
    for row in frame.to_dict("records"):
        assert row["tokens_per_j"] == pytest.approx(2 * 96 / row["energy_j"])
        assert answer[row["runner"]]["j_per_token"] == pytest.approx(row["energy_j"] / (2 * 96))
    assert answer["sail"]["tokens_per_usd"] > answer["cores"]["tokens_per_usd"]


def test_figures_hold_the_phase_fixed(tmp_path: Path) -> None:
    points = [Point(model="smollm2-135m", context=16, wbits=w) for w in (2, 4)]
    found = sweep([*points, *(p.prefilling() for p in points)], tmp_path, named("sail", "cores")).runs()
    assert found.reference["phase"] == "decode"
    assert len(found.at(["wbits"])) == 2
    prefill = found.at(["wbits"], phase="prefill", prompt=16)
    assert list(prefill["ttft_s"]) == list(prefill["step_s"])
    assert Results(tmp_path).frame("phase = 'prefill' and ttft_s > 0")["prompt"].eq(16).all()
