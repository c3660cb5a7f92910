"""The answer about one point, nested and JSON-able: every runner with its ratios, dollars and joules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from sailsim.analysis.costs.constants import Span, files_by_kind
from sailsim.analysis.costs.dollars import (
    PRICES,
    CostConstants,
    PriceList,
    is_missing,
    price_notes,
    prices,
    quoted,
)
from sailsim.analysis.costs.energy import EnergyConstants, tokens_of
from sailsim.analysis.results.joins import POINT, compared, over
from sailsim.analysis.results.runs import OF_THE_POINT, RUNNERS, Runner, runs, shipped_runners
from sailsim.base.arguments import check_type, items_of
from sailsim.sim.files import as_system
from sailsim.sim.point import Point
from sailsim.sim.system import System

if TYPE_CHECKING:
    import pandas as pd

_SAME = ("model_title", "system_title", "patterns")
"""Columns of a record that are the point's."""


def compare(
    point: Point,
    system: System | str | Path | None = None,
    price_list: PriceList | None = None,
    runners: Sequence[Runner] | None = None,
    constants: Iterable[str | Path] = (),
) -> dict[str, Any]:
    """A point's runs by their runners' names, each with SAIL's speedup over it, cost and joules a token.

    ``system``, a machine or its name or path, takes the place of the point's; ``price_list`` that of the
    shipped prices; ``runners`` that of those that ship; ``constants`` are files of the energy or the cost
    instead of the shipped ones. None stands for what is not known; a runner that cannot run the point has a
    `reason`, and on a machine without units nobody is SAIL. Raises SailsimError for a point that its own
    system cannot run, and ArgumentTypeError for what is no point, no runners or no prices.
    """
    check_type("point", point, Point, "is a Point")
    check_type("price_list", price_list, (PriceList, NoneType), PRICES)
    who = shipped_runners() if runners is None else items_of("runners", runners, Runner, RUNNERS)
    if as_system(system or point.system).backend is None:
        who = tuple(each for each in who if (each.kind, each.hardware) != ("accelerator", OF_THE_POINT))
    listed = prices() if price_list is None else price_list
    files = files_by_kind(constants, (CostConstants, EnergyConstants))
    joules, usd = Span.of(EnergyConstants, files.get("energy")), Span.of(CostConstants, files.get("cost"))
    rows = [run.as_record() for run in runs(point, system, who, joules)]
    rows = [row | more for row, more in zip(rows, compared(rows, listed, usd), strict=True)]
    used = {row["instance"] for row in rows}
    return {
        "point": {name: rows[0][name] for name in POINT},
        **{name: rows[0][name] for name in _SAME},
        "runs": {row["runner"]: _entry(row) for row in rows},
        "prices": quoted(price for price in listed.rows if price.instance in used),
        "price_notes": said_of((name, [said]) for name, said in price_notes(rows, listed)),
        "notes": said_of((row["runner"], row["notes"]) for row in rows),
    }


def entries(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The runs of one point (`joined`) by their runners' names: what `compare` says of each."""
    return {row["runner"]: _entry(row) for row in map(_plain, table.to_dict("records"))}


def said_of(notes: Iterable[tuple[str, Iterable[str]]]) -> dict[str, list[str]]:
    """Every sentence once, with the names of the runners that say it."""
    by_sentence: dict[str, list[str]] = {}
    for name, sentences in notes:
        for sentence in sentences:
            names = by_sentence.setdefault(str(sentence), [])
            if name not in names:
                names.append(name)
    return by_sentence


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    """One runner: its record without the point, what the joins say, and joules of a token."""
    entry = {name: value for name, value in row.items() if name not in {*POINT, *_SAME, "runner"}}
    tokens, joules = tokens_of(row), row["energy_j"]
    entry |= {
        "cores": row["cores"] and int(row["cores"]),
        "j_per_token": over(joules, tokens),
        **{f"j_per_token_{end}": over(row[f"energy_{end}_j"], tokens) for end in ("low", "high")},
        "power_w": over(joules, row["step_s"]),
    }
    return entry


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The row with nothing as None and numbers as Python's own."""
    return {str(name): None if is_missing(value) else _number(value) for name, value in row.items()}


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
