"""Comparisons of the runs of a point: ratios of rates, dollars and joules, and the answer of `sailsim run`.

`sailsim run`, figures, claims and the report all use these functions, so that they agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from sailsim.analysis.costs import dollars
from sailsim.analysis.costs.constants import End, files_by_kind
from sailsim.analysis.costs.dollars import CostConstants, PriceList
from sailsim.analysis.costs.energy import EnergyConstants, tokens_of
from sailsim.analysis.runs.columns import in_order, short_html
from sailsim.analysis.runs.ratios import INTERVAL_COLUMNS, quotient, ratio_interval
from sailsim.analysis.runs.runs import AS_FILED, RUNNERS, SAIL, Runner, runs, shipped_runners
from sailsim.analysis.runs.verdict import verdict
from sailsim.analysis.uncertainty.prior import PRIOR
from sailsim.base.arguments import check_type, items_of_type
from sailsim.sim.machine.system import System
from sailsim.sim.point import Point
from sailsim.sim.software.records import FILED

if TYPE_CHECKING:  # what asks for no frame, as `run`, does not load it
    import pandas as pd

POINT = [f.name for f in fields(Point)]
"""Columns that identify a record's point."""
NOMINAL = "bandwidth"
"""Payment of the nominal dollars (`dollars.PAYMENTS`), whose ratio has an interval."""
_USD = f"usd_ratio_{NOMINAL}"
_DOLLARS = {payment: f"tokens_per_usd_{payment}" for payment in dollars.PAYMENTS}
_RATES = ("speedup", *(f"speedup_{end}" for end in INTERVAL_COLUMNS), "tokens_per_j")
RATIOS = (
    *_RATES,
    *(f"usd_ratio_{payment}" for payment in dollars.PAYMENTS),
    *(f"{_USD}_{end}" for end in INTERVAL_COLUMNS),
)
COMPARISON_COLUMNS = (*_RATES[:-1], "speedup_of", *_RATES[-1:], *dollars.DOLLARS, *RATIOS[len(_RATES) :])
"""Columns that `with_comparisons` adds."""
_NEEDED = (
    *("runner", "priced_as", "tokens_per_s", "low", "high", "median", "kind", "cores", "memory_bytes"),
    *("pays", "bandwidth_share", "llc_share", "overhead", "energy_j", "hardware", "host_software"),
)
"""Columns that `comparisons` reads in addition to those of a point."""
_SAME = ("model_title", "system_title", "patterns")
"""Columns of a record that are equal for all runners of a point."""
_SHORT = ("runner", "title", "tokens_per_s", "speedup")
"""Columns that an interactive session shows of an answer."""


class Comparison(dict[str, Any]):
    """Answer of `sailsim run --json`, as a dictionary and as a table."""

    def frame(self) -> pd.DataFrame:
        """A row per runner, with the columns of `ResultFolder.frame` and those of `COMPARISON_COLUMNS`."""
        import pandas as pd

        same = self["point"] | {name: self[name] for name in _SAME}
        rows = [same | {"runner": name} | run for name, run in self["runs"].items()]
        return pd.DataFrame(rows, columns=in_order(rows[0], "sweep"))

    def __repr__(self) -> str:
        return self.frame()[[*_SHORT]].to_string(max_rows=8, index=False, float_format="{:.4g}".format)

    def _repr_html_(self) -> str:
        return short_html(self.frame()[[*_SHORT]])


def compare(
    point: Point,
    system: System | str | Path | None = None,
    price_list: PriceList | None = None,
    runners: Sequence[Runner] | None = None,
    constants: Iterable[str | Path] = (),
    prior: str | Path = PRIOR,
) -> Comparison:
    """A point's runs by runner, each with SAIL's speedup over it, cost and joules a token, and the verdict on
    them (`verdict.verdict`).

    ``system``, a machine or its name or path, takes the place of the point's; ``price_list`` that of the
    shipped prices; ``runners`` that of those that ship; ``constants`` are files of the energy or the cost
    instead of the shipped ones; ``prior`` is the file of unknowns that intervals of accelerators are drawn
    from. None stands for unknown values. A runner that cannot run the point has a `reason`, and a machine
    without PIM units has no SAIL. Raises SailsimError for a point that its own system cannot run and for a
    prior without the machine that it is about, and ArgumentTypeError for an argument of another type.
    """
    check_type("point", point, Point, "is a Point")
    check_type("price_list", price_list, (PriceList, NoneType), dollars.PRICES)
    chosen = shipped_runners() if runners is None else items_of_type("runners", runners, Runner, RUNNERS)
    listed = dollars.prices() if price_list is None else price_list
    files = files_by_kind(constants, (CostConstants, EnergyConstants))
    joules, usd = EnergyConstants.ends(files.get("energy")), CostConstants.ends(files.get("cost"))
    rows = [run.as_record() for run in runs(point, system, chosen, joules, str(prior))]
    rows = [row | more for row, more in zip(rows, comparisons(rows, listed, usd), strict=True)]
    used = {row["instance"] for row in rows}
    rests_on = {runner.name: runner.rests_on for runner in chosen}
    by_name = {row["runner"]: _entry(row) | {"rests_on": rests_on[row["runner"]]} for row in rows}
    return Comparison(
        point={name: rows[0][name] for name in POINT},
        **{name: rows[0][name] for name in _SAME},
        verdict=verdict(by_name),
        runs=by_name,
        prices=dollars.quoted(price for price in listed.rows if price.instance in used),
        price_notes=runners_by_sentence((name, [note]) for name, note in dollars.price_notes(rows, listed)),
        notes=runners_by_sentence((row["runner"], row["notes"]) for row in rows),
    )


def entries(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The runs of one point (`with_comparisons`) by runner, as `compare` has them."""
    return {row["runner"]: _entry(row) for row in map(_plain, table.to_dict("records"))}


def runners_by_sentence(notes: Iterable[tuple[str, Iterable[str]]]) -> dict[str, list[str]]:
    """Every sentence once, with the names of the runners whose notes have it."""
    by_sentence: dict[str, dict[str, None]] = {}
    for name, sentences in notes:
        for sentence in sentences:
            by_sentence.setdefault(str(sentence), {})[name] = None
    return {sentence: [*names] for sentence, names in by_sentence.items()}


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    """One runner's record without the point, its comparison, and joules of a token."""
    entry = {name: value for name, value in row.items() if name not in {*POINT, *_SAME, "runner"}}
    tokens, joules = tokens_of(row), row["energy_j"]
    return entry | {
        "cores": row["cores"] and int(row["cores"]),
        "j_per_token": quotient(joules, tokens),
        **{f"j_per_token_{end}": quotient(row[f"energy_{end}_j"], tokens) for end in ("low", "high")},
        "power_w": quotient(joules, row["step_s"]),
    }


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The row with None for missing values and Python's own numbers."""
    values = {str(name): None if dollars.is_missing(value) else value for name, value in row.items()}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}


def comparisons(
    rows: Sequence[Mapping[str, Any]], price_list: PriceList, constants: Mapping[End, CostConstants]
) -> list[dict[str, Any]]:
    """Comparison of the records of one point's runners with SAIL, a row each, by `COMPARISON_COLUMNS`.

    SAIL leaves attention to the cores, so a row is compared with the SAIL whose cores run the same host
    software: ``speedup_of`` names it. A GPU, and a row without such a SAIL, is compared with `SAIL`.
    ``speedup`` is that one's rate over the row's, ``usd_ratio_<payment>`` likewise of tokens per dollar where
    both pay in one way. Their median and ends are those of `ratio_interval`, for dollars at the nominal
    price. ``paid`` says in words what ``usd_per_hour`` pays for. None where a row has no rate or no price.
    """
    pairs = [(row, dollars.dollars(row, price_list, constants)) for row in rows]
    ours = [{**row, **cost} for row, cost in pairs if _is_sail(row)]
    partners = {row["host_software"]: row for row in reversed(ours)}
    nominal: Mapping[str, Any] = next((row for row in ours if row["runner"] == SAIL), {})
    found = []
    for row, cost in pairs:
        sail = partners.get(row["host_software"], nominal)
        ratios = {f"usd_ratio_{way}": quotient(sail.get(usd), cost[usd]) for way, usd in _DOLLARS.items()}
        speedup = quotient(sail.get("tokens_per_s"), row["tokens_per_s"])
        dearer = quotient(speedup, ratios[_USD])  # SAIL's hour over the row's
        ratios |= {"speedup": speedup, "tokens_per_j": quotient(tokens_of(row), row["energy_j"])}
        interval = dict.fromkeys(INTERVAL_COLUMNS) if speedup is None else ratio_interval(sail, row)
        for end, ratio in interval.items():
            ratios |= {f"speedup_{end}": ratio, f"{_USD}_{end}": quotient(ratio, dearer)}
        found.append(cost | ratios | {"speedup_of": None if speedup is None else sail["runner"]})
    return found


def with_comparisons(records: pd.DataFrame, price_list: PriceList) -> pd.DataFrame:
    """The records, of any points, with their `comparisons` in place of those that they have."""
    import pandas as pd

    constants = CostConstants.ends()
    rows = records[[*POINT, *_NEEDED]].to_dict("records")
    points: dict[tuple[Any, ...], list[int]] = {}
    for at, row in enumerate(rows):
        point = tuple(None if dollars.is_missing(row[name]) else row[name] for name in POINT)
        points.setdefault(point, []).append(at)
    found: list[dict[str, Any]] = [{}] * len(rows)
    for places in points.values():
        own = [{str(name): value for name, value in rows[at].items()} for at in places]
        for at, each in zip(places, comparisons(own, price_list, constants), strict=True):
            found[at] = each
    added = pd.DataFrame(found, records.index, columns=list(COMPARISON_COLUMNS))
    stored = records.drop(columns=[name for name in COMPARISON_COLUMNS if name in records])
    # The copy joins the blocks of memory that the columns were cut from.
    return pd.concat([stored, added.astype(dict.fromkeys(RATIOS, float))], axis=1).copy()


def mixes_host_software(run: Mapping[str, Any]) -> bool:
    """Whether a run is compared with a SAIL whose cores run another host software than its own."""
    return run["speedup_of"] == SAIL and run["host_software"] not in ("", AS_FILED, FILED)


def _is_sail(row: Mapping[str, Any]) -> bool:
    """Whether a row with a rate is the point's own accelerator, whatever its cores run."""
    own = row["kind"] == "accelerator" and row["hardware"] == row["system"]
    return own and not dollars.is_missing(row["tokens_per_s"])
