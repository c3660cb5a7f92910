"""The cores beside the units as the program `decode` uses them in gem5: what `sail-n1-neon-host` says.

The engine's own parts of a step (attention; norms, rounding and rotation) are held against the regions of
gem5's runs with PIM units. Three constants come out: the rate of attention, the share of its peak that a core
reaches in the rest, and a barrier. All else of that machine is `sail-n1`'s, but that nothing is lost around a
product and no tensor's weights run ahead: so the program and gem5's units work.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import least_squares

from sailsim.analysis.baselines.prediction import Floats
from sailsim.analysis.baselines.simulated_rows import bits_and_group, decode_rows, part_of_model, shape
from sailsim.analysis.baselines.simulated_steps import CORE_PARTS, core_seconds
from sailsim.analysis.calibration.errors import digits
from sailsim.analysis.calibration.solver import LOSS_SCALE
from sailsim.sim import Point, load_system, vary

HOST = "sail-n1-neon-host"
FITTED = {"attention": ("attention",), "norms": ("norms and rounding", "rotation")}
"""Parts of `CORE_PARTS` that are fitted together."""
CONSTANTS = {
    "attention_rate": (0.1, 1.5, 16.0),
    "simd_share": (0.005, 0.05, 1.0),
    "barrier": (1.0, 60.0, 2000.0),
}
"""Of `host`, in its units: the least, where the search begins, the most."""


def host_constants() -> dict[str, dict[str, Any]]:
    """`host.attention_rate` (MAC/cycle), `host.simd_share` (ratio) and `host.barrier` (ns) as a system file
    has them: the value, and the ends of what comes out when one run after another is left out."""
    rows = [row for row in decode_rows() if row["linears"] == "lutmm" and row["cache"] == "fp16"]
    machine = load_system(HOST)
    clock = machine.cores.clock.si
    regions = [[name for part in parts for name in CORE_PARTS[part]] for parts in FITTED.values()]
    found = np.array([[sum(row[f"{name}_cycles"] for name in of) for of in regions] for row in rows])
    asked = []
    for row in rows:
        spec, (bits, group) = part_of_model(row), bits_and_group(row)
        point = Point(
            model=shape(row), weights=f"{bits}g{group}", batch=row["batch"], threads=row["threads"],
            context=row["context"],
        )  # fmt: skip
        asked.append((spec, point))

    def cycles(x: Floats, of: list[Any]) -> Floats:
        moved = vary(machine, {f"host.{name}": float(v) for name, v in zip(CONSTANTS, x, strict=True)})
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
    values = fit(every)
    without = np.array([fit([i for i in every if i != out]) for out in every])
    return {
        name: {
            "value": digits(values[i]),
            "low": digits(min(values[i], without[:, i].min())),
            "high": digits(max(values[i], without[:, i].max())),
        }
        for i, name in enumerate(CONSTANTS)
    }
