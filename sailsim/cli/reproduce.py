"""`sailsim reproduce`: the paper's claims under everything that it does not publish."""

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
    default=Path("out/reproduction"),
    show_default=True,
    help="Folder of samples, page, figures and system files.",
)
@click.option(
    "--samples",
    type=int,
    default=128,
    show_default=True,
    help="Base samples, a power of two; two machines each.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the Sobol sequence.")
@click.option(
    "--prior", help="A file of unknowns by name or path, instead of the paper's own: sail-wide, say."
)
@study_options()
@paper_option
@click.option("--json", "as_json", is_flag=True, help="Print all results as JSON.")
def reproduce(
    out: Path,
    samples: int,
    seed: int,
    prior: str | None,
    jobs: int | Workers,
    paper: str,
    as_json: bool,
) -> None:
    """Compare every claim with what machines inside the declared ranges give.

    Draws machines from the ranges of everything unpublished, and tells for each claim its distribution, what
    decides it and the nearest plausible configuration. A stopped run goes on where it was; equal samples,
    seed and code give an equal page.
    """
    with needing("study", "reproduce"):
        from sailsim.analysis.paper.reproduce import reproduce as study
        from sailsim.analysis.render.reproduction_page import write_page
        from sailsim.analysis.render.reproduction_words import claims_of, number, primary, share, verdict

    results = study(out, samples, jobs, seed, paper=paper, prior=prior)
    written = write_page(results, out)
    if as_json:
        print_json(results)
        return
    for claim, of_claim in claims_of(results):
        main = primary(of_claim)
        median = number(main["quantiles"] and main["quantiles"][1], claim.unit)
        say(f"{claim.title}: paper {number(claim.value, claim.unit)}, {verdict(claim, of_claim)}")
        say(
            f"    nominal {number(main['nominal'], claim.unit)}, median {median}, "
            f"{share(main['reach'], main['machines'])} reach the paper's",
            "    ",
        )
    for path in written:
        if path.suffix in (".html", ".md"):
            echo(str(path))
