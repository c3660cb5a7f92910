"""`sailsim gem5 decode`: whole tokens on gem5, by cores and by PIM units."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from sailsim.base.atomic import write_whole
from sailsim.base.records import to_lines
from sailsim.cli._json import print_json
from sailsim.cli._path import TEXT, PathOption
from sailsim.cli._table import say
from sailsim.cli.gem5.group import gem5
from sailsim.cli.gem5.options import (
    as_json_option,
    with_build,
    with_gem5,
    with_system,
    with_timeout,
    with_write,
)
from sailsim.cli.gem5.records import provenance_of, telling
from sailsim.sim import Store, load_system, parse_numbers
from sailsim.sim.gem5 import Gem5
from sailsim.sim.gem5.decode import CACHES, COMMAND, LINEARS, decode_points, differing, run_decodes


@gem5.command()
@with_gem5
@with_system
@click.option("--model", required=True, help="A GGUF file of the llama architecture, or a shape.")
@click.option("--weights", type=TEXT, help="As in `sailsim image`; default: a file's own, else 4g128.")
@click.option("--blocks", type=int, default=0, show_default=True, help="The model's first blocks; 0: all.")
@click.option("--linears", default=",".join(LINEARS), show_default=True, help="Kinds of products.")
@click.option("--threads", default="1,4,16", show_default=True, help="Threads, on as many cores.")
@click.option("--batch", default="1", show_default=True, help="Rows that decode side by side.")
@click.option("--context", default="64", show_default=True, help="Positions before the first measured one.")
@click.option(
    "--cache", type=click.Choice(CACHES), default="fp16", show_default=True, help="Keys and values."
)
@click.option("--steps", type=int, default=1, show_default=True, help="Measured tokens, reported on average.")
@click.option(
    "--warm", type=int, default=1, show_default=True, help="Tokens of the context decoded on atomic cores."
)
@click.option("--nbw", type=int, default=4, show_default=True, help="Weights of a unit's look-up table.")
@click.option(
    "--seed", type=click.IntRange(0, 2**64 - 1), default=1, show_default=True, help="Of the filled cache."
)
@click.option(
    "--program",
    type=PathOption(dir_okay=False),
    default=Path("build/kernels/decode"),
    show_default=True,
    help="The AArch64 program.",
)
@with_build
@with_write
@click.option(
    "--out",
    type=PathOption(file_okay=False),
    default=Path("out/gem5-decode"),
    show_default=True,
    help="Folder of the results and images; what it holds is not simulated again.",
)
@with_timeout
@as_json_option
def decode(
    binary: str | None,
    machine: str,
    model: str,
    linears: str,
    threads: str,
    batch: str,
    context: str,
    program: Path,
    build: str,
    write: Path | None,
    out: Path,
    timeout: float,
    as_json: bool,
    **fixed: Any,
) -> None:
    """Decode tokens on gem5's O3 cores, with products on the cores or on PIM units, and say where time goes.

    One run of gem5 for every combination of --linears, --threads, --batch and --context (lists). Atomic cores
    fill the cache and decode the --warm tokens, O3 cores the --steps that are measured. A run that takes
    longer than --timeout is stored without numbers and with the reason. All kinds and threads have to choose
    the same tokens with the same logits. Exit status 1: they do not. --write takes all runs of the folder.
    """
    simulator, system = Gem5(binary), load_system(machine)
    points = decode_points(
        model,
        [word.strip() for word in linears.split(",") if word.strip()],
        parse_numbers("threads", threads),
        parse_numbers("batch", batch),
        parse_numbers("context", context),
        system,
        **fixed | {"weights": fixed["weights"] or ""},
    )
    with telling() as tell:
        rows, before = run_decodes(
            points, simulator, machine, system, program, out, timeout_s=timeout, tell=tell
        )
    wrong = differing(rows)
    if write:
        run = {"gem5": simulator.version, **provenance_of(simulator, build, f"sailsim gem5 {COMMAND}")}
        write_whole(write, to_lines({"run": run, "rows": list(_written(Store(out)))}).encode())
    if as_json:
        print_json({"out": str(out), "held_before": before, "differing": wrong, "rows": rows})
    else:
        for row in rows:
            say(_line(row), " " * 6)
        say(f"{len(rows)} runs in {out}, {before} of them from before.")
        for sentence in wrong:
            say(sentence)
    if wrong:
        raise click.exceptions.Exit(1)


def _line(row: dict[str, Any]) -> str:
    """A run in a line."""
    what = f"{row['linears']:<5} threads {row['threads']}, batch {row['batch']}, context {row['context']}: "
    if row.get("step_cycles") is None:
        return what + str(row["reason"])
    # Tokens a second of a model that was cut off are nobody's.
    whole = f", {row['tokens_per_s']:.1f} tokens/s"
    part = f" of {row['blocks']} blocks and the head".replace("1 blocks", "1 block")
    return what + (
        f"{row['step_cycles']:,.0f} cycles a step{part if row['blocks'] else whole}, "
        f"{row['dram_gb_s']:.1f} GB/s; {row['host_s']:.0f} s, {row['instructions_per_s'] / 1000:,.0f} "
        "thousand instructions/CPU-s"
    )


def _written(store: Store) -> Iterator[dict[str, Any]]:
    """All records of the folder as they are committed: each with its own options, without where it lay."""
    for row in store.table().to_pylist():
        if row["command"] == COMMAND:
            found = {name: value for name, value in row.items() if value is not None and name != "folder"}
            yield found | {"model": Path(row["model"]).name}
