"""One HTML file of a store: figures, the table of claims, the configuration and where every constant comes
from.

It loads nothing from anywhere: styles and figures are inside, and there is no script.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from sailsim.analysis.baselines.fitted import fitted_constants, held_out_results
from sailsim.analysis.baselines.runners import CORES, SAIL
from sailsim.analysis.costs.area import AreaNotModelledError, overhead_bases
from sailsim.analysis.costs.dollars import PriceList, prices
from sailsim.analysis.costs.energy import CAUSES, NOT_MODELLED, tokens_of
from sailsim.analysis.paper.claims import SHIPPED
from sailsim.analysis.paper.stored_claims import table
from sailsim.analysis.render.figures import FIGURES, draw
from sailsim.analysis.render.gem5_figures import FOLDER, TITLES, gem5_figures
from sailsim.analysis.render.html import CSS, escaped, html_table, inline_svg, shown
from sailsim.analysis.render.report_constants import constants_section
from sailsim.analysis.results.compare import said_of
from sailsim.analysis.results.joins import POINT
from sailsim.analysis.results.results import FREE, MissingPointsError, Runs, short_name, stored_runs
from sailsim.base.atomic import write_whole
from sailsim.base.progress import followed
from sailsim.sim import Store, load_system
from sailsim.sim.nbw import AUTO, PER_TENSOR

_TITLES = {
    "speedup": "Speedup over the same server's cores",
    "threads": "Tokens per second by threads",
    "dollars": "Tokens per dollar",
    "step_time": "Where a step's time goes",
    "energy": "Energy of a token",
    "energy_units": "Energy of the PIM units",
    "prt": "What pattern reuse saves",
    "conversion": "In-memory type conversion",
}


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
    simulated = gem5_figures(opened.path / FOLDER)
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
    points = frame.drop_duplicates(POINT)
    sections = [
        ("claims", "What the paper claims, and what comes out here", _claims(results, paper)),
        ("runners", "What runs the points", _runners(results)),
        ("figures", "Figures", _figures(results, paper, progress)),
        ("budget", "Energy and area", _budget(results)),
        *([("gem5", "Against gem5", _gem5(simulated))] if simulated else []),
        ("limits", "What the numbers rest on", _limits(frame)),
        ("errors", "How far off the baselines are", _errors()),
        ("configuration", "Configuration", _configuration(points, manifest)),
        ("constants", "Every constant and its source", constants_section(frame, price_list)),
    ]
    links = "".join(f'<a href="#{name}">{escaped(title)}</a>' for name, title, _ in sections)
    body = "".join(
        f'<section id="{name}"><h2>{escaped(title)}</h2>{part}</section>' for name, title, part in sections
    )
    systems = ", ".join(sorted(set(frame["system_title"])))
    models = ", ".join(sorted(set(frame["model_title"])))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>sailsim report</title><style>{CSS}</style></head><body>"
        "<header><h1>SAIL, simulated</h1>"
        f'<p class="lead">{len(points)} points. System: {escaped(systems)}. Models: {escaped(models)}. '
        f"{escaped(_made_by(manifest))} Prices of {escaped(_price_dates(results))}.</p></header>"
        f"<nav>{links}</nav>{body}</body></html>\n"
    )


def _made_by(manifest: Mapping[str, Any]) -> str:
    """Which code made the results, in a sentence."""
    commit = manifest.get("commit") or {}
    parts = [f"Code {manifest['code_version']}"] if "code_version" in manifest else ["Code unknown"]
    if "id" in commit:
        parts.append(f"commit {commit['id'][:12]}" + (" with changes" if commit.get("changed") else ""))
    if manifest.get("finished_at"):
        parts.append(f"finished {manifest['finished_at'][:16].replace('T', ' ')} UTC")
    return ", ".join(parts) + "."


def _price_dates(results: Runs) -> str:
    return ", ".join(sorted(set(results.frame["price_date"].dropna())))


def _runners(results: Runs) -> str:
    """Who runs the points: each runner with its rate, SAIL's speedup and its dollars at the reference."""
    lines = []
    for name in results.runners["runner"]:
        rows = results.at((), name, unable=True)
        if rows.empty:
            continue
        row = rows.iloc[0]
        rated = not pd.isna(row["tokens_per_s"])
        lines.append(
            [
                row["title"],
                f"{row['software']} on {short_name(row['hardware'])}",
                row["format"],
                None if pd.isna(row["cores"]) else int(row["cores"]),
                float(row["tokens_per_s"]) if rated else row["reason"],
                None if pd.isna(row["low"]) else f"{row['low']:.3g} .. {row['high']:.3g}",
                f"{row['speedup']:.2f}x" if rated else None,
                row["tokens_per_usd"],
                row["paid"] if isinstance(row["paid"], str) else ("no price" if rated else None),
            ]
        )
    header = (
        *("runner", "what", "weights", "cores", "tokens/s", "band", "SAIL over it", "tokens/USD", "pays for"),
    )
    return f"<p>{escaped(results.setting((), results.at((), unable=True)))}</p>" + html_table(header, lines)


def _claims(results: Runs, paper: str) -> str:
    found = table(results, paper)
    rows = [
        [
            row["claim"],
            row["reading"],
            _with_unit(row["paper"], row["unit"]),
            _with_unit(row["here"], row["unit"]),
            shown(row["ratio"]),
            row["verdict"],
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
        "configuration that gives it",
        "remark",
    )
    intro = (
        "<p>The paper's numbers are separate maxima without published configurations. Beside each stands the "
        "highest value of this store, in every reading that the words allow; what falls short is a miss. "
        "Reached says that some point of this store gives as much, not that it is the paper's.</p>"
    )
    return intro + html_table(header, rows, classes=5)


def _with_unit(value: object, unit: str) -> str:
    if not isinstance(value, float) or pd.isna(value):
        return shown(value)
    return f"{value:.3g}{' %' if unit == '%' else unit}"


def _figures(results: Runs, paper: str, progress: bool) -> str:
    parts = []
    for name in followed(FIGURES, "figures of the report", progress):
        try:
            drawn = inline_svg(draw(name, results, paper))
        except MissingPointsError as missing:
            parts.append(f"<p>{escaped(missing)}</p>")
            continue
        label = escaped(_TITLES[name])
        parts.append(f'<figure id="figure-{name}" role="img" aria-label="{label}">{drawn}</figure>')
    return "".join(parts)


def _budget(results: Runs) -> str:
    """Joules a token by cause of the figure's rows, and the readings of the published overhead."""
    vary = ("wbits", "batch")
    rows = pd.concat([results.at(vary, name) for name in (SAIL, CORES)])
    rows = rows[rows["energy_j"].notna()].sort_values(["batch", "wbits"], kind="stable")
    lines = [
        [row["batch"], row["wbits"], row["title"]]
        + [float(row["energy"][cause]) * 1e3 / tokens_of(row) or None for cause in CAUSES]
        + [float(row["energy_j"]) / tokens_of(row)]
        + [
            " .. ".join(f"{row[f'energy_{end}_j'] / tokens_of(row):.2g}" for end in ("low", "high")),
            float(row["energy_j"]) / float(row["step_s"]),
        ]
        for row in rows.to_dict("records")
    ]
    header = ("batch", "bits", "", *(f"{cause}, mJ" for cause in CAUSES), "J a token", "range", "mean W")
    energies = (
        f"<p>At the reference setting, {escaped(results.reference['system'])}, "
        f"{escaped(results.reference['model'])}. The range has every constant at the same end of its own; a "
        f"dash is what a machine does not have. {escaped(NOT_MODELLED.capitalize())}.</p>"
    ) + html_table(header, lines)
    system = load_system(str(results.reference["system"]))
    assert system.pim is not None
    title = f"<h3>What the hardware overhead may mean, {system.pim.arrays.whole} arrays a slice</h3>"
    try:
        overheads = [
            [r.counted, r.base, f"{r.share:.1%}", None if r.arrays is None else round(r.arrays, 1)]
            for r in overhead_bases(system)
        ]
    except AreaNotModelledError as why:
        return energies + title + f"<p>{escaped(str(why).capitalize())}.</p>"
    header = ("counted", "over", "share", "arrays a slice that would give 2 %")
    return energies + title + html_table(header, overheads)


def _gem5(figures: Mapping[str, Figure]) -> str:
    return "".join(
        f'<figure id="figure-{name}" role="img" aria-label="{escaped(TITLES[name])}">'
        f"{inline_svg(figure)}</figure>"
        for name, figure in figures.items()
    )


def _limits(frame: pd.DataFrame) -> str:
    """Every note of every run, once: what SAIL rests on, the others, and what cannot run."""
    ours = frame["kind"] == "accelerator"
    sail = said_of(zip(frame["runner"][ours], frame["notes"][ours], strict=True))
    said = said_of(zip(frame["runner"][~ours], frame["notes"][~ours], strict=True))
    baselines = [(sentence, ", ".join(names)) for sentence, names in sorted(said.items())]
    unable = frame[frame["reason"] != ""]
    refused = [(*key, len(own)) for key, own in unable.groupby(["runner", "reason"])]
    return (
        "<p>What SAIL leaves to the cores runs at the rates of the system file's [host]; compare those with "
        "the baselines' below. The results carry these sentences:</p>"
        + "<ul>"
        + "".join(f"<li>{escaped(note)}</li>" for note in sorted(sail))
        + "</ul>"
        + html_table(("about the baselines", "which"), baselines)
        + f"<details><summary>Steps that a runner cannot do ({len(refused)})</summary>"
        + html_table(("runner", "why", "points"), refused)
        + "</details>"
    )


def _errors() -> str:
    rows = [
        (
            e["measurements"],
            e["held_out"],
            e["count"],
            f"{e['median_error']:.1%}",
            f"{e['worst_error']:.1%}",
            f"{e['bias']:+.1%}",
        )
        for e in [*fitted_constants().errors, *held_out_results()["errors"]]
    ]
    header = ("measurements", "held out of the fit", "count", "median error", "worst", "bias")
    return "<p>Predicted over measured, minus 1 (docs/baselines.md).</p>" + html_table(header, rows)


def _configuration(frame: pd.DataFrame, manifest: Mapping[str, Any]) -> str:
    varied = []
    for column in (*FREE, "prt", "seed"):
        values = sorted(set(frame[column].dropna()))
        if column == "nbw":
            values = [AUTO if value == PER_TENSOR else value for value in values]
        varied.append((column, ", ".join(str(value) for value in values if value != "")))
    shown = dict(manifest)
    text = json.dumps(shown, indent=1, sort_keys=True, default=str)
    return (
        html_table(("parameter", "values in this store"), varied)
        + f"<details><summary>Manifest</summary><pre>{escaped(text)}</pre></details>"
    )
