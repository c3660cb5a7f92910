"""`sailsim explore`: search for machines that are fast, cheap and small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sailsim.base.hints import needing, program
from sailsim.cli._command import Command
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._point import DEFAULTS, point_options, types_of
from sailsim.cli._study import study_options
from sailsim.cli._table import echo, print_wide, say, wide_option
from sailsim.sim.point import Point
from sailsim.sim.ranges import parse_numbers
from sailsim.sim.study.workers import Workers

REASONS = 3
"""How many of the reasons why machines cannot run the point are printed, the most frequent first."""


@click.command(cls=Command)
@click.option("--out", type=PathOption(file_okay=False), required=True, help="Folder of the search.")
@click.option(
    "--trials", type=int, default=200, show_default=True, help="Machines to try, earlier ones included."
)
@study_options()
@click.option("--seed", type=int, default=0, show_default=True, help="Of the search.")
@click.option(
    "--sampler",
    type=click.Choice(("nsga2", "tpe")),
    default="nsga2",
    show_default=True,
    help="How machines to try are drawn.",
)
@click.option("--system", default="sail-n1", show_default=True, help="The machine that is varied.")
@point_options(
    *("model", "weights", "wbits", "group_size", "abits", "batch", "context", "substrate"),
    defaults=DEFAULTS | {"batch": "8", "context": "512"},
)
@click.option("--threads", default="8,16,32,64", show_default=True, help="Numbers of cores to choose from.")
@click.option("--field", "searched", multiple=True, help="A field of the system file to search; repeat.")
@wide_option
@click.option("--json", "as_json", is_flag=True, help="Print the front as JSON.")
def explore(
    out: Path,
    trials: int,
    jobs: int | Workers,
    seed: int,
    sampler: Any,
    system: str,
    threads: str,
    searched: tuple[str, ...],
    wide: bool,
    as_json: bool,
    **fields: Any,
) -> None:
    """Search for machines that no other beats in tokens/s, tokens per dollar and area.

    Varies NBW, arrays, rows, columns, slices, port, clock and threads within their declared ranges. A stopped
    search goes on where it was. Each machine of the front is a system file for `sailsim run --system`.
    What is not given is as in `sailsim run`, but batch 8.
    """
    with needing("study", "explore"):
        from sailsim.analysis.paper.explore import CHOSEN, Search, options
        from sailsim.analysis.paper.explore import explore as run
        from sailsim.analysis.render.explore_page import write_figure

    given: dict[str, Any] = {"system": system, "batch": 8}
    point = Point(**given | {name: value for name, value in fields.items() if value is not None})
    chosen = tuple(parse_numbers("threads", threads))
    search = Search(point, tuple(searched) or CHOSEN, chosen, sampler, seed)
    frame = run(search, out, trials, jobs)
    write_figure(search, frame, Path(out))
    front = frame[frame["pareto"]].sort_values("tokens_per_s", ascending=False)
    if as_json:
        rows = json.loads(front.to_json(orient="records"))
        print_json({"out": str(out), "trials": len(frame), "pareto": rows})
        return
    reasons = frame["reason"][frame["reason"] != ""]
    say(types_of(point))
    say(f"{len(frame)} machines tried, {len(reasons)} cannot run it, {len(front)} on the front:")
    for reason, machines in reasons.value_counts().head(REASONS).items():
        say(f"- {machines} of them: {reason}")
    rows = [
        {
            "": f"point-{i:02d}",
            "tokens/s": row["tokens_per_s"],
            "tokens/USD": row["tokens_per_usd"],
            "mm2": row["area_mm2"],
            **{name.rpartition(".")[2]: row[name] for name in (*search.fields, "threads")},
        }
        for i, row in enumerate(front.to_dict("records"), 1)
    ]
    if rows:
        print_wide(rows, list(rows[0]), wide)
    if len(front):
        best = int(front["threads"].iloc[0])
        next_run = f"{program()} run --system {out}/front/point-01.toml {options(point, best)}"
        echo(f"Next: {next_run}")
