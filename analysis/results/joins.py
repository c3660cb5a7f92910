"""What compares runs: ratios of rates, dollars and joules, reckoned from the records of a point's runners.

Functions take a frame of records (`runs.COLUMNS`, of one point or of many) and give one with the same index:
a row's runner at its point. `sailsim run`, figures, claims and the report all ask here, so that they
agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sailsim.analysis.costs.constants import Span
from sailsim.analysis.costs.dollars import DOLLARS, PAYMENTS, CostConstants, PriceList, dollars
from sailsim.analysis.costs.energy import Energy, EnergyConstants, energy, use_of
from sailsim.analysis.results.runs import COLUMNS, SAIL, Run
from sailsim.sim.point import Point
from sailsim.sim.system import System

if TYPE_CHECKING:  # what asks for no frame, as `run`, does not load it
    import pandas as pd

POINT = [f.name for f in fields(Point)]
"""Columns that say which point a record is of."""
JOINED = (
    *("speedup", "speedup_low", "speedup_high", "tokens_per_j"),
    *DOLLARS,
    *(f"usd_ratio_{payment}" for payment in PAYMENTS),
)
"""Columns of `joined`."""


_DOLLARS_NEED = (
    *("priced_as", "tokens_per_s", "low", "high", "kind", "cores"),
    *("memory_bytes", "pays", "bandwidth_share", "overhead"),
)
"""Columns that say what a run pays."""


def as_frame(runs: Iterable[Run]) -> pd.DataFrame:
    """The records of some runs."""
    import pandas as pd

    return pd.DataFrame([run.as_record() for run in runs], columns=list(COLUMNS))


def joined(
    records: pd.DataFrame,
    price_list: PriceList,
    constants: Span[CostConstants] | None = None,
    to: str = SAIL,
) -> pd.DataFrame:
    """The records with the columns `JOINED`, in the place of those that they have.

    ``speedup`` is the rate of the runner ``to`` over the row's, with ends where the row's is at an end of its
    band; ``usd_ratio_<payment>`` likewise of tokens per dollar where both pay in one way; ``paid`` says in
    words what ``usd_per_hour`` is for. None or NaN where a row has no rate or no price.
    """
    import pandas as pd

    dollars = tokens_per_usd(records, price_list, constants)
    keys = point_keys(records)
    columns: dict[str, Any] = {
        "speedup": speedup(records, to, keys=keys),
        "speedup_low": speedup(records, to, "high", keys),
        "speedup_high": speedup(records, to, "low", keys),
        "tokens_per_j": records["batch"]
        * records["prompt"].clip(lower=1)
        / records["energy_j"].astype(float),
    }
    columns |= {str(name): dollars[name] for name in dollars}
    for payment in PAYMENTS:
        own = dollars[f"tokens_per_usd_{payment}"]
        columns[f"usd_ratio_{payment}"] = of_runner(records, to, own, keys) / own.astype(float)
    added = pd.DataFrame(columns, records.index)[list(JOINED)]
    kept = records.drop(columns=[name for name in JOINED if name in records])
    return pd.concat([kept, added], axis=1).copy()  # one block again: columns were cut out of many


def point_keys(records: pd.DataFrame) -> pd.Series[Any]:
    """What tells the points of some records apart: equal for the runners of one."""
    import pandas as pd

    point = records[POINT].astype(object)
    rows = point.where(point.notna(), "").itertuples(index=False, name=None)
    return pd.Series(list(rows), records.index, dtype=object)


def of_runner(
    records: pd.DataFrame, runner: str, values: pd.Series[Any], keys: pd.Series[Any]
) -> pd.Series[Any]:
    """One runner's values at each row's point (`point_keys`); NaN where that runner is not in the records."""
    own = records["runner"] == runner
    known = dict(zip(keys[own], values[own], strict=True))
    return keys.map(known).astype(float)


def speedup(
    records: pd.DataFrame, to: str = SAIL, over: str = "tokens_per_s", keys: pd.Series[Any] | None = None
) -> pd.Series[Any]:
    """The rate of the runner ``to`` over each row's own, or over its ``low`` or ``high``.

    ``keys`` are the records' `point_keys`, where the caller has them.
    """
    own = records[over].astype(float)
    if over != "tokens_per_s":  # a rate without a band is its own ends
        own = own.fillna(records["tokens_per_s"].astype(float))
    keys = point_keys(records) if keys is None else keys
    return of_runner(records, to, records["tokens_per_s"], keys) / own


def tokens_per_usd(
    records: pd.DataFrame, price_list: PriceList, constants: Span[CostConstants] | None = None
) -> pd.DataFrame:
    """Tokens per dollar of every row and what it pays: the columns of `JOINED` that say dollars."""
    import pandas as pd

    span = Span.of(CostConstants) if constants is None else constants
    needed = records[list(_DOLLARS_NEED)].to_dict("records")
    rows = [dollars({str(name): each for name, each in row.items()}, price_list, span) for row in needed]
    return pd.DataFrame(rows, records.index, columns=list(DOLLARS))


def energy_of(record: Mapping[str, Any], system: System, constants: EnergyConstants | None = None) -> Energy:
    """Joules of a run's step at any constants: an accelerator's from its events, the cores' from traffic.

    ``system`` is the run's hardware. Raises SailsimError for a card, whose joules have a bound alone.
    """
    return energy(use_of(system, record), constants)
