"""The text form of a PIM unit's configuration: what the C++ core, gem5 and the emulator read.

This is the one place that writes it; `sim_ext/pim/unit_text.cc` is the one that reads it.
"""

from collections.abc import Mapping

from sailsim.sim.substrate import OPERATIONS, Substrate

VERSION = 2
"""Of the form; `unit_text_version` of the core is the same."""

FIELDS = (
    "rows",
    "cols",
    "arrays",
    "slices",
    "port_bytes",
    "weights_kib_cycles",
    "accumulator_bits",
    "prt_entries",
    "prt_policy",
    "t_zero",
    "t_prt",
    "double_buffer",
    "activation_buffer_bits",
    "accumulator_buffer_bits",
    "dfms",
    "dfm_split",
    "convert",
    "convert_units",
    "convert_latency",
    "convert_interval",
)
"""What a unit is besides its substrate, named and explained in `sim_ext/pim/config.hh`."""


def unit_text(fields: Mapping[str, int | str | bool], substrate: Substrate) -> str:
    """A unit as text: a line that names the version, then a key and its value a line.

    `fields` has a value for each of `FIELDS`; the text is the same for equal values. What values are allowed,
    the reader says.

    Raises:
        ValueError: a field that is missing or that a unit does not have.
    """
    for name in fields:
        if name not in FIELDS:
            raise ValueError(f"{name} is no field of a unit; allowed are {', '.join(FIELDS)} and substrate")
    for name in FIELDS:
        if name not in fields:
            raise ValueError(f"{name} is missing; every field of a unit needs a value")
    lines = [f"sailsim-unit {VERSION}", *(f"{name} {_word(fields[name])}" for name in FIELDS)]
    lines += [
        f"substrate {substrate.name}",
        f"layout {substrate.layout}",
        f"accumulate {substrate.accumulate}",
        f"prt_helps {_word(substrate.prt_helps)}",
    ]
    for name in OPERATIONS:
        lines.append(f"cost.{name} {' '.join(map(str, substrate.costs[name].coefficients))}")
    for phase, steps in substrate.phases.steps().items():
        lines.append(f"phase.{phase} {', '.join(map(str, steps)) or 'none'}")
    return "\n".join(lines) + "\n"


def _word(value: int | str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
