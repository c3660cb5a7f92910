"""Fit the constants of the baselines on the measurements in `data/` and write `data/fits.json`.

Run it again at any time: ``python -m sailsim.analysis.fit`` or ``sailsim fit``. It needs only the CSV files
of this package, the system files and the models' shapes, and gives the same numbers every time.

Residuals are logarithms of predicted over measured rates, under a Cauchy loss: two of the 64-core machines
decode 30 % slower than their twins at the same prompt speed, and a mean would place the model between the
two. They stay in the bands. The error table holds out whole machines, whole models or whole batch sizes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file
from math import exp, isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from sailsim.analysis import cpu, gpu
from sailsim.analysis.prediction import Floats, Work, data_file, fitting_model, read_csv
from sailsim.files import write_whole
from sailsim.sim import load_card, load_system
from sailsim.workloads import decode_step, weight_format

SCRIPT_VERSION = 1
DOCS_MARKS = ("<!-- error table: written by sailsim.analysis.fit -->", "<!-- end of error table -->")
DATA = ("llama_bench.csv", "a1_batched.csv", "gpu_batched.csv")
LOSS_SCALE = 0.08
"""Scatter (log) beyond which a measurement loses weight: about the run-to-run scatter of one machine."""
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
MIN_BAND = 0.05
"""A band is never narrower than this on either side, however few the measurements."""


@dataclass(frozen=True)
class Parameter:
    """One unknown of a fit: its start, bounds, unit and meaning."""

    name: str
    start: float
    low: float
    high: float
    unit: str
    meaning: str


@dataclass(frozen=True)
class Rows:
    """Measurements of one kind: their work, machine, measured rate and the labels that folds go by."""

    work: Work
    machine: cpu.Machine
    threads: Floats
    tokens: Floats
    measured: Floats
    labels: Mapping[str, NDArray[np.str_]]

    def where(self, keep: NDArray[np.bool_]) -> Rows:
        """The rows that ``keep`` selects."""

        def cut(values: Floats) -> Floats:
            return values[keep]

        return Rows(
            work=Work(**{name: cut(getattr(self.work, name)) for name in Work.__dataclass_fields__}),
            machine=cpu.Machine(
                **{name: cut(getattr(self.machine, name)) for name in cpu.Machine.__dataclass_fields__}
            ),
            threads=cut(self.threads),
            tokens=cut(self.tokens),
            measured=cut(self.measured),
            labels={name: values[keep] for name, values in self.labels.items()},
        )


Predict = Callable[[Floats, Rows], Floats]


@dataclass(frozen=True)
class Problem:
    """A set of parameters, the rows that determine them and the model between the two.

    ``loss`` is one of SciPy's: "cauchy" where twins differ, "soft_l1" where each row is another card or
    format.
    """

    parameters: tuple[Parameter, ...]
    rows: Rows
    predict: Predict
    loss: Literal["cauchy", "soft_l1"] = "cauchy"


@dataclass(frozen=True)
class Solution:
    """Values in the order of the parameters, and their covariance (zero rows: held at a bound)."""

    values: Floats
    covariance: Floats


def solve(problem: Problem, rows: Rows | None = None) -> Solution:
    """Fit the parameters on the problem's rows, or on ``rows`` (a fold)."""
    rows = problem.rows if rows is None else rows
    parameters = problem.parameters
    low, high = (np.array([getattr(p, side) for p in parameters]) for side in ("low", "high"))
    scale = np.array([max(abs(p.start), 0.1 * (p.high - p.low)) for p in parameters])
    result = least_squares(
        lambda x: np.log(problem.predict(x, rows) / rows.measured),
        np.array([p.start for p in parameters]),
        bounds=(low, high),
        x_scale=scale,
        loss=problem.loss,
        f_scale=LOSS_SCALE,
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
        max_nfev=2000,
    )
    values = np.asarray(result.x)
    # A parameter at its bound has no interior curvature, and one that the rows do not touch has none at all.
    inside = (values - low > 1e-6 * scale) & (high - values > 1e-6 * scale)
    inside &= np.abs(result.jac).sum(axis=0) > 0
    jac = result.jac[:, inside]
    freedom = max(len(rows.measured) - int(inside.sum()), 1)
    covariance = np.zeros((len(values), len(values)))
    covariance[np.ix_(inside, inside)] = np.linalg.pinv(jac.T @ jac) * 2 * result.cost / freedom
    return Solution(values, covariance)


def held_out(problem: Problem, label: str, among: NDArray[np.bool_] | None = None) -> Floats:
    """Predicted over measured of every row, each predicted by a fit without the rows of the same label.

    ``among`` limits what is held out; the other rows are always in the fit and their result is NaN.
    """
    rows = problem.rows
    chosen = np.ones(len(rows.measured), dtype=bool) if among is None else among
    ratio = np.full(len(rows.measured), np.nan)
    for group in np.unique(rows.labels[label][chosen]):
        out = (rows.labels[label] == group) & chosen
        solution = solve(problem, rows.where(~out))
        ratio[out] = problem.predict(solution.values, rows.where(out)) / rows.measured[out]
    return ratio


# --- CPU ---


def _table(name: str) -> list[dict[str, str]]:
    return read_csv(data_file(name).read_text("utf-8"))


def _machines(names: Sequence[str]) -> cpu.Machine:
    each = [cpu.Machine.of(load_system(name)) for name in names]
    return cpu.Machine(
        **{
            field: np.array([float(getattr(m, field)) for m in each])
            for field in cpu.Machine.__dataclass_fields__
        }
    )


def _labels(**columns: Sequence[object]) -> dict[str, NDArray[np.str_]]:
    return {name: np.array([str(value) for value in column]) for name, column in columns.items()}


def _mean_context(generated: int, prompt: int = 0) -> int:
    """Mean number of tokens in the cache over a generation; every part is linear in it."""
    return prompt + max(1, round(generated / 2))


def llama_bench_rows() -> Rows:
    """The Neoverse-N1 rows of llama-bench: token generation and prompt processing."""
    table = [row for row in _table("llama_bench.csv") if row["ngl"] == "0"]
    works, tokens = [], []
    for row in table:
        model, fmt, n = fitting_model(row["model"]), weight_format(row["format"]), int(row["n"])
        if row["test"] == "tg":
            works.append(Work.of(model, decode_step(model, fmt, 1, _mean_context(n)), 1))
            tokens.append(1.0)
        else:
            works.append(cpu.prompt_work(model, fmt, n))
            tokens.append(float(n))
    return Rows(
        work=Work.stack(works),
        machine=_machines([row["system"] for row in table]),
        threads=np.array([float(row["threads"]) for row in table]),
        tokens=np.array(tokens),
        measured=np.array([float(row["tok_s"]) for row in table]),
        labels=_labels(
            machine=[row["machine"] for row in table],
            model=[row["model"] for row in table],
            test=[row["test"] for row in table],
            software=["llama.cpp"] * len(table),
            format=[row["format"] for row in table],
        ),
    )


def altra_rows() -> Rows:
    """Batched decoding on Altra."""
    table = _table("a1_batched.csv")
    works = []
    for row in table:
        model, batch = fitting_model(row["model"]), int(row["batch"])
        context = _mean_context(int(row["generated"]), int(row["prompt"]))
        works.append(
            Work.of(model, decode_step(model, weight_format(row["bytes_as"]), batch, context), batch)
        )
    return Rows(
        work=Work.stack(works),
        machine=_machines([row["system"] for row in table]),
        threads=np.array([float(row["threads"]) for row in table]),
        tokens=np.array([float(row["batch"]) for row in table]),
        measured=np.array([float(row["tok_s"]) for row in table]),
        labels=_labels(
            model=[row["model"] for row in table],
            format=[row["format"] for row in table],
            batch=[row["batch"] for row in table],
            machine=["altra"] * len(table),
            test=["tg"] * len(table),
            software=["ampere"] * len(table),
        ),
    )


def _join(first: Rows, second: Rows) -> Rows:
    """Both sets of rows; a label that one of them lacks is empty there."""

    def both(a: Any, b: Any) -> Any:
        return type(a)(
            **{n: np.concatenate([getattr(a, n), getattr(b, n)]) for n in type(a).__dataclass_fields__}
        )

    sizes = len(first.measured), len(second.measured)
    labels = {}
    for name in sorted(first.labels.keys() | second.labels.keys()):
        columns = [r.labels.get(name, np.full(n, "")) for r, n in zip((first, second), sizes, strict=True)]
        labels[name] = np.concatenate(columns)
    return Rows(
        work=both(first.work, second.work),
        machine=both(first.machine, second.machine),
        threads=np.concatenate([first.threads, second.threads]),
        tokens=np.concatenate([first.tokens, second.tokens]),
        measured=np.concatenate([first.measured, second.measured]),
        labels=labels,
    )


BARRIER = Parameter(
    "barrier", 100.0, 0.0, 1000.0, "ns", "synchronisation and small work of an operation, a thread"
)
"""Common to both softwares: the fork keeps llama.cpp's threads, and only both together tell it from
reading."""


def _own_parameters(
    kernels: Mapping[str, float], attention: float, overlap: float | None
) -> tuple[Parameter, ...]:
    """The parameters that each software has of its own; ``kernels`` and ``attention`` are starts."""
    hides = Parameter(
        "overlap",
        0.2,
        0.0,
        1.0,
        "ratio",
        "0: reading and arithmetic take turns, 1: the longer hides the shorter",
    )
    if overlap is not None:
        hides = replace(hides, start=overlap, low=overlap - 1e-9, high=overlap + 1e-9)
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
    )


def software_parameters(overlap: float | None = None) -> dict[cpu.Software, tuple[Parameter, ...]]:
    """Each software's own parameters; ``overlap`` fixes that one (1: the textbook maximum)."""
    return {
        "llama.cpp": _own_parameters({"q4_k_m": 2.6}, 0.5, overlap),
        "ampere": _own_parameters({"q4_k_4": 5.0, "q8r16": 8.0}, 2.0, overlap),
    }


def cpu_problem(overlap: float | None = None) -> Problem:
    """The constants of both softwares on Neoverse-N1, fitted together because they share the barrier."""
    own = software_parameters(overlap)
    parameters = (BARRIER, *(p for group in own.values() for p in group))
    first = {"llama.cpp": 1, "ampere": 1 + len(own["llama.cpp"])}

    def predict(x: Floats, rows: Rows) -> Floats:
        fork = rows.labels["software"] == "ampere"
        ours, theirs = (
            {p.name: x[first[name] + i] for i, p in enumerate(own[name])} for name in ("llama.cpp", "ampere")
        )
        fork_rate = np.where(
            rows.labels["format"] == "q8r16", theirs["kernel_rate_q8r16"], theirs["kernel_rate_q4_k_4"]
        )
        c = cpu.Constants(
            read_share=np.where(fork, theirs["read_share"], ours["read_share"]),
            kernel_rate=np.where(fork, fork_rate, ours["kernel_rate_q4_k_m"]),
            attention_rate=np.where(fork, theirs["attention_rate"], ours["attention_rate"]),
            barrier_s=x[0] * 1e-9,
            overlap=np.where(fork, theirs["overlap"], ours["overlap"]),
        )
        # Only the fork's rows have a batch, and its sequences share one cache.
        parts = cpu.step_parts(
            rows.work, rows.machine, rows.threads, c, shared_by=np.where(fork, rows.tokens, 1.0)
        )
        return np.asarray(rows.tokens / sum(parts.values()))

    return Problem(parameters, _join(llama_bench_rows(), altra_rows()), predict)


# --- GPU ---


def gpu_rows() -> Rows:
    """Every GPU measurement. `machine.read_bandwidth` is the card's memory, `machine.clock` its peak
    MAC/s."""
    works, tokens, measured, bandwidth, peak = [], [], [], [], []
    labels: dict[str, list[str]] = {k: [] for k in ("card", "model", "test", "software", "batch")}

    def add(
        card: str, model: str, fmt: str, test: str, software: str, n: tuple[int, int, int], rate: str
    ) -> None:
        prompt, generated, batch = n
        spec, weights = fitting_model(model), weight_format(fmt)
        if test == "pp":
            works.append(cpu.prompt_work(spec, weights, generated))
        else:
            step = decode_step(spec, weights, batch, _mean_context(generated, prompt))
            works.append(Work.of(spec, step, batch))
        tokens.append(float(generated if test == "pp" else batch))
        measured.append(float(rate))
        sheet = load_card("a100" if card == "a100-80" else card)
        bandwidth.append(sheet.memory_bandwidth.si)
        peak.append(sheet.fp16_flops.si / 2)
        for name, value in zip(labels, (card, model, test, software, str(batch)), strict=True):
            labels[name].append(value)

    for row in _table("llama_bench.csv"):
        if row["ngl"] != "0":
            n = (0, int(row["n"]), 1)
            add(row["system"], row["model"], row["format"], row["test"], "llama.cpp", n, row["tok_s"])
    for row in _table("gpu_batched.csv"):
        test = "f16" if row["software"] == "lmdeploy" else "batched" if row["kind"] == "proxy" else "older"
        n = (int(row["prompt"]), int(row["generated"]), int(row["batch"]))
        add(row["card"], row["model"], row["format"], test, row["software"], n, row["tok_s"])
        bandwidth[-1] = float(row["dram_gb_s"]) * 1e9
        if row["format"] == "f16" and test == "older":
            labels["test"][-1] = "older f16"
    zeros = np.zeros(len(works))
    return Rows(
        work=Work.stack(works),
        machine=cpu.Machine(np.array(peak), np.array(bandwidth), zeros),
        threads=zeros + 1,
        tokens=np.array(tokens),
        measured=np.array(measured),
        labels=_labels(**labels),
    )


def gpu_problem() -> Problem:
    """Shares and overheads of the cards, fitted together: the overheads are common to the cards."""
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
            "small_batch", 0.4, 0.05, 1.0, "ratio", "share of the prompt rate that small batches reach"
        ),
        Parameter(
            "other_formats", 0.8, 0.3, 1.2, "ratio", "read share of other quantized formats, of q4_k's; V100"
        ),
        Parameter("read_share_f16", 0.7, 0.2, 0.95, "ratio", "share of memory bandwidth, LMDeploy on A100"),
        Parameter(
            "layer_overhead_f16", 2e4, 0.0, 5e5, "ns", "launches and small kernels of one layer, LMDeploy"
        ),
        Parameter("row_overhead_f16", 5e4, 0.0, 1e6, "ns", "work of one sequence a step, LMDeploy"),
    )
    index = {p.name: i for i, p in enumerate(parameters)}

    def predict(x: Floats, rows: Rows) -> Floats:
        test, card = rows.labels["test"], rows.labels["card"]
        f16 = (test == "f16") | (test == "older f16")
        whose = np.where(card == "a100-80", "a100", card)
        read = np.array([x[index[f"read_share_{c}"]] for c in whose])
        own = np.array([c if c in cards else "a100" for c in whose])
        compute = np.array([x[index[f"prompt_share_{c}"]] for c in own])
        compute = compute * np.where(test == "pp", 1.0, x[index["small_batch"]])
        read = read * np.where(test == "batched", x[index["other_formats"]], 1.0)
        c = gpu.GpuConstants(
            read_share=np.where(f16, x[index["read_share_f16"]], read),
            compute_share=np.where(f16, COMPUTE_SHARE_F16["value"], compute),
            layer_s=1e-9 * np.where(f16, x[index["layer_overhead_f16"]], x[index["layer_overhead"]]),
            row_s=1e-9 * np.where(f16, x[index["row_overhead_f16"]], 0.0),
            overlap=np.where(f16, 1.0, 0.0),
        )
        parts = gpu.step_parts(rows.work, rows.machine.read_bandwidth, rows.machine.clock, c)
        return np.asarray(rows.tokens / sum(parts.values()))

    return Problem(parameters, gpu_rows(), predict, loss="soft_l1")


def _gpu_fit_rows(rows: Rows) -> NDArray[np.bool_]:
    """Rows that the fit uses.

    Not the figures of older builds, of which only H100's quantized one has no twin, and not prompts of 128
    tokens: batches reach a share of what full 512-token batches reach.
    """
    test = rows.labels["test"]
    older = (test == "older f16") | ((test == "older") & (rows.labels["card"] != "h100"))
    short_prompt = (test == "pp") & (rows.tokens < cpu.UBATCH)
    return np.asarray(~(older | short_prompt))


# --- The file ---


def _digits(value: float) -> float:
    return float(f"{value:.6g}")


def _band(ratios: Floats) -> dict[str, float]:
    """Factors on a prediction that hold nine tenths of the measurements."""
    low, high = np.quantile(1 / ratios, [0.05, 0.95])
    return {"low": _digits(min(low, 1 - MIN_BAND)), "high": _digits(max(high, 1 + MIN_BAND))}


def _other_software(problem: Problem, solution: Solution) -> Floats:
    """Predicted over measured of the fork's four-bit rows at batch 1, predicted as if they were
    llama.cpp's."""
    labels = problem.rows.labels
    rows = problem.rows.where((labels["batch"] == "1") & (labels["format"] == "q4_k_4"))
    as_ours = replace(rows, labels={**rows.labels, "software": np.full(len(rows.measured), "llama.cpp")})
    return np.asarray(problem.predict(solution.values, as_ours) / rows.measured)


def _constants(
    parameters: Sequence[Parameter], solution: Solution, which: Sequence[int], source: str
) -> dict[str, dict[str, Any]]:
    table = {}
    for i in which:
        p = parameters[i]
        value = float(solution.values[i])
        error = float(np.sqrt(max(solution.covariance[i, i], 0.0)))
        at_bound = error == 0.0
        if at_bound:  # the solver stops a hair inside
            value = min((p.low, p.high), key=lambda bound: abs(bound - value))
        entry: dict[str, Any] = {
            "value": _digits(value),
            "unit": p.unit,
            "source": source,
            "kind": "fitted",
            "low": _digits(max(p.low, value - 1.645 * error)),
            "high": _digits(min(p.high, value + 1.645 * error)),
            "note": p.meaning + ("; the data push it to its bound" if at_bound else ""),
            "standard_error": None if at_bound else _digits(error),
        }
        entry["low"], entry["high"] = min(entry["low"], entry["value"]), max(entry["high"], entry["value"])
        table[p.name] = entry
    return table


def _error_row(rows: str, held: str, ratios: Floats) -> dict[str, Any]:
    error = np.abs(ratios - 1)
    worst = int(np.argmax(error))
    return {
        "measurements": rows,
        "held_out": held,
        "count": len(ratios),
        "median_error": _digits(float(np.median(error))),
        "worst_error": _digits(float(error[worst])),
        "bias": _digits(exp(float(np.median(np.log(ratios)))) - 1),
    }


def _covariance(problem: Problem, solution: Solution) -> dict[str, Any]:
    """Order of the parameters of a fit (both softwares have names in common) and their covariance."""
    rows = [[_digits(v) for v in row] for row in solution.covariance.tolist()]
    return {"order": [p.name for p in problem.parameters], "matrix": rows}


def run() -> dict[str, Any]:
    """All fits, their bands and the error table, as `fits.json` holds them."""
    errors: list[dict[str, Any]] = []

    problem = cpu_problem()
    rows = problem.rows
    solution = solve(problem)
    inside = problem.predict(solution.values, rows) / rows.measured
    by_machine = held_out(problem, "machine", rows.labels["software"] == "llama.cpp")
    by_model = held_out(problem, "model", rows.labels["software"] == "llama.cpp")
    textbook = held_out(cpu_problem(overlap=1.0), "machine", rows.labels["software"] == "llama.cpp")
    ours = rows.labels["software"] == "llama.cpp"
    tests = {"decode": ours & (rows.labels["test"] == "tg"), "prompt": ours & (rows.labels["test"] == "pp")}
    for kind, keep in tests.items():
        name = f"N1 {kind}, llama.cpp"
        errors.append(_error_row(name, "nothing", inside[keep]))
        errors.append(_error_row(name, "machine", by_machine[keep]))
        errors.append(_error_row(name, "model", by_model[keep]))
        errors.append(_error_row(name, "machine, with overlap fixed at 1 (maximum)", textbook[keep]))
    bands = {kind: _band(by_machine[keep]) for kind, keep in tests.items()}
    errors.append(_error_row("Altra batched decode, Ampere's fork", "nothing", inside[~ours]))
    by_batch = held_out(problem, "batch", ~ours)
    errors.append(_error_row("Altra batched decode, Ampere's fork", "batch size", by_batch[~ours]))
    errors.append(
        _error_row(
            "Altra decode at batch 1, four bits, Ampere's fork",
            "the machine and its software: constants of llama.cpp on Graviton2",
            _other_software(problem, solution),
        )
    )
    cpu_sets: dict[str, Any] = {}
    first = 1
    sources = {
        "llama.cpp": "fit of llama_bench.csv, Graviton2 rows (SpareCores)",
        "ampere": "fit of a1_batched.csv (Ampere)",
    }
    for software, own in software_parameters().items():
        which = range(first, first + len(own))
        cpu_sets[software] = {
            "constants": _constants(problem.parameters, solution, which, sources[software])
            | _constants(problem.parameters, solution, range(1), "fit of llama_bench.csv and a1_batched.csv"),
            # One machine says nothing of the scatter between machines: the fork's bands are llama.cpp's.
            "bands": bands,
        }
        first += len(own)

    cards = gpu_problem()
    used = _gpu_fit_rows(cards.rows)
    fitted = replace(cards, rows=cards.rows.where(used))
    shares = solve(fitted)
    test = fitted.rows.labels["test"]
    inside = fitted.predict(shares.values, fitted.rows) / fitted.rows.measured
    by_model = held_out(fitted, "model")
    names = {
        "tg": "GPU decode, batch 1, q4_k_m",
        "pp": "GPU prompt, q4_k_m",
        "batched": "V100 batched, q2_k and iq4_xs (proxy)",
        "f16": "A100 batched, f16, LMDeploy",
    }
    for key, name in names.items():
        errors.append(_error_row(name, "nothing", inside[test == key]))
        if key != "batched":
            errors.append(_error_row(name, "model", by_model[test == key]))
    outside = cards.predict(shares.values, cards.rows) / cards.rows.measured
    short = cards.rows.labels["test"] == "pp"
    errors.append(_error_row("GPU prompts of 128 tokens, q4_k_m", "all of them", outside[~used & short]))
    errors.append(_error_row("A100-80 and H100, llama.cpp of 2024", "all of them", outside[~used & ~short]))
    gpu_set = {
        "constants": _constants(
            fitted.parameters,
            shares,
            range(len(fitted.parameters)),
            "fit of llama_bench.csv (GPU rows) and gpu_batched.csv",
        )
        | {"compute_share_f16": dict(COMPUTE_SHARE_F16)},
        "bands": {
            "decode": _band(by_model[test == "tg"]),
            "batched": _band(inside[test == "batched"]),
            "f16": _band(by_model[test == "f16"]),
        },
    }
    return {
        "schema": 1,
        "script": "sailsim.analysis.fit",
        "script_version": SCRIPT_VERSION,
        "loss": f"Cauchy (CPU) and soft L1 (GPU) on log(predicted / measured), scale {LOSS_SCALE}",
        "data": {name: hashlib.sha256(data_file(name).read_bytes()).hexdigest() for name in DATA},
        "fewest_threads": int(rows.threads.min()),
        "cpu": cpu_sets,
        "cpu_covariance": _covariance(problem, solution),
        "gpu": gpu_set,
        "gpu_covariance": _covariance(fitted, shares),
        "errors": errors,
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any], relative: float = 1e-3) -> list[str]:
    """Names of the numbers and texts that differ between two results by more than ``relative``."""
    found: list[str] = []

    def compare(path: str, a: Any, b: Any) -> None:
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            for key in sorted(a.keys() | b.keys()):
                compare(f"{path}.{key}", a.get(key), b.get(key))
        elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            for i, (x, y) in enumerate(zip(a, b, strict=True)):
                compare(f"{path}[{i}]", x, y)
        elif isinstance(a, float | int) and isinstance(b, float | int):
            if not (isfinite(a) and isfinite(b)) or abs(a - b) > relative * max(abs(a), abs(b), 1e-6):
                found.append(path.removeprefix("."))
        elif a != b:
            found.append(path.removeprefix("."))

    compare("", old, new)
    return found


def error_table(errors: Sequence[Mapping[str, Any]]) -> str:
    """The error table as Markdown."""
    lines = [
        "| measurements | held out | count | median error | worst | bias |",
        "|---|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {e['measurements']} | {e['held_out']} | {e['count']} | {e['median_error']:.1%} | "
        f"{e['worst_error']:.1%} | {e['bias']:+.1%} |"
        for e in errors
    ]
    return "\n".join(lines)


def write(path: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """Run the fits and write them to ``path``, or over the file that ships."""
    result = run()
    text = json.dumps(result, indent=1) + "\n"
    if path is None:
        with as_file(data_file("fits.json")) as shipped:
            path = Path(shipped)
    write_whole(path, text.encode())
    return path, result


def main() -> None:
    """Entry point of ``python -m sailsim.analysis.fit``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="where to write (default: the file that ships)")
    parser.add_argument("--docs", type=Path, help="a Markdown page whose error table to replace")
    arguments = parser.parse_args()
    path, result = write(arguments.out)
    table = error_table(result["errors"])
    if arguments.docs is not None:
        page = arguments.docs.read_text("utf-8")
        before, rest = page.split(DOCS_MARKS[0])
        after = rest.split(DOCS_MARKS[1])[1]
        page = f"{before}{DOCS_MARKS[0]}\n{table}\n{DOCS_MARKS[1]}{after}"
        write_whole(arguments.docs, page.encode())
    print(table)
    print(f"\nWritten to {path}")


if __name__ == "__main__":
    main()
