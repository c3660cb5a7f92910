"""Write what docs/next.md shows from a folder of `sailsim explore`: python research/experiments/next_data.py
FOLDER.

sailsim explore --samples 10000 --seed 0 --out FOLDER

Its figure is that of the command, and beside it the steps that gem5 ran (docs/data/gem5-decode.csv).
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from sailsim.analysis.costs.area import area
from sailsim.analysis.costs.energy import CAUSES
from sailsim.analysis.render.claims_figures import explore_figure
from sailsim.analysis.render.figure import (
    OKABE_ITO,
    Figure,
    FigureAxis,
    LineStyle,
    Panel,
    ReferenceLine,
    draw,
    save_captioned,
)
from sailsim.analysis.runs.runs import runners_by_name, runs
from sailsim.analysis.search.design_search import DesignSearch, WeightedWorkload
from sailsim.analysis.search.exploration import SearchResult
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point

DOCS = Path(__file__).resolve().parents[2] / "docs"
MACHINE = {
    "score": "x",
    "area_percent": "area, %",
    "area_mm2": "mm2",
    "joules_per_token": "J/token",
    "tokens_per_usd": "tokens/USD",
    "power_w": "W",
}
WORKLOAD = {
    "workload": "workload",
    "opponent_tokens_per_s": "NEON, tokens/s",
    "opponent_kv": "its cache, bits",
    "first_tokens_per_s": "sail-n1",
    "best_tokens_per_s": "sail-next",
    "best_kv": "cache, bits",
    "first_speedup": "sail-n1, x",
    "best_speedup": "sail-next, x",
    "best_median": "median",
    "best_low": "low",
    "best_high": "high",
    "bound": "roofline, x",
}


ATTEND = {"sail-n1": "cores", "sail-next": "units"}
THREADS = 16
ORDINARY = {"batch": 8, "context": 512, "kv_bits": 8}
"""The workload of README, over the cache that both sides have."""


def part_by_part() -> pd.DataFrame:
    """Of both machines, mm2 of a slice sized for the mix's narrowest codes, and mJ of an ordinary token."""
    rows, found = [], {}
    for name, who in ATTEND.items():
        run = runs(Point(attention=who, **ORDINARY), name, runners_by_name("sail-neon"), prior=None)[0]
        found[name] = area(load_system(name), wbits=2).parts, run.energy
    for of, unit, names in ((0, "mm2 of a slice", list(found["sail-n1"][0])), (1, "mJ of a token", CAUSES)):
        scale = 1e3 / ORDINARY["batch"] if of else 1.0
        for part in names:
            rows.append({"": unit, "part": part} | {n: scale * each[of][part] for n, each in found.items()})
    return pd.DataFrame(rows)


def by_cores(search: DesignSearch) -> list[float]:
    """Times NEON of `sail-n1` whose cores convert the units' sums, by workload and of the mix."""
    values = search.start | {"pim.convert": "cores"}
    machine, loads = search.with_host_software(search.machine(values)), search.content.workload
    rates = zip(loads, search.opponents, strict=True)
    ratios = [search.fastest(load, machine, values)[0] / rate for load, (rate, _) in rates]
    return [*ratios, search.mean(ratios)]


GEM5 = {
    "gem5": "sail-next, x",
    "gem5, sail-n1": "sail-n1, x",
    "the best machine": "engine, x",
    "the memory's roofline": "roofline, x",
}
"""Of a line of the figure's last panel, its column of `on_gem5`."""


def on_gem5(search: DesignSearch) -> pd.DataFrame:
    """Of each step that NEON and `sail-next` ran in gem5 on all threads, over caches of 8 bits, tokens/s
    there and in the engine, and how many times units are as fast as NEON. The roofline is that of gem5's
    memory over its NEON."""
    ran = pd.read_csv(DOCS / "data" / "gem5-decode.csv", thousands=",", na_values="-")
    memory, clock = search.base.memory, search.base.cores.clock.si
    line = search.base.llc.line.whole
    streamed, rows = memory.reads(line, memory.lines_per_row(line)) / memory.read_share.value, []
    for _, row in ran[ran["sail-next, x"].notna() & (ran["threads"] == THREADS)].iterrows():
        batch, context = map(int, row["batch, context"].split(","))
        name = f"{row['model'].split('-')[-1].upper()}, batch {batch}, {context}"
        of = {"name": name, "model": row["model"], "weights": row["weights"], "share": 1, "reason": "in gem5"}
        load = WeightedWorkload(batch=batch, context=context, threads=THREADS, **of)
        point = load.point(ORDINARY["kv_bits"])
        neon = runs(point, search.base, runners_by_name(search.content.opponent), prior=None)[0].tokens_per_s
        own = runs(
            replace(point, attention="units"), "sail-next", runners_by_name(search.content.runner), prior=None
        )
        gem5 = {kind: batch * clock / (row[kind] * 1e6) for kind in ("neon", "sail-n1", "sail-next")}
        rows.append(
            {"workload": name, "NEON, tokens/s": gem5["neon"]}
            | {kind: gem5[kind] for kind in ATTEND}
            | {f"{kind}, x": gem5[kind] / gem5["neon"] for kind in ATTEND}
            | {"engine, NEON": neon, "engine, sail-next": own[0].tokens_per_s}
            | {"engine, x": own[0].tokens_per_s / neon}
            | {"roofline, x": streamed * search.roofline(load, point.kv_bits) / gem5["neon"]}
        )
    return pd.DataFrame(rows)


def with_gem5(figure: Figure, steps: pd.DataFrame) -> Figure:
    """The command's figure and a panel of what gem5 ran."""
    lines = [steps.assign(line=line, x=steps[column]) for line, column in GEM5.items()]
    rows, places = pd.concat(lines), list(steps["workload"])
    rows = rows.assign(name=rows["workload"], at=rows["workload"].map(places.index))
    ratio, names = FigureAxis("x", "speedup over the opponent", limits=(0, None)), FigureAxis.of_names(places)
    panel = Panel(rows, ratio, names, "line", "ranks", "In gem5, 4 bits", rules=[ReferenceLine(1.0)])
    marks = {
        "gem5": LineStyle(OKABE_ITO["blue"], "^", "", size=8),
        "gem5, sail-n1": LineStyle(OKABE_ITO["blue"], "*", "", size=9),
    }
    words = (
        "In the last panel the best machine is sail-next in the engine; gem5's triangles (stars: sail-n1) "
        "and the bound are over gem5's opponent, and gem5's memory loses only refreshes."
    )
    return replace(
        figure,
        panels=[*figure.panels, panel],
        caption=[f"{figure.caption[0]} {words}"],
        looks={**figure.looks, **marks},
    )


def in_digits(value: object) -> object:
    """Four digits of a number."""
    return f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1e4 else value


def main(folder: Path) -> None:
    """The tables and the figure."""
    read = {name: pd.read_csv(folder / f"{name}.csv") for name in ("front", "waterfall", "workloads")}
    search, trials = DesignSearch(), pd.read_csv(folder / "trials.csv")
    steps, workloads = on_gem5(search), read["workloads"][list(WORKLOAD)].rename(columns=WORKLOAD)
    workloads.insert(workloads.columns.get_loc("sail-next, x"), "its cores convert, x", by_cores(search))
    shown = {
        "gem5": steps,
        "front": read["front"].rename(columns=MACHINE).drop(columns="machine"),
        "waterfall": read["waterfall"].rename(columns=MACHINE),
        "parts": part_by_part(),
        "workloads": workloads,
    }
    for name, frame in shown.items():
        if "tokens/USD" in frame:
            frame["tokens/USD"] = frame["tokens/USD"].map(lambda each: f"{each:,.0f}")
        frame.map(in_digits).to_csv(DOCS / "data" / f"next-{name}.csv", index=False, na_rep="-")
    figure = with_gem5(explore_figure(search, SearchResult(trials, **read)), steps)
    save_captioned(figure, draw(figure), folder / "next")
    shutil.copyfile(folder / "next.png", DOCS / "figures" / "next.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
