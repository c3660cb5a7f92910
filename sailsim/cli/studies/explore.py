"""`sailsim explore`: search for the fastest machine within limits of area and power."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sailsim.base.hints import program, require_extra
from sailsim.cli.common.json_output import answered
from sailsim.cli.common.study_options import machine_study_options
from sailsim.cli.common.table import echo, print_table, say
from sailsim.sim.study.workers import Workers

COLUMNS = {
    "machine": "machine", "x": "score", "area %": "area_percent", "J/token": "joules_per_token",
    "tokens/USD": "tokens_per_usd", "W": "power_w",
}  # fmt: skip
"""Columns of the tables of machines: heading and name of the result."""
REASONS = 3
"""Number of most frequent reasons for failed machines that are printed."""


@click.command()
@machine_study_options("explored", 2000, "Machines to try, earlier ones included.")
@click.option(
    "--search", "file", default="next", help="Search space and mix of workloads: a file by name or path."
)
@click.option("--area", type=float, help="Area limit of the units, % of LLC and cores  [default: the file's]")
@click.option("--power", type=float, help="Power limit of the server, W  [default: the file's]")
def explore(out: Path, samples: int, seed: int, jobs: int | Workers, file: str, **limits: Any) -> None:
    """Search for the fastest machine over a mix of workloads, within limits of area and power.

    The score is the geometric mean over the mix of the speedup over equally tuned software on the same cores
    at equal quality. The answer is the front of score and area, the gain of each change, and its interval.
    Each machine of the front is a file for --system. A stopped search goes on where it was.
    """
    with require_extra("study", "explore"):
        from sailsim.analysis.render.claims_figures import explore_figure
        from sailsim.analysis.render.figure import draw, save_captioned
        from sailsim.analysis.search.design_search import WIDER, DesignSearch
        from sailsim.analysis.search.exploration import explore as run

    search = DesignSearch(file, seed=seed, **limits)
    found = run(search, out, samples, jobs)
    figure = explore_figure(search, found)
    save_captioned(figure, draw(figure), out / "explored")
    tables = {name: getattr(found, name) for name in ("front", "waterfall", "workloads")}
    rows = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
    if answered({"out": out, "trials": len(found.trials), **rows}):
        return
    reasons = found.trials["reason"][found.trials["reason"] != ""]
    done = int(found.trials["score"].notna().sum())
    say(
        f"{len(found.trials)} machines tried: {done} to their end, {len(reasons)} cannot be or are beyond a "
        "limit, the others cannot beat one that is no larger."
    )
    for reason, machines in reasons.value_counts().head(REASONS).items():
        say(f"- {machines} of them: {reason}")
    echo("")
    bests = []
    for limit in (search.most_area * wider for wider in WIDER):
        able = found.front[found.front["area_percent"] <= limit]
        if len(able):
            best = able.sort_values("score").iloc[-1]
            bests.append({"within %": limit} | {words: best[name] for words, name in COLUMNS.items()})
    print_table(bests, list(bests[0]))
    echo("")
    steps = found.waterfall.rename(columns={name: words for words, name in COLUMNS.items()})
    changes: list[Mapping[str, Any]] = steps.to_dict("records")  # type: ignore[assignment]
    print_table(changes, ["change", "gain", *list(COLUMNS)[1:]])
    mix = found.workloads.iloc[-1]
    first, best_of = (
        f"{mix[f'{name}_speedup']:.3g}x (median {mix[f'{name}_median']:.3g}, {mix[f'{name}_low']:.3g} .. "
        f"{mix[f'{name}_high']:.3g})"
        for name in ("first", "best")
    )
    say(
        f"{search.base.name} is {first} of {search.content.opponent} over the mix, the last of these "
        f"machines {best_of}; the memory's roofline is {mix['bound']:.3g}x."
    )
    echo(f"Next: {program()} run --system {out}/front/best.toml")
