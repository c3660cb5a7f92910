"""What share of SDOT's peak and of DRAM's pins software on Neoverse N1 and its sibling reaches, run by run.

python research/fits/kernel_shares.py > analysis/data/kernel_shares.csv

Products alone are counted, over the time of everything: a prompt's share of SDOT, a decode step's of DRAM.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from typing import NamedTuple

from calibration.measurements import file_format, fitting_model, read_table
from calibration.simulated_problem import part_of_model
from sailsim.analysis.studies.gem5_steps import TABLE, every_row
from sailsim.sim.machine.system_files import load_system
from sailsim.workloads.models.graph import decode_step
from sailsim.workloads.models.model import ModelSpec

A76_GHZ, SDOT_MACS = 2.4, 32
"""Of a Raspberry Pi 5's cores: gem5_foreign_kernels.csv, cpufp. Its memory's pins are in no file here."""


class Run(NamedTuple):
    """A step: rows that share a pass over the weights, and seconds of it."""

    software: str
    machine: str
    model: str
    weights: str
    what: str
    threads: int
    rows: int
    seconds: float
    source: str


def runs() -> Iterator[tuple[Run, ModelSpec]]:
    """Of all tables."""
    for row in read_table("a1_batched.csv"):
        rows = int(row["batch"])
        seconds = rows / float(row["tok_s"])
        of = Run(
            "Ampere's fork",
            "altra",
            row["model"],
            row["bytes_as"],
            "decode",
            int(row["threads"]),
            rows,
            seconds,
            "a1_batched.csv",
        )
        yield of, fitting_model(of.model)
    for row in read_table("prompts.csv"):
        if row["software"] == "ampere":
            rows = int(row["prompt"])
            bits = "w8g32" if row["format"] == "q8r16" else "q4_k_m"
            of = Run(
                "Ampere's fork",
                "altra",
                row["model"],
                bits,
                "prompt",
                int(row["threads"]),
                rows,
                rows / float(row["value"]),
                "prompts.csv",
            )
            yield of, fitting_model(of.model)
    for row in read_table("tmac.csv"):
        if (
            "Pi 5" in row["machine"]
            and row["model"] == "Llama-2-7B"
            and row["unit"] == "tokens/s"
            and row["metric"] == "tg"
        ):
            weights = {"W2": "w2g128", "W4": "w4g128"}[row["format"]]
            of = Run(
                row["software"],
                "Raspberry Pi 5",
                "llama-2-7b",
                weights,
                "decode",
                int(float(row["threads"])),
                1,
                1 / float(row["value"]),
                "tmac.csv",
            )
            yield of, fitting_model(of.model)
    for row in every_row():
        if row["linears"] == "neon" and row["cache"] == "fp16":
            spec = part_of_model(row)
            seconds = row["step_cycles"] / load_system(row["system"]).cores.clock.si
            blocks = f" {row['blocks']} blocks" if row["blocks"] else ""
            yield (
                Run(
                    "this project's NEON",
                    "sail-n1 in gem5",
                    spec.name + blocks,
                    "w" + row["weights"],
                    "decode",
                    row["threads"],
                    row["batch"],
                    seconds,
                    TABLE,
                ),
                spec,
            )


def main() -> None:
    """Write the rows."""
    out = csv.writer(sys.stdout, lineterminator="\n")
    print(
        "# Made by research/fits/kernel_shares.py. No fit of this project's kernels has seen the published "
        "runs. KleidiAI: no run on these cores was found."
    )
    out.writerow(
        [
            "software",
            "machine",
            "model",
            "weights",
            "what",
            "threads",
            "rows",
            "seconds",
            "share_of_sdot",
            "share_of_dram",
            "source",
        ]
    )
    for run, spec in runs():
        ops = [op for op in decode_step(spec, file_format(run.weights), run.rows, 1) if op.kind == "gemv"]
        if run.what == "prompt":  # the head sees the last token alone
            ops = ops[:-1]
        macs, moved = sum(op.macs for op in ops), sum(op.weight_bytes for op in ops)
        if run.machine == "Raspberry Pi 5":
            peak, dram = A76_GHZ * 1e9 * SDOT_MACS, None
        else:
            system = load_system("altra" if run.machine == "altra" else "sail-n1")
            peak, dram = system.cores.clock.si * system.cores.int8_macs.value, system.memory.peak
        share = "" if dram is None else f"{moved / run.seconds / dram:.4f}"
        out.writerow(
            [
                *run[:7],
                f"{run.seconds:.6g}",
                f"{macs / run.seconds / peak / run.threads:.4f}",
                share,
                run.source,
            ]
        )


if __name__ == "__main__":
    main()
