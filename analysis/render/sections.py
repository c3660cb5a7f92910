"""The sections of the report: what stands in each below its figures, in words and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sailsim.analysis.costs.area import AreaConstants
from sailsim.analysis.costs.dollars import CostConstants, PriceList
from sailsim.analysis.costs.energy import NOT_MODELLED, EnergyConstants
from sailsim.analysis.render.claims_words import claims_of, number, primary, share, verdict
from sailsim.analysis.render.figures import WORDS, Study, stored_study
from sailsim.analysis.render.gem5_figures import shipped_tiles, stored_tiles, stored_tokens
from sailsim.analysis.render.html import Cell, Table, shown
from sailsim.analysis.results.compare import said_of
from sailsim.analysis.results.equal_quality import (
    WEIGHTS,
    at_equal_quality,
    choice_in_words,
)
from sailsim.analysis.results.joins import POINT
from sailsim.analysis.results.results import Runs, numbers, short_name
from sailsim.analysis.results.runs import SAIL
from sailsim.base.quantity import Choice, Quantity
from sailsim.sim.files import leaves, load_card, load_system
from sailsim.sim.fitted import fitted_constants, held_out_results
from sailsim.sim.pim import AUTO, PER_TENSOR


@dataclass(frozen=True)
class Part:
    """A piece of a section, in this order: heading, paragraphs, a list of sentences, a table.

    With ``folded`` the table stands behind these words, and ``printed`` opens it on paper; ``text`` is
    something to read letter by letter, always behind them.
    """

    heading: str = ""
    paragraphs: Sequence[str] = ()
    points: Sequence[str] = ()
    table: Table | None = None
    folded: str = ""
    printed: bool = False
    text: str = ""


@dataclass(frozen=True)
class Section:
    """A section: its name in the page, its word in the menu, its headline, what stands above its figures, and
    its parts below them."""

    name: str
    menu: str
    title: str
    parts: list[Part] = field(default_factory=list)
    words: str = ""


def sections(study: Study, manifest: Mapping[str, Any]) -> list[Section]:
    """All but the first page. The stored study of the claims stands in the report of the paper whose claims
    it asked about alone."""
    results = study.results
    return [
        Section("speed", "Speed", "How fast"),
        Section("dollars", "Dollars", "What a dollar buys"),
        Section(
            "energy",
            "Energy",
            "What a token takes in energy",
            words=f"{NOT_MODELLED[0].upper()}{NOT_MODELLED[1:]}.",
        ),
        Section("area", "Area", "What it takes in silicon"),
        Section("quality", "Quality", "What narrow weights lose", [_equal_quality(results)], words=QUALITY),
        Section("time", "Where time goes", "Where the time of a token goes", _time(results)),
        Section("reuse", "Reuse", "What pattern reuse and conversion in memory give"),
        Section("gem5", "gem5", "Against gem5", words=_gem5(study)),
        *([] if study.paper is None else [_reproduction(study.paper)]),
        Section("runs", "Every run", "Every run of the sweep", [Part()]),
        Section(
            "rests",
            "What it rests on",
            "What the numbers rest on",
            _rests(results.frame, manifest),
            words=RESTS,
        ),
        Section(
            "constants",
            "Constants",
            "Every constant and its source",
            _constants(results.frame, results.price_list),
        ),
    ]


ENERGY = f"{NOT_MODELLED[0].upper()}{NOT_MODELLED[1:]}."
QUALITY = (
    "Measured once for the project (docs/quality.md), on SmolLM2-135M-Instruct; what a width loses depends "
    "on the model."
)
RESTS = (
    "What SAIL leaves to the cores runs at the rates of the system file's [host]; compare those with the "
    "baselines'. The results carry these sentences:"
)


def _by_width(results: Runs) -> pd.DataFrame:
    """Every runner's rows at each width of the sweep, else at the reference, with what equal quality adds."""
    rows = pd.concat([results.at(WEIGHTS, name) for name in results.runners["runner"]])
    return pd.concat([rows, at_equal_quality(rows)], axis=1)


def _equal_quality(results: Runs) -> Part:
    """SAIL at each width beside others at the same one, and at the fastest that loses no more."""
    heading = "Speedups at equal quality"
    rows = _by_width(results)
    rows = rows[rows["loss"].notna() & (rows["runner"] != SAIL)].sort_values("loss", kind="stable")
    if rows.empty:
        return Part(heading=heading, paragraphs=["This sweep holds no width whose loss was measured."])
    lines = [
        [
            choice_in_words(row["choice"]),
            Cell(f"{row['loss']:+.4f}", number=row["loss"]),
            row["title"],
            float(row["speedup"]),
            float(row["speedup_equal_quality"]),
            choice_in_words(row["equal_choice"]),
            Cell(f"{row['equal_loss']:+.4f}", number=row["equal_loss"]),
        ]
        for row in rows[rows["equal_choice"].notna()].to_dict("records")
    ]
    header = (
        *("SAIL's weights", "their loss, nats a token", "SAIL over", "at equal bits", "at equal quality"),
        *("whose weights are then", "and lose"),
    )
    text = (
        "At equal quality the others have whichever of this sweep's widths is fastest and loses at most as "
        "much as SAIL's. Losses are those of docs/quality.md, by rounding to nearest with activations of 8 "
        "bits, on that model; another one loses other amounts, and with them this may change."
    )
    where = results.setting(WEIGHTS, results.at(WEIGHTS))
    return Part(
        heading=heading,
        paragraphs=[text, where],
        table=Table(header, lines, wide=(5, 6)),
        folded=f"All of them ({len(lines)})",
        printed=True,
    )


def _time(results: Runs) -> list[Part]:
    """The phases, and how much of a step stays on the cores."""
    rows = results.at(("batch",)).sort_values("batch")
    kept = numbers(rows, "phases", "cores") / rows["step_s"]
    shares = [
        f"{part:.0%} at batch {batch}"
        for part, batch in zip(kept, rows["batch"], strict=True)
        if part == part
    ]
    text = f"Of a step, the cores work alone, on attention and the rest, for {', '.join(shares)}."
    return [Part(paragraphs=[text])] if shares else []


def _gem5(study: Study) -> str:
    """Whose tokens and tiles the figures show: the sweep's own, else those that ship."""
    text = (
        "Whole tokens: one program decodes on simulated cores, with its products on the cores or on PIM "
        "units (docs/gem5-results.md)."
    )
    if stored_tokens(study.gem5) is None:
        text += " These are the runs that ship; make sim GEM5=PATH makes some of its own."
    if stored_tiles(study.gem5) is not None:
        return f"{text} Tiles: those of this sweep, run on gem5."
    tiles = shipped_tiles()
    worst = tiles["error"].abs()
    return (
        f"{text} No tile of this sweep ran on gem5 (make sim GEM5=PATH does so). These are the {len(tiles)} "
        f"that ship: {int(tiles['correct'].sum())} with exact results, {int(tiles['phases_equal'].sum())} "
        f"with equal phases; the engine's time is off by {worst.median():.1%} in the median and "
        f"{worst.max():.1%} at worst."
    )


def _reproduction(paper: str) -> Section:
    """What all machines within the ranges give, of the paper that the stored study asked about."""
    section = Section("reproduction", "Reproduction", "The paper's claims, over all that is not published")
    study = stored_study()
    if study["paper"] != paper:
        text = (
            "The study that ships (docs/reproduction.md) draws machines from the ranges of all that is not "
            "published, and asks them about another paper's claims than those of this report. sailsim "
            "claims reproduce --paper asks about these."
        )
        section.parts.append(Part(paragraphs=[text]))
        return section
    lines = []
    for claim, results in claims_of(study):
        main = primary(results)
        spread = main["quantiles"]
        lines.append(
            [
                claim.title,
                number(claim.value, claim.unit),
                number(main["nominal"], claim.unit),
                "-" if spread is None else " .. ".join(number(end) for end in (spread[0], spread[2])),
                share(main["reach"], main["machines"]),
                verdict(claim, results),
            ]
        )
    header = ("claim", "paper", "nominal machine", "5 .. 95 % of machines", "reach the paper's", "verdict")
    text = (
        f"What is not published has a range, and {study['machines']} machines were drawn from all ranges at "
        "once (docs/reproduction.md, made by make reproduce): this does not depend on the sweep."
    )
    section.parts.append(Part(paragraphs=[text], table=Table(header, lines, sortable=False, wide=(3, 4))))
    return section


def _rests(frame: pd.DataFrame, manifest: Mapping[str, Any]) -> list[Part]:
    """Every note of every run, once: what SAIL rests on, the others, and what cannot run; how far off the
    baselines are; and what the store holds."""
    ours = frame["kind"] == "accelerator"
    sail = said_of(zip(frame["runner"][ours], frame["notes"][ours], strict=True))
    sentences = said_of(zip(frame["runner"][~ours], frame["notes"][~ours], strict=True))
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
            Cell(f"{100 * e['bias']:+.1f}", number=100 * e["bias"]),
        )
        for e in [*fitted_constants().errors, *held_out_results()["errors"]]
    ]
    header = ("measurements", "held out of the fit", "count", "median error, %", "worst, %", "bias, %")
    return [
        Part(points=sorted(sail)),
        Part(
            table=Table(("about the baselines", "which"), baselines),
            folded=f"Sentences about the baselines ({len(baselines)})",
        ),
        Part(
            table=Table(("runner", "why", "points"), refused),
            folded=f"Steps that a runner cannot do ({len(refused)})",
        ),
        Part(
            heading="How far off the baselines are",
            paragraphs=["Predicted over measured, minus 1 (docs/baselines.md)."],
            table=Table(header, errors, wide=(1,)),
            folded=f"All comparisons with measurements ({len(errors)})",
        ),
        Part(
            heading="What this sweep holds",
            table=Table(("parameter", "values"), _varied(frame.drop_duplicates(POINT)), sortable=False),
        ),
        Part(folded="Manifest", text=json.dumps(dict(manifest), indent=1, sort_keys=True, default=str)),
    ]


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


def _constants(frame: pd.DataFrame, price_list: PriceList) -> list[Part]:
    """Tables of the machines of a store's records, the fits and the constants of dollars, joules and area."""
    header = ("constant", "value", "unit", "range", "kind", "source", "why")
    parts = []
    listed: dict[str, set[tuple[str, ...]]] = {}
    # A machine's own file after those that it extends, and then only what it changes.
    servers = set(frame["system"]) | set(frame["hardware"][frame["kind"] != "card"])
    for system in sorted(map(load_system, servers), key=lambda s: (len(s.extends), s.name)):
        lines = [_line(path, value, system.citation(value.source)) for path, value in leaves(system).items()]
        listed[system.name] = {tuple(line) for line in lines}
        below = next((name for name in system.extends if name in listed), None)
        if below is not None:
            lines = [line for line in lines if tuple(line) not in listed[below]]
        title = f"System {system.name}: {system.title}" + (f"; all else as {below}" if below else "")
        parts.append((title, header, lines))
    rows = [_line(path, value, value.source) for path, value in fitted_constants().quantities().items()]
    parts.append(("Baselines, fitted (fits.json)", header, rows))
    rows = []
    for name in sorted(set(frame["hardware"][frame["kind"] == "card"])):
        card = load_card(name)
        rows += [
            _line(path, value, card.citation(value.source))
            for path, value in leaves(card, f"{short_name(name)}.").items()
        ]
    parts.append(("GPU cards", header, rows))
    for title, constants in (
        ("Cost", CostConstants),
        ("Energy", EnergyConstants),
        ("Area", AreaConstants),
    ):
        lines = [_line(name, value, value.source) for name, value in constants.quantities().items()]
        parts.append((title, header, lines))
    rates = [
        [name, f"{r.relative:g}", "of q4_k", f"{r.low:g} .. {r.high:g}", r.kind, r.source, r.note]
        for name, r in fitted_constants().kernel_rates.items()
    ]
    parts.append(("CPU kernel rates by format", header, rates))
    priced = [
        [p.instance, f"{p.usd_per_hour:g}", "USD/h", p.chip, p.date, p.source, ""] for p in price_list.rows
    ]
    parts.append(("Prices", ("instance", "value", "unit", "chip", "date", "source", ""), priced))
    return [Part(table=Table(head, lines), folded=f"{title} ({len(lines)})") for title, head, lines in parts]


def _line(path: str, value: Quantity | Choice, source: str) -> list[str]:
    """One constant as the cells of a row."""
    if isinstance(value, Choice):
        return [path, str(value.value), "", "", value.kind, source, value.note]
    span = "" if value.low is None or value.high is None else f"{value.low:g} .. {value.high:g}"
    return [path, f"{value.value:g}", value.unit, span, value.kind, source, value.note]
