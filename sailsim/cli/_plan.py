"""Options that say which points a sweep has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from sailsim.base.errors import SailsimError
from sailsim.cli._path import TEXT
from sailsim.cli._point import NAMES, NUMBERS, beside_option, numbers_of, point_options
from sailsim.sim.files import Value
from sailsim.sim.plan.file import preset_names, preset_plan, read_plan
from sailsim.sim.plan.plan import Plan, plan_of
from sailsim.sim.ranges import parse_values, parts_of_list

PRT = {"on": [True], "off": [False], "both": [True, False]}
SWITCH = {"on": True, "off": False}


def plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """One option per field of a point, a list and repeatable, `--set`, `--preset` and what else plans have.

    The command has an option or an argument of its own for a plan's `file`.
    """
    decorators = [
        point_options(type=TEXT, multiple=True),
        click.option(
            "--prt", type=click.Choice(list(PRT)), help="With the pattern reuse table, without, or each."
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="FIELD=VALUES",
            help="Values of any field of a point, of a system file, or of an operation of a substrate, as in "
            "llc.slices=16,32 or row_dfm:add=2:4. Repeatable.",
        ),
        click.option("--preset", help=f"A plan that ships instead: {', '.join(preset_names())}."),
        beside_option,
    ]
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


def asked(
    file: Path | None,
    preset: str | None,
    prt: str | None,
    settings: Sequence[str],
    beside: Sequence[Path],
    fields: Mapping[str, Sequence[str]],
) -> tuple[Plan, list[Path], dict[str, Any]]:
    """What the options of `plan_options` ask for: a plan, what else runs its points, and the options that say
    it, for a manifest. Raises SailsimError where they are wrong."""
    given = {name: ",".join(texts) for name, texts in fields.items() if texts}
    config: dict[str, Any] = {"preset": preset, "prt": prt, **given, "set": list(settings)}
    config["beside"] = [str(path) for path in beside]
    if file is None and preset is None:
        return plan_of(_grid(given, prt, settings)), list(beside), config
    name = f"--preset {preset}" if file is None else f"--plan {file}"
    others = [f"--{name.replace('_', '-')}" for name in given if name != "activations"]
    others += ["--prt"] * (prt is not None) + ["--set"] * bool(settings)
    others += ["--preset"] * (file is not None and preset is not None)
    if others:
        raise SailsimError(f"{others[0]} is given beside {name}; allowed beside it is --activations.")
    if file is not None:
        plan, text = read_plan(file)
        config = {"plan": {"file": str(file), "text": text}, **config}
    else:
        plan = preset_plan(str(preset))
    if "activations" in given:
        plan = plan.fixing({"activations": given["activations"]})
    return plan, [*map(Path, plan.beside), *beside], config


def _grid(given: Mapping[str, str], prt: str | None, settings: Sequence[str]) -> dict[str, list[Value]]:
    """Every field with its values: options, then `--set`."""
    grid = {name: _values(name, text) for name, text in given.items()}
    if prt is not None:
        grid["prt"] = list(PRT[prt])
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or not name:
            raise SailsimError(f"set is {setting!r}; allowed is FIELD=VALUES, such as llc.slices=16,32.")
        if name in grid:
            raise SailsimError(f"{name} is given twice; allowed is once.")
        grid[name] = _values(name, text)
    return grid


def _values(name: str, text: str) -> list[Value]:
    """The values of a field, as the field takes them."""
    if name in NUMBERS:
        return list(numbers_of(name, text))
    if name in NAMES:
        return list(parts_of_list(text))
    return parse_values(name, text, SWITCH if name in ("prt", "beyond_limit", "overlap") else None)
