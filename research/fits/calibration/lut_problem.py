"""The fit of T-MAC, which multiplies by look-up tables on the cores: what Neoverse N1's sibling reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from calibration.cpu_problem import SMALL, hides_parameter
from calibration.errors import constants_of, digits, error_row, held_row
from calibration.measurements import MeasuredRows, measured_work, read_table
from calibration.solver import Parameter, Problem, held_out, solve
from sailsim.sim.backends import cores
from sailsim.sim.software.fitted import Floats, StepDemand
from sailsim.sim.step.schedule import CpuSheet

MACHINE = "Raspberry Pi 5 (4x Cortex-A76)"
"""Its core is the Cortex-A76, of which Neoverse N1 is the server's version: two 128-bit vector pipes each."""
CLOCK = 2.4e9
"""Hz, of that machine as it is sold (Raspberry Pi Ltd, announcement of September 2023)."""
PEAK = 4.267e9 * 4
"""Bytes/s of its memory's pins: 32 bits of LPDDR4X at 4267 MT/s (the same)."""
BITS: Mapping[str, int] = {"W2": 2, "W4": 4}
"""Bits of a weight, by the name that the table gives a format."""
TOKENS = 128
"""Tokens that a measurement generates (assumed, 32..256: the table does not say): 1 % of a step at most."""
SCALED = ("Apple M2 Ultra", "Surface Book 3 (i5-1035G7)", "Snapdragon X Elite (Surface Laptop 7)")
"""Machines that say how reading scales with threads; of the Pi's four cores two fill its memory's pins."""
BATCHES = 1.35
"""Rate with a batch, of that with one row: a prompt of 256 tokens, two bits, on four cores of a Snapdragon X
Elite reaches 1.35 times four times what one core decodes with (tmac.csv)."""


def lut_rows(software: str = "T-MAC") -> MeasuredRows:
    """Decoding of Llama-2-7B on that machine by T-MAC, or by the llama.cpp that was measured beside it."""
    rows = [
        row
        for row in read_table("tmac.csv")
        if row["machine"] == MACHINE and row["software"] == software and row["model"] == "Llama-2-7B"
    ]
    works = [_work(row["format"], software) for row in rows]
    ones = np.ones(len(rows))
    return MeasuredRows(
        work=StepDemand.stack(works),
        machine=CpuSheet(clock=CLOCK * ones, read_bandwidth=PEAK * ones, core_bandwidth=PEAK * ones),
        threads=np.array([float(row["threads"]) for row in rows]),
        tokens=ones,
        measured=np.array([float(row["value"]) for row in rows]),
        labels={"format": np.array([row["format"] for row in rows])},
    )


def _work(name: str, software: str) -> StepDemand:
    """Of T-MAC's own layout, a scale for 128 weights; of the format that llama.cpp was measured with."""
    theirs = {"W2": "q2_k", "W4": "q4_0"}
    fmt = f"w{BITS[name]}g128" if software == "T-MAC" else theirs[name]
    return measured_work("llama-2-7b", fmt, "tg", 0, TOKENS)[0]


def lut_problem(ours: Mapping[str, Any], overlap: float | None = None) -> Problem:
    """What one thread does, what that machine's memory gives, and how far the two hide each other, which
    ``overlap`` holds instead; all else as in llama.cpp, which T-MAC's kernels run in.

    ``ours``: llama.cpp's constants as `fits.json` holds them.
    """
    parameters = (
        Parameter(
            "lut_rate", 25.0, 1.0, 400.0, "bit MAC/cycle", "bits of a weight times products, of a thread"
        ),
        Parameter("pi_read_share", 0.6, 0.2, 1.0, "ratio", "of the measured machine's pins"),
        *((hides_parameter(),) if overlap is None else ()),
    )

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        bits = np.array([BITS[name] for name in rows.labels["format"]])
        c = cores.CpuFit(
            read_share=np.asarray(x[1]),
            kernel_rate=x[0] / bits,
            attention_rate=np.asarray(ours["attention_rate"]["value"]),
            barrier_s=ours["barrier"]["value"] * 1e-9,
            overlap=np.asarray(x[2] if overlap is None else overlap),
            product_s=ours["product_overhead"]["value"] * 1e-9,
        )
        parts = cores.step_breakdown(rows.work, rows.machine, rows.threads, c, np.asarray(1.0))
        return np.asarray(rows.tokens / sum(parts.values()))

    return Problem(parameters, lut_rows(), predict, loss="soft_l1")


def read_powers() -> dict[str, list[tuple[float, float]]]:
    """By machine and row, threads over the fewest, and the power of them that decoding grows with."""
    groups: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for row in read_table("tmac.csv"):
        if row["machine"] in SCALED and row["software"].startswith("T-MAC") and row["metric"] == "tg":
            case = row["machine"], row["model"], row["format"]
            groups.setdefault(case, []).append((float(row["threads"]), float(row["value"])))
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in SCALED}
    for (machine, _, _), rows in groups.items():
        (few, slow), *more = sorted(rows)
        for many, fast in more:
            found[machine].append((many / few, float(np.log(fast / slow) / np.log(many / few))))
    return found


def _read_power() -> dict[str, Any]:
    powers = {name: [power for _, power in found] for name, found in read_powers().items()}
    every = [power for found in powers.values() for power in found]
    return {
        "value": digits(float(np.mean([np.mean(found) for found in powers.values()]))),
        "unit": "ratio",
        "source": "tmac.csv, two to eight threads of three chips over one or two",
        "kind": "fitted",
        "low": digits(min(every)),
        "high": digits(max(every)),
        "note": "look-ups of all threads read together as the threads to this power; prompts of 4 and 8 "
        "threads scale by 1.88, so reading is what stops decoding; the range is that of the rows",
        "standard_error": None,
    }


def two_bit_ratio() -> float:
    """llama.cpp's two-bit kernel (Q2_K) over its four-bit one (Q4_0), measured on that machine: the mean of
    one and two threads, where neither waits for memory."""
    rows = lut_rows("llama.cpp")
    two, four = (rows.measured[rows.labels["format"] == name] for name in ("W2", "W4"))
    return float(np.exp(np.mean(np.log(two / four))))


def run_lut(ours: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """T-MAC's constants, and its rows of the error table."""
    problem = lut_problem(ours)
    solution = solve(problem)
    source = "fit of tmac.csv, Llama-2-7B on a Raspberry Pi 5 (Cortex-A76)"
    own = constants_of(problem, solution, source, [0, 2])
    rate = own["lut_rate"]
    # How much of the reading is hidden is not known: the more, the slower were the tables.
    slowest, fastest = (float(solve(lut_problem(ours, end)).values[0]) for end in (1.0, 0.0))
    value = float(rate["value"])
    rate |= {
        "low": digits(min(slowest, value)),
        "high": digits(BATCHES * max(fastest, value)),
        "note": f"look-ups cost as many steps as a weight has bits; {slowest:.0f} if the longer of reading "
        f"and tables hid the shorter, {fastest:.0f} if nothing were hidden; high: {BATCHES} times that, a "
        "batch (Snapdragon X Elite)",
    }
    same = ("read_share", "attention_rate", "barrier", "product_overhead", *SMALL)
    kept = {name: ours[name] | {"note": f"as in llama.cpp: {ours[name]['note']}"} for name in same}
    name = "Cortex-A76 decode, one and two threads, T-MAC"
    inside = problem.predict(solution.values, problem.rows) / problem.rows.measured
    errors = [
        error_row(name, "nothing", inside),
        held_row(name, "width", held_out(problem, "format")),
    ]
    return own | kept | {"read_power": _read_power()}, errors
