"""`sailsim report`: the figures of a sweep as files, and one HTML page with the answer, the same figures, a
paper's claims, every run, and every number's source.

The page loads nothing from anywhere: styles, script, figures and records are inside.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd

from sailsim.analysis.costs.area import AreaConstants
from sailsim.analysis.costs.dollars import CostConstants, PriceList, is_missing, prices
from sailsim.analysis.costs.energy import NOT_MODELLED, EnergyConstants
from sailsim.analysis.paper.claim import load_paper
from sailsim.analysis.paper.stored_claims import claims, compared_with
from sailsim.analysis.render.claims_words import number
from sailsim.analysis.render.figure import draw, inline_svg, save_captioned, values
from sailsim.analysis.render.gem5_figures import FOLDER, tiles, tokens
from sailsim.analysis.render.sweep_figures import FIGURES, OWN, WORDS, SweepStudy
from sailsim.analysis.runs.compare import POINT, entries, runners_by_sentence
from sailsim.analysis.runs.equal_quality import MODEL, at_equal_quality
from sailsim.analysis.runs.runs import LEGEND, SIGN
from sailsim.analysis.runs.verdict import COLUMNS, cells, winner_map
from sailsim.analysis.serving.serve_requests import FOLDER as SERVING
from sailsim.analysis.serving.serve_requests import verdicts
from sailsim.analysis.studies.stored_runs import (
    MissingPointsError,
    RunTable,
    short_name,
    stored_runs,
    substrate_in_words,
    weights_in_words,
)
from sailsim.base.atomic import write_whole
from sailsim.base.errors import escaped
from sailsim.base.progress import followed
from sailsim.base.quantity import Quantity
from sailsim.sim.machine.pim import AUTO, PER_TENSOR
from sailsim.sim.machine.system_files import leaves, load_gpu, load_system
from sailsim.sim.software.fitted import N1, core_of, fitted_constants, held_out_results
from sailsim.sim.study.store import Store


def page_file(name: str) -> str:
    """A file of the folder `page`: the style, the script and templates."""
    return (files("sailsim.analysis.render") / "page" / name).read_text("utf-8")


def shown(value: object) -> str:
    """A cell's text: four digits, nothing for None and NaN."""
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return str(value)


class TableCell(NamedTuple):
    """A cell of a table: its text, and what it is sorted by where that is a number. A row of a `PageTable`
    may hold one where the text says more than the number: a unit, a range."""

    text: str
    number: float | None = None
    classes: str = ""

    @classmethod
    def of(cls, value: object) -> TableCell:
        """The cell of a value."""
        if isinstance(value, TableCell):
            return value
        number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
        return cls(shown(value), float(value) if number else None)  # type: ignore[arg-type]


class PageTable:
    """A table as the template takes it: cells in ``head`` and ``lines``.

    Numbers stand right, and the text of column ``verdict`` is its cell's class too. The page lets one sort
    and filter it unless it is not ``sortable``.
    """

    def __init__(
        self,
        header: Sequence[str],
        rows: Iterable[Iterable[object]],
        verdict: int | None = None,
        sortable: bool = True,
    ) -> None:
        cells = [[TableCell.of(value) for value in row] for row in rows]
        numeric = [{row[i].number is not None for row in cells if row[i].text} for i in range(len(header))]
        columns = ["number" if kinds == {True} else "" for kinds in numeric]
        self.sortable = sortable
        self.head = [TableCell(name, None, classes) for name, classes in zip(header, columns, strict=True)]
        self.lines = [
            [cell._replace(classes=cell.classes or columns[i]) for i, cell in enumerate(row)] for row in cells
        ]
        if verdict is not None:
            for row in self.lines:
                row[verdict] = row[verdict]._replace(classes=re.sub(r"\W+", "-", row[verdict].text))


RUN_COLUMNS = {
    "title": "runner",
    "software": "software",
    "hardware": "hardware",
    "format": "weights",
    "cores": "cores",
    "tokens_per_s": "tokens/s",
    "low": "low",
    "high": "high",
    "speedup": "speedup of SAIL",
    "speedup_equal_quality": "speedup at equal quality",
    "tokens_per_usd_used": "tokens/USD, vCPUs used",
    "tokens_per_usd_bandwidth": "with bandwidth paid",
    "tokens_per_usd_llc": "with LLC paid",
    "tokens_per_usd_whole": "with the whole server paid",
    "paid": "pays for",
    "energy_j": "J a step",
    "step_s": "s a step",
}
"""What the page's table of every run shows of one, beside the point that it is of."""


HELD = ("system_title", "model_title", "price_date")
"""Of which columns the page tells every value at its beginning."""


def report(
    store: Store | str | Path,
    out: str | Path | None = None,
    price_file: str | Path | None = None,
    paper: str | None = None,
    progress: bool = False,
) -> list[Path]:
    """Write the report of a store to ``out`` (default: `report.html` in its folder) and every figure of it as
    SVG and PNG into the folder `figures` beside that; a file that an earlier call left of a figure which the
    store's points do not suit goes. Returns the paths, the page first.

    ``paper``, one by name or a file of claims, is what results are compared with; None: none, but for the
    points of the shipped paper's plan. The verdicts of serving are those of the answers in the store's folder
    `serving`, if it has one (`serving.verdicts`). ``progress`` is told on standard error, and so is what a
    figure that is left out lacks. Raises SailsimError for a store without results or without a point that
    SAIL can run, a bad price file, a bad answer or a bad file of claims."""
    opened = store if isinstance(store, Store) else Store(store)
    paper = compared_with(opened.manifest, paper)
    if paper is not None:
        load_paper(paper)  # a bad one is refused before the work
    served = verdicts(opened.path / SERVING)
    study = SweepStudy.of(stored_runs(opened), prices(price_file), paper, opened.path / FOLDER)
    path = Path(out) if out is not None else opened.path / "report.html"
    folder, written = path.parent / "figures", []
    figures = drawn_figures(study, folder, progress)
    for name, figure in figures.items():
        paths = [folder / f"{name}.{kind}" for kind in ("svg", "png")]
        if "lacking" not in figure:
            written += paths
            continue
        for old in paths:
            old.unlink(missing_ok=True)
        if progress:
            print(escaped(f"left out: {figure['lacking']}"), file=sys.stderr)
    write_whole(path, page(study, opened.manifest, figures, served).encode())
    return [path, *written]


def drawn_figures(
    study: SweepStudy, folder: Path | None = None, progress: bool = False
) -> dict[str, dict[str, Any]]:
    """Every figure by name as the page has it: its drawing and a table of its values; or, as ``lacking``, the
    sentence that says what the study lacks for it. Written into a folder, too, if there is one."""
    shown: dict[str, dict[str, Any]] = {}
    asked = {
        name: declare
        for name, (_, declare) in FIGURES.items()
        if study.paper is not None or name not in OWN or OWN[name](study)
    }
    for name, declare in followed(asked.items(), "figures", progress):
        try:
            figure = declare(study)
        except MissingPointsError as missing:
            shown[name] = {"name": name, "lacking": str(missing)}
            continue
        header, rows = values(figure)
        if any(SIGN in str(cell) for cell in (*header, *chain.from_iterable(rows))):
            figure = replace(figure, caption=[*figure.caption, f"{LEGEND}."])
        drawing = draw(figure)
        svg = inline_svg(drawing, name)
        if folder is not None:
            save_captioned(figure, drawing, folder / name)
        shown[name] = {"name": name, "figure": figure, "svg": svg, "table": PageTable(header, rows)}
    return shown


def page(
    study: SweepStudy,
    manifest: Mapping[str, Any],
    figures: Mapping[str, dict[str, Any]],
    served: Sequence[str] = (),
) -> str:
    """The whole document for a study and its store's manifest; ``figures`` are what `drawn_figures` gives, ``served``
    the verdicts of serving."""
    results, first = study.results, study.results.start
    drawn: dict[str, list[dict[str, Any]]] = {}
    for name, figure in figures.items():
        if "figure" in figure:
            drawn.setdefault(FIGURES[name][0], []).append(figure)
    titles = SECTIONS | {
        name: (name.capitalize(), name.capitalize()) for name in {*drawn} - {"answer", *SECTIONS}
    }
    runs = runs_table(results, study.paper is not None or MODEL in set(results.frame["model"]))
    varied = [name for name in POINT if runs[name].nunique() > 1]
    about = {
        "choose": varied,
        "start": {name: first[name] for name in varied if name in first},
        "show": [pair for pair in RUN_COLUMNS.items() if pair[0] in runs],
        "words": WORDS,
        "titles": _titles(runs),
    }
    environment = jinja2.Environment(autoescape=True, loader=jinja2.FunctionLoader(page_file))
    return environment.get_template("report.html.jinja").render(
        css=page_file("report.css"),
        script=page_file("report.js"),
        records=gzip_base64(json.dumps({str(name): _plain(runs[name]) for name in runs}, allow_nan=False)),
        page=about,
        answer=_answer(study),
        served=served,
        points=study.points,
        held={name: sorted(set(results.frame[name].dropna())) for name in HELD},
        manifest=manifest,
        claims=None if study.paper is None else _claims(results, study.paper),
        sections={name: words for name, words in titles.items() if name in drawn or name in TABLES},
        figures=drawn,
        lacking=[figure["lacking"] for figure in figures.values() if "lacking" in figure],
        rests=_rests(results.frame, manifest),
        constants=_constants(results.frame, results.price_list),
        own_tokens=tokens(study.gem5)[1],
        own_tiles=tiles(study.gem5)[1],
        not_modelled=NOT_MODELLED,
    )


def runs_table(results: RunTable, equal_quality: bool) -> pd.DataFrame:
    """Every run that has a rate, with its ratios, dollars and joules: all columns that hold one value a row,
    and the numbers of its phases and its energy's causes; if asked for also its speedup at equal quality."""
    rows = results.frame[results.frame["tokens_per_s"].notna()].reset_index(drop=True)
    if equal_quality:
        rows = rows.assign(speedup_equal_quality=at_equal_quality(rows)["speedup_equal_quality"])
    one = [
        name
        for name in rows.columns
        if name not in ("key", "point_key", "code_version", "finished_at", "evaluation_s", "reason", "fits")
        and not rows[name].map(lambda v: hasattr(v, "__len__") and not isinstance(v, str)).any()
    ]
    maps = [
        pd.DataFrame([{} if is_missing(each) else dict(each) for each in rows[name]]).add_prefix(f"{name}.")
        for name in ("phases", "energy")
        if name in rows
    ]
    return pd.concat([rows[one], *maps], axis=1)


def _plain(column: pd.Series[Any]) -> list[Any]:
    """A column as JSON has it, None for what is missing."""
    return [None if is_missing(value) else value for value in column.tolist()]


def gzip_base64(text: str) -> str:
    """A text in few letters: gzip in base64, the same every time."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _titles(runs: pd.DataFrame) -> dict[str, dict[str, str]]:
    """What values of columns are called, by column and value as text; of a title that several have, each has
    its own name too."""
    titles: dict[str, dict[str, str]] = {}
    for column, title in (("system", "system_title"), ("model", "model_title")):
        named = dict(zip(runs[column], runs[title], strict=True))
        often = Counter(named.values())
        titles[column] = {
            name: words if often[words] == 1 else f"{words} ({short_name(str(name))})"
            for name, words in named.items()
        }
    titles["substrate"] = {each: substrate_in_words(each) for each in runs["substrate"].dropna().unique()}
    return titles


def _answer(study: SweepStudy) -> dict[str, Any]:
    """The question, the verdict, who wins where, and the runs at the study's first point."""
    results, at_point = study.results, study.at_start
    first, runs = results.start, entries(at_point)
    model, system = at_point["model_title"].iloc[0], at_point["system_title"].iloc[0]
    decodes = first["phase"] == "decode"
    length = f"{first['context']} tokens of {'context' if decodes else 'prompt'}"
    rows = [(runs[name]["title"], *cells(name, runs[name])) for name in study.shown]
    around = next((at for at in (first, results.reference) if winner_map(results.points, at)[0]), first)
    axes, header, lines = winner_map(results.points, around)
    wins = PageTable(
        header, [[TableCell(text, None, outcome) for text, outcome in line] for line in lines], None, False
    )
    return {
        "question": f"Who {'decodes' if decodes else 'reads prompts of'} {model} fastest?",
        "machine": system,
        "at": f"{weights_in_words(first)}, batch {first['batch']}, {length}, {first['threads']} threads"
        + ", sums converted where it is fastest" * (first.get("convert") == AUTO),
        "sentences": results.verdict()["sentences"],
        "wins": wins if any(outcome for line in lines for _, outcome in line) else None,
        "held": results.setting(axes, at_point, around),
        "legend": LEGEND,
        "table": PageTable(("runner", *COLUMNS), rows, sortable=False),
    }


def _claims(results: RunTable, paper: str) -> dict[str, Any]:
    """The claims in a row each, and every reading behind them."""
    claimed, asked = claims(results, paper).to_dict("records"), load_paper(paper)
    lines = []
    for claim in asked.claim:
        own = [row for row in claimed if row["claim"] == claim.title]
        main = own.pop(claim.metrics("store").index(claim.primary))
        known = [row["here"] for row in own if pd.notna(row["ratio"])]
        lines.append(
            [
                claim.title,
                *(number(main[name], claim.unit) for name in ("paper", "here")),
                main["verdict"],
                number(main["equal_quality"], claim.unit),
                f"{number(min(known))} .. {number(max(known), claim.unit)}" if known else "",
                main["configuration"] or main["remark"],
            ]
        )
    facts = claimed[len(claimed) - len(asked.fact) :]
    lines += [[each["claim"], each["paper"], each["here"], "", "", "", each["remark"]] for each in facts]
    readings = [
        [
            _sorted_by(row[name], row["unit"]) if name in ("paper", "here", "equal_quality") else row[name]
            for name in (
                *("claim", "reading", "paper", "here", "ratio", "verdict", "equal_quality"),
                *("configuration", "remark"),
            )
        ]
        for row in claimed
    ]
    short = ("claim", "paper", "here", "", "at equal quality", "other definitions", "at")
    long = (
        *("claim", "definition", "paper", "here", "here / paper", "", "at equal quality"),
        *("configuration that gives it", "remark"),
    )
    return {
        "table": PageTable(short, lines, verdict=3, sortable=False),
        "readings": PageTable(long, readings, verdict=5),
        "cores": _other_cores(results),
    }


def _other_cores(results: RunTable) -> str:
    """Whose cores a speedup is over where they are not the paper's; empty where all are."""
    machines = map(load_system, sorted(set(results.frame["system"])))
    others = {system.title: core_of(system) for system in machines if core_of(system) != N1}
    if not others:
        return ""
    which = "; ".join(f"{title}: {core}" for title, core in others.items())
    return f"The paper's CPU has Neoverse N1 cores. Here each machine's own cores stand for them: {which}."


def _sorted_by(value: object, unit: str) -> TableCell | str:
    """A number with its unit, which a table sorts by the number; words as they are."""
    if not isinstance(value, float) or pd.isna(value):
        return shown(value)
    return TableCell(number(value, unit), value)


SECTIONS = {
    "speed": ("Speed", "How fast"),
    "dollars": ("Dollars", "Tokens per dollar"),
    "energy": ("Energy", "Energy of a token"),
    "area": ("Area", "Added area"),
    "quality": ("Quality", "Perplexity by width"),
    "reuse": ("Reuse", "Gains of pattern reuse and conversion in memory"),
    "gem5": ("gem5", "Compared with gem5"),
    "runs": ("Every run", "Every run of the sweep"),
    "rests": ("What it rests on", "What the numbers rest on"),
    "constants": ("Constants", "Every constant and its source"),
}
"""All but the first page: the name in the page, the word in the menu and the headline."""
TABLES = ("runs", "rests", "constants")
"""Sections that have no figures."""


def _rests(frame: pd.DataFrame, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Every note of every run, once: what SAIL rests on, the others, and what cannot run; how far off the
    baselines are; and what the store holds."""
    ours = frame["kind"] == "accelerator"
    sail = runners_by_sentence(zip(frame["runner"][ours], frame["notes"][ours], strict=True))
    sentences = runners_by_sentence(zip(frame["runner"][~ours], frame["notes"][~ours], strict=True))
    baselines = [(sentence, ", ".join(names)) for sentence, names in sorted(sentences.items())]
    unable = frame[frame["reason"] != ""]
    refused = [(*key, len(own)) for key, own in unable.groupby(["runner", "reason"])]
    errors = [
        (
            e["measurements"],
            e["held_out"],
            e["count"],
            100 * e["median_error"],
            100 * e["worst_error"],
            TableCell(f"{100 * e['bias']:+.1f}", 100 * e["bias"]),
        )
        for e in [*fitted_constants().errors, *held_out_results()["errors"]]
    ]
    header = ("measurements", "held out of the fit", "count", "median error, %", "worst, %", "bias, %")
    return {
        "sail": sorted(sail),
        "baselines": PageTable(("about the baselines", "which"), baselines),
        "refused": PageTable(("runner", "why", "points"), refused),
        "errors": PageTable(header, errors),
        "varied": PageTable(("parameter", "values"), _varied(frame.drop_duplicates(POINT)), sortable=False),
        "manifest": json.dumps(dict(manifest), indent=1, sort_keys=True, default=str),
    }


def _varied(points: pd.DataFrame) -> list[tuple[str, str]]:
    """The values of every column of a point."""
    varied = []
    for column in POINT:
        values = sorted(set(points[column].dropna()))
        if column == "nbw":
            values = [AUTO if value == PER_TENSOR else value for value in values]
        words = WORDS.get(column, column)
        varied.append((words, ", ".join(shown(value) for value in values if value != "")))
    return varied


def _constants(frame: pd.DataFrame, price_list: PriceList) -> list[tuple[str, PageTable]]:
    """Tables of the machines of a store's records, the fits and the constants of dollars, joules and area."""
    header = ("constant", "value", "unit", "range", "kind", "source", "why")
    fits = fitted_constants()
    listed: dict[str, list[list[str]]] = {}
    parts: dict[str, list[list[str]]] = {}
    # A machine's own file after those that it extends, and then only what it changes.
    servers = set(frame["system"]) | set(frame["hardware"][frame["kind"] != "gpu"])
    for system in sorted(map(load_system, servers), key=lambda s: (len(s.extends), s.name)):
        lines = listed[system.name] = _lines(leaves(system), system.citation)
        below = next((name for name in system.extends if name in listed), None)
        title = f"System {system.name}: {system.title}" + (f"; all else as {below}" if below else "")
        parts[title] = [line for line in lines if below is None or line not in listed[below]]
    parts["Baselines, fitted (fits.json)"] = _lines(fits.quantities())
    gpus = {name: load_gpu(name) for name in sorted(set(frame["hardware"][frame["kind"] == "gpu"]))}
    parts["GPUs"] = [
        line
        for name, gpu in gpus.items()
        for line in _lines(leaves(gpu, f"{short_name(name)}."), gpu.citation)
    ]
    parts["Cost"] = _lines(CostConstants.quantities())
    parts["Energy"] = _lines(EnergyConstants.quantities())
    parts["Area"] = _lines(AreaConstants.quantities())
    parts["CPU kernel rates by format"] = [
        [name, f"{r.relative:g}", "of q4_k", f"{r.low:g} .. {r.high:g}", r.kind, r.source, r.note]
        for name, r in fits.kernel_rates.items()
    ]
    used = set(frame["instance"].dropna())
    priced = [
        [p.instance, f"{p.usd_per_hour:g}", "USD/h", p.chip, p.date, p.source, ""]
        for p in price_list.rows
        if p.instance in used
    ]
    of_prices = PageTable(("instance", "value", "unit", "chip", "date", "source", ""), priced)
    return [*((title, PageTable(header, lines)) for title, lines in parts.items()), ("Prices", of_prices)]


def _lines(constants: Mapping[str, Any], citation: Callable[[str], str] = str) -> list[list[str]]:
    """Constants as the cells of a row each, with what is behind the names of their sources."""
    lines = []
    for path, value in constants.items():
        cells = [path, str(value.value), "", ""]
        if isinstance(value, Quantity):
            span = "" if value.low is None or value.high is None else f"{value.low:g} .. {value.high:g}"
            cells = [path, f"{value.value:g}", value.unit, span]
        lines.append([*cells, value.kind, citation(value.source), value.note])
    return lines
