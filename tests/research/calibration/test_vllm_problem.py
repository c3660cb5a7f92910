"""The fit of 16-bit serving: a card that is left out, others' prompts, and what the step is made of."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.solver import solve
from calibration.vllm_problem import predict_requests, vllm_problem
from sailsim.base.errors import SailsimError
from sailsim.sim.backends.roofline import GpuConstants, GpuSheet, predict_card, step_parts
from sailsim.sim.files import load_card
from sailsim.sim.fitted import Work, fitted_constants
from sailsim.workloads.formats import WeightFormat, uniform_format, weight_format
from sailsim.workloads.graph import decode_step, prefill_step
from sailsim.workloads.load import load_model

EIGHT = load_model("llama-3-8b")
HALF = weight_format("f16")


def scalar(value: float) -> np.ndarray:
    return np.asarray(float(value))


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


def test_known_constants_are_found_from_rows_that_they_made() -> None:
    problem = vllm_problem()
    truth = np.array([p.start for p in problem.parameters])
    made = replace(problem, rows=replace(problem.rows, measured=problem.predict(truth, problem.rows)))
    start = tuple(replace(p, start=p.start * 0.9) for p in problem.parameters)
    assert solve(replace(made, parameters=start)).values == pytest.approx(truth, rel=2e-2)


@pytest.mark.parametrize(("generated", "half"), [(100, 50), (1, 1), (3, 1)])
def test_requests_wait_for_each_others_prompts(generated: int, half: int) -> None:
    card, share = load_card("l4"), fitted_constants().gpu.value("prompt_share_vllm")
    found = predict_requests(card, EIGHT, HALF, 8, 512, generated)
    step = predict_card(card, EIGHT, HALF, 8, 512 + half, software="serving")
    prompt = Work.of(EIGHT, prefill_step(EIGHT, HALF, 512), 512)
    macs = float(prompt.gemv_macs + prompt.attention_macs)
    waits = 8 / generated * macs / (share * 60.5e12)
    assert found.breakdown == pytest.approx({**step.breakdown, "prompts": waits})
    assert found.step_s == pytest.approx(step.step_s + waits)
    assert found.tokens_per_s == pytest.approx(8 / found.step_s)
    ends = (found.low / found.tokens_per_s, found.high / found.tokens_per_s)
    assert ends == pytest.approx((step.low / step.tokens_per_s, step.high / step.tokens_per_s))
    assert f"take {waits / found.step_s:.0%} of the time" in found.notes[-1]


def test_the_share_of_prompts_is_what_the_page_tells() -> None:
    served = predict_requests(load_card("l4"), EIGHT, HALF, 32, 1024, 256)
    assert round(100 * served.breakdown["prompts"] / served.step_s) == 19


@pytest.mark.parametrize(
    ("machine", "fmt", "tokens", "words"),
    [
        ("l4", uniform_format(4, 128), (1, 1), "format is w4g128, allowed for requests is one of 16 bits"),
        ("t4", HALF, (1024, 256), "t4: .* needs .* allowed"),
        ("l4", HALF, (0, 1), "prompt tokens of requests are 0"),
        ("l4", HALF, (1, 0), "generated tokens"),
    ],
)
def test_bad_requests_are_one_sentence(
    machine: str, fmt: WeightFormat, tokens: tuple[int, int], words: str
) -> None:
    with pytest.raises(SailsimError, match=words):
        predict_requests(load_card(machine), EIGHT, fmt, 8, *tokens)
