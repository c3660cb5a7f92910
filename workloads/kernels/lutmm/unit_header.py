"""Writes a system's PIM unit as a C++ header, for the emulator: ``unit_header.py SYSTEM OUT.hh``.

SYSTEM is a shipped system or the path of a system file. The header holds the text form of a unit, which the
C++ core parses.
"""

import sys
from pathlib import Path

try:
    from sailsim.sim.machine.system import System
    from sailsim.sim.machine.system_files import load_system
except ImportError:
    sys.exit(
        f"unit_header.py: {sys.executable} has no sailsim; allowed is a Python that has it: make setup makes "
        ".venv, or name one, PYTHON=/path/to/python."
    )


def header(system: System) -> str:
    """Text of the header. A system has one unit per LLC slice."""
    return f"""// Made by unit_header.py from the system file {system.name}, to be changed there: a slice.
#include "pim/config.hh"

namespace sailsim::kernels
{{

inline constexpr unsigned emulated_units = {system.llc.slices.whole};
// Of the machine's cores.
inline constexpr double core_clock_ghz = {system.cores.clock.value};

inline pim::SliceConfig emulated_unit()
{{
    return pim::read_unit(R"unit({system.unit_text(slices=1)})unit");
}}

}} // namespace sailsim::kernels
"""


if __name__ == "__main__":
    name, target = sys.argv[1], Path(sys.argv[2])
    try:
        text = header(load_system(name))
    except ValueError as error:
        sys.exit(f"unit_header.py: {error}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
