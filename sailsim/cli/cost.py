"""`sailsim cost`: what a decode step costs on every machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from sailsim.cli._path import PathOption
from sailsim.cli._point import point_options
from sailsim.sim import Point


@click.command()
@point_options()
@click.option("--prices", type=PathOption(dir_okay=False), help="A price file to use instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cost(as_json: bool, prices: Path | None, **fields: Any) -> None:
    """Tokens per dollar of SAIL, the cores and every GPU card, as ranges.

    Nominal dollars pay for the vCPUs whose threads, memory or share of the memory's bandwidth the run takes,
    whichever are most; the range is over what a run may pay for, SAIL's overhead, how much of the paid time
    it works, the instances of the price file and the baselines' bands.
    """
    from sailsim.analysis import cost_rows, quoted
    from sailsim.analysis import prices as read_prices

    given = {name: value for name, value in fields.items() if value is not None}
    point, price_list = Point(**given), read_prices(prices)
    rows = cost_rows(point, price_list)
    used = {row.cost.instance for row in rows if row.cost is not None}
    said = quoted(price for price in price_list.rows if price.instance in used)
    if as_json:
        answer = {
            "point": point.as_dict(),
            "prices": said,
            "machines": [row.as_dict() for row in rows],
        }
        click.echo(json.dumps(answer, indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("machine", no_wrap=True)
    for title in ("tokens/s", "USD/h", "ktokens/USD", "range", "USD/Mtok"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        machine = row.machine.removeprefix("NVIDIA ").split("-")[0]
        rate = "does not fit" if row.tokens_per_s is None else f"{row.tokens_per_s:.1f}"
        paid = row.cost
        if paid is None:
            table.add_row(machine, rate, *(["no price"] if row.tokens_per_s is not None else []))
            continue
        table.add_row(
            machine,
            rate,
            f"{paid.usd_per_hour:.3f}",
            _thousands(paid.nominal),
            f"{_thousands(paid.low)}..{_thousands(paid.high)}",
            f"{paid.usd_per_million_tokens:.2f}",
        )
    Console().print(table)
    click.echo(f"Prices: {said or 'none of these machines'}.")


def _thousands(tokens: float) -> str:
    return f"{tokens / 1e3:,.0f}" if tokens >= 1e5 else f"{tokens / 1e3:.1f}"
