# SPDX-License-Identifier: BSD-3-Clause
"""gem5 systems from sailsim's system files.

`sailsim gem5` writes a system file (TOML with sources) as plain JSON, with the text form of its PIM unit;
`load` reads it and `build` makes the machine: cores with private L1 and L2, LLC slices that take cache
lines in turn behind a crossbar, DDR4 channels behind another, and one PIM unit beside each slice. `pim=False`
leaves the units out; nothing else changes.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import m5
from core import LOAD_OVERHEAD, make_core
from m5.objects import (
    AddrRange,
    BaseSetAssoc,
    Cache,
    CoherentXBar,
    DDR4_2400_8x8,
    L2XBar,
    MemCtrl,
    SailPimUnit,
    SailSliceIndexing,
    SnoopFilter,
    SrcClockDomain,
    StridePrefetcher,
    System,
    SystemXBar,
    VoltageDomain,
)

# Physical address of unit 0's doorbell, above all memory; the virtual one is the decoder's default.
DOORBELL_PHYSICAL = 1 << 44
DOORBELL_VIRTUAL = 0x7000000000
DOORBELL_STRIDE = 4096
UNITS_MAX = 64  # that the instruction can name
MEMORY_START = 0

# How a load's way splits over the caches and crossbars below; fitted with the pointer chase, so that the
# latencies of the system file come out (docs/gem5.md has the table).
L2_OVERHEAD_CYCLES = 8
LLC_CROSSING_NS = 5.5  # each way through the mesh
LLC_PATH_NS = 8.5  # of the LLC's latency, what is neither the private levels' nor the slice's own
MEMORY_CONTROLLER_NS = 11.5  # each way


class DDR4_3200_8x8(DDR4_2400_8x8):
    """One channel of DDR4-3200 with x8 parts: what the system file's table of times does not have.

    JEDEC JESD79-4 (quoted from memory): openings in one group of banks 4.9 ns, two clocks between reads and
    writes and between ranks.
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
    """

    system: System
    cpus: list
    later_cpus: list
    units: list


def load(path):
    """The plain numbers of a system file: sections of fields, and `unit`, the text form of a PIM unit."""
    whole = json.loads(Path(path).read_text(encoding="utf-8"))

    def plain(value):
        if isinstance(value, dict):
            return value["value"] if "value" in value else {key: plain(item) for key, item in value.items()}
        return value

    return {section: plain(content) for section, content in whole.items()}


def _private_cache(spec, latency, **parameters):
    return Cache(
        size=f"{spec['size']:g}KiB",
        assoc=spec["ways"],
        tag_latency=latency,
        data_latency=latency,
        response_latency=1,
        mshrs=spec["mshrs"],
        tgts_per_mshr=16,
        **parameters,
    )


def _interleaved(start, size, parts, part, line):
    """Lines `part`, `part + parts`, ... of an address range; `parts` is a power of two."""
    bits = (parts - 1).bit_length()
    low = (line - 1).bit_length()
    return AddrRange(start, size=size, intlvHighBit=low + bits - 1, intlvBits=bits, intlvMatch=part)


def _crossbar(kind, clock, **parameters):
    bar = kind(clk_domain=clock, width=64, **parameters)
    # gem5 stops at these limits, which are there to find leaks: 64 cores with 46 lines each under way, and
    # all private caches together, are well below.
    bar.max_routing_table_size = 16384
    bar.max_outstanding_snoops = 16384
    bar.snoop_filter = SnoopFilter(lookup_latency=1, max_capacity="512MiB")
    return bar


def _llc_cycles(llc, nanoseconds):
    return max(1, round(nanoseconds * llc["clock"]))


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
    """The machine of `spec` (from `load`).

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
    clocks = {name: spec[name]["clock"] for name in ("cores", "llc")}
    system.clk_domain = SrcClockDomain(clock=f"{clocks['cores']}GHz", voltage_domain=system.voltage)
    system.mesh_clock = SrcClockDomain(clock=f"{clocks['llc']}GHz", voltage_domain=system.voltage)
    system.mem_mode = "atomic" if cpu == "atomic" else "timing"
    system.mem_ranges = [AddrRange(MEMORY_START, size=memory)]
    size = system.mem_ranges[0].size()

    llc = spec["llc"]
    crossing = _llc_cycles(llc, LLC_CROSSING_NS)
    system.mesh = _crossbar(
        CoherentXBar,
        system.mesh_clock,
        frontend_latency=crossing,
        forward_latency=1,
        response_latency=crossing,
        snoop_response_latency=crossing,
        point_of_unification=True,
    )
    system.memory_bus = _crossbar(SystemXBar, system.mesh_clock)
    system.memory_bus.frontend_latency = 1
    system.memory_bus.response_latency = 1
    _add_slices(system, llc, size, spec, capacity_mode)
    _add_memory(system, spec["memory"], size, int(llc["line"]))
    system.system_port = system.mesh.cpu_side_ports
    cpus = _add_cores(system, spec, cpu, cores) if cpu else []
    if later_cpu:
        system.later_cpus = [
            make_core(later_cpu, spec["cores"], cpu_id=i, switched_out=True) for i in range(cores)
        ]
    found = _add_units(system, spec, units or llc["slices"], capacity_mode) if pim else []
    return Machine(system, cpus, list(system.later_cpus) if later_cpu else [], found)


def _slice_lookup_cycles(llc, l2):
    """What remains of the LLC's load-to-use latency for the slice itself."""
    private = (l2["latency"] + L2_OVERHEAD_CYCLES) / l2["clock"]
    return _llc_cycles(llc, max(0.0, llc["latency"] - private - LLC_PATH_NS))


def _add_slices(system, llc, size, spec, capacity_mode):
    slices, line = llc["slices"], int(llc["line"])
    lookup = _slice_lookup_cycles(llc, {**spec["l2"], "clock": spec["cores"]["clock"]})
    kibibytes, ways = llc["slice_size"] * 1024, llc["ways"]
    if capacity_mode:
        # The arrays add whole ways, as many as fit their bytes.
        pim = spec["pim"]
        extra = pim["arrays"] * pim["rows"] * pim["cols"] / 8 / 1024
        more = int(extra // (kibibytes / ways))
        kibibytes, ways = kibibytes * (ways + more) / ways, ways + more
    system.llc = [
        Cache(
            clk_domain=system.mesh_clock,
            size=f"{kibibytes:g}KiB",
            assoc=ways,
            tag_latency=max(1, lookup // 2),
            data_latency=max(1, lookup - lookup // 2),
            sequential_access=True,
            response_latency=1,
            mshrs=llc["mshrs"],
            tgts_per_mshr=16,
            write_buffers=llc["mshrs"],
            clusivity="mostly_incl",
            addr_ranges=[_interleaved(MEMORY_START, size, slices, i, line)],
            tags=BaseSetAssoc(indexing_policy=SailSliceIndexing(slices=slices)),
        )
        for i in range(slices)
    ]
    for cache in system.llc:
        cache.cpu_side = system.mesh.mem_side_ports
        cache.mem_side = system.memory_bus.cpu_side_ports


def _add_memory(system, memory, size, line):
    channels, parameters = memory["channels"], dram_parameters(memory, line)
    system.memory = [
        MemCtrl(
            dram=DDR4_3200_8x8(range=_interleaved(MEMORY_START, size, channels, i, line), **parameters),
            static_frontend_latency=f"{MEMORY_CONTROLLER_NS}ns",
            static_backend_latency=f"{MEMORY_CONTROLLER_NS}ns",
        )
        for i in range(channels)
    ]
    for controller in system.memory:
        controller.port = system.memory_bus.mem_side_ports


def _add_cores(system, spec, cpu, cores):
    system.cpus = [make_core(cpu, spec["cores"], cpu_id=i) for i in range(cores)]
    system.l2_buses = [L2XBar() for _ in range(cores)]
    l2_latency = max(1, spec["l2"]["latency"] - L2_OVERHEAD_CYCLES)
    l1_latency = max(1, spec["l1d"]["latency"] - LOAD_OVERHEAD)
    system.l1i = [
        _private_cache(spec["l1i"], spec["l1i"]["latency"], is_read_only=True) for _ in range(cores)
    ]
    system.l1d = [
        _private_cache(spec["l1d"], l1_latency, prefetcher=StridePrefetcher(degree=4)) for _ in range(cores)
    ]
    system.l2 = [
        _private_cache(
            spec["l2"], l2_latency, clusivity="mostly_excl", prefetcher=StridePrefetcher(degree=8, latency=1)
        )
        for _ in range(cores)
    ]
    for i, core in enumerate(system.cpus):
        core.icache_port = system.l1i[i].cpu_side
        core.dcache_port = system.l1d[i].cpu_side
        core.mmu.connectWalkerPorts(system.l2_buses[i].cpu_side_ports, system.l2_buses[i].cpu_side_ports)
        system.l1i[i].mem_side = system.l2_buses[i].cpu_side_ports
        system.l1d[i].mem_side = system.l2_buses[i].cpu_side_ports
        system.l2[i].cpu_side = system.l2_buses[i].mem_side_ports
        system.l2[i].mem_side = system.mesh.cpu_side_ports
        core.createInterruptController()
    return list(system.cpus)


def unit_parameters(pim, line):
    """SailPimUnit's parameters from a machine's `pim` section, but for the text form of the unit."""
    return {
        "queue_depth": pim["queue"],
        "max_outstanding": pim["mshrs"],
        "fetch_ahead": f"{round(pim['fetch_ahead'] * pim['mshrs'] * line)}B",
        "doorbell_addr": DOORBELL_PHYSICAL,
    }


def _write_unit(text):
    """Put the text form of a unit beside gem5's output, where every unit reads it; return its path."""
    path = Path(m5.options.outdir) / "unit.txt"
    path.write_text(text, encoding="utf-8")
    return str(path)


def _add_units(system, spec, count, capacity_mode):
    if "unit" not in spec:
        raise ValueError("the machine has no unit: `sailsim gem5` writes it, from a system file with [pim]")
    pim = spec["pim"]
    system.pim_clock = SrcClockDomain(clock=f"{pim['clock']}GHz", voltage_domain=system.voltage)
    parameters = unit_parameters(pim, int(spec["llc"]["line"])) | {"unit_file": _write_unit(spec["unit"])}
    if capacity_mode:
        # Half of the lines are taken for dirty; a line leaves the arrays over the port.
        lines = pim["arrays"] * pim["rows"] * pim["cols"] // 8 // 64
        parameters.update(stores_when_idle=True, flush_time=lines // 2 * max(1, 64 // int(pim["port"])))
    system.units = [SailPimUnit(unit=i, clk_domain=system.pim_clock, **parameters) for i in range(count)]
    system.units[0].absent_from = count
    # Keeps a unit's accesses coherent with the cores' caches; its MSHRs bound what the unit has under way.
    system.unit_caches = [
        Cache(
            clk_domain=system.pim_clock,
            size=f"{pim['unit_cache']:g}KiB",
            assoc=4,
            tag_latency=1,
            data_latency=1,
            response_latency=1,
            mshrs=pim["mshrs"],
            tgts_per_mshr=4,
            write_buffers=pim["mshrs"],
        )
        for _ in range(count)
    ]
    for unit, cache in zip(system.units, system.unit_caches, strict=True):
        unit.doorbell = system.mesh.mem_side_ports
        unit.mem_side = cache.cpu_side
        cache.mem_side = system.mesh.cpu_side_ports
    return list(system.units)
