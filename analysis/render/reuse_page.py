"""The tables of docs/reuse.md and its figures, made from the measurements of `reuse`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sailsim.analysis.render.style import MARKERS, OKABE_ITO, SERIES, canvas, caption, style
from sailsim.analysis.reuse.measure import (
    ABITS,
    ALONE,
    BATCHES,
    BOTH,
    CLAIM_NBWS,
    CYCLES,
    ENTRIES,
    GROUP_SIZE,
    HASHED_ENTRIES,
    HASHES,
    MODELS,
    NBWS,
    ON_TOP,
    OWN,
    PARTIAL,
    QUANTIZERS,
    READS,
    SKIP,
    UNIT,
    Design,
    NearestDefinition,
    Reading,
    Reuse,
    inputs_digest,
    layer_types,
    patterns,
    peak_over_rms,
    plain_sense,
    saving,
    shares,
    tile_hits,
)
from sailsim.errors import SailsimError
from sailsim.files import write_whole
from sailsim.lut_gemv import PRT_POLICIES
from sailsim.sim import load_substrate
from sailsim.workloads import ROLES, Activations

PAGE = "reuse.md"
MARKS = ("<!-- reuse {}: written by sailsim reuse --docs -->", "<!-- end of reuse {} -->")
SHOWN_NBW = 4
"""NBW of the tables that show one: the system file's."""
POLICY_NAMES = dict(zip(PRT_POLICIES, ("LRU", "FIFO", "direct"), strict=True))
CHANGES = (ON_TOP, ALONE, BOTH, SKIP, PARTIAL)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; floats with one digit, None as a dash."""

    def cell(value: object) -> str:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return "-"
        if isinstance(value, float):
            return f"{value + 0.0:.1f}".replace("-0.0", "0.0")
        return str(value)

    lines = [list(header), ["---"] * len(header), *([cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(frame: pd.DataFrame, *columns: str) -> list[float]:
    """Shares of a frame of one row, in percent."""
    assert len(frame) == 1, len(frame)
    return [100 * float(frame[column].iloc[0]) for column in columns]


def _records(frame: pd.DataFrame) -> Mapping[Any, Mapping[Any, Any]]:
    """Rows by index, cells by column."""
    return frame.to_dict("index")


def _role_title(role: str) -> str:
    types = layer_types()
    return next(" ".join(names) for key, names in types.items() if key == role)


# --- Tables ---------------------------------------------------------------------------------------------


def inputs(found: Reuse) -> str:
    """Which activations and which inputs the page was made from."""
    captured = found.activations
    return (
        f"Activations `{captured.id}`: {captured.tokens} tokens, {len(captured.layers)} of "
        f"{captured.meta['n_layers']} blocks. Inputs `{inputs_digest()}`. {ABITS}-bit activations, blocks of "
        f"{GROUP_SIZE} weights."
    )


def by_batch(found: Reuse) -> str:
    """Zero, hit and read patterns by NBW and batch."""
    whole = _records(shares(found.unit(), ["batch", "nbw"]).set_index(["batch", "nbw"]))
    rows = []
    for nbw in NBWS:
        cells: list[object] = [nbw]
        for batch in BATCHES:
            cells += [100 * float(whole[(batch, nbw)][name]) for name in ("zero", "hits", "misses")]
        rows.append(cells)
    header = ["NBW", *(f"{what}, batch {b}" for b in BATCHES for what in ("zero %", "hit %", "read %"))]
    return table(header, rows)


def by_layer(found: Reuse) -> str:
    """The same by layer type at batch 1; its share of all hits; what its numbers are like."""
    rows = []
    own = shares(found.unit(batch=1, nbw=SHOWN_NBW), ["role"]).set_index("role")
    hits = own["hits"] * own["lookups"]
    looked_up = own["lookups"] / own["lookups"].sum()
    for role in ROLES:
        cells: list[object] = [_role_title(role), peak_over_rms(found.activations, role)]
        for nbw in (2, 3, SHOWN_NBW):
            of_role = found.unit(batch=1, nbw=nbw)
            cells += _percent(shares(of_role[of_role["role"] == role]), "zero", "hits")
        low, high = 100 * np.quantile(tile_hits(found.activations, role, SHOWN_NBW), (0.05, 0.95))
        cells += [f"{low:.0f} .. {high:.0f}"]
        cells += [100 * float(looked_up[role]), 100 * float(hits[role] / hits.sum())]
        rows.append(cells)
    header = ["layer type", "largest / rms"]
    header += [f"NBW {nbw} {what}" for nbw in (2, 3, SHOWN_NBW) for what in ("zero %", "hit %")]
    header += [f"hit %, 9 of 10 rows, NBW {SHOWN_NBW}", "share of look-ups %", "share of hits %"]
    return table(header, rows)


def by_bit(found: Reuse) -> str:
    """Zero, hits and the patterns' structure by bit position."""
    one = _records(shares(found.unit(batch=1, nbw=SHOWN_NBW), ["bit"]).set_index("bit"))
    eight = _records(shares(found.unit(batch=8, nbw=SHOWN_NBW), ["bit"]).set_index("bit"))
    shape = _records(_structure(found, SHOWN_NBW))
    rows = [
        [
            f"{bit}{' (sign)' if bit == ABITS - 1 else ''}",
            100 * float(one[bit]["zero"]),
            100 * float(one[bit]["hits"]),
            100 * float(shape[bit]["below"]),
            100 * float(shape[bit]["independent"]),
            f"{shape[bit]['entropy']:.2f}",
            100 * float(eight[bit]["hits"]),
        ]
        for bit in range(ABITS)
    ]
    return table(
        [
            "bit",
            "zero %",
            "hit %",
            "equal to the bit below %",
            "hit % if planes were independent",
            f"entropy of {SHOWN_NBW} bits",
            "hit %, batch 8",
        ],
        rows,
    )


def _structure(found: Reuse, nbw: int) -> pd.DataFrame:
    """`structure` at one NBW by bit, roles weighted by their look-ups."""
    frame = found.structure[found.structure["nbw"] == nbw]
    weight = frame["patterns"] * frame["role"].map({role: len(t) for role, t in layer_types().items()})
    columns = ["below", "top", "independent", "entropy"]
    summed = frame[columns].mul(weight, axis=0).groupby(frame["bit"]).sum()
    return summed.div(weight.groupby(frame["bit"]).sum(), axis=0)


def by_prt(found: Reuse) -> str:
    """Hits by entries and replacement, where they differ; the last row of an NBW has an entry for each."""
    rows: list[list[object]] = []
    for nbw in NBWS[1:]:
        for entries in ENTRIES:
            cells: list[object] = [nbw, entries if entries < (1 << nbw) - 1 else f"{entries} or more"]
            for batch in BATCHES:
                for policy in PRT_POLICIES:
                    own = found.unit(nbw=nbw, batch=batch, entries=entries, policy=policy)
                    cells += _percent(shares(own), "hits")
            rows.append(cells)
            if entries >= (1 << nbw) - 1:
                break
    names = [f"{POLICY_NAMES[policy]}, batch {batch}" for batch in BATCHES for policy in PRT_POLICIES]
    return table(["NBW", "entries", *names], rows)


def by_key(found: Reuse) -> str:
    """Hits and wrong hits of other keys than the exact one, at batch 1 and 8."""
    rows: list[list[object]] = []
    for nbw in (4, 5, 6):
        for entries in HASHED_ENTRIES:
            kinds: list[tuple[str, dict[str, Any]]] = [("exact, LRU", {"policy": "lru"})]
            for name in HASHES:
                hashed: dict[str, Any] = {"policy": "direct", "hash": name}
                kinds.append((f"{name}, tagged", hashed))
                kinds.append((f"{name}, no tag", hashed | {"tagged": False}))
            kinds.append(("pattern alone, never flushed", {"flushed": False}))
            for title, fixed in kinds:
                cells: list[object] = [nbw, entries, title]
                for batch in (1, 8):
                    own = found.unit(nbw=nbw, batch=batch, entries=entries, **fixed)
                    cells += _percent(shares(own), "hits", "wrong")
                rows.append(cells)
    kept = [row for row in rows if row[1] == UNIT.prt.entries or (row[0] == 4 and row[1] == 8)]
    header = [
        "NBW",
        "entries",
        "key",
        *(f"{what}, batch {b}" for b in (1, 8) for what in ("hit %", "wrong %")),
    ]
    return table(header, kept)


def _values(frame: pd.DataFrame, model: str) -> Mapping[tuple[int, int], float]:
    own = frame[frame["model"] == model]
    return {(int(r["batch"]), int(r["nbw"])): float(r["value"]) for r in own.to_dict("records")}


def _grid_header(first: Sequence[str]) -> list[str]:
    return [*first, *(f"b{batch} NBW {nbw}" for batch in BATCHES for nbw in CLAIM_NBWS)]


def _grid_cells(values: Mapping[tuple[int, int], float]) -> list[object]:
    return [values.get((batch, nbw)) for batch in BATCHES for nbw in CLAIM_NBWS]


def by_substrate(found: Reuse) -> str:
    """Percent of PIM cycles and of the step saved on each substrate, the paper's model."""
    frame = found.readings
    rows = []
    for of in ("all PIM cycles", "time of the step"):
        own = frame[(frame["of"] == of) & (frame["read"] == 1)]
        for (machine, change), values in own.groupby(["machine", "change"], sort=False):
            rows.append([of, machine, change, *_grid_cells(_values(values, MODELS[0]))])
    return table(_grid_header(["saved of", "cycles", "by"]), rows)


def definitions(found: Reuse) -> str:
    """Every definition with its values, and how near it comes on either model."""
    claim = found.nearest.claim
    rows = []
    frame = found.readings
    for change in CHANGES:
        own = frame[frame["change"] == change]
        for (of, machine), values in own.groupby(["of", "machine"], sort=False):
            told = values[values["value"].abs() > 1e-9]
            if told.empty:
                nearest: list[object] = [None, "always 0"]
            else:
                best = told.iloc[[int((told["value"] - claim).abs().argmin())]].to_dict("records")[0]
                where = f"{best['model']} b{best['batch']} NBW {best['nbw']}"
                nearest = [f"{best['value'] - claim:+.2f}", where]
            model = MODELS[0] if (values["model"] == MODELS[0]).any() else OWN
            rows.append([change, of, machine, *_grid_cells(_values(values, model)), *nearest])
    header = _grid_header(["by", "saving of", "cycles"])
    return table([*header, f"nearest to {claim:g}", "where"], rows)


def verdict(found: Reuse) -> str:
    """The nearest definitions, in sentences, and the ten nearest values."""
    near, shipped = found.nearest, found.nearest_shipped
    low, high = near.literal_range

    def said(reading: Reading) -> str:
        return f"{reading.value:.2f} % ({reading.distance:+.2f}): {reading.words}"

    frame = found.readings
    told = frame[frame["value"].abs() > 1e-9]
    order = (told["value"] - near.claim).abs().sort_values(kind="stable").index[:10]
    rows = [
        [
            f"{r['value']:.2f}",
            r["change"],
            r["of"],
            r["machine"],
            f"{r['model']}, batch {r['batch']}, NBW {r['nbw']}",
        ]
        for r in told.loc[order].to_dict("records")
    ]
    return "\n".join(
        [
            f"- Nearest of all: {said(near.nearest)}.",
            f"- Nearest in which a PRT saves something, on {MODELS[0]}: {said(near.nearest_prt)}.",
            f"- Plain sense, chosen beforehand: {said(near.literal)}. Over NBW {CLAIM_NBWS[0]}.."
            f"{CLAIM_NBWS[-1]}, all batches and both models: {low:.1f} .. {high:.1f} %.",
            f"- {near.remark}",
            f"- With the compact capture that ships, the nearest of all is {said(shipped.nearest)}; "
            f"with a PRT, {said(shipped.nearest_prt)}. {_same(near, shipped)}",
            "",
            table(["saved %", "by", "saving of", "cycles", "where"], rows),
        ]
    )


def _same(one: NearestDefinition, other: NearestDefinition) -> str:
    """Whether two captures name the same definitions."""
    pairs = ((one.nearest, other.nearest), (one.nearest_prt, other.nearest_prt))
    if all(a.words == b.words for a, b in pairs):
        return "Both captures name the same."
    return "Other rows of the same model name other definitions: which is nearest hangs on the rows."


def quantizer_rows(found: Reuse, batch: int, nbw: int = SHOWN_NBW) -> pd.DataFrame:
    """Look-ups, zero patterns, hits and reads by quantizer, per group of a row; signal over error.

    Index: quantizer. Columns: db, lookups, zero, hits, misses, reads_of_token (misses over
    the machine's own).
    """
    found_rows: dict[str, dict[str, float]] = {}
    for name, made in QUANTIZERS.items():
        own = found.unit(quantizer=name, batch=batch, nbw=nbw)
        whole = shares(own).iloc[0]
        per_group = made.planes * made.parts
        once = own[own["bit"] == 0]
        found_rows[name] = {
            "db": 10 * np.log10(once["signal"].sum() / once["noise"].sum()),
            "lookups": per_group,
            **{column: per_group * whole[column] for column in ("zero", "hits", "misses")},
        }
    frame = pd.DataFrame.from_dict(found_rows, orient="index")
    frame["reads_of_token"] = frame["misses"] / found_rows["token"]["misses"]
    return frame


def by_quantizer(found: Reuse) -> str:
    """What another quantizer of the activations would change."""
    rows = []
    tables = {batch: _records(quantizer_rows(found, batch)) for batch in BATCHES}
    for name, made in QUANTIZERS.items():
        one = tables[1][name]
        cells: list[object] = [made.title, float(one["db"]), int(one["lookups"])]
        cells += [f"{one[column]:.2f}" for column in ("zero", "hits", "misses")]
        cells += [f"{tables[batch][name]['misses']:.2f}" for batch in BATCHES[1:]]
        cells += [f"{tables[batch][name]['reads_of_token']:.2f}" for batch in BATCHES]
        rows.append([*cells, made.needs or "-"])
    header = ["quantizer", "signal / error, dB", "look-ups", "zero", "hits", "reads"]
    header += [f"reads, batch {batch}" for batch in BATCHES[1:]]
    header += [f"reads / the machine's, batch {batch}" for batch in BATCHES]
    return table([*header, "needs"], rows)


def by_quantizer_bit(found: Reuse) -> str:
    """Zero and hit patterns by bit position for the quantizers, batch 1."""
    rows = []
    for name, made in QUANTIZERS.items():
        own = _records(shares(found.unit(quantizer=name, batch=1, nbw=SHOWN_NBW), ["bit"]).set_index("bit"))
        for what, column in (("zero %", "zero"), ("hit %", "hits")):
            cells = [100 * float(own[bit][column]) if bit in own else None for bit in range(ABITS)]
            rows.append([made.title, what, *cells])
    return table(["quantizer", "", *(f"bit {bit}" for bit in range(ABITS))], rows)


def by_quantizer_saving(found: Reuse) -> str:
    """What the PRT saves under each quantizer: of the look-ups, and of build and look-up, on row_dfm."""
    rows = []
    core = load_substrate("row_dfm")
    addition = 2 * core.cycles("read") + core.cycles("write") + core.cycles("add")
    frames = {
        name: shares(
            found.patterns[(found.patterns["quantizer"] == name) & _is_unit(found.patterns)], ["batch", "nbw"]
        )
        for name in QUANTIZERS
    }
    for name, made in QUANTIZERS.items():
        records = {(int(r["batch"]), int(r["nbw"])): r for r in frames[name].to_dict("records")}
        saved: dict[str, dict[tuple[int, int], float]] = {"look-up": {}, "build + look-up": {}}
        for (batch, nbw), row in records.items():
            looked_up = batch * made.planes * made.parts * (row["hits"] + row["misses"])
            hits = batch * made.planes * made.parts * row["hits"]
            build = addition * ((1 << nbw) - nbw - 1)
            saved["look-up"][batch, nbw] = 100 * hits / looked_up
            saved["build + look-up"][batch, nbw] = 100 * hits / (looked_up + build)
        for of, values in saved.items():
            rows.append([made.title, of, *_grid_cells(values)])
    return table(_grid_header(["quantizer", "saving of"]), rows)


def _is_unit(frame: pd.DataFrame) -> pd.Series[bool]:
    """Whether a row of `patterns` is of the machine's own PRT."""
    keep = pd.Series(True, index=frame.index)
    for column, value in UNIT.as_dict().items():
        keep &= frame[column] == value
    return keep


def compact(_: Reuse | None = None) -> str:
    """From the compact capture that ships: shares at batch 1, the plain sense, and time saved at batch 8."""
    shipped = Activations.load()
    whole = _records(shares(patterns(shipped, "token", 1), ["nbw"]).set_index("nbw"))
    plain, both = Design("row_dfm", 1, None), Design("row_dfm", 0, 0)
    rows = [
        [
            nbw,
            *(100 * float(whole[nbw][name]) for name in ("zero", "hits", "misses")),
            plain_sense(shipped, nbw),
            saving(shipped, 8, nbw, "time of the step", plain, both),
        ]
        for nbw in CLAIM_NBWS
    ]
    header = ["NBW", "zero %", "hit %", "read %", "plain sense: saved %"]
    return table([*header, "PRT and skipping, batch 8: time saved %"], rows)


TABLES: Mapping[str, Callable[[Reuse], str]] = {
    "inputs": inputs,
    "batch": by_batch,
    "layers": by_layer,
    "bits": by_bit,
    "prt": by_prt,
    "keys": by_key,
    "substrates": by_substrate,
    "verdict": verdict,
    "definitions": definitions,
    "quantizers": by_quantizer,
    "quantizer bits": by_quantizer_bit,
    "quantizer savings": by_quantizer_saving,
    "compact": compact,
}
"""Name of each marked part of the page and what writes it."""


def filled(page: str, found: Reuse) -> str:
    """The page with every marked part written anew; all marks must be there (`check_docs`)."""
    for name, write in TABLES.items():
        begin, end = (mark.format(name) for mark in MARKS)
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{write(found)}\n{end}{rest.partition(end)[2]}"
    return page


def check_docs(folder: str | Path) -> Path:
    """The page in a docs folder.

    Raises SailsimError for a folder without the page, or a page without the marks of a part.
    """
    path = Path(folder) / PAGE
    if not path.is_file():
        raise SailsimError(f"docs is {folder}; allowed is a folder that holds {PAGE}.")
    page = path.read_text("utf-8")
    for name in TABLES:
        begin, end = (mark.format(name) for mark in MARKS)
        if end not in page.partition(begin)[2]:
            raise SailsimError(f"{path} has no part {name!r}; allowed is a page with '{begin}' and '{end}'.")
    return path


def part(page: str, name: str) -> str:
    """What stands between the marks of one part."""
    begin, end = (mark.format(name) for mark in MARKS)
    return page.partition(begin)[2].partition(end)[0].strip()


def summary(found: Reuse) -> str:
    """A few lines for a terminal."""
    captured = found.activations
    lines = [f"{captured.id}, {captured.tokens} tokens, PRT of {UNIT.prt.entries} entries, LRU"]
    whole = shares(found.unit(), ["batch", "nbw"])
    for row in whole.to_dict("records"):
        lines.append(
            f"batch {row['batch']:>2} NBW {row['nbw']}: zero {row['zero']:6.1%}  hits {row['hits']:6.1%}  "
            f"read {row['misses']:6.1%}"
        )
    near = found.nearest
    for title, reading in (
        ("nearest", near.nearest),
        ("nearest with a PRT", near.nearest_prt),
        ("plain sense", near.literal),
    ):
        lines.append(f"{title}: {reading.value:.2f} % against {near.claim:g} %: {reading.words}")
    return "\n".join([*lines, near.remark])


# --- Figures --------------------------------------------------------------------------------------------


def _source(found: Reuse) -> str:
    captured = found.activations
    return (
        f"Activations of {captured.meta['model']}, {captured.tokens} tokens of {len(captured.layers)} blocks "
        f"({captured.meta['date']}), {ABITS} bits, one scale a token, blocks of {GROUP_SIZE} weights."
    )


def where(found: Reuse) -> Figure:
    """Zero patterns and PRT hits by layer type and bit position: a heat map for NBW 2 and 4, batch 1."""
    nbws = (2, SHOWN_NBW)
    figure, grid = canvas("Where patterns repeat", 2, 2, width=11.5, height=6.4)
    titles = [_role_title(role) for role in ROLES]
    for axes_row, (what, column) in zip(grid, (("zero patterns", "zero"), ("PRT hits", "hits")), strict=True):
        for axes, nbw in zip(axes_row, nbws, strict=True):
            own = shares(found.unit(batch=1, nbw=nbw), ["role", "bit"])
            cells = 100 * own.pivot_table(index="role", columns="bit", values=column).reindex(list(ROLES))
            image = axes.imshow(cells.to_numpy(), cmap="viridis", vmin=0, vmax=100, aspect="auto")
            for (y, x), value in np.ndenumerate(cells.to_numpy()):
                colour = "black" if value > 62 else "white"
                axes.text(x, y, f"{value:.0f}", ha="center", va="center", fontsize=8.5, color=colour)
            axes.set_xticks(range(ABITS), [str(bit) for bit in range(ABITS - 1)] + [f"{ABITS - 1}\nsign"])
            axes.set_yticks(range(len(titles)), titles)
            axes.grid(visible=False)
            axes.set_title(f"{what}, NBW {nbw}", loc="left")
            axes.set_xlabel("bit position of the activation")
    figure.colorbar(image, ax=grid, label="% of the position's patterns", fraction=0.03)
    caption(
        figure,
        _source(found) + f" PRT of {UNIT.prt.entries} entries, LRU, exact key, flushed at every table; bits "
        "in the order 0 to 7, batch 1.",
        "High planes hold copies of the sign: a pattern there was looked up for the plane below. The lowest "
        "plane comes first and has nothing to hit.",
    )
    return figure


def against_claim(found: Reuse) -> Figure:
    """Every definition's values beside the published saving; colour is the batch, shape the NBW."""
    frame = found.readings
    frame = frame[frame["value"].abs() > 1e-9]
    frame = frame[(frame["model"] == MODELS[0]) | (frame["change"] == PARTIAL)]
    lines: list[tuple[str, pd.DataFrame | None]] = []  # a heading has no values
    for change in CHANGES:
        own = frame[frame["change"] == change]
        lines.append((change[0].upper() + change[1:], None))
        by_of = {of: own[own["of"] == of] for of in (*CYCLES, *READS)}
        lines += [(of, values) for of, values in by_of.items() if len(values)]
    figure, (axes,) = canvas(
        "Saving by definition, against the paper's 13.8 %", width=11.5, height=1.4 + 0.25 * len(lines)
    )
    for y, (title, values) in enumerate(lines):
        if values is None:
            axes.axhspan(y - 0.5, y + 0.5, color="#eeeeee", lw=0, zorder=0)
            axes.annotate(title, (99.5, y), ha="right", va="center", fontsize=9, fontweight="bold")
            continue
        for i, batch in enumerate(BATCHES):
            for marker, nbw in zip(MARKERS, CLAIM_NBWS, strict=False):
                own = values[(values["batch"] == batch) & (values["nbw"] == nbw)]
                axes.plot(
                    own["value"], [y + 0.2 * (i - 1)] * len(own), marker, color=SERIES[i], ms=3.6, alpha=0.85
                )
    axes.axvline(found.nearest.claim, color="#444444", lw=1, ls=(0, (2, 2)))
    axes.annotate(
        f"paper: {found.nearest.claim:g} %",
        (found.nearest.claim, 1.0),
        xycoords=("data", "axes fraction"),
        ha="left",
        va="bottom",
        fontsize=8.5,
    )
    shown = [(y, title) for y, (title, values) in enumerate(lines) if values is not None]
    axes.set_yticks([y for y, _ in shown], [title for _, title in shown], fontsize=8.5)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("saved, %")
    for i, batch in enumerate(BATCHES):
        axes.plot([], [], "o", color=SERIES[i], label=f"batch {batch}")
    for marker, nbw in zip(MARKERS, CLAIM_NBWS, strict=False):
        axes.plot([], [], marker, color="#777777", label=f"NBW {nbw}")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
    near = found.nearest
    caption(
        figure,
        f"Llama-2-7B, 4-bit weights, on sail-n1 and variants of its costs. {_source(found)} Partial tables: "
        f"{OWN}.",
        f"Several marks of one batch and NBW: other substrates or cycles of a read, a zero pattern, a hit. "
        f"{near.within} of {near.values} values (both models) lie within one point of the paper's.",
    )
    return figure


def quantizers(found: Reuse) -> Figure:
    """Look-ups of a group by what becomes of them, for each quantizer; a panel per batch."""
    batches = (1, 8)
    figure, panels = canvas(
        "What another rounding of the activations would change",
        len(batches),
        width=12,
        height=4.6,
        sharey=True,
    )
    parts = (
        ("misses", "read from the table", OKABE_ITO["vermillion"], ""),
        ("hits", "PRT hit", OKABE_ITO["sky"], "//"),
        ("zero", "zero pattern", "#dddddd", ".."),
    )
    decibels = quantizer_rows(found, batches[0])["db"]
    for axes, batch in zip(panels, batches, strict=True):
        frame = quantizer_rows(found, batch)
        left = np.zeros(len(frame))
        y = np.arange(len(frame))
        for column, label, colour, hatch in parts:
            width = frame[column].to_numpy()
            axes.barh(y, width, 0.7, left, label=label, color=colour, hatch=hatch, edgecolor="white", lw=0.4)
            left += width
        for i, reads in enumerate(frame["misses"]):
            axes.annotate(
                f"{reads:.2f}", (reads, float(i)), ha="right", va="center", fontsize=8, color="white"
            )
        labels = [f"{QUANTIZERS[str(name)].title} ({db:.0f} dB)" for name, db in decibels.items()]
        axes.set_yticks(y, labels, fontsize=8.5)
        axes.set_ylim(len(frame) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("look-ups of a group and a row")
        axes.set_title(f"batch {batch}", loc="left")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    captured = found.activations
    caption(
        figure,
        f"Activations of {captured.meta['model']}, {captured.tokens} tokens ({captured.meta['date']}), "
        f"{ABITS} bits, NBW {SHOWN_NBW}, blocks of {GROUP_SIZE} weights, PRT of {UNIT.prt.entries} entries. "
        "dB: signal "
        "over rounding error. Sign and magnitude look up positive and negative parts apart: 2 x 7 planes. A "
        "channel's scale is that of the captured tokens themselves: its best case.",
    )
    return figure


FIGURES: Mapping[str, Callable[[Reuse], Figure]] = {
    "reuse_where": where,
    "reuse_claim": against_claim,
    "reuse_quantizers": quantizers,
}
"""Name of the file and what draws it."""


def write_figures(found: Reuse, folder: str | Path) -> list[Path]:
    """Draw every figure as PNG into a folder; returns the paths."""
    written = []
    for name, draw in FIGURES.items():
        buffer = BytesIO()
        with style():
            draw(found).savefig(buffer, format="png", metadata={"Software": None})
        written.append(Path(folder) / f"{name}.png")
        write_whole(written[-1], buffer.getvalue())
    return written


def write_docs(found: Reuse, folder: str | Path) -> list[Path]:
    """Renew the marked parts of `reuse.md` in a docs folder, and its figures; returns the paths.

    Raises SailsimError as `check_docs`.
    """
    path = check_docs(folder)
    page = filled(path.read_text("utf-8"), found)
    written = write_figures(found, Path(folder) / "figures")
    write_whole(path, page.encode())
    return [path, *written]
