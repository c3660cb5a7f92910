"""Write what docs/next.md shows from a folder of `sailsim explore`: python research/next_data.py FOLDER.

sailsim explore --samples 3000 --seed 0 --out FOLDER
"""

import shutil
import sys
from pathlib import Path

import pandas as pd

from sailsim.analysis.costs.area import area
from sailsim.analysis.costs.energy import CAUSES
from sailsim.analysis.results.runs import named, runs
from sailsim.sim.files import load_system
from sailsim.sim.point import Point

DOCS = Path(__file__).resolve().parents[1] / "docs"
MACHINE = {
    "score": "x",
    "area_percent": "area, %",
    "area_mm2": "mm2",
    "joules_per_token": "J/token",
    "tokens_per_usd": "tokens/USD",
    "power_w": "W",
}
WORKLOAD = {
    "workload": "workload",
    "opponent_tokens_per_s": "NEON, tokens/s",
    "opponent_kv": "its cache, bits",
    "first_tokens_per_s": "sail-n1",
    "best_tokens_per_s": "sail-next",
    "best_kv": "cache, bits",
    "first_speedup": "sail-n1, x",
    "best_speedup": "sail-next, x",
    "best_median": "median",
    "best_low": "low",
    "best_high": "high",
    "bound": "roofline, x",
}


ATTEND = {"sail-n1": "cores", "sail-next": "units"}
ORDINARY = {"batch": 8, "context": 512, "kv_bits": 8}
"""The workload of README, over the cache that both sides have."""


def part_by_part() -> pd.DataFrame:
    """Of both machines, mm2 of a slice sized for the mix's narrowest codes, and mJ of an ordinary token."""
    rows, found = [], {}
    for name, who in ATTEND.items():
        run = runs(Point(attention=who, **ORDINARY), name, named("sail-neon"), prior=None)[0]
        found[name] = area(load_system(name), wbits=2).parts, run.energy
    for of, unit, names in ((0, "mm2 of a slice", list(found["sail-n1"][0])), (1, "mJ of a token", CAUSES)):
        scale = 1e3 / ORDINARY["batch"] if of else 1.0
        for part in names:
            rows.append({"": unit, "part": part} | {n: scale * each[of][part] for n, each in found.items()})
    return pd.DataFrame(rows)


def in_digits(value: object) -> object:
    """Four digits of a number."""
    return f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1e4 else value


def main(folder: Path) -> None:
    """The tables and the figure."""
    read = {name: pd.read_csv(folder / f"{name}.csv") for name in ("front", "waterfall", "workloads")}
    shown = {
        "front": read["front"].rename(columns=MACHINE).drop(columns="machine"),
        "waterfall": read["waterfall"].rename(columns=MACHINE),
        "parts": part_by_part(),
        "workloads": read["workloads"][list(WORKLOAD)].rename(columns=WORKLOAD),
    }
    for name, frame in shown.items():
        if "tokens/USD" in frame:
            frame["tokens/USD"] = frame["tokens/USD"].map(lambda each: f"{each:,.0f}")
        frame.map(in_digits).to_csv(DOCS / "data" / f"next-{name}.csv", index=False, na_rep="-")
    shutil.copyfile(folder / "explored.png", DOCS / "figures" / "next.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
