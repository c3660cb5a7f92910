"""`sailsim joint`: all claims of a paper at once, under a narrow and a wide prior."""

from __future__ import annotations

from pathlib import Path

import click

from sailsim.base.hints import needing
from sailsim.cli._command import Command
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._point import paper_option
from sailsim.cli._study import study_options
from sailsim.cli._table import echo, say
from sailsim.sim.study.workers import Workers


@click.command(cls=Command)
@click.option(
    "--out",
    type=PathOption(file_okay=False),
    default=Path("out/joint"),
    show_default=True,
    help="Folder of machines, page, figure and the nearest system file.",
)
@click.option(
    "--machines", type=int, default=20480, show_default=True, help="Of each prior, a multiple of 32."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the Sobol sequence.")
@click.option(
    "--prior",
    "priors",
    multiple=True,
    help="A file of unknowns by name or path; several times for several [default: sail and sail-wide].",
)
@click.option(
    "--combinations",
    default="sail",
    show_default=True,
    help="Which readings go together: a file by name or path.",
)
@study_options()
@paper_option
@click.option("--json", "as_json", is_flag=True, help="Print all results as JSON.")
def joint(
    out: Path,
    machines: int,
    seed: int,
    priors: tuple[str, ...],
    combinations: str,
    jobs: int | Workers,
    paper: str,
    as_json: bool,
) -> None:
    """Ask whether one machine can have all of a paper's numbers at once.

    Draws machines from each prior, judges every one by all declared combinations of readings, and tells how
    many come near all claims together, what is pinned there, and how often five invented numbers would have
    been met as well. A stopped run goes on where it was; equal machines, seed and code give an equal page.
    """
    with needing("study", "joint"):
        from sailsim.analysis.paper.joint import PRIORS
        from sailsim.analysis.paper.joint import joint as study
        from sailsim.analysis.render.joint_page import summary, write_page

    results = study(
        out, machines, jobs, seed, paper=paper, priors=priors or PRIORS, combinations=combinations
    )
    written = write_page(results, out)
    if as_json:
        print_json(results)
        return
    for line in summary(results):
        say(line)
    for path in written:
        if path.suffix == ".md":
            echo(str(path))
