# SPDX-License-Identifier: BSD-3-Clause
"""Memory hierarchy of a machine: private caches, LLC slices behind a crossbar, and a PIM unit at each slice.

Every function makes its SimObjects below an `owner`: the whole system (machine.py), or a component of gem5's
standard library (sail_board.py). `spec` is a machine in plain numbers, from `load`.
"""

import json
from pathlib import Path

import m5
from core import LOAD_OVERHEAD
from m5.objects import (
    AddrRange,
    ArmEmuLinux,
    BaseSetAssoc,
    Cache,
    CoherentXBar,
    L2XBar,
    SailEmuLinux,
    SailPimUnit,
    SailSliceIndexing,
    SnoopFilter,
    SrcClockDomain,
    StridePrefetcher,
    SystemXBar,
)

# Physical address of unit 0's doorbell, above all memory; the virtual one is the decoder's default.
DOORBELL_PHYSICAL = 1 << 44
DOORBELL_VIRTUAL = 0x7000000000
DOORBELL_STRIDE = 4096
UNITS_MAX = 64  # most units that the instruction can address

# Parts of a load's latency in the caches and crossbars below; fitted with the pointer chase to the latencies
# of the system file (docs/gem5.md has the table).
L2_OVERHEAD_CYCLES = 8
LLC_CROSSING_NS = 5.5  # each way through the mesh
LLC_PATH_NS = 8.5  # part of the LLC's latency that is neither in the private levels nor in the slice


def load(path):
    """Plain numbers of a system file by section and field, with `unit`, the text form of a PIM unit."""

    def plain(value):
        if isinstance(value, dict):
            return value["value"] if "value" in value else {key: plain(item) for key, item in value.items()}
        return value

    return plain(json.loads(Path(path).read_text(encoding="utf-8")))


def interleaved(whole, parts, part, line):
    """Address range of the lines `part`, `part + parts`, ... of a range. Raises ValueError unless `parts` is
    a power of two."""
    bits = (parts - 1).bit_length()
    if parts != 1 << bits:
        raise ValueError(f"memory in turn over {parts} slices or channels; gem5 allows a power of two")
    low = (line - 1).bit_length()
    return AddrRange(
        whole.start, size=whole.size(), intlvHighBit=low + bits - 1, intlvBits=bits, intlvMatch=part
    )


def _crossbar(kind, clock, **parameters):
    bar = kind(clk_domain=clock, width=64, **parameters)
    # gem5 stops at these limits to find leaks; 64 cores with 46 outstanding lines each, and all private
    # caches together, stay well below.
    bar.max_routing_table_size = 16384
    bar.max_outstanding_snoops = 16384
    bar.snoop_filter = SnoopFilter(lookup_latency=1, max_capacity="512MiB")
    return bar


def _cache(kibibytes, ways, latency, mshrs, **parameters):
    latencies = {"tag_latency": latency, "data_latency": latency, "response_latency": 1}
    shape = {"size": f"{kibibytes:g}KiB", "assoc": ways, "mshrs": mshrs, "tgts_per_mshr": 16}
    return Cache(**{**latencies, **shape, **parameters})


def _llc_cycles(llc, nanoseconds):
    return max(1, round(nanoseconds * llc["clock"]))


def add_crossbars(owner, spec, voltage):
    """Add the LLC's crossbar `mesh` with its clock, and `memory_bus` between slices and memory."""
    llc = spec["llc"]
    owner.mesh_clock = SrcClockDomain(clock=f"{llc['clock']}GHz", voltage_domain=voltage)
    crossing = _llc_cycles(llc, LLC_CROSSING_NS)
    owner.mesh = _crossbar(
        CoherentXBar,
        owner.mesh_clock,
        frontend_latency=crossing,
        forward_latency=1,
        response_latency=crossing,
        snoop_response_latency=crossing,
        point_of_unification=True,
    )
    owner.memory_bus = _crossbar(SystemXBar, owner.mesh_clock, frontend_latency=1, response_latency=1)


def array_bytes(pim):
    """Capacity of a slice's arrays in bytes."""
    return pim["arrays"] * pim["rows"] * pim["cols"] // 8


def add_slices(owner, spec, memory, capacity_mode=False):
    """Add LLC slices, which interleave the lines of an address range."""
    llc = spec["llc"]
    slices, line = llc["slices"], int(llc["line"])
    # The slice's own part of the LLC's load-to-use latency.
    private = (spec["l2"]["latency"] + L2_OVERHEAD_CYCLES) / spec["cores"]["clock"]
    lookup = _llc_cycles(llc, max(0.0, llc["latency"] - private - LLC_PATH_NS))
    kibibytes, ways = llc["slice_size"] * 1024, llc["ways"]
    if capacity_mode:
        # The arrays add as many whole ways as they can hold.
        more = int(array_bytes(spec["pim"]) / 1024 // (kibibytes / ways))
        kibibytes, ways = kibibytes * (ways + more) / ways, ways + more
    parameters = {
        "clk_domain": owner.mesh_clock,
        "data_latency": max(1, lookup - lookup // 2),
        "sequential_access": True,
        "write_buffers": llc["mshrs"],
        "clusivity": "mostly_incl",
    }
    tag_latency = max(1, lookup // 2)
    owner.llc = [_cache(kibibytes, ways, tag_latency, llc["mshrs"], **parameters) for _ in range(slices)]
    for i, cache in enumerate(owner.llc):
        cache.addr_ranges = [interleaved(memory, slices, i, line)]
        cache.tags = BaseSetAssoc(indexing_policy=SailSliceIndexing(slices=slices))
        cache.cpu_side = owner.mesh.mem_side_ports
        cache.mem_side = owner.memory_bus.cpu_side_ports


def add_private_caches(owner, spec, cpus):
    """Add first- and second-level caches of cores, connected to the LLC's crossbar."""

    def caches(level, overhead=0, **parameters):
        own, latency = spec[level], max(1, spec[level]["latency"] - overhead)
        return [_cache(own["size"], own["ways"], latency, own["mshrs"], **parameters) for _ in cpus]

    owner.l2_buses = [L2XBar(max_routing_table_size=16384) for _ in cpus]
    owner.l1i = caches("l1i", is_read_only=True)
    owner.l1d = caches("l1d", LOAD_OVERHEAD)
    owner.l2 = caches("l2", L2_OVERHEAD_CYCLES, clusivity="mostly_excl")
    for i, core in enumerate(cpus):
        owner.l1d[i].prefetcher = StridePrefetcher(degree=4)
        owner.l2[i].prefetcher = StridePrefetcher(degree=8, latency=1)
        core.icache_port = owner.l1i[i].cpu_side
        core.dcache_port = owner.l1d[i].cpu_side
        core.mmu.connectWalkerPorts(owner.l2_buses[i].cpu_side_ports, owner.l2_buses[i].cpu_side_ports)
        owner.l1i[i].mem_side = owner.l2_buses[i].cpu_side_ports
        owner.l1d[i].mem_side = owner.l2_buses[i].cpu_side_ports
        owner.l2[i].cpu_side = owner.l2_buses[i].mem_side_ports
        owner.l2[i].mem_side = owner.mesh.cpu_side_ports
        core.createInterruptController()


def add_units(owner, spec, units, voltage, capacity_mode=False, doorbell=DOORBELL_PHYSICAL):
    """Add `units` PIM units (None: one per slice), each with a small cache at the LLC's crossbar; `doorbell`
    is a physical address. Raises ValueError for a bad number, and for a machine without a unit."""
    count = spec["llc"]["slices"] if units is None else units
    if not 0 <= count <= UNITS_MAX:
        raise ValueError(f"units is {count}; allowed: 0..{UNITS_MAX}")
    if count == 0:
        return []
    if "unit" not in spec:
        raise ValueError("the machine has no unit: `sailsim gem5` writes it, from a system file with [pim]")
    pim, line = spec["pim"], int(spec["llc"]["line"])
    text = Path(m5.options.outdir) / "unit.txt"  # the text form of a unit, which every unit reads
    text.write_text(spec["unit"], encoding="utf-8")
    parameters = {
        "queue_depth": pim["queue"],
        "max_outstanding": pim["mshrs"],
        "fetch_ahead": f"{round(pim['fetch_ahead'] * pim['mshrs'] * line)}B",
        "doorbell_addr": doorbell,
        "unit_file": str(text),
    }
    if capacity_mode:
        # Half of the lines are assumed dirty; a line leaves the arrays over the port.
        lines = array_bytes(pim) // 64
        parameters.update(stores_when_idle=True, flush_time=lines // 2 * max(1, 64 // int(pim["port"])))
    clock = owner.pim_clock = SrcClockDomain(clock=f"{pim['clock']}GHz", voltage_domain=voltage)
    owner.units = [SailPimUnit(unit=i, clk_domain=clock, **parameters) for i in range(count)]
    owner.units[0].absent_from = count
    # Keeps a unit coherent with the cores' caches; its MSHRs bound the unit's outstanding accesses.
    cache_parameters = {"clk_domain": clock, "tgts_per_mshr": 4, "write_buffers": pim["mshrs"]}
    owner.unit_caches = [
        _cache(pim["unit_cache"], 4, 1, pim["mshrs"], **cache_parameters) for _ in range(count)
    ]
    for unit, cache in zip(owner.units, owner.unit_caches, strict=True):
        unit.doorbell = owner.mesh.mem_side_ports
        unit.mem_side = cache.cpu_side
        cache.mem_side = owner.mesh.cpu_side_ports
    return list(owner.units)


def emulate_linux(system):
    """Give a system the Linux emulation that units and threads need, in place of gem5's for AArch64."""
    if type(system.workload) is ArmEmuLinux:
        system.workload = SailEmuLinux()


def map_doorbells(process):
    """Map the doorbells of all addressable units into a process; the first unit answers for missing ones.
    Call it after `m5.instantiate`, but not with a checkpoint, whose page table has them."""
    process.map(DOORBELL_VIRTUAL, DOORBELL_PHYSICAL, DOORBELL_STRIDE * UNITS_MAX, False)
