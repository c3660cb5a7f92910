"""Prompts whose measurements the other fits do not hold: Ampere's fork, and 16 bits on GPUs (`prompts.csv`).

llama.cpp's prompts, on cores and on GPUs, are rows of `llama_bench.csv` and fitted with its decoding
(`cpu_problem`, `gpu_problem`). What these two fits find is for prompts alone: decoding keeps its constants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from calibration.errors import band_of, constants_of, error_row, held_row
from calibration.measurements import FORK_BYTES, MeasuredRows, file_format, fitting_model, read_table
from calibration.solver import Parameter, Problem, held_out, solve
from sailsim.sim.backends import cores, roofline
from sailsim.sim.machine.system_files import load_gpu, load_system
from sailsim.sim.software.fitted import Floats, StepDemand, prompt_demand
from sailsim.sim.step.schedule import CpuSheet
from sailsim.workloads.models.graph import prefill_step

SIXTEEN_BIT_GPUS = ("a10g", "l4", "a100")
"""GPUs with measured prompts of 16-bit weights."""
FORMATS = ("q4_k_4", "q8r16")
"""Of the fork's rows."""
LAYER_WEIGHTS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def _table(software: str) -> list[dict[str, str]]:
    return [row for row in read_table("prompts.csv") if row["software"] == software]


def _labels(table: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    return {name: np.array([row[name] for row in table]) for name in table[0]}


def fork_rows() -> MeasuredRows:
    """Prompts of Ampere's fork on an Altra, one at a time."""
    table = _table("ampere")
    works = [
        prompt_demand(
            fitting_model(row["model"]),
            file_format(FORK_BYTES[row["format"]]),
            int(row["prompt"]),
            reads=cores.ubatches(int(row["prompt"])),
        )
        for row in table
    ]
    ones = np.ones(len(table))
    sheet = CpuSheet.of(load_system("altra"))
    return MeasuredRows(
        work=StepDemand.stack(works),
        machine=CpuSheet(sheet.clock * ones, sheet.read_bandwidth * ones, sheet.core_bandwidth * ones),
        threads=np.array([float(row["threads"]) for row in table]),
        tokens=np.array([float(row["prompt"]) for row in table]),
        measured=np.array([float(row["value"]) for row in table]),
        labels=_labels(table),
    )


def fork_problem(ours: Mapping[str, Any]) -> Problem:
    """The fork's kernels with whole prompts, and what a row loses whatever the threads.

    ``ours``: the fork's constants of decoding as `fits.json` holds them, from which all else is.
    """
    parameters = (
        *(
            Parameter(
                f"prompt_rate_{name}", 10.0, 0.2, 32.0, "MAC/cycle", f"a thread's products in prompts, {name}"
            )
            for name in FORMATS
        ),
        Parameter(
            "prompt_row_overhead",
            1e4,
            0.0,
            1e5,
            "ns",
            "what a row of a prompt loses a layer, whatever the threads: 80 of them are 1.1 to 1.4 times as "
            "fast as 48",
        ),
    )

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        c = cores.CpuFit(
            read_share=np.asarray(ours["read_share"]["value"]),
            kernel_rate=np.where(rows.labels["format"] == FORMATS[1], x[1], x[0]),
            attention_rate=np.asarray(ours["attention_rate"]["value"]),
            barrier_s=ours["barrier"]["value"] * 1e-9,
            overlap=np.asarray(ours["overlap"]["value"]),
            row_s=np.asarray(x[2] * 1e-9),
        )
        parts = cores.step_breakdown(rows.work, rows.machine, rows.threads, c, np.asarray(1.0))
        return np.asarray(rows.tokens / sum(parts.values()))

    return Problem(parameters, fork_rows(), predict, loss="soft_l1")


def run_fork(ours: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float], list[dict[str, Any]]]:
    """The fork's constants of prompts, their interval, and their rows of the error table."""
    problem = fork_problem(ours)
    solution = solve(problem)
    name = "Altra prompts, Ampere's fork"
    without = {label: held_out(problem, label) for label in ("model", "threads")}
    inside = problem.predict(solution.values, problem.rows) / problem.rows.measured
    errors = [
        error_row(name, "nothing", inside),
        *(held_row(name, label, found) for label, found in without.items()),
    ]
    interval = band_of(*(found.ratio for found in without.values()))
    return constants_of(problem, solution, "fit of prompts.csv, Ampere's fork on Altra"), interval, errors


def _sheets(table: Sequence[Mapping[str, str]]) -> list[roofline.GpuSheet]:
    """The rows' GPUs; the 80 GB A100 reads at 2039 GB/s (its data sheet)."""
    found = [roofline.GpuSheet.of(load_gpu(row["system"])) for row in table]
    return [
        replace(sheet, bandwidth=np.asarray(2039e9)) if row["machine"] == "a100-80" else sheet
        for row, sheet in zip(table, found, strict=True)
    ]


def sixteen_bit_rows() -> tuple[MeasuredRows, roofline.GpuSheet]:
    """Times to the first token of vLLM in 16 bits, as tokens of the prompt a second, and the rows' GPUs."""
    table = _table("vllm")
    tokens = np.array([float(row["prompt"]) for row in table])
    works = [
        prompt_demand(fitting_model(row["model"]), file_format(row["format"]), int(row["prompt"]))
        for row in table
    ]
    sheets = _sheets(table)
    columns = {
        name: np.array([float(getattr(sheet, name)) for sheet in sheets])
        for name in roofline.GpuSheet.__dataclass_fields__
    }
    rows = MeasuredRows(
        work=StepDemand.stack(works),
        machine=CpuSheet(columns["peak_macs"], columns["bandwidth"], columns["vector_macs"]),
        threads=columns["sm_clock"],
        tokens=tokens,
        measured=tokens / np.array([float(row["value"]) * 1e-3 for row in table]),
        labels=_labels(table),
    )
    return rows, roofline.GpuSheet(**columns)


def gpu_prompt_problem(ours: Mapping[str, Any]) -> Problem:
    """16-bit products of whole prompts on each GPU that was measured, and what a request takes beside them.

    ``ours``: the GPUs' constants as `fits.json` holds them: reading and launches are those of
    LMDeploy's decoding (`gpu_batched.csv`).
    """
    gpus = SIXTEEN_BIT_GPUS
    parameters = (
        *(
            Parameter(
                f"prompt_share_f16_{gpu}", 0.5, 0.05, 1.0, "ratio",
                f"share of {gpu}'s fp16 peak in prompts of 16-bit weights, vLLM",
            )
            for gpu in gpus
        ),
        Parameter("request", 1e4, 0.0, 1e5, "us", "what a request to vLLM takes beside its prompt"),
        Parameter("request_token", 10.0, 0.0, 100.0, "us", "the same for each token: text, transport"),
        Parameter(
            "prompt_overlap_f16", 0.5, 0.0, 1.0, "ratio",
            "prompts of 16 bits, 0: reading and arithmetic take turns, 1: the longer hides the shorter",
        ),
    )  # fmt: skip

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        share = dict(zip(gpus, x, strict=False))
        c = roofline.sixteen_bit_prompt_fit(
            np.array([share[gpu] for gpu in rows.labels["system"].tolist()]),
            ours["read_share_f16"]["value"],
            ours["layer_overhead_f16"]["value"],
            x[-1],
        )
        sheet = roofline.GpuSheet(
            rows.machine.read_bandwidth, rows.machine.clock, rows.machine.core_bandwidth, rows.threads
        )
        seconds = sum(roofline.step_breakdown(rows.work, sheet, c).values())
        beside = (x[len(gpus)] + x[len(gpus) + 1] * rows.tokens) * 1e-6
        return np.asarray(rows.tokens / (seconds + beside))

    return Problem(parameters, sixteen_bit_rows()[0], predict, loss="soft_l1")


def run_gpus(ours: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float], list[dict[str, Any]]]:
    """The GPUs' constants of 16-bit prompts, their interval, and their rows of the error table."""
    problem = gpu_prompt_problem(ours)
    solution = solve(problem)
    twins = problem.rows.labels["machine"] == "a100-80"
    without = {label: held_out(problem, label) for label in ("model", "prompt")}
    again = held_out(problem, "machine", twins).where(twins)
    inside = problem.predict(solution.values, problem.rows) / problem.rows.measured
    name = "GPU time to first token, 16 bits, vLLM"
    errors = [
        error_row(name, "nothing", inside),
        *(held_row(name, label, found) for label, found in without.items()),
        held_row("A100-80 GB time to first token, 16 bits, vLLM", "that GPU", again),
        error_row(
            "A100 matrices of a layer, 128 to 512 rows, 16 bits, vidur",
            "these rows",
            _layer_ratios(solution.values, ours),
        ),
    ]
    interval = band_of(*(found.ratio for found in without.values()))
    return constants_of(problem, solution, "fit of prompts.csv, vLLM's rows"), interval, errors


def _layer_ratios(values: Floats, ours: Mapping[str, Any]) -> Floats:
    """Predicted over measured rates of a layer's matrices alone, which no fit saw."""
    share = values[SIXTEEN_BIT_GPUS.index("a100")]
    sheet = roofline.GpuSheet.of(load_gpu("a100"))
    c = roofline.sixteen_bit_prompt_fit(
        np.asarray(share), ours["read_share_f16"]["value"], ours["layer_overhead_f16"]["value"], values[-1]
    )
    found = []
    for row in _table("vidur"):
        model = replace(fitting_model(row["model"]), n_layers=1)
        ops = prefill_step(model, file_format(row["format"]), int(row["prompt"]))
        kept = [op for op in ops if op.name.rpartition(".")[2] in LAYER_WEIGHTS]
        parts = roofline.step_breakdown(StepDemand.of(model, kept, int(row["prompt"])), sheet, c)
        seconds = float(parts["weights"] + parts["kernels"])
        found.append(float(row["value"]) * 1e-3 / seconds)
    return np.array(found)
