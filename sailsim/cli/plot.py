"""`sailsim plot`: one picture of a folder's records."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from sailsim.analysis.results.chart import Agg, Ask, Kind, chart
from sailsim.analysis.results.folder import Results
from sailsim.cli._command import Command
from sailsim.cli._json import print_json
from sailsim.cli._path import OUT_FILE, PathOption
from sailsim.cli._table import echo


@click.command(cls=Command)
@click.argument("folder", type=PathOption())
@click.option("--x", required=True, help="The column along the axis.")
@click.option("--y", required=True, help="The column of the heights; of a mapping as in phases.dram.")
@click.option("--color", default="", help="The column that colours tell apart.")
@click.option("--facet", default="", help="The column with a panel for each value.")
@click.option("--where", default="", help="An SQL condition on columns, as in \"runner='sail'\".")
@click.option("--log-x", is_flag=True, help="A logarithmic axis.")
@click.option("--log-y", is_flag=True, help="A logarithmic axis.")
@click.option(
    "--kind",
    type=click.Choice(get_args(Kind)),
    default="auto",
    show_default=True,
    help="auto: lines over what was asked, points over what came out, bars over words.",
)
@click.option(
    "--agg",
    type=click.Choice(get_args(Agg)),
    default="none",
    show_default=True,
    help="Of several records on one mark; none: they are an error.",
)
@click.option("--out", type=OUT_FILE, required=True, help="A .png, .svg or .pdf file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plot(folder: Path, out: Path, log_x: bool, log_y: bool, as_json: bool, **asked: Any) -> None:
    """Draw the records of FOLDER: --y over --x, coloured and in panels by other columns.

    The labels are those of docs/columns.md. Below the title stands what was filtered and put together, and
    which fields vary that the picture does not show.
    """
    from sailsim.analysis.render.plot import check_ending  # matplotlib: only when needed
    from sailsim.analysis.render.plot import plot as draw
    from sailsim.analysis.render.style import save

    check_ending(out)
    found = chart(Results(folder), Ask(**asked))
    save(draw(found, log_x, log_y), out)
    if as_json:
        print_json(
            {"path": str(out), "kind": found.kind, "records": found.records, "notes": list(found.said)}
        )
        return
    echo(f"{out}: {found.title}, {found.records} marks")
    for sentence in found.said:
        echo(f"- {sentence}")
