"""How far the fitted constants are off on measurements that no fit saw.

The measurements lie outside the repository (`held_out` makes the file); what is computed from them, error
tables and the like, is stored in `sim/fits/held_out_errors.json` with the file's digest, the day and the
constants that were looked at, and shown by the report and `docs/baselines.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import as_file
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.calibrate import Outcome
from calibration.errors import differences, digits, error_row, noise_row
from calibration.gpu_problem import BATCHED_GPU, GPUS, OWN_LAUNCHES
from calibration.held_out import COLUMNS
from calibration.measurements import (
    SMALL_PROMPT,
    Compared,
    MeasuredRows,
    held_out_cpu_rows,
    held_out_gpu_rows,
)
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import MAX_TEXT_BYTES, read_text, sha256_of
from sailsim.sim.backends import roofline
from sailsim.sim.software.fitted import StepDemand, fits_file, prediction_kinds, read_csv

OTHER_ROWS = (
    "gem5", "tmac.csv", "prompts.csv", "vllm.csv", "vllm_arm.csv", "LMDeploy", "in 16 bits", "graviton2.toml",
    "mean product",
)  # fmt: skip
"""In the sources of constants that predict none of the held-out rows."""
FEWEST_THREADS = 8
"""Threads of the smallest machine of the fit; fewer are an extrapolation and have a line of their own."""
ATTENTION_PAIRS = ((128, 512), (512, 1024))
"""Lengths whose runs are compared; 16 tokens are too short to tell attention from noise."""
SCALED_THREADS = (16, 64)
"""Threads between which a chip's scaling is compared."""
SMALLEST = 2 * 10**9
"""Parameters of the smallest model of a held-out row."""
OWN_GPUS = " of the fit"
"""End of the names of the fit's own GPUs, whose prompts of 16 tokens are no part of it."""


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a held-out file; raises SailsimError where a column is missing or there is no row."""
    rows = read_csv(read_text(path, "file", MAX_TEXT_BYTES))
    missing = [name for name in COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise SailsimError(f"{path} has no {missing[0]}, allowed is a file that calibration.held_out wrote")
    return rows


def constants_looked_at(table: Mapping[str, Any]) -> dict[str, float]:
    """The constants of a fit that predict the held-out rows, by dotted name.

    No such row has a format whose rate is a ratio of two kernels, none is of T-MAC, of
    this project's kernels or of 16 bits on a GPU, and none a prompt of the kinds that `prompt_problem` fits.
    """
    sets = {"cpu.llama.cpp": table["cpu"]["llama.cpp"], "gpu": table["gpu"]}
    return {
        f"{prefix}.{name}": float(c["value"])
        for prefix, chosen in sets.items()
        for name, c in chosen["constants"].items()
        if not any(origin in c["source"] for origin in OTHER_ROWS)
    }


def check(path: Path, outcome: Outcome) -> dict[str, Any]:
    """Errors, coverage, scatter and attention rates on the rows of ``path`` by the constants of ``outcome``.

    Raises SailsimError where the file is none of `held_out`'s or lacks a group of rows.
    """
    table = read_rows(path)
    servers, gpus = held_out_cpu_rows(table), held_out_gpu_rows(table)
    on_servers = Compared(servers, outcome.predict_cpu(servers))
    on_gpus = Compared(gpus, outcome.predict_gpu(gpus))
    groups = [(on_servers, group) for group in server_groups(servers)]
    groups += [(on_gpus, group) for group in gpu_groups(gpus)]
    empty = [name for _, (name, _, keep) in groups if not keep.any()]
    if empty:
        raise SailsimError(f"{path} has no row for {empty[0]!r}, allowed is a file with all of them")
    intervals = outcome.table["cpu"]["llama.cpp"]["intervals"]
    return {
        "schema": 1,
        "script": "calibration.held_out_check",
        "made": datetime.now(UTC).date().isoformat(),
        "sha256": sha256_of(path, "file"),
        "rows": len(table),
        "sources": sorted({row["source"] for row in table}),
        "constants": constants_looked_at(outcome.table),
        "errors": [error_row(name, held, found.ratio[keep]) for found, (name, held, keep) in groups],
        "coverage": _coverage(on_servers, intervals)
        + _gpu_coverage(on_gpus, outcome.table["gpu"]["intervals"]),
        "noise": noise_floor(servers),
        "attention": [seen.summary() for seen in attention_seen(servers)],
        "scaling": thread_scaling(on_servers),
    }


def moved_since(results: Mapping[str, Any], table: Mapping[str, Any]) -> list[str]:
    """Constants of a fit that differ from those that stored results looked at."""
    return differences(results["constants"], constants_looked_at(table))


def origin(results: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    """One sentence on where stored results come from, and whether constants moved since."""
    moved = moved_since(results, table)
    return (
        f"Held-out results of {results['made']}: {results['rows']} rows, {', '.join(results['sources'])}, "
        f"file sha256 {results['sha256'][:12]}, "
        + (f"looked at before {moved[0]} moved." if moved else "with these constants.")
    )


def write(results: Mapping[str, Any], path: Path | None = None) -> Path:
    """Write results to ``path``, or over the file that ships."""
    if path is None:
        with as_file(fits_file("held_out_errors.json")) as shipped:
            path = Path(shipped)
    write_whole(path, (json.dumps(results, indent=1) + "\n").encode())
    return path


def server_groups(rows: MeasuredRows) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """The lines of the error table that no fit saw: name, what is new, and which rows.

    Instances of fewer threads than the fit saw, bare metal and disturbed runs have lines of their own.
    """
    labels = rows.labels
    quiet = labels["disturbed"] == "0"
    metal = np.char.endswith(labels["machine"], "bare metal")
    few = rows.threads < FEWEST_THREADS
    altra = labels["system"] == "altra"
    small = np.isin(labels["model"], ("gemma-2b", "llama-7b"))
    large, largest = labels["model"] == "phi-4", labels["model"] == "llama-3.3-70b"
    decode = labels["test"] == "tg"
    prompt = (labels["test"] == "pp") & (rows.tokens > SMALL_PROMPT)
    batch = (labels["test"] == "pp") & (rows.tokens <= SMALL_PROMPT)
    usual = quiet & ~metal & ~few
    groups = []
    for kind, test in (("decode", decode), ("prompt", prompt)):
        groups += [
            (f"Altra {kind}, 2B and 7B", "the chip", usual & altra & small & test),
            (f"14B {kind}, both chips", "model, most of them chip", usual & large & test),
            (f"14B {kind}, Altra", "chip and model", usual & large & altra & test),
            (f"70B {kind}, both chips", "model, most of them chip", usual & largest & test),
            (f"70B {kind}, Altra", "chip and model", usual & largest & altra & test),
            (f"other Graviton2 instances, {kind}, 2B and 7B", "the instances", usual & ~altra & small & test),
        ]
    groups += [
        ("decode, all N1 servers without bare metal, all models", "all of them", usual & decode),
        ("16 rows at once (a batch's products), all N1 servers and models", "all of them", usual & batch),
        ("Graviton2 bare metal, decode, all models", "all of them", quiet & metal & decode),
        ("4 vCPUs, decode, all N1 servers and models", "all of them", quiet & few & decode),
        ("decode while files were downloaded, all N1 servers", "all of them", ~quiet & decode),
    ]
    return [(f"N1 held out: {name}", held, keep) for name, held, keep in groups if keep.any()]


def _coverage(found: Compared, intervals: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Share of the held-out N1 rows inside the interval of their kinds, which says nine tenths."""
    labels, prompt = found.rows.labels, found.rows.labels["test"] == "pp"
    usual = (labels["disturbed"] == "0") & (found.rows.threads >= FEWEST_THREADS)
    usual &= labels["software"] == "llama.cpp"
    within = _within(found, prompt, intervals)
    few = prompt & (found.rows.tokens <= SMALL_PROMPT)
    sets = {"decode": ~prompt, "prompt": prompt & ~few, "16 rows at once": few}
    lines = []
    for name, test in sets.items():
        for title, keep in (
            ("all N1 servers", usual & test),
            ("Altra", usual & test & (labels["system"] == "altra")),
            ("14B and 70B", usual & test & np.isin(labels["model"], ("phi-4", "llama-3.3-70b"))),
        ):
            lines.append(_coverage_row(f"N1 held out: {name}, {title}", within[keep]))
    return lines


def _within(
    found: Compared, prompt: NDArray[np.bool_], intervals: Mapping[str, Mapping[str, float]]
) -> NDArray[np.bool_]:
    """Whether each row lies in the interval that a prediction of its kinds has; no model is a small one."""
    work, names = found.rows.work, StepDemand.__dataclass_fields__
    inside = []
    for at, factor in enumerate(1 / found.ratio):
        own = StepDemand(**{name: getattr(work, name)[at] for name in names})
        threads = int(found.rows.threads[at])
        kinds = prediction_kinds(own, bool(prompt[at]), SMALLEST, threads, 1)
        ends = [intervals[kind] for kind in kinds]
        inside.append(min(end["low"] for end in ends) <= factor <= max(end["high"] for end in ends))
    return np.array(inside)


def _coverage_row(name: str, within: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "measurements": name,
        "nominal": 0.9,
        "count": len(within),
        "inside": digits(float(np.mean(within))),
    }


def gpu_groups(rows: MeasuredRows) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """The lines of the GPU's error table: name, what is new, and which rows."""
    labels = rows.labels
    own = np.char.endswith(labels["machine"], OWN_GPUS)
    known = np.isin(labels["gpu"], sorted({*GPUS} - {*OWN_LAUNCHES}))
    v100 = labels["gpu"] == BATCHED_GPU
    groups = []
    for title, kind in (
        ("decode", "tg"),
        ("16 rows at once (a batch's products)", "batched q4_k_m"),
        ("prompt", "pp"),
    ):
        test = labels["test"] == kind
        if kind == "batched q4_k_m":
            groups += [
                (f"{title}, q4_k_m, the fit's V100", "batches in this format", own & v100 & test),
                (
                    f"{title}, q4_k_m, the fit's other GPUs",
                    "batches of the GPUs",
                    known & own & ~v100 & test,
                ),
                (f"{title}, q4_k_m, V100, other machines", "batches in this format", v100 & ~own & test),
                (
                    f"{title}, q4_k_m, T4, A10G, L4, A100, other machines",
                    "batches of the GPUs",
                    known & ~v100 & ~own & test,
                ),
            ]
        else:
            groups.append((f"{title}, q4_k_m, GPUs in the fit", "models and instances", known & test))
        batched = "batches of the GPU" if kind == "batched q4_k_m" else ""
        groups += [
            (
                f"{title}, q4_k_m, L40S",
                batched or "other machines, and 70B",
                (labels["gpu"] == "l40s") & test,
            ),
            (f"{title}, q4_k_m, H100-PCIe", batched or "70B", (labels["gpu"] == "h100") & test),
        ]
    return [(f"GPU held out: {name}", held, keep) for name, held, keep in groups]


def _gpu_coverage(found: Compared, intervals: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Share of the held-out rows of known GPUs inside the interval that says nine tenths."""
    labels, factor = found.rows.labels, 1 / found.ratio
    known = np.isin(labels["gpu"], sorted({*GPUS} - {*OWN_LAUNCHES}))
    v100 = labels["gpu"] == BATCHED_GPU
    batched = labels["test"] == "batched q4_k_m"
    interval, wide = intervals["batched"], roofline.BATCH_UNCERTAINTY
    wider = {"low": digits(interval["low"] / wide), "high": digits(interval["high"] * wide)}
    lines = []
    for title, limits, keep in (
        ("decode, GPUs in the fit", intervals["decode"], known & (labels["test"] == "tg")),
        ("16 rows at once (a batch's products), V100", wider, v100 & batched),
        ("16 rows at once, T4, A10G, L4, A100", wider, known & ~v100 & batched),
    ):
        within = (factor >= limits["low"]) & (factor <= limits["high"])
        lines.append(_coverage_row(f"GPU held out: {title}", within[keep]))
    return lines


def thread_scaling(found: Compared) -> list[dict[str, Any]]:
    """How much faster `SCALED_THREADS` decode 128 tokens on each cloud's chip, measured and predicted."""
    labels = found.rows.labels
    few, many = SCALED_THREADS
    usual = (labels["disturbed"] == "0") & (labels["software"] == "llama.cpp") & (labels["test"] == "tg")
    usual &= (labels["n"] == "128") & ~np.char.endswith(labels["machine"], "bare metal")
    lines = []
    for machine, model in sorted(set(zip(labels["machine"][usual], labels["model"][usual], strict=True))):
        own = usual & (labels["machine"] == machine) & (labels["model"] == model)
        ends = [np.flatnonzero(own & (found.rows.threads == threads)) for threads in (few, many)]
        if all(len(end) == 1 for end in ends):
            first, last = (int(end[0]) for end in ends)
            measured = float(found.rows.measured[last] / found.rows.measured[first])
            predicted = float(found.predicted[last] / found.predicted[first])
            lines.append(
                {
                    "machine": str(machine),
                    "model": str(model),
                    "measured": digits(measured),
                    "predicted": digits(predicted),
                }
            )
    return lines


def noise_floor(rows: MeasuredRows) -> list[dict[str, Any]]:
    """Scatter of equal runs: the same chip, vCPUs, model and test on several instances.

    ``median_spread`` and ``worst_spread`` are highest over lowest, minus 1. Nothing that is fed a machine's
    name can be better than that.
    """
    lines = []
    spread = rows.labels["highest"].astype(float) / rows.labels["lowest"].astype(float) - 1
    several = rows.labels["instances"].astype(int) > 1
    for test, keep in (("decode", rows.labels["test"] == "tg"), ("prompt", rows.labels["test"] == "pp")):
        for title, state in (("undisturbed", "0"), ("during downloads", "1")):
            chosen = keep & several & (rows.labels["disturbed"] == state)
            if chosen.any():
                lines.append(noise_row(f"N1 {test}, {title}", spread[chosen]))
    return lines


@dataclass(frozen=True)
class AttentionSeen:
    """Attention rates (MAC/cycle of a thread) that pairs of held-out runs of two lengths give, one a pair."""

    model: str
    test: str
    shorter: int
    longer: int
    chip: str
    rates: tuple[float, ...]

    def summary(self) -> dict[str, Any]:
        """Without the single rates: median, lowest and highest, and how many."""
        return {
            "model": self.model,
            "test": self.test,
            "shorter": self.shorter,
            "longer": self.longer,
            "chip": self.chip,
            "pairs": len(self.rates),
            "median": digits(float(np.median(self.rates))),
            "lowest": digits(min(self.rates)),
            "highest": digits(max(self.rates)),
        }


def attention_seen(rows: MeasuredRows) -> list[AttentionSeen]:
    """What runs that differ in their length alone say of attention, whatever the fit says.

    The difference of two times a token, on the same chip and threads, is the difference of their attention
    (and of the little that reading the cache takes). Pairs that come out backwards are noise and left out.
    """
    labels, seconds = rows.labels, rows.tokens / rows.measured
    cells: dict[tuple[str, ...], int] = {}
    keys = ("machine", "threads", "model", "test", "disturbed", "n")
    for i in range(len(rows.measured)):
        if labels["disturbed"][i] == "0" and labels["software"][i] == "llama.cpp":
            cells[tuple(str(labels[key][i]) for key in keys)] = i
    found: dict[tuple[str, str, int, int, str], list[float]] = {}
    for first, second in ATTENTION_PAIRS:
        for key, i in cells.items():
            j = cells.get((*key[:-1], str(second)))
            if key[-1] != str(first) or j is None:
                continue
            slower = seconds[j] / rows.tokens[j] - seconds[i] / rows.tokens[i]
            macs = rows.work.attention_macs[j] / rows.tokens[j] - rows.work.attention_macs[i] / rows.tokens[i]
            width = min(float(rows.threads[i]), float(rows.work.attention_width[i]))
            chip = str(labels["machine"][i])
            if slower > 0:
                where = (str(labels["model"][i]), str(labels["test"][i]), first, second, chip)
                rate = float(macs / (slower * rows.machine.clock[i] * width))
                found.setdefault(where, []).append(rate)
    return [AttentionSeen(*where, tuple(rates)) for where, rates in sorted(found.items())]
