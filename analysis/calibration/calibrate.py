"""Fit the constants of the baselines on the measurements in `data/` and write `data/fits.json`.

Run it again at any time: ``python -m sailsim.analysis.calibration`` or ``sailsim fit``. It needs only the CSV
files of this package, the system files and the models' shapes, and gives the same numbers every time. With
``--held-out FILE`` the constants are also checked on measurements that lie outside the repository
(`sailsim.analysis.calibration.held_out`); what comes out is stored in `data/held_out_errors.json`.

Residuals are logarithms of predicted over measured rates, under a Cauchy loss: two of the 64-core machines
decode 30 % slower than their twins at the same prompt speed, and a mean would place the model between the
two. They stay in the bands. The error table holds out whole machines, whole models or whole batch sizes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file
from math import exp, isfinite, log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.analysis.baselines import cpu, gpu
from sailsim.analysis.baselines.prediction import Floats, data_file
from sailsim.analysis.calibration.measurements import (
    Compared,
    Rows,
    altra_rows,
    gpu_rows,
    held_out_gpu_rows,
    join,
    llama_bench_rows,
    read_table,
    sheets_of,
)
from sailsim.analysis.calibration.solver import (
    LOSS_SCALE,
    HeldOut,
    Parameter,
    Problem,
    Solution,
    held_out,
    solve,
)
from sailsim.files import write_whole

SCRIPT_VERSION = 4
DATA = ("llama_bench.csv", "a1_batched.csv", "gpu_batched.csv", "gem5_kernels.csv", "kernel_rates.csv")
HELD_OUT = ("lmdeploy_held_out.csv",)
"""Never fitted on."""
BATCH_RATE_SPAN = (0.5, 2.0)
"""Range of the small-batch kernel's rate on cards where it was not measured, of V100's (assumed): half of it,
and twice, as their tensor cores multiply 8-bit integers at twice the fp16 rate and V100's do not at all."""
COMPUTE_SHARE_F16: Mapping[str, Any] = {
    "value": 0.5,
    "unit": "ratio",
    "source": "here",
    "kind": "assumed",
    "low": 0.3,
    "high": 0.8,
    "note": "share of fp16 peak of 16-bit products; the measured batches, up to 64 rows, are bound by "
    "reading and cannot tell",
}
ATTENTION_RANGE: Mapping[str, Any] = {
    "low": 0.16,
    "high": 0.75,
    "note": "attention of one thread, fp16 cache; the range is what the held-out rows give one by one: 0.16 "
    "(7B on 64 Altra threads, decoding and prompts), 0.41 (7B prompts on Graviton2), 0.36..0.5 (2B "
    "decoding), 0.6..0.7 (14B prompts), 0.72 (2B prompts)",
}
"""One rate cannot be right for every layout of the cache: the more heads share a key, the faster."""
WEAK = 0.3
"""Standard error over value from which on a constant's note says that the rows hardly determine it."""
MIN_BAND = 0.05
"""A band is never narrower than this on either side, however few the measurements."""


# --- CPU ---


BARRIER = Parameter(
    "barrier", 100.0, 0.0, 1000.0, "ns", "synchronisation and small work of an operation, a thread"
)
"""Common to both softwares: the fork keeps llama.cpp's threads, and only both together tell it from what a
product loses."""


def software_parameters(software: cpu.Software) -> tuple[Parameter, ...]:
    """The parameters that a software has of its own."""
    kernels, attention = {
        "llama.cpp": ({"q4_k_m": 2.6}, 0.5),
        "ampere": ({"q4_k_4": 5.0, "q8r16": 8.0}, 2.0),
    }[software]
    hides = Parameter(
        "overlap",
        0.2,
        0.0,
        1.0,
        "ratio",
        "0: reading and arithmetic take turns, 1: the longer hides the shorter",
    )
    loss = Parameter(
        "product_overhead",
        2e4,
        0.0,
        3e5,
        "ns",
        "what a matrix product loses, whatever its size and the threads: uneven last pieces, first misses",
    )
    return (
        Parameter(
            "read_share",
            0.7,
            0.2,
            1.0,
            "ratio",
            "share of the measured read bandwidth that weights stream at",
        ),
        *(
            Parameter(
                f"kernel_rate_{name}", start, 0.2, 32.0, "MAC/cycle", f"matrix products of a thread, {name}"
            )
            for name, start in kernels.items()
        ),
        Parameter(
            "attention_rate", attention, 0.05, 16.0, "MAC/cycle", "attention of one thread, fp16 cache"
        ),
        hides,
        # The fork's rows have one thread count: there the barrier holds this too.
        *((loss,) if software == "llama.cpp" else ()),
    )


def cpu_problem() -> Problem:
    """The constants of both softwares on Neoverse-N1, fitted together because they share the barrier."""
    own = {software: software_parameters(software) for software in cpu.SOFTWARE}
    parameters = (BARRIER, *(p for group in own.values() for p in group))
    first = dict(zip(own, np.cumsum([1, *(len(group) for group in own.values())]).tolist(), strict=False))

    def predict(x: Floats, rows: Rows) -> Floats:
        fork = rows.labels["software"] == "ampere"
        ours, theirs = (
            {p.name: float(x[first[name] + i]) for i, p in enumerate(group)} for name, group in own.items()
        )

        def of_software(name: str) -> Floats:
            return np.asarray(np.where(fork, theirs[name], ours[name]))

        fork_rate = np.where(
            rows.labels["format"] == "q8r16", theirs["kernel_rate_q8r16"], theirs["kernel_rate_q4_k_4"]
        )
        c = cpu.Constants(
            read_share=of_software("read_share"),
            kernel_rate=np.asarray(np.where(fork, fork_rate, ours["kernel_rate_q4_k_m"])),
            attention_rate=of_software("attention_rate"),
            barrier_s=float(x[0]) * 1e-9,
            overlap=of_software("overlap"),
            product_s=np.asarray(np.where(fork, 0.0, ours["product_overhead"] * 1e-9)),
        )
        # Only the fork's rows have a batch, and its sequences share one cache.
        shared_by = np.where(fork, rows.tokens, 1.0)
        parts = cpu.step_parts(rows.work, rows.machine, rows.threads, c, shared_by)
        return np.asarray(rows.tokens / sum(parts.values()))

    return Problem(parameters, join(llama_bench_rows(), altra_rows()), predict)


def textbook_problem() -> Problem:
    """llama.cpp's constants alone, on its own rows, if the longer of reading and arithmetic hid the other."""
    both = cpu_problem()
    count = 1 + len(software_parameters("llama.cpp"))
    fork = np.array([p.start for p in both.parameters[count:]])
    names = [p.name for p in both.parameters[:count]]
    overlap = names.index("overlap")

    def predict(x: Floats, rows: Rows) -> Floats:
        return both.predict(np.concatenate([np.insert(x, overlap, 1.0), fork]), rows)

    kept = tuple(p for p in both.parameters[:count] if p.name != "overlap")
    return Problem(kept, both.rows.where(both.rows.labels["software"] == "llama.cpp"), predict)


# --- GPU ---


def gpu_problem() -> Problem:
    """llama.cpp on the cards: shares and rates of each, fitted together for the overheads in common.

    Under a Cauchy loss too: 2B on V100 reaches a third of the bandwidth where it and 7B reach half to two
    thirds on every other card, and V100 is not to be judged by it.
    """
    cards = gpu.MEASURED_CARDS
    parameters = (
        *(
            Parameter(f"read_share_{c}", 0.65, 0.2, 0.92, "ratio", f"share of {c}'s memory bandwidth, q4_k_m")
            for c in (*cards, "h100")
        ),
        *(
            Parameter(
                f"prompt_share_{c}", 0.3, 0.02, 1.0, "ratio", f"share of {c}'s fp16 peak in prompt processing"
            )
            for c in cards
        ),
        Parameter(
            "layer_overhead", 5e4, 0.0, 5e5, "ns", "launches and small kernels of one layer, llama.cpp"
        ),
        Parameter(
            "batch_rate_v100",
            100.0,
            5.0,
            300.0,
            "MAC/cycle",
            "matrix kernel of V100 for 9 to 64 rows, a multiprocessor",
        ),
        Parameter(
            "other_formats", 0.8, 0.3, 1.2, "ratio", "read share of other quantized formats, of q4_k's; V100"
        ),
        Parameter(
            "vector_share",
            0.1,
            0.01,
            1.0,
            "ratio",
            "share of 8-bit dot products that up to eight rows reach, each a product of its own; V100",
        ),
    )
    index = {p.name: i for i, p in enumerate(parameters)}

    def predict(x: Floats, rows: Rows) -> Floats:
        test, card = rows.labels["test"], rows.labels["card"].tolist()

        def of_card(kind: str, like: Callable[[str], tuple[str, ...]]) -> Floats:
            share = {
                c: exp(sum(log(x[index[f"{kind}_{near}"]]) for near in like(c)) / len(like(c)))
                for c in set(card)
            }
            return np.array([share[c] for c in card])

        c = gpu.GpuConstants(
            read_share=of_card("read_share", gpu.reads_like)
            * np.where(test == "batched", x[index["other_formats"]], 1.0),
            compute_share=of_card("prompt_share", gpu.computes_like),
            vector_share=np.asarray(x[index["vector_share"]]),
            batch_rate=np.where(test == "pp", np.inf, x[index["batch_rate_v100"]]),
            tile_rows=np.asarray(np.inf),
            layer_s=np.asarray(1e-9 * x[index["layer_overhead"]]),
            row_s=np.asarray(0.0),
            overlap=np.asarray(0.0),
        )
        parts = gpu.step_parts(rows.work, sheets_of(rows), c)
        return np.asarray(rows.tokens / sum(parts.values()))

    rows = gpu_rows()
    return Problem(parameters, rows.where(~serving_rows(rows)), predict)


def serving_rows(rows: Rows) -> NDArray[np.bool_]:
    """Which GPU rows the constants of the serving software predict."""
    return np.isin(rows.labels["test"], ("f16", "older f16", "w4"))


def serving_problem() -> Problem:
    """LMDeploy on A100, 16 bits and four: each has its kernels, launches and work of a sequence."""
    parameters = (
        Parameter("read_share_f16", 0.7, 0.2, 0.95, "ratio", "share of memory bandwidth, LMDeploy on A100"),
        Parameter(
            "layer_overhead_f16", 2e4, 0.0, 5e5, "ns", "launches and small kernels of one layer, LMDeploy"
        ),
        Parameter("row_overhead_f16", 5e4, 0.0, 1e6, "ns", "work of one sequence a step, LMDeploy"),
        Parameter(
            "read_share_w4", 0.7, 0.2, 0.95, "ratio", "share of memory bandwidth, LMDeploy's four-bit kernels"
        ),
        Parameter(
            "compute_share_w4", 0.4, 0.05, 1.0, "ratio", "share of fp16 peak, LMDeploy's four-bit kernels"
        ),
        Parameter(
            "layer_overhead_w4", 4e4, 0.0, 5e5, "ns", "launches and small kernels of one layer, four bits"
        ),
        Parameter("row_overhead_w4", 1e4, 0.0, 1e6, "ns", "work of one sequence a step, four bits"),
    )
    index = {p.name: i for i, p in enumerate(parameters)}

    def predict(x: Floats, rows: Rows) -> Floats:
        w4 = rows.labels["test"] == "w4"

        def of_width(kind: str) -> Floats:
            return np.asarray(np.where(w4, x[index[f"{kind}_w4"]], x[index[f"{kind}_f16"]]))

        c = gpu.GpuConstants(
            read_share=of_width("read_share"),
            compute_share=np.where(w4, x[index["compute_share_w4"]], COMPUTE_SHARE_F16["value"]),
            vector_share=np.asarray(np.inf),
            batch_rate=np.asarray(np.inf),
            tile_rows=np.asarray(np.inf),
            layer_s=1e-9 * of_width("layer_overhead"),
            row_s=1e-9 * of_width("row_overhead"),
            overlap=np.asarray(1.0),
        )
        parts = gpu.step_parts(rows.work, sheets_of(rows), c)
        return np.asarray(rows.tokens / sum(parts.values()))

    rows = gpu_rows()
    rows = rows.where(serving_rows(rows) & (rows.labels["test"] != "older f16"))
    return Problem(parameters, rows, predict, loss="soft_l1")


def _gpu_fit_rows(rows: Rows) -> NDArray[np.bool_]:
    """Rows of llama.cpp that the fit uses.

    Not the figures of older builds, of which only H100's has no twin, and not prompts of 128 tokens, which
    are neither a batch nor full tiles.
    """
    test = rows.labels["test"]
    older = (test == "older") & (rows.labels["card"] != "h100")
    short_prompt = (test == "pp") & (rows.tokens < cpu.UBATCH)
    return np.asarray(~(older | short_prompt))


# --- Kernel rates by format, from gem5 ---

GEM5_ANCHOR = "q4_1"
"""Of the kernels that ran in gem5 the one most like the measured q4_k_m: four bits, a scale and a minimum."""
GEM5_DOUBT = 0.2
"""How far a ratio of two kernels on the core model may be off a real core's (log; assumed, 0.1..0.3): the
model is calibrated on load latencies, not on these kernels."""


def gem5_ratios() -> dict[str, list[float]]:
    """Rate of each format's kernel over the anchor's in `gem5_kernels.csv`, a value for each batch size."""
    cycles: dict[int, dict[str, float]] = {}
    for row in read_table("gem5_kernels.csv"):
        if row["threads"] == "1" and row["weights_in"] == "L2":
            cycles.setdefault(int(row["batch"]), {})[row["format"]] = float(row["cycles_per_mac"])
    found: dict[str, list[float]] = {}
    for _, by_format in sorted(cycles.items()):
        for name, spent in by_format.items():
            if GEM5_ANCHOR in by_format:
                found.setdefault(name, []).append(by_format[GEM5_ANCHOR] / spent)
    return found


def gem5_rates(anchor: float) -> dict[str, dict[str, Any]]:
    """Kernel rates of llama.cpp by format: its measured four-bit rate times the ratio of our kernels in gem5.

    ``anchor`` in MAC/cycle. The band joins the ratios at all batch sizes, the doubt of the core model and
    what else is known of the format (`kernel_rates.csv`, relative to the anchor).
    """
    ratios, rates = gem5_ratios(), {}
    for row in read_table("kernel_rates.csv"):
        if not row["gem5"]:
            continue
        seen = ratios[row["gem5"]]
        low = min(*seen, float(row["low"]) * exp(GEM5_DOUBT)) * exp(-GEM5_DOUBT)
        high = max(*seen, float(row["high"]) * exp(-GEM5_DOUBT)) * exp(GEM5_DOUBT)
        rates[f"kernel_rate_{row['format']}"] = {
            "value": digits(anchor * seen[0]),
            "unit": "MAC/cycle",
            "source": f"kernel_rate_q4_k_m (measured) x {row['gem5']} / {GEM5_ANCHOR} of gem5_kernels.csv",
            "kind": "fitted",
            "low": digits(anchor * low),
            "high": digits(anchor * high),
            "note": row["note"],
            "standard_error": None,
        }
    return rates


# --- The file ---


def digits(value: float) -> float:
    """A number as the results hold it: six digits."""
    return float(f"{value:.6g}")


def _band(*ratios: Floats) -> dict[str, float]:
    """Factors on a prediction that hold nine tenths of the measurements, of each way of holding them out.

    Rows that a fold cannot predict (NaN) do not count.
    """
    ends = np.array([np.quantile(1 / r[np.isfinite(r)], [0.05, 0.95]) for r in ratios])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    return {"low": digits(min(low, 1 - MIN_BAND)), "high": digits(max(high, 1 + MIN_BAND))}


def _other_software(problem: Problem, solution: Solution) -> Floats:
    """Predicted over measured of the fork's four-bit rows at batch 1, predicted as if they were
    llama.cpp's."""
    rows = altra_rows()
    rows = rows.where((rows.labels["batch"] == "1") & (rows.labels["format"] == "q4_k_4"))
    as_ours = replace(rows, labels={**rows.labels, "software": np.full(len(rows.measured), "llama.cpp")})
    return np.asarray(problem.predict(solution.values, as_ours) / rows.measured)


def _constants(
    problem: Problem, solution: Solution, source: str, which: Sequence[int] | None = None
) -> dict[str, dict[str, Any]]:
    found = {}
    for i, p in enumerate(problem.parameters):
        if which is not None and i not in which:
            continue
        value = float(solution.values[i])
        error = float(np.sqrt(max(solution.covariance[i, i], 0.0)))
        at_bound = error == 0.0
        if at_bound:  # the solver stops a hair inside
            value = min((p.low, p.high), key=lambda bound: abs(bound - value))
        entry: dict[str, Any] = {
            "value": digits(value),
            "unit": p.unit,
            "source": source,
            "kind": "fitted",
            "low": digits(max(p.low, value - 1.645 * error)),
            "high": digits(min(p.high, value + 1.645 * error)),
            "note": p.meaning + _determined(p, value, None if at_bound else error, solution),
            "standard_error": None if at_bound else digits(error),
        }
        entry["low"], entry["high"] = min(entry["low"], entry["value"]), max(entry["high"], entry["value"])
        found[p.name] = entry
    return found


def _determined(parameter: Parameter, value: float, error: float | None, solution: Solution) -> str:
    """What the note of a constant adds where the rows do not settle it."""
    if any(parameter.name in combination.split(" with ") for combination in solution.open):
        return "; the rows leave it open, the value is the one nearest to the start"
    if error is None:
        return "; the data push it to its bound"
    if error > WEAK * abs(value):
        return f"; weakly determined, one standard error is {error / abs(value):.0%} of it"
    return ""


def error_row(rows: str, held: str, ratios: Floats) -> dict[str, Any]:
    """One line of an error table from predicted over measured; ``held`` is what the fit did not see."""
    error = np.abs(ratios - 1)
    worst = int(np.argmax(error))
    return {
        "measurements": rows,
        "held_out": held,
        "count": len(ratios),
        "median_error": digits(float(np.median(error))),
        "worst_error": digits(float(error[worst])),
        "bias": digits(exp(float(np.median(np.log(ratios)))) - 1),
    }


def _held_row(rows: str, held: str, found: HeldOut) -> dict[str, Any]:
    """The line of rows that folds predicted, and what the folds left open, if anything."""
    known = np.isfinite(found.ratio)
    row = error_row(rows, held, found.ratio[known])
    if found.moved:
        most = max(float(moved[known].max(initial=0.0)) for moved in found.moved.values())
        row["open"] = sorted(found.moved)
        row["open_moves"] = digits(exp(most) - 1)
        row["not_predicted"] = int((~known).sum())
    return row


def _covariance(problem: Problem, solution: Solution) -> dict[str, Any]:
    """Order of the parameters of a fit and their covariance."""
    rows = [[digits(v) for v in row] for row in solution.covariance.tolist()]
    return {"order": [p.name for p in problem.parameters], "matrix": rows}


@dataclass(frozen=True)
class Outcome:
    """A run of all fits: the file's content, every fitted row with its prediction, and the predictors.

    ``predict_cpu`` and ``predict_gpu`` give tokens/s of other rows by the constants of the table.
    """

    table: dict[str, Any]
    compared: Mapping[str, Compared]
    predict_cpu: Callable[[Rows], Floats]
    predict_gpu: Callable[[Rows], Floats]


def run() -> dict[str, Any]:
    """All fits, their bands and the error table, as `fits.json` holds them."""
    return run_all().table


def run_all() -> Outcome:
    """All fits with the predictions behind the error table."""
    errors: list[dict[str, Any]] = []
    compared: dict[str, Compared] = {}
    cpu_sets, cpu_covariance, fewest, predict_cpu = _run_cpu(errors, compared)
    gpu_set, gpu_covariance, predict_gpu = _run_gpu(errors, compared)
    return Outcome(
        {
            "schema": 2,
            "script": "sailsim.analysis.calibration",
            "script_version": SCRIPT_VERSION,
            "loss": f"Cauchy (LMDeploy: soft L1) on log(predicted / measured), scale {LOSS_SCALE}",
            "data": {name: hashlib.sha256(data_file(name).read_bytes()).hexdigest() for name in DATA},
            "fewest_threads": fewest,
            "cpu": cpu_sets,
            "cpu_covariance": cpu_covariance,
            "gpu": gpu_set,
            "gpu_covariance": gpu_covariance,
            "errors": errors,
            "noise": [_twins()],
        },
        compared,
        predict_cpu,
        predict_gpu,
    )


def _run_cpu(
    errors: list[dict[str, Any]], compared: dict[str, Compared]
) -> tuple[dict[str, Any], dict[str, Any], int, Callable[[Rows], Floats]]:
    problem = cpu_problem()
    solution = solve(problem)
    ours = problem.rows.labels["software"] == "llama.cpp"
    every = Compared(problem.rows, problem.predict(solution.values, problem.rows))
    compared["fitted: llama.cpp on Graviton2"] = every.where(ours)
    compared["fitted: Ampere's fork on Altra"] = every.where(~ours)
    inside = every.ratio
    by_machine, by_model = held_out(problem, "machine", ours), held_out(problem, "model", ours)
    textbook = np.full(len(ours), np.nan)
    textbook[ours] = held_out(textbook_problem(), "machine").ratio
    test = problem.rows.labels["test"]
    tests = {"decode": ours & (test == "tg"), "prompt": ours & (test == "pp")}
    for kind, keep in tests.items():
        name = f"N1 {kind}, llama.cpp"
        errors.append(error_row(name, "nothing", inside[keep]))
        errors.append(_held_row(name, "machine", by_machine.where(keep)))
        errors.append(_held_row(name, "model", by_model.where(keep)))
        errors.append(error_row(name, "machine, with overlap fixed at 1 (maximum)", textbook[keep]))
    bands = {kind: _band(by_machine.ratio[keep], by_model.ratio[keep]) for kind, keep in tests.items()}

    noisy = llama_bench_rows(disturbed=True)
    noisy = noisy.where(noisy.labels["test"] == "tg")
    errors.append(
        error_row(
            "N1 decode, llama.cpp, m6g.16xlarge while files were downloaded onto it",
            "these rows",
            problem.predict(solution.values, noisy) / noisy.measured,
        )
    )
    fork = "Altra batched decode, Ampere's fork"
    errors.append(error_row(fork, "nothing", inside[~ours]))
    errors.append(_held_row(fork, "batch size", held_out(problem, "batch", ~ours).where(~ours)))
    errors.append(
        error_row(
            "Altra decode at batch 1, four bits, Ampere's fork",
            "the machine and its software: constants of llama.cpp on Graviton2",
            _other_software(problem, solution),
        )
    )
    barrier = _constants(problem, solution, "fit of llama_bench.csv and a1_batched.csv", [0])
    sources = {
        "llama.cpp": "fit of llama_bench.csv, Graviton2 rows (SpareCores)",
        "ampere": "fit of a1_batched.csv (Ampere)",
    }
    sets, first = {}, 1
    for software, source in sources.items():
        count = len(software_parameters("ampere" if software == "ampere" else "llama.cpp"))
        own = _constants(problem, solution, source, range(first, first + count))
        if software == "llama.cpp":
            own["attention_rate"] |= ATTENTION_RANGE
            own |= gem5_rates(float(own["kernel_rate_q4_k_m"]["value"]))
        # One machine says nothing of the scatter between machines: the fork's bands are llama.cpp's.
        sets[software] = {"constants": own | {n: dict(c) for n, c in barrier.items()}, "bands": bands}
        first += count
    fewest = int(problem.rows.threads[ours].min())
    return sets, _covariance(problem, solution), fewest, lambda rows: problem.predict(solution.values, rows)


def noise_row(name: str, spread: Floats) -> dict[str, Any]:
    """Scatter of equal runs: median and largest of highest over lowest, minus 1."""
    return {
        "measurements": name,
        "count": len(spread),
        "median_spread": digits(float(np.median(spread))),
        "worst_spread": digits(float(spread.max())),
    }


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
) -> tuple[dict[str, Any], dict[str, Any], Callable[[Rows], Floats]]:
    cards, serving = gpu_problem(), serving_problem()
    used = _gpu_fit_rows(cards.rows)
    fitted = replace(cards, rows=cards.rows.where(used))
    ours, theirs = solve(fitted), solve(serving)
    both = ((fitted, ours, "fitted: GPU cards"), (serving, theirs, "fitted: A100, LMDeploy"))
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
        test = problem.rows.labels["test"] == kind
        inside[kind] = compared[title].ratio[test]
        without[kind] = out.get(kind, out["model"]).where(test)
        errors.append(error_row(name, "nothing", inside[kind]))
        held = "batch size" if kind in ("batched", "w4") else "model"
        errors.append(_held_row(name, held, without[kind]))
    rest = cards.rows.where(~used)
    outside = cards.predict(ours.values, rest) / rest.measured
    short = rest.labels["test"] == "pp"
    errors.append(error_row("GPU prompts of 128 tokens, q4_k_m", "all of them", outside[short]))
    old = gpu_rows()
    old = old.where(old.labels["test"] == "older f16")
    older = np.concatenate([outside[~short], serving.predict(theirs.values, old) / old.measured])
    errors.append(error_row("A100-80 and H100, llama.cpp of 2024", "all of them", older))
    bands = {
        "decode": _band(without["tg"].ratio),
        "batched": _band(without["batched"].ratio),
        "f16": _band(without["f16"].ratio),
        "w4": _band(without["w4"].ratio),
    }

    again = held_out_gpu_rows(read_table("lmdeploy_held_out.csv"))
    ratio = serving.predict(theirs.values, again) / again.measured
    errors.append(error_row("A100 batched, f16, LMDeploy, another run", "these rows", ratio))
    constants = _constants(fitted, ours, "fit of llama_bench.csv (GPU rows) and gpu_batched.csv")
    constants |= _constants(serving, theirs, "fit of gpu_batched.csv, LMDeploy's rows")
    constants["compute_share_f16"] = dict(COMPUTE_SHARE_F16)
    constants["batch_rate_elsewhere"] = _batch_rate_elsewhere(float(constants["batch_rate_v100"]["value"]))
    covariance = {"llama.cpp": _covariance(fitted, ours), "serving": _covariance(serving, theirs)}

    def predict(rows: Rows) -> Floats:
        by_serving = serving_rows(rows)
        return np.where(by_serving, serving.predict(theirs.values, rows), cards.predict(ours.values, rows))

    return {"constants": constants, "bands": bands}, covariance, predict


def _batch_rate_elsewhere(fitted: float) -> dict[str, Any]:
    low, high = BATCH_RATE_SPAN
    return {
        "value": fitted,
        "unit": "MAC/cycle",
        "source": "batch_rate_v100: no batch of llama.cpp on another card is in the fit",
        "kind": "assumed",
        "low": digits(low * fitted),
        "high": digits(high * fitted),
        "note": "matrix kernel of other cards for 9 to 64 rows, a multiprocessor; half to twice V100's",
    }


SHOWN = 1e-3
"""How far two results may differ: of a constant relative, of an error or a band absolute, which is a tenth
of a percent and the last digit shown. A median steps from row to row, so no relative measure would do."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of the numbers and texts that differ between two results by more than `SHOWN`.

    Covariances are compared in units of the two standard errors.
    """
    found: list[str] = []

    def compare(path: str, a: Any, b: Any, unit: float = 0.0) -> None:
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            for key in sorted(a.keys() | b.keys()):
                compare(f"{path}.{key}", a.get(key), b.get(key), _unit(key, unit))
        elif path.endswith(".matrix") and np.shape(a) == np.shape(b):
            errors = np.sqrt(np.diag(a))
            off = np.abs(np.subtract(a, b)) > SHOWN * np.maximum(np.outer(errors, errors), 1e-12)
            found.extend(f"{path.removeprefix('.')}[{i}][{j}]" for i, j in np.argwhere(off))
        elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            for i, (x, y) in enumerate(zip(a, b, strict=True)):
                compare(f"{path}[{i}]", x, y, unit)
        elif isinstance(a, float | int) and isinstance(b, float | int):
            if not (isfinite(a) and isfinite(b)) or abs(a - b) > SHOWN * max(abs(a), abs(b), unit, 1e-6):
                found.append(path.removeprefix("."))
        elif a != b:
            found.append(path.removeprefix("."))

    compare("", old, new)
    return found


def _unit(key: str, inherited: float) -> float:
    """What a difference is measured against beside the number itself: ratios of rates against 1."""
    return 1.0 if key in ("errors", "bands", "coverage", "noise") else inherited


def write(path: Path | None = None, result: dict[str, Any] | None = None) -> tuple[Path, dict[str, Any]]:
    """Write the fits to ``path``, or over the file that ships; run them first unless ``result`` is given."""
    result = run() if result is None else result
    text = json.dumps(result, indent=1) + "\n"
    if path is None:
        with as_file(data_file("fits.json")) as shipped:
            path = Path(shipped)
    write_whole(path, text.encode())
    return path, result
