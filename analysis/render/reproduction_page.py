"""The page of a reproduction, as Markdown for the docs and as one HTML file, from its JSON alone.

All numbers come from `reproduction.jsonl`; reasons for what disagrees are the claims' (`data/claims`).
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sailsim.analysis.paper.claims import Claim
from sailsim.analysis.render.html import Cell, Table, inline_svg, page_file, rendered
from sailsim.analysis.render.markdown import table, words_of
from sailsim.analysis.render.reproduction_figures import FIGURES, TITLES, draw
from sailsim.analysis.render.reproduction_words import (
    Reproduction,
    claims_of,
    number,
    primary,
    share,
    shown,
    verdict,
)
from sailsim.analysis.render.style import save
from sailsim.base.atomic import write_whole

STORED = "reproduction.jsonl"
"""The results behind docs/reproduction.md, in `analysis/data`."""
WORDS = "reproduction_words.jinja"
"""The template of the page's paragraphs."""
BASELINE_FIGURES = ("baseline_cpu.png", "baseline_gpu.png")
"""Predicted against measured, drawn by `research/fit.py` beside docs/baselines.md."""


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


def blocks(study: Reproduction) -> list[Block]:
    """The whole page."""
    words = words_of(WORDS)
    claims = claims_of(study)
    page = [
        Block("heading", "Reproduction of the paper's claims", 1),
        Block(
            "paragraph",
            words.opening(study),
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
            rows=[_summary(claim, results) for claim, results in claims],
        ),
        Block(
            "paragraph",
            words.nominal(),
        ),
        Block("figure", "claims"),
        Block("figure", "decides"),
        Block("figure", "breakdown"),
        Block(
            "table",
            head=("also claimed", "paper", "here"),
            rows=[(f["claim"], f["paper"], f["here"]) for f in study["facts"]],
        ),
        Block("heading", "What still disagrees, and why", 2),
        Block("list", rows=[(line,) for line in disagreements(study)]),
    ]
    for claim, results in claims:
        page += _claim(claim, results)
    return page + _grounds(study)


def _summary(claim: Claim, results: Reproduction) -> tuple[str, ...]:
    main, unit = primary(results), claim.unit
    return (
        claim.title,
        ("up to " if claim.aggregation == "highest" else "") + number(claim.value, unit),
        number(main["nominal"], unit),
        main["nominal_at"] or "-",
        _quantiles(main["quantiles"], unit),
        _quantiles(main["fixed_quantiles"], unit),
        share(main["reach"], main["machines"]),
        verdict(claim, results),
    )


def disagreements(study: Reproduction) -> list[str]:
    """A sentence a claim from its numbers, followed by the reasons that are known."""
    lines = []
    for claim, results in claims_of(study):
        nominal = number(primary(results)["nominal"], claim.unit)
        lines.append(
            f"**{claim.short}** (paper {number(claim.value, claim.unit)}, nominal {nominal}): "
            f"{verdict(claim, results)}. " + " ".join(claim.why)
        )
    return lines


def _claim(claim: Claim, results: Reproduction) -> list[Block]:
    unit, near = claim.unit, results["nearest"]
    page = [
        Block("heading", f"{claim.title[0].upper()}{claim.title[1:]}: {number(claim.value, unit)}", 2),
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
                for r in results["readings"]
            ],
        ),
    ]
    if results["decides"]:
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
                    for d in results["decides"]
                ],
            )
        )
    if results["alternatives"]:
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
                    for a in results["alternatives"]
                ],
            )
        )
    changes = [
        f"{path} = {shown(c['value'])} (nominal {shown(c['was'])})" for path, c in near["changes"].items()
    ]
    where = f" on {near['workload']}" if claim.aggregation == "highest" else ""
    page += [
        Block(
            "paragraph",
            f"**Nearest plausible configuration**: {number(near['value'], unit, 4)}{where}, with "
            + (", ".join(changes) if changes else "nothing changed")
            + f". File: `systems/{near['file']}`. "
            + (f"`{near['find']}` of:" if near["find"] else claim.primary.how),
        ),
        Block("code", "\n".join(near["commands"])),
    ]
    return page


def _grounds(study: Reproduction) -> list[Block]:
    words = words_of(WORDS)
    return [
        Block("heading", "What the numbers rest on", 2),
        Block(
            "paragraph",
            words.grounds(),
        ),
        Block(
            "table",
            head=("workload", "decides", "why"),
            rows=[(w["name"], "yes" if w["decides"] else "", w["reason"]) for w in study["workloads"]],
        ),
        Block(
            "table",
            head=("held equal", "value", "why"),
            rows=[(h["name"], h["value"], h["reason"]) for h in study["held"]],
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
                for f in study["factors"]
            ],
        ),
        Block(
            "paragraph",
            words.factors(study),
        ),
    ]


def markdown(study: Reproduction) -> str:
    """The page for docs/; figures lie in docs/figures/."""
    lines: list[str] = []
    for block in blocks(study):
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
                lines += [table(block.head, block.rows), ""]
    baselines = ", ".join(f"[{name}](figures/{name})" for name in BASELINE_FIGURES)
    lines += [f"How far off the baselines are: docs/baselines.md, {baselines}.", ""]
    return "\n".join(lines)


class _Words(str):
    """A text with the little Markdown of paragraphs, which a template writes as HTML."""

    def __html__(self) -> str:
        text = html.escape(self, quote=False)
        text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
        return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def _table(block: Block) -> Table:
    """A table whose cells have that Markdown."""
    rows = [[Cell(_Words(text)) for text in row] for row in block.rows]
    return Table([_Words(name) for name in block.head], rows, sortable=False)


def html_page(study: Reproduction) -> str:
    """One HTML file, figures inside."""
    return rendered(
        "reproduction.html.jinja",
        css=page_file("base.css"),
        blocks=blocks(study),
        words=_Words,
        table_of=_table,
        titles=TITLES,
        drawn=lambda name: inline_svg(draw(name, study)),
    )


def write_page(study: Reproduction, folder: Path) -> list[Path]:
    """Write `reproduction.html` and the figures to a folder; returns the paths.

    Raises OSError where one cannot be written.
    """
    written = []
    for name in FIGURES:
        written += save(
            draw(name, study), *(folder / "figures" / f"{name}.{kind}" for kind in ("svg", "png"))
        )
    path = folder / "reproduction.html"
    write_whole(path, html_page(study).encode())
    return [*written, path]
