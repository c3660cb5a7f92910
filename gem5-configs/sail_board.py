# SPDX-License-Identifier: BSD-3-Clause
"""LLC slices with PIM units for a board of gem5's standard library.

Put this folder on Python's path in your script, and give your board a `SailCacheHierarchy` and the cores of
`sail_processor`:

    spec = hierarchy.load("machine.json")    # written by `sailsim gem5 machine sail-n1 --out machine.json`
    board = SimpleBoard(
        clk_freq="2.5GHz",
        processor=sail_processor(spec, cores=2, model="o3"),
        memory=SingleChannelDDR4_2400(size="1GiB"),
        cache_hierarchy=SailCacheHierarchy(spec),
    )

Doorbells are mapped for every program of the board when it starts. example_board.py is a whole script.
"""

import hierarchy
from core import CPU_MODELS, make_core
from gem5.components.cachehierarchies.abstract_cache_hierarchy import AbstractCacheHierarchy
from gem5.components.cachehierarchies.classic.abstract_classic_cache_hierarchy import (
    AbstractClassicCacheHierarchy,
)
from gem5.components.processors.base_cpu_core import BaseCPUCore
from gem5.components.processors.base_cpu_processor import BaseCPUProcessor
from gem5.isas import ISA
from gem5.utils.override import overrides
from m5.defines import buildEnv

# Without Ruby gem5 has no protocol, but the standard library requires its name for a comparison.
buildEnv["PROTOCOL"] = buildEnv.get("PROTOCOL") or "MI_example"


def sail_processor(spec, cores, model="o3"):
    """Processor whose cores execute LUTMM.

    Args:
        spec: a machine, from `hierarchy.load`.
        cores: number of cores.
        model: model of the cores, a key of core.CPU_MODELS: atomic, timing, minor, o3.
    """
    if model not in CPU_MODELS:
        raise ValueError(f"model is {model!r}; allowed: {', '.join(sorted(CPU_MODELS))}")
    return BaseCPUProcessor(
        cores=[BaseCPUCore(core=make_core(model, spec["cores"], cpu_id=i), isa=ISA.ARM) for i in range(cores)]
    )


class SailCacheHierarchy(AbstractClassicCacheHierarchy):
    """Private caches, the LLC in slices behind a crossbar, and a PIM unit at each slice.

    Args:
        spec: a machine, from `hierarchy.load`.
        units: number of PIM units, 0..64; default: one per slice.
        capacity_mode: idle arrays extend their slice, and computing starts with a flush.
    """

    def __init__(self, spec, units=None, capacity_mode=False):
        super().__init__()
        self._spec, self._units, self._capacity_mode = spec, units, capacity_mode

    @overrides(AbstractClassicCacheHierarchy)
    def get_mem_side_port(self):
        """Port for memory and devices."""
        return self.memory_bus.mem_side_ports

    @overrides(AbstractClassicCacheHierarchy)
    def get_cpu_side_port(self):
        """Port for requestors."""
        return self.mesh.cpu_side_ports

    @overrides(AbstractCacheHierarchy)
    def incorporate_cache(self, board):
        """Make the caches and units, and connect them to the board's cores and memory."""
        spec, line = self._spec, int(self._spec["llc"]["line"])
        if int(board.get_cache_line_size()) != line:
            raise ValueError(
                f"the board's cache line has {board.get_cache_line_size()} bytes; allowed: {line}"
            )
        if len(board.mem_ranges) != 1:
            raise ValueError(f"the board has {len(board.mem_ranges)} ranges of memory; allowed: one")
        voltage = board.get_clock_domain().voltage_domain[0]
        hierarchy.add_crossbars(self, spec, voltage)
        hierarchy.add_slices(self, spec, board.mem_ranges[0], self._capacity_mode)
        for _, port in board.get_memory().get_mem_ports():
            self.memory_bus.mem_side_ports = port
        board.connect_system_port(self.mesh.cpu_side_ports)
        self._board = board
        cpus = [core.get_simobject() for core in board.get_processor().get_cores()]
        hierarchy.add_private_caches(self, spec, cpus)
        hierarchy.add_units(self, spec, self._units, voltage, self._capacity_mode)
        hierarchy.emulate_linux(board)

    @overrides(AbstractCacheHierarchy)
    def _post_instantiate(self):
        # The page table of a checkpoint has the doorbells.
        if getattr(self._board, "_checkpoint", None):
            return
        processes = []
        for core in self._board.get_processor().get_cores():
            processes += [each for each in core.get_simobject().workload if each not in processes]
        for process in processes:
            hierarchy.map_doorbells(process)
