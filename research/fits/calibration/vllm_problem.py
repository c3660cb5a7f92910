"""The fit of 16-bit serving: vLLM on ten machines, of one request at a time to nearly a hundred (`vllm.csv`).

One set of constants serves all GPUs, which differ by their data sheets and by the processor beside them
(`vllm_machines.csv`): a GPU that is left out, all its kinds as one, is predicted as one that nobody has
measured. Requests come and go, so some of the steps between two tokens of one have prompts of others in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from calibration.errors import (
    band_of_kind,
    constants_of,
    covariance_of,
    error_row,
    held_row,
)
from calibration.measurements import MeasuredRows, fitting_model, read_table, rows_on_gpus, sheets_of
from calibration.solver import Parameter, Problem, held_out, solve
from sailsim.sim.backends import roofline
from sailsim.sim.backends.roofline import SERVING_CONSTANTS, GpuFit, GpuSheet
from sailsim.sim.machine.system_files import load_gpu
from sailsim.sim.software.fitted import FEW_PARAMETERS, Floats, StepDemand, prompt_demand
from sailsim.workloads.models.formats import weight_format
from sailsim.workloads.models.graph import decode_step

TABLE, MACHINES = "vllm.csv", "vllm_machines.csv"
FEWER_STARTS = 2
"""Points that a search begins at: more of them end where the first does, and each takes a second."""
WAITING_MS, WAITING_TIMES = 500.0, 3.0
"""A burst's requests wait for room in the cache or for one another where the first token takes longer than
these beyond and times that of a request alone. That many are not decoded at once: the row says nothing."""
FEWEST_OF_A_BURST = 30.0
"""Requests under way in a burst; with fewer, most had not ended, and the row is of those that began first."""
CHUNK = 2048.0
"""Tokens of prompts in a step at most: vLLM's max_num_batched_tokens, a server's default."""
FORMAT = weight_format("f16")
GROWN = ("rows", "kv_bytes", "gemv_macs", "attention_macs", "attention_width")
"""What of a step grows with its sequences; its weights are read once."""


def _is_waiting(row: Mapping[str, str], alone: Mapping[tuple[str, ...], float]) -> bool:
    first = alone.get((row["machine"], row["model"], row["prompt"]), 0.0)
    late = float(row["ttft_ms"]) > WAITING_TIMES * first + WAITING_MS
    return row["strategy"] == "throughput" and (late or float(row["concurrency"]) < FEWEST_OF_A_BURST)


def vllm_rows() -> MeasuredRows:
    """Rates of all requests that were decoded together, tokens/s; what the machines have, in the labels."""
    table = read_table(TABLE)
    alone = {
        (row["machine"], row["model"], row["prompt"]): float(row["ttft_ms"])
        for row in table
        if row["strategy"] == "synchronous"
    }
    machines = {row["machine"]: row for row in read_table(MACHINES)}
    chosen = [row | machines[row["machine"]] for row in table if not _is_waiting(row, alone)]
    works, sheets, lone = [], [], []
    for row in chosen:
        model, context = fitting_model(row["model"]), int(row["prompt"]) + int(row["generated"]) // 2
        works.append(
            several(StepDemand.of(model, decode_step(model, FORMAT, 1, context), 1), float(row["decoding"]))
        )
        gpu = load_gpu(row["gpu"])
        sheet = replace(
            GpuSheet.of(gpu),
            bandwidth=np.asarray(float(row["bandwidth_gb_s"]) * 1e9),
            peak_macs=np.asarray(float(row["fp16_tflops"]) * 0.5e12),
        )
        sheets.append(sheet)
        lone.append("1" if gpu.kernels.lone_heads is None else str(gpu.kernels.lone_heads.value))
    kept = ("machine", "gpu", "model", "prompt", "generated", "clock_ghz", "host_points")
    labels = {name: np.array([row[name] for row in chosen]) for name in kept}
    labels["lone_heads"] = np.array(lone)
    tokens = np.array([float(work.rows) for work in works])
    rates = 1e3 * tokens / np.array([float(row["token_ms"]) for row in chosen])
    return rows_on_gpus(works, sheets, tokens, rates, labels)


def several(one: StepDemand, count: Floats | float) -> StepDemand:
    """The work of a step of so many sequences on average, whose weights are read once."""
    return replace(one, **{name: getattr(one, name) * count for name in GROWN})


def between(
    decoding: StepDemand, prompts: StepDemand, generated: Floats, sheet: GpuSheet, c: GpuFit
) -> Floats:
    """Seconds between two tokens of requests under way: steps without prompts, and steps that have some.

    ``prompts`` is the work of one prompt of each request, of which ``generated`` tokens follow.
    """
    rate = decoding.rows / generated
    mixed = np.minimum(1.0, rate * np.maximum(1.0, prompts.rows / CHUNK))
    beside = several(prompts, rate / mixed)
    every = replace(decoding, **{name: getattr(decoding, name) + getattr(beside, name) for name in GROWN})
    plain = sum(roofline.step_breakdown(decoding, sheet, c).values())
    others = replace(c, window_s=roofline.ZERO)
    both = sum(roofline.mixed_breakdown(every, decoding, beside, sheet, c, others).values())
    return np.asarray((1 - mixed) * plain + mixed * both)


def vllm_problem() -> Problem:
    """What the GPU reads and multiplies, what its layers take, and what the processor beside it does."""
    parameters = (
        Parameter("read_share_vllm", 0.85, 0.3, 1.0, "ratio", "share of memory bandwidth"),
        Parameter("compute_share_vllm", 0.5, 0.05, 1.0, "ratio", "share of fp16 peak of a step's products"),
        Parameter("layer_vllm", 6e4, 0.0, 2e5, "cycles", "a layer's chain of kernels, of the GPU's clock"),
        Parameter(
            "window_chain_vllm", 0.3, 0.0, 2.0, "cycles",
            "a token and entry of a head in layers with a window, which FlashAttention 2 does not split",
        ),
        Parameter(
            "vocabulary_vllm", 8.0, 0.0, 100.0, "ns",
            "a step's work for an entry of the vocabulary, on a processor of 1,000 points",
        ),
        Parameter(
            "host_rows_vllm", 5e5, 0.0, 5e6, "ns", "and times the square root of the rows, on the same"
        ),
        Parameter(
            "host_overlap_vllm", 0.7, 0.0, 1.0, "ratio",
            "of the processor's work and the GPU's, how far the shorter hides behind the longer",
        ),
    )  # fmt: skip
    every = {
        (name, n): prompt_demand(fitting_model(name), FORMAT, int(n))
        for name, n in {(row["model"], row["prompt"]) for row in read_table(TABLE)}
    }

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        value = dict(zip(SERVING_CONSTANTS, x.tolist(), strict=True))
        of = {name: rows.labels[name].astype(float) for name in ("generated", "clock_ghz", "host_points")}
        lone = rows.labels["lone_heads"].astype(float)
        c = roofline.serving_fit(value, of["clock_ghz"] * 1e9, of["host_points"], lone)
        keys = zip(rows.labels["model"].tolist(), rows.labels["prompt"].tolist(), strict=True)
        prompts = StepDemand.stack([every[key] for key in keys])
        seconds = between(rows.work, prompts, of["generated"], sheets_of(rows), c)
        return np.asarray(rows.tokens / seconds)

    return Problem(parameters, vllm_rows(), predict, loss="soft_l1", starts=FEWER_STARTS)


def is_small(rows: MeasuredRows) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows are of models that the product counts as small."""
    few = [name for name in np.unique(rows.labels["model"]) if fitting_model(name).n_params < FEW_PARAMETERS]
    return np.isin(rows.labels["model"], few)


def run_vllm(
    other: MeasuredRows, errors: list[dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, dict[str, float]], dict[str, Any]]:
    """The constants, the intervals and the covariance of 16-bit serving; adds the rows of the error table.

    ``other``: batches of another serving software, which are compared and not fitted on.
    """
    problem = vllm_problem()
    solution = solve(problem)
    rows = problem.rows
    inside = problem.predict(solution.values, rows) / rows.measured
    ways = {"GPU": held_out(problem, "gpu"), "model": held_out(problem, "model")}
    name = "GPU serving, 16 bits, vLLM, requests that come and go"
    errors.append(error_row(name, "nothing", inside))
    errors.extend(held_row(name, held, found) for held, found in ways.items())
    for model, title in (("smollm2-135m", "135M"), ("gemma-2-2b", "2B"), ("llama-3-8b", "8B")):
        keep = rows.labels["model"] == model
        errors.append(held_row(f"{name}, {title}", "GPU", ways["GPU"].where(keep)))
    value = dict(zip(SERVING_CONSTANTS, solution.values.tolist(), strict=True))
    a100 = load_gpu("a100")
    points = a100.kernels.host_points
    assert points is not None
    c = roofline.serving_fit(
        value, np.asarray(a100.clock.si), np.asarray(float(points.value)), np.asarray(1.0)
    )
    parts = roofline.step_breakdown(other.work, sheets_of(other), c)
    ratio = other.tokens / sum(parts.values()) / other.measured
    errors.append(error_row("A100 batched, f16, LMDeploy, by vLLM's constants", "the software", ratio))
    constants = constants_of(problem, solution, "fit of vllm.csv, ten machines (SpareCores)")
    small = is_small(rows)
    intervals = {
        kind: band_of_kind(*(found.ratio[keep] for found in ways.values()))
        for kind, keep in (("f16", ~small), ("f16 small", small))
    }
    return constants, intervals, covariance_of(problem, solution)
