"""`sailsim artifact`: every claim with the command that shows it, run and compared."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.cli._command import Command
from sailsim.cli._json import print_json
from sailsim.cli._path import OUT_FILE, PathOption
from sailsim.cli._table import cell, echo, say


@click.command(cls=Command)
@click.argument("names", nargs=-1, metavar="[STEP]...")
@click.option(
    "--out",
    type=PathOption(file_okay=False),
    default=Path("out/artifact"),
    show_default=True,
    help="Folder of what the commands keep; what it holds is not simulated again.",
)
@click.option("--list", "only_list", is_flag=True, help="Say what each step runs, and run nothing.")
@click.option("--write", type=OUT_FILE, help="Write what was found as what is expected.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def artifact(names: tuple[str, ...], out: Path, only_list: bool, write: Path | None, as_json: bool) -> None:
    """Run the commands behind what sailsim claims, and compare numbers with what is expected.

    Every STEP, or those named. Exit status 1: a number is missed. docs/reproduction.md lists them.
    """
    from sailsim.analysis.results.artifact import chosen, expected_text, run_steps

    wanted = chosen(names)
    if only_list:
        if as_json:
            print_json({"steps": [asdict(step) for step in wanted]})
            return
        for step in wanted:
            say(f"{step.name} (about {step.minutes:g} min): {step.title}")
            for command in step.commands:
                echo(f"    sailsim {command}")
        return
    found = []
    for each in run_steps(wanted, out):
        echo(f"{each.step.name}: {each.seconds:.0f} s", err=True)
        found.append(each)
    outcomes = [outcome for each in found for outcome in each.outcomes]
    if write:
        failed = [one for one in outcomes if one.found is None]
        if failed:
            raise SailsimError(f"step {failed[0].step} gave no values ({failed[0].why}); nothing is written.")
        write_whole(write, expected_text(found).encode())
        echo(f"{write} has {len(outcomes)} values of {len(found)} steps.")
        return
    if as_json:
        rows = [asdict(outcome) | {"met": outcome.met} for outcome in outcomes]
        print_json({"outcomes": rows, "hashes": {each.step.name: each.hash for each in found}})
    else:
        rows = [
            {
                "": "met" if one.met else "MISSED",
                "step": one.step,
                "expected": one.expected,
                "found": one.found,
                "value": one.what,
            }
            for one in outcomes
        ]
        for row in rows:
            numbers = (f"{cell(row[name]):>10}" for name in ("expected", "found"))
            begin = f"{row['']:<6}  {row['step']:<10}  {'  '.join(numbers)}  "
            say(f"{begin}{row['value']}", " " * len(begin))
        for each in found:
            reason = next((one.why for one in each.outcomes if one.why), "")
            same = (
                "same to six digits" if each.same else f"not the same to six digits{reason and ': ' + reason}"
            )
            say(f"{each.step.name}: {each.hash}, {same}")
        missed = sum(not one.met for one in outcomes)
        echo(f"{len(outcomes) - missed} of {len(outcomes)} met.")
    if not all(one.met for one in outcomes):
        raise SystemExit(1)
