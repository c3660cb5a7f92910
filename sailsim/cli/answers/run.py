"""`sailsim run`: one step of a model, decoding or prefill, on SAIL, the server's cores and every GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sailsim.analysis.costs.dollars import prices as read_prices
from sailsim.analysis.costs.energy import tokens_of
from sailsim.analysis.runs.compare import compare
from sailsim.analysis.runs.runs import SAIL, runners
from sailsim.analysis.runs.target import configurations_reaching
from sailsim.cli.answers.run_tables import print_dollars, print_notes, print_runs
from sailsim.cli.common.command import Command
from sailsim.cli.common.json_output import answered, as_json_option
from sailsim.cli.common.path_option import PathOption
from sailsim.cli.common.point_options import against_option, point_options, prices_option
from sailsim.cli.common.table import echo, print_numbers, print_table, say
from sailsim.sim.machine.pim import AUTO
from sailsim.sim.machine.system_files import extend_reference, parse_changes
from sailsim.sim.point import Point


@click.command(cls=Command)
@point_options()
@click.option("--prt/--no-prt", default=True, help="With or without the pattern reuse table.")
@click.option(
    "--beyond-limit",
    is_flag=True,
    help="Allow a context or prompt of more tokens than the model was made for.",
)
@click.option(
    "--overlap/--no-overlap",
    default=False,
    help="Split the batch in two halves: cores work for one while units work for the other.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Change a field of the system, as in llc.slices=16. Repeatable.",
)
@against_option
@prices_option
@click.option(
    "--constants",
    type=PathOption(dir_okay=False),
    multiple=True,
    help="A file of energy or cost constants, with ranges, in place of the shipped ones. Repeatable.",
)
@click.option(
    "--target",
    type=float,
    help="Tokens/s to reach: find the widths, batches and threads that reach it, and the cheapest of them.",
)
@click.option(
    "--cost", is_flag=True, help="Print the cost of each runner, its range, and the resource paid for."
)
@click.option("--wide", is_flag=True, help="Print every runner, energy by cause, and assumptions.")
@as_json_option
def run(
    target: float | None, cost: bool, wide: bool, settings: tuple[str, ...], prices: Path | None,
    against: tuple[Path, ...], constants: tuple[Path, ...],
    **fields: Any,
) -> None:  # fmt: skip
    """Simulate one step of a model with PIM units in the last-level cache: a token for each sequence, or with
    --phase prefill their prompts, up to the first token.

    The default is Llama-2-7B in 4 bits at batch 1 on sail-n1 with 16 threads. On a machine without units
    only cores and GPUs are compared.

    Nominal dollars pay for the most of three counts of vCPUs: by threads, by memory, and by the share of the
    memory's bandwidth. The range (--cost) covers other ways to pay, SAIL's overhead, the share of paid time
    that is used, other instances and the intervals of the rates.
    """
    switches = {name: fields.pop(name) for name in ("prt", "beyond_limit", "overlap")}
    given = {name: value for name, value in fields.items() if value is not None}
    price_list = read_prices(prices)
    point = Point(**switches, **given)
    if settings:
        point = replace(point, system=extend_reference(point.system, parse_changes(settings)))
    if target is not None:
        reached = configurations_reaching(point, target, given.keys(), runners(against), price_list)
        _print_reached(reached, target)
        return
    answer = compare(point, price_list=price_list, runners=runners(against), constants=constants)
    if not answered(answer):
        _print(answer, cost, wide)


REACHED = ("runner", "wbits", "weights", "batch", "threads", "tokens_per_s", "usd_per_million_tokens")
"""Columns of the table of combinations that reach a target."""


def _print_reached(rows: list[dict[str, Any]], target: float) -> None:
    """Print each runner's cheapest combination that reaches a target, and the fewest threads with which SAIL
    and the cheapest runner reach it."""
    names = ("title", "fewest_threads", *REACHED)
    if answered({"target": target, "reached": [{name: row[name] for name in names} for row in rows]}):
        return
    if not rows:
        say(f"No width, batch or number of threads that was asked for reaches {target:g} tokens/s.")
        return
    say(f"{len(rows)} combinations reach {target:g} tokens/s. The cheapest of each runner:")
    cheapest = {row["runner"]: row for row in reversed(rows)}
    print_table([row for row in rows if row is cheapest[row["runner"]]], REACHED)
    batches = sorted({row["batch"] for row in rows})
    for runner in (name for name in cheapest if name in (SAIL, rows[0]["runner"])):
        own = {(row["wbits"], row["batch"]): row["fewest_threads"] for row in rows if row["runner"] == runner}
        table = [
            (str(bits or rows[0]["weights"]), *(str(own.get((bits, batch), "-")) for batch in batches))
            for bits in dict.fromkeys(bits for bits, _ in sorted(own))
        ]
        say(f"\nFewest threads of {cheapest[runner]['title']}, by bits of a weight and batch:")
        print_numbers(("bits", *(f"batch {batch}" for batch in batches)), table)
    say("Rates are of the nominal machine; narrow weights lose quality (docs/quality.md).")


def _print(answer: dict[str, Any], cost: bool, wide: bool) -> None:
    point, runs = answer["point"], answer["runs"]
    prefill = point["phase"] == "prefill"
    length = f"prefill of {point['prompt']} tokens" if prefill else f"context {point['context']}"
    types = next(iter(runs.values()))["types"]
    substrate = f", substrate {point['substrate']}" if point["substrate"] else ""
    places = [run["converted"] for run in runs.values() if run["converted"]]
    conversion = f", conversion: {places[0]}" if point["convert"] == AUTO and places else ""
    weights = (point["weights"] and f"weights {point['weights']}") or f"{point['wbits']}-bit weights"
    say(
        f"{point['model']}, {weights} ({types}), {point['abits']}-bit activations, batch {point['batch']}, "
        f"{length}, {_cache(point)}{point['threads']} threads, on {point['system']}"
        f"{substrate}{conversion}",
        "",
    )
    for sentence in answer["verdict"]["sentences"]:
        say(sentence)
    echo()
    if cost:
        print_dollars(answer)
        return
    print_runs(runs, prefill=prefill, tokens=tokens_of(point), wide=wide)
    print_notes(answer, wide)


def _cache(point: dict[str, Any]) -> str:
    """Settings of the key-value cache and of attention that are not the defaults, in words."""
    words = "" if point["kv_bits"] in (0, 16) else f"{point['kv_bits']}-bit cache, "
    words += "attention on the units, " if point["attention"] == "units" else ""
    return words + ("two half-batches, " if point["overlap"] else "")
