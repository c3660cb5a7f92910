"""The page of a reproduction, as Markdown for the docs and as one HTML file, from its JSON alone.

All numbers come from `reproduction.jsonl`; the reasons for what disagrees are in `data/disagreements.toml`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.render.html import CSS, html_table, inline_svg
from sailsim.analysis.render.markdown import table
from sailsim.analysis.render.reproduction_figures import FIGURES, TITLES, draw
from sailsim.analysis.render.reproduction_words import (
    SHORT,
    Found,
    number,
    primary,
    reasons,
    share,
    shown,
    verdict,
)
from sailsim.analysis.render.style import save
from sailsim.base.atomic import write_whole
from sailsim.base.records import read_records, to_lines

STORED = "reproduction.jsonl"
"""The results behind docs/reproduction.md, in `analysis/data`."""
BASELINE_FIGURES = ("baseline_cpu.png", "baseline_gpu.png")
"""Predicted against measured, drawn by `sailsim fit` beside docs/baselines.md."""


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
                lines += [table(block.head, block.rows), ""]
    baselines = ", ".join(f"[{name}](figures/{name})" for name in BASELINE_FIGURES)
    lines += [f"How far off the baselines are: docs/baselines.md, {baselines}.", ""]
    return "\n".join(lines)


def stored_page() -> str:
    """The page of the results that ship, `analysis/data/reproduction.jsonl`."""
    return markdown(read_records(data_file(STORED)))


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
                parts.append(html_table(block.head, block.rows, write=_inline))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>sailsim "
        f"reproduction</title><style>{CSS}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def write_page(found: Found, folder: Path, docs: Path | None = None) -> list[Path]:
    """Write `reproduction.html` and the figures to a folder, and with ``docs`` the Markdown page there too.

    The nearest systems go with it, and the page's results, from which `sailsim docs` makes it again, into
    `analysis/data` beside that folder.

    Returns the paths. Raises OSError where one cannot be written.
    """
    written = []
    for name in FIGURES:
        targets = [folder / "figures" / f"{name}.{kind}" for kind in ("svg", "png")]
        if docs is not None:
            targets.append(docs / "figures" / f"reproduction_{name}.png")
        written += save(draw(name, found), *targets)
    path = folder / "reproduction.html"
    write_whole(path, html_page(found).encode())
    written.append(path)
    if docs is not None:
        files = {docs.parent / "analysis" / "data" / STORED: to_lines(found).encode()}
        for claim in found["claims"].values():
            name = claim["nearest"]["file"]
            files[docs / "systems" / name] = (folder / name).read_bytes()
        files[docs / "reproduction.md"] = markdown(found).encode()
        for path, content in files.items():
            write_whole(path, content)
            written.append(path)
    return written
