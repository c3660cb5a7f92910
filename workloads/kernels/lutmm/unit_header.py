"""Writes a system file's PIM units as a C++ header, for the emulator: ``unit_header.py SYSTEM.toml OUT.hh``.

The system file stays the only place of these numbers and of their sources.
"""

import sys
import tomllib
from pathlib import Path
from typing import Any

# Keys of [pim] and the fields of pim::SliceConfig that they set.
NUMBERS = {
    "rows": "rows",
    "cols": "cols",
    "arrays": "arrays",
    "port": "port_bytes",
    "accumulator": "accumulator_bits",
    "prt_entries": "prt_entries",
    "t_zero": "t_zero",
    "t_prt": "t_prt",
}


def load(path: Path) -> dict[str, Any]:
    """The sections of a system file on top of those of the file that it extends."""
    own = tomllib.loads(path.read_text())
    base = load(path.with_name(f"{own['extends']}.toml")) if "extends" in own else {}
    return {**base, **own}


def header(system: dict[str, Any]) -> str:
    """The text of the header. A system has one unit beside each LLC slice."""
    pim = system["pim"]
    lines = [f"config.{field} = {int(pim[key]['value'])};" for key, field in NUMBERS.items()]
    lines += [
        "config.slices = 1;",
        f'config.policy = pim::prt_policy("{pim["prt_policy"]["value"]}");',
        f"config.double_buffer = {str(pim['double_buffer']['value']).lower()};",
        f"config.convert_in_memory = {str(pim['convert']['value'] == 'memory').lower()};",
        f'config.substrate = pim::substrate("{pim["substrate"]["value"]}");',
    ]
    body = "\n".join(f"    {line}" for line in lines)
    return f"""// Made by unit_header.py from the system file {system["name"]}, to be changed there: a slice.
#include "pim/config.hh"

namespace sailsim::kernels
{{

inline constexpr unsigned emulated_units = {int(system["llc"]["slices"]["value"])};

inline pim::SliceConfig emulated_unit()
{{
    pim::SliceConfig config;
{body}
    return config;
}}

}} // namespace sailsim::kernels
"""


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(header(load(source)))
