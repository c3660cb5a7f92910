"""Several processes on one server: how far the reckoned rates and packings are off measured ones.

The intervals of packed predictions come from rows of several processes, each predicted by a fit without its
batch or its model (`cores_problem.tiles_without`), or as software is predicted for which no tiles are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.core_rows import PACKED_TABLE
from calibration.cores_problem import TITLES, tiles_without
from calibration.errors import band_of, digits, error_row, held_row
from calibration.measurements import file_format, fitting_model, read_table
from sailsim.sim.backends import cores
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.software.fitted import Fits, Floats, core_of, decode_demand
from sailsim.sim.step.schedule import CpuSheet

FITTED_TABLE, FITTED_SYSTEM = "a1_batched.csv", "graviton4"
_SAME = ("system", "model", "format", "threads", "prompt", "generated", "batch")
"""What tells that a row of one process is one of the fit's."""
FOLDS = {"its batch": "batch size on that machine", "its model": "model on that machine"}
"""Labels of the rows, and what is left out with one."""


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
    """Whether the fits of all else than tiles have the row: one process of that model, format, threads and
    batch."""

    @property
    def ratio(self) -> Floats:
        """Predicted over measured."""
        return np.asarray(self.predicted / self.measured)


def packed_rows(fitted: Fits) -> PackedRows:
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


def _reckoned(row: dict[str, str], fitted: Fits) -> float:
    system, fmt = load_system(row["system"]), file_format(row["bytes_as"])
    processes, batch = int(row["processes"]), int(row["batch"])
    context = int(row["prompt"]) + round(int(row["generated"]) / 2)
    work = decode_demand(fitting_model(row["model"]), fmt, batch, context)
    c, _ = cores.cpu_fit(row["software"], fmt, fitted, core=core_of(system))
    threads, together = np.asarray(float(row["threads"])), np.asarray(float(processes))
    parts = cores.packed_breakdown(work, CpuSheet.of(system), threads, c, work.rows, together)
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
    """Add the error rows, the intervals and the choices to the content of `fits.json`, fits included."""
    rows, plain = packed_rows(Fits.of(table)), packed_rows(Fits.of(untiled(table)))
    later = [each for core in table["cores"].values() for each in core.values()]
    for system, sets in (("altra", table["cpu"].values()), ("graviton4", later)):
        own, name = rows.system == system, TITLES[system]
        several, one = own & (rows.processes > 1), own & (rows.processes == 1) & (rows.batch > 1)
        groups = {"several processes side by side": several, "one process of 2 to 32 rows, one cache": one}
        for title, keep in groups.items():
            table["errors"].append(error_row(f"{name}, {title}", "nothing", rows.ratio[keep]))
            for label, held in FOLDS.items():
                found = tiles_without(label).where(keep)
                table["errors"].append(held_row(f"{name}, {title}", held, found))
        tiled = band_of(*(tiles_without(label).ratio[several] for label in FOLDS))
        for each in sets:
            known = "tiled_rate" in each["constants"]
            each["intervals"]["packed"] = dict(tiled) if known else band_of(plain.ratio[several])
    made = choices(rows)
    lost = np.array([choice.lost for choice in made])
    gained = np.array([c.gained for c in made if np.isfinite(c.gained) and c.sequences >= 8])
    table["packing"] = {
        "choices": len(made),
        "median_lost": digits(float(np.median(lost))),
        "worst_lost": digits(float(lost.max())),
        "gained_from_8_sequences": [digits(float(v)) for v in np.quantile(gained, [0.0, 0.5, 1.0])],
    }


def untiled(table: Mapping[str, Any]) -> dict[str, Any]:
    """The fits without attention by tiles, which most software here is predicted without."""
    found = deepcopy(dict(table))
    for sets in (found["cpu"], *found["cores"].values()):
        for each in sets.values():
            each["constants"].pop("tiled_rate", None)
    return found
