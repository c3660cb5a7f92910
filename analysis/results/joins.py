"""What compares runs: ratios of rates, dollars and joules, reckoned from the records of a point's runners.

Functions take a frame of records (`runs.COLUMNS`, of one point or of many) and give one with the same index:
a row's runner at its point. `sailsim run`, figures, claims and the report all ask here, so that they
agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from math import isnan
from typing import TYPE_CHECKING, Any

from sailsim.analysis.costs.constants import Span
from sailsim.analysis.costs.dollars import (
    CostConstants,
    CostRange,
    Price,
    PriceList,
    Sizing,
    Usage,
    cost_range,
    tokens_per_dollar,
    usd_per_hour,
    vcpus_paid,
)
from sailsim.analysis.costs.energy import Energy, EnergyConstants, energy, use_of
from sailsim.analysis.results.runs import COLUMNS, SAIL, Run
from sailsim.sim.point import Point
from sailsim.sim.system import System

if TYPE_CHECKING:  # what asks for no frame, as `run`, does not load it
    import pandas as pd

POINT = [f.name for f in fields(Point)]
"""Columns that say which point a record is of."""
PAYMENTS: Mapping[str, Sizing] = {"used": "share", "bandwidth": "bandwidth", "whole": "whole"}
"""Ways to pay, by the ends of their columns: the vCPUs whose threads and memory a run takes; or those that
bring the bandwidth it takes, if they are more; or all of the server. The second is the nominal one."""
JOINED = (
    *("speedup", "speedup_low", "speedup_high", "tokens_per_j"),
    *("instance", "price_date", "price_source", "paid", "usd_per_hour", "usd_per_million_tokens"),
    *("tokens_per_usd", "tokens_per_usd_low", "tokens_per_usd_high"),
    *(f"tokens_per_usd_{payment}" for payment in PAYMENTS),
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
    known: dict[tuple[str, ...], tuple[Price, ...]] = {}
    rows = []
    for record in records[list(_DOLLARS_NEED)].to_dict("records"):
        chain = tuple(record["priced_as"])
        if chain not in known:
            known[chain] = price_list.all_of(chain, "gpu" if record["kind"] == "card" else "cpu")
        found = dollars({str(name): value for name, value in record.items()}, known[chain], span)
        rows.append(Dollars().as_dict() if found is None else found.as_dict())
    return pd.DataFrame(rows, records.index, columns=list(Dollars().as_dict()))


def price_notes(rows: Iterable[Mapping[str, Any]], price_list: PriceList) -> Iterator[tuple[str, str]]:
    """What is to be said of prices, by runner: whose price another machine has, and why there is none."""
    for row in rows:
        if is_missing(row["tokens_per_s"]):
            continue
        names = list(row["priced_as"])
        named = next((name for name in names if price_list.has(name)), None)
        if named is None:
            yield row["runner"], f"no price: no row of {price_list.origin} names {' or '.join(names[:1])}"
        elif is_missing(row["instance"]):
            yield row["runner"], f"no price: no instance of {named} has the vCPUs or the memory of the run"
        elif named != names[0]:
            yield row["runner"], f"has the price of {named}, which {names[0]} is a variant of"


@dataclass(frozen=True)
class Dollars:
    """What a run costs: nominal with its range, what is paid for, tokens per dollar in every `PAYMENTS`."""

    price: Price | None = None
    paid: str | None = None
    nominal: CostRange | None = None
    by_payment: Mapping[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Flat, by the names in `JOINED`."""
        cost, by_payment = self.nominal, self.by_payment or {}
        return {
            "instance": self.price and self.price.instance,
            "price_date": self.price and self.price.date,
            "price_source": self.price and self.price.source,
            "paid": self.paid,
            "usd_per_hour": cost and cost.usd_per_hour,
            "usd_per_million_tokens": cost and cost.usd_per_million_tokens,
            "tokens_per_usd": cost and cost.nominal,
            "tokens_per_usd_low": cost and cost.low,
            "tokens_per_usd_high": cost and cost.high,
        } | {f"tokens_per_usd_{payment}": by_payment.get(payment) for payment in PAYMENTS}


def dollars(
    record: Mapping[str, Any], instances: tuple[Price, ...], constants: Span[CostConstants]
) -> Dollars | None:
    """What one run costs on some instances; None without a rate or a price, or where no instance holds it."""
    if is_missing(record["tokens_per_s"]):
        return None
    rate, low, high = (
        float(record["tokens_per_s"] if is_missing(record[name]) else record[name])
        for name in ("tokens_per_s", "low", "high")
    )
    server = record["kind"] != "card"
    usage = Usage(
        tokens_per_s=rate,
        low=low,
        high=high,
        threads=int(record["cores"]) if server else 1,
        memory_bytes=float(record["memory_bytes"]) if server else 0.0,
        bandwidth_share=1.0 if record["pays"] == "whole" else float(record["bandwidth_share"]),
        overhead=bool(record["overhead"]),
    )
    found = cost_range(usage, instances, constants)
    if found is None:
        return None
    c = constants.nominal
    price = next(row for row in instances if row.instance == found.instance)
    overhead = c.overhead if usage.overhead else 0.0
    by_payment = {}
    for payment, sizing in PAYMENTS.items():
        hour = usd_per_hour(
            price,
            usage.threads,
            usage.memory_bytes,
            overhead,
            "whole" if record["pays"] == "whole" else sizing,
            usage.bandwidth_share,
        )
        by_payment[payment] = tokens_per_dollar(rate * c.utilisation, hour)
    return Dollars(price, paid_for(price, usage, overhead), found, by_payment)


def paid_for(price: Price, usage: Usage, overhead: float) -> str:
    """What the nominal dollars of a run pay for, in words."""
    if price.kind == "gpu":
        return "1 card" if price.units == 1 else f"{price.units} cards"
    vcpus = vcpus_paid(price, usage.threads, usage.memory_bytes, "bandwidth", usage.bandwidth_share)
    share = vcpus_paid(price, usage.threads, usage.memory_bytes, "share")
    if vcpus == price.units:
        said = f"{price.units} vCPUs (all)"
    else:
        why = "bandwidth" if vcpus > share else "threads" if share == usage.threads else "memory"
        said = f"{vcpus} vCPUs ({why})"
    return said + (f" +{overhead:.0%}" if overhead else "")


def energy_of(record: Mapping[str, Any], system: System, constants: EnergyConstants | None = None) -> Energy:
    """Joules of a run's step at any constants: an accelerator's from its events, the cores' from traffic.

    ``system`` is the run's hardware. Raises SailsimError for a card, whose joules have a bound alone.
    """
    return energy(use_of(system, record), constants)


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return value is None or (isinstance(value, float) and isnan(value))
