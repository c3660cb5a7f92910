"""`sailsim docs`: everything in the checkout that a program writes, written or checked."""

from __future__ import annotations

from pathlib import Path

import click

from sailsim.analysis.render import docs as generated
from sailsim.base.errors import SailsimError
from sailsim.base.progress import followed
from sailsim.cli._command import Command
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._table import echo

ENTRIES = (
    *generated.ENTRIES,
    generated.Generated(
        "commands",
        "docs/commands.md",
        "sailsim.cli._commands_page:page",
        "every command's --help",
        kind="file",
        words=True,
    ),
)


@click.command(cls=Command)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--write", "action", flag_value="write", help="Write what is not as it should be, and figures.")
@click.option("--check", "action", flag_value="check", help="Write nothing; exit status 1 if a piece is old.")
@click.option("--all", "everything", is_flag=True, help="Also what takes minutes.")
@click.option(
    "--root",
    type=PathOption(file_okay=False, exists=True),
    help="The checkout [default: the one that this runs from].",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def docs(
    names: tuple[str, ...], action: str | None, everything: bool, root: Path | None, as_json: bool
) -> None:
    """List, write or check the generated pieces of a checkout: pages, tables, figures, the C++ tests' files.

    Without names those that take seconds; --check then judges the others by a stamp of their inputs, where
    they have one.
    """
    place = generated.checkout(root)
    entries = generated.chosen(ENTRIES, names, everything)
    if action is None:
        if names or everything:
            raise SailsimError("names and --all go with --write or --check; allowed alone is the list.")
        _list(as_json)
        return
    found: dict[str, list[str]] = {}
    quick = action == "check" and not names and not everything
    for entry in followed(ENTRIES if quick else entries, "pieces"):
        found[entry.name] = (
            generated.write(entry, place) if action == "write" else generated.stale(entry, place, quick)
        )
    if as_json:
        print_json({"pieces": found})
    else:
        for name, paths in found.items():
            for path in paths:
                echo(path if action == "write" else f"{path} is old: sailsim docs --write {name}")
    if action == "check" and any(found.values()):
        raise click.exceptions.Exit(1)


def _list(as_json: bool) -> None:
    rows = [
        {
            "name": entry.name,
            "path": entry.path,
            "inputs": entry.inputs,
            "takes": "minutes" if entry.minutes else "seconds",
        }
        for entry in ENTRIES
    ]
    if as_json:
        print_json({"pieces": rows})
        return
    for row in rows:
        echo(f"{row['name']:<16} {row['takes']:<8} {row['path']}\n    from {row['inputs']}")
