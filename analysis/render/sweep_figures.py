"""The figures of a sweep, each declared once: `sailsim report` writes them as files and shows them in its
page.

A figure is a function of a `SweepStudy` in `FIGURES`, beside the section of the report that it stands in;
nothing else has to know of it. One holds all but a few columns at a reference (the point's defaults where the
store has them, else the most frequent value) and says so, with the system, the model, the source of the
pattern counts and, where dollars are shown, the prices and their date. It runs along what the store has more
than one value of, where it lacks what it was meant for; one that nothing suits raises MissingPointsError,
whose sentence stands in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from sailsim.analysis.costs.area import AreaConstants, overhead_bases
from sailsim.analysis.costs.area import area as area_of
from sailsim.analysis.costs.constants import NotModelledError
from sailsim.analysis.costs.dollars import CostConstants, PriceList, quoted
from sailsim.analysis.costs.energy import tokens_of
from sailsim.analysis.paper.claim import SHIPPED, load_paper
from sailsim.analysis.render import gem5_figures as gem5
from sailsim.analysis.render.figure import (
    MARKERS,
    OKABE_ITO,
    PHASES,
    Figure,
    FigureAxis,
    LineStyle,
    Panel,
    ReferenceLine,
    look,
)
from sailsim.analysis.runs.compare import entries
from sailsim.analysis.runs.equal_quality import MODEL, measured
from sailsim.analysis.runs.runs import CORES, SAIL, SIGN
from sailsim.analysis.runs.verdict import AXES, strongest
from sailsim.analysis.studies.stored_runs import (
    FREE,
    MissingPointsError,
    RunTable,
    need,
    numbers,
    prt_pairs,
    short_name,
    substrate_in_words,
)
from sailsim.sim.backends.cores import FASTEST, SIMULATED, SOFTWARE
from sailsim.sim.machine.pim import nbw_in_words
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point

MOST_BATCHES = len(MARKERS)
"""Of a figure with a mark per batch: there are as many looks."""


@dataclass(frozen=True)
class SweepStudy:
    """What figures and the report are of: a sweep's runs, the paper that they are compared with if any, the
    folder of gem5's results, and how many points the sweep asked for, equal ones counted each."""

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
        """The runs at the point of the answer."""
        rows = self.results.frame
        for name, value in self.results.start.items():
            rows = rows[rows[name] == value]
        return rows

    @property
    def shown(self) -> list[str]:
        """The runners of the answer."""
        return strongest(entries(self.at_start))

    def claimed(self, name: str) -> list[ReferenceLine]:
        """What the paper claims by a name: one dotted line, or none where it claims nothing of that name."""
        claims = load_paper(self.paper).claim if self.paper is not None else ()
        rules = []
        for claim in claims:
            if claim.name == name:
                most = "up to " if claim.aggregation == "highest" and claim.unit == "x" else ""
                unit = " %" if claim.unit == "%" else claim.unit
                rules.append(ReferenceLine(claim.value, f"paper: {most}{claim.value:g}{unit}", dotted=True))
        return rules


# What a figure has along its x axis and what tells its lines apart: as it was meant, or what a store has.

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
"""The columns `FREE` as an axis or a table names them."""
_DOUBLING = ("batch", "threads", "context", "prompt")
"""Columns that grow by factors: their axis is logarithmic."""
_NUMBERS = ("wbits", "threads", "prompt", "context", "batch", "abits", "group_size")
"""What a line may run along, in the order of preference."""


@dataclass(frozen=True)
class _SweepAxes:
    """What a figure runs along, ``x``; what tells its lines or panels apart, ``by``; and what varies,
    ``vary``."""

    x: str
    by: str
    vary: tuple[str, ...]

    @classmethod
    def of(cls, results: RunTable, *preferred: str, more: tuple[str, ...] = ()) -> _SweepAxes:
        """Along the first of ``preferred`` that varies at the reference; if none does, the first other number
        that does; in a store of one point the first of ``preferred``. By the batch, unless that is along."""
        numbers = (*preferred, *(name for name in _NUMBERS if name not in preferred))
        x = _first_that_varies(results, [(name, _free(name)) for name in numbers])
        others = [name for name in ("batch", "wbits", "threads", "context") if name not in _free(x)]
        by = _first_that_varies(results, [(name, (*_free(x), name)) for name in others])
        return cls(x, by, (*_free(x), by, *more))

    def axis(self, rows: pd.DataFrame) -> FigureAxis:
        """Ticks at the values along x, on the kind of axis that the column has."""
        ordered = sorted({float(value) for value in rows[self.x]})
        log = self.x in _DOUBLING and min(ordered) > 0
        alone = (ordered[0] / 2 - (ordered[0] == 0), 1.5 * ordered[0] + (ordered[0] == 0))
        limits = alone if len(ordered) == 1 else (None, None)
        return FigureAxis(
            self.x, WORDS[self.x], log, {value: self.tick(value) for value in ordered}, limits=limits
        )

    def tick(self, value: float) -> str:
        """A value along x in words: a file's own weights have no one width."""
        return "its own" if self.x == "wbits" and value == 0 else f"{value:g}"

    def need_several(self, rows: pd.DataFrame, figure: str) -> None:
        """Raise MissingPointsError unless there is something along x."""
        need(rows[self.x].nunique() > 1, figure, "points that differ in a number")


def _free(column: str) -> tuple[str, ...]:
    """What is not held where a column lies along x: of a prompt its tokens are the context too."""
    return ("prompt", "context") if column in ("prompt", "context") else (column,)


def _first_that_varies(results: RunTable, columns: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    return next((name for name, vary in columns if results.at(vary)[name].nunique() > 1), columns[0][0])


def _some(results: RunTable, column: str, values: Iterable[Any], most: int = 3) -> list[Any]:
    """At most so many values in order: the first, the last and the reference's, then the next ones."""
    ordered = sorted(set(values))
    wanted = dict.fromkeys([*ordered[:1], *ordered[-1:], results.reference.get(column), *ordered])
    return sorted([value for value in wanted if value in ordered][:most])


def _in_words(column: str, value: Any) -> str:
    """A value of one of the columns `FREE`, as a legend says it."""
    words = {
        "wbits": f"{value} bits" if value else "its own bits",
        "threads": f"{value} threads",
        "context": f"context {value}",
    }
    return words.get(column, f"{column} {value}")


def _patterns(rows: pd.DataFrame) -> str:
    """Where the pattern counts of some rows come from, in a sentence."""
    return str(rows["patterns"].iloc[0])


def answer(study: SweepStudy) -> Figure:
    """Tokens a second and a dollar of the runners at the answer's workload."""
    rows = study.at_start
    rows = rows[rows["runner"].isin(study.shown) & rows["tokens_per_s"].notna()]
    rows = rows.sort_values("tokens_per_s").drop_duplicates("runner").reset_index(drop=True)
    ours = (rows["kind"] == "accelerator") & (rows["hardware"] == rows["system"])
    rows = rows.assign(at=rows.index, whose=np.where(ours, "SAIL", "others"))
    places = FigureAxis.of_names(list(rows["title"]), upward=True)
    rate = FigureAxis("tokens_per_s", "tokens/s of the whole batch", log=True)
    dollars = FigureAxis("tokens_per_usd_used", "tokens per USD of vCPUs used", log=True)
    panels = [Panel(rows, rate, places, "whose", "ranks", low="low", high="high")]
    if rows["tokens_per_usd_used"].notna().any():
        ends = ("tokens_per_usd_low", "tokens_per_usd_high")
        panels.append(Panel(rows, dollars, places, "whose", "ranks", low=ends[0], high=ends[1]))
    return Figure(
        "Tokens a second, and a dollar",
        panels,
        [
            study.results.setting((), rows, study.results.start),
            "Lines of the rate are 90 % prediction intervals; SAIL's cover 90 % of the machines that its "
            "publication allows. SAIL and cores pay for the vCPUs that they use, GPUs and all cores for "
            "the whole. Lines of the dollars add what is unknown of the costs.",
        ],
        {"SAIL": LineStyle(OKABE_ITO["vermillion"], "D"), "others": LineStyle(OKABE_ITO["blue"])},
        equal=True,
        height=0.6 + 0.3 * len(rows),
    )  # fmt: skip


def speedup(study: SweepStudy) -> Figure:
    """SAIL over what stands beside it; a line per batch, rows of models, columns of runners, the last of them
    all cores with the fastest software."""
    results = study.results
    along = _SweepAxes.of(results, "wbits", more=("model",))
    rows = results.at(along.vary)
    along.need_several(rows, "The speedup along an axis")
    often = {str(name): int(count) for name, count in rows["model"].value_counts().items()}
    models = sorted(often, key=lambda name: (name != Point().model, -often[name], name))[:2]
    runners = results.runners
    every = runners[
        (runners["kind"] == "cores") & (runners["pays"] == "whole") & (runners["software"] == FASTEST)
    ]
    titles = results.curves | dict(zip(every["runner"], every["title"], strict=True))
    beside = {name: results.at(along.vary, name) for name in titles}
    beside = {name: own for name, own in beside.items() if own["speedup"].notna().any()}
    need(len(beside) > 0, "The speedup", "runs of something beside SAIL")
    lines = _some(results, along.by, rows[along.by])
    panels = []
    for model in models:
        for name, own in beside.items():
            own = own[(own["model"] == model) & own[along.by].isin(lines)].sort_values(along.by)
            own = own.assign(line=[_in_words(along.by, value) for value in own[along.by]])
            title = rows[rows["model"] == model]["model_title"].iloc[0]
            y = FigureAxis("speedup", f"speedup of SAIL {SIGN} over it", log=True)
            claimed = study.claimed("speedup")
            if (model, name) != (models[0], [*beside][-1]):
                claimed = [rule._replace(words="") for rule in claimed]
            panels.append(
                Panel(
                    own, along.axis(rows), y, "line", title=f"{title}, over {titles[name]}",
                    low="speedup_low", high="speedup_high", rules=[*claimed, ReferenceLine(1)],
                )
            )  # fmt: skip
    of = runners.set_index("runner").loc[list(beside)]
    same = bool((of["kind"] == "cores").all()) and set(of["hardware"]) <= set(results.frame["system"])
    with_threads = "" if along.x == "threads" else f" with {results.reference['threads']} threads"
    return Figure(
        f"SAIL{with_threads} against the same server's cores{'' if same else ' and others'}",
        panels,
        [
            results.setting(along.vary, rows),
            _patterns(rows),
            "Lines are of the nominal machine, above 1 where SAIL is faster; shaded is the ratio's 90 % "
            "interval. Cores are the same server's, predicted (docs/baselines.md): four bits were measured "
            "on these cores, two bits and T-MAC on a sibling core; other widths are assumed. SAIL's cores "
            "run attention and norms with the software that it is compared with.",
        ],
        columns=len(beside),
        equal=True,
        height=2.7,
    )


def threads(study: SweepStudy) -> Figure:
    """Tokens/s by threads: SAIL and what stands beside it; a panel per batch."""
    results = study.results
    along = _SweepAxes.of(results, "threads")
    rows = results.at(along.vary)
    along.need_several(rows, "Tokens per second along an axis")
    titles = {SAIL: f"SAIL {SIGN}", **results.curves}
    runs = pd.concat([results.at(along.vary, name).assign(line=title) for name, title in titles.items()])
    rate = FigureAxis("tokens_per_s", "tokens/s of the whole batch", log=True)
    panels = [
        Panel(
            runs[runs[along.by] == value], along.axis(rows), rate, "line",
            title=_in_words(along.by, value), low="low", high="high",
        )
        for value in _some(results, along.by, rows[along.by])
    ]  # fmt: skip
    own = runs[(runs["kind"] == "cores") & runs["software"].isin(list(SOFTWARE))]
    software = [SOFTWARE[name] for name in own["software"].unique()]
    predicted = (
        f"Cores: the same server's without SAIL, predicted for {' and '.join(software)}. " if software else ""
    )
    return Figure(
        f"Tokens per second by {WORDS[along.x]}",
        panels,
        [
            results.setting(along.vary, rows),
            _patterns(rows),
            f"{predicted}Shaded: 90 % prediction intervals (docs/baselines.md); SAIL's cover 90 % of the "
            "machines that its publication allows.",
        ],
        equal=True,
    )  # fmt: skip


def dollars(study: SweepStudy) -> Figure:
    """Tokens per dollar of what has a price, paid in one way; a mark per batch."""
    results = study.results
    ours = results.at(("batch",))
    need(len(ours) > 0, "Tokens per dollar", "points at the store's reference setting")
    batches = _some(results, "batch", ours["batch"], MOST_BATCHES)
    if results.price_list.named(ours["priced_as"].iloc[0]) is None:
        raise MissingPointsError(
            f"Tokens per dollar needs a price of {ours['system'].iloc[0]} in the price file."
        )
    runners = results.runners
    rows = pd.concat([results.at(("batch",), name) for name in runners["runner"]])
    rows = rows[rows["batch"].isin(batches)]
    drawn = _paid(rows, runners)
    gpus = set(runners[runners["kind"] == "gpu"]["runner"])
    titles = dict(zip(runners["runner"], runners["title"], strict=True))
    value = rows["tokens_per_usd_used"]
    # What an interval leaves of the rate it leaves of the dollars.
    ends = {end: value * rows[end].astype(float) / rows["tokens_per_s"] for end in ("low", "high")}
    marks = rows.assign(**{f"{end}_usd": own for end, own in ends.items()}, line=_batches(rows))
    marks = marks[marks["runner"].isin(drawn) & marks["tokens_per_usd"].notna()].sort_values("batch")
    panel = Panel(
        marks.assign(at=marks["runner"].map(drawn.index)),
        FigureAxis("tokens_per_usd_used", "tokens per USD", log=True),
        FigureAxis.of_names([titles[name] for name in drawn]),
        "line",
        "ranks",
        low="low_usd",
        high="high_usd",
        least="tokens_per_usd_low",
        most="tokens_per_usd_high",
        split=[y - 0.5 for y in range(1, len(drawn)) if (drawn[y] in gpus) != (drawn[y - 1] in gpus)],
    )
    instances = set(rows["instance"].dropna())
    used = [price for price in results.price_list.rows if price.instance in instances]
    rated = rows[rows["tokens_per_s"].notna() & rows["tokens_per_usd"].isna()]
    unpriced = sorted({short_name(str(name)) for name in rated["hardware"]})
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
        height=1.2 + 0.36 * len(drawn),
    )  # fmt: skip


def _batches(rows: pd.DataFrame) -> list[str]:
    return [f"batch {batch}" for batch in rows["batch"]]


def _paid(rows: pd.DataFrame, runners: pd.DataFrame) -> list[str]:
    """The runners of the dollars, in their order: those that pay a part of a server, all cores with the
    fastest software, and of each GPU the one that gives most tokens per dollar at any of some rows."""
    priced = rows[rows["tokens_per_usd"].notna()]
    best = priced.groupby("runner")["tokens_per_usd"].max().to_dict()
    known = [runner for runner in runners.to_dict("records") if runner["runner"] in best]
    servers = [
        runner["runner"]
        for runner in known
        # The fastest on as many threads is one that has a line of its own, llama.cpp on all cores is beaten.
        if runner["kind"] != "gpu"
        and runner["software"] not in SIMULATED
        and (runner["software"] == FASTEST) == (runner["pays"] == "whole")
    ]
    gpus: dict[str, str] = {}
    for runner in known:
        name, hardware = runner["runner"], runner["hardware"]
        if runner["kind"] == "gpu" and best[name] > best.get(gpus.get(hardware, ""), 0.0):
            gpus[hardware] = name
    return servers + sorted(gpus.values(), key=lambda name: best[name])


Parts = Mapping[str, tuple[Sequence[str], LineStyle]]
"""Parts of a stack by their words: the names that a column of maps has for each, and its look."""
_STEP: Parts = {words: ([name], own) for name, (words, own) in PHASES.items()}
_ENERGY: Parts = {
    "PIM units": (("arrays", "convert", "dfm", "prt"), PHASES["lookup"][1]),
    "LLC and mesh": (("llc", "mesh"), PHASES["load"][1]),
    "DRAM": (("dram",), PHASES["dram"][1]),
    "cores at work and waiting": (("cores",), PHASES["cores"][1]),
    "running all the time": (("static",), LineStyle("#bbbbbb", hatch="..")),
}


def _stacked(
    study: SweepStudy,
    title: str,
    y: str,
    parts: Parts,
    column: str = "energy",
    runners: Mapping[str, str] = MappingProxyType({SAIL: ""}),
    more: str = "",
    scale: float = 1.0,
    **marks: Any,
) -> Figure:
    """Stacked bars of a column of maps over a step's tokens, ``scale`` times: a panel for each batch, or what
    else is not along x, and runner of ``runners``, whose values begin their titles. A bar's whole has the
    range of its joules where the panels show one."""
    results = study.results
    along = _SweepAxes.of(results, "wbits")
    panels: dict[str, list[Panel]] = {}
    every = {runner: results.at(along.vary, runner) for runner in runners}
    if column == "energy":
        every = {runner: rows[rows["energy_j"].notna()] for runner, rows in every.items()}
    need(len(every[SAIL]) > 0, title, f"runs of SAIL with {'an energy' if column == 'energy' else 'phases'}")
    for runner, rows in every.items():
        for value in _some(results, along.by, rows[along.by], 3 if len(runners) == 1 else 2):
            own = rows[rows[along.by] == value].sort_values(along.x)
            ordered = sorted(own[along.x].unique())
            tokens = np.array([tokens_of(row) for row in own.to_dict("records")])
            same = {end: own[f"energy_{end}_j"] / tokens for end in ("low", "high")}
            same |= {"at": own[along.x].map(ordered.index)}
            bars = pd.concat(
                pd.DataFrame(
                    {"value": sum(numbers(own, column, name) * scale for name in names) / tokens, **same}
                ).assign(line=words)
                for words, (names, _) in parts.items()
            )
            x = FigureAxis("at", WORDS[along.x], ticks=dict(enumerate(map(along.tick, ordered))))
            words = runners[runner] + _in_words(along.by, value)
            panels.setdefault(runner, []).append(
                Panel(bars, x, FigureAxis("value", y), "line", "bars", words, **marks)
            )
    return Figure(
        title,
        [panel for pair in zip_longest(*panels.values()) for panel in pair if panel is not None],
        [results.setting(along.vary, every[SAIL]), more + _patterns(every[SAIL])],
        {words: own for words, (_, own) in parts.items()},
        equal=True,
        height=3.4 if marks else 3.0,
    )


def step_time(study: SweepStudy) -> Figure:
    """Where a step's time goes: stacked phases over the step's tokens."""
    y, more = "time of a step over its tokens, ms", "The parts do not overlap and add up to the step. "
    return _stacked(
        study, "Where the time of a token goes", y, _STEP, "phases", more=more, scale=1e3, totals=True
    )


def energy(study: SweepStudy) -> Figure:
    """Energy of a token by cause, SAIL beside the cores alone."""
    return _stacked(
        study,
        "Energy of a token, compared with the same server's cores",
        "J a token",
        _ENERGY,
        runners={SAIL: f"SAIL {SIGN}, ", CORES: "cores alone, "},
        more="Lines have every constant at the same end of its range (docs/cost.md). The cores alone run "
        "llama.cpp. Both sides carry the whole server: idle cores, mesh, controllers, open DRAM rows and "
        "leaking C-SRAM run all the time. Not modelled: regulators, power supply, cooling, network. ",
        low="low",
        high="high",
    )


def prt(study: SweepStudy) -> Figure:
    """What the PRT saves, in cycles and in array reads, by batch; a line per NBW. The nominal machine stands
    beside one where it saves cycles, on equal scales."""
    results = study.results
    pairs = prt_pairs(results)
    vary = ("nbw", "batch", "substrate", "system", "prt")
    lacking = [column for column in FREE if not (pairs[column] == results.reference[column]).any()]
    held = results.at(vary, **{column: pairs[column].mode().iloc[0] for column in lacking})
    rows = pairs[pairs.index.isin(held.index)].sort_values("nbw")
    rows = rows.assign(
        line=rows["nbw"].map(nbw_in_words), cycles=100 * rows["saved"], avoided=100 * rows["reads"]
    )
    machines = {
        (str(system), str(substrate)): own
        for (system, substrate), own in rows.groupby(["system", "substrate"])
    }
    useful = [name for name, own in machines.items() if bool((own["saved"].abs() > 1e-9).any())]
    useless = [name for name in machines if name not in useful]
    nominal = (str(results.reference["system"]), str(results.reference["substrate"]))
    # The nominal machine stands first whether its table saves a cycle or not, then one where it does.
    first = [name for name in (nominal, *machines) if name in machines][:1]
    shown = first + [name for name in useful if name not in first][:1]
    counted = next((name for name in (*shown, *machines) if machines[name]["reads"].max() > 0), shown[0])
    titles = {name: machines[name]["system_title"].iloc[0] for name in machines}
    saved = pd.concat([machines[name]["cycles"] for name in shown])
    scale = (min(-1.0, 1.1 * saved.min()), max(18.0, 1.12 * saved.max()))
    x = _SweepAxes("batch", "nbw", vary).axis(rows)
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
    none = "; ".join(f"{short_name(system)} with {substrate_in_words(on)}" for system, on in useless)
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
    """In-memory type conversion against conversion on the cores, by group size; a line per batch."""
    results = study.results
    vary = ("convert", "group_size", "batch")
    rows = results.at(vary)
    times = rows.pivot_table(index=["group_size", "batch"], columns="convert", values="step_s")
    times = times.reindex(columns=["memory", "cores"]).dropna().reset_index().sort_values("batch")
    need(
        len(times) > 0, "The effect of in-memory conversion",
        "points with conversion in memory and on the cores",
    )  # fmt: skip
    # 0 is one scale for a whole column: the largest group.
    sizes = sorted(times["group_size"].unique(), key=lambda size: (size == 0, size))
    ticks = {i: str(size) if size else "all" for i, size in enumerate(sizes)}
    x = FigureAxis("at", "weights that share a scale (group size)", ticks=ticks)
    times = times.assign(
        at=times["group_size"].map(sizes.index),
        line=_batches(times),
        speedup=times["cores"] / times["memory"],
    )
    speedup = FigureAxis("speedup", "speedup of the whole step", limits=(0, None))
    title = "below 1: converting on the cores is faster"
    return Figure(
        "Type conversion in memory compared with conversion on the cores",
        [Panel(times, x, speedup, "line", title=title, rules=[ReferenceLine(1)])],
        [results.setting(vary, rows), _patterns(rows)],
    )


def area(study: SweepStudy) -> Figure:
    """What the hardware overhead may mean: every reading of it."""
    system = load_system(str(study.results.reference["system"]))
    need(system.has_pim, "The hardware overhead", "a machine with SAIL's units")
    try:
        readings = list(overhead_bases(system))
        whole = area_of(system, AreaConstants.synthesised()).share("all of the unit", "LLC and cores")
    except NotModelledError as why:
        raise MissingPointsError(str(why)) from None
    rows = pd.DataFrame({"share": [100 * reading.share for reading in readings]}).assign(
        at=range(len(readings))
    )
    places = FigureAxis.of_names([f"{reading.counted}, of {reading.base}" for reading in readings])
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
"""Perplexities above it are in the table alone."""


def quality(_: SweepStudy) -> Figure:
    """What widths lose: perplexity by stored bits, with activations of eight bits."""
    points = measured()
    points = points[(points["kv_bits"] == 16) & (points["perplexity"] <= MOST_PERPLEXITY)]
    activations = points["abits"].map(
        lambda bits: f"{bits}-bit activations" if bits else "activations in floats"
    )
    points = points.assign(line=points["method"] + ", " + activations)
    x, y = (
        FigureAxis("bits_per_weight", "stored bits a weight"),
        FigureAxis("perplexity", "perplexity", log=True),
    )
    return Figure(
        "Perplexity by stored bits",
        [Panel(points, x, y, "line")],
        [
            "Perplexity of SmolLM2-135M-Instruct on a text, in the units' arithmetic, with a cache of 16 "
            f"bits. Perplexities above {MOST_PERPLEXITY:g} are in the table only (docs/quality.md)."
        ],
        {name: look(i, dash="") for i, name in enumerate(points["line"].unique())},
    )  # fmt: skip


def gem5_tokens(study: SweepStudy) -> Figure:
    """Whole tokens on gem5: those of the sweep's folder, else those that ship."""
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
"""Name of the files, section of the report, and what declares it, in the order of the page. A section that
the report does not know stands at its end under its own name."""
OWN: Mapping[str, Callable[[SweepStudy], bool]] = {
    "quality": lambda study: MODEL in set(study.results.frame["model"]),
    "gem5_tokens": lambda study: gem5.tokens(study.gem5)[1],
    "gem5": lambda study: gem5.tiles(study.gem5)[1],
    "timeline": lambda study: gem5.timelines(study.gem5)[1],
}
"""Figures of what was measured once, and whether they are of the study itself. Without a paper beside it a
study has no other of them."""
