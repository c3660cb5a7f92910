"""A store's rows as figures, claims and the report read them: what is held fixed, and what varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sailsim.analysis.costs.dollars import PriceList
from sailsim.analysis.results.evaluate import reprice
from sailsim.errors import SailsimError
from sailsim.sim import Point

FREE = (
    "system",
    "model",
    "weights",
    "wbits",
    "abits",
    "nbw",
    "group_size",
    "batch",
    "threads",
    "context",
    "substrate",
    "convert",
)
"""Columns that a figure fixes unless it varies them; `prt` too."""


class MissingPointsError(SailsimError):
    """The store lacks points that a figure needs; the message is the sentence that it shows instead."""


@dataclass(frozen=True)
class Results:
    """The rows of a store with the columns that every figure fixes at its reference."""

    frame: pd.DataFrame
    price_list: PriceList
    reference: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: pd.DataFrame, price_list: PriceList) -> Results:
        """Rows at the prices of a list; the reference is the defaults of a point, else the most frequent."""
        if frame.empty:
            raise SailsimError("results has no rows, allowed is a store of at least one point")
        defaults = Point().as_dict()
        chosen = {}
        for column in (*FREE, "prt"):
            values = frame[column].dropna()
            default = defaults.get(column)
            # The lowest of equally frequent values, so that the choice does not depend on the order of rows.
            chosen[column] = default if default in set(values) else values.mode().iloc[0]
        # A choice spelt out and the same one left to the system file are one point to a figure.
        rows = frame.drop_duplicates([*FREE, "prt", "seed", "activations"])
        return cls(reprice(rows, price_list), price_list, chosen)

    def at(self, vary: Sequence[str], **fixed: Any) -> pd.DataFrame:
        """Rows where every column but ``vary`` has its reference value or the given one."""
        wanted = {**self.reference, **fixed}
        keep = np.ones(len(self.frame), dtype=bool)
        for column, value in wanted.items():
            if column not in vary:
                keep &= (self.frame[column] == value).to_numpy()
        return self.frame[keep]

    def setting(self, vary: Sequence[str], rows: pd.DataFrame) -> str:
        """What is held fixed, in words."""
        ref = self.reference
        words = {
            "model": str(rows["model_title"].iloc[0]),
            "wbits": f"weights {ref['weights']}" if ref["weights"] else f"{ref['wbits']}-bit weights",
            "abits": f"{ref['abits']}-bit activations",
            "group_size": f"one scale for {ref['group_size']} weights"
            if ref["group_size"]
            else "one scale a column",
            "nbw": f"NBW {ref['nbw']}",
            "batch": f"batch {ref['batch']}",
            "threads": f"{ref['threads']} threads",
            "context": f"{ref['context']} tokens of context",
            "substrate": f"substrate {ref['substrate']}",
            "convert": f"conversion in {ref['convert']}"
            if ref["convert"] == "memory"
            else "conversion on cores",
            "prt": "PRT on" if ref["prt"] else "PRT off",
        }
        held = [text for column, text in words.items() if column not in vary]
        systems = rows[["system", "system_title"]].drop_duplicates().itertuples(index=False)
        named = "; ".join(f"{title} ({short_name(name)})" for name, title in systems)
        return f"System: {named}. Held fixed: {', '.join(held)}."


def short_name(system: str) -> str:
    """A system by its name; one that was given as a file by the file's name."""
    return Path(system).stem if system.endswith(".toml") else system


def need(condition: bool, figure: str, points: str) -> None:
    """Raise MissingPointsError unless a store has what a figure needs."""
    if not condition:
        raise MissingPointsError(f"{figure} needs {points}, which this store does not hold.")


def prt_pairs(results: Results) -> pd.DataFrame:
    """Rows with the PRT beside their twins without: `saved` cycles and avoided `reads`, as shares.

    Raises MissingPointsError where the store has no pair.
    """
    columns = [c for c in FREE if c in results.frame]
    both = results.frame[results.frame["prt"]].merge(
        results.frame[~results.frame["prt"].astype(bool)], on=columns, suffixes=("", "_off")
    )
    need(
        len(both) > 0,
        "The PRT's saving",
        "pairs of points with the PRT on and off (Point prt=True and prt=False)",
    )
    accesses = both["count_prt_hits"] + both["count_prt_misses"]
    return both.assign(
        saved=1 - both["sail_pim_cycles"] / both["sail_pim_cycles_off"],
        saved_step=1 - both["sail_step_s"] / both["sail_step_s_off"],
        reads=both["count_prt_hits"] / accesses,
        looked_up=both["count_lookups"],
    )
