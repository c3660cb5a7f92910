"""The fit of 16-bit serving: vLLM on four cards, from one request at a time to nearly a hundred (`vllm.csv`).

One set of constants serves all cards, which differ by their data sheets: a card that is left out, both A100
as one, is predicted as one that nobody has measured. Requests come and go, so between two tokens of one stand
the prompts of others; what they take is a term of its own, and not part of a decoding step.
"""

from __future__ import annotations

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
from calibration.measurements import MeasuredRows, card_rows, fitting_model, read_table, sheets_of
from calibration.solver import Parameter, Problem, Solution, held_out, solve
from sailsim.base.errors import SailsimError
from sailsim.sim.backend import StepResult
from sailsim.sim.backends import roofline
from sailsim.sim.backends.roofline import GpuSheet, is_sixteen_bit, predict_card
from sailsim.sim.files import load_card
from sailsim.sim.fitted import Floats, Work, fitted_constants, prompt_work
from sailsim.sim.system import Gpu
from sailsim.workloads.formats import WeightFormat, weight_format
from sailsim.workloads.graph import decode_step, prefill_step
from sailsim.workloads.model import ModelSpec

TABLE = "vllm.csv"
LARGER_A100 = 2039e9
"""Bytes/s of the 80 GB card, as the 40 GB one in all else (IANUS, ASPLOS 2024, table 2: A100-SXM)."""
FEWER_STARTS = 2
"""Points that a search begins at: more of them end where the first does, and each takes a second."""
WAITING_MS, WAITING_TIMES = 500.0, 3.0
"""A burst's requests wait for room in the cache or for one another where the first token takes longer than
these beyond and times that of a request alone. That many are not decoded at once: the row says nothing."""


def _is_waiting(row: dict[str, str], alone: dict[tuple[str, str, str], float]) -> bool:
    first = alone[row["card"], row["model"], row["prompt"]]
    return row["strategy"] == "throughput" and float(row["ttft_ms"]) > WAITING_TIMES * first + WAITING_MS


def vllm_rows() -> MeasuredRows:
    """Rates of all requests under way, tokens/s, that were decoded together; prompts in the labels."""
    table = read_table(TABLE)
    alone = {
        (row["card"], row["model"], row["prompt"]): float(row["ttft_ms"])
        for row in table
        if row["strategy"] == "synchronous"
    }
    chosen = [row for row in table if not _is_waiting(row, alone)]
    fmt = weight_format("f16")
    works, sheets, macs = [], [], []
    for row in chosen:
        model, prompt, generated = fitting_model(row["model"]), int(row["prompt"]), int(row["generated"])
        step = Work.of(model, decode_step(model, fmt, 1, prompt + generated // 2), 1)
        works.append(several(step, float(row["concurrency"])))
        ahead = Work.of(model, prefill_step(model, fmt, prompt), prompt)
        macs.append(float(ahead.gemv_macs + ahead.attention_macs))
        sheet = GpuSheet.of(load_card("a100" if row["card"] == "a100-80" else row["card"]))
        if row["card"] == "a100-80":
            sheet = replace(sheet, bandwidth=np.asarray(LARGER_A100))
        sheets.append(sheet)
    rates = [1e3 * float(row["concurrency"]) / float(row["tpot_ms"]) for row in chosen]
    labels = {name: np.array([row[name] for row in chosen]) for name in ("card", "model", "generated")}
    labels["chip"] = np.where(labels["card"] == "a100-80", "a100", labels["card"])
    labels["prompt_macs"] = np.array([repr(each) for each in macs])
    return card_rows(works, sheets, np.array([float(work.rows) for work in works]), np.array(rates), labels)


def several(one: Work, count: float) -> Work:
    """The work of a step of so many sequences on average, whose weights are read once."""
    grown = ("rows", "kv_bytes", "gemv_macs", "attention_macs", "attention_width")
    return replace(one, **{name: getattr(one, name) * count for name in grown})


def vllm_problem() -> Problem:
    """What the card reads and multiplies, what the processor beside it does, and the prompts between."""
    parameters = (
        Parameter("read_share_vllm", 0.8, 0.3, 1.0, "ratio", "share of memory bandwidth, weights"),
        Parameter("compute_share_vllm", 0.5, 0.05, 1.0, "ratio", "share of fp16 peak of a step's products"),
        Parameter(
            "cache_again_vllm", 0.3, 0.0, 1.5, "ratio",
            "what query heads that share a key head read again, of what they would without sharing",
        ),
        Parameter(
            "cache_chain_vllm", 0.1, 0.0, 5.0, "ns",
            "a layer and token of one sequence whose key heads follow one another, over their number",
        ),
        Parameter("vocabulary_vllm", 0.3, 0.0, 20.0, "ns", "choosing a token, an entry of the vocabulary"),
        Parameter("host_step_vllm", 1e6, 0.0, 1e7, "ns", "the processor's work of a step"),
        Parameter("host_rows_vllm", 2e5, 0.0, 8e5, "ns", "and of its rows, times rows to the power"),
        Parameter("host_power_vllm", 0.7, 0.4, 1.0, "ratio", "power of the rows in it"),
        Parameter(
            "host_overlap_vllm", 0.9, 0.0, 1.0, "ratio",
            "of the processor's work and the card's, how far the shorter hides behind the longer",
        ),
        Parameter("prompt_share_vllm", 0.5, 0.05, 1.0, "ratio", "share of fp16 peak of others' prompts"),
    )  # fmt: skip
    names = [p.name.removesuffix("_vllm") for p in parameters]

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        value = dict(zip(names, x.tolist(), strict=True))
        sheet = sheets_of(rows)
        parts = roofline.step_parts(rows.work, sheet, roofline.serving_constants(value))
        generated, macs = (rows.labels[name].astype(float) for name in ("generated", "prompt_macs"))
        prompts = prompts_seconds(rows.work.rows, generated, macs, value["prompt_share"], sheet)
        return np.asarray(rows.tokens / (sum(parts.values()) + prompts))

    return Problem(parameters, vllm_rows(), predict, loss="soft_l1", starts=FEWER_STARTS)


def with_power_given(problem: Problem, solution: Solution) -> Problem:
    """The problem with the fit's power of the rows: two models alone leave it open, and what a solver then
    takes depends on its version."""
    at = [p.name for p in problem.parameters].index("host_power_vllm")

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        return problem.predict(np.insert(x, at, solution.values[at]), rows)

    kept = tuple(p for i, p in enumerate(problem.parameters) if i != at)
    return replace(problem, parameters=kept, predict=predict)


def run_vllm(
    other: MeasuredRows, errors: list[dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, dict[str, float]], dict[str, Any]]:
    """The constants, the bands and the covariance of 16-bit serving; adds the rows of the error table.

    ``other``: batches of another serving software, which are compared and not fitted on.
    """
    problem = vllm_problem()
    solution = solve(problem)
    rows = problem.rows
    inside = problem.predict(solution.values, rows) / rows.measured
    by_card = held_out(problem, "chip")
    by_model = held_out(with_power_given(problem, solution), "model")
    name = "GPU serving, 16 bits, vLLM, requests that come and go"
    errors.append(error_row(name, "nothing", inside))
    errors.append(held_row(name, "card", by_card))
    errors.append(held_row(name, "model, with the power of the rows given", by_model))
    for model, title in (("smollm2-135m", "135M"), ("gemma-2b", "2B"), ("llama-3-8b", "8B")):
        keep = rows.labels["model"] == model
        errors.append(held_row(f"{name}, {title}", "card", by_card.where(keep)))
    value = {
        p.name.removesuffix("_vllm"): float(x)
        for p, x in zip(problem.parameters, solution.values, strict=True)
    }
    parts = roofline.step_parts(other.work, sheets_of(other), roofline.serving_constants(value))
    ratio = other.tokens / sum(parts.values()) / other.measured
    errors.append(error_row("A100 batched, f16, LMDeploy, by vLLM's constants", "the software", ratio))
    constants = constants_of(problem, solution, "fit of vllm.csv, four cards (SpareCores)")
    small = rows.labels["model"] == "smollm2-135m"
    bands = {
        kind: band_of_kind(by_card.ratio[keep], by_model.ratio[keep])
        for kind, keep in (("f16", ~small), ("f16 small", small))
    }
    return constants, bands, covariance_of(problem, solution)


def prompts_seconds(
    batch: Floats, generated: Floats, macs: Floats, share: float | Floats, sheet: GpuSheet
) -> Floats:
    """Seconds that the prompts of requests put between two tokens of each; ``macs`` are those of a prompt."""
    return np.asarray(batch / generated * macs / (share * sheet.peak_macs))


def predict_requests(
    card: Gpu, model: ModelSpec, fmt: WeightFormat, batch: int, prompt: int, generated: int
) -> StepResult:
    """A step of ``batch`` requests under way, each of ``prompt`` and ``generated`` tokens, 16-bit weights.

    The part ``prompts`` is what others' prompts take of a step. Raises SailsimError for other weights, for
    fewer than one token, and where weights and cache do not fit the card.
    """
    for name, value in (("prompt", prompt), ("generated", generated)):
        if value < 1:
            raise SailsimError(f"{name} tokens of requests are {value}, allowed is at least 1")
    if not is_sixteen_bit(fmt):
        raise SailsimError(f"format is {fmt.name}, allowed for requests is one of 16 bits, f16 or bf16")
    step = predict_card(card, model, fmt, batch, prompt + max(1, generated // 2), software="serving")
    ahead = prompt_work(model, fmt, prompt)
    macs, share = ahead.gemv_macs + ahead.attention_macs, fitted_constants().gpu.value("prompt_share_vllm")
    size = np.asarray(float(batch)), np.asarray(float(generated))
    waits = float(prompts_seconds(*size, macs, share, GpuSheet.of(card)))
    seconds = step.step_s + waits
    rate = batch / seconds
    assert step.low is not None
    assert step.high is not None
    return replace(
        step,
        step_s=seconds,
        low=rate * (step.low / step.tokens_per_s),
        high=rate * (step.high / step.tokens_per_s),
        breakdown={**step.breakdown, "prompts": waits},
        notes=(
            *step.notes,
            f"Prompts of {prompt} tokens take {waits / seconds:.0%} of the time between tokens.",
        ),
    )
