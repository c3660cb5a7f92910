"""Fit the constants of the baselines on the measurements in `data/` and write `sim/fits/fits.json`.

Run it again at any time: ``research/fits/fit.py``. It needs only the CSV
files of this package, the system files and the models' shapes, and gives the same numbers every time. With
``--held-out FILE`` the constants are also checked on measurements that lie outside the repository
(`calibration.held_out`); what comes out is stored in `sim/fits/held_out_errors.json`.

Residuals are logarithms of predicted over measured rates, under a Cauchy loss: two of the 64-core machines
decode 30 % slower than their twins at the same prompt speed, and a mean would place the model between the
two. They stay in the intervals. The error table holds out whole machines, whole models or whole batch sizes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import as_file
from pathlib import Path
from typing import Any

import numpy as np

from calibration.arm_problem import TABLE as ARM_TABLE
from calibration.core_rows import BATCHED_TABLE, PACKED_TABLE, altra_rows
from calibration.core_rows import TABLE as CORES_TABLE
from calibration.cores_problem import found_tiles, run_cores
from calibration.cpu_problem import cpu_problem, small_products, software_parameters, textbook_problem
from calibration.errors import (
    band_of,
    band_of_kind,
    constants_of,
    covariance_of,
    digits,
    error_row,
    held_row,
    noise_row,
)
from calibration.gpu_problem import (
    COMPUTE_SHARE_F16,
    LLAMA_TABLE,
    gpu_fit_rows,
    gpu_problem,
    own_launches,
    serving_problem,
    serving_rows,
    sixteen_bit_problem,
)
from calibration.kernel_ratios import gem5_rates, measured_rates
from calibration.kinds import run_kinds
from calibration.lut_problem import run_lut
from calibration.measurements import (
    Compared,
    MeasuredRows,
    held_out_gpu_rows,
    input_file,
    llama_bench_rows,
    read_table,
)
from calibration.packed_check import run_packed
from calibration.prompt_problem import run_fork, run_gpus
from calibration.simulated_problem import LOOPS, run_simulated
from calibration.solver import (
    LOSS_SCALE,
    Problem,
    Solution,
    held_out,
    solve,
)
from calibration.vllm_problem import MACHINES as VLLM_MACHINES
from calibration.vllm_problem import TABLE as VLLM_TABLE
from calibration.vllm_problem import run_vllm
from sailsim.analysis.studies.gem5_steps import TABLE as SIMULATED_TABLE
from sailsim.base.atomic import write_whole
from sailsim.sim.software.fitted import Floats, fits_file
from sailsim.sim.software.records import N1, software_names

SCRIPT_VERSION = 9

DATA = (
    "llama_bench.csv",
    "a1_batched.csv",
    "gpu_batched.csv",
    "gem5_kernels.csv",
    LOOPS,
    "kernel_rates.csv",
    "tmac.csv",
    "prompts.csv",
    CORES_TABLE,
    BATCHED_TABLE,
    VLLM_TABLE,
    VLLM_MACHINES,
    LLAMA_TABLE,
    ARM_TABLE,
    SIMULATED_TABLE,
    PACKED_TABLE,
)

HELD_OUT = ("lmdeploy_held_out.csv",)
"""Never fitted on."""

BATCH_RATE_SPAN = (0.5, 2.0)
"""Range of the small-batch kernel's rate on GPUs where it was not measured, of V100's (assumed): half of it,
and twice, as their tensor cores multiply 8-bit integers at twice the fp16 rate and V100's do not at all."""


ATTENTION_RANGE: Mapping[str, Any] = {
    "low": 0.16,
    "high": 0.75,
    "note": "attention of one thread, fp16 cache; the range is what the held-out rows give one by one: 0.16 "
    "(7B on 64 Altra threads, decoding and prompts), 0.41 (7B prompts on Graviton2), 0.36..0.5 (2B "
    "decoding), 0.6..0.7 (14B prompts), 0.72 (2B prompts)",
}
"""One rate cannot be right for every layout of the cache: the more heads share a key, the faster."""


def _other_software(problem: Problem, solution: Solution) -> Floats:
    """Predicted over measured of the fork's four-bit rows at batch 1, predicted as if they were
    llama.cpp's."""
    rows = altra_rows()
    rows = rows.where((rows.labels["batch"] == "1") & (rows.labels["format"] == "q4_k_4"))
    as_ours = replace(rows, labels={**rows.labels, "software": np.full(len(rows.measured), "llama.cpp")})
    return np.asarray(problem.predict(solution.values, as_ours) / rows.measured)


@dataclass(frozen=True)
class Outcome:
    """A run of all fits: the file's content, every fitted row with its prediction, and the predictors.

    ``predict_cpu`` and ``predict_gpu`` give tokens/s of other rows by the constants of the table.
    """

    table: dict[str, Any]
    compared: Mapping[str, Compared]
    predict_cpu: Callable[[MeasuredRows], Floats]
    predict_gpu: Callable[[MeasuredRows], Floats]


def run() -> dict[str, Any]:
    """All fits, their intervals and the error table, as `fits.json` holds them."""
    return run_all().table


def run_all() -> Outcome:
    """All fits with the predictions behind the error table."""
    errors: list[dict[str, Any]] = []
    compared: dict[str, Compared] = {}
    cpu_sets, cpu_covariance, fewest, predict_cpu = _run_cpu(errors, compared)
    cores = run_cores(cpu_sets, errors)
    gpu_set, gpu_covariance, predict_gpu = _run_gpu(errors, compared)
    table = {
        "schema": 2,
        "script": "calibration",
        "script_version": SCRIPT_VERSION,
        "loss": f"Cauchy (LMDeploy, vLLM, prompts: soft L1) on log(predicted / measured), scale {LOSS_SCALE}",
        "data": {name: hashlib.sha256(input_file(name).read_bytes()).hexdigest() for name in DATA},
        "fewest_threads": fewest,
        "cpu": cpu_sets,
        "cpu_covariance": cpu_covariance,
        "cores": cores,
        "gpu": gpu_set,
        "gpu_covariance": gpu_covariance,
        "errors": errors,
        "noise": [_twins()],
    }
    run_packed(table)
    run_kinds(table)
    return Outcome(table, compared, predict_cpu, predict_gpu)


def _run_cpu(
    errors: list[dict[str, Any]], compared: dict[str, Compared]
) -> tuple[dict[str, Any], dict[str, Any], int, Callable[[MeasuredRows], Floats]]:
    problem = cpu_problem()
    solution = solve(problem)
    ours = problem.rows.labels["software"] == "llama.cpp"
    every = Compared(problem.rows, problem.predict(solution.values, problem.rows))
    compared["fitted: llama.cpp on Graviton2"] = every.where(ours)
    tiles, seen = found_tiles()
    of_fork = (seen.rows.labels["machine"] == "altra") & (seen.rows.labels["processes"] == "1")
    compared["fitted: Ampere's fork on Altra"] = seen.where(of_fork)
    inside = every.ratio
    by_machine, by_model = held_out(problem, "machine", ours), held_out(problem, "model", ours)
    textbook = np.full(len(ours), np.nan)
    textbook[ours] = held_out(textbook_problem(), "machine").ratio
    test = problem.rows.labels["test"]
    tests = {"decode": ours & (test == "tg"), "prompt": ours & (test == "pp")}
    for kind, keep in tests.items():
        name = f"N1 {kind}, llama.cpp"
        errors.append(error_row(name, "nothing", inside[keep]))
        errors.append(held_row(name, "machine", by_machine.where(keep)))
        errors.append(held_row(name, "model", by_model.where(keep)))
        errors.append(error_row(name, "machine, with overlap fixed at 1 (maximum)", textbook[keep]))
    noisy = llama_bench_rows(disturbed=True)
    noisy = noisy.where(noisy.labels["test"] == "tg")
    errors.append(
        error_row(
            "N1 decode, llama.cpp, m6g.16xlarge while files were downloaded onto it",
            "these rows",
            problem.predict(solution.values, noisy) / noisy.measured,
        )
    )
    errors.append(
        error_row(
            "Altra decode at batch 1, four bits, Ampere's fork",
            "the machine and its software: constants of llama.cpp on Graviton2",
            _other_software(problem, solution),
        )
    )
    barrier = constants_of(problem, solution, "fit of llama_bench.csv and a1_batched.csv", [0])
    sources = {
        "llama.cpp": "fit of llama_bench.csv, Graviton2 rows (SpareCores)",
        "ampere": "fit of a1_batched.csv (Ampere)",
    }
    sets, first = {}, 1
    for software, source in sources.items():
        count = len(software_parameters("ampere" if software == "ampere" else "llama.cpp"))
        own = constants_of(problem, solution, source, range(first, first + count))
        if software == "llama.cpp":
            own["attention_rate"] |= ATTENTION_RANGE
            anchor = float(own["kernel_rate_q4_k_m"]["value"])
            rates = gem5_rates(anchor)
            own |= rates | measured_rates(anchor, rates)
        # One machine says nothing of the scatter between machines: intervals are llama.cpp's (`kinds`).
        constants = own | {n: dict(c) for n, c in barrier.items()} | small_products()
        sets[software] = {"constants": constants, "intervals": {}}
        first += count
    prompts, interval, rows = run_fork(sets["ampere"]["constants"])
    decoding = sets["ampere"]["constants"] | tiles["altra"]
    sets["ampere"] = {"constants": decoding | prompts, "intervals": {"prompt": interval}}
    errors.extend(rows)
    tables, rows = run_lut(sets["llama.cpp"]["constants"])
    # Nor do four rows of one machine.
    sets["t-mac"] = {"constants": tables, "intervals": {}}
    errors.extend(rows)
    simulated, rows = run_simulated()
    errors.extend(rows)
    sets |= simulated
    fewest = int(problem.rows.threads[ours].min())
    return sets, covariance_of(problem, solution), fewest, lambda rows: problem.predict(solution.values, rows)


def _twins() -> dict[str, Any]:
    """Scatter of the fit's own machines of 64 threads: nothing that is fed a chip's name can be better."""
    full = llama_bench_rows()
    decode = (full.threads == 64) & (full.labels["test"] == "tg")
    by_model = []
    for model in np.unique(full.labels["model"][decode]):
        n = full.where(decode & (full.labels["model"] == model))
        by_model.append(n.measured.max() / n.measured.min() - 1)
    return noise_row("Graviton2 with 64 threads in the fit, bare metal and virtual", np.array(by_model))


def _run_gpu(
    errors: list[dict[str, Any]], compared: dict[str, Compared]
) -> tuple[dict[str, Any], dict[str, Any], Callable[[MeasuredRows], Floats]]:
    gpus, serving = gpu_problem(), serving_problem()
    used = gpu_fit_rows(gpus.rows)
    fitted = replace(gpus, rows=gpus.rows.where(used))
    ours, theirs = solve(fitted), solve(serving)
    both = ((fitted, ours, "fitted: GPUs"), (serving, theirs, "fitted: A100, LMDeploy"))
    for problem, solution, title in both:
        compared[title] = Compared(problem.rows, problem.predict(solution.values, problem.rows))
    names = {
        "tg": "GPU decode, batch 1, q4_k_m",
        "pp": "GPU prompt, q4_k_m",
        "batched": "V100 batched, q2_k and iq4_xs (proxy)",
        "f16": "A100 batched, f16, LMDeploy",
        "w4": "A100 batched, four bits, LMDeploy",
    }
    out = {
        "model": held_out(fitted, "model"),
        "batched": held_out(fitted, "batch", fitted.rows.labels["test"] == "batched"),
        "f16": held_out(serving, "model", serving.rows.labels["test"] == "f16"),
        "w4": held_out(serving, "batch", serving.rows.labels["test"] == "w4"),
    }
    inside, without = {}, {}
    for kind, name in names.items():
        problem, title = (serving, both[1][2]) if kind in ("f16", "w4") else (fitted, both[0][2])
        test = (problem.rows.labels["test"] == kind) & ~own_launches(problem.rows)
        inside[kind] = compared[title].ratio[test]
        without[kind] = out.get(kind, out["model"]).where(test)
        errors.append(error_row(name, "nothing", inside[kind]))
        held = "batch size" if kind in ("batched", "w4") else "model"
        errors.append(held_row(name, held, without[kind]))
        if kind in ("tg", "pp"):
            test = (problem.rows.labels["test"] == kind) & own_launches(problem.rows)
            errors.append(held_row(f"{name}, L40S and H100", held, out["model"].where(test)))
    rest = gpus.rows.where(~used)
    outside = gpus.predict(ours.values, rest) / rest.measured
    short = rest.labels["test"] == "pp"
    errors.append(error_row("GPU prompts of 128 tokens, q4_k_m", "all of them", outside[short]))
    errors.append(error_row("A100-80 and H100, llama.cpp of 2024", "all of them", outside[~short]))
    cells = np.char.add(fitted.rows.labels["gpu"], fitted.rows.labels["model"])
    cell = replace(fitted, rows=replace(fitted.rows, labels={**fitted.rows.labels, "cell": cells}))
    decoding = (fitted.rows.labels["test"] == "tg") & ~own_launches(fitted.rows)
    by_cell = held_out(cell, "cell", decoding).where(decoding)
    errors.append(held_row(names["tg"], "a GPU's model", by_cell))
    intervals = {
        "decode": band_of_kind(without["tg"].ratio, by_cell.ratio),
        "batched": band_of(without["batched"].ratio),
        "w4": band_of(without["w4"].ratio),
        "prompt": band_of(without["pp"].ratio),
    }

    again = held_out_gpu_rows(read_table("lmdeploy_held_out.csv"))
    ratio = serving.predict(theirs.values, again) / again.measured
    errors.append(error_row("A100 batched, f16, LMDeploy, another run", "these rows", ratio))
    theirs_f16 = serving.rows.where(serving.rows.labels["test"] == "f16")
    serving16, more, covariance16 = run_vllm(theirs_f16, errors)
    intervals |= more
    constants = constants_of(fitted, ours, "fit of llama_bench.csv (GPU rows) and gpu_batched.csv")
    constants |= serving16
    constants |= constants_of(serving, theirs, "fit of gpu_batched.csv, LMDeploy's rows")
    constants["compute_share_f16"] = dict(COMPUTE_SHARE_F16)
    sixteen = sixteen_bit_problem(constants)
    found = solve(sixteen)
    constants |= constants_of(sixteen, found, "fit of llama_f16.csv, llama.cpp in 16 bits")
    name = "Twelve GPUs, 16 bits, llama.cpp of 2024"
    errors.append(
        error_row(name, "nothing", sixteen.predict(found.values, sixteen.rows) / sixteen.rows.measured)
    )
    by_gpu = held_out(sixteen, "chip")
    errors.append(held_row(name, "GPU", by_gpu))
    # Ends between two of twelve rows would leave two of them out: less than nine tenths would be inside.
    intervals["f16 llama"] = band_of_kind(by_gpu.ratio)
    prompts, intervals["prompt f16"], rows = run_gpus(constants)
    constants |= prompts
    errors.extend(rows)
    constants["batch_rate_elsewhere"] = _batch_rate_elsewhere(float(constants["batch_rate_v100"]["value"]))
    covariance = {
        "llama.cpp": covariance_of(fitted, ours),
        "serving": covariance_of(serving, theirs),
        "vllm": covariance16,
    }

    def predict(rows: MeasuredRows) -> Floats:
        by_serving = serving_rows(rows)
        return np.where(by_serving, serving.predict(theirs.values, rows), gpus.predict(ours.values, rows))

    return {"constants": constants, "intervals": intervals}, covariance, predict


def _batch_rate_elsewhere(fitted: float) -> dict[str, Any]:
    low, high = BATCH_RATE_SPAN
    return {
        "value": fitted,
        "unit": "MAC/cycle",
        "source": "batch_rate_v100: no batch of llama.cpp on another GPU is in the fit",
        "kind": "assumed",
        "low": digits(low * fitted),
        "high": digits(high * fitted),
        "note": "matrix kernel of other GPUs for 9 to 64 rows, a multiprocessor; half to twice V100's",
    }


FITTED = "# ---- Written by research/fits/fit.py ----\n"
"""Line of a record behind which its fitted constants stand."""


def write(path: Path | None = None, result: dict[str, Any] | None = None) -> tuple[Path, dict[str, Any]]:
    """Write the fits to ``path``, or over the files that ship; run them first unless ``result`` is given.

    Constants of software on cores stand in its record.
    """
    result = run() if result is None else result
    if path is not None:
        write_whole(path, (json.dumps(result, indent=1) + "\n").encode())
        return path, result
    software = Path(str(fits_file(""))).parent / "software"
    for name in software_names():
        record = software / f"{name}.toml"
        sets = {N1: result["cpu"], **result["cores"]}
        body = "".join(_set_text(core, own[name]) for core, own in sets.items() if name in own)
        head = record.read_text("utf-8").partition(FITTED)[0]
        write_whole(record, (head + FITTED + body if body else head).encode())
    rest = {name: each for name, each in result.items() if name not in ("cpu", "cores")}
    with as_file(fits_file("fits.json")) as shipped:
        write_whole(Path(shipped), (json.dumps(rest, indent=1) + "\n").encode())
    return software, result


def _set_text(core: str, tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """TOML of a set of constants and its intervals on a core."""
    lines = []
    for table, entries in tables.items():
        lines.append(f"\n[cores.{core}.{table}]")
        for name, entry in entries.items():
            given = {key: value for key, value in entry.items() if value is not None}
            values = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in given.items()]
            lines.append(f"{name} = {{ {', '.join(values)} }}")
    return "\n".join(lines) + "\n"
