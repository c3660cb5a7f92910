"""`sailsim substrates`: the kinds of compute-capable SRAM that ship, and what a substrate file says."""

import click

from sailsim.cli._command import Group
from sailsim.cli._json import print_json
from sailsim.cli._table import echo, print_sources, print_table, say
from sailsim.sim.substrate import Substrate, load_substrate, substrate_names


@click.group(cls=Group)
def substrates() -> None:
    """List kinds of compute-capable SRAM and show what their operations cost."""


@substrates.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_substrates(as_json: bool) -> None:
    """List the substrates that ship."""
    rows = [{"name": name, "title": load_substrate(name).title} for name in substrate_names()]
    if as_json:
        print_json({"substrates": rows})
        return
    for row in rows:
        say(f"{row['name']:<13} {row['title']}", " " * 14)


@substrates.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--sources", is_flag=True, help="Add the citation and note of every cost.")
def show(name: str, as_json: bool, sources: bool) -> None:
    """Show substrate NAME, one that ships or the path of a TOML file."""
    found = load_substrate(name)
    if as_json:
        print_json(found.model_dump(mode="json", exclude_none=True))
        return
    say(f"{found.name}: {found.title}")
    helps = "can help" if found.prt_helps else "cannot help"
    echo(f"layout {found.layout}, accumulates {found.accumulate}, a PRT {helps}\n")
    names = ("operation", "cycles of n bits", "range", "kind", *["source"] * sources)
    costs = []
    for operation, cost in found.costs.items():
        low, high = cost.ends
        span = f"{low} .. {high}" if cost.low is not None else ""
        costs.append(dict(zip(names, (operation, str(cost), span, cost.kind, cost.source), strict=False)))
    print_table(costs, names, numbers=("cycles of n bits",))
    echo()
    for phase in type(found.phases).model_fields:
        say(f" {phase:<11}  {', '.join(getattr(found.phases, phase)) or 'nothing'}", " " * 14)
    echo()
    _print_charges(found, sources)
    if sources:
        charges = {path: each for path, each in found.charges().items() if not isinstance(each, str)}
        said = dict(found.costs) | charges
        print_sources(
            (each.source for each in said.values()),
            lambda name: found.sources.get(name, name),
            ((path, each.note) for path, each in said.items()),
        )


def _print_charges(found: Substrate, sources: bool) -> None:
    """Energy of operations and area, or that they are not modelled."""
    charges = found.charges()
    names = ("energy, area", "of a column, of a bit", "kind", *["source"] * sources)
    rows = [
        dict(zip(names, (path, charge, "", ""), strict=False))
        if isinstance(charge, str)
        else dict(zip(names, (path, str(charge), charge.kind, charge.source), strict=False))
        for path, charge in charges.items()
    ]
    for part, said in (("energy", found.energy), ("area", found.area)):
        if said is None:
            rows.append(dict(zip(names, (part, "not modelled", "", ""), strict=False)))
    print_table(rows, names)
