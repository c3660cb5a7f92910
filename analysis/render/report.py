"""`sailsim report`: the figures of a sweep as files, and one HTML page with the answer, the same figures, a
paper's claims, every run, and every number's source.

The page loads nothing from anywhere: styles, script, figures and records are inside.
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sailsim.analysis.costs.dollars import is_missing, prices
from sailsim.analysis.paper.claims import SHIPPED, load_paper
from sailsim.analysis.paper.stored_claims import table
from sailsim.analysis.render.answer import COLUMNS, ORDINARY, sentence, table_rows
from sailsim.analysis.render.claims_words import claim_rows, fact_rows, number
from sailsim.analysis.render.figure import captioned, draw, save, values
from sailsim.analysis.render.figures import FIGURES, WORDS, Study
from sailsim.analysis.render.gem5_figures import FOLDER
from sailsim.analysis.render.html import Cell, Table, inline_svg, page_file, rendered, shown
from sailsim.analysis.render.sections import Section, sections
from sailsim.analysis.results.compare import entries
from sailsim.analysis.results.equal_quality import at_equal_quality
from sailsim.analysis.results.joins import POINT
from sailsim.analysis.results.results import (
    MissingPointsError,
    Runs,
    short_name,
    stored_runs,
    substrate_in_words,
)
from sailsim.base.atomic import write_whole
from sailsim.base.errors import escaped
from sailsim.base.progress import followed
from sailsim.sim.files import load_system
from sailsim.sim.fitted import N1, core_of
from sailsim.sim.study.folder import Store
from sailsim.workloads.load import FILE, load_model

RUN_COLUMNS = {
    "title": "runner",
    "software": "software",
    "hardware": "hardware",
    "format": "weights",
    "cores": "cores",
    "tokens_per_s": "tokens/s",
    "low": "low",
    "high": "high",
    "speedup": "SAIL over it",
    "speedup_equal_quality": "at equal quality",
    "tokens_per_usd_used": "tokens/USD, vCPUs used",
    "tokens_per_usd_bandwidth": "with the bandwidth",
    "tokens_per_usd_whole": "whole server",
    "paid": "pays for",
    "energy_j": "J a step",
    "step_s": "s a step",
}
"""What the page's table of every run shows of one, beside the point that it is of."""


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

    ``paper``, one by name or a file of claims, is what results are compared with; None: `compared_with` says
    which, if any. ``progress`` is told on standard error, and so is what a figure that is left out lacks.
    Raises SailsimError for a store without results or without a point that SAIL can run, a bad price file or
    a bad file of claims."""
    load_paper(SHIPPED if paper is None else paper)  # a bad one is refused before the work
    opened = store if isinstance(store, Store) else Store(store)
    study = Study.of(stored_runs(opened), prices(price_file), paper, opened.path / FOLDER)
    path = Path(out) if out is not None else opened.path / "report.html"
    folder, written = path.parent / "figures", []
    figures = show(study, folder, progress)
    for name, figure in figures.items():
        paths = [folder / f"{name}.{kind}" for kind in ("svg", "png")]
        if "lacking" not in figure:
            written += paths
            continue
        for old in paths:
            old.unlink(missing_ok=True)
        if progress:
            print(escaped(f"left out: {figure['lacking']}"), file=sys.stderr)
    write_whole(path, page(study, opened.manifest, figures).encode())
    return [path, *written]


def show(study: Study, folder: Path | None = None, progress: bool = False) -> dict[str, dict[str, Any]]:
    """Every figure by name as the page has it: a drawing for a wide window and for a narrow one, and a table
    of its values; or, as ``lacking``, the sentence that says what the study lacks for it. Written into a
    folder, too, if there is one."""
    shown: dict[str, dict[str, Any]] = {}
    for name, (_, declare) in followed(FIGURES.items(), "figures", progress):
        try:
            figure = declare(study)
        except MissingPointsError as missing:
            shown[name] = {"name": name, "lacking": str(missing)}
            continue
        wide, narrow = draw(figure), draw(figure, "narrow")
        drawings = {
            layout: inline_svg(drawn.drawing, f"{name}-{layout}", drawn.words)
            for layout, drawn in (("wide", wide), ("narrow", narrow))
        }
        if folder is not None:
            save(captioned(wide, figure), folder / f"{name}.svg", folder / f"{name}.png")
        shown[name] = {"name": name, "figure": figure, "drawings": drawings, "table": Table(*values(figure))}
    return shown


def page(
    study: Study, manifest: Mapping[str, Any], figures: Mapping[str, dict[str, Any]] | None = None
) -> str:
    """The whole document for a study and its store's manifest; ``figures`` are what `show` gives, where the
    caller has them."""
    figures = show(study) if figures is None else figures
    first = study.start
    below = sections(study, manifest)
    known = {"answer", *(section.name for section in below)}
    drawn: dict[str, list[dict[str, Any]]] = {}
    for name, figure in figures.items():
        drawn.setdefault(FIGURES[name][0], []).append(figure)
    of_ones_own = [name for name, own in drawn.items() if name not in known and "figure" in own[0]]
    below += [Section(name, name.capitalize(), name.capitalize()) for name in of_ones_own]
    runs = runs_table(study.results)
    varied = [name for name in POINT if runs[name].nunique() > 1]
    about = {
        "choose": varied,
        "start": {name: first[name] for name in varied if name in first},
        "show": [pair for pair in RUN_COLUMNS.items() if pair[0] in runs],
        "words": WORDS,
        "titles": _titles(runs),
    }
    return rendered(
        "report.html.jinja",
        css="\n".join(map(page_file, ("base.css", "report.css"))),
        script=page_file("report.js"),
        records=packed(json.dumps({str(name): _plain(runs[name]) for name in runs}, allow_nan=False)),
        page=about,
        answer=_answer(study),
        sweep=_sweep(study, manifest),
        about=" and ".join(load_model(name).title for name in load_paper().models),
        claims=None if study.paper is None else _claims(study.results, study.paper),
        sections=[section for section in below if section.parts or section.name in drawn],
        figures=drawn,
    )


def runs_table(results: Runs) -> pd.DataFrame:
    """Every run that has a rate, with its ratios, dollars and joules: all columns that hold one value a row,
    and the numbers of its phases and its energy's causes."""
    rows = results.frame[results.frame["tokens_per_s"].notna()].reset_index(drop=True)
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


def packed(text: str) -> str:
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
    titles["substrate"] = {value: substrate_in_words(str(value)) for value in runs["substrate"].unique()}
    return titles


def _answer(study: Study) -> dict[str, Any]:
    """What SAIL gives at the study's first point, and which of its points that is."""
    at_point, first = study.results.frame, study.start
    for name, value in first.items():
        at_point = at_point[at_point[name] == value]
    model, system = at_point["model_title"].iloc[0], at_point["system_title"].iloc[0]
    weights = f"weights {first['weights']}" if first["weights"] else f"{first['wbits']}-bit weights"
    weights = "the file's weights" if first["weights"] == FILE else weights
    length = "context" if first["phase"] == "decode" else "prompt"
    what = f"{model}, {weights}, batch {first['batch']}, {first['context']} tokens of {length}"
    at = f"{what}, {first['threads']} threads, on {system}"
    runs = {name: run for name, run in entries(at_point).items() if run["tokens_per_s"] is not None}
    pieces = sentence(length == "prompt", runs).split("**")
    if study.points == 1:
        workload = f"This study has one point: {at}."
    else:
        workload = (
            f"This study has {study.points} points. The answer and the first figure are of the one that is "
            f"nearest to {ORDINARY.wbits} bits, batch {ORDINARY.batch}, {ORDINARY.threads} threads and "
            f"{ORDINARY.context} tokens: {at}."
        )
    return {
        "workload": workload,
        "pieces": [{"text": text, "strong": i % 2 == 1} for i, text in enumerate(pieces)],
        "table": Table((what, *COLUMNS), table_rows(runs, study.shown), sortable=False, wide=(2, 4, 5)),
    }


def _sweep(study: Study, manifest: Mapping[str, Any]) -> str:
    """What the store holds and which code made it."""
    frame = study.results.frame
    systems = "; ".join(sorted(set(frame["system_title"])))
    models = ", ".join(sorted(set(frame["model_title"])))
    dates = ", ".join(sorted(set(frame["price_date"].dropna())))
    commit = manifest.get("commit") or {}
    parts = [f"code {manifest['code_version']}" if "code_version" in manifest else "code unknown"]
    if "id" in commit:
        parts.append(f"commit {commit['id'][:12]}" + (" with changes" if commit.get("changed") else ""))
    if manifest.get("finished_at"):
        parts.append(f"finished {manifest['finished_at'][:16].replace('T', ' ')} UTC")
    made = ", ".join(parts)
    text = f"This sweep: {study.points} points. Machines: {systems}. Models: {models}. Made by {made}."
    return text + (f" Prices of {dates}." if dates else "")


def _claims(results: Runs, paper: str) -> dict[str, Any]:
    """The claims in a row each, and every reading behind them."""
    claimed = table(results, paper)
    lines = [
        [
            each.main["claim"],
            each.number(each.main["paper"]),
            each.number(each.main["here"]),
            each.main["verdict"],
            each.number(each.main["equal_quality"]),
            each.span,
            each.main["configuration"] or each.main["remark"],
        ]
        for each in claim_rows(claimed, paper)
    ]
    lines += [
        [fact["claim"], shown(fact["paper"]), fact["here"], "", "", "", fact["remark"]]
        for fact in fact_rows(claimed, paper)
    ]
    readings = [
        [
            row["claim"],
            row["reading"],
            _sorted_by(row["paper"], row["unit"]),
            _sorted_by(row["here"], row["unit"]),
            row["ratio"],
            row["verdict"],
            _sorted_by(row["equal_quality"], row["unit"]),
            row["configuration"],
            row["remark"],
        ]
        for row in claimed.to_dict("records")
    ]
    short = ("claim", "paper", "here", "", "at equal quality", "other readings", "at")
    long = (
        *("claim", "reading", "paper", "here", "here / paper", "", "at equal quality"),
        *("configuration that gives it", "remark"),
    )
    return {
        "table": Table(short, lines, verdict=3, sortable=False, wide=(5, 6)),
        "readings": Table(long, readings, verdict=5, wide=(7, 8)),
        "folded": f"Every reading that the words allow ({len(readings)})",
        "cores": _other_cores(results),
    }


def _other_cores(results: Runs) -> str:
    """Whose cores a speedup is over where they are not the paper's; empty where all are."""
    machines = map(load_system, sorted(set(results.frame["system"])))
    others = {system.title: core_of(system) for system in machines if core_of(system) != N1}
    if not others:
        return ""
    which = "; ".join(f"{title}: {core}" for title, core in others.items())
    return f"The paper's CPU has Neoverse N1 cores. Here each machine's own cores stand for them: {which}."


def _sorted_by(value: object, unit: str) -> Cell | str:
    """A number with its unit, which a table sorts by the number; words as they are."""
    if not isinstance(value, float) or pd.isna(value):
        return shown(value)
    return Cell(number(value, unit), number=value)
