"""Energy of a decode step: events times what each costs, for SAIL and for the cores alone.

    arrays      rows read and written, cycles of computing in place, each of an array's columns
    convert     cycles of the in-memory type conversion
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
from dataclasses import dataclass
from typing import Any, ClassVar

from sailsim.analysis.costs.constants import Constants
from sailsim.base.errors import SailsimError
from sailsim.sim import Gpu, Quantity, StepResult, System, load_substrate
from sailsim.sim.activity import ACTIVITY

CAUSES = ("arrays", "convert", "dfm", "prt", "llc", "mesh", "dram", "cores", "static")
"""What a step's joules go to, in the order of the figures."""

NOT_MODELLED = (
    "not modelled in the energy: voltage regulators, power supply, cooling, network and storage; leakage of "
    "DFM and PRT; the GPUs' host servers"
)

_CACM = (
    "Dally, Turakhia, Han, Domain-Specific Hardware Accelerators, CACM 63(7), 2020, in 14 nm (read as "
    "quoted in a public repository): 8-bit add 10 fJ, 8 KByte of local memory 50 fJ a bit, wires 100 fJ a "
    "bit and mm; logic and memory scale linearly with the node, wires do not"
)
_ALADDIN = (
    "Aladdin's 40 nm library (github.com/ashleyswang/pm-tech-lib, py-script/test.c): register bit 9.0 fJ, "
    "32-bit adder 0.21 pJ, shifter 0.417 pJ"
)
_IDD = (
    "gem5 v24, src/mem/DRAMInterface.py, DDR4_2400_8x8 (data sheet of Micron MT40A1G8): IDD0 48, IDD2N 34, "
    "IDD3N 43, IDD4W 123, IDD4R 135, IDD5 250 mA at 1.2 V, eight devices, 153.6 Gb/s"
)
_ANANDTECH = (
    "AnandTech 16640, 2021: an N1 core with 1 MiB of L2 uses up to 1.8 W at 3.1 GHz (Arm, 2019, 7 nm)"
)


@dataclass(frozen=True)
class EnergyConstants(Constants):
    """What each event costs; units of the quantities of the same name."""

    array_read_fj_bit: float
    array_write_fj_bit: float
    compute_factor: float
    add_fj_bit: float
    shift_factor: float
    accumulator_fj_bit: float
    pattern_pj: float
    prt_search_pj: float
    prt_fj_bit: float
    llc_fj_bit: float
    wire_fj_bit_mm: float
    port_mm: float
    mesh_mm: float
    dram_read_pj_bit: float
    dram_write_pj_bit: float
    dram_activate_pj_bit: float
    dram_pins_pj_bit: float
    dram_controller_pj_bit: float
    dram_idle_w: float
    core_active_w: float
    core_waiting_w: float
    core_idle_w: float
    uncore_w: float
    csram_leakage_mw_mib: float

    QUANTITIES: ClassVar[Mapping[str, Quantity]] = {
        "array_read_fj_bit": Quantity(
            value=25,
            unit="fJ/bit",
            source=_CACM,
            kind="derived",
            low=3.8,
            high=50,
            note="a row of 256 in an array of 8 KiB: 50 x 7/14. low: CACTI 7 at 22 nm (12.0, cacti.csv) "
            "scaled to 7 nm; high: not scaled",
        ),
        "array_write_fj_bit": Quantity(
            value=25,
            unit="fJ/bit",
            source=_CACM,
            kind="derived",
            low=8.4,
            high=60,
            note="as a read; CACTI 7 has a write at 2.2 reads (low: 26.5 scaled)",
        ),
        "compute_factor": Quantity(
            value=1.8,
            unit="ratio",
            source="Neural Cache, ISCA 2018: 15.4 pJ for a computing cycle, 8.6 pJ for an access of an 8 KB "
            "array (quoted from memory, not re-read)",
            kind="paper",
            low=1.2,
            high=2.5,
            note="a cycle that activates two rows and writes one back, over a read; high: Compute Caches, "
            "HPCA 2017, logic (quoted from memory, not re-read)",
        ),
        "add_fj_bit": Quantity(
            value=0.625,
            unit="fJ/bit",
            source=_CACM,
            kind="derived",
            low=0.3,
            high=1.25,
            note="10 fJ / 8 bits x 7/14; Horowitz, ISSCC 2014, 32-bit add 0.1 pJ in 45 nm, scaled, gives "
            "0.49; high: not scaled",
        ),
        "shift_factor": Quantity(
            value=2.0,
            unit="ratio",
            source=_ALADDIN,
            kind="derived",
            low=0.0,
            high=2.5,
            note="a shift over an add of the same width; low: a DFM that shifts its sums instead of the "
            "entries",
        ),
        "accumulator_fj_bit": Quantity(
            value=3.2,
            unit="fJ/bit",
            source=_ALADDIN,
            kind="derived",
            low=1.6,
            high=25,
            note="one access of a bit of the sums: 9.0 x 7/40 = 1.6 for a register, twice that with its "
            "multiplexer; high: sums in an SRAM as the arrays'",
        ),
        "pattern_pj": Quantity(
            value=0.05,
            unit="pJ",
            source="here",
            kind="assumed",
            low=0.01,
            high=0.5,
            note="reading a few activation bits and driving them to the arrays' decoders, whose own part is "
            "in the row access",
        ),
        "prt_search_pj": Quantity(
            value=0.1,
            unit="pJ",
            source="here",
            kind="assumed",
            low=0.02,
            high=1.0,
            note="32 entries compare about five bits: 160 gates and register bits of 0.6 fJ",
        ),
        "prt_fj_bit": Quantity(
            value=3.2,
            unit="fJ/bit",
            source=_ALADDIN,
            kind="derived",
            low=1.6,
            high=25,
            note="a bit of an entry read or written: as accumulator_fj_bit; high: entries in an SRAM, when "
            "a hit saves no energy",
        ),
        "llc_fj_bit": Quantity(
            value=100,
            unit="fJ/bit",
            source=_CACM,
            kind="derived",
            low=50,
            high=220,
            note="a bit of a 1 MiB slice: 25 for the array, 0.75 mm of wire; CACTI 7 at 22 nm has 218 "
            "(cacti.csv), 69 scaled",
        ),
        "wire_fj_bit_mm": Quantity(
            value=100,
            unit="fJ/bit/mm",
            source=_CACM,
            kind="paper",
            low=30,
            high=120,
            note="low: low-swing or low-voltage wires",
        ),
        "port_mm": Quantity(
            value=0.5,
            unit="mm",
            source="here",
            kind="assumed",
            low=0.2,
            high=1.5,
            note="from a slice (0.57 mm2 of SRAM at this project's efficiency) to the arrays beside it",
        ),
        "mesh_mm": Quantity(
            value=10,
            unit="mm",
            source="WikiChip, AWS Graviton2: 22.4 mm x 20.4 mm",
            kind="derived",
            low=5,
            high=20,
            note="from a memory controller at the edge to a slice: half a side",
        ),
        "dram_read_pj_bit": Quantity(
            value=5.75,
            unit="pJ/bit",
            source=_IDD,
            kind="derived",
            low=4.0,
            high=8.0,
            note="(IDD4R - IDD3N) x 1.2 V x 8 / 153.6 Gb/s, pins not included; at 3200 MT/s current and "
            "rate grow together. Data-sheet currents are maxima (low)",
        ),
        "dram_write_pj_bit": Quantity(
            value=5.0,
            unit="pJ/bit",
            source=_IDD,
            kind="derived",
            low=3.5,
            high=7.0,
            note="(IDD4W - IDD3N), as dram_read_pj_bit",
        ),
        "dram_activate_pj_bit": Quantity(
            value=0.42,
            unit="pJ/bit",
            source=_IDD,
            kind="derived",
            low=0.05,
            high=6.7,
            note="opening a row of 8 KiB: (IDD0 tRC - IDD3N tRAS - IDD2N tRP) x 1.2 V x 8 = 3.4 nJ, over 1 "
            "KiB read from it; low: all of it, high: one line",
        ),
        "dram_pins_pj_bit": Quantity(
            value=2.7,
            unit="pJ/bit",
            source="JESD79-4: driver of 34 ohm, termination of 48 ohm to 1.2 V (quoted from memory, not "
            "re-read)",
            kind="derived",
            low=1.5,
            high=5.0,
            note="1.2^2 / 82 ohm while a pin is low, half the time, at 3.2 Gb/s",
        ),
        "dram_controller_pj_bit": Quantity(
            value=4.0,
            unit="pJ/bit",
            source="here",
            kind="assumed",
            low=2.0,
            high=8.0,
            note="memory controller and PHY on the processor's side; no figure of an N1 server is published",
        ),
        "dram_idle_w": Quantity(
            value=1.0,
            unit="W",
            source=_IDD,
            kind="derived",
            low=0.5,
            high=2.0,
            note="a channel of two ranks that stand open: 16 x 43 mA x 1.2 V, and refresh (IDD5 - IDD3N, "
            "350 ns of every 7.8 us); devices for ECC not counted",
        ),
        "core_active_w": Quantity(
            value=1.0,
            unit="W",
            source=_ANANDTECH,
            kind="derived",
            low=0.8,
            high=1.8,
            note="at 2.5 GHz, L1 and L2 included: power falls with about the cube of the clock near the top "
            "(1.8 x (2.5 / 3.1)^2.7); Arm gave about 1 W at 2.6 GHz (quoted from memory)",
        ),
        "core_waiting_w": Quantity(
            value=0.3,
            unit="W",
            source="here",
            kind="assumed",
            low=0.05,
            high=1.0,
            note="a core that waits for completion records: asleep on an event (low) or polling without "
            "pause (high)",
        ),
        "core_idle_w": Quantity(
            value=0.1,
            unit="W",
            source="here",
            kind="assumed",
            low=0.03,
            high=0.3,
            note="clock gated, power on: leakage of core and L2",
        ),
        "uncore_w": Quantity(
            value=25,
            unit="W",
            source="WikiChip Fuse 2075, 2019: Arm's reference design of 64 N1 cores has a TDP of 105 W",
            kind="assumed",
            low=10,
            high=45,
            note="mesh, LLC leakage, controllers and I/O that run all the time: less than the 40 W that 64 "
            "cores of 1 W leave, of which traffic is counted apart",
        ),
        "csram_leakage_mw_mib": Quantity(
            value=20,
            unit="mW/MiB",
            source="here",
            kind="assumed",
            low=2,
            high=380,
            note="high: CACTI 7 with high-performance cells at 22 nm and 360 K (cacti.csv); dense 7 nm "
            "cells leak far less",
        ),
    }


class EnergyNotModelledError(SailsimError):
    """The substrate's file does not say what its energy depends on."""


@dataclass(frozen=True)
class Use:
    """What a step asks of a server: events of the units (`sailsim.sim.activity`), traffic, cores and time.

    Bytes are those of the whole step; ``busy_s`` is when the step's threads work, of the ``step_s`` that it
    takes, and they wait for the rest. ``csram_mib`` is 0 on a server without units.
    """

    tokens: float
    step_s: float
    threads: int
    cores: int
    busy_s: float
    channels: int
    dram_read_bytes: float
    dram_written_bytes: float
    activity: Mapping[str, float]
    columns: int = 0
    accumulator_bits: int = 0
    two_rows: bool = False
    csram_mib: float = 0.0


@dataclass(frozen=True)
class Energy:
    """Joules of one step by `CAUSES`, and its tokens and seconds."""

    by_cause: Mapping[str, float]
    tokens: float
    step_s: float
    prt_saved_j: float = 0.0
    """What the step would need more if the array were read where the PRT hit, and there were no PRT."""

    @property
    def joules(self) -> float:
        """Of one step."""
        return sum(self.by_cause.values())

    @property
    def joules_per_token(self) -> float:
        """Of one token of one sequence."""
        return self.joules / self.tokens

    @property
    def tokens_per_joule(self) -> float:
        """Tokens that a joule gives."""
        return self.tokens / self.joules

    @property
    def watts(self) -> float:
        """Mean power of the step."""
        return self.joules / self.step_s


def energy(use: Use, constants: EnergyConstants | None = None) -> Energy:
    """Joules of a step."""
    c = EnergyConstants.default() if constants is None else constants
    if use.busy_s > use.step_s * (1 + 1e-9) or use.threads > use.cores:
        raise SailsimError(
            f"use has {use.threads} of {use.cores} cores busy for {use.busy_s:g} of {use.step_s:g} s, "
            f"allowed is "
            "at most all of both"
        )
    did = {name: float(use.activity.get(name, 0.0)) for name in ACTIVITY}
    fj, pj, bit = 1e-15, 1e-12, 8
    row = use.columns * fj
    cycle = row * c.array_read_fj_bit * (c.compute_factor if use.two_rows else 1.0)
    accumulate = use.accumulator_bits * (c.add_fj_bit * (1 + c.shift_factor) + 2 * c.accumulator_fj_bit)
    prt = did["prt_searches"] * c.prt_search_pj * pj + row * c.prt_fj_bit * (
        did["prt_reads"] + did["prt_writes"]
    )
    moved = use.dram_read_bytes + use.dram_written_bytes
    beside = c.dram_activate_pj_bit + c.dram_pins_pj_bit + c.dram_controller_pj_bit
    joules = {
        "arrays": row * c.array_read_fj_bit * did["array_reads"]
        + row * c.array_write_fj_bit * did["array_writes"]
        + cycle * did["array_cycles"],
        "convert": cycle * did["convert_cycles"],
        "dfm": fj * (c.add_fj_bit * did["entry_add_bits"] + accumulate * did["accumulates"])
        + pj * c.pattern_pj * did["patterns"],
        "prt": prt,
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
            + c.csram_leakage_mw_mib * 1e-3 * use.csram_mib
        ),
    }
    return Energy(
        by_cause=joules,
        tokens=use.tokens,
        step_s=use.step_s,
        prt_saved_j=row * c.array_read_fj_bit * did["prt_reads"] - prt,
    )


def sail_use(system: System, result: StepResult) -> Use:
    """What a simulated step asks of its machine."""
    record = {
        "batch": result.tokens,
        "step_s": result.step_s,
        "cores": result.point.threads,
        "substrate": result.point.substrate,
        "phases": result.breakdown,
        "events": result.activity,
        "traffic": result.bytes_by_kind,
    }
    return recorded_use(system, record)


def recorded_use(system: System, record: Mapping[str, Any]) -> Use:
    """The same from a record of a run (`sailsim.analysis.results.runs`).

    Raises EnergyNotModelledError for a substrate that does not declare its energy, SailsimError for a record
    without events or a machine without units.
    """
    events = record.get("events") or {}
    missing = [name for name in ACTIVITY if events.get(name) is None]
    if missing:
        raise SailsimError(
            f"record has no event {missing[0]}, allowed is a run of an accelerator, of this version's sweep"
        )
    pim = system.pim
    if pim is None:
        raise SailsimError(f"system {system.name} has no [pim] section, allowed is one with PIM units")
    substrate = load_substrate(str(record["substrate"]))
    if substrate.energy is None:
        raise EnergyNotModelledError(
            f"substrate {substrate.name} has no [energy] table, allowed is one with it: energy not modelled"
        )
    cells = system.llc.slices.whole * pim.arrays.whole * pim.rows.whole * pim.cols.whole
    phases, traffic = record["phases"], record["traffic"]
    return Use(
        tokens=float(record["batch"]),
        step_s=float(record["step_s"]),
        threads=int(record["cores"]),
        cores=system.cores.count.whole,
        busy_s=float(phases["cores"]) + float(phases["sync"]),
        channels=system.memory.channels.whole,
        dram_read_bytes=float(traffic["weights"]) + float(traffic["read"]),
        dram_written_bytes=float(traffic["written"]),
        activity={name: float(events[name]) for name in ACTIVITY},
        columns=pim.cols.whole,
        accumulator_bits=pim.accumulator.whole,
        two_rows=substrate.energy.compute_rows.whole == 2,
        csram_mib=cells / 8 / 2**20,
    )


def cpu_use(system: System, threads: int, tokens: float, step_s: float, dram_bytes: float) -> Use:
    """What a step asks of the same server's cores alone: all its traffic is reads, and no thread waits.

    ``dram_bytes`` are the weights and the KV cache (`sailsim.analysis.baselines.prediction.Work`).
    """
    return Use(
        tokens=tokens,
        step_s=step_s,
        threads=threads,
        cores=system.cores.count.whole,
        busy_s=step_s,
        channels=system.memory.channels.whole,
        dram_read_bytes=dram_bytes,
        dram_written_bytes=0.0,
        activity={},
    )


def gpu_bound_j_per_token(card: Gpu, step_s: float, tokens: float) -> float:
    """Upper bound of a card's joules a token: its board power all the step long. Its host is not in it."""
    return float(card.tdp.value) * step_s / tokens
