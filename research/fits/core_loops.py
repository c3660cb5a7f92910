"""Holds gem5's cores to llvm-mca: every inner loop of the programs, with its data in the L1 cache.

    python research/fits/core_loops.py --gem5 GEM5 --out analysis/data/gem5_loops.csv

One pass of a loop is traced under qemu, instruction by instruction, and llvm-mca gets the trace as straight
code, so nested loops and their ends count. It takes any call for 100 cycles, so calls go to it as branches.
`mca` is its simulation: latencies, ports, and a reorder buffer of micro-operations. `ports` is what the
busiest port allows, `decoders` what the width of the decoders does, which llvm-mca does not know.

`work` of a pass is multiply-accumulates, times bits for look-ups, and numbers where there are none. Rates are
work a cycle. `--other` adds what the program printed on another core file.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.machine.system_files import load_system, vary
from sailsim.sim.study.origin import commit

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "workloads" / "kernels"
FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=armv8.2-a+dotprod",
    "-ffp-contract=off",
    "-falign-functions=64",
    "-static",
)
"""As workloads/kernels/Makefile has them."""
FOLDERS = (ROOT / "build" / "kernels" / "generated", KERNELS, ROOT / "sim_ext", ROOT / "sim_ext" / "abi")
TRACED = re.compile(r"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/", re.MULTILINE)
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t[0-9a-f]{8} \t([^/\n]*)", re.MULTILINE)
SYMBOL = re.compile(r"<[^>]*>")
CACHES = "sail-n1"
"""The machine around the core, made smaller: the loops need no more than its L1."""
REPEATS = 300
"""Passes of a loop in gem5; a hundred before them teach its branch predictor."""
ITERATIONS = 40
"""Passes that llvm-mca goes through: enough that filling the pipeline is under a percent."""


def output(command: Sequence[str | Path], text: str | None = None) -> str:
    """What a command prints."""
    return subprocess.run(
        [str(word) for word in command], input=text, capture_output=True, text=True, check=True
    ).stdout


def build(folder: Path) -> Path:
    """The program with all loops."""
    program = folder / "loops"
    sources = [
        ROOT / "research" / "fits" / "loops" / "loops.cc",
        *(KERNELS / "common" / f"{n}.cc" for n in ("program", "team")),
        *(KERNELS / "decode" / f"{n}.cc" for n in ("image", "tiles")),
        ROOT / "build" / "kernels" / "liblutmm.a",
    ]
    output(["aarch64-linux-gnu-g++", *FLAGS, *(f"-I{path}" for path in FOLDERS), "-o", program, *sources])
    return program


def code_of(program: Path) -> dict[int, str]:
    """The instruction at each address, as an assembler takes it; branches go to the next line."""
    return {
        int(at, 16): _line(text.strip())
        for at, text in INSTRUCTION.findall(output(["aarch64-linux-gnu-objdump", "-d", program]))
    }


def _line(text: str) -> str:
    name, _, operands = text.partition("\t")
    operands = SYMBOL.sub("", operands).strip()
    name = {"bl": "b", "blr": "br"}.get(name, name)  # llvm-mca takes any call for 100 cycles
    if name.startswith(("b.", "cb", "tbz", "tbnz")) or name == "b":  # a target of its own kind
        operands = ", ".join([*operands.split(", ")[:-1], "#4"])
    if name == "adrp":
        operands = operands.split(", ")[0] + ", #4096"
    return f"{name} {operands}"


def pass_of(program: Path, loop: str, code: dict[int, str], folder: Path) -> list[str]:
    """The instructions of one pass of a loop, in the order in which they are executed."""
    trace = folder / "trace.txt"
    flags = ["-cpu", "neoverse-n1", "-one-insn-per-tb", "-d", "exec,nochain", "-D", trace]
    output(["qemu-aarch64", *map(str, flags), str(program), "--repeats", "4", "--loop", loop])
    symbols = dict(
        line.split()[::-2]
        for line in output(["aarch64-linux-gnu-nm", program]).splitlines()
        if len(line.split()) == 3
    )
    begin, end = (int(symbols[name], 16) for name in ("trace_begins", "trace_ends"))
    places = [int(at, 16) for at in TRACED.findall(trace.read_text())]
    return [code[at] for at in places[places.index(begin) + 2 : places.index(end) - 1]]


def mca_cycles(mca: str, cpu: str, lines: Sequence[str]) -> tuple[float, float]:
    """Cycles of a pass: of many that follow each other, and what its busiest port alone needs."""
    words = [
        "-mtriple=aarch64",
        f"-mcpu={cpu}",
        "-mattr=+dotprod,+fullfp16",
        f"-iterations={ITERATIONS}",
        "-instruction-info=0",
        "-resource-pressure=0",
    ]
    printed = output([mca, *words], "\n".join(lines) + "\n")
    total, port = (
        re.search(rf"{name}:\s+([\d.]+)", printed) for name in ("Total Cycles", "Block RThroughput")
    )
    if total is None or port is None:
        raise click.ClickException(f"{mca} printed no cycles.")
    return int(total[1]) / ITERATIONS, float(port[1])


def read_lines(path: Path) -> dict[str, float]:
    """Nanoseconds of a pass by loop, as the program printed them."""
    lines = (json.loads(line) for line in path.read_text().splitlines() if line.startswith("{"))
    return {line["loop"]: float(line["ns_per_pass"]) for line in lines}


@click.command()
@click.option("--gem5", "binary", required=True, help="The gem5 binary.")
@click.option("--system", "name", default="sail-n1", help="A system file.")
@click.option("--mca", default="llvm-mca-19")
@click.option("--cpu", default="neoverse-n1", help="llvm-mca's.")
@click.option("--other", type=click.Path(path_type=Path), help="What the program printed on another core.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/loops.csv"))
@click.option("--folder", type=click.Path(path_type=Path), default=Path("out/loops"), help="Of the runs.")
def main(binary: str, name: str, mca: str, cpu: str, other: Path | None, out: Path, folder: Path) -> None:
    """Measure all loops and write the table."""
    folder.mkdir(parents=True, exist_ok=True)
    program, system, gem5 = build(folder), load_system(name), Gem5(binary)
    caches = vary(load_system(CACHES), {"llc.slices": 4, "memory.channels": 4})
    small = caches.model_copy(update={"cores": system.cores})
    run = gem5.run(small, [str(program), "--repeats", str(REPEATS)], folder / "gem5", units=0)
    code, rows, clock = code_of(program), [], system.cores.clock.value
    before = {} if other is None else read_lines(other)
    for line in run.json_lines:
        lines = pass_of(program, str(line["loop"]), code, folder)
        work, (cycles, port) = float(line["work"]), mca_cycles(mca, cpu, lines)
        rate = work / (float(line["ns_per_pass"]) * clock)
        row = {
            "core": cpu,
            "loop": line["loop"],
            "work": int(work),
            "instructions": len(lines),
            "mca": round(work / cycles, 3),
            "ports": round(work / port, 3),
            "decoders": round(work / len(lines) * system.cores.fetch_width.value, 3),
            "gem5": round(rate, 3),
            "gem5_over_mca": round(rate * cycles / work, 3),
        }
        if before:
            row["before"] = round(work / (before[line["loop"]] * clock), 3)
            row["before_over_mca"] = round(cycles / (before[line["loop"]] * clock), 3)
        rows.append(row)
        click.echo(json.dumps(row))
    code_version, version = commit(), re.search(r"version ([\d.]+)", output([mca, "--version"]))
    head = (
        f"# {datetime.now(UTC).date()}, commit {'?' if code_version is None else code_version['id'][:7]}: "
        f"gem5 {gem5.version}, llvm-mca {version and version[1]}, "
        f"python research/fits/core_loops.py --system {name} --cpu {cpu}\n"
    )
    with out.open("w") as to:
        to.write(head)
        table = csv.DictWriter(to, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
