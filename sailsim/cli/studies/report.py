"""`sailsim report`: results of a sweep as one page, and its figures as files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sailsim.analysis.paper.claim import load_paper
from sailsim.cli.common.command import Command
from sailsim.cli.common.json_output import answered, as_json, as_json_option
from sailsim.cli.common.path_option import OUT_FILE, PathOption
from sailsim.cli.common.point_options import prices_option
from sailsim.cli.common.table import echo, say
from sailsim.sim.study.store import Store


@click.command(cls=Command)
@click.argument("folder", type=PathOption())
@click.option(
    "--out",
    type=OUT_FILE,
    help="File of the report; figures go into the folder figures next to it [default: FOLDER/report.html].",
)
@prices_option
@click.option(
    "--paper",
    help="A paper by name, or a file of claims (data/claims), to compare with. [default: none, but sail for "
    "`sweep --plan paper`]",
)
@as_json_option
def report(folder: Path, out: Path | None, prices: Path | None, paper: str | None) -> None:
    """Write the report of the sweep in FOLDER: one HTML file that loads nothing, with the answer,
    figures, claims, every run and sources. The figures are also written as SVG and PNG.

    The verdict on the study's own workload comes first. Figures run along the parameters that the sweep
    varied. A figure that lacks points is left out, and a line says which points it lacks.
    """
    if paper is not None:
        load_paper(paper)  # refused before a figure's packages are loaded
    from sailsim.analysis.costs.dollars import prices as price_list
    from sailsim.analysis.paper.stored_claims import claims, compared_with
    from sailsim.analysis.render.report_page import report as write
    from sailsim.analysis.studies.stored_runs import RunTable, stored_runs

    store = Store(folder)
    path, *figures = write(store, out, prices, paper, progress=True)
    results = RunTable.of(stored_runs(store), price_list(prices))
    verdict = results.verdict()
    if as_json():
        table = claims(results, compared_with(store.manifest, paper))
        rows = json.loads(table.to_json(orient="records"))
        answered({"report": path, "figures": figures, "claims": rows, "verdict": verdict})
        return
    for sentence in verdict["sentences"]:
        say(sentence)
    echo(str(path))
    say(f"{len(figures)} files of figures in {path.parent / 'figures'}")
