"""The sections of the report: what stands in each, in words, figures and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from sailsim.analysis.costs.area import AreaNotModelledError, overhead_bases
from sailsim.analysis.costs.constants import data_file
from sailsim.analysis.costs.dollars import quoted
from sailsim.analysis.costs.energy import CAUSES, NOT_MODELLED, tokens_of
from sailsim.analysis.paper.claims import SHIPPED
from sailsim.analysis.render import report_charts as charts
from sailsim.analysis.render.claims_words import STORED, claims_of, number, primary, share, verdict
from sailsim.analysis.render.figure_axes import WORDS
from sailsim.analysis.render.gem5_decode_figure import shipped_figure
from sailsim.analysis.render.gem5_figures import TITLES, TOKENS
from sailsim.analysis.render.html import Cell, Table, shown
from sailsim.analysis.render.report_parts import Part, Section, constants_parts, drawn
from sailsim.analysis.results.compare import said_of
from sailsim.analysis.results.equal_quality import WEIGHTS, at_equal_quality, choice_in_words
from sailsim.analysis.results.joins import POINT
from sailsim.analysis.results.results import Runs, numbers, short_name
from sailsim.analysis.results.runs import CORES, SAIL
from sailsim.base.atomic import read_records
from sailsim.sim.files import load_system
from sailsim.sim.fitted import fitted_constants, held_out_results
from sailsim.sim.nbw import AUTO, PER_TENSOR


def sections(
    results: Runs,
    manifest: Mapping[str, Any],
    simulated: Mapping[str, Figure],
    tables: Mapping[str, pd.DataFrame],
    paper: str | None,
) -> list[Section]:
    """All but the first page.

    ``tables`` are those of the figures: one that is empty has no figure. The stored study stands in the
    report of the ``paper`` whose claims it asked about alone. None: no paper is compared with.
    """
    reproduction = Section(
        "reproduction", "Reproduction", "The paper's claims, over all that is not published"
    )
    if paper is not None:
        reproduction.parts.extend(_reproduction(stored_study(), paper))
    return [
        Section(
            "speed", "Speed", "How fast", [*(Part(chart=each) for each in charts.SPEED), _runners(results)]
        ),
        Section("dollars", "Dollars", "What a dollar buys", _dollars(results)),
        Section("energy", "Energy", "What a token takes in energy", _energy(results)),
        Section("area", "Area", "What it takes in silicon", _area(results, tables)),
        Section("quality", "Quality", "What narrow weights lose", _quality(results, tables)),
        Section("time", "Where time goes", "Where the time of a token goes", _time(results)),
        Section("reuse", "Reuse", "What pattern reuse and conversion in memory give", _reuse(tables)),
        Section("gem5", "gem5", "Against gem5", _gem5(simulated, tables, paper)),
        *([reproduction] if reproduction.parts else []),
        Section("rests", "What it rests on", "What the numbers rest on", _rests(results.frame, manifest)),
        Section(
            "constants",
            "Constants",
            "Every constant and its source",
            constants_parts(results.frame, results.price_list),
        ),
    ]


def _sentence(text: str) -> str:
    """A phrase as a sentence: abbreviations in it stay as they are."""
    return f"{text[0].upper()}{text[1:]}."


def stored_study() -> Mapping[str, Any]:
    """The results behind docs/reproduction.md."""
    found: Mapping[str, Any] = read_records(data_file(STORED))
    return found


def _runners(results: Runs) -> Part:
    """Who runs the points: each runner with its rate, SAIL's speedup and its dollars at the reference."""
    lines = []
    equal = by_width(results)["speedup_equal_quality"].to_dict()
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
                float(row["tokens_per_s"]) if rated else None,
                None
                if pd.isna(row["low"])
                else Cell(f"{row['low']:.3g} .. {row['high']:.3g}", number=row["low"]),
                float(row["speedup"]) if rated else None,
                None if name == SAIL or pd.isna(equal.get(row.name)) else float(equal[row.name]),
                row["tokens_per_usd"],
                row["paid"] if isinstance(row["paid"], str) else ("no price" if rated else row["reason"]),
            ]
        )
    header = (
        *("runner", "what", "weights", "cores", "tokens/s", "band", "SAIL over it", "at equal quality"),
        *("tokens/USD", "pays for, or why it cannot"),
    )
    return Part(
        heading="What runs the points",
        paragraphs=[
            results.setting((), results.at((), unable=True)),
            "At equal quality: over the same runner at whichever of this sweep's widths is fastest and loses "
            "no more, by the losses of the table of quality; empty where a width's loss was not measured.",
        ],
        table=Table(header, lines, wide=(1, 2, 3)),
        folded=f"All runners at this setting ({len(lines)})",
        printed=True,
    )


def _dollars(results: Runs) -> list[Part]:
    instances = set(results.frame["instance"].dropna())
    used = [price for price in results.price_list.rows if price.instance in instances]
    said = f"Prices, on demand: {quoted(used)}." if used else "The price file has no price of these machines."
    return [Part(chart=charts.MONEY), Part(paragraphs=[said])]


def _energy(results: Runs) -> list[Part]:
    """Joules a token by cause."""
    vary = ("wbits", "batch")
    rows = pd.concat([results.at(vary, name) for name in (SAIL, CORES)])
    rows = rows[rows["energy_j"].notna()].sort_values(["batch", "wbits"], kind="stable")
    lines = [
        [row["batch"], row["wbits"], row["title"]]
        + [float(row["energy"][cause]) * 1e3 / tokens_of(row) or None for cause in CAUSES]
        + [float(row["energy_j"]) / tokens_of(row)]
        + [
            Cell(
                " .. ".join(f"{row[f'energy_{end}_j'] / tokens_of(row):.2g}" for end in ("low", "high")),
                number=row["energy_low_j"] / tokens_of(row),
            ),
            float(row["energy_j"]) / float(row["step_s"]),
        ]
        for row in rows.to_dict("records")
    ]
    header = ("batch", "bits", "", *(f"{cause}, mJ" for cause in CAUSES), "J a token", "range", "mean W")
    said = (
        f"The table is at the reference setting, {short_name(str(results.reference['system']))}, "
        f"{results.reference['model']}. A range has every constant at the same end of its own; an empty cell "
        f"is what a machine does not have. {_sentence(NOT_MODELLED)}"
    )
    return [
        Part(chart=charts.ENERGY),
        Part(paragraphs=[said], table=Table(header, lines), folded=f"Joules by cause ({len(lines)})"),
    ]


def _area(results: Runs, tables: Mapping[str, pd.DataFrame]) -> list[Part]:
    system = load_system(str(results.reference["system"]))
    assert system.pim is not None
    said = f"{system.title}, {system.pim.arrays.whole} arrays a slice."
    try:
        rows = [[r.counted, r.base, 100 * r.share, r.arrays] for r in overhead_bases(system)]
    except AreaNotModelledError as why:
        return [Part(paragraphs=[said, _sentence(str(why))])]
    header = ("counted", "over", "share, %", "arrays a slice that would give 2 %")
    return [
        Part(paragraphs=[said], chart=charts.AREA if len(tables["area"]) else None),
        Part(table=Table(header, rows), folded=f"All readings ({len(rows)})", printed=True),
    ]


def _quality(results: Runs, tables: Mapping[str, pd.DataFrame]) -> list[Part]:
    rows = [
        [
            row["words"],
            row["abits"] or "floats",
            row["kv_bits"] or "floats",
            row["bits_per_weight"],
            row["perplexity"],
            Cell(f"{row['loss']:+.4f} ± {row['loss_error']:.4f}", number=row["loss"]),
            100 * row["agreement"],
        ]
        for row in tables["quality"].to_dict("records")
    ]
    header = (
        *("weights", "bits of an activation", "of the cache", "stored bits a weight", "perplexity"),
        *("loss, nats a token", "same next token, %"),
    )
    return [
        Part(chart=charts.QUALITY),
        Part(table=Table(header, rows, wide=(1, 2)), folded=f"All choices ({len(rows)})"),
        _equal_quality(results),
    ]


def by_width(results: Runs) -> pd.DataFrame:
    """Every runner's rows at each width of the sweep, else at the reference, with what equal quality adds."""
    rows = pd.concat([results.at(WEIGHTS, name) for name in results.runners["runner"]])
    return pd.concat([rows, at_equal_quality(rows)], axis=1)


def _equal_quality(results: Runs) -> Part:
    """SAIL at each width beside others at the same one, and at the fastest that loses no more."""
    heading = "Speedups at equal quality"
    rows = by_width(results)
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
    said = (
        "At equal quality the others have whichever of this sweep's widths is fastest and loses at most as "
        "much as SAIL's. Losses are those of the table above, by rounding to nearest with activations of 8 "
        "bits, on that model; another one loses other amounts, and with them this may change."
    )
    where = results.setting(WEIGHTS, results.at(WEIGHTS))
    return Part(
        heading=heading,
        paragraphs=[said, where],
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
    said = f"Of a step, the cores work alone, on attention and the rest, for {', '.join(shares)}."
    return [Part(paragraphs=[said] if shares else [], chart=charts.TIME)]


def _reuse(tables: Mapping[str, pd.DataFrame]) -> list[Part]:
    lacking = {
        "reuse": "What pattern reuse saves needs points with the PRT on and off, which this sweep does "
        "not hold.",
        "conversion": "The gain of converting in memory needs points that convert there and on the cores, "
        "which this sweep does not hold.",
    }
    parts = []
    for chart in charts.REUSE:
        held = len(tables[chart.data]) > 0
        parts.append(Part(chart=chart) if held else Part(paragraphs=[lacking[chart.data]]))
    return parts


def _gem5(
    simulated: Mapping[str, Figure], tables: Mapping[str, pd.DataFrame], paper: str | None
) -> list[Part]:
    """Figures of the store's own tiles and tokens if it has them, else those that ship."""
    own = {name: figure for name, figure in simulated.items() if name != TOKENS}
    tokens = simulated.get(TOKENS)
    said = (
        "Whole tokens: one program decodes on simulated cores, with its products on the cores or on PIM "
        "units (docs/gem5-results.md)."
    )
    if tokens is None:
        said += " These are the runs that ship; make sim GEM5=PATH makes some of its own."
        tokens = shipped_figure(claimed=paper == SHIPPED)
    together = Part(paragraphs=[said], drawn=drawn([(TOKENS, TITLES[TOKENS], tokens)]))
    if own:
        found = drawn((name, TITLES[name], figure) for name, figure in own.items())
        return [Part(paragraphs=["Tiles of this sweep, run on gem5."], drawn=found), together]
    tiles = tables["tiles"]
    exact = int(tiles["correct"].sum())
    equal = int(tiles["phases_equal"].sum())
    worst = tiles["error"].abs()
    said = (
        f"No tile of this sweep ran on gem5 (make sim GEM5=PATH does so). These are the {len(tiles)} that "
        f"ship (docs/gem5-results.md): {exact} with exact results, {equal} with equal phases; the engine's "
        f"time is off by {worst.median():.1%} in the median and {worst.max():.1%} at worst."
    )
    return [together, Part(paragraphs=[said], chart=charts.TILES)]


def _reproduction(study: Mapping[str, Any], paper: str) -> list[Part]:
    if study["paper"] != paper:
        said = (
            "The study that ships (docs/reproduction.md) draws machines from the ranges of all that is not "
            "published, and asks them about another paper's claims than those of this report. sailsim "
            "claims reproduce --paper asks about these."
        )
        return [Part(paragraphs=[said])]
    rows = []
    for claim, found in claims_of(study):
        main = primary(found)
        spread = main["quantiles"]
        rows.append(
            [
                claim.title,
                number(claim.value, claim.unit),
                number(main["nominal"], claim.unit),
                "-" if spread is None else " .. ".join(number(end) for end in (spread[0], spread[2])),
                share(main["reach"], main["machines"]),
                verdict(claim, found),
            ]
        )
    header = ("claim", "paper", "nominal machine", "5 .. 95 % of machines", "reach the paper's", "verdict")
    said = (
        f"What is not published has a range, and {study['machines']} machines were drawn from all ranges at "
        "once (docs/reproduction.md, made by make reproduce): this does not depend on the sweep."
    )
    return [
        Part(paragraphs=[said], chart=charts.CLAIMED),
        Part(table=Table(header, rows, sortable=False, wide=(3, 4))),
    ]


def _rests(frame: pd.DataFrame, manifest: Mapping[str, Any]) -> list[Part]:
    """Every note of every run, once: what SAIL rests on, the others, and what cannot run; how far off the
    baselines are; and what the store holds."""
    ours = frame["kind"] == "accelerator"
    sail = said_of(zip(frame["runner"][ours], frame["notes"][ours], strict=True))
    said = said_of(zip(frame["runner"][~ours], frame["notes"][~ours], strict=True))
    baselines = [(sentence, ", ".join(names)) for sentence, names in sorted(said.items())]
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
