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
from matplotlib.figure import Figure
from plotly.offline import get_plotlyjs

from sailsim.analysis.baselines.core_kinds import N1, core_of
from sailsim.analysis.baselines.runners import SAIL, shipped_runners
from sailsim.analysis.costs.dollars import PriceList, prices
from sailsim.analysis.paper.claims import SHIPPED, load_paper
from sailsim.analysis.paper.stored_claims import table
from sailsim.analysis.render import report_data as data
from sailsim.analysis.render.answer_page import BESIDE, CARDS, ORDINARY, answer
from sailsim.analysis.render.claim_rows import claim_rows, fact_rows
from sailsim.analysis.render.figure_axes import DOUBLING, WORDS
from sailsim.analysis.render.gem5_figures import FOLDER, gem5_figures
from sailsim.analysis.render.html import Cell, Table, page_file, rendered, shown
from sailsim.analysis.render.report_charts import FRONT
from sailsim.analysis.render.report_parts import bold_pieces
from sailsim.analysis.render.report_sections import sections, stored_study
from sailsim.analysis.render.reproduction_words import number
from sailsim.analysis.render.style import OKABE_ITO, SERIES
from sailsim.analysis.results.joins import POINT
from sailsim.analysis.results.results import Runs, short_name, stored_runs, substrate_in_words
from sailsim.base.atomic import write_whole
from sailsim.base.progress import followed
from sailsim.sim import Store, load_system
from sailsim.sim.nbw import nbw_in_words

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
    paper: str = SHIPPED,
    progress: bool = False,
) -> Path:
    """Write the report of a store to ``out`` (default: `report.html` in its folder) and return its path.

    ``paper``, one by name or a file of claims, is what results are compared with. ``progress`` is told on
    standard error. Raises SailsimError for a store without results, a bad price file or a bad file of claims.
    """
    opened = store if isinstance(store, Store) else Store(store)
    simulated = gem5_figures(opened.path / FOLDER, paper == SHIPPED)
    text = page(stored_runs(opened), opened.manifest, prices(price_file), simulated, paper, progress)
    path = Path(out) if out is not None else opened.path / "report.html"
    write_whole(path, text.encode())
    return path


def page(
    frame: pd.DataFrame,
    manifest: Mapping[str, Any],
    price_list: PriceList,
    simulated: Mapping[str, Figure] | None = None,
    paper: str = SHIPPED,
    progress: bool = False,
) -> str:
    """The whole document for the records and the manifest of a store, with figures of gem5's results if
    any, beside a paper's claims."""
    results = Runs.of(frame, price_list)
    tables = tables_of(results, progress)
    below = sections(results, manifest, simulated or {}, tables, paper)
    charts = [*FRONT, *(chart for section in below for chart in section.charts)]
    marks = {
        claim.name: (claim.value, f"paper: {number(claim.value, claim.unit, 6)}")
        for claim in load_paper(paper).claim
    }
    first = start(results)
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
    return rendered(
        "report.html.jinja",
        css="\n".join(map(page_file, STYLES)),
        script="\n".join(map(page_file, SCRIPTS)),
        library=data.packed(get_plotlyjs()),
        records=data.packed(data.as_json(tables)),
        page=about,
        answer=_answer(),
        at=_at(first, results),
        sweep=_sweep(frame["point_key"].nunique(), results, manifest),
        front=FRONT,
        claims=_claims(results, paper),
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
    else the store's reference."""
    rows = results.frame
    rows = rows[(rows["runner"] == SAIL) & rows["tokens_per_s"].notna()]
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


def _answer() -> dict[str, Any]:
    found = answer()
    workload = found.header[0]
    return {
        "workload": f"For an ordinary workload: {workload}.",
        "pieces": bold_pieces(found.sentence),
        "table": Table(found.header, found.rows, sortable=False, wide=(2, 4, 5)),
    }


def _at(first: Mapping[str, Any], results: Runs) -> str:
    """The point that the first page's figures show, in words."""
    rows = results.frame
    models = dict(zip(rows["model"], rows["model_title"], strict=True))
    systems = dict(zip(rows["system"], rows["system_title"], strict=True))
    weights = f"weights {first['weights']}" if first["weights"] else f"{first['wbits']}-bit weights"
    length = "context" if first["phase"] == "decode" else "prompt"
    return (
        f"The figures show what this sweep has nearest to it: {models[first['model']]}, {weights}, batch "
        f"{first['batch']}, {first['threads']} threads, {first['context']} tokens of {length}, on "
        f"{systems[first['system']]}."
    )


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
