"""`sailsim claims`: reproduction of a paper's claims, and checks of this project's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sailsim.base.hints import needing
from sailsim.cli.common.command import Group
from sailsim.cli.common.json_output import answered, as_json_option
from sailsim.cli.common.point_options import paper_option
from sailsim.cli.common.study_options import machine_study_options, results_folder
from sailsim.cli.common.table import cell, echo, say


@click.group(cls=Group)
def claims() -> None:
    """Compare claims of papers with machines inside the declared ranges, and run what this project claims."""


@claims.command()
@machine_study_options("reproduction", 128, "Base samples, a power of two; two machines each.")
@click.option(
    "--prior", help="A file of unknowns by name or path, instead of the paper's own: sail-wide, say."
)
@paper_option
def reproduce(out: Path, **how: Any) -> None:
    """Compare every claim with machines drawn from the declared ranges.

    The ranges cover everything that is not published. The page tells for each claim its distribution, the
    unknowns that decide it, and the nearest plausible configuration. A stopped run
    goes on where it was. Equal samples, seed and code give an equal page.
    """
    with needing("study", "claims reproduce"):
        from sailsim.analysis.paper.reproduce import reproduce as study
        from sailsim.analysis.render.claims_page import write_reproduction
        from sailsim.analysis.render.claims_words import claims_of, number, primary, share, verdict

    results = study(out, **how)
    page = write_reproduction(results, out)
    if answered(results):
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
    echo(str(page))


@claims.command()
@machine_study_options("joint", 20480, "Machines of each prior, a multiple of 32.")
@click.option(
    "--prior",
    "priors",
    multiple=True,
    default=("sail", "sail-wide"),
    help="A file of unknowns by name or path. Repeatable.",
)
@click.option("--combinations", default="sail", help="Which definitions go together: a file by name or path.")
@paper_option
def joint(out: Path, **how: Any) -> None:
    """Ask whether one machine can have all of a paper's numbers at once.

    Machines are drawn from each prior and judged by all declared combinations of definitions. The page tells
    how many come near all claims at once, which unknowns are pinned there, and how often invented numbers
    would have been met as well. A stopped run goes on where it was. Equal samples, seed and
    code give an equal page.
    """
    with needing("study", "claims joint"):
        from sailsim.analysis.paper.joint import joint as study
        from sailsim.analysis.render.claims_page import summary, write_joint

    results = study(out, **how)
    page = write_joint(results, out)
    if answered(results):
        return
    for line in summary(results):
        say(line)
    echo(str(page))


@claims.command()
@click.argument("names", nargs=-1, metavar="[STEP]...")
@results_folder("out/checks", "machines")
@click.option("--list", "only_list", is_flag=True, help="Print what each step runs, and run nothing.")
@as_json_option
def check(names: tuple[str, ...], out: Path, only_list: bool) -> None:
    """Run the commands behind sailsim's own claims, and compare their numbers with the expected ones.

    Without STEP all of them run. Exit status 1: a number differs. docs/reproduction.md lists the steps.
    """
    from sailsim.analysis.paper.claim_check import chosen, run_steps

    steps = chosen(names)
    if only_list:
        if answered({"steps": [step.model_dump() for step in steps]}):
            return
        for step in steps:
            say(f"{step.name} (about {step.minutes:g} min): {step.title}")
            for command in step.commands:
                echo(f"    sailsim {command}")
        return
    outcomes = []
    for step, seconds, of_step in run_steps(steps, out):
        echo(f"{step.name}: {seconds:.0f} s", err=True)
        outcomes += of_step
    missed = [one for one in outcomes if not one["met"]]
    if not answered({"outcomes": outcomes}):
        for one in outcomes:
            numbers = f"{cell(one['expected']):>10}  {cell(one['value']):>10}"
            begin = f"{'met' if one['met'] else 'MISSED':<6}  {one['step']:<10}  {numbers}  "
            say(f"{begin}{one['what']}", " " * len(begin))
        for reason in dict.fromkeys(f"{one['step']}: {one['why']}" for one in missed if one["why"]):
            say(reason)
        echo(f"{len(outcomes) - len(missed)} of {len(outcomes)} met.")
    if missed:
        raise SystemExit(1)
