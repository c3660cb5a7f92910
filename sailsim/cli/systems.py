"""`sailsim systems`: the machines that ship, and what a system file says."""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from sailsim.sim import (
    Card,
    Choice,
    Frozen,
    Quantity,
    System,
    card_names,
    json_schema,
    load_machine,
    system_names,
)


@click.group()
def systems() -> None:
    """List machines and show where each of their numbers comes from."""


@systems.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_systems(as_json: bool) -> None:
    """List the CPU servers and GPU cards that ship."""
    rows = [
        {"name": name, "kind": machine.kind, "pim": isinstance(machine, System) and machine.has_pim,
         "title": machine.title}
        for name in (*system_names(), *card_names())
        for machine in [load_machine(name)]
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        pim = "with PIM" if row["pim"] else ""
        click.echo(f"{row['name']:<11} {row['kind']:<4} {pim:<9} {row['title']}")


@systems.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--sources", is_flag=True, help="Add the citation and note of every value.")
def show(name: str, as_json: bool, sources: bool) -> None:
    """Show machine NAME, one that ships or the path of a TOML file."""
    machine = load_machine(name)
    if as_json:
        click.echo(machine.model_dump_json(indent=2, exclude_none=True))
        return
    console = Console(soft_wrap=False)
    console.print(f"[bold]{machine.name}[/bold]: {machine.title}")
    table = Table(box=None, pad_edge=False)
    table.add_column("field", no_wrap=True)
    table.add_column("value", no_wrap=True)
    table.add_column("range", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    if sources:
        table.add_column("source and note")
    for path, value in _leaves(machine):
        if isinstance(value, Quantity):
            low, high = value.low, value.high
            span = f"{low:g} .. {high:g}" if low is not None and high is not None else ""
            cells = [path, str(value), span, value.kind]
        elif isinstance(value, Choice):
            cells = [path, str(value.value), "", value.kind]
        else:
            cells = [path, str(value), "", "switch"]
        if sources:
            cells.append(_provenance(machine, value))
        table.add_row(*cells)
    console.print(table)


@systems.command()
def schema() -> None:
    """Print the JSON schema of a system file."""
    click.echo(json.dumps(json_schema(), indent=2))


def _leaves(section: Frozen, prefix: str = "") -> list[tuple[str, Any]]:
    """Every value below a section, with its dotted path."""
    found: list[tuple[str, Any]] = []
    for field in type(section).model_fields:
        value = getattr(section, field)
        if isinstance(value, Quantity | Choice | bool):
            found.append((prefix + field, value))
        elif isinstance(value, Frozen):
            found.extend(_leaves(value, f"{prefix}{field}."))
    return found


def _provenance(machine: System | Card, value: Any) -> str:
    if not isinstance(value, Quantity | Choice):
        return ""
    citation = machine.citation(value.source)
    return f"{citation}. {value.note}" if value.note else citation
