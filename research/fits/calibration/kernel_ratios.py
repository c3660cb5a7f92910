"""Kernel rates by format: the measured four-bit rate times a ratio of two kernels, of ours in gem5 or of
llama.cpp's on a sibling core."""

from __future__ import annotations

from math import exp
from typing import Any

from calibration.errors import digits
from calibration.lut_problem import two_bit_ratio
from calibration.measurements import read_table
from sailsim.sim.software.kernel_rates import CORE_MODEL_ERROR

GEM5_ANCHOR = "q4_1"
"""Of the kernels that ran in gem5 the one most like the measured q4_k_m: four bits, a scale and a minimum."""


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

    ``anchor`` in MAC/cycle. The interval joins the ratios at all batch sizes, the doubt of the core model and
    what else is known of the format (`kernel_rates.csv`, relative to the anchor).
    """
    ratios, rates = gem5_ratios(), {}
    for row in read_table("kernel_rates.csv"):
        if not row["gem5"]:
            continue
        seen = ratios[row["gem5"]]
        low = min(*seen, float(row["low"]) * exp(CORE_MODEL_ERROR)) * exp(-CORE_MODEL_ERROR)
        high = max(*seen, float(row["high"]) * exp(-CORE_MODEL_ERROR)) * exp(CORE_MODEL_ERROR)
        how = f"kernel_rate_q4_k_m (measured) x {row['gem5']} / {GEM5_ANCHOR} of gem5_kernels.csv"
        rates[f"kernel_rate_{row['format']}"] = _rate(anchor, seen[0], low, high, how, row["note"])
    return rates


def measured_rates(anchor: float, rates: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Kernel rates of llama.cpp by format: another one's among ``rates`` times a ratio that was measured on
    Neoverse N1's sibling core (`lut_problem.two_bit_ratio`)."""
    found = {}
    for row in read_table("kernel_rates.csv"):
        if not row["over"]:
            continue
        ratio = two_bit_ratio() * rates[f"kernel_rate_{row['over']}"]["value"] / anchor
        how = f"kernel_rate_{row['over']} x q2_k / q4_0 of llama.cpp on a Cortex-A76 (tmac.csv)"
        low, high = min(float(row["low"]), ratio), max(float(row["high"]), ratio)
        found[f"kernel_rate_{row['format']}"] = _rate(anchor, ratio, low, high, how, row["note"])
    return found


def _rate(anchor: float, ratio: float, low: float, high: float, how: str, note: str) -> dict[str, Any]:
    return {
        "value": digits(anchor * ratio),
        "unit": "MAC/cycle",
        "source": how,
        "kind": "fitted",
        "low": digits(anchor * low),
        "high": digits(anchor * high),
        "note": note,
        "standard_error": None,
    }
