"""`sailsim claims`: a paper's claims by themselves and together, a search for good machines, and what this
project claims."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sailsim.base.hints import needing, program
from sailsim.cli._command import F, Group, applied
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._point import DEFAULTS, paper_option, point_options, types_of
from sailsim.cli._study import study_options
from sailsim.cli._table import cell, echo, fitting, print_table, say, wide_option
from sailsim.sim.point import Point
from sailsim.sim.ranges import parse_numbers
from sailsim.sim.study.workers import Workers

REASONS = 3
"""How many of the reasons why machines cannot run the point are printed, the most frequent first."""


@click.group(cls=Group)
def claims() -> None:
    """Compare claims of papers with machines inside the declared ranges, and run what this project claims."""


def _out(folder: str) -> Callable[..., Any]:
    """`--out`: the folder that keeps what is found; a stopped command goes on from it."""
    return click.option(
        "--out",
        type=PathOption(file_okay=False),
        default=Path("out", folder),
        show_default=True,
        help="Folder of results; what it holds is not simulated again.",
    )


_json = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")


def _study(folder: str, samples: int, of: str) -> Callable[[F], F]:
    """The options of a study: its folder, how many machines it tries, from which seed, and who evaluates."""
    return applied(
        _out(folder),
        click.option("--samples", type=int, default=samples, show_default=True, help=of),
        click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn."),
        study_options(),
        _json,
    )


@claims.command()
@_study("reproduction", 128, "Base samples, a power of two; two machines each.")
@click.option(
    "--prior", help="A file of unknowns by name or path, instead of the paper's own: sail-wide, say."
)
@paper_option
def reproduce(out: Path, as_json: bool, **how: Any) -> None:
    """Compare every claim with what machines inside the declared ranges give.

    Draws machines from the ranges of everything unpublished, and tells for each claim its distribution, what
    decides it and the nearest plausible configuration. A stopped run goes on where it was; equal samples,
    seed and code give an equal page.
    """
    with needing("study", "claims reproduce"):
        from sailsim.analysis.paper.reproduce import reproduce as study
        from sailsim.analysis.render.claims_page import write_reproduction
        from sailsim.analysis.render.claims_words import claims_of, number, primary, share, verdict

    results = study(out, **how)
    page = write_reproduction(results, out)
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
    echo(str(page))


@claims.command()
@_study("joint", 20480, "Machines of each prior, a multiple of 32.")
@click.option(
    "--prior",
    "priors",
    multiple=True,
    default=("sail", "sail-wide"),
    show_default=True,
    help="A file of unknowns by name or path; several times for several.",
)
@click.option(
    "--combinations",
    default="sail",
    show_default=True,
    help="Which readings go together: a file by name or path.",
)
@paper_option
def joint(out: Path, as_json: bool, **how: Any) -> None:
    """Ask whether one machine can have all of a paper's numbers at once.

    Draws machines from each prior, judges every one by all declared combinations of readings, and tells how
    many come near all claims together, what is pinned there, and how often five invented numbers would have
    been met as well. A stopped run goes on where it was; equal samples, seed and code give an equal page.
    """
    with needing("study", "claims joint"):
        from sailsim.analysis.paper.joint import joint as study
        from sailsim.analysis.render.claims_page import summary, write_joint

    results = study(out, **how)
    page = write_joint(results, out)
    if as_json:
        print_json(results)
        return
    for line in summary(results):
        say(line)
    echo(str(page))


@claims.command()
@_study("explored", 200, "Machines to try, earlier ones included.")
@click.option("--system", default="sail-n1", show_default=True, help="The machine that is varied.")
@point_options(
    *("model", "weights", "abits", "batch", "context", "substrate"),
    defaults=DEFAULTS | {"weights": "a file's own, else 4g128", "batch": "8", "context": "512"},
)
@click.option("--threads", default="8,16,32,64", show_default=True, help="Numbers of cores to choose from.")
@click.option("--field", "searched", multiple=True, help="A field of the system file to search; repeat.")
@wide_option
def explore(
    out: Path,
    samples: int,
    seed: int,
    jobs: int | Workers,
    as_json: bool,
    system: str,
    threads: str,
    searched: tuple[str, ...],
    wide: bool,
    **fields: Any,
) -> None:
    """Search for machines that no other beats in tokens/s, tokens per dollar and area.

    Varies NBW, arrays, rows, columns, slices, port, clock and threads within their declared ranges. A stopped
    search goes on where it was. Each machine of the front is a system file for `sailsim run --system`.
    What is not given is as in `sailsim run`, but batch 8.
    """
    with needing("study", "claims explore"):
        from sailsim.analysis.paper.explore import CHOSEN, Search, options
        from sailsim.analysis.paper.explore import explore as run
        from sailsim.analysis.render.claims_figures import pareto_figure
        from sailsim.analysis.render.figure import draw, save_captioned

    given: dict[str, Any] = {"system": system, "batch": 8}
    point = Point(**given | {name: value for name, value in fields.items() if value is not None})
    search = Search(point, searched or CHOSEN, tuple(parse_numbers("threads", threads)), seed)
    frame = run(search, out, samples, jobs)
    figure = pareto_figure(search, frame)
    save_captioned(figure, draw(figure), out / "pareto")
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
        names = list(rows[0])
        shown = names if wide else fitting(rows, names)
        print_table(rows, shown)
        if len(shown) < len(names):
            say(f"Not shown: {', '.join(names[len(shown) :])} (--wide).")
        best = options(point, int(front["threads"].iloc[0]))
        echo(f"Next: {program()} run --system {out}/front/point-01.toml {best}")


@claims.command()
@click.argument("names", nargs=-1, metavar="[STEP]...")
@_out("checks")
@click.option("--list", "only_list", is_flag=True, help="Say what each step runs, and run nothing.")
@_json
def check(names: tuple[str, ...], out: Path, only_list: bool, as_json: bool) -> None:
    """Run the commands behind what sailsim claims, and compare numbers with what is expected.

    Every STEP, or those named. Exit status 1: a number is missed. docs/reproduction.md lists them.
    """
    from sailsim.analysis.paper.check import chosen, run_steps

    steps = chosen(names)
    if only_list:
        if as_json:
            print_json({"steps": [step.model_dump() for step in steps]})
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
    if as_json:
        print_json({"outcomes": outcomes})
    else:
        for one in outcomes:
            numbers = f"{cell(one['expected']):>10}  {cell(one['value']):>10}"
            begin = f"{'met' if one['met'] else 'MISSED':<6}  {one['step']:<10}  {numbers}  "
            say(f"{begin}{one['what']}", " " * len(begin))
        for reason in dict.fromkeys(f"{one['step']}: {one['why']}" for one in missed if one["why"]):
            say(reason)
        echo(f"{len(outcomes) - len(missed)} of {len(outcomes)} met.")
    if missed:
        raise SystemExit(1)
