"""Package of parameters with which `rtl/` is built."""

from __future__ import annotations

from typing import Any

from sailsim import _core
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.descriptor import ABITS_MAX, NBW_MAX
from sailsim.sim.step.tiles import TileShape

CODES = ("twos", "offset", "ternary", "book")
POLICIES = ("lru", "fifo", "direct")
CONVERTS = ("cores", "unit")  # from 1 on
WORD_BITS = 32
"""Bits of a result."""


def require(field: str, value: Any, holds: bool, allowed: str) -> None:
    """Raise ValueError, one sentence, if `holds` is false: the RTL does not allow the value."""
    if not holds:
        raise ValueError(f"{field} is {value}; the RTL allows {allowed}.")


def parameters(unit: str, code: WeightCode, abits: int, signed: bool, nbw: int, batch: int) -> dict[str, int]:
    """Constants of `sail_pkg`.

    Args:
        unit: text form of a unit (`sailsim.sim.machine.pim.Pim.unit_text`).
        code: code of the weights.
        abits, signed: bits (1..16) and signedness of the activations.
        nbw: weights of a group, 1..6.
        batch: most batch rows of a tile.

    Raises:
        ValueError: one sentence; the unit cannot be read, or the RTL does not allow it.
    """
    require("nbw", nbw, 1 <= nbw <= NBW_MAX, f"1..{NBW_MAX}")
    require("abits", abits, 1 <= abits <= ABITS_MAX, f"1..{ABITS_MAX}")
    require("batch", batch, 1 <= batch <= 256, "1..256 rows of a tile")
    config = _core.SliceConfig(unit)
    substrate = config.substrate
    require("substrate", substrate.name, substrate.layout == "rows", "entries in rows")
    require("substrate", substrate.name, substrate.accumulate == "behind", "sums behind the arrays")
    require("dfms", config.dfms, config.dfms == 1, "one DFM")
    require("convert", config.convert, config.convert in CONVERTS, f"{' or '.join(CONVERTS)}")
    port = config.port_bytes
    require("port_bytes", port, port % 4 == 0, "whole words of 4 bytes")
    bits = config.accumulator_bits
    require("accumulator_bits", bits, bits <= WORD_BITS, f"at most {WORD_BITS}")
    if config.convert == "unit":
        words, units = port // 4, config.convert_units
        require("accumulator_bits", bits, bits == WORD_BITS, f"{WORD_BITS} where units convert")
        require("convert_units", units, units % words == 0, f"whole beats of {words} words")
        require("convert_latency", config.convert_latency, 4 <= config.convert_latency <= 16, "4..16 cycles")
    shape = TileShape(nbw, config.slices, batch, code.wbits, code.value_bits, abits, nbw, 0)
    plan = _core.plan_tile(config, shape, scaled=False)  # refuses what has no room
    prt = substrate.prt_helps and config.prt_entries > 0
    widths = {"weight": code.value_bits, "entry": plan.entry_bits, "accumulator": bits}

    lanes = config.arrays * (config.cols // plan.lane_bits)
    require("port_bytes", port, port <= 4 * lanes, f"at most 4 for each of {lanes} lanes")
    if config.convert == "unit":
        require("convert_units", config.convert_units, config.convert_units <= lanes, f"its {lanes} lanes")

    def cycles(phase: str) -> int:
        return sum(spent for _, spent in substrate.tally(phase, **widths).values())

    require("phase.stage", cycles("stage"), cycles("stage") == 1, "one cycle")
    require("phase.table_add", cycles("table_add"), cycles("table_add") >= 4, "at least 4 cycles")
    require("phase.lookup", cycles("lookup"), cycles("lookup") >= 1, "at least one cycle")
    require("t_zero", config.t_zero, config.t_zero >= 1, "at least one cycle")
    hit = config.t_prt + cycles("hit") if prt else 1
    require("t_prt", config.t_prt, hit >= 1, "at least one cycle of a hit")
    return {
        "NBW": nbw,
        "WBITS": code.wbits,
        "VALUE_BITS": code.value_bits,
        "CODE": CODES.index(code.kind),
        "ENTRY_BITS": plan.entry_bits,
        "ABITS": abits,
        "SIGNED": int(signed),
        "ACC_BITS": bits,
        "BATCH": batch,
        "LANES": lanes,
        "PORT_BYTES": port,
        "ACTIVATION_WORDS": config.activation_buffer_bits // (nbw * abits),
        "PRT_ENTRIES": config.prt_entries if prt else 0,
        "PRT_POLICY": POLICIES.index(config.prt_policy),
        "ZERO_CYCLES": config.t_zero,
        "HIT_CYCLES": hit,
        "MISS_CYCLES": cycles("lookup"),
        "ADD_CYCLES": cycles("table_add"),
        "DOUBLE_BUFFER": int(config.double_buffer),
        "CONVERT": 1 + CONVERTS.index(config.convert),
        "CONVERT_UNITS": config.convert_units,
        "CONVERT_LATENCY": config.convert_latency,
        "CONVERT_INTERVAL": config.convert_interval,
    }


def package(unit: str, code: WeightCode, abits: int, signed: bool, nbw: int, batch: int) -> str:
    """SystemVerilog of `sail_pkg`; arguments and errors as `parameters`."""
    values = parameters(unit, code, abits, signed, nbw, batch)
    lines = [f"  localparam int {name} = {value};" for name, value in values.items()]
    head = "// Written by sailsim.sim.rtl from a unit's text form; rtl/sail_unit.sv says what each means."
    return "\n".join([head, "package sail_pkg;", *lines, "endpackage", ""])
