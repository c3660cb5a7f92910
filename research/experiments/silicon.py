"""The tables of docs/cost.md on silicon, synthesis, who pays for the LLC, and what moves the answer most.

    python research/experiments/silicon.py     # 30 s: asks `sailsim run` and writes docs/data/cost-*.csv

Published values are those of `analysis/data/sram_cim_silicon.csv`. Nothing is scaled from one process to
another. A MAC is a product and an addition, so an efficiency of x TOPS/W is 2000 / x fJ.
"""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sailsim.analysis.costs.area import AreaConstants, area
from sailsim.analysis.costs.constants import data_file
from sailsim.analysis.costs.dollars import PAYMENTS
from sailsim.base.atomic import read_records
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.software.fitted import read_csv
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import uniform_format
from sailsim.workloads.models.graph import decode_step

OUT = Path(__file__).parents[2] / "docs" / "data"
UNITS = ("arrays", "dfm", "prt")
"""Causes of a step's energy that are the units' own, but for conversion."""
SAIL_PROCESS = "7 nm, predictive"
"""Of ASAP7, from which the constants of the area and the energy come."""
WITHOUT_ROOM = "--set pim.prefetch_share=0"

CURVE = (
    "sail_lane",
    "sail_prt",
    "sail_sequencer",
    "sail_dfm",
    "sail_stager",
    "sail_pack",
    "sail_drain",
    "sail_convert",
)
"""Modules of the curve: those of a unit that converts in memory."""

EVENTS = {
    "sail_sequencer": ("cycle",),
    "sail_lane": ("look-up", "sail_lane", "look"),
    "sail_prt": ("pattern", "sail_sequencer", "pattern_take"),
    "sail_prt_rows": ("hit", "sail_lane", "from_prt"),
    "sail_stager": ("row", "sail_stager", "row_valid"),
    "sail_pack": ("batch row", "sail_pack", "now_take"),
    "sail_drain_2": ("beat", "sail_drain_2", "emits"),
    "sail_convert": ("converted sum", "sail_convert", "in_valid"),
}
"""What a module's energy is divided by: cycles in which a port of one of them is high, else all."""

ASKED: dict[str, list[list[str]]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())


@cache
def asked(options: str, batch: int = 8) -> dict[str, Any]:
    """`sailsim run --json` with some options, its runs by their names."""
    command = [sys.executable, "-m", "sailsim", "run", "--batch", str(batch), *shlex.split(options), "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found["runs"]


def write(name: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table beside the pages."""
    with (OUT / f"cost-{name}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def span(values: Iterable[float]) -> str:
    """One number, or the ends of several, in three digits."""
    ends = sorted(values)
    rounded = [f"{float(f'{end:.3g}'):,.6g}" for end in (*ends[:1], *ends[-1:])]
    return " .. ".join(dict.fromkeys(rounded)) or "-"


def published() -> list[list[str]]:
    """A row an array and product: process, clock, fJ a MAC, um2 a bit, as far as they are published."""
    chips: dict[str, list[dict[str, str]]] = {}
    for row in read_csv(data_file("sram_cim_silicon.csv").read_text("utf-8")):
        chips.setdefault(row["machine"], []).append(row)
    found = []
    for machine, rows in chips.items():

        def of(metric: str, fmt: str | None = None, rows: list[dict[str, str]] = rows) -> list[float]:
            """Values of a metric, of a product's format."""
            every = [row for row in rows if row["metric"] == metric and fmt in (None, row["format"])]
            return [float(row["value"]) for row in every]

        areas = [float(row["value"]) for row in rows if row["metric"].startswith("area of ")]
        per_bit = [sum(areas) / bits for bits in of("bits")]
        energies = {
            fmt: [*of("energy", fmt), *(2000 / each for each in of("efficiency", fmt))]
            for fmt in dict.fromkeys(row["format"] for row in rows)
        }
        clock = [each / 1000 for each in of("clock")]
        if clock or per_bit:
            told = [fmt for fmt, each in energies.items() if each and fmt != "W1A1"]
            for fmt in told or [""]:
                numbers = map(span, (clock, energies.get(fmt, []), per_bit))
                found.append([machine, rows[0]["kind"], rows[0]["process"], fmt or "-", *numbers])
    return found


def ours() -> list[list[str]]:
    """The same of sail-n1 at the headline: its units without conversion, and with it."""
    run, system, model = asked("")["sail"], load_system("sail-n1"), load_model("llama-2-7b")
    ops = decode_step(model, uniform_format(4, 128), 8, 512)
    products = sum(op.macs for op in ops if op.kind == "gemv")
    pim = system.require_pim()
    bits = system.llc.slices.whole * pim.arrays.whole * pim.rows.whole * pim.cols.whole
    energy = {cause: joules / products * 1e15 for cause, joules in run["energy"].items()}
    look_ups = sum(energy[cause] for cause in UNITS)
    same = ("derived", SAIL_PROCESS, "W4A8", span([pim.clock.value]))
    unit = span([area(system).added_mm2() * 1e6 / bits])
    return [
        ["sail-n1, simulated: tables and look-ups", *same, span([look_ups]), unit],
        ["the same, conversion in memory", *same, span([look_ups + energy["convert"]]), unit],
    ]


def moves() -> Iterable[list[str]]:
    """A row a change, from the slowest to the fastest."""
    headline = asked("")["sail"]["tokens_per_s"]
    rates = [(asked(options)["sail"]["tokens_per_s"], change, options) for change, options in ASKED["moves"]]
    for rate, change, options in sorted(rates):
        yield [change, f"`{options}`", f"{rate:.1f}", f"{rate / headline:.2f}x"]


def not_modelled() -> Iterable[list[str]]:
    """A row of each, with what something like it does to tokens/s where the engine can be asked."""
    run, system = asked("")["sail"], load_system("sail-n1")
    pim, step = system.require_pim(), run["step_s"]
    mib = system.llc.slices.whole * pim.arrays.whole * pim.rows.whole * pim.cols.whole / 8 / 2**20
    watts = sum(run["energy"][cause] for cause in (*UNITS, "convert")) / step
    said = {
        "watts": f"units draw {watts:.1f} W of {run['power_w']:.0f}",
        "mib": mib,
        "us": mib * 2**20 / system.memory.read_bandwidth.si * 1e6,
    }
    for what, options, kind, why in ASKED["not_modelled"]:
        rate = asked(options)["sail"]["tokens_per_s"] if options else 0.0
        factor = f"{rate / run['tokens_per_s']:.2f}x" if rate else "-"
        number = [f"`{options}`", f"{rate:.1f}"] if options else ["-", "-"]
        yield [what, *number, factor, kind or "-", why.format(**said)]


def synthesised() -> Iterable[list[str]]:
    """A row a part of the unit whose area synthesis gives too, and one of all of it, by LLC and cores."""
    machine = load_system("sail-n1")
    assumed, gates = area(machine), area(machine, AreaConstants.synthesised())
    for part, mm2 in assumed.parts.items():
        if gates.parts[part] != mm2:
            yield [part, span([mm2]), span([gates.parts[part]]), f"{gates.parts[part] / mm2:.1f}x"]
    share, whole = ([each.share("all of the unit", "LLC and cores") for each in (assumed, gates)], "unit")
    sums = [sum(each.parts.values()) for each in (assumed, gates)]
    yield [whole, *(span([each]) for each in sums), f"{sums[1] / sums[0]:.1f}x"]
    yield ["of LLC and cores", *(f"{each:.2%}" for each in share), f"{share[1] / share[0]:.1f}x"]


def curve() -> Iterable[list[str]]:
    """A row a module of `CURVE` with its area and path by the period that was asked for."""
    rows: dict[str, list[str]] = {}
    for row in read_records(data_file("rtl/sail-n1.jsonl"))["rows"]:
        rows.setdefault(row["module"], []).extend((f"{row['area_um2']:,.4g}", f"{row['path_ps'] or 0:.0f}"))
    yield from ([name, *rows[name]] for name in CURVE)


def energies() -> Iterable[list[str]]:
    """A row a module of `EVENTS`: energy of a cycle and of an event. The tile is that of rtl_waves.py."""
    rows = {row["module"]: row for row in read_records(data_file("rtl/sail-n1.jsonl"))["energies"]}
    for module, (event, *where) in EVENTS.items():
        row = rows[module]
        many = rows[where[0]]["high"][where[1]] if where else row["cycles"]
        pj = row["pj"] * row["cycles"] / many
        yield [module, f"{row['pj']:.3g}", event, f"{many:,}", f"{pj:.3g}"]


def paid() -> Iterable[list[str]]:
    """Tokens a dollar by way to pay, SAIL with and without the room in the LLC."""
    for batch in (1, 8):
        with_room, without = asked("", batch), asked(WITHOUT_ROOM, batch)
        own = {"SAIL": with_room["sail"], "SAIL, no room in the LLC": without["sail"]}
        others = {with_room[name]["title"]: with_room[name] for name in ("cores", "cores-lut", "v100")}
        for title, run in (own | others).items():
            dollars = (f"{run[f'tokens_per_usd_{payment}']:,.0f}" for payment in PAYMENTS)
            yield [str(batch), title, f"{run['tokens_per_s']:.1f}", *dollars]


def dollars() -> Iterable[list[str]]:
    """Tokens a dollar of every runner, with the range, at both batches."""
    for batch in (1, 8):
        for run in asked("", batch).values():
            rate, usd = run["tokens_per_s"], run["usd_per_hour"]
            row = [str(batch), run["title"], span([] if rate is None else [rate])]
            if rate is None or not usd:
                yield [*row, "-" if rate is None else "no price", *"-----"]
                continue
            ends = " .. ".join(f"{run[f'tokens_per_usd_{end}']:,.0f}" for end in ("low", "high"))
            price = (
                f"{usd:.3g}",
                f"{run['tokens_per_usd']:,.0f}",
                ends,
                f"{run['usd_per_million_tokens']:.3g}",
            )
            yield [*row, run["instance"], run["paid"], *price]


if __name__ == "__main__":
    quantities = ("clock, GHz", "fJ a MAC", "um2 a bit")
    write("silicon", ("array", "kind", "process", "product", *quantities), [*published(), *ours()])
    write("who-pays-for-the-llc", ("batch", "runner", "tokens/s", *PAYMENTS), paid())
    money = ("instance", "pays for", "USD/h", "tokens/USD", "range", "USD per million")
    write("the-range", ("batch", "runner", "tokens/s", *money), dollars())
    write("what-moves-it", ("change", "options", "tokens/s", "of the headline"), moves())
    write("synthesised", ("part", "assumed, mm2", "synthesised, mm2", "times"), synthesised())
    head = ["module", *(f"{words} {period} ps" for period in (450, 600, 1000) for words in ("um2,", "path,"))]
    write("synthesised-curve", head, curve())
    write("synthesised-energy", ("module", "pJ a cycle", "event", "events", "pJ an event"), energies())
    write("not-modelled", ("effect", "asked as", "tokens/s", "factor", "kind", "why"), not_modelled())
