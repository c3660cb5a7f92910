"""Energy of a decode step: events times what each costs, for SAIL and for the cores alone.

    arrays      rows read and written, cycles of computing in place by operation, each of an array's columns
    convert     cycles of the in-memory type conversion by operation; operations of floating-point units
    dfm         bits of table entries added; entries shifted and added to an accumulator; patterns formed
    prt         searches; rows read from it and written to it
    llc         bits through the slices' SRAM and the units' ports
    mesh        bits over the mesh, times the way
    dram        bits read and written: bursts, rows opened, pins, controller
    cores       cores at work, and waiting for the units
    static      what runs whether there is work or not: idle cores, mesh and controllers, DRAM, leaking C-SRAM

Every term is linear in the constants, and grows with each. The same constants and the same server stand
behind SAIL and the cores alone. A GPU has only an upper bound, its board power over the time of a step. Not
modelled, and so not 0 but missing: `NOT_MODELLED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

from sailsim.analysis.costs.constants import ConstantSet, End, NotModelledError, charged
from sailsim.base.quantity import QuantityRule
from sailsim.sim.backend import ACTIVITY, COMPUTE, CONVERT, EnergyShape, backend_of
from sailsim.sim.machine.system import System

CAUSES = ("arrays", "convert", "dfm", "prt", "llc", "mesh", "dram", "cores", "static")
"""What a step's joules go to, in the order of the figures."""

_ROWS = (("read", "array_reads"), ("write", "array_writes"))

NOT_MODELLED = (
    "not modelled in the energy: voltage regulators, power supply, cooling, network and storage; leakage of "
    "DFM and PRT; the GPUs' host servers"
)
OF_DRAM = "ddr4-3200"
"""The memory that the constants of DRAM are of."""


def borrowed(system: System) -> tuple[str, ...]:
    """What a note says of a machine whose memory is not the one that the constants are of."""
    if system.memory.type.value == OF_DRAM:
        return ()
    return (
        f"the energy is reckoned with constants of {OF_DRAM} and of Neoverse N1 in 7 nm, and the area with "
        f"that core's: none of {system.memory.type.value} and of this machine's cores are known here",
    )


@dataclass(frozen=True)
class EnergyConstants(ConstantSet):
    """What each event costs; `data/constants/energy.toml` says why."""

    FILE: ClassVar[str] = "energy"

    array_read_fj_bit: Annotated[float, QuantityRule("fJ/bit", least=0)]
    array_write_fj_bit: Annotated[float, QuantityRule("fJ/bit", least=0)]
    array_compute_fj_bit: Annotated[float, QuantityRule("fJ/bit", least=0)]
    add_fj_bit: Annotated[float, QuantityRule("fJ/bit", least=0)]
    shift_factor: Annotated[float, QuantityRule("ratio", least=0)]
    accumulator_fj_bit: Annotated[float, QuantityRule("fJ/bit", least=0)]
    unit_convert_pj: Annotated[float, QuantityRule("pJ", least=0)]
    pattern_pj: Annotated[float, QuantityRule("pJ", least=0)]
    prt_search_pj: Annotated[float, QuantityRule("pJ", least=0)]
    prt_fj_bit: Annotated[float, QuantityRule("fJ/bit", least=0)]
    llc_fj_bit: Annotated[float, QuantityRule("fJ/bit", least=0)]
    wire_fj_bit_mm: Annotated[float, QuantityRule("fJ/bit/mm", least=0)]
    port_mm: Annotated[float, QuantityRule("mm", least=0)]
    mesh_mm: Annotated[float, QuantityRule("mm", least=0)]
    dram_read_pj_bit: Annotated[float, QuantityRule("pJ/bit", least=0)]
    dram_write_pj_bit: Annotated[float, QuantityRule("pJ/bit", least=0)]
    dram_activate_pj_bit: Annotated[float, QuantityRule("pJ/bit", least=0)]
    dram_pins_pj_bit: Annotated[float, QuantityRule("pJ/bit", least=0)]
    dram_controller_pj_bit: Annotated[float, QuantityRule("pJ/bit", least=0)]
    dram_idle_w: Annotated[float, QuantityRule("W", least=0)]
    core_active_w: Annotated[float, QuantityRule("W", least=0)]
    core_waiting_w: Annotated[float, QuantityRule("W", least=0)]
    core_idle_w: Annotated[float, QuantityRule("W", least=0)]
    uncore_w: Annotated[float, QuantityRule("W", least=0)]
    csram_leakage_mw_mib: Annotated[float, QuantityRule("mW/MiB", least=0)]


NO_UNITS = EnergyShape(0, 0, {}, 0.0)


@dataclass(frozen=True)
class StepEvents:
    """What a step asks of a server: events of the units (`sailsim.sim.step.tiles`), traffic, cores and time.

    Bytes are those of the whole step; ``busy_s`` is when the step's threads work, of the ``step_s`` that it
    takes, and they wait for the rest.
    """

    step_s: float
    threads: int
    cores: int
    busy_s: float
    channels: int
    dram_read_bytes: float
    dram_written_bytes: float = 0.0
    activity: Mapping[str, float] = field(default_factory=dict)
    units: EnergyShape = NO_UNITS


def energy(use: StepEvents, c: EnergyConstants, end: End = "value") -> dict[str, float]:
    """Joules of a step by `CAUSES`; a substrate's own quantities are taken at the ``end`` that ``c`` is."""
    did = {name: float(use.activity.get(name, 0.0)) for name in ACTIVITY}
    fj, pj, bit = 1e-15, 1e-12, 8
    row = use.units.columns * fj

    def rows(operation: str, event: str) -> float:
        """Of an operation on rows of an array."""
        return row * charged(use.units.operations[operation], c, end) * did[event] if did[event] else 0.0

    accumulate = use.units.accumulator_bits * (c.add_fj_bit * (1 + c.shift_factor) + 2 * c.accumulator_fj_bit)
    moved = use.dram_read_bytes + use.dram_written_bytes
    beside = c.dram_activate_pj_bit + c.dram_pins_pj_bit + c.dram_controller_pj_bit
    return {
        "arrays": sum(rows(operation, event) for operation, event in (*_ROWS, *COMPUTE.items())),
        "convert": sum(rows(operation, event) for operation, event in CONVERT.items())
        + pj * c.unit_convert_pj * did["unit_converts"],
        "dfm": fj * (c.add_fj_bit * did["entry_add_bits"] + accumulate * did["accumulates"])
        + pj * c.pattern_pj * did["patterns"],
        "prt": did["prt_searches"] * c.prt_search_pj * pj
        + row * c.prt_fj_bit * (did["prt_reads"] + did["prt_writes"]),
        "llc": bit
        * fj
        * (
            c.llc_fj_bit * (moved + did["port_bytes"] + did["activation_bytes"])
            + c.wire_fj_bit_mm * c.port_mm * (did["port_bytes"] + did["activation_bytes"])
        ),
        "mesh": bit * fj * c.wire_fj_bit_mm * c.mesh_mm * (moved + did["activation_bytes"]),
        "dram": bit
        * pj
        * (
            use.dram_read_bytes * (c.dram_read_pj_bit + beside)
            + use.dram_written_bytes * (c.dram_write_pj_bit + beside)
        ),
        "cores": use.threads
        * (c.core_active_w * use.busy_s + c.core_waiting_w * max(0.0, use.step_s - use.busy_s)),
        "static": use.step_s
        * (
            c.uncore_w
            + c.dram_idle_w * use.channels
            + c.core_idle_w * (use.cores - use.threads)
            + c.csram_leakage_mw_mib * 1e-3 * use.units.csram_mib
        ),
    }


def tokens_of(record: Mapping[Any, Any]) -> float:
    """Tokens that the step of a record works on: one of each sequence, or all of its prompts."""
    return float(record["batch"]) * max(1, int(record.get("prompt") or 0))


def use_of(system: System, record: Mapping[str, Any]) -> StepEvents:
    """What a run asks of its server, by its record (`results.runs`): an accelerator's from its events; the
    cores' from their traffic, all of it reads, while no thread waits.

    Raises NotModelledError for an accelerator or a substrate that does not declare its energy.
    """
    seconds = float(record["step_s"])
    use = StepEvents(
        step_s=seconds,
        threads=int(record["cores"]),
        cores=system.cores.count.whole,
        busy_s=seconds,
        channels=system.memory.channels.whole,
        dram_read_bytes=float(record["dram_bytes"]),
    )
    if record["kind"] == "cores":
        return use
    shape = backend_of(system, "accelerator").energy(system, record)
    if shape is None:
        raise NotModelledError(
            f"the energy of substrate {record['substrate']}, whose file has no [energy] table"
            if system.has_pim
            else f"the energy of system {system.name}'s accelerator, of which no figure is sourced"
        )
    events, phases, traffic = record["events"], record["phases"], record["traffic"]
    for operation, event in (*_ROWS, *COMPUTE.items(), *CONVERT.items()):
        if events[event] and operation not in shape.operations:
            raise NotModelledError(
                f"the energy of substrate {record['substrate']}, whose file has no energy.{operation}"
            )
    return replace(
        use,
        busy_s=float(phases["cores"]) + float(phases["sync"]),
        dram_read_bytes=float(traffic["weights"]) + float(traffic["read"]) + float(traffic.get("cache") or 0),
        dram_written_bytes=float(traffic["written"]),
        activity=events,
        units=shape,
    )
