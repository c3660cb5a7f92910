"""The answer about one point, nested and JSON-able: every runner with its ratios, dollars and joules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd

from sailsim.analysis.baselines.runners import Runner
from sailsim.analysis.costs.constants import Span, files_by_kind
from sailsim.analysis.costs.dollars import CostConstants, PriceList, prices, quoted
from sailsim.analysis.costs.energy import EnergyConstants, tokens_of
from sailsim.analysis.results.folder import PRICES
from sailsim.analysis.results.joins import POINT, as_frame, is_missing, joined, price_notes
from sailsim.analysis.results.runs import runs
from sailsim.analysis.results.sweep import RUNNERS
from sailsim.base.arguments import check_type, items_of
from sailsim.sim.point import Point
from sailsim.sim.system import System

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
    instead of the shipped ones. None stands for what is not known; a runner that
    cannot run the point has a `reason`. Raises SailsimError for a point that its own system cannot run, and
    ArgumentTypeError for what is no point, no runners or no prices.
    """
    check_type("point", point, Point, "is a Point")
    runners = None if runners is None else items_of("runners", runners, Runner, RUNNERS)
    check_type("price_list", price_list, (PriceList, NoneType), PRICES)
    listed = prices() if price_list is None else price_list
    files = files_by_kind(constants, (CostConstants, EnergyConstants))
    joules, dollars = Span.of(EnergyConstants, files.get("energy")), Span.of(CostConstants, files.get("cost"))
    table = joined(as_frame(runs(point, system, runners, joules)), listed, dollars)
    found = [_plain(row) for row in table.to_dict("records")]
    used = {row["instance"] for row in found}
    return {
        "point": {name: found[0][name] for name in POINT},
        **{name: found[0][name] for name in _SAME},
        "runs": entries(table),
        "prices": quoted(price for price in listed.rows if price.instance in used),
        "price_notes": said_of((name, [said]) for name, said in price_notes(found, listed)),
        "notes": said_of((row["runner"], row["notes"]) for row in found),
    }


def entries(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The runs of one point (`joined`) by their runners' names: what `compare` says of each."""
    return {row["runner"]: _entry(row) for row in map(_plain, table.to_dict("records"))}


def said_of(notes: Iterable[tuple[str, Iterable[str]]]) -> dict[str, list[str]]:
    """Every sentence once, with the names of the runners that say it."""
    found: dict[str, list[str]] = {}
    for name, sentences in notes:
        for sentence in sentences:
            names = found.setdefault(str(sentence), [])
            if name not in names:
                names.append(name)
    return found


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    """One runner: its record without the point, what the joins say, and joules of a token."""
    entry = {name: value for name, value in row.items() if name not in {*POINT, *_SAME, "runner"}}
    tokens, joules = tokens_of(row), row["energy_j"]
    entry |= {
        "cores": row["cores"] and int(row["cores"]),
        "j_per_token": joules and joules / tokens,
        **{f"j_per_token_{end}": _over(row[f"energy_{end}_j"], tokens) for end in ("low", "high")},
        "power_w": joules and joules / row["step_s"],
    }
    return entry


def _over(joules: float | None, tokens: float) -> float | None:
    return joules and joules / tokens


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The row with nothing as None and numbers as Python's own."""
    return {str(name): None if is_missing(value) else _number(value) for name, value in row.items()}


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
