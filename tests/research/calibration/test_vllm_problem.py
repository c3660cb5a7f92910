"""The fit of 16-bit serving: a card that is left out, others' prompts, and what the step is made of."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.solver import held_out, solve
from calibration.vllm_problem import vllm_problem, vllm_rows, with_power_given
from sailsim.base.errors import SailsimError
from sailsim.sim.backends.roofline import GpuConstants, GpuSheet, predict_card, predict_requests, step_parts
from sailsim.sim.files import load_card
from sailsim.sim.fitted import Work, fitted_constants
from sailsim.workloads.formats import uniform_format, weight_format
from sailsim.workloads.graph import decode_step
from sailsim.workloads.load import load_model

from ...sim.backends.predictions import predict

EIGHT = load_model("llama-3-8b")
HALF = weight_format("f16")
NAME = "GPU serving, 16 bits, vLLM, requests that come and go"
ERRORS = {(e["measurements"], e["held_out"]): e for e in fitted_constants().errors}


def scalar(value: float) -> np.ndarray:
    return np.asarray(float(value))


def test_cards_left_out_are_as_far_off_as_the_page_says() -> None:
    """The aim is 10 % in the median and 25 % at worst; when one is met the page is to say so."""
    assert 0.10 < ERRORS[NAME, "card"]["median_error"] < 0.11
    assert ERRORS[f"{NAME}, 8B", "card"]["median_error"] < 0.08
    assert 0.25 < ERRORS[f"{NAME}, 8B", "card"]["worst_error"] < 0.28
    assert 0.25 < ERRORS[f"{NAME}, 135M", "card"]["worst_error"] < 0.42
    assert 0.25 < ERRORS[f"{NAME}, 2B", "card"]["worst_error"] < 0.95


def test_another_software_is_as_far_off_as_the_page_says() -> None:
    """docs/baselines.md tells both numbers."""
    found = ERRORS["A100 batched, f16, LMDeploy, by vLLM's constants", "the software"]
    assert [round(100 * found[f"{which}_error"]) for which in ("median", "worst")] == [21, 52]


def test_both_a100_are_left_out_as_one() -> None:
    labels = vllm_rows().labels
    assert set(labels["chip"][np.char.startswith(labels["card"], "a100")]) == {"a100"}
    assert set(labels["chip"]) == {"a10g", "l4", "a100"}


def test_the_band_holds_models_that_were_left_out() -> None:
    band = fitted_constants().gpu.band("f16")
    problem = vllm_problem()
    ratio = held_out(with_power_given(problem, solve(problem)), "model").ratio
    # A twentieth of the rows, rounded up, lies beyond each end.
    assert (1 / ratio < band.low).sum() <= 7
    assert (1 / ratio > band.high).sum() <= 7
    assert len(ratio) == 126


@pytest.mark.parametrize("bits", [4, 8])
def test_a_narrow_cache_is_read_as_often_as_a_wide_one(bits: int) -> None:
    llama, context = load_model("llama-3-8b"), 2048
    constants = GpuConstants(
        *(scalar(v) for v in (0.5, 1, np.inf, np.inf, np.inf, 0, 0, 1)), cache_again=scalar(0.3)
    )
    sheet = GpuSheet.of(load_card("l4"))

    def seconds(kv_bits: int) -> float:
        model = replace(llama, kv_bits=kv_bits)
        work = Work.of(model, decode_step(model, HALF, 8, context), 8)
        return float(step_parts(work, sheet, constants)["kv_cache"] / work.kv_bytes)

    assert seconds(bits) == pytest.approx(seconds(16))


def test_rows_go_up_to_nearly_a_hundred_requests_on_four_cards() -> None:
    rows = vllm_rows()
    assert set(rows.labels["card"]) == {"a10g", "l4", "a100", "a100-80"}
    assert rows.work.rows.min() < 1.01
    assert 80 < rows.work.rows.max() < 100
    assert len(rows.measured) == 126


def test_known_constants_are_found_from_rows_that_they_made() -> None:
    problem = vllm_problem()
    truth = np.array([p.start for p in problem.parameters])
    made = replace(problem, rows=replace(problem.rows, measured=problem.predict(truth, problem.rows)))
    start = tuple(replace(p, start=p.start * 0.9) for p in problem.parameters)
    assert solve(replace(made, parameters=start)).values == pytest.approx(truth, rel=2e-2)


def test_a_step_of_serving_is_its_closed_forms() -> None:
    work = Work(
        *(scalar(v) for v in (4, 1e9, 8e8, 1e9, 8e8, 8, 1, 2, 1)), key_heads=scalar(1), vocabulary=scalar(1e5)
    )
    sheet = GpuSheet(scalar(1e12), scalar(1e15), scalar(1e12), scalar(1e11))
    plain = GpuConstants(*(scalar(v) for v in (0.5, 1, np.inf, np.inf, np.inf, 0, 0, 1)))
    assert step_parts(work, sheet, plain)["kv_cache"] == pytest.approx(8e8 / 5e11)
    again = replace(plain, cache_again=scalar(0.5))
    assert step_parts(work, sheet, again)["kv_cache"] == pytest.approx((8e8 + 0.5 * 8e8) / 5e11)
    chained = replace(plain, cache_chain_s=scalar(1e-9))
    assert step_parts(work, sheet, chained)["kv_cache"] == pytest.approx(8e8 / 5e11 + 2e8 / 4 * 1e-9)
    entries = replace(plain, entry_s=scalar(1e-9))
    assert step_parts(work, sheet, entries)["launches"] == pytest.approx(4 * 1e5 * 1e-9)
    card = float(sum(step_parts(work, sheet, plain).values()))
    for host, overlap, total in ((1.0, 1.0, 1.0), (1.0, 0.0, 1.0 + card), (card / 2, 1.0, card)):
        beside = replace(plain, host_s=scalar(host), host_overlap=scalar(overlap))
        assert float(sum(step_parts(work, sheet, beside).values())) == pytest.approx(total)
    rows = replace(plain, host_row_s=scalar(10.0), host_power=scalar(0.5))
    assert float(sum(step_parts(work, sheet, rows).values())) == pytest.approx(20.0)


def test_prompts_of_others_are_a_term_of_their_own() -> None:
    card = load_card("l4")
    step = predict_card(card, EIGHT, HALF, 8, 1024 + 128)
    served = predict_requests(card, EIGHT, HALF, 8, 1024, 256)
    assert "prompts" not in step.parts
    assert served.step_s == pytest.approx(step.step_s + served.parts["prompts"])
    twice = predict_requests(card, EIGHT, HALF, 16, 1024, 256)
    assert twice.parts["prompts"] == pytest.approx(2 * served.parts["prompts"])
    shorter = predict_requests(card, EIGHT, HALF, 8, 1024, 128)
    assert shorter.parts["prompts"] == pytest.approx(2 * served.parts["prompts"])
    assert served.low < served.tokens_per_s < served.high
    assert served == predict("l4", EIGHT, HALF, batch=8, requests=(1024, 256))


def test_the_share_of_prompts_is_what_the_page_tells() -> None:
    served = predict("l4", EIGHT, HALF, batch=32, requests=(1024, 256))
    assert round(100 * served.parts["prompts"] / served.step_s) == 19


@pytest.mark.parametrize(
    ("machine", "fmt", "words"),
    [
        ("l4", uniform_format(4, 128), ["format", "w4g128", "16 bits"]),
        ("t4", HALF, ["t4", "needs", "allowed"]),
    ],
)
def test_bad_requests_are_one_sentence(machine: str, fmt: object, words: list[str]) -> None:
    with pytest.raises(SailsimError) as error:
        predict(machine, EIGHT, fmt, batch=8, requests=(1024, 256))
    assert all(word in str(error.value) for word in words)
