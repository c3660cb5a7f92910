# SPDX-License-Identifier: BSD-3-Clause
"""gem5 systems from sailsim's system files.

`sailsim gem5` writes a system file (TOML with sources) as plain JSON, with the text form of its PIM unit;
`hierarchy.load` reads it and `build` makes the machine: cores with private L1 and L2, LLC slices that take
cache lines in turn behind a crossbar, DDR4 channels behind another, and one PIM unit beside each slice.
`pim=False` leaves the units out; nothing else changes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from core import make_core
from hierarchy import add_crossbars, add_private_caches, add_slices, add_units, interleaved
from m5.objects import AddrRange, DDR4_2400_8x8, MemCtrl, SrcClockDomain, System, VoltageDomain

MEMORY_CONTROLLER_NS = 11.5  # each way


class DDR4_3200_8x8(DDR4_2400_8x8):
    """One channel of DDR4-3200 with x8 parts: what the system file's table of times does not have.

    Openings in one group of banks 4.9 ns (gem5's DDR4_2400_8x8; Ramulator 2 has 8 clocks, 5.0), and two
    clocks between reads and writes and between ranks, as in gem5's DDR4.
    """

    tRRD_L = "4.9ns"
    tRTW = "1.25ns"
    tCS = "1.25ns"


def dram_parameters(memory, line):
    """DRAM parameters of a channel from a machine's `memory` section."""
    if memory["type"] != "ddr4-3200" or memory["width"] != 8:
        raise ValueError(
            f"memory.type is {memory['type']!r} and memory.width {memory['width']}: gem5 machines know "
            "ddr4-3200 and 8"
        )
    names = {"tcl": "tCL", "tcwl": "tCWL", "trcd": "tRCD", "trp": "tRP", "tras": "tRAS", "tccd_l": "tCCD_L",
             "trrd": "tRRD", "tfaw": "tXAW", "trtp": "tRTP", "twtr": "tWTR", "trfc": "tRFC",
             "trefi": "tREFI"}  # fmt: skip
    return {
        "tCK": f"{1 / memory['clock']}ns",
        "tBURST": f"{line / (2 * memory['clock'] * memory['width'])}ns",
        "ranks_per_channel": memory["ranks"],
        "banks_per_rank": memory["banks"],
        "device_rowbuffer_size": f"{memory['row'] / 8:g}KiB",
        **{theirs: f"{memory['timing'][ours]}ns" for ours, theirs in names.items()},
    }


@dataclass(frozen=True)
class Machine:
    """A built system with what scripts need of it.

    Attributes:
        cpus: the cores, maybe none.
        later_cpus: cores of another model, one for each of `cpus`, that can take over from them; maybe none.
        units: the PIM units, maybe none.
        requestor: gives the port for something else than a core that reads and writes memory.
    """

    system: System
    cpus: list
    later_cpus: list
    units: list
    requestor: Callable


def build(
    spec,
    *,
    cpu="o3",
    cores=1,
    later_cpu=None,
    pim=True,
    units=None,
    memory="2GiB",
    capacity_mode=False,
    shared_memory="",
):
    """The machine of `spec` (from `hierarchy.load`).

    Args:
        cpu: a key of core.CPU_MODELS, or None for a machine without cores.
        cores: how many.
        later_cpu: model of cores that are to take over from those of `cpu`.
        pim: whether LLC slices have PIM units.
        units: PIM units, 1..64; default one a slice.
        memory: simulated memory; the real machine's is of no matter to its timing.
        capacity_mode: idle arrays extend their slice, and computing starts with a flush.
        shared_memory: name of the segment that holds simulated memory, for `preload`; none if empty.

    Returns:
        Machine; `system.mesh` is the LLC's crossbar.
    """
    system = System(cache_line_size=int(spec["llc"]["line"]))
    system.shared_backstore = shared_memory
    system.voltage = VoltageDomain()
    system.clk_domain = SrcClockDomain(clock=f"{spec['cores']['clock']}GHz", voltage_domain=system.voltage)
    system.mem_mode = "atomic" if cpu == "atomic" else "timing"
    system.mem_ranges = [AddrRange(0, size=memory)]
    add_crossbars(system, spec, system.voltage)
    add_slices(system, spec, system.mem_ranges[0], capacity_mode)
    for controller in add_memory(system, spec):
        controller.port = system.memory_bus.mem_side_ports
    system.system_port = system.mesh.cpu_side_ports
    if cpu:
        system.cpus = [make_core(cpu, spec["cores"], cpu_id=i) for i in range(cores)]
        add_private_caches(system, spec, system.cpus)
    if later_cpu:
        system.later_cpus = [
            make_core(later_cpu, spec["cores"], cpu_id=i, switched_out=True) for i in range(cores)
        ]
    found = add_units(system, spec, units, system.voltage, capacity_mode) if pim else []
    return Machine(
        system,
        list(system.cpus) if cpu else [],
        list(system.later_cpus) if later_cpu else [],
        found,
        lambda: system.mesh.cpu_side_ports,
    )


def add_memory(system, spec):
    """The channels of memory, which take lines in turn; connected to nothing yet."""
    memory, line = spec["memory"], int(spec["llc"]["line"])
    channels, parameters = memory["channels"], dram_parameters(memory, line)
    system.memory = [
        MemCtrl(
            dram=DDR4_3200_8x8(range=interleaved(system.mem_ranges[0], channels, i, line), **parameters),
            static_frontend_latency=f"{MEMORY_CONTROLLER_NS}ns",
            static_backend_latency=f"{MEMORY_CONTROLLER_NS}ns",
        )
        for i in range(channels)
    ]
    return list(system.memory)
