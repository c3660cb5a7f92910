"""What AArch64 programs measure on gem5's cores: memory bandwidth and the speed of our NEON kernels.

A program of a few megabytes is what an out-of-order core in gem5 can afford (some 70,000 instructions a
second). `scaled` makes a machine on which a few megabytes come from DRAM: a share of the cores, LLC slices
and channels, and smaller caches; every other number, and so the path to DRAM, is the machine's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import sha256_of
from sailsim.base.quantity import Quantity
from sailsim.sim.gem5.binary import Gem5, machine_json, require_program
from sailsim.sim.gem5.records import run_or_load
from sailsim.sim.study.folder import Store
from sailsim.sim.system import System

CORES = 16
"""Of the machine that bandwidth is measured on; as many channels and slices as belong to them."""
PUBLISHED = {
    kind: Quantity(
        value=value,
        unit="GB/s",
        source="SpareCores sc-inspector-data, commit 804d3c7 (CC-BY-SA 4.0): lmbench bw_mem, all 64 threads "
        "of an aws/c6g.16xlarge",
        kind="measured",
    )
    for kind, value in (("read", 170.5), ("write", 76.2))
}
"""What all 64 cores of a Graviton2 reach together."""
L1D_KIB = 16
L2_KIB = 32
SLICE_MIB = 1 / 64
"""The small caches of `scaled`: what a simulated bandwidth run can overflow in seconds."""
L2_FOOTPRINT = 1 << 18
"""Bytes that the L2 holds and the L1 does not."""
BANDWIDTH_RUNS = ((1, 1 << 19), (4, 1 << 20), (16, 1 << 21))
"""Threads, and bytes of each array: twice what all caches of `scaled` hold. With less than that, a quarter of
the lines of a pass were still there: the L2s do not drop strictly the oldest."""
FORMATS = ("q8_0", "q4_0", "q4_1", "q2")
STREAMED_OUTPUTS: Mapping[str, int] = {"q8_0": 176, "q4_0": 320, "q4_1": 288, "q2": 544}
"""Outputs of 4096 weights whose weights are about 0.75 MB: more than the caches of `scaled` for 4 cores."""

Ran = Callable[[Mapping[str, Any]], None]


def scaled(system: System, cores: int = CORES) -> System:
    """The machine with `cores` of its cores, their share of channels and slices, and small caches.

    Raises:
        SailsimError: channels or slices cannot be divided so.
    """
    parts = system.cores.count.whole // cores

    def divided(quantity: Quantity, name: str) -> Quantity:
        if parts < 1 or quantity.whole % parts:
            raise SailsimError(
                f"{name} is {quantity.value:g}; allowed to measure {cores} of {system.cores.count.whole} "
                "cores is a number that divides evenly."
            )
        return quantity.model_copy(update={"value": quantity.value // parts})

    llc, memory, l1d, l2 = system.llc, system.memory, system.l1d, system.l2
    return system.model_copy(
        update={
            "llc": llc.model_copy(
                update={
                    "slices": divided(llc.slices, "llc.slices"),
                    "slice_size": llc.slice_size.model_copy(update={"value": SLICE_MIB}),
                }
            ),
            "l1d": l1d.model_copy(update={"size": l1d.size.model_copy(update={"value": L1D_KIB})}),
            "l2": l2.model_copy(update={"size": l2.size.model_copy(update={"value": L2_KIB})}),
            "memory": memory.model_copy(update={"channels": divided(memory.channels, "memory.channels")}),
        }
    )


def measure_bandwidth(
    gem5: Gem5,
    system: System,
    kernels: Path,
    out: Path,
    timeout_s: float = 1800,
    ran: Ran = lambda row: None,
) -> list[dict[str, Any]]:
    """Bandwidth of O3 cores in gem5 beside what is published for the machine.

    Args:
        kernels: folder of the AArch64 programs.
        out: folder of the results; what it holds is not measured again.
        ran: called with every row as it is there.

    Returns:
        One row for the L2 and one for each kind and number of threads from DRAM: `level`, `kind`, `threads`,
        `array_bytes`, `gem5_gb_s`, `published_gb_s` (the share of what all cores reach together that belongs
        to `CORES` of them; None: nothing is published) and `error`.

    Raises:
        SailsimError: the program is missing or wrong, or gem5 did not get to its end.
    """
    parts = system.cores.count.whole / CORES
    published = {(kind, CORES): whole.si / parts for kind, whole in PUBLISHED.items()}
    l2 = system.l2.bandwidth.value * system.cores.clock.si
    rows = []

    def measure(machine: System, level: str, threads: int, size: int, kinds: str, repeats: int) -> None:
        options = ["--bytes", str(size), "--threads", str(threads), "--kind", kinds]
        options += ["--repeats", str(repeats), "--check", "512"]
        for line in run_program(gem5, machine, kernels, "bandwidth", options, threads, out, timeout_s):
            known = l2 if level == "L2" else published.get((line["kind"], threads))
            # The last pass begins with the caches as a pass leaves them: dirty lines are paid for.
            found = line["bytes"] / line["last_ns"]
            row = {
                "level": level,
                "kind": line["kind"],
                "threads": threads,
                "array_bytes": int(line["array_bytes"]),
                "gem5_gb_s": round(found, 2),
                "published_gb_s": None if known is None else round(known / 1e9, 2),
                "error": None if known is None else round(found * 1e9 / known - 1, 4),
            }
            rows.append(row)
            ran(row)

    measure(system, "L2", 1, L2_FOOTPRINT, "read", 2)
    for threads, size in BANDWIDTH_RUNS:
        measure(scaled(system), "DRAM", threads, size, "all", 2)
    return rows


def measure_kernels(
    gem5: Gem5,
    system: System,
    kernels: Path,
    out: Path,
    timeout_s: float = 1800,
    formats: Sequence[str] = FORMATS,
    ran: Ran = lambda row: None,
) -> list[dict[str, Any]]:
    """Cycles per multiply-accumulate of the NEON kernels on O3 cores in gem5.

    With weights in the L2 (batch 1 and 4, one thread and four), the best product after the first; and with
    weights from DRAM (one thread and four), on the small caches of `scaled`.

    Returns:
        Rows for `analysis/data/gem5_kernels.csv`: `format`, `k`, `n`, `batch`, `threads`, `weights_in`,
        `macs`, `ns`, `cycles_per_mac` (of a thread).

    Raises:
        SailsimError: the program is missing or wrong, or gem5 did not get to its end.
    """
    small = scaled(system)
    rows = []
    for fmt in formats:
        cases = [
            ("L2", system, 1024, 256, 1, 1),
            ("L2", system, 1024, 256, 4, 1),
            ("L2", system, 1024, 1024, 1, 4),
        ]
        cases += [("DRAM", small, 4096, STREAMED_OUTPUTS[fmt], 1, threads) for threads in (1, 4)]
        for place, machine, k, n, batch, threads in cases:
            options = ["--format", fmt, "--k", str(k), "--n", str(n), "--batch", str(batch)]
            options += ["--threads", str(threads), "--check", "4", "--repeats", "3" if place == "L2" else "2"]
            (line,) = run_program(gem5, machine, kernels, "neon_gemv", options, threads, out, timeout_s)
            row = {
                "format": fmt,
                "k": k,
                "n": n,
                "batch": batch,
                "threads": threads,
                "weights_in": place,
                "macs": int(line["macs"]),
                "ns": int(line["best_ns"]),
                "cycles_per_mac": round(
                    line["best_ns"] * 1e-9 * system.cores.clock.si * threads / line["macs"], 4
                ),
            }
            rows.append(row)
            ran(row)
    return rows


def run_program(
    gem5: Gem5,
    system: System,
    kernels: Path,
    name: str,
    options: Sequence[str],
    cores: int,
    out: Path,
    timeout_s: float,
) -> Iterable[dict[str, Any]]:
    """What a program prints on `cores` O3 cores without PIM units, from the folder if it was run before.

    Raises:
        SailsimError: the program is missing or ends with an error, or gem5 did not get to its end.
    """
    machine_json(system)  # refuses a machine that gem5 does not have, before anything is asked of the user
    program = kernels / name
    require_program(program)
    content = sha256_of(program, "program")
    point = {"command": "measure", "program": [name, *options], "content": content, "cores": cores}
    identity = sha256(json.dumps([point, system.digest]).encode()).hexdigest()[:12]
    folder = (out / f"measure-{name}-{identity}").resolve()

    def simulate() -> dict[str, Any]:
        run = gem5.run(system, [str(program), *options], folder, cores=cores, pim=False, timeout_s=timeout_s)
        if run.status != 0 or not run.json_lines:
            raise SailsimError(
                f"{name} ended with status {run.status} in gem5; its output is in {folder}/gem5.log."
            )
        return {
            "ticks": run.ticks,
            "host_s": run.host_s,
            "folder": str(folder),
            "program_output": [json.dumps(line) for line in run.json_lines],
        }

    record = run_or_load(Store(out), point, system, gem5, simulate)
    return [json.loads(line) for line in record["program_output"]]
