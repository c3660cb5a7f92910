"""Tokens per dollar: price of an hour of a server or GPU, and the part of it that a run pays for.

A GPU instance is paid whole. A CPU server is paid in one of four ways ("sizing"). "share" pays the vCPUs that
a run uses, as providers sell slices of one chip at one price a vCPU. "bandwidth" pays the vCPUs whose share
of the memory's bandwidth the run uses, if those are more. "llc" counts the share of the last-level cache too.
"whole" pays all vCPUs. SAIL's server costs the CPU server's price times (1 + overhead). Prices are a CSV file
that can be replaced; a price that is missing or 0 is refused. Unknown values have ranges.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil, isnan
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from sailsim.analysis.costs.constants import ConstantSet, End, data_file
from sailsim.base.arguments import ShortRepr
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import read_text
from sailsim.base.quantity import LEAST, MOST, QuantityRule
from sailsim.sim.machine.catalog import first_problem
from sailsim.sim.software.fitted import read_csv

Sizing = Literal["share", "bandwidth", "llc", "whole"]

PAYMENTS: Mapping[str, Sizing] = {"used": "share", "bandwidth": "bandwidth", "llc": "llc", "whole": "whole"}
"""Ways to pay, by the ends of their columns: the vCPUs whose threads and memory a run takes; or those that
bring the bandwidth it takes, if they are more; or those that bring the last-level cache too; or all of the
server. The second is the nominal one."""
DOLLARS = (
    *("instance", "price_date", "price_source", "paid", "usd_per_hour", "usd_per_million_tokens"),
    *("tokens_per_usd", "tokens_per_usd_low", "tokens_per_usd_high"),
    *(f"tokens_per_usd_{payment}" for payment in PAYMENTS),
)
"""Fields of a run's record that `dollars` gives."""


@dataclass(frozen=True)
class CostConstants(ConstantSet):
    """Constants of the dollars besides prices; sources are in `data/constants/cost.toml`."""

    FILE: ClassVar[str] = "cost"

    overhead: Annotated[float, QuantityRule("ratio", least=0)]
    """Price of SAIL's server over that of the same server without it, minus 1."""
    utilisation: Annotated[float, QuantityRule("ratio", above=0, most=1)]
    """Share of the paid time that is used; the same for every server, so it leaves ratios alone."""


HOUR_S = 3600.0
"""Seconds of an hour, the time that a price is for."""
MAX_FILE = 1 << 20
"""Bytes of a price file."""
PRICES = "is a PriceList, as sailsim.prices reads it from a file"
"""End of the message that refuses another type of prices."""
Word = Annotated[str, Field(pattern=r"\S")]
Positive = Annotated[float, Field(ge=LEAST, le=MOST)]


@checked(frozen=True)
class Price:
    """One instance: USD an hour for ``units`` vCPUs (cpu) or GPUs (gpu)."""

    instance: Word
    machines: Annotated[
        tuple[str, ...], BeforeValidator(lambda cell: cell.split() if cell is str(cell) else cell)
    ]
    chip: str
    kind: Literal["cpu", "gpu"]
    units: PositiveInt
    memory_gib: Annotated[Positive | None, BeforeValidator(lambda cell: None if cell == "" else cell)]
    usd_per_hour: Positive
    source: Word
    date: Word


@dataclass(frozen=True, repr=False)
class PriceList(ShortRepr):
    """All prices of one file."""

    rows: tuple[Price, ...]
    origin: str

    def of(self, machine: str) -> Price:
        """The price of a machine: the first row that names it. Raises SailsimError where there is none."""
        price = next((row for row in self.rows if machine in row.machines), None)
        if price is None:
            priced = ", ".join(sorted({m for row in self.rows for m in row.machines}))
            raise SailsimError(f"{self.origin} has no price of {machine}, allowed is one of {priced}")
        return price

    def named(self, machines: Iterable[str]) -> str | None:
        """First of some machines that has a price: a system, then those that its file extends."""
        return next((name for name in machines if any(name in row.machines for row in self.rows)), None)

    def all_of(self, machines: Iterable[str], kind: Literal["cpu", "gpu"]) -> tuple[Price, ...]:
        """Every instance of the first of some machines that has a price, in the file's order.

        Raises SailsimError for one that is not of the machine's ``kind``: vCPUs are no GPUs.
        """
        machine = self.named(machines)
        instances = tuple(row for row in self.rows if machine in row.machines)
        other = next((row for row in instances if row.kind != kind), None)
        if other is not None:
            raise SailsimError(
                f"{self.origin}, {other.instance}: kind is {other.kind!r}, allowed for {machine} is {kind}"
            )
        return instances


def prices(path: str | Path | None = None) -> PriceList:
    """The prices of a CSV file with the columns of the shipped one; None is the shipped file.

    Raises SailsimError that names the row and the field that is missing, not a number, or not above 0.
    """
    if path is None:
        text, origin = data_file("prices.csv").read_text("utf-8"), "the shipped price file"
    else:
        text, origin = read_text(Path(path), "price file", MAX_FILE, "a CSV text"), f"price file {path}"
    try:
        table = read_csv(text)
    except csv.Error as error:
        raise SailsimError(f"{origin} cannot be read: {error}, allowed is a CSV text") from None
    if not table:
        raise SailsimError(f"{origin} has no rows, allowed is at least one instance")
    rows: dict[str, Price] = {}
    for row in table:
        name = row.get("instance") or "(unnamed)"
        try:
            price = TypeAdapter(Price).validate_python(row)
        except ValidationError as error:
            raise SailsimError(f"{origin}, {name}: {first_problem(error, 'a column')}.") from None
        if rows.setdefault(name, price) is not price:
            raise SailsimError(f"{origin} has {name!r} twice, allowed is one row an instance")
    return PriceList(tuple(rows.values()), origin)


Record = Mapping[str, Any]
"""Record of a run (`runs.runs`)."""


def vcpus_paid(price: Price, run: Record, sizing: Sizing) -> int | None:
    """vCPUs of a CPU instance that a run pays for; None where the whole instance lacks threads or memory.

    "share": its threads, or as many as bring the memory that it needs. "bandwidth": also as many as bring the
    share of the memory's bandwidth that it uses. "llc": also its threads, plus as many as bring the share of
    the last-level cache that its accelerator keeps. "whole": all.

    Under "llc" no neighbour has less cache than it pays for: each busy core, also one of the run, keeps the
    share of its vCPU, and a run that takes more pays for it. Only capacity is counted. All slices work, but
    share their ports by time, as memory does. Sizing "whole" is for those who count the slices as taken.
    """
    needed = int(run["cores"])
    if price.memory_gib is not None:
        # Multiplied first: all of the memory is that of all vCPUs, also where their share is no whole number.
        needed = max(needed, ceil(run["memory_bytes"] * price.units / (price.memory_gib * 2**30)))
    if needed > price.units:
        return None
    if sizing in ("bandwidth", "llc"):
        share = 1.0 if run["pays"] == "whole" else run["bandwidth_share"]
        cached = run["cores"] / price.units + run["llc_share"] if sizing == "llc" else 0.0
        # Rounded down a little first, so that a share reckoned from whole vCPUs gives those back.
        return max(needed, ceil(min(1.0, max(share, cached)) * price.units * (1 - 1e-12)))
    return price.units if sizing == "whole" else needed


def usd_per_hour(price: Price, run: Record, sizing: Sizing = "share", overhead: float = 0.0) -> float | None:
    """USD that an hour of a run costs; None where the instance does not hold it.

    ``overhead`` is SAIL's; a GPU instance is paid whole.
    """
    units = price.units if price.kind == "gpu" else vcpus_paid(price, run, sizing)
    return None if units is None else price.usd_per_hour * (units / price.units) * (1 + overhead)


def dollars(run: Record, listed: PriceList, constants: Mapping[End, CostConstants]) -> dict[str, Any]:
    """Cost of a run by the names of `DOLLARS`.

    Every value is None for a run without a rate or a price, and for one that no instance holds. Nominal: the
    first instance that holds the run, "bandwidth" sizing, the nominal constants and rate. Ends are the fewest
    and the most tokens a dollar over all instances, sizings, ranges of constants and the rate's interval.
    """
    instances = listed.all_of(run["priced_as"], "gpu" if run["kind"] == "gpu" else "cpu")
    fitting = [price for price in instances if usd_per_hour(price, run) is not None]
    if is_missing(run["tokens_per_s"]) or not fitting:
        return dict.fromkeys(DOLLARS)
    first, extras = fitting[0], {end: c.overhead if run["overhead"] else 0.0 for end, c in constants.items()}
    overhead = extras["value"]
    hours: list[Any] = [
        usd_per_hour(price, run, sizing, extra)
        for price in fitting
        for sizing in PAYMENTS.values()
        for extra in extras.values()
    ]
    # Of the first instance, by payment.
    usd: dict[str, Any] = {
        payment: usd_per_hour(first, run, "whole" if run["pays"] == "whole" else sizing, overhead)
        for payment, sizing in PAYMENTS.items()
    }
    rate = float(run["tokens_per_s"])
    low, high = (rate if is_missing(run[end]) else float(run[end]) for end in ("low", "high"))
    used = [c.utilisation for c in constants.values()]
    nominal = rate * constants["value"].utilisation * HOUR_S
    return {
        "instance": first.instance,
        "price_date": first.date,
        "price_source": first.source,
        "paid": _paid_for(first, run, overhead),
        "usd_per_hour": usd["bandwidth"],
        "usd_per_million_tokens": 1e6 / (nominal / usd["bandwidth"]),
        "tokens_per_usd": nominal / usd["bandwidth"],
        "tokens_per_usd_low": low * min(used) * HOUR_S / max(hours),
        "tokens_per_usd_high": high * max(used) * HOUR_S / min(hours),
        **{f"tokens_per_usd_{payment}": nominal / usd[payment] for payment in PAYMENTS},
    }


def _paid_for(price: Price, run: Record, overhead: float) -> str:
    if price.kind == "gpu":
        return "1 GPU" if price.units == 1 else f"{price.units} GPUs"
    vcpus, share = vcpus_paid(price, run, "bandwidth"), vcpus_paid(price, run, "share")
    why = "bandwidth" if vcpus != share else "threads" if share == run["cores"] else "memory"
    paid = f"{vcpus} vCPUs ({'all' if vcpus == price.units else why})"
    return paid + (f" +{overhead:.0%}" if overhead else "")


def price_notes(rows: Iterable[Mapping[str, Any]], price_list: PriceList) -> Iterator[tuple[str, str]]:
    """Notes on prices with their runners: the machine whose price is used, or why there is none."""
    for row in rows:
        if is_missing(row["tokens_per_s"]):
            continue
        names = list(row["priced_as"])
        named = price_list.named(names)
        if named is None:
            yield row["runner"], f"no price: no row of {price_list.origin} names {' or '.join(names[:1])}"
        elif is_missing(row["instance"]):
            yield row["runner"], f"no price: no instance of {named} has the vCPUs or the memory of the run"
        elif named != names[0]:
            yield row["runner"], f"has the price of {named}, which {names[0]} is a variant of"


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return value is None or (isinstance(value, float) and isnan(value))


def quoted(rows: Iterable[Price]) -> str:
    """Instances with price, source and date, for captions."""
    return "; ".join(
        f"{row.instance} {row.usd_per_hour:g} USD/h ({row.source}, {row.date})" for row in dict.fromkeys(rows)
    )
