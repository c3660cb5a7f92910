"""The fit of vLLM in bf16 on Neoverse N2: requests to servers of 8 to 96 cores (`vllm_arm.csv`).

A request alone waits for its first token as long as its prompt takes. Between two later tokens stand a step
of all requests under way and the prompts of those that come meanwhile.

    cd research && python -m calibration.arm_problem    prints the constants and the errors
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from calibration.cpu_problem import BARRIER, hides_parameter
from calibration.errors import band_of, constants_of, error_lines, error_row, held_row
from calibration.measurements import MeasuredRows, fitting_model, read_table
from calibration.solver import Parameter, Problem, held_out, solve
from calibration.vllm_problem import WAITING_MS, WAITING_TIMES, several
from sailsim.sim.backends import cores
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.software.fitted import Floats, StepDemand, prompt_demand
from sailsim.sim.step.schedule import CpuSheet
from sailsim.workloads.models.formats import weight_format
from sailsim.workloads.models.graph import decode_step

TABLE = "vllm_arm.csv"
SYSTEM, MODELS = "cobalt100", ("gemma-2-2b", "smollm2-135m")
FEWEST_THREADS = 8
"""As on Neoverse N1: with fewer, vLLM's own processes take a good part of the machine."""
NAME = "Cobalt 100, vLLM in bf16"
FORMAT = weight_format("bf16")


def _prompt(model: str, tokens: str) -> StepDemand:
    """Of one request, as the product counts it."""
    return prompt_demand(fitting_model(model), FORMAT, int(tokens), reads=cores.ubatches(int(tokens)))


def arm_rows() -> MeasuredRows:
    """Prompts of requests alone ("pp" in the label `test`), and decoding of those under way ("tg"), tokens/s.

    The label `between` has how many prompts of others come between two tokens of a request. Rows whose
    requests wait for one another are left out (`vllm_problem`).
    """
    table = [row for row in read_table(TABLE) if int(row["threads"]) >= FEWEST_THREADS]
    every = [{**row, "alone": str(row["strategy"] == "synchronous")} for row in table]
    first = {
        (row["machine"], row["model"], row["prompt"]): float(row["ttft_ms"])
        for row in every
        if row["alone"] == "True"
    }
    works, rates, tokens, labels = [], [], [], []

    def add(
        row: dict[str, str], test: str, work: StepDemand, count: float, seconds: float, between: float
    ) -> None:
        works.append(work)
        tokens.append(count)
        rates.append(count / seconds)
        labels.append({**row, "test": test, "between": repr(between)})

    for row in every:
        prompt, generated = int(row["prompt"]), int(row["generated"])
        wait_s, mean_s = float(row["ttft_ms"]) / 1e3, float(row["tpot_ms"]) / 1e3
        alone = row["alone"] == "True"
        if alone:
            add(row, "pp", _prompt(row["model"], row["prompt"]), float(prompt), wait_s, 0.0)
        limit = WAITING_TIMES * first[row["machine"], row["model"], row["prompt"]] + WAITING_MS
        if float(row["ttft_ms"]) > limit:
            continue
        token_s = (mean_s * generated - wait_s) / (generated - 1)  # tpot_ms has the first token too
        count = 1.0 if alone else max(1.0, float(row["tok_s"]) * token_s)
        model = fitting_model(row["model"])
        step = StepDemand.of(model, decode_step(model, FORMAT, 1, prompt + generated // 2), 1)
        add(row, "tg", several(step, count), count, token_s, (count - 1) / generated)
    sheet, ones = CpuSheet.of(load_system(SYSTEM)), np.ones(len(works))
    return MeasuredRows(
        work=StepDemand.stack(works),
        machine=CpuSheet(**{each.name: getattr(sheet, each.name) * ones for each in fields(CpuSheet)}),
        threads=np.array([float(row["threads"]) for row in labels]),
        tokens=np.array(tokens),
        measured=np.array(rates),
        labels={name: np.array([row[name] for row in labels]) for name in labels[0]},
    )


PARAMETERS = (
    Parameter("read_share", 0.4, 0.1, 1.0, "ratio", "share of the measured read bandwidth"),
    Parameter("core_share", 0.25, 0.02, 1.0, "ratio", "of what a core can have under way, what it has"),
    Parameter("kernel_rate", 10.0, 0.5, 32.0, "MAC/cycle", "matrix products of a thread"),
    Parameter("prompt_rate", 14.0, 0.5, 32.0, "MAC/cycle", "the same in prompts"),
    Parameter("attention_rate", 1.0, 0.02, 32.0, "MAC/cycle", "attention of one thread, bf16 cache"),
    BARRIER,
    hides_parameter(),
    Parameter("product_overhead", 2e4, 0.0, 1e6, "ns", "what a matrix product loses, whatever its size"),
    Parameter(
        "most_threads", 60.0, 32.0, 128.0, "threads",
        "more of them work no faster: the largest machine has two nodes of memory",
    ),
)  # fmt: skip


def arm_problem() -> Problem:
    """vLLM's constants by the equation of `sailsim.sim.backends.cores`, each sequence with its own cache."""
    names = [p.name for p in PARAMETERS]
    prompts = {(model, n): _prompt(model, n) for model in MODELS for n in ("256", "1024")}

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        v = dict(zip(names, x.tolist(), strict=True))

        def seconds(work: StepDemand, rate: Floats) -> Floats:
            c = cores.CpuFit(
                read_share=np.asarray(v["read_share"]),
                kernel_rate=rate,
                attention_rate=np.asarray(v["attention_rate"]),
                barrier_s=v["barrier"] * 1e-9,
                overlap=np.asarray(v["overlap"]),
                product_s=v["product_overhead"] * 1e-9,
                core_share=v["core_share"],
                most_threads=v["most_threads"],
            )
            parts = cores.step_breakdown(work, rows.machine, rows.threads, c, np.asarray(1.0))
            return np.asarray(sum(parts.values()))

        keys = zip(rows.labels["model"], rows.labels["prompt"], strict=True)
        others = StepDemand.stack([prompts[model, prompt] for model, prompt in keys])
        is_prompt = rows.labels["test"] == "pp"
        step = seconds(rows.work, np.where(is_prompt, v["prompt_rate"], v["kernel_rate"]))
        waits = rows.labels["between"].astype(float) * seconds(others, np.asarray(v["prompt_rate"]))
        return np.asarray(rows.tokens / (step + waits))

    return Problem(PARAMETERS, arm_rows(), predict, starts=3)


def run_arm(errors: list[dict[str, Any]]) -> dict[str, Any]:
    """vLLM's constants and intervals on the core, as `fits.json` holds them; adds the rows of the error
    table."""
    problem = arm_problem()
    solution, rows = solve(problem), problem.rows
    ratio = problem.predict(solution.values, rows) / rows.measured
    ways = {
        "machine": held_out(problem, "machine"),
        "all machines of that size": held_out(problem, "threads"),
        "model": held_out(problem, "model"),
    }
    prompt, small = rows.labels["test"] == "pp", rows.labels["model"] == MODELS[1]
    kinds = {"prompts": prompt, "2B, decoding": ~prompt & ~small, "135M, decoding": ~prompt & small}
    for kind, keep in kinds.items():
        errors.append(error_row(f"{NAME}, {kind}", "nothing", ratio[keep]))
        for held, found in ways.items():
            if np.isfinite(found.ratio[keep]).any():
                errors.append(held_row(f"{NAME}, {kind}", held, found.where(keep)))
    # One of two models says too little of the other for an interval: the notes say what is extrapolated.
    prompts, decoding, few = (
        band_of(*(found.ratio[keep] for held, found in ways.items() if held != "model"))
        for keep in kinds.values()
    )
    intervals = dict.fromkeys(("prompt", "rows"), prompts) | {"small": few}
    intervals |= dict.fromkeys(("decode", "many", "large", "batched", "packed"), decoding)
    constants = constants_of(problem, solution, "fit of vllm_arm.csv, Cobalt 100 (SpareCores)")
    return {"constants": constants, "intervals": intervals}


if __name__ == "__main__":
    table: list[dict[str, Any]] = []
    found = run_arm(table)
    for name, each in found["constants"].items():
        print(f"{name:18} {each['value']:>10} {each['unit']:10} {each['note']}")
    print(found["intervals"], *error_lines(table), sep="\n")
