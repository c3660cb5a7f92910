"""The cores beside the units as the program `decode` uses them in gem5: what `sail-n1-neon-host` says.

The engine's own parts of a step (attention; norms, rounding and rotation) are held against the regions of
gem5's runs with PIM units. Five constants come out: the rate of attention, the lines that one core has under
way while it reads a cache and what share of memory's peak many reach, the share of its peak that a core
reaches in the rest, and a barrier. Softmax, and turning an int8 cache into floats, are in attention's rate,
as the runs do not tell them from its products. All else of that machine is `sail-n1`'s, but that attention
asks for its cache ahead, nothing is lost around a product and no tensor's weights run ahead: so the program
and gem5's units work.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from sailsim.analysis.baselines.prediction import Floats
from sailsim.analysis.baselines.simulated_rows import Row, bits_and_group, decode_rows, part_of_model, shape
from sailsim.analysis.baselines.simulated_steps import CACHE_BITS, CORE_PARTS, HOST, core_seconds
from sailsim.analysis.calibration.errors import digits
from sailsim.analysis.calibration.solver import LOSS_SCALE
from sailsim.sim import Point, load_system, vary

FITTED = {"attention": ("attention",), "norms": ("norms and rounding", "rotation")}
"""Parts of `CORE_PARTS` that are fitted together."""
CONSTANTS = {
    "host.attention_rate": (0.1, 3.0, 16.0),
    "host.lines_share": (0.05, 0.4, 1.0),
    "memory.core_share": (0.05, 0.5, 1.0),
    "host.simd_share": (0.005, 0.05, 1.0),
    "host.barrier": (1.0, 60.0, 2000.0),
}
"""Of a system file, in its units: the least, where the search begins, the most."""


def host_rows() -> list[Row]:
    """The runs that the constants are fitted to: all with PIM units."""
    return [row for row in decode_rows() if row["linears"] == "lutmm"]


def host_constants() -> dict[str, dict[str, float]]:
    """Of `CONSTANTS`, in their units, as a system file has them: the value, and the ends of what comes out
    when one run after another is left out."""
    values, without = host_fits()
    return {
        name: {
            "value": digits(values[i]),
            "low": digits(min(values[i], without[:, i].min())),
            "high": digits(max(values[i], without[:, i].max())),
        }
        for i, name in enumerate(CONSTANTS)
    }


@cache
def host_fits() -> tuple[Floats, Floats]:
    """Of `CONSTANTS` (5,): fitted to all of `host_rows`, and (rows, 5) with each of them left out."""
    rows, machine = host_rows(), load_system(HOST)
    clock = machine.cores.clock.si
    regions = [[name for part in parts for name in CORE_PARTS[part]] for parts in FITTED.values()]
    found = np.array([[sum(row[f"{name}_cycles"] for name in of) for of in regions] for row in rows])
    asked = []
    for row in rows:
        spec, (bits, group) = part_of_model(row), bits_and_group(row)
        point = Point(
            model=shape(row), weights=f"{bits}g{group}", batch=row["batch"], threads=row["threads"],
            context=row["context"], kv_bits=CACHE_BITS[row["cache"]],
        )  # fmt: skip
        asked.append((spec.cached(point.kv_bits), point))

    def cycles(x: Floats, of: list[Any]) -> Floats:
        moved = vary(machine, dict(zip(CONSTANTS, map(float, x), strict=True)))
        seconds = [core_seconds(moved, spec, point) for spec, point in of]
        return clock * np.array([[sum(s[p] for p in parts) for parts in FITTED.values()] for s in seconds])

    least, start, most = np.log(np.array(list(CONSTANTS.values()))).T

    def fit(kept: list[int]) -> Floats:
        def off(x: Floats) -> Floats:
            return np.asarray(np.log(cycles(np.exp(x), [asked[i] for i in kept]) / found[kept])).ravel()

        answer = least_squares(
            off, start, bounds=(least, most), loss="soft_l1", f_scale=LOSS_SCALE, xtol=1e-10, ftol=1e-10
        )
        return np.asarray(np.exp(answer.x))

    every = list(range(len(rows)))
    return fit(every), np.array([fit([i for i in every if i != out]) for out in every])
