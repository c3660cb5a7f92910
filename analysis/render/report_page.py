"""`sailsim report`: the figures of a sweep as files, and one HTML page with the answer, the same figures, a
paper's claims, every run, and every number's source.

The page loads nothing over the network: styles, script, figures and records are inside.
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
from sailsim.analysis.studies import stored_runs
from sailsim.analysis.studies.stored_runs import MissingPointsError, RunTable, weights_in_words
from sailsim.base.atomic import write_whole
from sailsim.base.errors import escaped
from sailsim.base.progress import with_progress
from sailsim.base.quantity import Quantity
from sailsim.sim.machine.pim import AUTO, PER_TENSOR
from sailsim.sim.machine.system_files import leaves, load_gpu, load_system
from sailsim.sim.software.fitted import core_of, fitted_constants, held_out_results
from sailsim.sim.software.records import N1
from sailsim.sim.study.store import Store


def page_file(name: str) -> str:
    """Text of a file of the folder `page`: the style, the script or a template."""
    return (files("sailsim.analysis.render") / "page" / name).read_text("utf-8")


def shown(value: object) -> str:
    """Text of a cell: numbers in four digits; empty for None and NaN."""
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return str(value)


class TableCell(NamedTuple):
    """A cell of a table: its text, and the number that it is sorted by, if any. A row of a `table` may have
    one whose text says more than its number, such as a unit or an interval."""

    text: str
    number: float | None = None
    classes: str = ""

    @classmethod
    def of(cls, value: object) -> TableCell:
        """Cell of a value."""
        if isinstance(value, TableCell):
            return value
        number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
        return cls(shown(value), float(value) if number else None)  # type: ignore[arg-type]


def table(
    header: Sequence[str], rows: Iterable[Iterable[object]], verdict: int | None = None, sortable: bool = True
) -> dict[str, Any]:
    """A table for the template: cells in ``head`` and ``lines``, and whether the page sorts and filters it.

    Numbers are aligned right. The text of the column ``verdict`` is its cell's class too.
    """
    cells = [[TableCell.of(value) for value in row] for row in rows]
    numeric = [{row[i].number is not None for row in cells if row[i].text} for i in range(len(header))]
    columns = ["number" if kinds == {True} else "" for kinds in numeric]
    lines = [
        [cell._replace(classes=cell.classes or columns[i]) for i, cell in enumerate(row)] for row in cells
    ]
    if verdict is not None:
        for row in lines:
            row[verdict] = row[verdict]._replace(classes=re.sub(r"\W+", "-", row[verdict].text))
    head = [TableCell(name, None, classes) for name, classes in zip(header, columns, strict=True)]
    return {"sortable": sortable, "head": head, "lines": lines}


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
"""Columns of the page's table of every run, with their heads, in addition to those of the point."""
SUMMARISED = ("system_title", "model_title", "price_date")
"""Columns all of whose values the first section of the page lists."""


def report(
    store: Store | str | Path,
    out: str | Path | None = None,
    price_file: str | Path | None = None,
    paper: str | None = None,
    progress: bool = False,
) -> list[Path]:
    """Write the report of a store to ``out`` (default: `report.html` in its folder) and each of its figures
    as SVG and PNG into the folder `figures` next to it. Files of figures that the store lacks points for are
    deleted. Returns the paths, the page first.

    ``paper``, one by name or a file of claims, is compared with the results; None: no paper, or the shipped
    one for the points of its plan. The verdicts of serving are those of the answers in the store's folder
    `serving`, if it has one (`serving.verdicts`). ``progress`` is shown on standard error with the reasons
    for missing figures. Raises SailsimError for a store without results or without a point that SAIL can run,
    a bad price file, a bad answer or a bad file of claims."""
    opened = store if isinstance(store, Store) else Store(store)
    paper = compared_with(opened.manifest, paper)
    if paper is not None:
        load_paper(paper)  # raises for a bad file before the work begins
    served = verdicts(opened.path / SERVING)
    study = SweepStudy.of(stored_runs.stored_runs(opened), prices(price_file), paper, opened.path / FOLDER)
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
    """Every figure of the page by name: its drawing and a table of its values, or as ``lacking`` a sentence
    on the points that the study lacks for it. Figures are written into ``folder``, if there is one."""
    figures: dict[str, dict[str, Any]] = {}
    declared = {
        name: declare
        for name, (_, declare) in FIGURES.items()
        if study.paper is not None or name not in OWN or OWN[name](study)
    }
    for name, declare in with_progress(declared.items(), "figures", progress):
        try:
            figure = declare(study)
        except MissingPointsError as missing:
            figures[name] = {"name": name, "lacking": str(missing)}
            continue
        header, rows = values(figure)
        if any(SIGN in str(cell) for cell in (*header, *chain.from_iterable(rows))):
            figure = replace(figure, caption=[*figure.caption, f"{LEGEND}."])
        drawing = draw(figure)
        svg = inline_svg(drawing, name)
        if folder is not None:
            save_captioned(figure, drawing, folder / name)
        figures[name] = {"name": name, "figure": figure, "svg": svg, "table": table(header, rows)}
    return figures


def page(
    study: SweepStudy,
    manifest: Mapping[str, Any],
    figures: Mapping[str, dict[str, Any]],
    served: Sequence[str] = (),
) -> str:
    """The whole document for a study and its store's manifest, with the `drawn_figures` and as ``served`` the
    verdicts of serving."""
    results, first = study.results, study.results.start
    by_section: dict[str, list[dict[str, Any]]] = {}
    for name, figure in figures.items():
        if "figure" in figure:
            by_section.setdefault(FIGURES[name][0], []).append(figure)
    others = {*by_section} - {"answer", *SECTIONS}
    titles = SECTIONS | {name: (name.capitalize(), name.capitalize()) for name in others}
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
    records = json.dumps({str(name): _plain(runs[name]) for name in runs}, allow_nan=False)
    return environment.get_template("report.html.jinja").render(
        css=page_file("report.css"),
        script=page_file("report.js"),
        records=base64.b64encode(gzip.compress(records.encode(), 6, mtime=0)).decode(),
        page=about,
        answer=_answer(study),
        served=served,
        points=study.points,
        summarised={name: sorted(set(results.frame[name].dropna())) for name in SUMMARISED},
        manifest=manifest,
        claims=None if study.paper is None else _claims(results, study.paper),
        sections={name: words for name, words in titles.items() if name in by_section or name in TABLES},
        figures=by_section,
        lacking=[figure["lacking"] for figure in figures.values() if "lacking" in figure],
        rests=_rests(results.frame, manifest),
        constants=_constants(results.frame, results.price_list),
        own_tokens=tokens(study.gem5)[1],
        own_tiles=tiles(study.gem5)[1],
        not_modelled=NOT_MODELLED,
    )


def runs_table(results: RunTable, equal_quality: bool) -> pd.DataFrame:
    """Every run that has a rate, with its ratios, dollars and joules: all columns that have one value a row,
    and the numbers of its phases and its energy's causes; with ``equal_quality`` also that speedup."""
    rows = results.frame[results.frame["tokens_per_s"].notna()].reset_index(drop=True)
    if equal_quality:
        rows = rows.assign(speedup_equal_quality=at_equal_quality(rows)["speedup_equal_quality"])
    scalars = [
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
    return pd.concat([rows[scalars], *maps], axis=1)


def _plain(column: pd.Series[Any]) -> list[Any]:
    return [None if is_missing(value) else value for value in column.tolist()]


def _titles(runs: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Titles of the values of columns, by column and value; a title that several values share has each one's
    name too."""
    titles: dict[str, dict[str, str]] = {}
    for column, title in (("system", "system_title"), ("model", "model_title")):
        named = dict(zip(runs[column], runs[title], strict=True))
        often = Counter(named.values())
        titles[column] = {
            name: words if often[words] == 1 else f"{words} ({stored_runs.short_name(str(name))})"
            for name, words in named.items()
        }
    substrates = runs["substrate"].dropna().unique()
    titles["substrate"] = {each: stored_runs.substrate_in_words(each) for each in substrates}
    return titles


def _answer(study: SweepStudy) -> dict[str, Any]:
    """The question, the verdict, the map of winners, and the runs at the point of the answer."""
    results, at_point = study.results, study.at_start
    first, runs = results.start, entries(at_point)
    model, system = at_point["model_title"].iloc[0], at_point["system_title"].iloc[0]
    decodes = first["phase"] == "decode"
    length = f"{first['context']} tokens of {'context' if decodes else 'prompt'}"
    rows = [(runs[name]["title"], *cells(name, runs[name])) for name in study.shown]
    start = next((at for at in (first, results.reference) if winner_map(results.points, at)[0]), first)
    axes, header, lines = winner_map(results.points, start)
    map_cells = [[TableCell(text, None, outcome) for text, outcome in line] for line in lines]
    decided = any(outcome for line in lines for _, outcome in line)
    return {
        "question": f"Who {'decodes' if decodes else 'reads prompts of'} {model} fastest?",
        "machine": system,
        "at": f"{weights_in_words(first)}, batch {first['batch']}, {length}, {first['threads']} threads"
        + ", sums converted where it is fastest" * (first.get("convert") == AUTO),
        "sentences": results.verdict()["sentences"],
        "wins": table(header, map_cells, sortable=False) if decided else None,
        "setting": results.setting(axes, at_point, start),
        "legend": LEGEND,
        "table": table(("runner", *COLUMNS), rows, sortable=False),
    }


def _claims(results: RunTable, paper: str) -> dict[str, Any]:
    claimed, published = claims(results, paper).to_dict("records"), load_paper(paper)
    lines = []
    for claim in published.claim:
        own = [row for row in claimed if row["claim"] == claim.title]
        main = own.pop(claim.metrics("store").index(claim.primary))
        known = [row["here"] for row in own if pd.notna(row["ratio"])]
        paper_value, here, equal = (
            number(main[name], claim.unit) for name in ("paper", "here", "equal_quality")
        )
        others = f"{number(min(known))} .. {number(max(known), claim.unit)}" if known else ""
        place = main["configuration"] or main["remark"]
        lines.append([claim.title, paper_value, here, main["verdict"], equal, others, place])
    facts = claimed[len(claimed) - len(published.fact) :]
    lines += [[each["claim"], each["paper"], each["here"], "", "", "", each["remark"]] for each in facts]
    short = ("claim", "paper", "here", "", "at equal quality", "other definitions", "at")
    heads = {"claim": "claim", "reading": "definition", "paper": "paper", "here": "here"}
    heads |= {"ratio": "here / paper", "verdict": "", "equal_quality": "at equal quality"}
    heads |= {"configuration": "configuration that gives it", "remark": "remark"}
    units = ("paper", "here", "equal_quality")
    readings = (
        [_with_unit(row[name], row["unit"]) if name in units else row[name] for name in heads]
        for row in claimed
    )
    return {
        "table": table(short, lines, verdict=3, sortable=False),
        "readings": table([*heads.values()], readings, verdict=5),
        "cores": _other_cores(results),
    }


def _other_cores(results: RunTable) -> str:
    """Sentence on the cores that speedups are over, where they are not the paper's; else empty."""
    machines = map(load_system, sorted(set(results.frame["system"])))
    others = {system.title: core_of(system) for system in machines if core_of(system) != N1}
    if not others:
        return ""
    which = "; ".join(f"{title}: {core}" for title, core in others.items())
    return f"The paper's CPU has Neoverse N1 cores. Here each machine's own cores stand for them: {which}."


def _with_unit(value: object, unit: str) -> TableCell | str:
    """Cell of a number with its unit, sorted by the number; other values as text."""
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
"""Sections after the answer by their names in the page: the word of the menu, and the headline."""
TABLES = ("runs", "rests", "constants")
"""Names of the sections without figures."""


def _rests(frame: pd.DataFrame, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Every note of every run, once: on SAIL, on baselines, and on points that cannot be run; the errors of
    the baselines; and the values of the study."""
    ours = frame["kind"] == "accelerator"
    sail, others = (
        runners_by_sentence(zip(frame["runner"][rows], frame["notes"][rows], strict=True))
        for rows in (ours, ~ours)
    )
    baselines = [(sentence, ", ".join(names)) for sentence, names in sorted(others.items())]
    unable = frame[frame["reason"] != ""]
    refused = [(*key, len(own)) for key, own in unable.groupby(["runner", "reason"])]
    errors = [
        (
            *(e[name] for name in ("measurements", "held_out", "count")),
            *(100 * e[name] for name in ("median_error", "worst_error")),
            TableCell(f"{100 * e['bias']:+.1f}", 100 * e["bias"]),
        )
        for e in [*fitted_constants().errors, *held_out_results()["errors"]]
    ]
    header = ("measurements", "held out of the fit", "count", "median error, %", "worst, %", "bias, %")
    return {
        "sail": sorted(sail),
        "baselines": table(("about the baselines", "which"), baselines),
        "refused": table(("runner", "why", "points"), refused),
        "errors": table(header, errors),
        "varied": table(("parameter", "values"), _varied(frame.drop_duplicates(POINT)), sortable=False),
        "manifest": json.dumps(dict(manifest), indent=1, sort_keys=True, default=str),
    }


def _varied(points: pd.DataFrame) -> list[tuple[str, str]]:
    varied = []
    for column in POINT:
        values = sorted(set(points[column].dropna()))
        if column == "nbw":
            values = [AUTO if value == PER_TENSOR else value for value in values]
        words = WORDS.get(column, column)
        varied.append((words, ", ".join(shown(value) for value in values if value != "")))
    return varied


def _constants(frame: pd.DataFrame, price_list: PriceList) -> list[tuple[str, dict[str, Any]]]:
    """Tables of the machines of a study, the fits and the constants of dollars, joules and area."""
    header = ("constant", "value", "unit", "range", "kind", "source", "why")
    fits = fitted_constants()
    listed: dict[str, list[list[str]]] = {}
    parts: dict[str, list[list[str]]] = {}
    # A machine comes after those that its file extends, with only its changes.
    servers = set(frame["system"]) | set(frame["hardware"][frame["kind"] != "gpu"])
    for system in sorted(map(load_system, servers), key=lambda s: (len(s.extends), s.name)):
        lines = listed[system.name] = _lines(leaves(system), system.citation)
        below = next((name for name in system.extends if name in listed), None)
        title = f"System {system.name}: {system.title}" + (f"; all else as {below}" if below else "")
        parts[title] = [line for line in lines if below is None or line not in listed[below]]
    parts["Baselines, fitted (fits.json)"] = _lines(fits.quantities())
    parts["GPUs"] = []
    for name in sorted(set(frame["hardware"][frame["kind"] == "gpu"])):
        gpu = load_gpu(name)
        parts["GPUs"] += _lines(leaves(gpu, f"{stored_runs.short_name(name)}."), gpu.citation)
    for title, kind in (("Cost", CostConstants), ("Energy", EnergyConstants), ("Area", AreaConstants)):
        parts[title] = _lines(kind.quantities())
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
    of_prices = table(("instance", "value", "unit", "chip", "date", "source", ""), priced)
    return [*((title, table(header, lines)) for title, lines in parts.items()), ("Prices", of_prices)]


def _lines(constants: Mapping[str, Any], citation: Callable[[str], str] = str) -> list[list[str]]:
    lines = []
    for path, value in constants.items():
        cells = [path, str(value.value), "", ""]
        if isinstance(value, Quantity):
            span = "" if value.low is None or value.high is None else f"{value.low:g} .. {value.high:g}"
            cells = [path, f"{value.value:g}", value.unit, span]
        lines.append([*cells, value.kind, citation(value.source), value.note])
    return lines
