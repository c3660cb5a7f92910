"""`sailsim run`: one step of a model, decoding or prefill, on SAIL, the server's cores and every card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sailsim.analysis import compare, runners
from sailsim.analysis import prices as read_prices
from sailsim.analysis.baselines.kinds import FASTEST
from sailsim.analysis.costs.energy import CAUSES, tokens_of
from sailsim.base.screen import screen
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._point import beside_option, constants_option, point_options, prt_option, reasons, thousands
from sailsim.sim import Point, parse_changes, system_with

COLUMNS = ("tokens/s", "band", "speedup", "ktok/USD", "value")
"""Of numbers in the table of runners, in decoding."""


@click.command()
@point_options()
@prt_option
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Another value of a field of the system, as in llc.slices=16; repeat.",
)
@beside_option
@click.option("--prices", type=PathOption(dir_okay=False), help="A price file to use instead.")
@constants_option("energy or the cost")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def run(
    as_json: bool,
    prt: bool,
    settings: tuple[str, ...],
    prices: Path | None,
    beside: tuple[Path, ...],
    constants: tuple[Path, ...],
    **fields: Any,
) -> None:
    """Simulate one step of a model with PIM units in the last-level cache: a token for each sequence, or with
    --phase prefill their prompts, up to the first token.

    What is not given is Llama-2-7B in 4 bits at batch 1 on sail-n1, beside 16 threads.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    price_list = None if prices is None else read_prices(prices)
    point = Point(prt=prt, **given)
    if settings:
        point = replace(point, system=system_with(point.system, parse_changes(settings)))
    found = compare(point, price_list=price_list, runners=runners(beside), constants=constants)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    point, runs = found["point"], found["runs"]
    console = screen()
    types = next(iter(runs.values()))["types"]
    asked = point["substrate"]
    weights = (point["weights"] and f"weights {point['weights']}") or f"{point['wbits']}-bit weights"
    console.print(
        Text.assemble(
            (str(point["model"]), "bold"),
            f", {weights} ({types}), {point['abits']}-bit activations, "
            f"batch {point['batch']}, {_tokens(point)}, {point['threads']} threads, on ",
            (str(point["system"]), "bold"),
            f", substrate {asked}" if asked else "",
        )
    )
    console.print(_table(runs, point["phase"] == "prefill"))
    for name, entry in runs.items():
        if entry["kind"] == "accelerator" and entry["step_s"] is not None:
            console.print(_phases(name, entry))
    for name, entry in runs.items():
        if entry["chosen"]:
            console.print(_nbws(name, entry["chosen"]))
    _print_energy(console, tokens_of(point), runs)
    click.echo(f"Prices: {found['prices'] or 'none of these machines'}.")
    click.echo(f"- {found['patterns']}")
    for note, names in found["notes"].items():
        click.echo(f"- {', '.join(names)}: {note}")
    for line in reasons(runs):
        click.echo(line)


def _tokens(point: dict[str, Any]) -> str:
    """How much a step has to do with."""
    if point["phase"] == "prefill":
        return f"prefill of {point['prompt']} tokens"
    return f"context {point['context']}"


def _table(runs: dict[str, Any], prefill: bool) -> Table:
    """A line a runner: its rate with its band, SAIL's speedup over it, and its dollars; in prefill also its
    time to the first token."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        caption=f"{'TTFT: time to the first token; ' if prefill else ''}speedup, value: SAIL's tokens/s, and "
        "tokens/USD so paid, over the runner's",
    )
    table.add_column("runner", no_wrap=True, max_width=22)
    for title in ("TTFT, s", *COLUMNS) if prefill else COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    if not prefill:  # the time to the first token has its room
        table.add_column("pays for")
    for entry in runs.values():
        if entry["tokens_per_s"] is None:
            table.add_row(entry["title"], "-" if entry["fits"] else "does not fit")
            continue
        band = "" if entry["low"] is None else f"{_short(entry['low'])}..{_short(entry['high'])}"
        speedup = "" if entry["speedup"] is None else f"{entry['speedup']:.2f}x"
        cells = [f"{entry['tokens_per_s']:.1f}", band, speedup, *_dollars(entry)]
        table.add_row(entry["title"], *([f"{entry['ttft_s']:.3g}", *cells[:-1]] if prefill else cells))
    return table


def _short(rate: float) -> str:
    """A rate in as few digits as a band needs."""
    return f"{rate:.0f}" if rate < 1e4 else f"{rate / 1e3:.0f}k"


def _dollars(entry: dict[str, Any]) -> list[str]:
    if entry["tokens_per_usd"] is None:
        return ["no price", "", ""]
    ratio = entry["usd_ratio_bandwidth"]
    return [thousands(entry["tokens_per_usd"]), "" if ratio is None else f"{ratio:.2f}x", entry["paid"]]


def _phases(name: str, entry: dict[str, Any]) -> Table:
    title = "where SAIL's step goes" if name == "sail" else f"where the step of {name} goes"
    phases = Table(box=box.SIMPLE_HEAD, title=title)
    phases.add_column("phase")
    phases.add_column("ms", justify="right")
    phases.add_column("share", justify="right")
    for phase, seconds in entry["phases"].items():
        phases.add_row(phase, f"{seconds * 1e3:.3f}", f"{seconds / entry['step_s']:.1%}")
    return phases


def _nbws(name: str, chosen: dict[str, int]) -> Table:
    """Which NBW each kind of tensor has where it was chosen for each: "4", or "3 (10 tensors), 4 (22)"."""
    kinds: dict[str, list[tuple[str, int]]] = {}
    for key, tensors in chosen.items():
        kind, _, nbw = key.rpartition(" ")
        kinds.setdefault(kind, []).append((nbw, int(tensors)))
    table = Table(box=box.SIMPLE_HEAD, title=f"NBW of {name}'s tensors")
    table.add_column("tensor")
    table.add_column("NBW")
    for kind, found in kinds.items():
        (first, tensors), *others = sorted(found, key=lambda each: -each[1])
        cells = [f"{first} ({tensors} tensors)", *(f"{nbw} ({count})" for nbw, count in others)]
        table.add_row(kind, ", ".join(cells) if others else first)
    return table


def _print_energy(console: Console, tokens: float, runs: dict[str, Any]) -> None:
    """Joules of a token by cause, of all that can run it but cards, and the cards' bounds.

    The fastest software is one of the others, which have columns of their own.
    """
    shown = {n: e for n, e in runs.items() if e["kind"] != "card" and e["software"] != FASTEST}
    used = {n: e for n, e in shown.items() if e["tokens_per_s"] is not None}
    if not used:
        return
    table = Table(box=box.SIMPLE_HEAD, title="energy of a token, mJ")
    table.add_column("cause")
    for name in used:
        table.add_column(name, justify="right")
    for cause in CAUSES:
        each = [entry["energy"].get(cause) for entry in used.values()]
        # The cores alone have no arrays and no PRT: nothing, not a model's 0.
        table.add_row(cause, *(_modelled(j and 1e3 * j / tokens, ".3g") if j != 0 else "-" for j in each))
    table.add_row("all", *(_millijoules(entry["j_per_token"]) for entry in used.values()))
    ends = ([_millijoules(entry[f"j_per_token_{end}"]) for end in ("low", "high")] for entry in used.values())
    table.add_row("range", *("..".join(dict.fromkeys(pair)) for pair in ends))
    table.add_row("mean power, W", *(_modelled(entry["power_w"], ".0f") for entry in used.values()))
    console.print(table)
    bounds = [
        f"{name} {1e3 * entry['j_per_token_high']:.0f}"
        for name, entry in runs.items()
        if entry["kind"] == "card" and entry["energy_high_j"] is not None
    ]
    if bounds:
        click.echo(f"At most, by board power all the time, mJ a token: {', '.join(bounds)}.")


def _millijoules(joules: float | None) -> str:
    return _modelled(joules and 1e3 * joules, ".0f")


def _modelled(value: float | None, form: str) -> str:
    return "not modelled" if value is None else f"{value:{form}}"
