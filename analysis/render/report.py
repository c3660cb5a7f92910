"""One HTML file of a store: figures, the table of claims, the configuration and where every constant comes
from.

It loads nothing from anywhere: styles and figures are inside, and there is no script.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pydantic import BaseModel

from sailsim.analysis.baselines.cpu import kernel_rates
from sailsim.analysis.baselines.fitted import fits, held_out_results
from sailsim.analysis.baselines.runners import CORES, SAIL
from sailsim.analysis.costs.area import AreaConstants, AreaNotModelledError, readings
from sailsim.analysis.costs.dollars import CostConstants, PriceList, prices
from sailsim.analysis.costs.energy import CAUSES, NOT_MODELLED, EnergyConstants
from sailsim.analysis.paper.claims import table
from sailsim.analysis.render.figures import FIGURES, draw
from sailsim.analysis.render.gem5_figures import FOLDER, TITLES, gem5_figures
from sailsim.analysis.render.style import style
from sailsim.analysis.results.compare import said_of
from sailsim.analysis.results.joins import POINT
from sailsim.analysis.results.results import Results, short_name, stored_runs
from sailsim.base.atomic import write_whole
from sailsim.sim import Choice, Quantity, Store, load_card, load_system

_CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; color: #1b1f24;
  background: #fff; max-width: 70rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; padding-bottom: .25rem; border-bottom: 2px solid #0072B2; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p, li { max-width: 48rem; }
.lead { color: #444; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .82rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .55rem; border-bottom: 1px solid #e2e5e9; }
th { background: #f4f6f8; border-bottom: 2px solid #cfd5db; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.reached, td.consistent { color: #00694d; font-weight: 600; }
td.missed, td.differs { color: #a34700; font-weight: 600; }
figure { margin: 1.2rem 0 2rem; }
figure svg { max-width: 100%; height: auto; display: block; }
pre { background: #f6f8fa; padding: .8rem; overflow-x: auto; font-size: .78rem; }
summary { cursor: pointer; font-weight: 600; margin: .8rem 0 .3rem; }
nav { font-size: .9rem; margin: 1rem 0; }
nav a { margin-right: 1rem; color: #0072B2; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  nav { display: none; }
  .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
}
"""

_TITLES = {
    "speedup": "Speedup over the same server's cores",
    "threads": "Tokens per second by threads",
    "dollars": "Tokens per dollar",
    "step_time": "Where a step's time goes",
    "energy": "Energy of a token",
    "prt": "What pattern reuse saves",
    "conversion": "In-memory type conversion",
}


def report(
    store: Store | str | Path, out: str | Path | None = None, price_file: str | Path | None = None
) -> Path:
    """Write the report of a store to ``out`` (default: `report.html` in its folder) and return its path.

    Raises SailsimError for a store without results or a bad price file.
    """
    opened = store if isinstance(store, Store) else Store(store)
    simulated = gem5_figures(opened.path / FOLDER)
    text = page(stored_runs(opened), opened.manifest, prices(price_file), simulated)
    path = Path(out) if out is not None else opened.path / "report.html"
    write_whole(path, text.encode())
    return path


def page(
    frame: pd.DataFrame,
    manifest: Mapping[str, Any],
    price_list: PriceList,
    simulated: Mapping[str, Figure] | None = None,
) -> str:
    """The whole document for the records and the manifest of a store, with figures of gem5's results if
    any."""
    results = Results.of(frame, price_list)
    points = frame.drop_duplicates(POINT)
    sections = [
        ("claims", "What the paper claims, and what comes out here", _claims(frame, price_list)),
        ("runners", "What runs the points", _runners(results)),
        ("figures", "Figures", _figures(results)),
        ("budget", "Energy and area", _budget(results)),
        *([("gem5", "Against gem5", _gem5(simulated))] if simulated else []),
        ("limits", "What the numbers rest on", _limits(frame)),
        ("errors", "How far off the baselines are", _errors()),
        ("configuration", "Configuration", _configuration(points, manifest)),
        ("constants", "Every constant and its source", _constants(frame, price_list)),
    ]
    links = "".join(f'<a href="#{name}">{_text(title)}</a>' for name, title, _ in sections)
    body = "".join(
        f'<section id="{name}"><h2>{_text(title)}</h2>{part}</section>' for name, title, part in sections
    )
    systems = ", ".join(sorted(set(frame["system_title"])))
    models = ", ".join(sorted(set(frame["model_title"])))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>sailsim report</title><style>{_CSS}</style></head><body>"
        "<header><h1>SAIL, simulated</h1>"
        f'<p class="lead">{len(points)} points. System: {_text(systems)}. Models: {_text(models)}. '
        f"{_text(_made_by(manifest))} Prices of {_text(_price_dates(results))}.</p></header>"
        f"<nav>{links}</nav>{body}</body></html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _made_by(manifest: Mapping[str, Any]) -> str:
    """Which code made the results, in a sentence."""
    commit = manifest.get("commit") or {}
    parts = [f"Code {manifest['code_version']}"] if "code_version" in manifest else ["Code unknown"]
    if "id" in commit:
        parts.append(f"commit {commit['id'][:12]}" + (" with changes" if commit.get("changed") else ""))
    if manifest.get("finished_at"):
        parts.append(f"finished {manifest['finished_at'][:16].replace('T', ' ')} UTC")
    return ", ".join(parts) + "."


def _price_dates(results: Results) -> str:
    return ", ".join(sorted(set(results.frame["price_date"].dropna())))


def _runners(results: Results) -> str:
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
    return f"<p>{_text(results.setting((), results.at((), unable=True)))}</p>" + _html_table(header, lines)


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return str(value)


def _html_table(header: Sequence[str], rows: Iterable[Sequence[object]], classes: int | None = None) -> str:
    """A table; numbers stand right; the text of column ``classes`` is also its cell's class."""
    materialized = [list(row) for row in rows]
    numeric = [
        any(isinstance(row[i], int | float) for row in materialized)
        and all(isinstance(row[i], int | float) or row[i] in (None, "") for row in materialized)
        for i in range(len(header))
    ]

    def cell(i: int, value: object) -> str:
        names = ["number"] if numeric[i] else []
        if i == classes:
            names.append(re.sub(r"\W+", "-", _cell(value)))
        attribute = f' class="{" ".join(names)}"' if names else ""
        return f"<td{attribute}>{_text(_cell(value))}</td>"

    head = "".join(
        f"<th{' class=number' if numeric[i] else ''}>{_text(name)}</th>" for i, name in enumerate(header)
    )
    lines = "".join("<tr>" + "".join(cell(i, v) for i, v in enumerate(row)) + "</tr>" for row in materialized)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _claims(frame: pd.DataFrame, price_list: PriceList) -> str:
    found = table(frame, price_list)
    rows = [
        [
            row["claim"],
            row["reading"],
            _with_unit(row["paper"], row["unit"]),
            _with_unit(row["here"], row["unit"]),
            _cell(row["ratio"]),
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
    return intro + _html_table(header, rows, classes=5)


def _with_unit(value: object, unit: str) -> str:
    if not isinstance(value, float) or pd.isna(value):
        return _cell(value)
    return f"{value:.3g}{' %' if unit == '%' else unit}"


def inline_svg(figure: Figure) -> str:
    """A figure as an SVG element to stand inside HTML: no prolog, no metadata."""
    buffer = StringIO()
    with style():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)


def _figures(results: Results) -> str:
    return "".join(
        f'<figure id="figure-{name}" role="img" aria-label="{_text(_TITLES[name])}">'
        f"{inline_svg(draw(name, results))}</figure>"
        for name in FIGURES
    )


def _budget(results: Results) -> str:
    """Joules a token by cause of the figure's rows, and the readings of the published overhead."""
    vary = ("wbits", "batch")
    rows = pd.concat([results.at(vary, name) for name in (SAIL, CORES)])
    rows = rows[rows["energy_j"].notna()].sort_values(["batch", "wbits"], kind="stable")
    lines = [
        [row["batch"], row["wbits"], row["title"]]
        + [float(row["energy"][cause]) * 1e3 / row["batch"] or None for cause in CAUSES]
        + [float(row["energy_j"]) / row["batch"]]
        + [
            " .. ".join(f"{row[f'energy_{end}_j'] / row['batch']:.2g}" for end in ("low", "high")),
            float(row["energy_j"]) / float(row["step_s"]),
        ]
        for row in rows.to_dict("records")
    ]
    header = ("batch", "bits", "", *(f"{cause}, mJ" for cause in CAUSES), "J a token", "range", "mean W")
    energies = (
        f"<p>At the reference setting, {_text(results.reference['system'])}, "
        f"{_text(results.reference['model'])}. The range has every constant at the same end of its own; a "
        f"dash is what a machine does not have. {_text(NOT_MODELLED.capitalize())}.</p>"
    ) + _html_table(header, lines)
    system = load_system(str(results.reference["system"]))
    assert system.pim is not None
    title = f"<h3>What the hardware overhead may mean, {system.pim.arrays.whole} arrays a slice</h3>"
    try:
        overheads = [
            [r.counted, r.base, f"{r.share:.1%}", None if r.arrays is None else round(r.arrays, 1)]
            for r in readings(system)
        ]
    except AreaNotModelledError as why:
        return energies + title + f"<p>{_text(str(why).capitalize())}.</p>"
    header = ("counted", "over", "share", "arrays a slice that would give 2 %")
    return energies + title + _html_table(header, overheads)


def _gem5(figures: Mapping[str, Figure]) -> str:
    return "".join(
        f'<figure id="figure-{name}" role="img" aria-label="{_text(TITLES[name])}">'
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
        + "".join(f"<li>{_text(note)}</li>" for note in sorted(sail))
        + "</ul>"
        + _html_table(("about the baselines", "which"), baselines)
        + f"<details><summary>Steps that a runner cannot do ({len(refused)})</summary>"
        + _html_table(("runner", "why", "points"), refused)
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
        for e in [*fits().errors, *held_out_results()["errors"]]
    ]
    header = ("measurements", "held out of the fit", "count", "median error", "worst", "bias")
    return "<p>Predicted over measured, minus 1 (docs/baselines.md).</p>" + _html_table(header, rows)


def _configuration(frame: pd.DataFrame, manifest: Mapping[str, Any]) -> str:
    varied = []
    for column in ("system", "model", "wbits", "abits", "nbw", "group_size", "batch", "threads", "context"):
        varied.append((column, ", ".join(str(v) for v in sorted(set(frame[column].dropna())))))
    for column in ("substrate", "convert", "prt", "seed"):
        varied.append((column, ", ".join(sorted({str(v) for v in frame[column].dropna()}))))
    shown = {k: v for k, v in manifest.items() if k != "points"} | {"points": len(manifest.get("points", []))}
    text = json.dumps(shown, indent=1, sort_keys=True, default=str)
    return (
        _html_table(("parameter", "values in this store"), varied)
        + f"<details><summary>Manifest</summary><pre>{_text(text)}</pre></details>"
    )


def _leaves(path: str, model: BaseModel) -> Iterator[tuple[str, Quantity | Choice]]:
    """Every sourced value below a system or card, with its dotted path."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Quantity | Choice):
            yield f"{path}{name}", value
        elif isinstance(value, BaseModel):
            yield from _leaves(f"{path}{name}.", value)


def _constants(frame: pd.DataFrame, price_list: PriceList) -> str:
    header = ("constant", "value", "unit", "range", "kind", "source", "why")
    parts = []
    listed: dict[str, set[tuple[str, ...]]] = {}
    # A machine's own file after those that it extends, and then only what it changes.
    servers = set(frame["system"]) | set(frame["hardware"][frame["kind"] != "card"])
    for system in sorted(map(load_system, servers), key=lambda s: (len(s.extends), s.name)):
        lines = [draw_line(path, value, system.citation(value.source)) for path, value in _leaves("", system)]
        listed[system.name] = {tuple(line) for line in lines}
        below = next((name for name in system.extends if name in listed), None)
        if below is not None:
            lines = [line for line in lines if tuple(line) not in listed[below]]
        title = f"System {system.name}: {system.title}" + (f"; all else as {below}" if below else "")
        parts.append((title, header, lines))
    rows = [draw_line(path, value, value.source) for path, value in fits().quantities().items()]
    parts.append(("Baselines, fitted (fits.json)", header, rows))
    rows = []
    for name in sorted(set(frame["hardware"][frame["kind"] == "card"])):
        card = load_card(name)
        rows += [
            draw_line(path, value, card.citation(value.source))
            for path, value in _leaves(f"{short_name(name)}.", card)
        ]
    parts.append(("GPU cards", header, rows))
    for title, constants in (
        ("Cost", CostConstants),
        ("Energy", EnergyConstants),
        ("Area", AreaConstants),
    ):
        lines = [draw_line(name, value, value.source) for name, value in constants.quantities().items()]
        parts.append((title, header, lines))
    rates = [
        [name, f"{r.relative:g}", "of q4_k", f"{r.low:g} .. {r.high:g}", r.kind, r.source, r.note]
        for name, r in kernel_rates().items()
    ]
    parts.append(("CPU kernel rates by format", header, rates))
    priced = [
        [p.instance, f"{p.usd_per_hour:g}", "USD/h", p.chip, p.date, p.source, ""] for p in price_list.rows
    ]
    parts.append(("Prices", ("instance", "value", "unit", "chip", "date", "source", ""), priced))
    return "".join(f"<h3>{_text(title)}</h3>{_html_table(head, lines)}" for title, head, lines in parts)


def draw_line(path: str, value: Quantity | Choice, source: str) -> list[str]:
    """One constant as the cells of a row."""
    if isinstance(value, Choice):
        return [path, str(value.value), "", "", value.kind, source, value.note]
    span = "" if value.low is None or value.high is None else f"{value.low:g} .. {value.high:g}"
    return [path, f"{value.value:g}", value.unit, span, value.kind, source, value.note]
