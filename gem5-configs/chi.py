# SPDX-License-Identifier: BSD-3-Clause
"""The same machines with Arm's CHI protocol, in gem5's Ruby: a gem5 built with RUBY and RUBY_PROTOCOL_CHI.

A core with its private caches is a request node, an LLC slice a home node for the lines that it takes in
turn, a channel of memory a subordinate node. A PIM unit is a request node without a cache: home nodes snoop
the cores for what it reads and take away what it writes, so it needs no small cache of its own.
"""

import hierarchy
from core import LOAD_OVERHEAD, make_core
from m5 import objects
from m5.defines import buildEnv
from m5.params import NULL
from machine import Machine, add_memory
from preload import give_up

VIRTUAL_NETWORKS = 4  # requests, snoops, responses, data
HEADER = 8  # bytes of a message beside its data

# How a load's way splits over what is below, as in hierarchy.py; fitted with the pointer chase, so that
# sail-n1's latencies of L1 and L2 come out (docs/gem5.md).
L1_OVERHEAD_CYCLES = LOAD_OVERHEAD + 1
L2_OVERHEAD_CYCLES = 9
SNOOPS = 32  # that a private cache works on at once: never what limits

# Where a cache keeps what passes through it, of the choices of _POLICIES; what is not named is off.
_PRIVATE = {
    "alloc_on_readshared": True,
    "alloc_on_readunique": True,
    "alloc_on_readonce": True,
    "alloc_on_writeback": True,
    "dealloc_backinv_unique": True,
    "dealloc_backinv_shared": True,
    "allow_SD": True,
}
_HOME = {
    "is_HN": True,
    "enable_DMT": True,  # memory answers the core, and not the slice
    "enable_DCT": True,
    "alloc_on_readshared": True,
    "alloc_on_readonce": True,
    "alloc_on_writeback": True,
    "alloc_on_atomic": True,
    "dealloc_on_unique": True,
    "allow_SD": True,
}
_POLICIES = (
    "is_HN",
    "enable_DMT",
    "enable_DCT",
    "allow_SD",
    "alloc_on_seq_acc",
    "alloc_on_seq_line_write",
    "alloc_on_readshared",
    "alloc_on_readunique",
    "alloc_on_readonce",
    "alloc_on_writeback",
    "alloc_on_atomic",
    "dealloc_on_unique",
    "dealloc_on_shared",
    "dealloc_backinv_unique",
    "dealloc_backinv_shared",
)

# Options of the scripts that CHI machines cannot follow, and why.
_REFUSED = {
    "start_with": "Ruby has no atomic mode and hands no cache over",
    "restore": "CHI's controllers write no checkpoints",
    "checkpoint": "CHI's controllers write no checkpoints",
    "checkpoint_at": "CHI's controllers write no checkpoints",
    "capacity_mode": "a slice's ways are those of the system file",
}


def add_option(parser):
    """`--coherence` of a script."""
    parser.add_argument(
        "--coherence",
        choices=("classic", "chi"),
        default="classic",
        help="gem5's classic caches, or Ruby's with the CHI protocol",
    )


def require(options):
    """End gem5 with a sentence where it lacks Ruby with CHI, or an option cannot be followed."""
    if buildEnv.get("PROTOCOL") != "CHI":
        give_up("this gem5 has no Ruby with CHI; build it with RUBY=y and RUBY_PROTOCOL_CHI=y")
    if getattr(options, "cpu", None) == "atomic":
        give_up("cpu is atomic beside coherence chi; allowed: timing, minor, o3")
    for name, why in _REFUSED.items():
        if getattr(options, name, None):
            give_up(f"{name.replace('_', '-')} is given beside coherence chi, where {why}")


class _Network:
    """Ruby's network while it is built: a router for all home nodes, memory and units, and one a core.

    Every message crosses the first; what goes between a core's own caches stays at the core's.
    """

    def __init__(self, system, spec, clock):
        self.system, self.line = system, int(spec["llc"]["line"])
        self.ruby = system.ruby = objects.RubySystem(
            block_size_bytes=self.line, number_of_virtual_networks=VIRTUAL_NETWORKS, clk_domain=clock
        )
        self.network = self.ruby.network = objects.SimpleNetwork(
            ruby_system=self.ruby,
            topology="star",
            number_of_virtual_networks=VIRTUAL_NETWORKS,
            control_msg_size=HEADER,
            data_msg_size=self.line,
            netifs=[],
        )
        self.crossing = max(1, round(hierarchy.LLC_CROSSING_NS * spec["llc"]["clock"]))
        self.routers, self.inner = [], []
        self.controllers, self.places, self.sequencers = [], [], []
        self.ringing = []  # sequencers of what may ring a doorbell
        self.middle = self.router()

    def router(self, **parameters):
        made = objects.Switch(router_id=len(self.routers), **parameters)
        self.routers.append(made)
        return made

    def join(self, router):
        """Connect a core's router with the middle one, both ways."""
        for ends in ((router, self.middle), (self.middle, router)):
            self.inner.append(
                objects.SimpleIntLink(
                    link_id=len(self.inner),
                    src_node=ends[0],
                    dst_node=ends[1],
                    latency=self.crossing,
                    bandwidth_factor=self.line + HEADER,
                )
            )

    def attach(self, controller, router, latency=1):
        """Give a node the buffers of its messages, and a place at a router."""
        for message in ("req", "rsp", "snp", "dat"):
            out, into = objects.MessageBuffer(), objects.MessageBuffer()
            setattr(controller, f"{message}Out", out)
            setattr(controller, f"{message}In", into)
            out.out_port = self.network.in_port
            into.in_port = self.network.out_port
        self.places.append((router, latency))
        self.controllers.append(controller)

    def version(self, kind):
        """The number that a node has among those of its class."""
        return sum(isinstance(node, kind) for node in self.controllers)

    def sequencer(self, outstanding, dcache=NULL, **parameters):
        """What turns a port's accesses into requests of a node."""
        made = objects.RubySequencer(
            version=len(self.sequencers),
            ruby_system=self.ruby,
            dcache=dcache,
            max_outstanding_requests=outstanding,
            **parameters,
        )
        self.sequencers.append(made)
        return made

    def cache_node(self, cache, entries, policies, sequencer=NULL, **parameters):
        """A node with a cache, or with none that ever holds a line."""
        choices = {name: policies.get(name, False) for name in _POLICIES}
        return objects.Cache_Controller(
            version=self.version(objects.Cache_Controller),
            ruby_system=self.ruby,
            cache=cache,
            sequencer=sequencer,
            prefetcher=NULL,
            use_prefetcher=False,
            mandatoryQueue=objects.MessageBuffer(),
            prefetchQueue=objects.MessageBuffer(),
            triggerQueue=_immediate(),
            retryTriggerQueue=_immediate(ordered=True),
            replTriggerQueue=_immediate(ordered=True),
            reqRdy=_immediate(),
            snpRdy=_immediate(),
            transitions_per_cycle=1024,  # what a node does at once is bounded by its entries
            number_of_TBEs=entries,
            number_of_repl_TBEs=entries,
            number_of_snoop_TBEs=SNOOPS,
            number_of_DVM_TBEs=1,
            number_of_DVM_snoop_TBEs=1,
            unify_repl_TBEs=False,
            data_channel_size=self.line,
            **choices,
            **{"send_evictions": False, "sc_lock_enabled": False, **parameters},
        )

    def finish(self):
        """Tell Ruby what there is; ends gem5 where there are more nodes than this gem5 can name."""
        most = int(buildEnv.get("NUMBER_BITS_PER_SET", 64))
        nodes = self.version(objects.Cache_Controller)
        if nodes > most:
            give_up(
                f"the machine has {nodes} CHI nodes (3 a core, one a slice, a unit, a device) and this gem5 "
                f"names {most}; take fewer cores or units, or build it with a larger NUMBER_BITS_PER_SET"
            )
        self.network.routers = self.routers
        # Only now, when every node has its place in the machine: a link would take it for its own.
        self.network.ext_links = [
            objects.SimpleExtLink(
                link_id=i,
                ext_node=node,
                int_node=router,
                latency=latency,
                bandwidth_factor=self.line + HEADER,
            )
            for i, (node, (router, latency)) in enumerate(zip(self.controllers, self.places, strict=True))
        ]
        self.network.int_links = self.inner
        self.network.setup_buffers()
        self.ruby.num_of_sequencers = len(self.sequencers)


def _immediate(**parameters):
    """A queue by which a node wakes itself up."""
    return objects.MessageBuffer(randomization="disabled", allow_zero_latency=True, **parameters)


def _cache(spec, latency, first_bit, **parameters):
    """A cache of which a hit takes `latency` cycles, tags first."""
    tags = max(1, latency // 3)
    return objects.RubyCache(
        size=f"{spec['size']:g}KiB",
        assoc=spec["ways"],
        start_index_bit=first_bit,
        tagAccessLatency=tags,
        dataAccessLatency=max(1, latency - tags),
        **parameters,
    )


def _add_core(net, spec, core):
    """A core's caches and its way to them; returns the node that asks the home nodes."""
    router = net.router(clk_domain=net.system.clk_domain)
    net.join(router)
    first = (net.line - 1).bit_length()
    core.l2 = net.cache_node(
        _cache(spec["l2"], max(2, spec["l2"]["latency"] - L2_OVERHEAD_CYCLES), first),
        spec["l2"]["mshrs"],
        _PRIVATE,
        clk_domain=net.system.clk_domain,
    )
    net.attach(core.l2, router)
    for name in ("l1i", "l1d"):
        level, data = spec[name], name == "l1d"
        latency = max(2, level["latency"] - L1_OVERHEAD_CYCLES)
        cache = _cache(level, latency, first, is_icache=not data)
        sequencer = net.sequencer(level["mshrs"], cache if data else NULL, clk_domain=net.system.clk_domain)
        node = net.cache_node(
            cache,
            level["mshrs"],
            {**_PRIVATE, "alloc_on_seq_acc": True},
            sequencer,
            send_evictions=True,  # O3 and the exclusive monitor have to know
            sc_lock_enabled=data,
            clk_domain=net.system.clk_domain,
            downstream_destinations=[core.l2],
        )
        setattr(core, name, node)
        net.attach(node, router)
        setattr(core, "dcache_port" if data else "icache_port", sequencer.in_ports)
        if data:
            core.mmu.connectWalkerPorts(sequencer.in_ports, sequencer.in_ports)
            net.ringing.append(sequencer)
    core.createInterruptController()
    return core.l2


def _add_home_nodes(net, spec, memory):
    """An LLC slice each, of the lines of an address range that come to it in turn."""
    llc = spec["llc"]
    slices, first = llc["slices"], (net.line - 1).bit_length()
    size = {"size": llc["slice_size"] * 1024, "ways": llc["ways"]}
    lookup = hierarchy.slice_lookup_cycles(llc, {**spec["l2"], "clock": spec["cores"]["clock"]})
    nodes = []
    for i in range(slices):
        node = net.cache_node(
            _cache(size, lookup, first + (slices - 1).bit_length()),
            llc["mshrs"],
            _HOME,
            addr_ranges=[hierarchy.interleaved(memory, slices, i, net.line)],
        )
        net.attach(node, net.middle)
        nodes.append(node)
    net.system.llc = nodes
    return nodes


def _add_memory_nodes(net, spec):
    nodes = []
    for channel in add_memory(net.system, spec):
        node = objects.Memory_Controller(
            version=net.version(objects.Memory_Controller),
            ruby_system=net.ruby,
            triggerQueue=_immediate(),
            responseFromMemory=objects.MessageBuffer(randomization="disabled", ordered=True),
            requestToMemory=objects.MessageBuffer(randomization="disabled", ordered=True),
            reqRdy=_immediate(),
            transitions_per_cycle=1024,
            data_channel_size=net.line,
            addr_ranges=[channel.dram.range],
        )
        # A node forgets a write that it has queued: without a bound any number could be under way.
        node.requestToMemory.buffer_size = int(node.to_memory_controller_latency) + 1
        node.memory_out_port = channel.port
        net.attach(node, net.middle)
        nodes.append(node)
    net.system.memory_nodes = nodes
    return nodes


def _add_device_bus(net):
    """The way to the doorbells, which are no memory: Ruby hands on what is outside of it as it is."""
    system = net.system
    system.device_bus = objects.NoncoherentXBar(
        clk_domain=system.mesh_clock,
        width=64,
        frontend_latency=net.crossing,
        forward_latency=1,
        response_latency=net.crossing,
    )


def _add_requestor(net, port_owner, name, outstanding, clock):
    """A request node that holds no line; its sequencer takes what comes from a unit or a device."""
    sequencer = net.sequencer(outstanding, clk_domain=clock, is_cpu_sequencer=False)
    nothing = objects.RubyCache(size=f"{2 * net.line}B", assoc=1, tagAccessLatency=1, dataAccessLatency=1)
    node = net.cache_node(nothing, outstanding, {}, sequencer, clk_domain=clock)
    setattr(port_owner, name, node)
    net.attach(node, net.middle, net.crossing)
    return node


def build(spec, *, cpu="o3", cores=1, pim=True, units=None, memory="2GiB", shared_memory="", outside=0):
    """The machine of `spec` (from `hierarchy.load`) with CHI; see machine.build.

    Args:
        outside: how many more requestors there are (`Machine.requestor` gives their ports), as a replayer.

    Returns:
        Machine.
    """
    system = objects.System(cache_line_size=int(spec["llc"]["line"]))
    system.shared_backstore = shared_memory
    system.voltage = objects.VoltageDomain()
    system.clk_domain = objects.SrcClockDomain(
        clock=f"{spec['cores']['clock']}GHz", voltage_domain=system.voltage
    )
    system.mem_mode = "timing"
    system.mem_ranges = [objects.AddrRange(0, size=memory)]
    system.mesh_clock = objects.SrcClockDomain(
        clock=f"{spec['llc']['clock']}GHz", voltage_domain=system.voltage
    )
    net = _Network(system, spec, system.mesh_clock)
    asking = []
    if cpu:
        system.cpus = [make_core(cpu, spec["cores"], cpu_id=i) for i in range(cores)]
        asking = [_add_core(net, spec, core) for core in system.cpus]
    homes = _add_home_nodes(net, spec, system.mem_ranges[0])
    memories = _add_memory_nodes(net, spec)
    found = []
    if pim:
        _add_device_bus(net)
        found = hierarchy.make_units(system, spec, units, system.voltage)
        for unit in found:
            node = _add_requestor(net, unit, "node", spec["pim"]["mshrs"], system.pim_clock)
            unit.mem_side = node.sequencer.in_ports
            unit.doorbell = system.device_bus.mem_side_ports
            asking.append(node)
    places = []
    for i in range(outside):
        node = _add_requestor(net, system, f"outside{i}", 2 * hierarchy.UNITS_MAX, system.mesh_clock)
        asking.append(node)
        net.ringing.append(node.sequencer)
        places.append(node.sequencer.in_ports)
    if pim:
        for sequencer in net.ringing:
            sequencer.mem_request_port = system.device_bus.cpu_side_ports
    for node in asking:
        node.downstream_destinations = homes
    for node in homes:
        node.downstream_destinations = memories
    # Loads programs and checks results: it sees what all nodes hold, and takes no time.
    system.loader = objects.RubyPortProxy(ruby_system=net.ruby)
    system.system_port = system.loader.in_ports
    net.finish()
    left = iter(places)
    return Machine(system, list(system.cpus) if cpu else [], [], found, lambda: next(left))
