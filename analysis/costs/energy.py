"""Energy of a decode step: number of events times energy of each, for SAIL and for the cores alone.

    arrays      rows read and written, cycles of computing in place by operation, each of an array's columns
    convert     cycles of the in-memory type conversion by operation; operations of floating-point units
    dfm         bits of table entries added; entries shifted and added to an accumulator; patterns formed
    prt         searches; rows read from it and written to it
    llc         bits through the slices' SRAM and the units' ports
    mesh        bits over the mesh, times the way
    dram        bits read and written: bursts, rows opened, pins, controller
    cores       cores at work, and waiting for the units
    static      what runs whether there is work or not: idle cores, mesh and controllers, DRAM, leaking C-SRAM

Every term is linear in the constants, and grows with each. SAIL and the cores alone use the same constants
and the same server. A GPU has only an upper bound, its board power times the time of a step. `NOT_MODELLED`
lists what is missing, which is not 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

from sailsim.analysis.costs.constants import ConstantSet, End, NotModelledError, charge_value
from sailsim.base.quantity import QuantityRule
from sailsim.sim.backend import ACTIVITY, COMPUTE, CONVERT, EnergyShape, backend_of
from sailsim.sim.machine.system import System

CAUSES = ("arrays", "convert", "dfm", "prt", "llc", "mesh", "dram", "cores", "static")
"""Causes of a step's energy, in the order of the figures."""
_ROWS = (("read", "array_reads"), ("write", "array_writes"))
NOT_MODELLED = (
    "not modelled in the energy: voltage regulators, power supply, cooling, network and storage; leakage of "
    "DFM and PRT; the GPUs' host servers"
)
DRAM_TYPE = "ddr4-3200"
"""Memory that the DRAM constants describe."""


def constants_notes(system: System) -> tuple[str, ...]:
    """Note for a server whose memory is another one than the constants describe; else nothing."""
    if system.memory.type.value == DRAM_TYPE:
        return ()
    return (
        f"the energy is reckoned with constants of {DRAM_TYPE} and of Neoverse N1 in 7 nm, and the area with "
        f"that core's: none of {system.memory.type.value} and of this machine's cores are known here",
    )


@dataclass(frozen=True)
class EnergyConstants(ConstantSet):
    """Energy of each event; sources are in `data/constants/energy.toml`."""

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
    """Activity of a server in a step: events of the units (`sim.step.tiles`), traffic, cores, time.

    Bytes are those of the whole step. Threads work for ``busy_s`` of its ``step_s`` and wait for the rest.
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


def energy(step: StepEvents, c: EnergyConstants, end: End = "value") -> dict[str, float]:
    """Joules of a step by `CAUSES`; the substrate's quantities are taken at ``end``, that of ``c``."""
    events = {name: float(step.activity.get(name, 0.0)) for name in ACTIVITY}
    fj, pj, bit = 1e-15, 1e-12, 8
    row = step.units.columns * fj

    def rows(operation: str, event: str) -> float:
        """Joules of an operation on rows of the arrays; 0 without an event."""
        count = events[event]
        return row * charge_value(step.units.operations[operation], c, end) * count if count else 0.0

    accumulate_bit = c.add_fj_bit * (1 + c.shift_factor) + 2 * c.accumulator_fj_bit
    accumulate = step.units.accumulator_bits * accumulate_bit
    moved = step.dram_read_bytes + step.dram_written_bytes
    transfer = c.dram_activate_pj_bit + c.dram_pins_pj_bit + c.dram_controller_pj_bit
    ports = events["port_bytes"] + events["activation_bytes"]
    llc_bytes = moved + events["port_bytes"] + events["activation_bytes"]
    llc = c.llc_fj_bit * llc_bytes + c.wire_fj_bit_mm * c.port_mm * ports
    reads = step.dram_read_bytes * (c.dram_read_pj_bit + transfer)
    writes = step.dram_written_bytes * (c.dram_write_pj_bit + transfer)
    waiting_s = max(0.0, step.step_s - step.busy_s)
    idle_w = c.uncore_w + c.dram_idle_w * step.channels + c.core_idle_w * (step.cores - step.threads)
    static_w = idle_w + c.csram_leakage_mw_mib * 1e-3 * step.units.csram_mib
    return {
        "arrays": sum(rows(operation, event) for operation, event in (*_ROWS, *COMPUTE.items())),
        "convert": sum(rows(operation, event) for operation, event in CONVERT.items())
        + pj * c.unit_convert_pj * events["unit_converts"],
        "dfm": fj * (c.add_fj_bit * events["entry_add_bits"] + accumulate * events["accumulates"])
        + pj * c.pattern_pj * events["patterns"],
        "prt": events["prt_searches"] * c.prt_search_pj * pj
        + row * c.prt_fj_bit * (events["prt_reads"] + events["prt_writes"]),
        "llc": bit * fj * llc,
        "mesh": bit * fj * c.wire_fj_bit_mm * c.mesh_mm * (moved + events["activation_bytes"]),
        "dram": bit * pj * (reads + writes),
        "cores": step.threads * (c.core_active_w * step.busy_s + c.core_waiting_w * waiting_s),
        "static": step.step_s * static_w,
    }


def tokens_of(record: Mapping[Any, Any]) -> float:
    """Tokens that a recorded step processes: one of each sequence, or all of its prompts."""
    return float(record["batch"]) * max(1, int(record.get("prompt") or 0))


def step_events(system: System, record: Mapping[str, Any]) -> StepEvents:
    """Activity of a run by its record (`runs.runs`).

    An accelerator's record has its events. On the cores all traffic counts as reads, and no thread waits.

    Raises NotModelledError for an accelerator or a substrate that does not declare its energy.
    """
    seconds = float(record["step_s"])
    step = StepEvents(
        step_s=seconds,
        threads=int(record["cores"]),
        cores=system.cores.count.whole,
        busy_s=seconds,
        channels=system.memory.channels.whole,
        dram_read_bytes=float(record["dram_bytes"]),
    )
    if record["kind"] == "cores":
        return step
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
        step,
        busy_s=float(phases["cores"]) + float(phases["sync"]),
        dram_read_bytes=float(traffic["weights"]) + float(traffic["read"]) + float(traffic.get("cache") or 0),
        dram_written_bytes=float(traffic["written"]),
        activity=events,
        units=shape,
    )
