"""`sailsim reuse`: how often bit patterns of real activations repeat, and what a PRT saves by it."""

from __future__ import annotations

from pathlib import Path

import click

from sailsim.cli._command import Command
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._study import study_options
from sailsim.cli._table import echo, say
from sailsim.sim.study import Workers
from sailsim.workloads import Activations


@click.command(cls=Command)
@click.option("--activations", type=PathOption(), help="A capture [default: the compact one that ships].")
@click.option(
    "--out",
    type=PathOption(file_okay=False),
    help="Keep tables (Parquet) and figures here; what it holds already is not measured again.",
)
@click.option(
    "--docs",
    type=PathOption(file_okay=False, exists=True),
    help="Renew the tables of reuse.md in this folder, and its figures.",
)
@study_options(2)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def reuse(
    activations: Path | None, out: Path | None, docs: Path | None, jobs: int | Workers, as_json: bool
) -> None:
    """Measure the reuse of patterns on captured activations and compare it with the paper's 13.8 %.

    By layer type, bit position, batch, NBW, PRT entries, replacement, key and quantizer; cycles saved on each
    substrate; every definition of the published saving, and which comes nearest. About a minute.
    """
    from sailsim.analysis.render import reuse_page
    from sailsim.analysis.reuse.measure import measure
    from sailsim.analysis.reuse.patterns import shares

    if docs is not None:
        reuse_page.check_docs(docs)  # before a minute's work
    measured = measure(Activations.load(activations), out, progress=True, jobs=jobs)
    written = reuse_page.write_figures(measured, out) if out is not None else []
    if docs is not None:
        written += reuse_page.write_docs(measured, docs)
    if as_json:
        overall = shares(measured.unit(), ["batch", "nbw"]).to_dict("records")
        found = {
            "activations": measured.activations.id,
            "shares": overall,
            "claim": measured.nearest.as_dict(),
            "written": [str(path) for path in written],
        }
        print_json(found)
        return
    for line in reuse_page.summary(measured).splitlines():
        say(line)
    for path in written:
        echo(str(path))
