"""What compares runs: ratios of rates, dollars and joules, reckoned from the records of a point's runners.

`sailsim run`, figures, claims and the report all ask here, so that they agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sailsim.analysis.costs.constants import Span
from sailsim.analysis.costs.dollars import DOLLARS, PAYMENTS, CostConstants, PriceList, dollars, is_missing
from sailsim.analysis.costs.energy import tokens_of
from sailsim.analysis.results.runs import COLUMNS, SAIL, Run
from sailsim.sim.point import Point

if TYPE_CHECKING:  # what asks for no frame, as `run`, does not load it
    import pandas as pd

POINT = [f.name for f in fields(Point)]
"""Columns that say which point a record is of."""
RATIOS = (
    *("speedup", "speedup_low", "speedup_high", "tokens_per_j"),
    *(f"usd_ratio_{payment}" for payment in PAYMENTS),
)
JOINED = (*RATIOS[:4], *DOLLARS, *RATIOS[4:])
"""Columns of `joined`."""
_NEEDED = (
    *("runner", "priced_as", "tokens_per_s", "low", "high", "kind", "cores", "memory_bytes", "pays"),
    *("bandwidth_share", "overhead", "energy_j"),
)
"""Columns that `compared` reads beside those of a point."""


def as_frame(runs: Iterable[Run]) -> pd.DataFrame:
    """The records of some runs."""
    import pandas as pd

    return pd.DataFrame([run.as_record() for run in runs], columns=list(COLUMNS))


def compared(
    rows: Sequence[Mapping[str, Any]], price_list: PriceList, constants: Span[CostConstants]
) -> list[dict[str, Any]]:
    """What compares the records of one point's runners with SAIL's, a row each, by the names of `JOINED`.

    ``speedup`` is SAIL's rate over the row's, with ends where the row's is at an end of its band;
    ``usd_ratio_<payment>`` likewise of tokens per dollar where both pay in one way; ``paid`` says in words
    what ``usd_per_hour`` is for. None where a row has no rate or no price.
    """
    costs = [dollars(row, price_list, constants) for row in rows]
    sail: Mapping[str, Any] = {}
    for row, cost in zip(rows, costs, strict=True):
        if row["runner"] == SAIL:
            sail = {"tokens_per_s": row["tokens_per_s"], **cost}
    found = []
    for row, cost in zip(rows, costs, strict=True):
        rate, low, high = row["tokens_per_s"], row["low"], row["high"]
        ratios = (
            over(sail.get("tokens_per_s"), rate),
            over(sail.get("tokens_per_s"), rate if is_missing(high) else high),
            over(sail.get("tokens_per_s"), rate if is_missing(low) else low),
            over(tokens_of(row), row["energy_j"]),
            *(
                over(sail.get(f"tokens_per_usd_{payment}"), cost[f"tokens_per_usd_{payment}"])
                for payment in PAYMENTS
            ),
        )
        found.append(cost | dict(zip(RATIOS, ratios, strict=True)))
    return found


def joined(
    records: pd.DataFrame, price_list: PriceList, constants: Span[CostConstants] | None = None
) -> pd.DataFrame:
    """The records, of any points, with what `compared` says of each in the place of what they have of it."""
    import pandas as pd

    span = Span.of(CostConstants) if constants is None else constants
    rows = records[[*POINT, *_NEEDED]].to_dict("records")
    points: dict[tuple[Any, ...], list[int]] = {}
    for at, row in enumerate(rows):
        point = tuple(None if is_missing(row[name]) else row[name] for name in POINT)
        points.setdefault(point, []).append(at)
    found: list[dict[str, Any]] = [{}] * len(rows)
    for places in points.values():
        own = [{str(name): value for name, value in rows[at].items()} for at in places]
        for at, each in zip(places, compared(own, price_list, span), strict=True):
            found[at] = each
    added = pd.DataFrame(found, records.index, columns=list(JOINED)).astype(dict.fromkeys(RATIOS, float))
    kept = records.drop(columns=[name for name in JOINED if name in records])
    return pd.concat([kept, added], axis=1).copy()  # one block again: columns were cut out of many


def over(upper: float | None, lower: float | None) -> float | None:
    """A ratio; None where a side is not known."""
    return None if upper is None or lower is None or is_missing(upper) or is_missing(lower) else upper / lower
