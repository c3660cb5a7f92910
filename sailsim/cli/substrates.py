"""`sailsim substrates`: the kinds of compute-capable SRAM that ship, and what a substrate file says."""

import click
from rich.table import Table
from rich.text import Text

from sailsim.base.screen import screen
from sailsim.cli._json import print_json
from sailsim.sim import load_substrate, substrate_names


@click.group()
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
        click.echo(f"{row['name']:<13} {row['title']}")


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
    console = screen()
    console.print(Text.assemble((found.name, "bold"), f": {found.title}"))
    helps = "can help" if found.prt_helps else "cannot help"
    console.print(f"layout {found.layout}, accumulates {found.accumulate}, a PRT {helps}")
    table = Table(box=None, pad_edge=False)
    for title in ("operation", "cycles of n bits", "range", "kind"):
        table.add_column(title, no_wrap=True)
    if sources:
        table.add_column("source and note")
    for operation, cost in found.costs.items():
        low, high = cost.ends
        span = f"{low} .. {high}" if cost.low is not None else ""
        cells = [operation, str(cost), span, cost.kind]
        if sources:
            cells.append(f"{found.sources.get(cost.source, cost.source)}. {cost.note}")
        table.add_row(*cells)
    console.print(table)
    phases = Table(box=None, pad_edge=False)
    phases.add_column("phase", no_wrap=True)
    phases.add_column("what it does")
    for phase in type(found.phases).model_fields:
        phases.add_row(phase, ", ".join(getattr(found.phases, phase)) or "nothing")
    console.print(phases)
    charges = Table(box=None, pad_edge=False)
    charges.add_column("energy, area", no_wrap=True)
    charges.add_column("of a column, of a bit")
    for path, charge in found.charges().items():
        cells = [charge, ""] if isinstance(charge, str) else [str(charge), charge.kind]
        if sources and not isinstance(charge, str):
            cells[1] += f". {found.sources.get(charge.source, charge.source)}. {charge.note}"
        charges.add_row(path, ", ".join(filter(None, cells)))
    for part, said in (("energy", found.energy), ("area", found.area)):
        if said is None:
            charges.add_row(part, "not modelled")
    console.print(charges)
