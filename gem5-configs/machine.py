# SPDX-License-Identifier: BSD-3-Clause
"""gem5 systems from sailsim's system files.

`sailsim gem5` writes a system file (TOML with sources) as plain JSON, with the text form of its PIM unit;
`hierarchy.load` reads it and `build` makes the machine: cores with private L1 and L2, LLC slices that
interleave cache lines behind a crossbar, DRAM channels behind another, and one PIM unit at each slice.
Without units nothing else changes.
"""

import argparse
from typing import NamedTuple

import hierarchy
import m5
from core import make_core
from m5.objects import (
    AddrRange,
    ArmSystem,
    DDR4_2400_8x8,
    MemCtrl,
    SimpleMemory,
    SrcClockDomain,
    System,
    VoltageDomain,
)

BARE_START = 0x80000000  # first address of memory for a program without an operating system
MEMORY_CONTROLLER_NS = 11.5  # each way
TIMES = {
    "tcl": "tCL", "tcwl": "tCWL", "trcd": "tRCD", "trp": "tRP", "tras": "tRAS", "tccd_l": "tCCD_L",
    "trrd": "tRRD", "tfaw": "tXAW", "trtp": "tRTP", "twtr": "tWTR", "trfc": "tRFC", "trefi": "tREFI",
}  # fmt: skip
"""gem5's names of the times in a system file."""
IN_TURN = ("tccd_l", "trrd", "tfaw")
"""Times of operations in which sub-channels take turns."""
BANKS_MAX = 32  # most banks of a rank, which gem5's controllers keep as bits of a word


class Machine(NamedTuple):
    """A built system and its parts.

    Attributes:
        system: `system.mesh` is the LLC's crossbar; requestors connect to its `cpu_side_ports`.
        cpus: the cores, maybe none.
        later_cpus: cores of another model that can take over, one for each of `cpus` or none.
        units: the PIM units, maybe none.
    """

    system: System
    cpus: list
    later_cpus: list
    units: list


def parser(description):
    """Parser with the options of every script that runs a built machine."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--system", required=True, help="plain JSON of a system file: sailsim gem5 machine")
    options.add_argument("--units", type=int, help="PIM units, 0..64; default: one per slice")
    options.add_argument("--memory", default="2GiB", help="simulated memory")
    options.add_argument("--capacity-mode", action="store_true", help="idle arrays extend their slice")
    options.add_argument("--checkpoint", type=numbers, default=[], help="times of checkpoints, ascending")
    options.add_argument("--restore", help="continue from a checkpoint of the same run on this machine")
    options.add_argument("--until", default=f"{m5.MaxTick}ps", help="end at this simulated time: 5000ps")
    return options


def build_options(options):
    """Options of `parser` that `build` takes."""
    return {name: getattr(options, name) for name in ("units", "memory", "capacity_mode")}


def numbers(text):
    """Whole numbers with commas between them."""
    return [int(word) for word in text.split(",")]


def build(
    spec,
    *,
    cpu=None,
    cores=1,
    later_cpu=None,
    units=None,
    memory="2GiB",
    capacity_mode=False,
    shared_memory="",
    bare=False,
):
    """Build the `Machine` of `spec` (from `hierarchy.load`).

    Args:
        cpu: a key of core.CPU_MODELS, or None for a machine without cores.
        cores: number of cores.
        later_cpu: model of cores that can take over from those of `cpu`.
        units: number of PIM units, 0..64; default: one per slice.
        memory: size of the simulated memory, which does not affect its timing.
        capacity_mode: idle arrays extend their slice, and computing starts with a flush.
        shared_memory: name of the segment that holds simulated memory, for `preload`; none if empty.
        bare: build for a program without an operating system: a system that boots, memory at `BARE_START`
            with a fixed latency, and doorbells at the addresses that the instruction stores to.
    """
    system = (ArmSystem if bare else System)(cache_line_size=int(spec["llc"]["line"]))
    system.shared_backstore = shared_memory
    system.voltage = VoltageDomain()
    system.clk_domain = SrcClockDomain(clock=f"{spec['cores']['clock']}GHz", voltage_domain=system.voltage)
    system.mem_mode = "atomic" if cpu == "atomic" else "timing"
    system.mem_ranges = [AddrRange(BARE_START if bare else 0, size=memory)]
    hierarchy.add_crossbars(system, spec, system.voltage)
    hierarchy.add_slices(system, spec, system.mem_ranges[0], capacity_mode)
    if bare:
        system.memory = SimpleMemory(range=system.mem_ranges[0], port=system.memory_bus.mem_side_ports)
    else:
        add_memory(system, spec)
    system.system_port = system.mesh.cpu_side_ports
    cpus, later_cpus = [], []
    if cpu:
        system.cpus = cpus = [make_core(cpu, spec["cores"], cpu_id=i) for i in range(cores)]
        hierarchy.add_private_caches(system, spec, system.cpus)
    if later_cpu:
        later_cpus = [make_core(later_cpu, spec["cores"], cpu_id=i, switched_out=True) for i in range(cores)]
        system.later_cpus = later_cpus
    doorbell = hierarchy.DOORBELL_VIRTUAL if bare else hierarchy.DOORBELL_PHYSICAL
    pim_units = hierarchy.add_units(system, spec, units, system.voltage, capacity_mode, doorbell)
    return Machine(system, cpus, later_cpus, pim_units)


def add_memory(system, spec):
    """Add the memory's channels, which interleave lines, behind `memory_bus`."""
    memory, line = spec["memory"], int(spec["llc"]["line"])
    parts = max(1, memory["banks"] // BANKS_MAX)
    channels, parameters = memory["channels"] * parts, dram_parameters(memory, line, parts)
    ranges = [hierarchy.interleaved(system.mem_ranges[0], channels, i, line) for i in range(channels)]
    system.memory = [
        MemCtrl(
            dram=DDR4_2400_8x8(range=each, **parameters),
            static_frontend_latency=f"{MEMORY_CONTROLLER_NS}ns",
            static_backend_latency=f"{MEMORY_CONTROLLER_NS}ns",
            port=system.memory_bus.mem_side_ports,
        )
        for each in ranges
    ]


def dram_parameters(memory, line, parts=1):
    """Parameters in gem5 of a channel, or of each of its `parts`, from a machine's `memory` section.

    A channel with more banks than gem5 supports becomes several channels of part of its width, like the
    sub-channels of DDR5. The file's table has the times `IN_TURN` for all of them together.

    gem5's DDR4_2400_8x8 supplies what system files lack: write recovery, currents, queues, policies. Two
    clocks between reads and writes and between ranks are assumed, as in gem5's DDR4. Activations in a bank
    group are assumed as far apart as accesses there, except 4.9 ns for DDR4 (gem5's; Ramulator 2 has 8
    clocks, 5.0). Banks form groups if accesses in one group wait longer than a line's transfer.
    """
    clock, width = memory["clock"], int(memory["width"]) // parts
    burst = line / (2 * clock * width)
    times = {name: time * (parts if name in IN_TURN else 1) for name, time in memory["timing"].items()}
    same_group = 4.9 if memory["type"].startswith("ddr4") else times["tccd_l"]
    return {
        "tCK": f"{1 / clock}ns",
        "tBURST": f"{burst}ns",
        "tRTW": f"{2 / clock}ns",
        "tCS": f"{2 / clock}ns",
        "tRRD_L": f"{same_group}ns",
        **{theirs: f"{times[ours]}ns" for ours, theirs in TIMES.items()},
        "bank_groups_per_rank": 4 if times["tccd_l"] > burst else 0,
        "ranks_per_channel": memory["ranks"],
        "banks_per_rank": memory["banks"] // parts,
        "devices_per_rank": width,  # of 8 bits each
        "burst_length": line // width,
        "device_rowbuffer_size": f"{round(memory['row'] * 1024 / memory['width'])}B",
    }
