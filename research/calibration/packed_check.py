"""Several processes on one server: how far the reckoned rates and packings are off measured ones.

No fit uses rows of several processes; the bands of packed predictions come from them. Of those of one process
the fits have some (of Graviton4; `a1_batched.csv`), which are left out where errors are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from calibration.core_rows import PACKED_TABLE
from calibration.errors import band_of, digits, error_row
from calibration.measurements import file_format, fitting_model, read_table
from sailsim.sim.backends import cores
from sailsim.sim.backends.cores import Software
from sailsim.sim.files import load_system
from sailsim.sim.fitted import Fitted, Floats, core_of, decode_work
from sailsim.sim.schedule import CpuSheet

FITTED_TABLE, FITTED_SYSTEM = "a1_batched.csv", "graviton4"
_SAME = ("system", "model", "format", "threads", "prompt", "generated", "batch")
"""What tells that a row of one process is one of the fit's."""
TITLES = {"altra": "Altra, Ampere's fork", "graviton4": "Graviton4, llama.cpp"}


@dataclass(frozen=True)
class PackedRows:
    """The measurements, aggregate tokens/s, beside what is reckoned for them."""

    system: NDArray[np.str_]
    case: NDArray[np.str_]
    """Model and format."""
    processes: Floats
    batch: Floats
    """Sequences of one process."""
    measured: Floats
    predicted: Floats
    fitted: NDArray[np.bool_]
    """Whether a fit has the row: a single process of that model, format, threads and batch."""

    @property
    def ratio(self) -> Floats:
        """Predicted over measured."""
        return np.asarray(self.predicted / self.measured)


def packed_rows(fitted: Fitted) -> PackedRows:
    """All rows by the constants of ``fitted``; their sequences share one cache, as they were measured."""
    table = read_table(PACKED_TABLE)
    known = {tuple(row[name] for name in _SAME) for row in read_table(FITTED_TABLE)}
    return PackedRows(
        system=np.array([row["system"] for row in table]),
        case=np.array([f"{row['model']} {row['format']}" for row in table]),
        processes=np.array([float(row["processes"]) for row in table]),
        batch=np.array([float(row["batch"]) for row in table]),
        measured=np.array([float(row["tok_s"]) for row in table]),
        predicted=np.array([_reckoned(row, fitted) for row in table]),
        fitted=np.array(
            [
                row["processes"] == "1"
                and (row["system"] == FITTED_SYSTEM or tuple(row[name] for name in _SAME) in known)
                for row in table
            ]
        ),
    )


def _reckoned(row: dict[str, str], fitted: Fitted) -> float:
    system, fmt = load_system(row["system"]), file_format(row["bytes_as"])
    processes, batch = int(row["processes"]), int(row["batch"])
    context = int(row["prompt"]) + round(int(row["generated"]) / 2)
    work = decode_work(fitting_model(row["model"]), fmt, batch, context)
    c, _ = cores.constants(cast(Software, row["software"]), fmt, fitted, core=core_of(system))
    threads, together = np.asarray(float(row["threads"])), np.asarray(float(processes))
    parts = cores.packed_parts(work, CpuSheet.of(system), threads, c, work.rows, together)
    return processes * batch / float(sum(parts.values()))


@dataclass(frozen=True)
class Choice:
    """The packing of so many sequences in all that is reckoned the fastest, beside the fastest measured."""

    system: str
    case: str
    sequences: int
    chosen: int
    best: int
    lost: float
    """Of the fastest packing's measured rate, what the chosen one is short of."""
    gained: float
    """Measured rate of the chosen packing over that of the fastest single process; NaN without one."""


def choices(rows: PackedRows) -> list[Choice]:
    """For every number of sequences that several packings were measured with."""
    total = rows.processes * rows.batch
    found = []
    for system, case in sorted(set(zip(rows.system.tolist(), rows.case.tolist(), strict=True))):
        own = (rows.system == system) & (rows.case == case)
        for sequences in sorted(set(total[own].tolist())):
            at = np.flatnonzero(own & (total == sequences))
            if len(set(rows.processes[at].tolist())) < 2:
                continue
            chosen, best = at[np.argmax(rows.predicted[at])], at[np.argmax(rows.measured[at])]
            single = rows.measured[at][rows.processes[at] == 1]
            found.append(
                Choice(
                    system, case, int(sequences), int(rows.processes[chosen]), int(rows.processes[best]),
                    lost=float(1 - rows.measured[chosen] / rows.measured[best]),
                    gained=float(rows.measured[chosen] / single.max()) if len(single) else float("nan"),
                )
            )  # fmt: skip
    return found


def run_packed(table: dict[str, Any]) -> None:
    """Add the error rows, the bands and the choices to the content of `fits.json`, fits included."""
    rows = packed_rows(Fitted.of(table))
    several = rows.processes > 1
    bands = {}
    for system, title in TITLES.items():
        own = rows.system == system
        name = f"{title}, several processes side by side"
        table["errors"].append(error_row(name, "these rows", rows.ratio[own & several]))
        name = f"{title}, one process on 48 threads or more, batches, one cache"
        if (rest := own & ~several & ~rows.fitted).any():
            table["errors"].append(error_row(name, "these rows", rows.ratio[rest]))
        bands[system] = band_of(rows.ratio[own & several])
    plain = packed_rows(Fitted.of(_untiled(table))).ratio[(rows.system == "graviton4") & several]
    for sets in table["cpu"].values():
        sets["bands"]["packed"] = dict(bands["altra"])
    for sets in (each for core in table["cores"].values() for each in core.values()):
        tiled = "value_rate" in sets["constants"]
        sets["bands"]["packed"] = dict(bands["graviton4"] if tiled else band_of(plain))
    made = choices(rows)
    lost = np.array([choice.lost for choice in made])
    gained = np.array([c.gained for c in made if np.isfinite(c.gained) and c.sequences >= 8])
    table["packing"] = {
        "choices": len(made),
        "median_lost": digits(float(np.median(lost))),
        "worst_lost": digits(float(lost.max())),
        "gained_from_8_sequences": [digits(float(v)) for v in np.quantile(gained, [0.0, 0.5, 1.0])],
    }


def _untiled(table: Mapping[str, Any]) -> dict[str, Any]:
    """The fits without attention by tiles, which most software here is predicted without."""
    found = deepcopy(dict(table))
    for sets in found["cores"].values():
        for each in sets.values():
            each["constants"].pop("value_rate", None)
    return found
