"""Write the text form of units for the C++ tests, sim_ext/pim/tests/units, from the data that ships.

Usage: units.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

from sailsim.sim import load_system, substrate_names

FOLDER = Path(__file__).parents[1] / "sim_ext" / "pim" / "tests" / "units"
SYSTEM = "sail-n1"


def texts() -> dict[str, str]:
    """File name -> text: the machine's unit with every substrate that ships."""
    system = load_system(SYSTEM)
    return {f"{name}.txt": system.unit_text(substrate=name) for name in substrate_names()}


def main(arguments: list[str]) -> int:
    """Write the files, or say whether one differs (exit status 1)."""
    wanted = texts()
    if arguments == ["--check"]:
        found = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*")}
        if found != wanted:
            print(f"{FOLDER} differs from what ships: run python tools/units.py")
        return int(found != wanted)
    FOLDER.mkdir(exist_ok=True)
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
