"""The fit of 16-bit serving: a GPU that is left out, others' prompts, and what the step is made of."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.measurements import fitting_model, read_table
from calibration.solver import solve
from calibration.vllm_problem import CHUNK, MACHINES, TABLE, between, vllm_problem, vllm_rows
from sailsim.sim.backends.roofline import GpuFit, GpuSheet, mixed_breakdown, step_breakdown
from sailsim.sim.machine.system_files import load_gpu
from sailsim.sim.software.fitted import StepDemand, prompt_demand
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import weight_format
from sailsim.workloads.models.graph import decode_step

EIGHT = load_model("llama-3-8b")
HALF = weight_format("f16")
GIB = 2**30


def scalar(value: float) -> np.ndarray:
    return np.asarray(float(value))


def constants(**beside: float) -> GpuFit:
    own = {name: scalar(value) for name, value in beside.items()}
    return GpuFit(scalar(0.8), scalar(0.4), layer_s=scalar(4e-5), **own)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_narrow_cache_is_read_as_often_as_a_wide_one(bits: int) -> None:
    sheet = GpuSheet.of(load_gpu("l4"))

    def seconds(kv_bits: int) -> float:
        model = replace(EIGHT, kv_bits=kv_bits)
        work = StepDemand.of(model, decode_step(model, HALF, 8, 2048), 8)
        prompt = prompt_demand(model, HALF, 64)
        c = constants(lone_heads=1.0)
        return float(mixed_breakdown(work, work, prompt, sheet, c, constants())["kv_cache"] / work.kv_bytes)

    assert seconds(bits) == pytest.approx(seconds(16), rel=0.01)


@pytest.mark.slow
def test_known_constants_are_found_from_rows_that_they_made() -> None:
    problem = vllm_problem()
    truth = np.array([p.start for p in problem.parameters])
    made = replace(problem, rows=replace(problem.rows, measured=problem.predict(truth, problem.rows)))
    start = tuple(replace(p, start=p.start * 0.9) for p in problem.parameters)
    assert solve(replace(made, parameters=start)).values == pytest.approx(truth, rel=2e-2)


@pytest.mark.parametrize(
    ("model", "gib"), [("smollm2-135m", 0.2506), ("qwen2.5-0.5b", 0.9202), ("gemma-2-2b", 4.8696)]
)
def test_models_weigh_what_the_measured_ones_did(model: str, gib: float) -> None:
    """As the runs print it (a10g); llama-3-8b and phi-4 keep an embedding beside."""
    assert HALF.model_bytes(fitting_model(model)) / GIB == pytest.approx(gib, rel=2e-3)


@pytest.mark.parametrize(
    ("prompt", "generated", "share", "tokens"),
    [
        (256, 128, 8 / 128, 256),  # one of sixteen steps has a prompt in it
        (4096, 512, 8 / 512 * 2, CHUNK),  # in two pieces
        (256, 4, 1.0, 512),  # every step has two
    ],
)
def test_prompts_of_others_are_in_some_of_the_steps(
    prompt: int, generated: int, share: float, tokens: float
) -> None:
    sheet, c = GpuSheet.of(load_gpu("l4")), constants(lone_heads=1.0)
    work, ahead = (
        StepDemand.of(EIGHT, decode_step(EIGHT, HALF, 8, 600), 8),
        prompt_demand(EIGHT, HALF, prompt),
    )
    part = {
        name: getattr(ahead, name) * tokens / prompt
        for name in ("rows", "kv_bytes", "gemv_macs", "attention_macs", "attention_width")
    }
    every = replace(work, **{name: getattr(work, name) + value for name, value in part.items()})
    both = sum(mixed_breakdown(every, work, replace(ahead, **part), sheet, c, c).values())
    plain = sum(step_breakdown(work, sheet, c).values())
    found = between(work, ahead, scalar(generated), sheet, c)
    assert float(found) == pytest.approx(float((1 - share) * plain + share * both))


def test_rows_whose_requests_wait_are_left_out() -> None:
    rows, machines = vllm_rows(), {row["machine"] for row in read_table(MACHINES)}
    assert set(rows.labels["machine"].tolist()) == machines
    assert 0 < len(read_table(TABLE)) - len(rows.measured) < 30
