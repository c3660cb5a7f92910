"""`sailsim claims`: a paper's claims by themselves and together, and what this project claims; and
`sailsim explore`, a search for good machines, which is a study like them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from sailsim.base.hints import needing, program
from sailsim.cli._command import F, Group, applied
from sailsim.cli._json import answered, as_json_option
from sailsim.cli._point import paper_option
from sailsim.cli._study import results_folder, study_options
from sailsim.cli._table import cell, echo, print_table, say
from sailsim.sim.study.workers import Workers

_OF_A_MACHINE = {
    "machine": "machine",
    "x": "score",
    "area %": "area_percent",
    "J/token": "joules_per_token",
    "tokens/USD": "tokens_per_usd",
    "W": "power_w",
}
"""What tables say of a machine, by their words."""
REASONS = 3
"""How many of the reasons why machines cannot run the point are printed, the most frequent first."""


@click.group(cls=Group)
def claims() -> None:
    """Compare claims of papers with machines inside the declared ranges, and run what this project claims."""


def _study(folder: str, samples: int, of: str) -> Callable[[F], F]:
    """The options of a study: its folder, how many machines it tries, from which seed, and who evaluates."""
    return applied(
        results_folder(f"out/{folder}", "machines"),
        click.option("--samples", type=int, default=samples, help=of),
        click.option("--seed", default=0, help="Seed of all draws."),
        study_options(),
        as_json_option,
    )


@claims.command()
@_study("reproduction", 128, "Base samples, a power of two; two machines each.")
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
@_study("joint", 20480, "Machines of each prior, a multiple of 32.")
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


@click.command()
@_study("explored", 2000, "Machines to try, earlier ones included.")
@click.option(
    "--search", "file", default="next", help="The choices and the mix of workloads: a file by name or path."
)
@click.option("--area", type=float, help="% of LLC and cores that units may add  [default: the file's]")
@click.option("--power", type=float, help="W that the server may draw  [default: the file's]")
def explore(out: Path, samples: int, seed: int, jobs: int | Workers, file: str, **limits: Any) -> None:
    """Search for the fastest machine over a mix of workloads, within limits of area and power.

    The score is the geometric mean over the mix of the speedup over equally tuned software on the same cores
    at equal quality. The answer is the front of score and area, the gain of each change, and its interval.
    Each machine of the front is a file for --system. A stopped search goes on where it was.
    """
    with needing("study", "explore"):
        from sailsim.analysis.paper.explore import WIDER, Search
        from sailsim.analysis.paper.explore import explore as run
        from sailsim.analysis.render.claims_figures import explore_figure
        from sailsim.analysis.render.figure import draw, save_captioned

    search = Search(file, seed=seed, **limits)
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
            bests.append({"within %": limit} | {words: best[name] for words, name in _OF_A_MACHINE.items()})
    print_table(bests, list(bests[0]))
    echo("")
    steps = found.waterfall.rename(columns={name: words for words, name in _OF_A_MACHINE.items()})
    told: list[Mapping[str, Any]] = steps.to_dict("records")  # type: ignore[assignment]
    print_table(told, ["change", "gain", *list(_OF_A_MACHINE)[1:]])
    mix = found.workloads.iloc[-1]
    first, best_of = (
        f"{mix[f'{who}_speedup']:.3g}x (median {mix[f'{who}_median']:.3g}, {mix[f'{who}_low']:.3g} .. "
        f"{mix[f'{who}_high']:.3g})"
        for who in ("first", "best")
    )
    say(
        f"{search.base.name} is {first} of {search.content.opponent} over the mix, the last of these "
        f"machines {best_of}; the memory's roofline is {mix['bound']:.3g}x."
    )
    echo(f"Next: {program()} run --system {out}/front/best.toml")


@claims.command()
@click.argument("names", nargs=-1, metavar="[STEP]...")
@results_folder("out/checks", "machines")
@click.option("--list", "only_list", is_flag=True, help="Print what each step runs, and run nothing.")
@as_json_option
def check(names: tuple[str, ...], out: Path, only_list: bool) -> None:
    """Run the commands behind sailsim's own claims, and compare their numbers with the expected ones.

    Without STEP all of them run. Exit status 1: a number differs. docs/reproduction.md lists the steps.
    """
    from sailsim.analysis.paper.check import chosen, run_steps

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
