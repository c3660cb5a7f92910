"""The text form of units for the C++ tests, sim_ext/pim/tests/units, from the data that ships."""

from __future__ import annotations

from sailsim.sim import load_system, substrate_names

SYSTEM = "sail-n1"


def texts() -> dict[str, str]:
    """File name -> text: the machine's unit with every substrate that ships."""
    system = load_system(SYSTEM)
    return {f"{name}.txt": system.unit_text(substrate=name) for name in substrate_names()}
