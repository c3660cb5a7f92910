"""Measurements of llama.cpp on Neoverse V1 and V2: medians over the instances of a size, and single ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from calibration.measurements import MeasuredRows, batched_rows, join, labelled_rows, read_table

TABLE, BATCHED_TABLE, PACKED_TABLE = "neoverse_v.csv", "g4_batched.csv", "packed.csv"
BATCHED = "one process"
"""The label `instances` of rows of a batch, on one machine."""
FEWEST_THREADS = 8
"""Of the instances that the fit uses, as on Neoverse N1."""
MOST_THREADS: Mapping[str, int] = {"graviton3": 64, "graviton4": 96}
"""Cores of one socket: more are two, whose threads read each other's memory, which is not modelled."""


def instance_rows(system: str, disturbed: bool = False) -> MeasuredRows:
    """Every single measurement on a chip of a system file; `instances` of `labels` says what ran it:
    "usual", "bare metal", "two sockets" or "few" (threads)."""
    chosen = [
        row for row in read_table(TABLE) if row["system"] == system and (row["disturbed"] == "1") == disturbed
    ]
    return labelled_rows(chosen, {"instances": [_sort(row) for row in chosen]})


def size_rows(system: str) -> MeasuredRows:
    """Medians over the undisturbed, usual instances of each number of threads, and what rows there are of a
    batch: what is fitted on."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for row in read_table(TABLE):
        if row["system"] == system and row["disturbed"] == "0" and _sort(row) == "usual":
            groups[row["threads"], row["model"], row["test"], row["n"]].append(row)
    rows = [_middle(found) for _, found in sorted(groups.items())]
    usual = labelled_rows(rows, {"instances": ["usual"] * len(rows), "batch": ["1"] * len(rows)})
    table = [row for row in read_table(BATCHED_TABLE) if row["system"] == system]
    return join(usual, batched_rows(table, BATCHED)) if table else usual


def altra_rows() -> MeasuredRows:
    """Batched decoding of Ampere's fork on Altra, one process on all cores."""
    return batched_rows(read_table("a1_batched.csv"), BATCHED)


def packed_rows() -> MeasuredRows:
    """All rows of one process and of several, whose sequences share one cache a process. What folds leave out
    is a batch or a model of a machine: the labels `its batch` and `its model`."""
    table = read_table(PACKED_TABLE)
    rows, processes = batched_rows(table, BATCHED), [row["processes"] for row in table]
    own = {
        f"its {name}": np.array([f"{row['system']} {row[name]}" for row in table])
        for name in ("batch", "model")
    }
    labels = {**rows.labels, "processes": np.array(processes), **own}
    return replace(rows, tokens=rows.tokens * np.array(processes, float), labels=labels)


def _middle(found: Sequence[dict[str, str]]) -> dict[str, str]:
    return {**found[0], "tok_s": repr(median(float(row["tok_s"]) for row in found))}


def _sort(row: Mapping[str, str]) -> str:
    if int(row["threads"]) > MOST_THREADS[row["system"]]:
        return "two sockets"
    if "metal" in row["machine"]:
        return "bare metal"
    return "few" if int(row["threads"]) < FEWEST_THREADS else "usual"
