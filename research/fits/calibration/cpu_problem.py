"""The CPU baseline's fit: its constants, and the steps that rows give by them."""

from __future__ import annotations

from typing import Any

import numpy as np

from calibration.core_rows import altra_rows
from calibration.errors import digits
from calibration.measurements import (
    MeasuredRows,
    join,
    llama_bench_rows,
)
from calibration.solver import (
    Parameter,
    Problem,
)
from sailsim.sim.backends import cores
from sailsim.sim.software.fitted import Floats

BARRIER = Parameter(
    "barrier", 100.0, 0.0, 1000.0, "ns", "synchronisation and small work of an operation, a thread"
)
"""Common to both stacks: the fork keeps llama.cpp's threads, and only both together tell it from what
a product loses."""


HAND_OVER = 0.27
"""Of what a product loses, the part that the smallest lose too: that of `host.hand_over_share` of Graviton2's
file, from the fastest runs of a 135M model on 64 cores of Altra."""
SMALL = ("hand_over", "whole_product")
"""Constants of products smaller than those of the fit."""


def whole_product() -> float:
    """Weights of a mean product of the smallest model of the fits."""
    rows = llama_bench_rows()
    work = rows.where(rows.labels["test"] == "tg").work
    return float((work.gemv_macs / work.rows / work.products).min())


def small_products() -> dict[str, dict[str, Any]]:
    """What `fits.json` says of products smaller than those of the fits."""

    def said(value: float, unit: str, source: str, note: str) -> dict[str, Any]:
        known = {"value": digits(value), "unit": unit, "source": source, "kind": "derived"}
        return known | {"low": None, "high": None, "note": note, "standard_error": None}

    return {
        "hand_over": said(
            HAND_OVER, "ratio", "graviton2.toml, host.hand_over_share", "of product_overhead, of any product"
        ),
        "whole_product": said(
            whole_product(), "weights", "llama_bench.csv, the mean product of Gemma 2B",
            "smaller ones lose in proportion what is no hand-over: one process of Llama-3.2-1B on "
            "Graviton4 puts the kink here (g4_batched.csv)",
        ),
    }  # fmt: skip


TOGETHER: tuple[str, ...] = ("llama.cpp", "ampere")
"""The stacks that are fitted together."""


def hides_parameter() -> Parameter:
    """How far reading and arithmetic hide each other, which each software does in its own way."""
    meaning = "0: reading and arithmetic take turns, 1: the longer hides the shorter"
    return Parameter("overlap", 0.2, 0.0, 1.0, "ratio", meaning)


def software_parameters(software: str) -> tuple[Parameter, ...]:
    """The parameters that a software has of its own."""
    kernels, attention = {
        "llama.cpp": ({"q4_k_m": 2.6}, 0.5),
        "ampere": ({"q4_k_4": 5.0, "q8r16": 8.0}, 2.0),
    }[software]
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
        hides_parameter(),
        # The fork's rows have one thread count: there the barrier holds this too.
        *((loss,) if software == "llama.cpp" else ()),
    )


def cpu_problem() -> Problem:
    """The constants of both software stacks on Neoverse-N1, fitted together: they share the barrier."""
    parameters = (BARRIER, *(p for software in TOGETHER for p in software_parameters(software)))

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        # Only the fork's rows have a batch, and its sequences share one cache.
        shared_by = np.where(rows.labels["software"] == "ampere", rows.tokens, 1.0)
        parts = cores.step_breakdown(rows.work, rows.machine, rows.threads, constants_by(x, rows), shared_by)
        return np.asarray(rows.tokens / sum(parts.values()))

    return Problem(parameters, join(llama_bench_rows(), altra_rows()), predict)


def constants_by(x: Floats, rows: MeasuredRows) -> cores.CpuFit:
    """What the values of `cpu_problem` say of each row's software."""
    count, fork = 1 + len(software_parameters("llama.cpp")), rows.labels["software"] == "ampere"
    ours, theirs = (
        {p.name: float(v) for p, v in zip(software_parameters(software), values, strict=True)}
        for software, values in zip(TOGETHER, (x[1:count], x[count:]), strict=True)
    )

    def of_software(name: str) -> Floats:
        return np.asarray(np.where(fork, theirs[name], ours[name]))

    fork_rate = np.where(
        rows.labels["format"] == "q8r16", theirs["kernel_rate_q8r16"], theirs["kernel_rate_q4_k_4"]
    )
    return cores.CpuFit(
        read_share=of_software("read_share"),
        kernel_rate=np.asarray(np.where(fork, fork_rate, ours["kernel_rate_q4_k_m"])),
        attention_rate=of_software("attention_rate"),
        barrier_s=float(x[0]) * 1e-9,
        overlap=of_software("overlap"),
        product_s=np.asarray(np.where(fork, 0.0, ours["product_overhead"] * 1e-9)),
    )


def textbook_problem() -> Problem:
    """llama.cpp's constants alone, on its own rows, if the longer of reading and arithmetic hid the other."""
    both = cpu_problem()
    count = 1 + len(software_parameters("llama.cpp"))
    fork = np.array([p.start for p in both.parameters[count:]])
    names = [p.name for p in both.parameters[:count]]
    overlap = names.index("overlap")

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        return both.predict(np.concatenate([np.insert(x, overlap, 1.0), fork]), rows)

    kept = tuple(p for p in both.parameters[:count] if p.name != "overlap")
    return Problem(kept, both.rows.where(both.rows.labels["software"] == "llama.cpp"), predict)
