"""`sailsim figures` and `sailsim report`: a sweep's results as pictures and as one page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from sailsim.cli._command import Command
from sailsim.cli._json import print_json
from sailsim.cli._path import OUT_FILE, PathOption
from sailsim.cli._point import prices_option
from sailsim.cli._table import echo, say
from sailsim.sim.study.folder import Store

_folder = click.argument("folder", type=PathOption())


@click.command(cls=Command)
@_folder
@click.option("--out", type=PathOption(file_okay=False), help="Write here [default: FOLDER/figures].")
@prices_option
@click.option("--json", "as_json", is_flag=True, help="Print the paths as JSON.")
def figures(folder: Path, out: Path | None, prices: Path | None, as_json: bool) -> None:
    """Draw the figures of the sweep in FOLDER as SVG and PNG, from its results alone.

    A figure runs along what the sweep varied. One that its points do not suit is left out, and a line says
    what it lacks.
    """
    from sailsim.analysis.render.figures import figures as draw

    paths = draw(Store(folder), out, prices, progress=True)
    if as_json:
        print_json({"written": [str(path) for path in paths]})
        return
    for path in paths:
        echo(str(path))


@click.command(cls=Command)
@_folder
@click.option("--out", type=OUT_FILE, help="Write here [default: FOLDER/report.html].")
@prices_option
@click.option(
    "--paper",
    help="A paper by name, or a file of claims (data/claims), to compare with. [default: sail for a study "
    "that decodes a model that its claims are about, else none]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the path and the table of claims as JSON.")
def report(folder: Path, out: Path | None, prices: Path | None, paper: str | None, as_json: bool) -> None:
    """Write the report of the sweep in FOLDER: one HTML file for any browser that loads nothing, with the
    answer, figures that respond, claims and sources.

    The answer is that of the study's own workload.
    """
    from sailsim.analysis.paper.stored_claims import claims
    from sailsim.analysis.render.report import report as write

    path = write(Store(folder), out, prices, paper, progress=True)
    found = claims(Store(folder), prices, paper)
    if as_json:
        rows = json.loads(found.to_json(orient="records"))
        print_json({"report": str(path), "claims": rows})
        return
    _print_claims(found.to_dict("records"))
    echo(str(path))


def _print_claims(rows: Sequence[Mapping[Any, Any]]) -> None:
    """Each claim with the paper's value, and below it what its readings are here."""
    claim = None
    for row in rows:
        here, unit = row["here"], row["unit"]
        if row["claim"] != claim:
            claim = row["claim"]
            say(f"{claim}: paper {row['paper']}{unit}")
        shown = f"{here:.3g}{unit}" if isinstance(here, float) and here == here else str(here or "-")
        say(f"{shown:>8}  {row['verdict']:<10}  {row['reading']}".rstrip(), " " * 22)
