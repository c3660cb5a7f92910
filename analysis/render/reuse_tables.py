"""Tables of the reuse page, each from what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sailsim.analysis.render.reuse_cells import SHOWN_NBW, percent_of, records_of, role_title, table
from sailsim.analysis.reuse import settings
from sailsim.analysis.reuse.cycles import Design
from sailsim.analysis.reuse.definitions import (
    ALONE,
    BOTH,
    ON_TOP,
    PARTIAL,
    SKIP,
    DefinitionValue,
    NearestDefinition,
    plain_sense,
    saving,
)
from sailsim.analysis.reuse.measure import Reuse, inputs_digest
from sailsim.analysis.reuse.patterns import UNIT, patterns, peak_over_rms, shares, tile_hits
from sailsim.analysis.reuse.quantizers import QUANTIZERS
from sailsim.analysis.reuse.settings import (
    ABITS,
    ENTRIES,
    GROUP_SIZE,
    HASHED_ENTRIES,
    HASHES,
    OWN,
    layer_types,
)
from sailsim.lut_gemv import PRT_POLICIES
from sailsim.sim import load_substrate
from sailsim.workloads import ROLES, Activations

POLICY_NAMES = dict(zip(PRT_POLICIES, ("LRU", "FIFO", "direct"), strict=True))

CHANGES = (ON_TOP, ALONE, BOTH, SKIP, PARTIAL)


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
    whole = records_of(shares(found.unit(), ["batch", "nbw"]).set_index(["batch", "nbw"]))
    rows = []
    for nbw in settings.NBWS:
        cells: list[object] = [nbw]
        for batch in settings.BATCHES:
            cells += [100 * float(whole[(batch, nbw)][name]) for name in ("zero", "hits", "misses")]
        rows.append(cells)
    header = [
        "NBW",
        *(f"{what}, batch {b}" for b in settings.BATCHES for what in ("zero %", "hit %", "read %")),
    ]
    return table(header, rows)


def by_layer(found: Reuse) -> str:
    """The same by layer type at batch 1; its share of all hits; what its numbers are like."""
    rows = []
    own = shares(found.unit(batch=1, nbw=SHOWN_NBW), ["role"]).set_index("role")
    hits = own["hits"] * own["lookups"]
    looked_up = own["lookups"] / own["lookups"].sum()
    for role in ROLES:
        cells: list[object] = [role_title(role), peak_over_rms(found.activations, role)]
        for nbw in (2, 3, SHOWN_NBW):
            of_role = found.unit(batch=1, nbw=nbw)
            cells += percent_of(shares(of_role[of_role["role"] == role]), "zero", "hits")
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
    one = records_of(shares(found.unit(batch=1, nbw=SHOWN_NBW), ["bit"]).set_index("bit"))
    eight = records_of(shares(found.unit(batch=8, nbw=SHOWN_NBW), ["bit"]).set_index("bit"))
    shape = records_of(_structure(found, SHOWN_NBW))
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
    for nbw in settings.NBWS[1:]:
        for entries in ENTRIES:
            cells: list[object] = [nbw, entries if entries < (1 << nbw) - 1 else f"{entries} or more"]
            for batch in settings.BATCHES:
                for policy in PRT_POLICIES:
                    own = found.unit(nbw=nbw, batch=batch, entries=entries, policy=policy)
                    cells += percent_of(shares(own), "hits")
            rows.append(cells)
            if entries >= (1 << nbw) - 1:
                break
    names = [
        f"{POLICY_NAMES[policy]}, batch {batch}" for batch in settings.BATCHES for policy in PRT_POLICIES
    ]
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
                    cells += percent_of(shares(own), "hits", "wrong")
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
    return [*first, *(f"b{batch} NBW {nbw}" for batch in settings.BATCHES for nbw in settings.CLAIM_NBWS)]


def _grid_cells(values: Mapping[tuple[int, int], float]) -> list[object]:
    return [values.get((batch, nbw)) for batch in settings.BATCHES for nbw in settings.CLAIM_NBWS]


def by_substrate(found: Reuse) -> str:
    """Percent of PIM cycles and of the step saved on each substrate, the paper's model."""
    frame = found.readings
    rows = []
    for of in ("all PIM cycles", "time of the step"):
        own = frame[(frame["of"] == of) & (frame["read"] == 1)]
        for (machine, change), values in own.groupby(["machine", "change"], sort=False):
            rows.append([of, machine, change, *_grid_cells(_values(values, settings.MODELS[0]))])
    return table(_grid_header(["saved of", "cycles", "by"]), rows)


def definitions(found: Reuse) -> str:
    """Every definition with its values, and how near it comes on either model."""
    claim = found.nearest.claim
    rows = []
    frame = found.readings
    for change in CHANGES:
        own = frame[frame["change"] == change]
        for (of, machine), values in own.groupby(["of", "machine"], sort=False):
            nonzero = values[values["value"].abs() > 1e-9]
            if nonzero.empty:
                nearest: list[object] = [None, "always 0"]
            else:
                best = nonzero.iloc[[int((nonzero["value"] - claim).abs().argmin())]].to_dict("records")[0]
                where = f"{best['model']} b{best['batch']} NBW {best['nbw']}"
                nearest = [f"{best['value'] - claim:+.2f}", where]
            model = settings.MODELS[0] if (values["model"] == settings.MODELS[0]).any() else OWN
            rows.append([change, of, machine, *_grid_cells(_values(values, model)), *nearest])
    header = _grid_header(["by", "saving of", "cycles"])
    return table([*header, f"nearest to {claim:g}", "where"], rows)


def verdict(found: Reuse) -> str:
    """The nearest definitions, in sentences, and the ten nearest values."""
    near, shipped = found.nearest, found.nearest_shipped
    low, high = near.literal_range

    def said(reading: DefinitionValue) -> str:
        return f"{reading.value:.2f} % ({reading.distance:+.2f}): {reading.words}"

    frame = found.readings
    nonzero = frame[frame["value"].abs() > 1e-9]
    order = (nonzero["value"] - near.claim).abs().sort_values(kind="stable").index[:10]
    rows = [
        [
            f"{r['value']:.2f}",
            r["change"],
            r["of"],
            r["machine"],
            f"{r['model']}, batch {r['batch']}, NBW {r['nbw']}",
        ]
        for r in nonzero.loc[order].to_dict("records")
    ]
    return "\n".join(
        [
            f"- Nearest of all: {said(near.nearest)}.",
            f"- Nearest in which a PRT saves something, on {settings.MODELS[0]}: {said(near.nearest_prt)}.",
            f"- Plain sense, chosen beforehand: {said(near.literal)}. Over NBW {settings.CLAIM_NBWS[0]}.."
            f"{settings.CLAIM_NBWS[-1]}, all batches and both models: {low:.1f} .. {high:.1f} %.",
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
    tables = {batch: records_of(quantizer_rows(found, batch)) for batch in settings.BATCHES}
    for name, made in QUANTIZERS.items():
        one = tables[1][name]
        cells: list[object] = [made.title, float(one["db"]), int(one["lookups"])]
        cells += [f"{one[column]:.2f}" for column in ("zero", "hits", "misses")]
        cells += [f"{tables[batch][name]['misses']:.2f}" for batch in settings.BATCHES[1:]]
        cells += [f"{tables[batch][name]['reads_of_token']:.2f}" for batch in settings.BATCHES]
        rows.append([*cells, made.needs or "-"])
    header = ["quantizer", "signal / error, dB", "look-ups", "zero", "hits", "reads"]
    header += [f"reads, batch {batch}" for batch in settings.BATCHES[1:]]
    header += [f"reads / the machine's, batch {batch}" for batch in settings.BATCHES]
    return table([*header, "needs"], rows)


def by_quantizer_bit(found: Reuse) -> str:
    """Zero and hit patterns by bit position for the quantizers, batch 1."""
    rows = []
    for name, made in QUANTIZERS.items():
        own = records_of(shares(found.unit(quantizer=name, batch=1, nbw=SHOWN_NBW), ["bit"]).set_index("bit"))
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


def compact() -> str:
    """From the compact capture that ships: shares at batch 1, the plain sense, and time saved at batch 8."""
    shipped = Activations.load()
    whole = records_of(shares(patterns(shipped, "token", 1), ["nbw"]).set_index("nbw"))
    plain, both = Design("row_dfm", 1, None), Design("row_dfm", 0, 0)
    rows = [
        [
            nbw,
            *(100 * float(whole[nbw][name]) for name in ("zero", "hits", "misses")),
            plain_sense(shipped, nbw),
            saving(shipped, 8, nbw, "time of the step", plain, both),
        ]
        for nbw in settings.CLAIM_NBWS
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
    "quantizer-bits": by_quantizer_bit,
    "quantizer-savings": by_quantizer_saving,
}
"""Name of each part of the page that is measured, and what writes it."""
