"""The page of a reproduction, as Markdown for the docs and as one HTML file, from its JSON alone.

All numbers come from `reproduction.json`; the reasons for what disagrees are in `data/disagreements.toml`.
"""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.render.figures import PHASE_STYLE
from sailsim.analysis.render.report import _CSS as CSS
from sailsim.analysis.render.report import inline_svg
from sailsim.analysis.render.style import OKABE_ITO, canvas, caption, style
from sailsim.files import write_whole

Found = Mapping[str, Any]
NEAR = 0.1
"""How far above the paper's value one may be and still agree."""
SHORT = {
    "speedup": "Speedup over N1",
    "usd_cpu": "Tokens/$ over N1",
    "usd_v100": "Tokens/$ over V100",
    "prt": "Cycles saved by the PRT",
    "overhead": "Hardware overhead",
}
BASELINE_FIGURES = ("baseline_cpu.png", "baseline_gpu.png")
"""Predicted against measured, drawn by `sailsim fit` beside docs/baselines.md."""


# --- Words ---


def number(value: float | None, unit: str = "", digits: int = 3) -> str:
    """A number as the page has it."""
    if value is None:
        return "-"
    text = f"{value:.{digits}g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return text + (" %" if unit == "%" else unit)


def shown(value: Any) -> str:
    """A changed value as the page has it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def share(part: int, whole: int) -> str:
    """A share of machines in words."""
    return f"{part} of {whole} ({100 * part / whole:.0f} %)"


def verdict(name: str, claim: Found) -> str:
    """What came out, in words that follow from the numbers."""
    main = primary(claim)
    paper, nominal, near = claim["paper"], main["nominal"], claim["nearest"]["value"]
    reach, machines = main["reach"], main["machines"]
    good = reach / machines if machines else 0.0
    if name == "overhead":
        if nominal <= paper:
            return "the nominal machine is within it"
        if good > 0:
            return f"the nominal machine is {nominal / paper:.2g} times it; {good:.0%} of all are within it"
        return "no machine is within it"
    if abs(nominal / paper - 1) <= NEAR:
        said = f"the nominal machine gives {nominal / paper:.0%} of it"
    elif nominal > paper:
        said = f"exceeded by the nominal machine, {nominal / paper:.2g} times"
    elif good >= 0.25:
        said = f"missed by the nominal machine, reached by {good:.0%} of the machines"
    elif good > 0:
        said = f"missed by the nominal machine, reached in a corner of the space ({good:.1%})"
    elif near is not None and near >= 0.98 * paper:
        said = "missed by every sampled machine, reached by a searched one"
    else:
        most = max(v for v in (main["most"], near) if v is not None)
        said = f"not reached: at most {most / paper:.0%} of it"
    return said


def primary(claim: Found) -> Found:
    """The reading of a claim that is searched and explained."""
    found: Found = next(r for r in claim["readings"] if r["primary"])
    return found


def reasons() -> Mapping[str, Sequence[str]]:
    """Why what disagrees does, by claim: written by hand, without numbers of results."""
    table = tomllib.loads(data_file("disagreements.toml").read_text("utf-8"))
    return {name: list(entry["why"]) for name, entry in table.items()}


# --- The page as blocks ---


@dataclass(frozen=True)
class Block:
    """A piece of the page: a heading (`level`), a paragraph, a list, a table, code, or a figure."""

    kind: str
    text: str = ""
    level: int = 0
    rows: Sequence[Sequence[str]] = ()
    head: Sequence[str] = ()


def _quantiles(values: Sequence[float] | None, unit: str) -> str:
    if values is None:
        return "-"
    low, middle, high = values
    return f"{number(middle, unit)} ({number(low)} .. {number(high)})"


def blocks(found: Found) -> list[Block]:
    """The whole page."""
    claims: Found = found["claims"]
    page = [
        Block("heading", "Reproduction of the paper's claims", 1),
        Block(
            "paragraph",
            f"Written by `sailsim reproduce --samples {found['samples']} --seed {found['seed']} --docs`; "
            "nothing "
            'here is typed. The paper\'s numbers are separate maxima ("up to") without published '
            "configurations. So every unpublished parameter gets a range with its reason, machines are drawn "
            f"from all ranges at once ({found['machines']} independent ones, by a scrambled Sobol sequence), "
            'and each claim becomes a distribution. For each machine an "up to" is the highest over the '
            f"{len(found['workloads'])} declared workloads; beside it stands one fixed workload, so that "
            "what "
            "an unknown machine does is told apart from what a chosen workload does.",
        ),
        Block("heading", "What came out", 2),
        Block(
            "table",
            head=(
                "claim",
                "paper",
                "nominal here",
                "at",
                "machines: median (5 .. 95 %)",
                "same, fixed workload",
                "reach the paper's",
                "verdict",
            ),
            rows=[_summary(name, claim) for name, claim in claims.items()],
        ),
        Block(
            "paragraph",
            "Nominal: every constant at its value in the system file `sail-n1`. Each row is the claim's "
            "first "
            'reading below; a machine "reaches" a claim when its value is as high as the paper\'s, or as low '
            "in the case of the overhead.",
        ),
        Block("figure", "claims"),
        Block("figure", "decides"),
        Block("figure", "breakdown"),
        Block(
            "table",
            head=("also claimed", "paper", "here"),
            rows=[(f["claim"], f["paper"], f["here"]) for f in found["facts"]],
        ),
        Block("heading", "What still disagrees, and why", 2),
        Block("list", rows=[(line,) for line in disagreements(found)]),
    ]
    for name, claim in claims.items():
        page += _claim(name, claim)
    return page + _grounds(found)


def _summary(name: str, claim: Found) -> tuple[str, ...]:
    main, unit = primary(claim), claim["unit"]
    return (
        claim["title"],
        ("" if name == "overhead" else "up to ") + number(claim["paper"], unit),
        number(main["nominal"], unit),
        main["nominal_at"] or "-",
        _quantiles(main["quantiles"], unit),
        _quantiles(main["fixed_quantiles"], unit),
        share(main["reach"], main["machines"]),
        verdict(name, claim),
    )


def disagreements(found: Found) -> list[str]:
    """A sentence a claim from its numbers, followed by the reasons that are known."""
    known = reasons()
    lines = []
    for name, claim in found["claims"].items():
        main, unit = primary(claim), claim["unit"]
        lines.append(
            f"**{SHORT[name]}** (paper {number(claim['paper'], unit)}, nominal "
            f"{number(main['nominal'], unit)}): {verdict(name, claim)}. " + " ".join(known.get(name, ()))
        )
    return lines


def _claim(name: str, claim: Found) -> list[Block]:
    unit, near = claim["unit"], claim["nearest"]
    page = [
        Block(
            "heading", f"{claim['title'][0].upper()}{claim['title'][1:]}: {number(claim['paper'], unit)}", 2
        ),
        Block(
            "table",
            head=("reading", "nominal", "at", "median (5 .. 95 %)", "fixed workload", "best", "reach"),
            rows=[
                (
                    r["words"],
                    number(r["nominal"], unit),
                    r["nominal_at"] or "-",
                    _quantiles(r["quantiles"], unit),
                    _quantiles(r["fixed_quantiles"], unit),
                    number(r["most"], unit),
                    share(r["reach"], r["machines"]),
                )
                for r in claim["readings"]
            ],
        ),
    ]
    if claim["decides"]:
        page.append(
            Block(
                "table",
                head=("what decides it", "total index", "first order", "low end: median", "high end: median"),
                rows=[
                    (
                        d["factor"],
                        f"{d['total']:.2f} ± {d['total_conf']:.2f}",
                        f"{d['first']:.2f}",
                        f"{number(d['low'], unit)} at {d['low_at']}",
                        f"{number(d['high'], unit)} at {d['high_at']}",
                    )
                    for d in claim["decides"]
                ],
            )
        )
    if claim["alternatives"]:
        page.append(
            Block(
                "table",
                head=(
                    "another design on the same machines",
                    "nominal",
                    "median (5 .. 95 %)",
                    "why not assumed",
                ),
                rows=[
                    (a["name"], number(a["nominal"], unit), _quantiles(a["quantiles"], unit), a["reason"])
                    for a in claim["alternatives"]
                ],
            )
        )
    changes = [
        f"{path} = {shown(c['value'])} (nominal {shown(c['was'])})" for path, c in near["changes"].items()
    ]
    where = "" if name == "overhead" else f" on {near['workload']}"
    page += [
        Block(
            "paragraph",
            f"**Nearest plausible configuration**: {number(near['value'], unit, 4)}{where}, with "
            + (", ".join(changes) if changes else "nothing changed")
            + f". File: `systems/{near['file']}`. "
            + (f"`{near['find']}` of:" if near["find"] else _find(name)),
        ),
        Block("code", "\n".join(near["commands"])),
    ]
    return page


def _find(name: str) -> str:
    if name == "prt":
        return "1 - `sail.pim_cycles` of the first over that of the second:"
    return "The area of this machine's units, `sailsim.analysis.costs.area`:"


def _grounds(found: Found) -> list[Block]:
    return [
        Block("heading", "What the numbers rest on", 2),
        Block(
            "paragraph",
            "Every machine's cores run the software of its CPU baseline: attention, barriers and the "
            "share of "
            "bandwidth of SAIL's cores are the sampled constants of that baseline, so a speedup is the "
            "GEMVs' "
            "alone. A measured baseline scatters around the prediction; that scatter is a factor of its own. "
            "Total index: the share of a claim's variance (of its logarithm; of the saving itself for "
            "the PRT) "
            "that goes away if the factor were known, interactions included, with its 95 % interval, "
            "over the "
            "workloads marked below; ends of a bar are medians over the lowest and highest third of a "
            "factor's "
            "range.",
        ),
        Block(
            "table",
            head=("workload", "decides", "why"),
            rows=[(w["name"], "yes" if w["decides"] else "", w["reason"]) for w in found["workloads"]],
        ),
        Block(
            "table",
            head=("held equal", "value", "why"),
            rows=[(h["name"], h["value"], h["reason"]) for h in found["held"]],
        ),
        Block("heading", "Every unknown", 3),
        Block(
            "table",
            head=("factor", "nominal", "range or choices", "unit", "why"),
            rows=[
                (
                    f["name"],
                    "fitted" if f["span"].endswith("(normal)") else shown(f["nominal"]),
                    f["span"],
                    f["unit"],
                    f["reason"],
                )
                for f in found["factors"]
            ],
        ),
        Block(
            "paragraph",
            "(normal): fitted constants move along the covariance of their fit, here with its 5 .. 95 % "
            "range; "
            "(log): drawn evenly in the logarithm. Decide nothing here, neither time nor area, and are left "
            f"out: {', '.join(found['inert'])}. {found['impossible']} of {found['machines']} machines "
            "could not "
            "run any workload.",
        ),
    ]


# --- Markdown and HTML ---


def markdown(found: Found) -> str:
    """The page for docs/; figures lie in docs/figures/."""
    lines: list[str] = []
    for block in blocks(found):
        match block.kind:
            case "heading":
                lines += [f"{'#' * block.level} {block.text}", ""]
            case "paragraph":
                lines += [block.text, ""]
            case "list":
                lines += [*(f"- {row[0]}" for row in block.rows), ""]
            case "code":
                lines += ["```sh", block.text, "```", ""]
            case "figure":
                lines += [f"![{TITLES[block.text]}](figures/reproduction_{block.text}.png)", ""]
            case "table":
                lines += [_md_row(block.head), "|" + "---|" * len(block.head)]
                lines += [*(_md_row(row) for row in block.rows), ""]
    baselines = ", ".join(f"[{name}](figures/{name})" for name in BASELINE_FIGURES)
    lines += [f"How far off the baselines are: docs/baselines.md, {baselines}.", ""]
    return "\n".join(lines)


def _md_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(str(c).replace("|", "\\|").replace("\n", " ") for c in cells) + " |"


def _inline(text: str) -> str:
    """The little Markdown of paragraphs as HTML."""
    text = html.escape(text, quote=False)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def html_page(found: Found) -> str:
    """One HTML file, figures inside."""
    parts: list[str] = []
    for block in blocks(found):
        match block.kind:
            case "heading":
                parts.append(f"<h{block.level}>{_inline(block.text)}</h{block.level}>")
            case "paragraph":
                parts.append(f"<p>{_inline(block.text)}</p>")
            case "list":
                parts.append("<ul>" + "".join(f"<li>{_inline(row[0])}</li>" for row in block.rows) + "</ul>")
            case "code":
                parts.append(f"<pre>{html.escape(block.text)}</pre>")
            case "figure":
                label = html.escape(TITLES[block.text])
                svg = inline_svg(draw(block.text, found))
                parts.append(f'<figure role="img" aria-label="{label}">{svg}</figure>')
            case "table":
                head = "".join(f"<th>{_inline(h)}</th>" for h in block.head)
                body = "".join(
                    "<tr>" + "".join(f"<td>{_inline(str(c))}</td>" for c in row) + "</tr>"
                    for row in block.rows
                )
                parts.append(
                    f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
                    "</table></div>"
                )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>sailsim "
        f"reproduction</title><style>{CSS}</style></head><body>{''.join(parts)}</body></html>\n"
    )


# --- Figures ---

TITLES: Mapping[str, str] = {
    "claims": "What machines within the declared ranges give, claim by claim",
    "decides": "What decides each claim",
    "breakdown": "Where a step's time goes, on SAIL and on the cores alone",
}


def plain_numbers(text: str) -> str:
    """Text with dollars that are no mathematics."""
    return text.replace("$", r"\$")


def _axis(axes: Axes, name: str, unit: str, wide: bool = False) -> None:
    """A claim's axis: logarithmic but for the PRT's saving, which can be 0."""
    if name != "prt":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("%" if unit == "%" else "times")


def claims_figure(found: Found) -> Figure:
    """Distributions of every claim with the paper's value, the nominal and the nearest machine."""
    figure, grid = canvas(TITLES["claims"], 2, 3, width=9.6, height=8.4)
    panels = [axes for row in grid for axes in row]
    for axes, (name, claim) in zip(panels, found["claims"].items(), strict=False):
        main, paper = primary(claim), float(claim["paper"])
        values = np.array([v for v in claim["values"] if v is not None])
        fixed = np.array([v for v in claim["fixed_values"] if v is not None])
        both = np.concatenate([values, fixed, [paper]])
        if name == "prt":
            edges = np.linspace(min(0.0, both.min()), max(both.max() * 1.02, 1.0), 28)
        else:
            edges = np.geomspace(both.min() * 0.95, both.max() * 1.05, 28)
        axes.hist(values, edges, color=OKABE_ITO["sky"], alpha=0.75, label="highest over the workloads")
        if name != "overhead":
            axes.hist(
                fixed,
                edges,
                histtype="step",
                color=OKABE_ITO["black"],
                lw=1.2,
                label="on the fixed workload",
            )
        _axis(axes, name, claim["unit"], wide=bool(edges[-1] > 300 * max(edges[0], 1e-9)))
        axes.axvline(paper, color=OKABE_ITO["vermillion"], lw=2, label="paper")
        top = axes.get_ylim()[1]
        axes.plot(main["nominal"], top * 0.93, "o", color=OKABE_ITO["blue"], ms=8, label="nominal machine")
        if main["nominal_fixed"] is not None and name != "overhead":
            axes.plot(
                main["nominal_fixed"],
                top * 0.93,
                "o",
                mfc="white",
                color=OKABE_ITO["blue"],
                ms=8,
                label="nominal, fixed workload",
            )
        reach = f"{main['reach'] / main['machines']:.0%} reach {number(paper, claim['unit'])}"
        axes.set_title(plain_numbers(f"{SHORT[name]}: {reach}"), loc="left")
        axes.set_ylabel("machines")
    last = panels[len(found["claims"])]
    last.axis("off")
    handles, labels = panels[0].get_legend_handles_labels()
    last.legend(handles, labels, loc="center left")
    fixed_name = next(w["name"] for w in found["workloads"] if w["fixed"])
    caption(
        figure,
        f"{found['machines']} machines drawn from the ranges of every unpublished parameter (seed "
        f"{found['seed']}), each beside baselines with drawn constants. Highest over "
        f"{len(found['workloads'])} workloads; fixed: {fixed_name} (model, weight bits, batch, threads, "
        "context). "
        "Overhead: at most the paper's counts as reached.",
        "Readings: "
        + plain_numbers("; ".join(f"{SHORT[n]}: {primary(c)['words']}" for n, c in found["claims"].items()))
        + ".",
    )
    return figure


def decides_figure(found: Found) -> Figure:
    """A tornado a claim: medians at the ends of the factors that decide most."""
    figure, grid = canvas(TITLES["decides"], 2, 3, width=11.0, height=9.4)
    panels = [axes for row in grid for axes in row]
    for axes, (name, claim) in zip(panels, found["claims"].items(), strict=False):
        unit = claim["unit"]
        bars, ends = claim["decides"][:8], [float(claim["paper"])]
        for y, bar in enumerate(bars):
            low, high = bar["low"], bar["high"]
            if low is None:
                continue
            ends += [low, high]
            axes.barh(y, high - low, left=low, height=0.62, color=OKABE_ITO["sky"])
            # Of an instance the provider is enough.
            left_text, right_text = (bar[end].partition("/")[0] for end in ("low_at", "high_at"))
            axes.annotate(left_text, (low, y), ha="right", va="center", fontsize=7, xytext=(-2, 0),
                          textcoords="offset points")  # fmt: skip
            axes.annotate(right_text, (high, y), ha="left", va="center", fontsize=7, xytext=(2, 0),
                          textcoords="offset points")  # fmt: skip
        axes.set_yticks(
            range(len(bars)), [f"{b['factor']}  ({max(b['total'], 0):.2f})" for b in bars], fontsize=8
        )
        axes.set_ylim(max(len(bars), 1) - 0.4, -0.6)
        _axis(axes, name, unit)
        if name == "prt":
            room = 0.14 * (max(ends) - min(ends))
            axes.set_xlim(min(ends) - room, max(ends) + room)
        else:
            room = (max(ends) / max(min(ends), 1e-3)) ** 0.14
            axes.set_xlim(max(min(ends), 1e-3) / room, max(ends) * room)
        axes.axvline(float(claim["paper"]), color=OKABE_ITO["vermillion"], lw=1.6)
        median = primary(claim)["quantiles"]
        if median is not None:
            axes.axvline(median[1], color="#444444", lw=1, ls=(0, (2, 2)))
        axes.set_title(plain_numbers(SHORT[name]), loc="left")
    last = panels[len(found["claims"])]
    last.axis("off")
    last.plot([], [], color=OKABE_ITO["vermillion"], lw=1.6, label="paper")
    last.plot([], [], color="#444444", lw=1, ls=(0, (2, 2)), label="median of all machines")
    last.legend(loc="center left")
    caption(
        figure,
        "Bars: the claim's median over machines whose factor is in the lowest and in the highest third "
        "of its "
        "range, or over its choices; the labels say where. In brackets: total Sobol index, the share of the "
        "variance that goes away if the factor were known. Names are those of the system files "
        "(`sailsim systems show sail-n1 --sources`) and of the fits (docs/baselines.md).",
        f"{found['machines']} machines, {found['samples'] // 2} base samples for the indices, seed "
        f"{found['seed']}.",
    )
    return figure


_CPU_STYLE: Mapping[str, tuple[str, str, str]] = {
    "weights": ("weights from DRAM", OKABE_ITO["blue"], ""),
    "kernels": ("products", OKABE_ITO["vermillion"], "\\\\"),
    "attention": ("attention", OKABE_ITO["green"], ""),
    "kv_cache": ("KV cache", OKABE_ITO["sky"], "//"),
    "synchronisation": ("barriers", OKABE_ITO["black"], ""),
}


def breakdown_figure(found: Found) -> Figure:
    """A step on SAIL and on the cores alone, nominal and nearest, as stacked bars."""
    rows = found["breakdown"]
    figure, panels = canvas(TITLES["breakdown"], 2, width=11.5, height=2.6 + 0.5 * len(rows), sharey=True)
    sides: tuple[tuple[str, str, Mapping[str, tuple[str, str, str]]], ...] = (
        ("sail", "SAIL", PHASE_STYLE),
        ("cpu", "the same cores alone", _CPU_STYLE),
    )
    for axes, (side, title, styles) in zip(panels, sides, strict=True):
        used: dict[str, Any] = {}
        longest = max(row[f"{side}_ms"] for row in rows)
        for y, row in enumerate(rows):
            left = 0.0
            for part, milliseconds in row[side].items():
                label, colour, hatch = styles[part]
                style_of = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.4}
                bar = axes.barh(y, milliseconds, 0.6, left, **style_of)
                if milliseconds > 0.004 * longest:
                    used.setdefault(label, bar)
                left += milliseconds
            axes.annotate(
                f"{row[f'{side}_ms']:,.4g} ms",
                (left, y),
                va="center",
                fontsize=8,
                xytext=(3, 0),
                textcoords="offset points",
            )
        axes.set_xlim(0, 1.2 * longest)
        axes.set_title(title, loc="left")
        axes.set_xlabel("time of one decode step, ms")
        axes.grid(axis="y", visible=False)
        axes.legend(
            list(used.values()),
            list(used),
            loc="upper center",
            bbox_to_anchor=(0.5, -0.24),
            ncols=2,
            fontsize=8,
        )
    panels[0].set_yticks(range(len(rows)), [row["name"].replace(": ", "\n") for row in rows], fontsize=8.5)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    caption(
        figure,
        "The scales differ. Workloads: model, weight bits, batch, threads, context. Nearest: the "
        "searched configuration of "
        "a claim. "
        "Cores alone: predicted for llama.cpp, constants nominal (docs/baselines.md).",
    )
    return figure


FIGURES: Mapping[str, Callable[[Found], Figure]] = {
    "claims": claims_figure,
    "decides": decides_figure,
    "breakdown": breakdown_figure,
}


def draw(name: str, found: Found) -> Figure:
    """One figure by name."""
    with style():
        return FIGURES[name](found)


def write_page(found: Found, folder: Path, docs: Path | None = None) -> list[Path]:
    """Write `reproduction.html` and the figures to a folder, and with ``docs`` the Markdown page there too.

    The page's results, from which a test makes it again, and the nearest systems go with it.

    Returns the paths. Raises OSError where one cannot be written.
    """
    written = []
    for name in FIGURES:
        figure = draw(name, found)
        for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            buffer = BytesIO()
            with style():
                figure.savefig(buffer, format=kind, metadata=metadata)
            targets = [folder / "figures" / f"{name}.{kind}"]
            if docs is not None and kind == "png":
                targets.append(docs / "figures" / f"reproduction_{name}.png")
            for target in targets:
                write_whole(target, buffer.getvalue())
                written.append(target)
    path = folder / "reproduction.html"
    write_whole(path, html_page(found).encode())
    written.append(path)
    if docs is not None:
        files = {"reproduction.json": (folder / "reproduction.json").read_bytes()}
        for claim in found["claims"].values():
            name = claim["nearest"]["file"]
            files[f"systems/{name}"] = (folder / name).read_bytes()
        files["reproduction.md"] = markdown(found).encode()
        for name, content in files.items():
            write_whole(docs / name, content)
            written.append(docs / name)
    return written
