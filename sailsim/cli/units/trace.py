"""`sailsim trace` and `sailsim replay`: writing a model's tiles as a trace, and replaying one on a unit."""

from pathlib import Path
from typing import Any

import click

from sailsim.base.progress import with_progress
from sailsim.cli.common.command import Command
from sailsim.cli.common.json_output import answered, as_json_option
from sailsim.cli.common.path_option import FormattedText, PathOption
from sailsim.cli.common.point_options import point_options
from sailsim.cli.common.table import echo, print_numbers, say
from sailsim.lut_gemv.trace_file import LAYOUTS, read_trace
from sailsim.sim.machine.pim import AUTO, PER_TENSOR
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.step.tile_time import fastest_nbw
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.traces import plan_trace, replay_timed


@click.command(cls=Command)
@click.option("--model", required=True, help="A model that ships, or the path of a GGUF file or a folder.")
@point_options("weights", "wbits", "group_size", "abits", "nbw", "batch")
@click.option(
    "--system",
    default="sail-n1",
    help="The machine whose NBW is the default, and one of whose units decides `--nbw auto`.",
)
@click.option(
    "--layout",
    type=click.Choice(list(LAYOUTS)),
    default="packed",
    help="Placement of the tiles' weights: packed, or an odd number of DRAM rows apart, so that units that "
    "work at the same time use different banks.",
)
@click.option(
    "--layers",
    type=FormattedText(r"-?\d{1,9}:-?\d{1,9}", "FIRST:END, such as 0:2"),
    help="Blocks FIRST:END, END excluded; default: all, and the head.",
)
@click.option("--tensors", default="*", help="Shell pattern of tensor names.")
@click.option("--slices", default=1, help="Cut every matrix into this many tiles.")
@click.option("--seed", default=0, help="Seed of token order and synthetic weights.")
@click.option("--activations", type=PathOption(), help="A capture; default: the one that ships.")
@click.option("--out", type=PathOption(written=True), required=True, help="The trace file to write.")
@as_json_option
def trace(
    model: str,
    system: str,
    layout: str,
    layers: str | None,
    activations: Path | None,
    out: Path,
    **fields: Any,
) -> None:
    """Write the tiles of a model's weight matrices, with real activations, as a trace.

    Every matrix has the codes, blocks and minima of its own format. Where the format is the file's, weights
    are the stored codes of a GGUF file, or of a folder's GPTQ or AWQ, with some scales rounded to fp16. Else
    they are quantized from its values. A model without weights gets seeded Gaussian ones. The trace's header
    says which.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    first, _, end = (layers or "").partition(":")
    machine = load_system(system)
    nbw = given.pop("nbw", machine.require_pim().default_nbw)
    if nbw in (AUTO, PER_TENSOR):
        given["choose_nbw"] = fastest_nbw(machine)
    elif nbw is not None:
        given["nbw"] = nbw
    plan = plan_trace(
        model, Activations.load(activations), layers=(int(first), int(end)) if layers else None, **given
    )
    row = machine.memory.row_of_channels if layout == "rows" else 0
    plan.write(out, progress=True, row=row)
    written = read_trace(out)
    answer: dict[str, Any] = {
        "path": str(out),
        "tiles": len(written),
        "bytes": out.stat().st_size,
    } | plan.provenance
    if answered(answer):
        return
    indent = " " * 13
    say(f"{model}: {answer['types']}", indent)
    say(f"{out}: {answer['tiles']} tiles, {answer['bytes']:,} bytes", indent)
    for origin in sorted(set(answer["weights"].values())):
        count = sum(value == origin for value in answer["weights"].values())
        say(f"weights      {count} matrices: {origin}", indent)
    say(f"activations  {answer['activations']}", indent)
    for note in answer["notes"]:
        say(f"note         {note}", indent)


@click.command(cls=Command)
@click.argument("path", type=PathOption())
@click.option("--system", default="sail-n1", help="The machine whose PIM unit works.")
@click.option("--threads", default=1, help="Threads of this computer.")
@as_json_option
def replay(path: Path, system: str, threads: int) -> None:
    """Work through the trace in PATH on one PIM unit: results, look-ups, and cycles by phase.

    Cycles count the groups, with weights as fast as the unit's port takes them (`time_tile`, memory "port").

    Exit status 1 if a descriptor is refused or a result differs from the expected one in the trace.
    """
    config = load_system(system).slice_config(slices=1)
    tiles = read_trace(path)
    names = ("index", "name", "problem", "matches", "lookups", "prt_hits")
    rows = [
        {name: getattr(result, name) for name in names} | {"status": result.status.name, "cycles": cycles}
        for result, cycles in with_progress(replay_timed(tiles, config, threads), "tiles", total=len(tiles))
    ]
    good = [row for row in rows if row["status"] == "OK" and row["matches"] is not False]
    answer = {
        "path": str(path),
        "model": tiles.header.get("model"),
        "system": system,
        "ok": len(good) == len(rows),
        "cycles": sum(row["cycles"]["total"] for row in rows if row["cycles"]),
        "tiles": rows,
    }
    if not answered(answer):
        _print(answer)
    if not answer["ok"]:
        raise click.exceptions.Exit(1)


def _print(answer: dict[str, Any]) -> None:
    verdicts = {True: "as expected", False: "DIFFERS", None: "unchecked"}
    lines = []
    for row in answer["tiles"]:
        if row["status"] == "OK":
            counts = (row["lookups"], row["prt_hits"], row["cycles"]["total"])
            lines.append((row["name"], verdicts[row["matches"]], *(f"{count:,}" for count in counts)))
    print_numbers(("tile", "result", "look-ups", "PRT hits", "cycles"), lines, words="result")
    for row in answer["tiles"]:
        if row["status"] != "OK":
            say(f"{row['name']}: {row['problem']}")
    echo(f"{len(answer['tiles'])} tiles on one unit of {answer['system']}: {answer['cycles']:,} cycles")
