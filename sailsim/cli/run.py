"""`sailsim run`: one decode step of a model, on SAIL, on the same server's cores and on every GPU card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from sailsim.analysis import compare
from sailsim.analysis import prices as read_prices
from sailsim.cli._path import PathOption
from sailsim.cli._point import point_options
from sailsim.sim import Point


@click.command()
@point_options()
@click.option(
    "--prt/--no-prt", default=True, show_default=True, help="With or without the pattern reuse table."
)
@click.option("--prices", type=PathOption(dir_okay=False), help="A price file to use instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def run(as_json: bool, prt: bool, prices: Path | None, **fields: Any) -> None:
    """Simulate one decode step of a model with PIM units in the last-level cache.

    What is not given is Llama-2-7B in 4 bits at batch 1 on sail-n1, beside 16 threads.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    price_list = None if prices is None else read_prices(prices)
    found = compare(Point(prt=prt, **given), price_list=price_list)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    point, sail = found["point"], found["sail"]
    console = Console()
    weights = (point["weights"] and f"weights {point['weights']}") or f"{point['wbits']}-bit weights"
    console.print(
        f"[bold]{point['model']}[/], {weights} ({found['weights_said']}), {point['abits']}-bit activations, "
        f"batch {point['batch']}, context {point['context']}, {point['threads']} threads, "
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
        runs = (("", entry), (" serving", entry["serving"]), (" f16", entry["f16"]))
        for title, numbers in runs:
            if "not_available" in numbers:
                refused.append(numbers["not_available"])
            else:
                machines.add_row(f"{card.upper()}{title}", *_cells(numbers))
    console.print(machines)
    phases = Table(box=box.SIMPLE_HEAD, title="where SAIL's step goes")
    phases.add_column("phase")
    phases.add_column("ms", justify="right")
    phases.add_column("share", justify="right")
    for phase, seconds in sail["breakdown"].items():
        phases.add_row(phase, f"{seconds * 1e3:.3f}", f"{seconds / sail['step_s']:.1%}")
    console.print(phases)
    _print_energy(console, found)
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


def _print_energy(console: Console, found: dict[str, Any]) -> None:
    """Joules of a token by cause, SAIL beside the cores alone, and the cards' bounds."""
    batch, used = found["point"]["batch"], (found["sail"]["energy"], found["cpu"]["energy"])
    table = Table(box=box.SIMPLE_HEAD, title="energy of a token, mJ")
    table.add_column("cause")
    for title in ("SAIL", "CPU llama.cpp"):
        table.add_column(title, justify="right")
    for cause in used[0]["by_cause_j"]:
        each = [energy["by_cause_j"][cause] for energy in used]
        # The cores alone have no arrays and no PRT: nothing, not a model's 0.
        table.add_row(cause, *(_modelled(j and 1e3 * j / batch, ".3g") if j != 0 else "-" for j in each))
    each = [energy["j_per_token"] for energy in used]
    table.add_row("all", *(_modelled(j and 1e3 * j, ".0f") for j in each))
    ends = (
        [_modelled(end and 1e3 * end / batch, ".0f") for end in energy["step_j_range"]] for energy in used
    )
    table.add_row("range", *("..".join(dict.fromkeys(pair)) for pair in ends))
    table.add_row("mean power, W", *(_modelled(energy["power_w"], ".0f") for energy in used))
    console.print(table)
    bounds = [
        f"{card.upper()} {1e3 * entry['j_per_token_at_most']:.0f}"
        for card, entry in found["gpu"].items()
        if "j_per_token_at_most" in entry
    ]
    if bounds:
        click.echo(f"At most, by board power all the time, mJ a token: {', '.join(bounds)}.")


def _modelled(value: float | None, form: str) -> str:
    return "not modelled" if value is None else f"{value:{form}}"


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
