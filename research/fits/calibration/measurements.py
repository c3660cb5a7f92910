"""The measurements as arrays: what each asked of its machine, what it reached, and where it comes from.

`llama_bench_rows` and `gpu_rows` are what `calibrate` fits on, all of them files of this
package. `held_out_cpu_rows` and `held_out_gpu_rows` are never fitted on and come from a file outside the
repository (`calibration.held_out`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.analysis.costs.constants import data_file
from sailsim.sim.backends import cores, roofline
from sailsim.sim.machine.system_files import load_gpu, load_system
from sailsim.sim.software.fitted import Floats, StepDemand, fits_file, prompt_demand, read_csv
from sailsim.sim.step.schedule import CpuSheet
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import WeightFormat, uniform_format, weight_format
from sailsim.workloads.models.graph import decode_step
from sailsim.workloads.models.model import ModelSpec

FILE_BYTES: Mapping[str, int] = {"gemma-2b": 1_489_055_744, "smollm2-135m": 103_668_480}
"""Bytes of a measured file where its maker quantized otherwise than `workloads.formats` does: the first keeps
the shared embedding in four bits, rows of the second are no multiple of 256 weights (model_size in the
published results). All other files agree to 0.1 %."""

HELD_OUT_LABELS = (
    "machine",
    "system",
    "software",
    "model",
    "format",
    "test",
    "n",
    "batch",
    "threads",
    "disturbed",
    "instances",
    "lowest",
    "highest",
)
FORK_BYTES = {"q4_k_4": "q4_k_m", "q8r16": "q8_0"}
"""Formats whose bytes those of Ampere's fork have (its model page calls the sizes similar)."""
SMALL_PROMPT = 16
"""Tokens of the prompts that stand in for a batch: as many rows go through every matrix product."""


@dataclass(frozen=True)
class MeasuredRows:
    """Measurements of one kind: their work, machine, measured rate and the labels that folds go by."""

    work: StepDemand
    machine: CpuSheet
    threads: Floats
    tokens: Floats
    measured: Floats
    labels: Mapping[str, NDArray[np.str_]]

    def where(self, keep: NDArray[np.bool_]) -> MeasuredRows:
        """The rows that ``keep`` selects."""

        def cut(values: Floats) -> Floats:
            return np.broadcast_to(values, keep.shape)[keep]

        return MeasuredRows(
            work=StepDemand(
                **{name: cut(getattr(self.work, name)) for name in StepDemand.__dataclass_fields__}
            ),
            machine=CpuSheet(
                **{name: cut(getattr(self.machine, name)) for name in CpuSheet.__dataclass_fields__}
            ),
            threads=cut(self.threads),
            tokens=cut(self.tokens),
            measured=cut(self.measured),
            labels={name: values[keep] for name, values in self.labels.items()},
        )


@dataclass(frozen=True)
class Compared:
    """Rows with what was predicted for them, for the tables and the figures."""

    rows: MeasuredRows
    predicted: Floats

    @property
    def ratio(self) -> Floats:
        """Predicted over measured."""
        return np.asarray(self.predicted / self.rows.measured)

    def where(self, keep: NDArray[np.bool_]) -> Compared:
        """The rows that ``keep`` selects."""
        return Compared(self.rows.where(keep), self.predicted[keep])


def input_file(name: str) -> Traversable:
    """A table of measurements, or of what ships beside the constants."""
    beside = fits_file(name)
    return beside if beside.is_file() else data_file(name)


@cache
def fitting_model(name: str) -> ModelSpec:
    """A model of the measurements: one that ships with the workloads, or one of ``data/models``."""
    local = data_file(f"models/{name}.toml")
    return load_model(str(local) if local.is_file() else name)


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of a CSV file in this package's ``data``."""
    return read_csv(input_file(name).read_text("utf-8"))


def file_format(name: str) -> WeightFormat:
    """A format as the tables name it: llama.cpp's, or such as "w4g128", four bits with a scale for 128."""
    uniform = re.fullmatch(r"w([1-8])g([0-9]+)", name)
    return uniform_format(int(uniform[1]), int(uniform[2])) if uniform else weight_format(name)


def _machines(names: Sequence[str]) -> CpuSheet:
    each = [CpuSheet.of(load_system(name)) for name in names]
    return CpuSheet(
        **{
            field: np.array([float(getattr(m, field)) for m in each])
            for field in CpuSheet.__dataclass_fields__
        }
    )


def _labels(**columns: Sequence[object]) -> dict[str, NDArray[np.str_]]:
    return {name: np.array([str(value) for value in column]) for name, column in columns.items()}


def _mean_context(generated: int, prompt: int = 0) -> int:
    """Mean number of tokens in the cache over a generation; every part is linear in it."""
    return prompt + max(1, round(generated / 2))


@lru_cache(maxsize=512)
def measured_work(
    model: str, fmt: str, test: str, prompt: int, generated: int, batch: int = 1
) -> tuple[StepDemand, float]:
    """Work of a published test and the tokens that it counts: "pp" a prompt, else decoding after a prompt.

    The weight bytes are those of the file that was measured (`FILE_BYTES`).
    """
    spec, weights = fitting_model(model), file_format(fmt)
    if test == "pp":
        reads = cores.ubatches(prompt)
        work, tokens = prompt_demand(spec, weights, prompt, reads=reads), float(prompt)
    else:
        step = decode_step(spec, weights, batch, _mean_context(generated, prompt))
        work, tokens, reads = StepDemand.of(spec, step, batch), float(batch), 1
    if model in FILE_BYTES and fmt == "q4_k_m":
        other = FILE_BYTES[model] - weights.model_bytes(spec)
        work = replace(work, weight_bytes=work.weight_bytes + other * reads)
    return work, tokens


def llama_bench_rows(disturbed: bool = False) -> MeasuredRows:
    """The Neoverse-N1 rows of llama-bench: token generation and prompt processing.

    ``disturbed`` gives those that were measured while files were downloaded instead.
    """
    table = [
        row
        for row in read_table("llama_bench.csv")
        if row["ngl"] == "0" and (row["disturbed"] == "1") == disturbed
    ]
    return labelled_rows(table, {})


def labelled_rows(table: Sequence[Mapping[str, str]], beside: Mapping[str, Sequence[object]]) -> MeasuredRows:
    """Rows of llama-bench with one sequence, each on the machine of its column `system`, with labels
    ``beside`` those that all have. A format that a table does not state is q4_k_m."""
    works, tokens = [], []
    formats = [row.get("format", "q4_k_m") for row in table]
    for row, fmt in zip(table, formats, strict=True):
        n = int(row["n"])
        prompt, generated = (n, 0) if row["test"] == "pp" else (0, n)
        work, counted = measured_work(row["model"], fmt, row["test"], prompt, generated)
        works.append(work)
        tokens.append(counted)
    return MeasuredRows(
        work=StepDemand.stack(works),
        machine=_machines([row["system"] for row in table]),
        threads=np.array([float(row["threads"]) for row in table]),
        tokens=np.array(tokens),
        measured=np.array([float(row["tok_s"]) for row in table]),
        labels=_labels(
            machine=[row["machine"] for row in table],
            model=[row["model"] for row in table],
            test=[row["test"] for row in table],
            software=["llama.cpp"] * len(table),
            format=formats,
            threads=[row["threads"] for row in table],
            n=[row["n"] for row in table],
            **beside,
        ),
    )


def batched_rows(table: Sequence[Mapping[str, str]], instances: str) -> MeasuredRows:
    """Decoding with a batch in one process; ``instances`` is the label of them all."""
    works = []
    for row in table:
        model, batch = fitting_model(row["model"]), int(row["batch"])
        context = _mean_context(int(row["generated"]), int(row["prompt"]))
        works.append(
            StepDemand.of(model, decode_step(model, file_format(row["bytes_as"]), batch, context), batch)
        )
    return MeasuredRows(
        work=StepDemand.stack(works),
        machine=_machines([row["system"] for row in table]),
        threads=np.array([float(row["threads"]) for row in table]),
        tokens=np.array([float(row["batch"]) for row in table]),
        measured=np.array([float(row["tok_s"]) for row in table]),
        labels=_labels(
            model=[row["model"] for row in table],
            format=[row["format"] for row in table],
            batch=[row["batch"] for row in table],
            machine=[row["system"] for row in table],
            # No size of an instance: fits that leave a size out keep these.
            threads=[f"batched {row['threads']}" for row in table],
            test=["tg"] * len(table),
            n=[row["generated"] for row in table],
            software=[row.get("software", "ampere") for row in table],
            instances=[instances] * len(table),
        ),
    )


def gpu_rows() -> MeasuredRows:
    """Every GPU measurement of the fit; `sheets_of` gives the GPUs' data sheets."""
    works, tokens, measured, sheets = [], [], [], []
    labels: dict[str, list[str]] = {k: [] for k in ("gpu", "model", "test", "software", "batch")}

    def add(
        gpu: str, model: str, fmt: str, test: str, software: str, n: tuple[int, int, int], rate: str
    ) -> None:
        prompt, generated, batch = n
        if test == "pp":
            prompt, generated = generated, 0
        work, counted = measured_work(model, fmt, test, prompt, generated, batch)
        works.append(work)
        tokens.append(counted)
        measured.append(float(rate))
        sheets.append(roofline.GpuSheet.of(load_gpu("a100" if gpu == "a100-80" else gpu)))
        for name, value in zip(labels, (gpu, model, test, software, str(batch)), strict=True):
            labels[name].append(value)

    for row in read_table("llama_bench.csv"):
        if row["ngl"] != "0":
            n = (0, int(row["n"]), 1)
            add(row["system"], row["model"], row["format"], row["test"], "llama.cpp", n, row["tok_s"])
    for row in read_table("gpu_batched.csv"):
        test = "batched" if row["kind"] == "proxy" else "older"
        if row["software"] == "lmdeploy":
            test = "f16" if row["format"] == "f16" else "w4"
        n = (int(row["prompt"]), int(row["generated"]), int(row["batch"]))
        add(row["gpu"], row["model"], row["format"], test, row["software"], n, row["tok_s"])
        sheets[-1] = replace(sheets[-1], bandwidth=np.asarray(float(row["dram_gb_s"]) * 1e9))
    return MeasuredRows(
        work=StepDemand.stack(works),
        machine=_as_cpu_sheet(sheets),
        threads=np.array([float(s.sm_clock) for s in sheets]),
        tokens=np.array(tokens),
        measured=np.array(measured),
        labels=_labels(**labels),
    )


def held_out_cpu_rows(table: Sequence[Mapping[str, str]]) -> MeasuredRows:
    """The Neoverse-N1 rows of a held-out table, most the median of several instances of one chip."""
    chosen = [row for row in table if row["ngl"] == "0"]
    works, tokens = [], []
    for row in chosen:
        n, fmt = int(row["n"]), row["format"]
        prompt, generated = (n, 0) if row["test"] == "pp" else (int(row["prompt"]), n)
        work, counted = measured_work(row["model"], fmt, row["test"], prompt, generated, int(row["batch"]))
        works.append(work)
        tokens.append(counted)
    return MeasuredRows(
        work=StepDemand.stack(works),
        machine=_machines([row["system"] for row in chosen]),
        threads=np.array([float(row["threads"]) for row in chosen]),
        tokens=np.array(tokens),
        measured=np.array([float(row["tok_s"]) for row in chosen]),
        labels=_labels(**{name: [row[name] for row in chosen] for name in HELD_OUT_LABELS}),
    )


def held_out_gpu_rows(table: Sequence[Mapping[str, str]]) -> MeasuredRows:
    """The GPU rows of a held-out table; the label "test" is the kind of the fit's rows that they resemble.

    Prompts of 16 tokens are "batched q4_k_m": sixteen rows through the small-batch kernel.
    """
    chosen = [row for row in table if row["ngl"] != "0"]
    works, tokens, sheets, kinds = [], [], [], []
    for row in chosen:
        n, batch = int(row["n"]), int(row["batch"])
        prompt, generated = (n, 0) if row["test"] == "pp" else (int(row["prompt"]), n)
        work, counted = measured_work(row["model"], row["format"], row["test"], prompt, generated, batch)
        works.append(work)
        tokens.append(counted)
        sheet = roofline.GpuSheet.of(load_gpu(row["system"]))
        if row["software"] == "lmdeploy":
            sheet = replace(sheet, bandwidth=np.asarray(2000e9))
        sheets.append(sheet)
        small = row["test"] == "pp" and n <= SMALL_PROMPT
        kinds.append("f16" if row["format"] == "f16" else "batched q4_k_m" if small else row["test"])
    labels = {name: [row[name] for row in chosen] for name in HELD_OUT_LABELS}
    labels |= {"test": kinds, "gpu": [row["system"] for row in chosen]}
    return MeasuredRows(
        work=StepDemand.stack(works),
        machine=_as_cpu_sheet(sheets),
        threads=np.array([float(s.sm_clock) for s in sheets]),
        tokens=np.array(tokens),
        measured=np.array([float(row["tok_s"]) for row in chosen]),
        labels=_labels(**labels),
    )


def join(first: MeasuredRows, second: MeasuredRows) -> MeasuredRows:
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
    return MeasuredRows(
        work=both(first.work, second.work),
        machine=both(first.machine, second.machine),
        threads=np.concatenate([first.threads, second.threads]),
        tokens=np.concatenate([first.tokens, second.tokens]),
        measured=np.concatenate([first.measured, second.measured]),
        labels=labels,
    )


def rows_on_gpus(
    works: Sequence[StepDemand],
    sheets: Sequence[roofline.GpuSheet],
    tokens: Floats,
    measured: Floats,
    labels: Mapping[str, NDArray[np.str_]],
) -> MeasuredRows:
    """Rows on GPUs; `sheets_of` takes their data sheets out again."""
    return MeasuredRows(
        work=StepDemand.stack(list(works)),
        machine=_as_cpu_sheet(sheets),
        threads=np.array([float(s.sm_clock) for s in sheets]),
        tokens=tokens,
        measured=measured,
        labels=labels,
    )


def sheets_of(rows: MeasuredRows) -> roofline.GpuSheet:
    """The data sheets of the rows' GPUs, which `_as_cpu_sheet` put into a machine's fields."""
    m = rows.machine
    return roofline.GpuSheet(m.read_bandwidth, m.clock, m.core_bandwidth, rows.threads)


def _as_cpu_sheet(sheets: Sequence[roofline.GpuSheet]) -> CpuSheet:
    """GPUs in a machine's fields: bandwidth, fp16 MAC/s as clock and 8-bit MAC/s as core_bandwidth.

    The rows' threads hold multiprocessors times clock. `sheets_of` takes them out again.
    """
    return CpuSheet(
        clock=np.array([float(s.peak_macs) for s in sheets]),
        read_bandwidth=np.array([float(s.bandwidth) for s in sheets]),
        core_bandwidth=np.array([float(s.vector_macs) for s in sheets]),
    )
