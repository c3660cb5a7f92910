"""`sailsim claims`: reproduction of a paper's claims, and checks of this project's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sailsim.base.hints import require_extra
from sailsim.cli.common.command import Command
from sailsim.cli.common.json_output import answered, as_json_option
from sailsim.cli.common.point_options import paper_option
from sailsim.cli.common.study_options import machine_study_options, results_folder
from sailsim.cli.common.table import cell, echo, say


@click.group()
def claims() -> None:
    """Compare a paper's claims with machines in the declared ranges, and check this project's own claims."""


@claims.command(cls=Command)
@machine_study_options("reproduction", 128, "Base samples, a power of two; two machines each.")
@click.option(
    "--prior", help="A prior of the unknowns by name or path, instead of the paper's own, as sail-wide."
)
@paper_option
def reproduce(out: Path, **options: Any) -> None:
    """Compare every claim with machines drawn from the declared ranges.

    The ranges cover everything that is not published. The page shows the distribution of each claim, the
    unknowns that decide it, and the nearest plausible configuration. A stopped run continues where it was.
    Equal samples, seed and code give an equal page.
    """
    with require_extra("study", "claims reproduce"):
        from sailsim.analysis.paper.reproduce import reproduce as study
        from sailsim.analysis.render.claims_page import write_reproduction
        from sailsim.analysis.render.claims_words import claims_of, number, primary, share, verdict

    results = study(out, **options)
    page = write_reproduction(results, out)
    if answered(results):
        return
    for claim, rows in claims_of(results):
        main = primary(rows)
        median = number(main["quantiles"] and main["quantiles"][1], claim.unit)
        say(f"{claim.title}: paper {number(claim.value, claim.unit)}, {verdict(claim, rows)}")
        say(
            f"    nominal {number(main['nominal'], claim.unit)}, median {median}, "
            f"{share(main['reach'], main['machines'])} reach the paper's",
            "    ",
        )
    echo(str(page))


@claims.command(cls=Command)
@machine_study_options("joint", 20480, "Machines of each prior, a multiple of 32.")
@click.option(
    "--prior",
    "priors",
    multiple=True,
    default=("sail", "sail-wide"),
    help="A prior of the unknowns by name or path. Repeatable.",
)
@click.option("--combinations", default="sail", help="Combinations of definitions: a file by name or path.")
@paper_option
def joint(out: Path, **options: Any) -> None:
    """Ask whether one machine can have all of a paper's numbers at once.

    Machines are drawn from each prior and judged by all declared combinations of definitions. The page shows
    how many come near all claims at once, which unknowns are pinned there, and how often invented numbers
    would have been met as well. A stopped run continues where it was. Equal samples, seed and code give an
    equal page.
    """
    with require_extra("study", "claims joint"):
        from sailsim.analysis.paper.joint import joint as study
        from sailsim.analysis.render.claims_page import summary, write_joint

    results = study(out, **options)
    page = write_joint(results, out)
    if answered(results):
        return
    for line in summary(results):
        say(line)
    echo(str(page))


@claims.command(cls=Command)
@click.argument("names", nargs=-1, metavar="[STEP]...")
@results_folder("out/checks", "machines")
@click.option("--list", "only_list", is_flag=True, help="Print the commands of each step, and run nothing.")
@as_json_option
def check(names: tuple[str, ...], out: Path, only_list: bool) -> None:
    """Run the commands behind sailsim's own claims, and compare their numbers with the expected ones.

    Without STEP all of them run. Exit status 1: a number differs. docs/reproduction.md lists the steps.
    """
    from sailsim.analysis.paper.claim_check import checks_named, run_checks

    steps = checks_named(names)
    if only_list:
        if answered({"steps": [step.model_dump() for step in steps]}):
            return
        for step in steps:
            say(f"{step.name} (about {step.minutes:g} min): {step.title}")
            for command in step.commands:
                echo(f"    sailsim {command}")
        return
    outcomes = []
    for step, seconds, results in run_checks(steps, out):
        echo(f"{step.name}: {seconds:.0f} s", err=True)
        outcomes += results
    missed = [outcome for outcome in outcomes if not outcome["met"]]
    if not answered({"outcomes": outcomes}):
        for outcome in outcomes:
            numbers = f"{cell(outcome['expected']):>10}  {cell(outcome['value']):>10}"
            begin = f"{'met' if outcome['met'] else 'MISSED':<6}  {outcome['step']:<10}  {numbers}  "
            say(f"{begin}{outcome['what']}", " " * len(begin))
        for reason in dict.fromkeys(f"{each['step']}: {each['why']}" for each in missed if each["why"]):
            say(reason)
        echo(f"{len(outcomes) - len(missed)} of {len(outcomes)} met.")
    if missed:
        raise SystemExit(1)
