"""The tables of docs/cost.md and docs/energy-area.md: dollars, joules and square millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from sailsim.analysis.baselines.runners import named
from sailsim.analysis.costs.area import PART_TITLES, AreaConstants, area, overhead_bases
from sailsim.analysis.costs.cacti import recorded
from sailsim.analysis.costs.constants import Constants
from sailsim.analysis.costs.dollars import CostConstants, prices
from sailsim.analysis.costs.energy import CAUSES, EnergyConstants
from sailsim.analysis.render.markdown import table, three_digits
from sailsim.analysis.results.joins import as_frame, energy_of, is_missing, joined
from sailsim.analysis.results.runs import runs
from sailsim.sim import Point, System, load_system, vary

LANE_BITS = 6
"""A table entry of 4-bit weights at NBW 3 or 4, of which the page speaks."""


def cost_table(points: Sequence[Point]) -> str:
    """Every runner's dollars at the shipped prices, for some points."""
    frame = joined(as_frame(run for point in points for run in runs(point)), prices())
    rows: list[list[object]] = []
    for row in frame.to_dict("records"):
        first = [row["batch"], row["title"], None if is_missing(row["tokens_per_s"]) else row["tokens_per_s"]]
        if is_missing(row["usd_per_hour"]):
            rows.append([*first, "no price" if first[-1] else None, *[None] * 5])
            continue
        span = f"{three_digits(row['tokens_per_usd_low'])} .. {three_digits(row['tokens_per_usd_high'])}"
        paid = [row["instance"], row["paid"], row["usd_per_hour"], row["tokens_per_usd"]]
        rows.append([*first, *paid, span, row["usd_per_million_tokens"]])
    header = ("batch", "runner", "tokens/s", "instance", "pays for", "USD/h", "tokens/USD", "range")
    return table((*header, "USD per million"), rows)


def energy_table(points: Sequence[Point]) -> str:
    """Joules a token by cause, SAIL beside the same threads alone, for some points."""
    rows: list[list[object]] = []
    for point in points:
        for run in runs(point, runners=named("sail", "cores")):
            batch = point.batch
            low, high, joules = (float(j or 0.0) for j in (run.energy_low_j, run.energy_high_j, run.energy_j))
            rows.append(
                [
                    point.wbits,
                    batch,
                    run.title,
                    *(run.energy[cause] / batch * 1e3 or None for cause in CAUSES),
                    joules / batch,
                    f"{low / batch:.2g} .. {high / batch:.2g}",
                    joules / float(run.step_s or 1.0),
                ]
            )
    header = ("bits", "batch", "", *(f"{cause} mJ" for cause in CAUSES), "J/token", "range", "W")
    return table(header, rows)


def sensitivity_table(point: Point, most: int = 8) -> str:
    """Which constants decide: the cores' joules a token over SAIL's with one constant at an end of its range,
    the ``most`` widest swings first."""
    system = load_system(point.system)
    sail, cores = (run.as_record() for run in runs(point, runners=named("sail", "cores")))
    default = EnergyConstants.default()

    def saving(constants: EnergyConstants) -> float:
        alone, ours = (energy_of(record, system, constants) for record in (cores, sail))
        return alone.joules_per_token / ours.joules_per_token

    swings = []
    for name, quantity in EnergyConstants.quantities().items():
        if quantity.low is None or quantity.high is None:
            continue
        low, high = (saving(replace(default, **{name: float(end)})) for end in (quantity.low, quantity.high))
        swings.append((abs(high - low), name, low, high))
    swings.sort(reverse=True)
    rows = [[f"`{name}`", f"{low:.2f}x", f"{high:.2f}x"] for _, name, low, high in swings[:most]]
    rows.append(["all nominal", f"{saving(default):.2f}x", f"{saving(default):.2f}x"])
    return table(("constant", "at its low end", "at its high end"), rows)


def prt_table(points: Sequence[Point]) -> str:
    """What the PRT saves of a token's energy, for some points."""
    rows: list[list[object]] = []
    for point in points:
        (sail,) = runs(point, runners=named("sail"))
        found = energy_of(sail.as_record(), load_system(point.system))
        saved, arrays = found.prt_saved_j, found.by_cause["arrays"]
        reads, hits = sail.events["array_reads"], sail.events["prt_reads"]
        rows.append(
            [
                point.batch,
                f"{hits / (hits + reads):.1%}",
                saved / point.batch * 1e3,
                f"{saved / (arrays + saved + found.by_cause['prt']):.1%}",
                f"{saved / (found.joules + saved):.2%}",
            ]
        )
    header = ("batch", "row reads spared", "saved, mJ/token", "of arrays and PRT", "of the whole")
    return table(header, rows)


def constants_table(constants: type[Constants]) -> str:
    """Every constant of a model with its range, kind, source and reason."""
    rows = []
    for name, quantity in constants.quantities().items():
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
    return table(("constant", "value", "unit", "range", "kind", "source (reason)"), rows)


_SIZES: tuple[Literal["small", "large"], ...] = ("small", "large")


def area_table(system: System) -> str:
    """The unit of one slice by part, with what its constants' ranges allow."""
    found = area(system)
    small, large = (area(system, AreaConstants.extreme(size), size=size).parts.as_dict() for size in _SIZES)
    total = found.parts.total
    rows: list[list[object]] = [
        [PART_TITLES[name], mm2, f"{small[name]:.2g} .. {large[name]:.2g}", f"{mm2 / total:.0%}"]
        for name, mm2 in found.parts.as_dict().items()
        if mm2 > 0  # what this unit does not have takes no room
    ]
    rows.append(["a slice's unit", total, f"{sum(small.values()):.2g} .. {sum(large.values()):.2g}", "100%"])
    rows.append([f"all {found.slices} units", found.added_mm2, "", ""])
    return table(("part", "mm2", "range", "of the unit"), rows)


def readings_table(system: System) -> str:
    """The readings of "2 %" side by side: the share here, and the arrays a slice that would give it."""
    ends = [overhead_bases(system, AreaConstants.extreme(size), size=size) for size in _SIZES]
    rows = [
        [
            reading.counted,
            reading.base,
            f"{reading.share:.1%}",
            f"{least.share:.1%} .. {most.share:.1%}",
            None if reading.arrays is None else f"{reading.arrays:.1f}",
        ]
        for reading, least, most in zip(overhead_bases(system), *ends, strict=True)
    ]
    header = ("counted", "over", "share", "range", "arrays a slice that give 2 %")
    return table(header, rows)


def sums_table(system: System, rows_held: Sequence[int] = (1, 8, 32)) -> str:
    """What the sums of a batch take beside the arrays, and a PRT with and without its entries' data."""
    default = AreaConstants.default()
    assert system.pim is not None
    lanes = system.pim.arrays.whole * (system.pim.cols.whole // LANE_BITS)
    lines: list[list[object]] = []
    for rows in rows_held:
        kib = rows * lanes * system.pim.accumulator.whole / 8 / 1024
        parts = area(vary(system, {"pim.accumulator_buffer": kib})).parts
        lines.append(
            [f"sums of {rows} batch rows", parts.accumulators, f"{parts.accumulators / parts.arrays:.0%}"]
        )
    for data, title in ((1.0, "PRT that holds the rows it spares"), (0.0, "PRT that holds patterns only")):
        parts = area(system, replace(default, prt_data=data)).parts
        lines.append([title, parts.prt, f"{parts.prt / parts.arrays:.0%}"])
    return table(("what", "mm2 a slice", "of the arrays"), lines)


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
    return table(header, rows)


POINTS = tuple(Point(batch=batch) for batch in (1, 8))
"""What the pages show: Llama-2-7B in 4 bits on sail-n1 beside 16 threads."""


def cost_parts() -> dict[str, str]:
    """The tables of docs/cost.md by their names."""
    return {"constants": constants_table(CostConstants), "runners": cost_table(POINTS)}


def energy_area_parts() -> dict[str, str]:
    """The tables of docs/energy-area.md by their names."""
    system = load_system("sail-n1")
    return {
        "energy": energy_table(POINTS),
        "prt": prt_table(POINTS),
        "sensitivity": sensitivity_table(POINTS[0]),
        "energy-constants": constants_table(EnergyConstants),
        "area": area_table(system),
        "sums": sums_table(system),
        "readings": readings_table(system),
        "area-constants": constants_table(AreaConstants),
        "cacti": cacti_table(),
    }
