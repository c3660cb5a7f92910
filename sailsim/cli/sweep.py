"""`sailsim sweep`: many points, in parallel, into a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sailsim.analysis import runners
from sailsim.analysis.results.sweep import sweep_into
from sailsim.base.errors import SailsimError
from sailsim.cli._path import PathOption
from sailsim.cli._point import NUMBERS, beside_option, numbers_of, point_options, types_of
from sailsim.cli._study import study_options
from sailsim.sim import expand, load_preset, preset_names
from sailsim.sim.study import Workers


@click.command()
@point_options(type=str)
@click.option(
    "--prt", type=click.Choice(["on", "off", "both"]), help="With the pattern reuse table, without, or each."
)
@click.option("--preset", help=f"A sweep that ships instead of a grid: {', '.join(preset_names())}.")
@beside_option
@click.option("--out", type=PathOption(file_okay=False), required=True, help="Folder of the results.")
@study_options(1)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest's summary as JSON.")
def sweep(
    preset: str | None,
    prt: str | None,
    beside: Sequence[Path],
    out: Path,
    jobs: int | Workers,
    as_json: bool,
    **fields: str | None,
) -> None:
    """Simulate every combination of the given values; numbers are lists and ranges, as in 1,8,32 or 2:8.

    SAIL, the same server's cores, every card and what --beside adds run every point. Results are stored as
    they are found: the same command again goes on where a stopped one ended.
    """
    given = {name: text for name, text in fields.items() if text is not None}
    if preset is None:
        points = expand([_grid(given, prt)])
    else:
        other = next((name for name in given if name != "activations"), "prt" if prt else None)
        if other is not None:
            raise SailsimError(
                f"--{other.replace('_', '-')} is given beside --preset {preset}; allowed beside a preset is "
                "--activations."
            )
        points = [replace(point, activations=given.get("activations", "")) for point in load_preset(preset)]
    who = runners(beside)
    config = {"preset": preset, "prt": prt, **given, "beside": [str(path) for path in beside]}
    store = sweep_into(points, out, who, jobs, config)
    manifest = store.manifest
    summary = {
        "out": str(out),
        "points": len(points),
        "held_before": manifest["held_before"],
        "state": manifest["state"],
        "wall_s": manifest["wall_s"],
    }
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        for line in dict.fromkeys(map(types_of, points)):
            click.echo(line)
        click.echo(
            f"{len(points)} points in {out}, {manifest['held_before']} of them from before, "
            f"{manifest['wall_s']:.1f} s. Next: sailsim figures {out}"
        )


def _grid(given: dict[str, str], prt: str | None) -> dict[str, Any]:
    grid: dict[str, Any] = {}
    for name, text in given.items():
        grid[name] = numbers_of(name, text) if name in NUMBERS else [part.strip() for part in text.split(",")]
    if prt is not None:
        grid["prt"] = {"on": [True], "off": [False], "both": [True, False]}[prt]
    return grid
