"""One HTML file of a store: the answer, figures that respond, a paper's claims, and every number's source.

It loads nothing from anywhere: styles, scripts, data and the library that draws (plotly.js, of the package
plotly) are inside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from plotly.offline import get_plotlyjs

from sailsim.analysis.costs.dollars import PriceList, prices
from sailsim.analysis.paper.claims import SHIPPED, load_paper
from sailsim.analysis.paper.stored_claims import compared_with, table
from sailsim.analysis.render import report_data as data
from sailsim.analysis.render.answer_page import BESIDE, CARDS, ORDINARY, study_answer
from sailsim.analysis.render.claims_words import claim_rows, fact_rows, number
from sailsim.analysis.render.figure_axes import DOUBLING, WORDS
from sailsim.analysis.render.gem5_figures import FOLDER, gem5_figures
from sailsim.analysis.render.html import Cell, Table, page_file, rendered, shown
from sailsim.analysis.render.report_charts import FRONT
from sailsim.analysis.render.report_parts import bold_pieces
from sailsim.analysis.render.report_sections import sections, stored_study
from sailsim.analysis.render.style import OKABE_ITO, SERIES
from sailsim.analysis.results.compare import entries
from sailsim.analysis.results.joins import POINT
from sailsim.analysis.results.results import Runs, short_name, stored_runs, substrate_in_words
from sailsim.analysis.results.runs import SAIL, shipped_runners
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.progress import followed
from sailsim.sim.files import load_system
from sailsim.sim.fitted import N1, core_of
from sailsim.sim.nbw import nbw_in_words
from sailsim.sim.study.folder import Store
from sailsim.workloads.choice import FILE
from sailsim.workloads.load import load_model

SCRIPTS = ("records.js", "tables.js", "charts.js", "traces.js", "page.js")
"""Parts of the page's one script, in the order in which they need each other."""
STYLES = ("base.css", "report.css")
DRAWN_FIRST = (SAIL, *BESIDE, "cores-all-best", *CARDS)
"""Runners that figures show before the reader asks for others; those of a user's too."""


MORE_WORDS = {
    "seed": "seed",
    "prt": "pattern reuse table",
    "bits_per_weight": "stored bits a weight",
    "kv_bits": "bits of the cache",
    "attention": "products of attention",
    "overlap": "two half-batches",
    "tokens_per_s": "tokens/s",
    "runner": "runner",
    "group_size": "weights that share a scale",
}
"""What more columns are called in the page."""


def report(
    store: Store | str | Path,
    out: str | Path | None = None,
    price_file: str | Path | None = None,
    paper: str | None = None,
    progress: bool = False,
) -> Path:
    """Write the report of a store to ``out`` (default: `report.html` in its folder) and return its path.

    ``paper``, one by name or a file of claims, is what results are compared with; None: `compared_with` says
    which, if any. ``progress`` is told on standard error. Raises SailsimError for a store without results or
    without a point that SAIL can run, a bad price file or a bad file of claims.
    """
    load_paper(SHIPPED if paper is None else paper)  # a bad one is refused before the work
    opened = store if isinstance(store, Store) else Store(store)
    gem5 = opened.path / FOLDER
    text = page(stored_runs(opened), opened.manifest, prices(price_file), gem5, paper, progress)
    path = Path(out) if out is not None else opened.path / "report.html"
    write_whole(path, text.encode())
    return path


def page(
    frame: pd.DataFrame,
    manifest: Mapping[str, Any],
    price_list: PriceList,
    gem5: Path | None = None,
    paper: str | None = None,
    progress: bool = False,
) -> str:
    """The whole document for the records and the manifest of a store, with figures of a folder of gem5's
    results if there is one, compared with a paper's claims as `report` says."""
    results = Runs.of(frame, price_list)
    first = start(results)
    paper = compared_with(results, paper)
    tables = tables_of(results, progress)
    simulated = {} if gem5 is None else gem5_figures(gem5, paper == SHIPPED)
    below = sections(results, manifest, simulated, tables, paper)
    charts = [*FRONT, *(chart for section in below for chart in section.charts)]
    marks = {
        claim.name: (claim.value, f"paper: {number(claim.value, claim.unit, 6)}")
        for claim in (load_paper(paper).claim if paper is not None else ())
    }
    about = {
        "charts": [chart.marked(marks).as_dict() for chart in charts],
        "start": first,
        "shown": shown_first(results),
        "own": own_runners(results),
        "words": WORDS | MORE_WORDS,
        "titles": titles(tables["runs"]),
        "colours": SERIES,
        "sail": {"runner": SAIL, "colour": OKABE_ITO["vermillion"]},
        "doubling": DOUBLING,
    }
    points = frame["point_key"].nunique()
    return rendered(
        "report.html.jinja",
        css="\n".join(map(page_file, STYLES)),
        script="\n".join(map(page_file, SCRIPTS)),
        library=data.packed(get_plotlyjs()),
        records=data.packed(data.as_json(tables)),
        page=about,
        answer=_answer(first, results, points),
        sweep=_sweep(points, results, manifest),
        front=FRONT,
        about=" and ".join(load_model(name).title for name in load_paper().models),
        claims=None if paper is None else _claims(results, paper),
        sections=below,
    )


def tables_of(results: Runs, progress: bool = False) -> dict[str, pd.DataFrame]:
    """What the figures draw, by name."""
    makers: dict[str, Callable[[], pd.DataFrame]] = {
        "runs": lambda: data.runs_table(results),
        "reuse": lambda: data.reuse_table(results),
        "conversion": lambda: data.conversion_table(results),
        "area": lambda: data.area_table(results),
        "quality": data.quality_table,
        "tiles": data.tiles_table,
        "reproduction": lambda: data.reproduction_table(stored_study()),
    }
    return {name: makers[name]() for name in followed(makers, "tables of the report", progress)}


def start(results: Runs) -> dict[str, Any]:
    """The point that figures show first: the ordinary workload where the store has it, as far as it has it,
    else the store's reference. Raises SailsimError for a store without a point that SAIL can run."""
    rows = results.frame[results.frame["runner"] == SAIL]
    if rows["tokens_per_s"].isna().all():
        why = f" ({rows['reason'].iloc[0]})" if len(rows) else ""
        raise SailsimError(f"the study has no point that SAIL can run{why}; allowed is one with some.")
    rows = rows[rows["tokens_per_s"].notna()]
    chosen: dict[str, Any] = {}
    ordinary = ORDINARY.as_dict()
    for column in POINT:
        wanted = [value for value in (ordinary[column], results.reference.get(column)) if value is not None]
        found = next((value for value in wanted if (rows[column] == value).any()), None)
        if found is None and rows[column].isna().all():
            continue
        if found is None:
            found = rows[column].mode().iloc[0]
        rows = rows[rows[column] == found]
        chosen[column] = found.item() if isinstance(found, np.generic) else found
    return chosen


def own_runners(results: Runs) -> list[str]:
    """The runners of a store that do not ship."""
    shipped = {runner.name for runner in shipped_runners()}
    return [name for name in results.runners["runner"] if name not in shipped]


def shown_first(results: Runs) -> list[str]:
    """The runners that figures draw before the reader asks for others."""
    own = own_runners(results)
    return [name for name in results.runners["runner"] if name in DRAWN_FIRST or name in own]


def titles(runs: pd.DataFrame) -> dict[str, dict[str, str]]:
    """What values of columns are called, by column and value as text."""
    found = {name: dict(zip(runs[name], runs[f"{name}_title"], strict=True)) for name in ("system", "model")}
    found |= {
        "runner": dict(zip(runs["runner"], runs["title"], strict=True)),
        "substrate": {value: substrate_in_words(str(value)) for value in runs["substrate"].unique()},
        "nbw": {str(value): nbw_in_words(value) for value in range(9)},
        "group_size": {"0": "all of a column"},
        "convert": {"memory": "in memory", "cores": "on the cores", "unit": "in the unit"},
        "prt": {"true": "with", "false": "without"},
        "overlap": {"true": "with", "false": "without"},
        "attention": {"cores": "on the cores", "units": "on the units"},
        "weights": {"": "of one width"},
    }
    return found | {column: _told_apart(found[column]) for column in ("system", "model", "runner")}


def _told_apart(named: Mapping[str, str]) -> dict[str, str]:
    """Titles by name; of one that several have, each with its own name."""
    often = Counter(named.values())
    return {
        name: title if often[title] == 1 else f"{title} ({short_name(str(name))})"
        for name, title in named.items()
    }


def _answer(first: Mapping[str, Any], results: Runs, points: int) -> dict[str, Any]:
    """What SAIL gives at the first point, and which of so many points that is."""
    rows = results.frame
    for name, value in first.items():
        rows = rows[rows[name] == value]
    model, system = rows["model_title"].iloc[0], rows["system_title"].iloc[0]
    weights = f"weights {first['weights']}" if first["weights"] else f"{first['wbits']}-bit weights"
    weights = "the file's weights" if first["weights"] == FILE else weights
    length = "context" if first["phase"] == "decode" else "prompt"
    what = f"{model}, {weights}, batch {first['batch']}, {first['context']} tokens of {length}"
    found = study_answer(what, length == "prompt", entries(rows), shown_first(results))
    at = f"{what}, {first['threads']} threads, on {system}"
    if points == 1:
        said = f"This study has one point: {at}."
    else:
        said = (
            f"This study has {points} points. The answer and the first figures are of the one that is "
            f"nearest to {ORDINARY.wbits} bits, batch {ORDINARY.batch}, {ORDINARY.threads} threads and "
            f"{ORDINARY.context} tokens: {at}."
        )
    return {
        "workload": said,
        "pieces": bold_pieces(found.sentence),
        "table": Table(found.header, found.rows, sortable=False, wide=(2, 4, 5)),
    }


def _sweep(points: int, results: Runs, manifest: Mapping[str, Any]) -> str:
    """What the store of so many points holds and which code made it."""
    frame = results.frame
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
    said = f"This sweep: {points} points. Machines: {systems}. Models: {models}. Made by {made}."
    return said + (f" Prices of {dates}." if dates else "")


def _claims(results: Runs, paper: str) -> dict[str, Any]:
    """The claims in a row each, and every reading behind them."""
    found = table(results, paper)
    facts = fact_rows(found, paper)
    rows = [
        [
            each.main["claim"],
            each.number(each.main["paper"]),
            each.number(each.main["here"]),
            each.main["verdict"],
            each.number(each.main["equal_quality"]),
            each.span,
            each.main["configuration"] or each.main["remark"],
        ]
        for each in claim_rows(found, paper)
    ]
    rows += [[fact["claim"], shown(fact["paper"]), fact["here"], *3 * [""], fact["remark"]] for fact in facts]
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
        for row in found.to_dict("records")
    ]
    header = (
        "claim",
        "reading",
        "paper",
        "here",
        "here / paper",
        "",
        "at equal quality",
        "configuration that gives it",
        "remark",
    )
    return {
        "table": Table(
            ("claim", "paper", "here", "", "at equal quality", "other readings", "at"),
            rows,
            verdict=3,
            sortable=False,
            wide=(5, 6),
        ),
        "readings": Table(header, readings, verdict=5, wide=(7, 8)),
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
