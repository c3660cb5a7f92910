"""Tables of cost, energy and area: what `sailsim cost` prints and what the pages hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sailsim.analysis.costs.area import PART_TITLES, AreaConstants, area, readings
from sailsim.analysis.costs.cacti import recorded
from sailsim.analysis.costs.constants import Constants
from sailsim.analysis.costs.dollars import CostConstants, CostRange, PriceList, prices
from sailsim.analysis.costs.energy import CAUSES, EnergyConstants
from sailsim.analysis.results.evaluate import cost_ranges, energy_columns, evaluate
from sailsim.sim import Point, System, card_names, load_card, load_system

MACHINES: Mapping[str, str] = {
    "sail": "SAIL",
    "cpu": "cores, llama.cpp",
    "cpu_ampere": "cores, Ampere's fork",
    "cpu_all": "all cores, llama.cpp",
}
"""The machines on a CPU server, by the prefix of their columns."""


@dataclass(frozen=True)
class CostRow:
    """One machine: its rate, None where it cannot run the step, and its dollars, None without a price."""

    machine: str
    tokens_per_s: float | None
    cost: CostRange | None

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        cost = self.cost
        return {
            "machine": self.machine,
            "tokens_per_s": self.tokens_per_s,
            "instance": cost and cost.instance,
            "usd_per_hour": cost and cost.usd_per_hour,
            "tokens_per_usd": cost and cost.nominal,
            "tokens_per_usd_range": cost and [cost.low, cost.high],
            "usd_per_million_tokens": cost and cost.usd_per_million_tokens,
        }


def cost_rows(point: Point, price_list: PriceList | None = None) -> list[CostRow]:
    """Tokens per dollar of every machine for a point: range, nominal and dollars an hour.

    Nominal dollars pay for the vCPUs whose share of threads, memory and memory bandwidth the run takes; the
    range is that of `sailsim.analysis.costs.dollars.cost_range`. Raises SailsimError for a point that cannot
    be simulated.
    """
    record = evaluate(point)
    ranges = cost_ranges(record, prices() if price_list is None else price_list)
    titles = dict(MACHINES)
    titles |= {f"gpu_{card}": load_card(card).title for card in card_names()}
    return [CostRow(title, record[f"{name}_tokens_per_s"], ranges[name]) for name, title in titles.items()]


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; None is a dash."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def cost_table(points: Sequence[Point]) -> str:
    """Every machine's dollars at the shipped prices, for some points."""
    rows: list[list[object]] = []
    for point in points:
        for row in cost_rows(point):
            cost = row.cost
            if cost is None:
                rows.append(
                    [point.batch, row.machine, row.tokens_per_s, "no price" if row.tokens_per_s else None]
                )
                rows[-1] += [None] * 4
                continue
            rows.append(
                [
                    point.batch,
                    row.machine,
                    row.tokens_per_s,
                    cost.instance,
                    cost.usd_per_hour,
                    cost.nominal,
                    f"{_cell(cost.low)} .. {_cell(cost.high)}",
                    cost.usd_per_million_tokens,
                ]
            )
    header = ("batch", "machine", "tokens/s", "instance", "USD/h", "tokens/USD", "range", "USD per million")
    return markdown(header, rows)


def energy_table(points: Sequence[Point]) -> str:
    """Joules a token by cause, SAIL beside the cores alone, for some points."""
    rows: list[list[object]] = []
    for point in points:
        record = evaluate(point)
        for prefix, title in (("", "SAIL"), ("cpu_", "cores")):
            batch = record["batch"]
            low, high = (record[f"{prefix}energy_{end}_j"] / batch for end in ("low", "high"))
            rows.append(
                [
                    point.wbits,
                    point.batch,
                    title,
                    *(record[f"{prefix}energy_{cause}_j"] / batch * 1e3 or None for cause in CAUSES),
                    record[f"{prefix}energy_j"] / batch,
                    f"{low:.2g} .. {high:.2g}",
                    record[f"{prefix or 'sail_'}power_w"],
                ]
            )
    header = ("bits", "batch", "", *(f"{cause} mJ" for cause in CAUSES), "J/token", "range", "W")
    return markdown(header, rows)


def sensitivity_table(point: Point, most: int = 8) -> str:
    """Which constants decide: the cores' joules a token over SAIL's with one constant at an end of its range,
    the ``most`` widest swings first."""
    system = load_system(point.system)
    record = evaluate(point)
    default = EnergyConstants.default()

    def saving(constants: EnergyConstants) -> float:
        found = record | energy_columns(record, system, constants)
        return float(found["cpu_tokens_per_j"] ** -1 * found["sail_tokens_per_j"])

    swings = []
    for name, quantity in EnergyConstants.QUANTITIES.items():
        if quantity.low is None or quantity.high is None:
            continue
        low, high = (saving(replace(default, **{name: float(end)})) for end in (quantity.low, quantity.high))
        swings.append((abs(high - low), name, low, high))
    swings.sort(reverse=True)
    rows = [[f"`{name}`", f"{low:.2f}x", f"{high:.2f}x"] for _, name, low, high in swings[:most]]
    rows.append(["all nominal", f"{saving(default):.2f}x", f"{saving(default):.2f}x"])
    return markdown(("constant", "at its low end", "at its high end"), rows)


def prt_table(points: Sequence[Point]) -> str:
    """What the PRT saves of a token's energy, for some points."""
    rows: list[list[object]] = []
    for point in points:
        record = evaluate(point)
        saved, arrays = record["energy_prt_saved_j"], record["energy_arrays_j"]
        reads = record["activity_array_reads"]
        hits = record["activity_prt_reads"]
        rows.append(
            [
                point.batch,
                f"{hits / (hits + reads):.1%}",
                saved / record["batch"] * 1e3,
                f"{saved / (arrays + saved + record['energy_prt_j']):.1%}",
                f"{saved / (record['energy_j'] + saved):.2%}",
            ]
        )
    header = ("batch", "row reads spared", "saved, mJ/token", "of arrays and PRT", "of the whole")
    return markdown(header, rows)


def constants_table(constants: type[Constants]) -> str:
    """Every constant of a model with its range, kind, source and reason."""
    rows = []
    for name, quantity in constants.QUANTITIES.items():
        span = "" if quantity.low is None else f"{quantity.low:g} .. {quantity.high:g}"
        rows.append(
            [
                f"`{name}`",
                f"{quantity.value:g}",
                quantity.unit,
                span,
                quantity.kind,
                quantity.source + (f" ({quantity.note})" if quantity.note else ""),
            ]
        )
    return markdown(("constant", "value", "unit", "range", "kind", "source (reason)"), rows)


def area_table(system: System) -> str:
    """The unit of one slice by part, with what its constants' ranges allow."""
    found = area(system)
    small, large = (area(system, AreaConstants.extreme(end)).parts.as_dict() for end in ("small", "large"))
    total = found.parts.total
    rows: list[list[object]] = [
        [PART_TITLES[name], mm2, f"{small[name]:.2g} .. {large[name]:.2g}", f"{mm2 / total:.0%}"]
        for name, mm2 in found.parts.as_dict().items()
    ]
    rows.append(["a slice's unit", total, f"{sum(small.values()):.2g} .. {sum(large.values()):.2g}", "100%"])
    rows.append([f"all {found.slices} units", found.added_mm2, "", ""])
    return markdown(("part", "mm2", "range", "of the unit"), rows)


def readings_table(system: System) -> str:
    """The readings of "2 %" side by side: the share here, and the arrays a slice that would give it."""
    ends = [readings(system, AreaConstants.extreme(end)) for end in ("small", "large")]
    rows = [
        [
            reading.counted,
            reading.base,
            f"{reading.share:.1%}",
            f"{least.share:.1%} .. {most.share:.1%}",
            None if reading.arrays is None else f"{reading.arrays:.1f}",
        ]
        for reading, least, most in zip(readings(system), *ends, strict=True)
    ]
    header = ("counted", "over", "share", "range", "arrays a slice that give 2 %")
    return markdown(header, rows)


def sums_table(system: System, rows_held: Sequence[int] = (1, 8, 32)) -> str:
    """What the sums of a batch take beside the arrays, and a PRT with and without its entries' data."""
    default = AreaConstants.default()
    lines: list[list[object]] = []
    for rows in rows_held:
        parts = area(system, replace(default, accumulator_rows=float(rows))).parts
        lines.append(
            [f"sums of {rows} batch rows", parts.accumulators, f"{parts.accumulators / parts.arrays:.0%}"]
        )
    for data, title in ((1.0, "PRT that holds the rows it spares"), (0.0, "PRT that holds patterns only")):
        parts = area(system, replace(default, prt_data=data)).parts
        lines.append([title, parts.prt, f"{parts.prt / parts.arrays:.0%}"])
    return markdown(("what", "mm2 a slice", "of the arrays"), lines)


def cacti_table() -> str:
    """CACTI's numbers beside this project's constants for the same memories."""
    c, a = EnergyConstants.default(), AreaConstants.default()
    own = {256: (c.array_read_fj_bit, a.array_efficiency), 512: (c.llc_fj_bit, a.llc_efficiency)}
    rows = []
    for found in recorded():
        memory = found.memory
        fj = found.read_pj * 1e3 / memory.bits
        here, efficiency = own[memory.bits]
        rows.append(
            [
                f"{memory.name}, {memory.bytes // 1024} KiB",
                memory.node_nm,
                found.read_pj,
                found.write_pj,
                fj,
                fj * 7 / memory.node_nm,
                here,
                f"{found.efficiency:.0%}",
                f"{efficiency:.0%}",
                found.leakage_mw * 2**20 / memory.bytes,
            ]
        )
    header = (
        "memory",
        "nm",
        "read pJ",
        "write pJ",
        "read fJ/bit",
        "scaled to 7 nm",
        "here",
        "cells",
        "here",
        "leaks mW/MiB",
    )
    return markdown(header, rows)


POINTS = tuple(Point(batch=batch) for batch in (1, 8))
"""What the pages show: Llama-2-7B in 4 bits on sail-n1 beside 16 threads."""


def page_tables() -> dict[str, str]:
    """Every table of the pages, by the name in its marks."""
    system = load_system("sail-n1")
    return {
        "cost": cost_table(POINTS),
        "cost constants": constants_table(CostConstants),
        "energy": energy_table(POINTS),
        "sensitivity": sensitivity_table(POINTS[0]),
        "prt": prt_table(POINTS),
        "energy constants": constants_table(EnergyConstants),
        "area": area_table(system),
        "readings": readings_table(system),
        "sums": sums_table(system),
        "area constants": constants_table(AreaConstants),
        "cacti": cacti_table(),
    }
