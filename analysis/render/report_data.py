"""The tables that the report's figures draw, as columns that go into the page."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sailsim.analysis.costs.area import AreaNotModelledError, overhead_bases
from sailsim.analysis.costs.constants import data_file
from sailsim.analysis.costs.dollars import is_missing
from sailsim.analysis.render.claims_words import claims_of, primary
from sailsim.analysis.render.figure_axes import tokens_in
from sailsim.analysis.results.equal_quality import at_equal_quality, measured, weights_in_words
from sailsim.analysis.results.joins import POINT
from sailsim.analysis.results.results import MissingPointsError, Runs, prt_pairs
from sailsim.analysis.results.runs import SAIL
from sailsim.base.atomic import read_records
from sailsim.lut_gemv.trace import LAYOUTS
from sailsim.sim.files import load_system

SPREAD = ("phases", "energy")
"""Maps of a record whose names become columns, as `phases.dram`."""
KEPT_OUT = ("key", "point_key", "code_version", "finished_at", "evaluation_s", "reason", "fits")
"""Columns of a store that are no result, or that rows with a rate do not need."""


def runs_table(results: Runs) -> pd.DataFrame:
    """Every run that has a rate, with its ratios, dollars and joules: all columns that hold one value a row,
    whatever they are called, and the numbers of `SPREAD`."""
    rows = results.frame[results.frame["tokens_per_s"].notna()].reset_index(drop=True)
    rows = rows.assign(
        tokens=tokens_in(rows), speedup_equal_quality=at_equal_quality(rows)["speedup_equal_quality"]
    )
    return pd.concat([_plain(rows), *(_spread(rows, name) for name in SPREAD if name in rows)], axis=1)


def _plain(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that hold one value a row."""
    names = [
        name
        for name in rows.columns
        if name not in KEPT_OUT
        and not rows[name].map(lambda v: hasattr(v, "__len__") and not isinstance(v, str)).any()
    ]
    return rows[names]


def _spread(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The names of a map as columns."""
    found = pd.DataFrame([{} if is_missing(each) else dict(each) for each in rows[name]], rows.index)
    return found.add_prefix(f"{name}.")


def reuse_table(results: Runs) -> pd.DataFrame:
    """What the PRT saves, a row a pair of points; empty where the store has none."""
    try:
        pairs = prt_pairs(results)
    except MissingPointsError:
        return pd.DataFrame()
    return pairs[[*POINT, "saved", "saved_step", "reads"]].reset_index(drop=True)


def conversion_table(results: Runs) -> pd.DataFrame:
    """Steps that convert in memory, with their speedup over those that convert on the cores; empty where the
    store has no such pair."""
    rows = results.frame
    rows = rows[(rows["runner"] == SAIL) & rows["tokens_per_s"].notna()]
    same = [name for name in POINT if name != "convert"]
    kept = rows[[*POINT, "step_s"]].drop_duplicates(POINT)
    cores = kept[kept["convert"] == "cores"][[*same, "step_s"]]
    found = kept[kept["convert"] == "memory"].merge(cores, on=same, suffixes=("", "_cores"))
    return found.assign(speedup=found["step_s_cores"] / found["step_s"]) if len(found) else pd.DataFrame()


def area_table(results: Runs) -> pd.DataFrame:
    """Every reading of the overhead; empty where the machine's area is not modelled."""
    try:
        found = list(overhead_bases(load_system(str(results.reference["system"]))))
    except AreaNotModelledError:
        return pd.DataFrame()
    return pd.DataFrame(
        [
            {
                "counted": r.counted,
                "base": r.base,
                "reading": f"{r.counted}, of {r.base}",
                "share": r.share,
                "arrays": r.arrays,
            }
            for r in found
        ]
    )


def quality_table() -> pd.DataFrame:
    """The measured points of docs/quality.md, with the choice of weights in words."""
    found = measured()
    return found.assign(words=[weights_in_words(row) for row in found.to_dict("records")])


def tiles_table() -> pd.DataFrame:
    """The tiles of docs/gem5-results.md, with where each runs in words, `place`."""
    tiles = pd.DataFrame(read_records(data_file("gem5/tiles.jsonl"))["tiles"])
    together = tiles["slices"].astype(str) + " slices at once, " + tiles["layout"].map(LAYOUTS)
    return tiles.assign(place=together.where(tiles["slices"] > 1, "one slice alone"))


def reproduction_table(study: Mapping[str, Any]) -> pd.DataFrame:
    """Each claim's distribution over the paper's value."""
    rows = []
    for claim, results in claims_of(study):
        main = primary(results)
        if main["quantiles"] is None:
            continue
        low, middle, high = (value / claim.value for value in main["quantiles"])
        rows.append(
            {
                "claim": claim.title,
                "low": low,
                "median": middle,
                "high": high,
                "paper": claim.value,
                "unit": claim.unit,
            }
        )
    return pd.DataFrame(rows)


def columns(frame: pd.DataFrame) -> dict[str, Any]:
    """A frame as JSON has it: numbers of a column as they are, None for what is missing; of words, and of
    numbers that repeat, the values once and where each stands."""
    return {str(name): _column(frame[name]) for name in frame}


def _column(column: pd.Series[Any]) -> dict[str, Any]:
    values = [None if is_missing(value) else value for value in column.tolist()]
    distinct = list(dict.fromkeys(values))
    if len(distinct) > max(len(values) // 4, 1) and all(
        isinstance(v, int | float) or v is None for v in distinct
    ):
        return {"numbers": values}
    place = {value: i for i, value in enumerate(distinct)}
    return {"values": distinct, "at": [place[value] for value in values]}


def packed(text: str) -> str:
    """A text in few letters: gzip in base64, the same every time."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def unpacked(text: str) -> str:
    """What was `packed`."""
    return gzip.decompress(base64.b64decode(text)).decode()


def as_json(tables: Mapping[str, pd.DataFrame]) -> str:
    """Tables by name as one JSON object."""
    return json.dumps(
        {name: columns(frame) for name, frame in tables.items()}, allow_nan=False, default=_number
    )


def _number(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    return value.item()
