"""Make the committed results of the claims anew: analysis/data, docs/systems, docs/figures.

python research/fits/claims.py [REPRODUCTION JOINT]   folders of `sailsim claims reproduce` and `claims joint`
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from records import to_lines

ROOT = Path(__file__).resolve().parents[2]
SHOWN = {"joint.png", "reproduction_claims.png"}
"""Figures of docs/reproduction.md; the others are in the studies' own pages."""


def main(reproduction: str = "out/reproduction", joint: str = "out/joint") -> None:
    """Copy results, nearest machines and figures of both studies."""
    for name, folder in (("reproduction", Path(reproduction)), ("joint", Path(joint))):
        results = json.loads((folder / f"{name}.json").read_text("utf-8"))
        (ROOT / "analysis" / "data" / f"{name}.jsonl").write_text(to_lines(results), "utf-8")
        for system in folder.glob("nearest-*.toml"):
            shutil.copy(system, ROOT / "docs" / "systems")
        for figure in (folder / "figures").glob("*.png"):
            target = figure.name if name == "joint" else f"reproduction_{figure.name}"
            if target in SHOWN:
                shutil.copy(figure, ROOT / "docs" / "figures" / target)


if __name__ == "__main__":
    main(*sys.argv[1:])
