"""`sailsim run`: one decode step of a model, on SAIL, on the same server's cores and on every GPU card."""

from __future__ import annotations

import json
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from sailsim.analysis import compare
from sailsim.cli._point import point_options
from sailsim.sim import Point


@click.command()
@point_options()
@click.option(
    "--prt/--no-prt", default=True, show_default=True, help="With or without the pattern reuse table."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def run(as_json: bool, prt: bool, **fields: Any) -> None:
    """Simulate one decode step of a model with PIM units in the last-level cache.

    What is not given is Llama-2-7B in 4 bits at batch 1 on sail-n1, beside 16 threads.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    found = compare(Point(prt=prt, **given))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    point, sail = found["point"], found["sail"]
    console = Console()
    console.print(
        f"[bold]{point['model']}[/], {point['wbits']}-bit weights, {point['abits']}-bit activations, batch "
        f"{point['batch']}, context {point['context']}, {point['threads']} threads, "
        f"on [bold]{point['system']}[/]"
    )
    machines = Table(
        box=box.SIMPLE_HEAD, caption="speedup, value: SAIL's tokens/s and tokens/USD over the machine's"
    )
    machines.add_column("machine", no_wrap=True)
    for title in ("tokens/s", "range", "step ms", "tokens/USD", "speedup", "value"):
        machines.add_column(title, justify="right", no_wrap=True)
    machines.add_row(
        "SAIL",
        f"{sail['tokens_per_s']:.1f}",
        "",
        f"{sail['step_s'] * 1e3:.2f}",
        _count(sail["tokens_per_usd"]),
    )
    machines.add_row("CPU llama.cpp", *_cells(found["cpu"]))
    machines.add_row("CPU Ampere", *_cells(found["cpu_ampere"]))
    refused = []
    for card, entry in found["gpu"].items():
        for title, numbers in ((card.upper(), entry), (f"{card.upper()} f16", entry["f16"])):
            if "not_available" in numbers:
                refused.append(numbers["not_available"])
            else:
                machines.add_row(title, *_cells(numbers))
    console.print(machines)
    phases = Table(box=box.SIMPLE_HEAD, title="where SAIL's step goes")
    phases.add_column("phase")
    phases.add_column("ms", justify="right")
    phases.add_column("share", justify="right")
    for phase, seconds in sail["breakdown"].items():
        phases.add_row(phase, f"{seconds * 1e3:.3f}", f"{seconds / sail['step_s']:.1%}")
    console.print(phases)
    price = found["price"]
    if price["instance"] is None:
        click.echo("Prices: none of this system, nor of one that it extends.")
    else:
        click.echo(
            f"Prices: {price['instance']}, {price['source']}, {price['date']}; "
            f"SAIL pays {price['sail_overhead']:.0%} more."
        )
    for note in dict.fromkeys([*found["notes"], *refused]):
        click.echo(f"- {note}")


def _cells(entry: dict[str, Any]) -> list[str]:
    ratio = entry["tokens_per_usd_ratio"]
    return [
        f"{entry['tokens_per_s']:.1f}",
        f"{entry['low']:.0f}..{entry['high']:.0f}",
        f"{entry['step_s'] * 1e3:.2f}",
        _count(entry["tokens_per_usd"]),
        f"{entry['speedup']:.2f}x",
        "no price" if ratio is None else f"{ratio:.2f}x",
    ]


def _count(tokens: float | None) -> str:
    return "no price" if tokens is None else f"{tokens:,.0f}"
