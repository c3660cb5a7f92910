"""What a server's `bench` measured: rates, and a machine's file with the constants that they give.

python research/fits/bench.py bench.csv --like graviton2 --out mine.toml

`make kernels` builds `bench` (workloads/kernels/bench/bench.sh), which writes the CSV on an AArch64 server in
ten minutes. Every rate is told with its share of what the machine `--like` could do at most: SDOT on all
threads, and DRAM's pins. The file extends that machine: `sailsim run --system mine.toml`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import click

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system

COLUMNS = "what,kind,threads,batch,context,macs,bytes,ns,result,wrong"
HEAD = ("cpu", "cores", "compiler", "date")


@dataclass(frozen=True)
class Row:
    """A measurement: multiply-accumulates, bytes from memory, nanoseconds; 0 for what it has none of."""

    what: str
    kind: str
    threads: int
    batch: int
    context: int
    macs: int
    bytes: int
    ns: int
    result: str

    @property
    def gb_s(self) -> float:
        """GB/s."""
        return self.bytes / self.ns

    def mac_cycle(self, system: System) -> float:
        """Multiply-accumulates of a thread in a cycle of the machine's cores."""
        return self.macs / (self.ns * 1e-9 * system.cores.clock.si) / self.threads


def read_bench(path: Path) -> tuple[dict[str, str], list[Row]]:
    """The head and the rows of a CSV.

    Raises:
        SailsimError: another file than `bench` writes, wrong results, or results that depend on the threads.
    """
    lines = path.read_text("utf-8").splitlines()
    head = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# ") and ": " in line)
    table = [line for line in lines if not line.startswith("#")]
    if [*head] != [*HEAD] or not table or table[0] != COLUMNS:
        raise SailsimError(f"{path} is no CSV of bench; allowed is one with {', '.join(HEAD)} and {COLUMNS}.")
    rows, results = [], dict[tuple[str, ...], str]()
    for number, each in enumerate(csv.DictReader(table), 1):
        try:
            sizes = {
                name: int(each[name] or 0) for name in ("threads", "batch", "context", "macs", "bytes", "ns")
            }
            wrong = int(each.pop("wrong") or 0)
            row = Row(what=each["what"], kind=each["kind"], result=each["result"], **sizes)
        except (ValueError, TypeError):
            raise SailsimError(f"{path}: row {number} is {each}; allowed are whole numbers.") from None
        if wrong or row.threads < 1 or row.ns < 1:
            raise SailsimError(
                f"{path}: row {number} has {wrong} wrong results, {row.threads} threads and {row.ns} ns; "
                "allowed are 0, and at least 1."
            )
        same = (row.what, row.kind, str(row.batch), str(row.context))
        if results.setdefault(same, row.result) != row.result:
            raise SailsimError(
                f"{path}: row {number}, {' '.join(same)}, has result {row.result} and with other threads "
                f"{results[same]}; allowed is one."
            )
        rows.append(row)
    return head, rows


def machine_text(system: System, head: dict[str, str], rows: list[Row]) -> str:
    """A file of a machine like ``system`` with the constants that the rows give.

    Raises:
        SailsimError: rows without streams, products of one row or attention of one thread over fp16.
    """
    peak = system.memory.peak / 1e9
    alone = [
        row for row in rows if (row.what, row.kind, row.threads, row.batch) == ("attention", "fp16/32", 1, 1)
    ]
    of = {
        "read_share": [row for row in rows if (row.what, row.kind) == ("stream", "read")],
        "write_share": [row for row in rows if (row.what, row.kind) == ("stream", "write")],
        "core_share": [row for row in rows if row.what == "gemv" and row.batch == 1],
    }
    for name, found in {**of, "attention_rate": alone}.items():
        if not found:
            raise SailsimError(f"no row of bench gives {name}; allowed is a whole run of it.")
    lines = [
        f'extends = "{system.name}"',
        'name = "measured"',
        f'title = "{system.title}, as bench measured it"',
        "[sources]",
        f'bench = "bench on {head["cpu"]} ({head["cores"]}), {head["date"]}, {head["compiler"]}"'.replace(
            "\\", "/"
        ),
        'program = "workloads/kernels/decode, as it is"',
        "[memory]",
    ]
    for name, found in of.items():
        best = max(found, key=lambda row: row.gb_s)
        lines.append(
            f'{name} = {{ value = {min(1, best.gb_s / peak):.4g}, unit = "ratio", source = "bench", kind = '
            f'"measured", note = "{best.what} {best.kind} of {best.threads} threads: {best.gb_s:.4g} of '
            f'{peak:.4g} GB/s" }}'
        )
    longest = max(alone, key=lambda row: row.context)
    lines += [
        "[host]",
        f'attention_rate = {{ value = {longest.mac_cycle(system):.4g}, unit = "MAC/cycle", source = "bench", '
        f'kind = "measured", note = "one thread, {longest.context} tokens, cache of fp16, reading it too" }}',
        'attention_ahead = { value = 1, unit = "ratio", source = "program", kind = "derived", note = "values '
        'are asked for while keys are multiplied, the next keys while values are" }',
    ]
    return "\n".join(lines) + "\n"


@click.command(help=__doc__)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--like", default="graviton2", show_default=True, help="The machine whose other numbers hold.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the machine's file here.")
def main(file: Path, like: str, out: Path | None) -> None:
    """Tell the rates and write the file."""
    try:
        system, (head, rows) = load_system(like), read_bench(file)
        click.echo("what,kind,threads,batch,context,gb_s,share_of_dram,mac_cycle,share_of_sdot")
        for row in rows:
            rate, peak = row.mac_cycle(system), system.cores.int8_macs.value
            asked = f"{row.what},{row.kind},{row.threads},{row.batch},{row.context}"
            dram = row.gb_s / (system.memory.peak / 1e9)
            click.echo(f"{asked},{row.gb_s:.4g},{dram:.4g},{rate:.4g},{rate / peak:.4g}")
        if out is not None:
            write_whole(out, machine_text(system, head, rows).encode())
            load_system(str(out))
    except SailsimError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
