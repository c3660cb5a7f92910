"""The figures of a sweep, each declared once: `sailsim report` writes them as files and shows them in its
page.

A figure is a function of a `SweepStudy` in `FIGURES`, with its section of the report; it is declared nowhere
else. It holds all but a few columns at a reference (the point's defaults where the study has them, else the
most frequent value) and says so, with the system, the model, the source of the pattern counts and, where
dollars are shown, the prices and their date. A study without values along a figure's usual axis gets another
axis that varies. A study that lacks the points of a figure raises MissingPointsError, whose sentence the
report shows instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from sailsim.analysis.costs.area import AreaConstants, area_overheads
from sailsim.analysis.costs.area import area as area_of
from sailsim.analysis.costs.constants import NotModelledError
from sailsim.analysis.costs.dollars import CostConstants, PriceList, quoted
from sailsim.analysis.costs.energy import tokens_of
from sailsim.analysis.paper.claim import SHIPPED, load_paper
from sailsim.analysis.render import gem5_figures as gem5
from sailsim.analysis.render.figure import PHASES, Figure, FigureAxis, Panel, ReferenceLine, line_style
from sailsim.analysis.runs.columns import columns_of
from sailsim.analysis.runs.compare import entries
from sailsim.analysis.runs.equal_quality import MODEL, measured_points
from sailsim.analysis.runs.runs import CORES, SAIL, SIGN
from sailsim.analysis.runs.verdict import AXES, strongest
from sailsim.analysis.studies import stored_runs
from sailsim.analysis.studies.stored_runs import MissingPointsError, RunTable, require_points
from sailsim.sim.backends.cores import FASTEST
from sailsim.sim.machine.pim import format_nbw
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import NUMBERS, Point
from sailsim.sim.software.records import load_software

MOST_BATCHES = 7
"""Largest number of batches in a figure with a mark for each: as many as there are markers."""


@dataclass(frozen=True)
class SweepStudy:
    """Content of figures and a report: a sweep's runs, the paper that they are compared with if any, the
    folder of gem5's results, and the number of points of the sweep, equal ones counted each."""

    results: RunTable
    paper: str | None = None
    gem5: Path | None = None
    points: int = 1

    @classmethod
    def of(
        cls, records: pd.DataFrame, price_list: PriceList, paper: str | None = None, gem5: Path | None = None
    ) -> SweepStudy:
        """The study of a store's records."""
        return cls(RunTable.of(records, price_list), paper, gem5, records["point_key"].nunique())

    @cached_property
    def at_start(self) -> pd.DataFrame:
        """Runs at the point of the answer."""
        rows = self.results.frame
        for name, value in self.results.start.items():
            rows = rows[rows[name] == value]
        return rows

    @property
    def shown(self) -> list[str]:
        """Names of the runners of the answer."""
        return strongest(entries(self.at_start))

    def claimed(self, name: str) -> list[ReferenceLine]:
        """Dotted line at the paper's claim of a name; none where it has no such claim."""
        rules = []
        for claim in load_paper(self.paper).claim if self.paper is not None else ():
            if claim.name == name:
                most = "up to " if claim.aggregation == "highest" and claim.unit == "x" else ""
                unit = " %" if claim.unit == "%" else claim.unit
                rules.append(ReferenceLine(claim.value, f"paper: {most}{claim.value:g}{unit}", dotted=True))
        return rules


WORDS = AXES | {
    "threads": "threads (cores that work)",
    "group_size": "weights that share a scale (0: all of a column)",
    "phase": "phase",
    "nbw": "weights of a group (NBW)",
    "model": "model",
    "weights": "weights",
    "system": "machine",
    "substrate": "substrate",
    "convert": "where sums are converted",
}
"""Words of an axis or a table for the columns `FREE`."""
_DOUBLING = ("batch", "threads", "context", "prompt")
"""Columns that grow by factors: their axis is logarithmic."""
_PREFERRED = ("wbits", "threads", "prompt", "context", "batch", "abits", "group_size")
_NUMBERS = tuple(dict.fromkeys((*_PREFERRED, *(name for name in NUMBERS if name != "seed"))))
"""Columns that can be an x axis, in the order of preference."""


def _axes(results: RunTable, preferred: str, *more: str) -> tuple[str, str, tuple[str, ...]]:
    """Columns of a figure: the one along x, the one that separates lines or panels, and all that vary.

    Along x is ``preferred`` if it varies at the reference, else the first other number that does. Lines are
    separated by the batch, unless that is along x or does not vary. ``more`` columns vary too.
    """
    fields = [name for name in results.fields if is_numeric_dtype(results.frame[name])]
    columns = (preferred, *fields, *(name for name in _NUMBERS if name != preferred))
    x = _first_that_varies(results, [(name, _varied_with(name)) for name in columns])
    separate = ("batch", *results.fields, "wbits", "threads", "context")
    others = [name for name in separate if name not in _varied_with(x)]
    by = _first_that_varies(results, [(name, (*_varied_with(x), name)) for name in others])
    return x, by, (*_varied_with(x), by, *more)


_RATE = FigureAxis("tokens_per_s", "tokens/s of the whole batch", log=True)


def _varied_with(column: str) -> tuple[str, ...]:
    """Columns that vary where one lies along x: a prompt's tokens are the context too."""
    return ("prompt", "context") if column in ("prompt", "context") else (column,)


def _first_that_varies(results: RunTable, columns: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    return next((name for name, vary in columns if results.at(vary)[name].nunique() > 1), columns[0][0])


def _words(results: RunTable, column: str) -> str:
    own = results.fields.get(column) or WORDS.get(column)
    return own or next(each.words for each in columns_of("sweep") if each.names(column))


def _axis(results: RunTable, x: str, rows: pd.DataFrame) -> FigureAxis:
    """Axis of a column, with ticks at its values, logarithmic where it grows by factors."""
    ordered = sorted({float(value) for value in rows[x]})
    log = x in _DOUBLING and min(ordered) > 0
    alone = (ordered[0] / 2 - (ordered[0] == 0), 1.5 * ordered[0] + (ordered[0] == 0))
    limits = alone if len(ordered) == 1 else (None, None)
    return FigureAxis(
        x, _words(results, x), log, {value: _tick(x, value) for value in ordered}, limits=limits
    )


def _tick(x: str, value: float | str) -> str:
    """A value along x in words: a file's own weights have no single width."""
    if isinstance(value, str):
        return value
    return "its own" if x == "wbits" and value == 0 else f"{value:g}"


def _some(results: RunTable, column: str, values: Iterable[Any], most: int = 3) -> list[Any]:
    """At most so many values in order: the first, the last and the reference's, then the next ones."""
    ordered = sorted(set(values))
    preferred = dict.fromkeys([*ordered[:1], *ordered[-1:], results.reference.get(column), *ordered])
    return sorted([value for value in preferred if value in ordered][:most])


def _in_words(column: str, value: Any) -> str:
    words = {"wbits": f"{value} bits" if value else "its own bits", "threads": f"{value} threads"}
    return words.get(column, f"{column} {value}")


def _patterns(rows: pd.DataFrame) -> str:
    return str(rows["patterns"].iloc[0])


def answer(study: SweepStudy) -> Figure:
    """Tokens a second and a dollar of the runners at the answer's workload."""
    rows = study.at_start
    rows = rows[rows["runner"].isin(study.shown) & rows["tokens_per_s"].notna()]
    rows = rows.sort_values("tokens_per_s").drop_duplicates("runner").reset_index(drop=True)
    ours = (rows["kind"] == "accelerator") & (rows["hardware"] == rows["system"])
    rows = rows.assign(at=rows.index, whose=np.where(ours, "SAIL", "others"))
    places = FigureAxis.of_names(list(rows["title"]), upward=True)
    panels = [Panel(rows, _RATE, places, "whose", "ranks", low="low", high="high")]
    if rows["tokens_per_usd_used"].notna().any():
        usd = FigureAxis("tokens_per_usd_used", "tokens per USD of vCPUs used", log=True)
        ends = ("tokens_per_usd_low", "tokens_per_usd_high")
        panels.append(Panel(rows, usd, places, "whose", "ranks", low=ends[0], high=ends[1]))
    return Figure(
        "Tokens a second, and a dollar",
        panels,
        [
            study.results.setting((), rows, study.results.start),
            "Lines of the rate are 90 % prediction intervals; SAIL's cover 90 % of the machines that its "
            "publication allows. SAIL and cores pay for the vCPUs that they use, GPUs and all cores for "
            "the whole. Lines of the dollars add what is unknown of the costs.",
        ],
        {"SAIL": line_style("vermillion", "D"), "others": line_style("blue")},
        equal=True,
        height=0.6 + 0.3 * len(rows),
    )  # fmt: skip


def speedup(study: SweepStudy) -> Figure:
    """SAIL over other runners; a line per batch, rows of models, columns of runners, the last of them all
    cores with the fastest software."""
    results = study.results
    x, by, vary = _axes(results, "wbits", "model")
    rows = results.at(vary)
    require_points(rows[x].nunique() > 1, "The speedup along an axis", "points that differ in a number")
    often = {str(name): int(count) for name, count in rows["model"].value_counts().items()}
    models = sorted(often, key=lambda name: (name != Point().model, -often[name], name))[:2]
    runners = results.runners.set_index("runner")
    whole = (runners["kind"] == "cores") & (runners["pays"] == "whole") & (runners["software"] == FASTEST)
    titles = results.curves | {str(name): title for name, title in runners["title"][whole].items()}
    others = {name: results.at(vary, name) for name in titles}
    others = {name: own for name, own in others.items() if own["speedup"].notna().any()}
    require_points(len(others) > 0, "The speedup", "runs of something other than SAIL")
    lines = _some(results, by, rows[by])
    y = FigureAxis("speedup", f"speedup of SAIL {SIGN} over it", log=True)
    panels = []
    for model in models:
        title = rows[rows["model"] == model]["model_title"].iloc[0]
        for name, own in others.items():
            own = own[(own["model"] == model) & own[by].isin(lines)].sort_values(by)
            own = own.assign(line=[_in_words(by, value) for value in own[by]])
            claimed = study.claimed("speedup")
            if (model, name) != (models[0], [*others][-1]):
                claimed = [rule._replace(words="") for rule in claimed]
            panels.append(
                Panel(
                    own, _axis(results, x, rows), y, "line", title=f"{title}, over {titles[name]}",
                    low="speedup_low", high="speedup_high", rules=[*claimed, ReferenceLine(1)],
                )
            )  # fmt: skip
    shown = runners.loc[list(others)]
    same = bool((shown["kind"] == "cores").all()) and set(shown["hardware"]) <= set(results.frame["system"])
    with_threads = "" if x == "threads" else f" with {results.reference['threads']} threads"
    return Figure(
        f"SAIL{with_threads} against the same server's cores{'' if same else ' and others'}",
        panels,
        [
            results.setting(vary, rows),
            _patterns(rows),
            "Lines are of the nominal machine, above 1 where SAIL is faster; shaded is the ratio's 90 % "
            "interval. Cores are the same server's, predicted (docs/baselines.md): four bits were measured "
            "on these cores, two bits and T-MAC on a sibling core; other widths are assumed. SAIL's cores "
            "run attention and norms with the software that it is compared with.",
        ],
        columns=len(others),
        equal=True,
        height=2.7,
    )


def threads(study: SweepStudy) -> Figure:
    """Tokens/s by threads for SAIL and other runners; a panel per batch."""
    results = study.results
    x, by, vary = _axes(results, "threads")
    rows = results.at(vary)
    require_points(rows[x].nunique() > 1, "Tokens per second along an axis", "points that differ in a number")
    titles = {SAIL: f"SAIL {SIGN}", **results.curves}
    runs = pd.concat([results.at(vary, name).assign(line=title) for name, title in titles.items()])
    panels = [
        Panel(
            runs[runs[by] == value], _axis(results, x, rows), _RATE, "line",
            title=_in_words(by, value), low="low", high="high",
        )
        for value in _some(results, by, rows[by])
    ]  # fmt: skip
    own = runs[(runs["kind"] == "cores") & (runs["software"] != FASTEST)]
    software = " and ".join(load_software(name).title for name in own["software"].unique())
    predicted = f"Cores: the same server's without SAIL, predicted for {software}. " if software else ""
    return Figure(
        f"Tokens per second by {_words(results, x)}",
        panels,
        [
            results.setting(vary, rows),
            _patterns(rows),
            f"{predicted}Shaded: 90 % prediction intervals (docs/baselines.md); SAIL's cover 90 % of the "
            "machines that its publication allows.",
        ],
        equal=True,
    )  # fmt: skip


def dollars(study: SweepStudy) -> Figure:
    """Tokens per dollar of the runners that have a price, paid in one way; a mark per batch."""
    results = study.results
    ours = results.at(("batch",))
    require_points(len(ours) > 0, "Tokens per dollar", "points at the store's reference setting")
    batches = _some(results, "batch", ours["batch"], MOST_BATCHES)
    if results.price_list.named(ours["priced_as"].iloc[0]) is None:
        system = ours["system"].iloc[0]
        raise MissingPointsError(f"Tokens per dollar needs a price of {system} in the price file.")
    runners = results.runners
    rows = pd.concat([results.at(("batch",), name) for name in runners["runner"]])
    rows = rows[rows["batch"].isin(batches)]
    shown = _runners_of_dollars(rows, runners)
    gpus = set(runners[runners["kind"] == "gpu"]["runner"])
    titles = dict(zip(runners["runner"], runners["title"], strict=True))
    # The interval of the dollars is that of the rate, at the same price.
    per_rate = {
        f"{end}_usd": rows["tokens_per_usd_used"] * rows[end].astype(float) / rows["tokens_per_s"]
        for end in ("low", "high")
    }
    marks = rows.assign(**per_rate, line=_batches(rows))
    marks = marks[marks["runner"].isin(shown) & marks["tokens_per_usd"].notna()].sort_values("batch")
    panel = Panel(
        marks.assign(at=marks["runner"].map(shown.index)),
        FigureAxis("tokens_per_usd_used", "tokens per USD", log=True),
        FigureAxis.of_names([titles[name] for name in shown]),
        "line", "ranks", low="low_usd", high="high_usd", least="tokens_per_usd_low",
        most="tokens_per_usd_high",
        split=[y - 0.5 for y in range(1, len(shown)) if (shown[y] in gpus) != (shown[y - 1] in gpus)],
    )  # fmt: skip
    used = [price for price in results.price_list.rows if price.instance in set(rows["instance"].dropna())]
    rated = rows[rows["tokens_per_s"].notna() & rows["tokens_per_usd"].isna()]
    unpriced = sorted({stored_runs.short_name(str(name)) for name in rated["hardware"]})
    lacking = f" No price in the file: {', '.join(unpriced)}." if unpriced else ""
    return Figure(
        "Tokens per dollar",
        [panel],
        [
            results.setting(("batch",), ours),
            "SAIL and the cores pay for the vCPUs whose threads and memory they use. GPUs, and all cores of "
            "a server, are paid whole. A GPU runs the software that gives it the most tokens per dollar; "
            "all cores run the fastest. The report's table of every run has all machines and other ways to "
            "pay.",
            f"Prices, on demand: {quoted(used)}. SAIL's server costs {CostConstants.default().overhead:.0%} "
            f"more.{lacking}",
            "A batch that does not fit a runner's memory has no mark. " + _patterns(ours),
            "Bars: 90 % prediction intervals of the rate (docs/baselines.md). Pale bars add what a run "
            "pays for, SAIL's overhead, and the share of the paid time that is used (docs/cost.md).",
        ],
        height=1.2 + 0.36 * len(shown),
    )  # fmt: skip


def _batches(rows: pd.DataFrame) -> list[str]:
    return [f"batch {batch}" for batch in rows["batch"]]


def _runners_of_dollars(rows: pd.DataFrame, runners: pd.DataFrame) -> list[str]:
    """Runners of the figure of dollars: those that pay a part of a server, all cores with the fastest
    software, and of each GPU the one that gives most tokens per dollar at any of some rows."""
    priced = rows[rows["tokens_per_usd"].notna()]
    best = priced.groupby("runner")["tokens_per_usd"].max().to_dict()
    known = [runner for runner in runners.to_dict("records") if runner["runner"] in best]
    servers, gpus = [], dict[str, str]()
    for runner in known:
        name, hardware, software = runner["runner"], runner["hardware"], runner["software"]
        if runner["kind"] == "gpu":
            if best[name] > best.get(gpus.get(hardware, ""), 0.0):
                gpus[hardware] = name
        # `FASTEST` on as many threads repeats one of the others; on all cores it beats llama.cpp.
        elif (runner["kind"], runner["provenance"]) != ("cores", "simulated") and (
            (software == FASTEST) == (runner["pays"] == "whole")
        ):
            servers.append(name)
    return servers + sorted(gpus.values(), key=lambda name: best[name])


Parts = Mapping[str, tuple[Sequence[str], Any]]
"""Parts of a stack by their words: their names in a column of maps, and their style."""
_STEP: Parts = {words: ([name], own) for name, (words, own) in PHASES.items()}
_ENERGY: Parts = {
    "PIM units": (("arrays", "convert", "dfm", "prt"), PHASES["lookup"][1]),
    "LLC and mesh": (("llc", "mesh"), PHASES["load"][1]),
    "DRAM": (("dram",), PHASES["dram"][1]),
    "cores at work and waiting": (("cores",), PHASES["cores"][1]),
    "running all the time": (("static",), line_style("#bbbbbb", hatch="..")),
}


def _stacked(
    study: SweepStudy,
    title: str,
    y: str,
    parts: Parts,
    column: str,
    runners: Mapping[str, str],
    more: str,
    scale: float = 1.0,
    **marks: Any,
) -> Figure:
    """Stacked bars of a column of maps over a step's tokens, times ``scale``.

    There is a panel for each value that separates panels, such as the batch, and each of ``runners``, whose
    values begin the titles. Panels that show an interval have that of the energy on each whole bar.
    """
    results = study.results
    x, by, vary = _axes(results, "wbits")
    panels: dict[str, list[Panel]] = {}
    every = {runner: results.at(vary, runner) for runner in runners}
    if column == "energy":
        every = {runner: rows[rows["energy_j"].notna()] for runner, rows in every.items()}
    what = "an energy" if column == "energy" else column
    require_points(len(every[SAIL]) > 0, title, f"runs of SAIL with {what}")
    for runner, rows in every.items():
        for value in _some(results, by, rows[by], 3 if len(runners) == 1 else 2):
            own = rows[rows[by] == value].sort_values(x)
            ordered = sorted(own[x].unique())
            tokens = np.array([tokens_of(row) for row in own.to_dict("records")])
            same = {end: own[f"energy_{end}_j"] / tokens for end in ("low", "high")}
            same |= {"at": own[x].map(ordered.index)}
            bars = []
            for words, (names, _) in parts.items():
                heights = sum(stored_runs.numbers(own, column, name) * scale for name in names) / tokens
                bars.append(pd.DataFrame({"value": heights, **same}).assign(line=words))
            places = FigureAxis(
                "at", _words(results, x), ticks={i: _tick(x, each) for i, each in enumerate(ordered)}
            )
            words = runners[runner] + _in_words(by, value)
            panel = Panel(pd.concat(bars), places, FigureAxis("value", y), "line", "bars", words, **marks)
            panels.setdefault(runner, []).append(panel)
    return Figure(
        title,
        [panel for pair in zip_longest(*panels.values()) for panel in pair if panel is not None],
        [results.setting(vary, every[SAIL]), more + _patterns(every[SAIL])],
        {words: own for words, (_, own) in parts.items()},
        equal=True,
        height=3.4 if marks else 3.0,
    )


def step_time(study: SweepStudy) -> Figure:
    """Time of a step: stacked phases over the step's tokens."""
    title, y = "Where the time of a token goes", "time of a step over its tokens, ms"
    more = "The parts do not overlap and add up to the step. "
    return _stacked(study, title, y, _STEP, "phases", {SAIL: ""}, more, 1e3, totals=True)


def energy(study: SweepStudy) -> Figure:
    """Energy of a token by cause, for SAIL and for the cores alone."""
    title = "Energy of a token, compared with the same server's cores"
    more = (
        "Lines have every constant at the same end of its range (docs/cost.md). The cores alone run "
        "llama.cpp. Both sides carry the whole server: idle cores, mesh, controllers, open DRAM rows and "
        "leaking C-SRAM run all the time. Not modelled: regulators, power supply, cooling, network. "
    )
    runners = {SAIL: f"SAIL {SIGN}, ", CORES: "cores alone, "}
    return _stacked(study, title, "J a token", _ENERGY, "energy", runners, more, low="low", high="high")


def prt(study: SweepStudy) -> Figure:
    """Cycles and array reads that the PRT saves, by batch; a line per NBW. The nominal machine has a panel
    next to a machine on which the PRT saves cycles, on equal scales."""
    results = study.results
    pairs = stored_runs.prt_pairs(results)
    vary = ("nbw", "batch", "substrate", "system", "prt")
    lacking = [
        column for column in stored_runs.FREE if not (pairs[column] == results.reference[column]).any()
    ]
    comparable = results.at(vary, **{column: pairs[column].mode().iloc[0] for column in lacking})
    rows = pairs[pairs.index.isin(comparable.index)].sort_values("nbw")
    rows = rows.assign(
        line=rows["nbw"].map(format_nbw), cycles=100 * rows["saved"], avoided=100 * rows["reads"]
    )
    groups = rows.groupby(["system", "substrate"])
    machines = {(str(system), str(substrate)): own for (system, substrate), own in groups}
    useful = [name for name, own in machines.items() if bool((own["saved"].abs() > 1e-9).any())]
    useless = [name for name in machines if name not in useful]
    nominal = (str(results.reference["system"]), str(results.reference["substrate"]))
    # The nominal machine is first even if its PRT saves no cycle, before one whose PRT does.
    first = [name for name in (nominal, *machines) if name in machines][:1]
    shown = first + [name for name in useful if name not in first][:1]
    counted = next((name for name in (*shown, *machines) if machines[name]["reads"].max() > 0), shown[0])
    titles = {name: machines[name]["system_title"].iloc[0] for name in machines}
    saved = pd.concat([machines[name]["cycles"] for name in shown])
    scale = (min(-1.0, 1.1 * saved.min()), max(18.0, 1.12 * saved.max()))
    x = _axis(results, "batch", rows)
    panels = [
        Panel(
            machines[name], x, FigureAxis("cycles", "saved, %", limits=scale), "line",
            title=f"cycles: {titles[name]}",
            rules=[rule if name == shown[0] else rule._replace(words="") for rule in study.claimed("prt")],
        )
        for name in shown
    ]  # fmt: skip
    reads = FigureAxis("avoided", "array reads spared, %", limits=(0, 100))
    panels.append(Panel(machines[counted], x, reads, "line", title=f"array reads: {titles[counted]}"))
    words = ((stored_runs.short_name(on), stored_runs.substrate_in_words(arrays)) for on, arrays in useless)
    none = "; ".join(map(" with ".join, words))
    return Figure(
        "What the pattern reuse table (PRT) saves",
        panels,
        [
            results.setting(vary, rows),
            "Cycles: those of the PIM units in one step that the PRT saves. A hit saves cycles only where "
            "it takes less time than an array read. Array reads spared: PRT hits over all patterns that are "
            "not zero. " + _patterns(rows),
            f"No cycle saved: {none}." if none else "",
        ],
    )


def conversion(study: SweepStudy) -> Figure:
    """Speedup of type conversion in memory over conversion on the cores, by group size; a line per batch."""
    results = study.results
    vary = ("convert", "group_size", "batch")
    rows = results.at(vary)
    times = rows.pivot_table(index=["group_size", "batch"], columns="convert", values="step_s")
    times = times.reindex(columns=["memory", "cores"]).dropna().reset_index().sort_values("batch")
    pairs = "points with conversion in memory and on the cores"
    require_points(len(times) > 0, "The effect of in-memory conversion", pairs)
    # The size 0, one scale for a whole column, is the largest group.
    sizes = sorted(times["group_size"].unique(), key=lambda size: (size == 0, size))
    ticks = {i: str(size) if size else "all" for i, size in enumerate(sizes)}
    x = FigureAxis("at", "weights that share a scale (group size)", ticks=ticks)
    ratio, places = times["cores"] / times["memory"], times["group_size"].map(sizes.index)
    times = times.assign(at=places, line=_batches(times), speedup=ratio)
    speedup = FigureAxis("speedup", "speedup of the whole step", limits=(0, None))
    title = "below 1: converting on the cores is faster"
    return Figure(
        "Type conversion in memory compared with conversion on the cores",
        [Panel(times, x, speedup, "line", title=title, rules=[ReferenceLine(1)])],
        [results.setting(vary, rows), _patterns(rows)],
    )


def area(study: SweepStudy) -> Figure:
    """Hardware overhead by each definition that the paper's words allow."""
    system = load_system(str(study.results.reference["system"]))
    require_points(system.has_pim, "The hardware overhead", "a machine with SAIL's units")
    try:
        readings = area_overheads(system)
        whole = area_of(system, AreaConstants.synthesised()).share("all of the unit", "LLC and cores")
    except NotModelledError as why:
        raise MissingPointsError(str(why)) from None
    percents = [100 * share for share, _ in readings.values()]
    rows = pd.DataFrame({"share": percents, "at": range(len(readings))})
    places = FigureAxis.of_names([f"{counted}, of {base}" for counted, base in readings])
    share = FigureAxis("share", "added area, %", limits=(0, None))
    return Figure(
        "Hardware overhead, by what is counted",
        [Panel(rows, share, places, kind="ranks", rules=study.claimed("overhead"))],
        [
            f"Added area of {system.title}: parts of the unit as shares of the LLC, of LLC and cores, and of "
            "the die.",
            f"With logic as synthesised from rtl/, and one array's control, the whole unit is {whole:.2%} "
            "of LLC and cores.",
        ],
        height=0.8 + 0.26 * len(readings),
    )  # fmt: skip


MOST_PERPLEXITY = 60.0
"""Largest perplexity in the figure; larger ones are in the table alone."""


def quality(_: SweepStudy) -> Figure:
    """Perplexity by stored bits of a weight, with activations of eight bits."""
    points = measured_points()
    points = points[(points["kv_bits"] == 16) & (points["perplexity"] <= MOST_PERPLEXITY)]
    words = points["abits"].map(lambda bits: f"{bits}-bit activations" if bits else "activations in floats")
    points = points.assign(line=points["method"] + ", " + words)
    x = FigureAxis("bits_per_weight", "stored bits a weight")
    y = FigureAxis("perplexity", "perplexity", log=True)
    return Figure(
        "Perplexity by stored bits",
        [Panel(points, x, y, "line")],
        [
            "Perplexity of SmolLM2-135M-Instruct on a text, in the units' arithmetic, with a cache of 16 "
            f"bits. Perplexities above {MOST_PERPLEXITY:g} are in the table only (docs/quality.md)."
        ],
        {name: line_style(i, dash="") for i, name in enumerate(points["line"].unique())},
    )  # fmt: skip


def gem5_tokens(study: SweepStudy) -> Figure:
    """Whole tokens in gem5: those of the sweep's folder, else those that ship."""
    return gem5.decode_figure(gem5.tokens(study.gem5)[0], study.paper == SHIPPED)


FIGURES: Mapping[str, tuple[str, Callable[[SweepStudy], Figure]]] = {
    "answer": ("answer", answer),
    "step_time": ("answer", step_time),
    "speedup": ("answer", speedup),
    "threads": ("speed", threads),
    "dollars": ("dollars", dollars),
    "energy": ("energy", energy),
    "area": ("area", area),
    "quality": ("quality", quality),
    "prt": ("reuse", prt),
    "conversion": ("reuse", conversion),
    "gem5_tokens": ("gem5", gem5_tokens),
    "gem5": ("gem5", lambda study: gem5.tiles_figure(study.gem5)),
    "timeline": ("gem5", lambda study: gem5.timeline_figure(gem5.timelines(study.gem5)[0])),
}
"""Section of the report and declaring function of each figure by its file name, in the order of the page. A
section that the report does not know is at its end under its own name."""
OWN: Mapping[str, Callable[[SweepStudy], bool]] = {
    "quality": lambda study: MODEL in set(study.results.frame["model"]),
    "gem5_tokens": lambda study: gem5.tokens(study.gem5)[1],
    "gem5": lambda study: gem5.tiles(study.gem5)[1],
    "timeline": lambda study: gem5.timelines(study.gem5)[1],
}
"""Predicates of the figures whose data ship, by name: whether the data are the study's own. A study without a
paper to compare with shows such a figure only then."""
