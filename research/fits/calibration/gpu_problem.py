"""The GPUs' fits: llama.cpp on all of them together, a serving stack on A100."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.measurements import (
    MeasuredRows,
    gpu_rows,
    measured_work,
    read_table,
    rows_on_gpus,
    sheets_of,
)
from calibration.solver import (
    Parameter,
    Problem,
)
from sailsim.sim.backends import cores, roofline
from sailsim.sim.software.fitted import Floats

LLAMA_TABLE = "llama_f16.csv"
GPUS = ("v100", "t4", "a10g", "l4", "a100", "l40s", "h100")
"""GPUs with measurements of the build that the fit is of."""
OWN_LAUNCHES = ("l40s", "h100")
"""Those whose servers launch a layer faster than the others', which have one overhead. Intervals are of the
others, and hold for these."""
BATCHED_GPU = "v100"
"""The one whose batches were measured with it."""
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


def gpu_problem() -> Problem:
    """llama.cpp on the GPUs: shares and rates of each, fitted together for the overheads in common.

    Under a Cauchy loss too: 2B on V100 reaches a third of the bandwidth where it and 7B reach half to two
    thirds on every other GPU, and V100 is not to be judged by it.
    """
    gpus = GPUS
    parameters = (
        *(
            Parameter(f"read_share_{c}", 0.65, 0.2, 0.92, "ratio", f"share of {c}'s memory bandwidth, q4_k_m")
            for c in gpus
        ),
        *(
            Parameter(
                f"prompt_share_{c}", 0.3, 0.02, 1.0, "ratio", f"share of {c}'s fp16 peak in prompt processing"
            )
            for c in gpus
        ),
        Parameter(
            "layer_overhead", 5e4, 0.0, 5e5, "ns", "launches and small kernels of one layer, llama.cpp"
        ),
        *(
            Parameter(
                f"layer_overhead_{c}", 5e4, 0.0, 5e5, "ns", f"launches and small kernels of one layer on {c}"
            )
            for c in OWN_LAUNCHES
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

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        test, gpu = rows.labels["test"], rows.labels["gpu"].tolist()

        def of_gpu(kind: str) -> Floats:
            own = [f"{kind}_{c.removesuffix('-80')}" for c in gpu]
            return np.array([x[index[name if name in index else kind]] for name in own])

        c = roofline.GpuFit(
            read_share=of_gpu("read_share") * np.where(test == "batched", x[index["other_formats"]], 1.0),
            compute_share=of_gpu("prompt_share"),
            vector_share=np.asarray(x[index["vector_share"]]),
            batch_rate=np.where(test == "pp", np.inf, x[index["batch_rate_v100"]]),
            tile_rows=np.asarray(np.inf),
            layer_s=1e-9 * of_gpu("layer_overhead"),
            row_s=np.asarray(0.0),
            overlap=np.asarray(0.0),
        )
        parts = roofline.step_breakdown(rows.work, sheets_of(rows), c)
        return np.asarray(rows.tokens / sum(parts.values()))

    rows = gpu_rows()
    return Problem(parameters, rows.where(~serving_rows(rows)), predict)


def sixteen_bit_problem(ours: Mapping[str, Any]) -> Problem:
    """llama.cpp in 16 bits, one sequence: it reads at a share of the bandwidth, or as fast as the
    multiprocessors ask. Products take less than a hundredth, and are not in it.

    ``ours``: the GPUs' constants as `fits.json` holds them.
    """
    parameters = (
        Parameter(
            "read_share_f16_llama", 0.9, 0.3, 1.0, "ratio", "share of memory bandwidth, 16 bits, llama.cpp"
        ),
        Parameter("sm_bytes", 6.0, 1.0, 50.0, "B/cycle", "the same: what a multiprocessor reads at most"),
    )

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        sheet, chips = sheets_of(rows), rows.labels["chip"].tolist()
        layer = [ours.get(f"layer_overhead_{chip}", ours["layer_overhead"])["value"] for chip in chips]
        c = roofline.GpuFit(
            read_share=np.minimum(x[0], x[1] * sheet.sm_clock / sheet.bandwidth),
            compute_share=roofline.INFINITE,
            layer_s=1e-9 * np.array(layer),
            overlap=np.asarray(0.0),
        )
        parts = roofline.step_breakdown(rows.work, sheet, c)
        return np.asarray(rows.tokens / sum(parts.values()))

    table = read_table(LLAMA_TABLE)
    work, _ = measured_work("llama-3-8b", "f16", "tg", 1, 1024)
    sheets = [
        roofline.GpuSheet(
            bandwidth=np.asarray(float(row["dram_gb_s"]) * 1e9),
            peak_macs=roofline.INFINITE,
            vector_macs=roofline.INFINITE,
            sm_clock=np.asarray(float(row["sms"]) * float(row["clock_ghz"]) * 1e9),
        )
        for row in table
    ]
    labels = {name: np.array([row[name] for row in table]) for name in ("gpu", "chip")}
    rates = np.array([float(row["tok_s"]) for row in table])
    rows = rows_on_gpus([work] * len(table), sheets, np.ones(len(table)), rates, labels)
    return Problem(parameters, rows, predict, loss="soft_l1")


def serving_rows(rows: MeasuredRows) -> NDArray[np.bool_]:
    """Which GPU rows the constants of the serving software predict."""
    return np.isin(rows.labels["test"], ("f16", "w4"))


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

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        w4 = rows.labels["test"] == "w4"

        def of_width(kind: str) -> Floats:
            return np.asarray(np.where(w4, x[index[f"{kind}_w4"]], x[index[f"{kind}_f16"]]))

        c = roofline.GpuFit(
            read_share=of_width("read_share"),
            compute_share=np.where(w4, x[index["compute_share_w4"]], COMPUTE_SHARE_F16["value"]),
            vector_share=np.asarray(np.inf),
            batch_rate=np.asarray(np.inf),
            tile_rows=np.asarray(np.inf),
            layer_s=1e-9 * of_width("layer_overhead"),
            row_s=1e-9 * of_width("row_overhead"),
            overlap=np.asarray(1.0),
        )
        parts = roofline.step_breakdown(rows.work, sheets_of(rows), c)
        return np.asarray(rows.tokens / sum(parts.values()))

    rows = gpu_rows()
    rows = rows.where(serving_rows(rows))
    return Problem(parameters, rows, predict, loss="soft_l1")


def own_launches(rows: MeasuredRows) -> NDArray[np.bool_]:
    """Which GPU rows are of GPUs with launches of their own."""
    return np.isin(rows.labels["gpu"], OWN_LAUNCHES)


def gpu_fit_rows(rows: MeasuredRows) -> NDArray[np.bool_]:
    """Rows of llama.cpp that the fit uses.

    Not the figures of older builds, and not prompts of 128 tokens, which are neither a batch nor full tiles.
    """
    test = rows.labels["test"]
    short_prompt = (test == "pp") & (rows.tokens < cores.UBATCH)
    return np.asarray(~((test == "older") | short_prompt))
