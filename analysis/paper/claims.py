"""Every claim of the paper beside what this store gives: claim, paper, here, ratio, configuration, remark.

A claim that says "up to" is compared with the highest value in the store, in each reading that its words
allow. A value below the paper's is a miss and stays one; what is not modelled or not in the store says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sailsim.analysis.baselines.fitted import fits
from sailsim.analysis.baselines.prediction import data_file, read_csv
from sailsim.analysis.costs.area import AreaNotModelledError, readings
from sailsim.analysis.costs.dollars import PriceList, prices
from sailsim.analysis.results.joins import joined
from sailsim.analysis.results.results import MissingPointsError, Results, prt_pairs, stored_runs
from sailsim.sim import Store, load_system
from sailsim.sim.nbw import nbw_in_words

COLUMNS = ("claim", "reading", "paper", "here", "unit", "ratio", "verdict", "configuration", "remark")


@dataclass(frozen=True)
class Claim:
    """One claim of the paper; ``value`` is None where it is no number."""

    id: str
    text: str
    paper: str
    unit: str
    confidence: str

    @property
    def value(self) -> float | None:
        """The published number."""
        try:
            return float(self.paper)
        except ValueError:
            return None


def published() -> dict[str, Claim]:
    """The claims of `data/claims.csv`, by id."""
    rows = read_csv(data_file("claims.csv").read_text("utf-8"))
    names = ("id", "claim", "paper", "unit", "confidence")
    return {row["id"]: Claim(*(row[name] for name in names)) for row in rows}


def configuration(row: Mapping[str, Any] | pd.Series[Any]) -> str:
    """A point in words."""
    group = f"g{row['group_size']}" if row["group_size"] else "one scale a column"
    return (
        f"{row['system']}, {row['model']}, W{row['wbits']}A{row['abits']} {group}, batch {row['batch']}, "
        f"{row['threads']} threads, context {row['context']}, {nbw_in_words(row['nbw'])}, "
        f"{row['substrate']}, conversion: {row['convert']}" + ("" if row["prt"] else ", no PRT")
    )


def _row(claim: Claim, reading: str, here: float | None, where: str, remark: str) -> dict[str, Any]:
    """One line of the table for a claim with a number."""
    paper = claim.value
    assert paper is not None
    if here is None:
        return dict(
            zip(
                COLUMNS,
                (claim.text, reading, paper, None, claim.unit, None, "no data", "", remark),
                strict=True,
            )
        )
    ratio = here / paper
    verdict = "reached" if ratio >= 1 else "missed"
    line = (claim.text, reading, paper, here, claim.unit, ratio, verdict, where, remark)
    return dict(zip(COLUMNS, line, strict=True))


def _of(frame: pd.DataFrame, runner: str) -> pd.DataFrame:
    """The rows of one runner."""
    return frame[frame["runner"] == runner]


def _highest(frame: pd.DataFrame, column: str) -> pd.Series[Any] | None:
    values = frame[column].to_numpy(dtype=float)
    return None if np.isnan(values).all() else frame.iloc[int(np.nanargmax(values))]


def _nearest(frame: pd.DataFrame, column: str, value: float) -> str:
    """The point whose value comes nearest to the paper's, in words."""
    values = frame[column].to_numpy(dtype=float)
    at = int(np.nanargmin(np.abs(values / value - 1)))
    return f"nearest: {values[at]:.3g} at {configuration(frame.iloc[at])}"


def _fitted(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows whose thread count lies in the range that the CPU baseline was fitted on."""
    return frame[frame["threads"] >= fits().fewest_threads]


def _speedups(claim: Claim, frame: pd.DataFrame, base: pd.DataFrame) -> Iterator[dict[str, Any]]:
    fewest = fits().fewest_threads
    readings = (
        ("cores", _fitted(base), f"same threads ({fewest} or more), llama.cpp on the cores"),
        (
            "cores-ampere",
            _fitted(frame),
            f"same threads ({fewest} or more), Ampere's faster fork on the cores",
        ),
        ("cores-all", base, "llama.cpp on all cores, however few SAIL uses"),
        ("cores", base, f"same threads, also fewer than {fewest}, where the baseline is extrapolated"),
    )
    assert claim.value is not None
    for name, every, reading in readings:
        rows = _of(every, name)
        row = _highest(rows, "speedup")
        if row is None:
            yield _row(claim, reading, None, "", "no such point in this store")
            continue
        nearest = _nearest(rows, "speedup", claim.value)
        band = f"{row['speedup_low']:.3g} .. {row['speedup_high']:.3g} over the baseline's band"
        yield _row(claim, reading, float(row["speedup"]), configuration(row), f"{band}; {nearest}")


def _dollars_cpu(claim: Claim, frame: pd.DataFrame, base: pd.DataFrame) -> Iterator[dict[str, Any]]:
    fewest = fits().fewest_threads
    plain = (
        (
            ("cores", "used"),
            _fitted(base),
            f"same threads ({fewest} or more), both pay the used vCPUs, llama.cpp",
        ),
        (
            ("cores-ampere", "used"),
            _fitted(frame),
            f"same threads ({fewest} or more), both so, Ampere's fork",
        ),
        (
            ("cores", "bandwidth"),
            _fitted(base),
            f"same threads ({fewest} or more), both pay the memory bandwidth they use, llama.cpp",
        ),
        (
            ("cores", "used"),
            base,
            f"same threads, also fewer than {fewest}, where the baseline is extrapolated",
        ),
    )
    for (name, payment), rows, reading in plain:
        yield _highest_ratio(claim, _of(rows, name), payment, reading, "")
    yield _highest_ratio(
        claim,
        _of(base, "cores-all"),
        "used",
        "SAIL pays its used vCPUs, the CPU its whole server with all cores, llama.cpp",
        "a SAIL run on a few vCPUs still uses every slice and most of the memory's bandwidth: not comparable",
    )


def _highest_ratio(
    claim: Claim, rows: pd.DataFrame, payment: str, reading: str, remark: str
) -> dict[str, Any]:
    """The highest ratio of tokens per dollar over a runner, whose rows these are, where both pay so."""
    column = f"usd_ratio_{payment}"
    row = _highest(rows, column) if len(rows) else None
    if row is None:
        return _row(claim, reading, None, "", "no point with a price and a fitting card in this store")
    assert claim.value is not None
    said = [_nearest(rows, column, claim.value), remark, f"prices of {row['price_date']}"]
    return _row(claim, reading, float(row[column]), configuration(row), "; ".join(s for s in said if s))


def _dollars_v100(claim: Claim, frame: pd.DataFrame, base: pd.DataFrame) -> Iterator[dict[str, Any]]:
    paying = {"used": "its used vCPUs", "bandwidth": "the bandwidth it uses", "whole": "its whole server"}
    for payment, paid in ((payment, f"SAIL pays {what}") for payment, what in paying.items()):
        for card, format_ in (
            ("v100", "same bits on V100"),
            ("v100-serving", "serving software on V100, same bits"),
            ("v100-f16", "16 bits on V100"),
        ):
            yield _highest_ratio(claim, _of(base, card), payment, f"{format_}, {paid}", "")
    reading = "not claimed: A10G, a newer card, in V100's place, same bits, SAIL pays its used vCPUs"
    yield _highest_ratio(claim, _of(base, "a10g"), "used", reading, "") | {"verdict": ""}


def _prt(claim: Claim, results: Results) -> Iterator[dict[str, Any]]:
    try:
        pairs = prt_pairs(results)
    except MissingPointsError as missing:
        yield _row(claim, "cycles of the PIM units in one step", None, "", str(missing))
        return
    assert claim.value is not None
    pairs = pairs[pairs["hits"] > 0]  # the others are substrates that a PRT cannot help
    pairs = pairs.assign(
        cycles=100 * pairs["saved"], step=100 * pairs["saved_step"], reads_pct=100 * pairs["reads"]
    )
    base = pairs[pairs["system"] == results.reference["system"]]
    readings = [("cycles", base, f"cycles of the PIM units in one step, {results.reference['system']}")]
    if len(base) < len(pairs):
        readings.append(("cycles", pairs, "cycles of the PIM units in one step, any machine of this store"))
    readings += [("step", pairs, "time of the whole step"), ("reads_pct", pairs, "array reads avoided")]
    for column, rows, reading in readings:
        row = _highest(rows, column) if len(rows) else None
        if row is None:
            yield _row(claim, reading, None, "", "no pair on this machine in this store")
            continue
        line = _row(
            claim, reading, float(row[column]), configuration(row), _nearest(rows, column, claim.value)
        )
        if column == "reads_pct":
            line |= {"verdict": "", "remark": "not claimed: reads saved are energy, cycles are the claim"}
        yield line


def _overhead(claim: Claim, system_name: str) -> Iterator[dict[str, Any]]:
    system = load_system(system_name)
    assert system.pim is not None
    pim = system.pim
    where = f"{system.name}: {pim.arrays.whole} arrays of {pim.rows.whole} x {pim.cols.whole} a slice"
    try:
        found = list(readings(system))
    except AreaNotModelledError as why:
        yield _row(claim, "area of the unit", None, where, str(why))
        return
    for reading in found:
        if reading.counted not in ("C-SRAM arrays", "all of the unit"):
            continue
        gives = "none" if reading.arrays is None else f"{reading.arrays:.1f} arrays"
        remark = (
            f"{gives} a slice would give 2 %. The number of arrays is assumed with the published 2 % in "
            f"mind: a "
            "check of consistency, not a prediction"
        )
        line = _row(claim, f"{reading.counted} over the {reading.base}", 100 * reading.share, where, remark)
        # An overhead is no goal to reach: it is near the paper's or not.
        line["verdict"] = "consistent" if abs(line["ratio"] - 1) <= 0.25 else "differs"
        yield line


def claims(store: Store | str | Path, price_file: str | Path | None = None) -> pd.DataFrame:
    """The table of a store: one row a claim and reading, columns `COLUMNS`.

    Raises SailsimError for a store without results or a bad price file.
    """
    opened = store if isinstance(store, Store) else Store(store)
    return table(stored_runs(opened), prices(price_file))


def table(frame: pd.DataFrame, price_list: PriceList) -> pd.DataFrame:
    """The table of the records of a store at the prices of a list."""
    known = published()
    results = Results.of(frame, price_list)
    whole = joined(frame, price_list)
    found: list[dict[str, Any]] = []
    # Variants of the machine count only against the baseline with the best software, or one more thing would
    # differ.
    base = whole[whole["system"] == results.reference["system"]]
    by_rows: Mapping[str, Callable[[Claim, pd.DataFrame, pd.DataFrame], Iterator[dict[str, Any]]]] = {
        "speedup": _speedups,
        "usd_cpu": _dollars_cpu,
        "usd_v100": _dollars_v100,
    }
    for name, rows_of in by_rows.items():
        found += rows_of(known[name], whole, base)
    found += _prt(known["prt"], results)
    found += _overhead(known["overhead"], str(results.reference["system"]))
    one = _row(
        known["instructions"],
        "LUTMM, sim_ext/abi/lutmm.h",
        1.0,
        "",
        "one encoding; unit and register are fields",
    )
    found.append(one)
    models = ", ".join(sorted(set(frame["model_title"])))
    line = (known["models"].text, "", known["models"].paper, models, "", None, "", "", "in this store")
    found.append(dict(zip(COLUMNS, line, strict=True)))
    return pd.DataFrame(found, columns=list(COLUMNS))
