"""`sailsim cost`: what a decode step costs on every machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from sailsim.base.screen import screen
from sailsim.cli._command import Command
from sailsim.cli._json import print_json
from sailsim.cli._point import (
    beside_option,
    beyond_option,
    constants_option,
    overlap_option,
    point_options,
    prices_option,
    prt_option,
    reasons,
    thousands,
    types_of,
)
from sailsim.cli._table import say
from sailsim.sim.point import Point

_KEPT = (
    *("title", "tokens_per_s", "instance", "paid", "usd_per_hour", "usd_per_million_tokens"),
    *(f"tokens_per_usd{end}" for end in ("", "_low", "_high", "_used", "_bandwidth", "_whole")),
    *(f"usd_ratio_{payment}" for payment in ("used", "bandwidth", "whole")),
    *("fits", "reason"),
)
"""What `--json` says of a runner."""


@click.command(cls=Command)
@point_options()
@prt_option
@beyond_option
@overlap_option
@beside_option
@prices_option
@constants_option("cost")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cost(
    as_json: bool,
    prt: bool,
    beyond_limit: bool,
    overlap: bool,
    prices: Path | None,
    beside: tuple[Path, ...],
    constants: tuple[Path, ...],
    **fields: Any,
) -> None:
    """Tokens per dollar of SAIL, the cores and every GPU card, as ranges.

    Nominal dollars pay for the vCPUs whose threads, memory or share of the memory's bandwidth the run takes,
    whichever are most; the range is over what a run may pay for, SAIL's overhead, how much of the paid time
    it works, the instances of the price file and the baselines' bands. `sailsim run` prints the same nominal.
    """
    from sailsim.analysis.baselines.runners import runners
    from sailsim.analysis.costs.constants import files_by_kind
    from sailsim.analysis.costs.dollars import CostConstants
    from sailsim.analysis.costs.dollars import prices as read_prices
    from sailsim.analysis.results.compare import compare

    given = {name: value for name, value in fields.items() if value is not None}
    files = files_by_kind(constants, [CostConstants]).values()
    price_list = read_prices(prices)
    point = Point(prt=prt, beyond_limit=beyond_limit, overlap=overlap, **given)
    found = compare(point, price_list=price_list, runners=runners(beside), constants=files)
    if as_json:
        rows = {name: {key: entry[key] for key in _KEPT} for name, entry in found["runs"].items()}
        print_json({"point": found["point"], "prices": found["prices"], "runs": rows})
        return
    say(types_of(point))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("runner", no_wrap=True, max_width=22)
    for title in ("tokens/s", "USD/h", "ktok/USD", "range"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("pays for")
    for entry in found["runs"].values():
        table.add_row(*_cells(entry))
    screen().print(table)
    say(f"Prices: {found['prices'] or 'none of these machines'}.")
    for note, names in found["price_notes"].items():
        say(f"- {', '.join(names)}: {note}")
    for line in reasons(found["runs"]):
        say(line)


def _cells(entry: dict[str, Any]) -> list[str]:
    """A line of the table."""
    if entry["tokens_per_s"] is None:
        return [entry["title"], "-" if entry["fits"] else "does not fit"]
    if entry["tokens_per_usd"] is None:
        return [entry["title"], f"{entry['tokens_per_s']:.1f}", "no price"]
    return [
        entry["title"],
        f"{entry['tokens_per_s']:.1f}",
        f"{entry['usd_per_hour']:.3f}",
        thousands(entry["tokens_per_usd"]),
        f"{thousands(entry['tokens_per_usd_low'])}..{thousands(entry['tokens_per_usd_high'])}",
        entry["paid"],
    ]
