"""`sailsim gem5 sweep` and `timeline`: tiles of a sweep, and one tile group by group."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sailsim.base.atomic import to_lines, write_whole
from sailsim.base.errors import SailsimError
from sailsim.cli._json import print_json
from sailsim.cli._path import TEXT, PathOption
from sailsim.cli._point import DEFAULTS, NUMBERS, numbers_of, point_options
from sailsim.cli._table import echo, say
from sailsim.cli.gem5.group import gem5
from sailsim.cli.gem5.options import (
    as_json_option,
    with_build,
    with_gem5,
    with_out,
    with_system,
    with_timeout,
    with_write,
)
from sailsim.cli.gem5.records import provenance_of
from sailsim.lut_gemv.trace import decode_tile, read_trace
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.tiles import MODEL, TENSOR, example_tile, run_tiles, tile_points
from sailsim.sim.gem5.timeline import TileTimeline, UntracedError, both_timelines, core_timeline
from sailsim.sim.ranges import parse_numbers
from sailsim.sim.system import System
from sailsim.sim.vary import on_substrate


@gem5.command()
@with_gem5
@with_system
@click.option("--model", default=MODEL, show_default=True, help="Whose weight matrix.")
@click.option("--tensor", default=TENSOR, show_default=True, help="The matrix, of the first block.")
@point_options(
    *("weights", "wbits", "group_size", "nbw", "batch", "substrate"),
    defaults=DEFAULTS | {"wbits": "2:8", "nbw": "2,3,4", "batch": "1,8"},
    type=TEXT,
)
@click.option(
    "--whole", default="2,4,8", show_default=True, help="Widths of the whole matrix on all slices; 0: none."
)
@click.option(
    "--activations", type=PathOption(dir_okay=False), help="A capture; default: the one that ships."
)
@with_build
@with_write
@with_out
@with_timeout
@as_json_option
def sweep(
    binary: str | None,
    machine: str,
    model: str,
    tensor: str,
    whole: str,
    activations: Path | None,
    build: str,
    write: Path | None,
    out: Path,
    timeout: float,
    as_json: bool,
    substrate: str | None,
    **fields: str | None,
) -> None:
    """Run tiles of a sweep on gem5, beside the fast engine's time for each.

    A slice's share of the matrix for every combination; the whole matrix on all slices for a few widths;
    the timeline of one tile. Numbers are lists and ranges. What is not given: the formats are a model file's
    own, of other models 2 to 8 bits in blocks of 128; NBW 2, 3 and 4; batches 1 and 8; the machine's
    substrate. The engine's time has
    the weights in DRAM, which all units of the tile share (`time_tile`, memory "dram", for one unit), and
    leaves out descriptor and record. Results are stored as they are found: the same command again goes on
    where a stopped one ended.
    `sailsim report` shows them for a folder that has them in gem5/.
    """
    simulator, system = Gem5(binary), load_system(machine)
    machines = _on_substrates(system, substrate)
    given = {name: text for name, text in fields.items() if text is not None}
    grid: dict[str, Any] = {name: numbers_of(name, given[name]) for name in given if name in NUMBERS}
    if "weights" in given:
        grid["weights"] = [word.strip() for word in given["weights"].split(",")]
    if "group_size" in grid:
        grid["group_size"] = _one("group_size", grid["group_size"])
    points = tile_points(
        **grid,
        whole=parse_numbers("whole", whole),
        slices=system.llc.slices.whole,
        model=model,
        tensor=tensor,
    )
    import pandas as pd  # only when needed: it takes long to load

    captured = str(activations) if activations else ""
    found = [
        run_tiles(points, simulator, machine, varied, out, activations=captured, timeout_s=timeout)
        for varied in machines
    ]
    rows, before = pd.concat([own for own, _ in found]), sum(held for _, held in found)
    example = example_tile(points, machines[0], captured)
    timelines: list[TileTimeline] = []
    try:
        timelines = both_timelines(simulator, machine, machines[0], example, out, timeout)
    except UntracedError as error:
        if write:
            raise
        echo(f"No timeline: {error}", err=True)  # all else of the sweep is there
    worst = rows.iloc[int(rows["error"].abs().to_numpy().argmax())]
    types = list(dict.fromkeys(point.type for point in points))
    summary = {
        "out": str(out),
        "points": len(rows),
        "held_before": before,
        "correct": bool(rows["correct"].all()),
        "phases_equal": bool(rows["phases_equal"].all()),
        "median_error": float(rows["error"].abs().median()),
        "worst_error": float(worst["error"]),
        "worst_point": ", ".join(f"{name} {worst[name]:g}" for name in ("wbits", "nbw", "batch", "slices")),
        "types": types,
    }
    if write:
        options = f"sailsim gem5 sweep --system {machine} --model {model} --tensor {tensor}"
        options += "".join(f" --{name.replace('_', '-')} {text}" for name, text in given.items())
        options += f" --substrate {substrate}" if substrate else ""
        options += f" --whole {whole}"
        content = {
            "run": {"gem5": simulator.version, **provenance_of(simulator, build, options)},
            "tiles": json.loads(rows.drop(columns=["folder"]).to_json(orient="records")),
            "timelines": [each.as_dict() for each in timelines],
        }
        write_whole(write, to_lines(content).encode())
    if as_json:
        print_json(summary)
    else:
        say(f"{tensor} of {model} as {', '.join(types)}")
        say(
            f"{len(rows)} tiles in {out}, {before} of them from before. Results "
            f"{'exact' if summary['correct'] else 'WRONG'}, phases "
            f"{'equal' if summary['phases_equal'] else 'DIFFER'}; the fast engine's time is off by "
            f"{summary['median_error']:.1%} (median), {summary['worst_error']:+.1%} at worst "
            f"({summary['worst_point']})."
        )
    if not (summary["correct"] and summary["phases_equal"]):
        raise click.exceptions.Exit(1)


@gem5.command()
@with_gem5
@with_system
@click.argument("trace", type=PathOption(exists=True, dir_okay=False))
@click.option("--tile", type=int, default=0, show_default=True, help="Which of the trace's tiles.")
@click.option(
    "--groups",
    default="34:6",
    show_default=True,
    help="How many groups the picture shows, at the tile's beginning and at its end.",
)
@click.option("--engine", is_flag=True, help="The fast engine's timeline alone; needs no gem5.")
@with_out
@with_timeout
@as_json_option
def timeline(
    binary: str | None,
    machine: str,
    trace: Path,
    tile: int,
    groups: str,
    engine: bool,
    out: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Draw when each group of a tile of TRACE loads, builds, looks up and converts, in gem5 and the engine.

    The engine's groups are those of `time_tile`, memory "dram". Writes timeline.png into the folder of the
    results, and the numbers beside it.
    """
    from sailsim.analysis.render.figure import draw  # matplotlib: only when needed
    from sailsim.analysis.render.gem5_figures import timeline_figure
    from sailsim.analysis.render.style import save

    shown = _two_numbers("groups", groups)
    opened, system = read_trace(trace), load_system(machine)
    if not 0 <= tile < len(opened):
        raise SailsimError(f"tile is {tile}; allowed are 0..{len(opened) - 1}, the tiles of {trace}.")
    operands = decode_tile(opened, tile)
    if engine:
        found = [core_timeline(system, operands)]
    else:
        found = both_timelines(Gem5(binary), machine, system, operands, out, timeout)
    path = out / "timeline.png"
    save(draw(timeline_figure(found, shown)).drawing, path)
    if as_json:
        print_json({"picture": str(path), "timelines": [each.as_dict() for each in found]})
        return
    for each in found:
        say(f"{each.source}: {each.end:,} cycles, {len(each.groups):,} groups")
    echo(str(path))


def _on_substrates(system: System, substrates: str | None) -> list[System]:
    """The machine on each of a list of substrates; by itself where none is given."""
    if substrates is None:
        return [system]
    named = dict.fromkeys(word.strip() for word in substrates.split(","))
    return [on_substrate(system, name, "sailsim gem5 sweep") for name in named]


def _one(field: str, values: list[int]) -> int:
    if len(values) != 1:
        raise SailsimError(f"{field} is a list; allowed is one number: more are a list of --weights.")
    return values[0]


def _two_numbers(field: str, text: str) -> tuple[int, int]:
    first, _, last = text.partition(":")
    try:
        return int(first), int(last)
    except ValueError:
        raise SailsimError(f"{field} is {text!r}; allowed are two numbers, such as 34:6.") from None
