# SPDX-License-Identifier: BSD-3-Clause
"""The PIM unit of an LLC slice, and a device that replays descriptors without a core."""

from m5.objects.ClockedObject import ClockedObject
from m5.params import Param, RequestPort, ResponsePort
from m5.proxy import Parent


class SailPimUnit(ClockedObject):
    type = "SailPimUnit"
    cxx_class = "gem5::sail::PimUnit"
    cxx_header = "gem5/pim_unit.hh"

    system = Param.System(Parent.any, "System whose memory and threads the unit serves")
    doorbell = ResponsePort("Takes addresses of descriptors; connect it where cores reach devices")
    mem_side = RequestPort(
        "Reads operands and writes results; put a small cache between it and the LLC's crossbar, so "
        "that dirty lines of the cores' caches are seen"
    )

    unit = Param.Unsigned(0, "Number of the unit, as in the instruction")
    absent_from = Param.Unsigned(
        64, "Units from this number to 63 are not there, and this unit says so in their place; 64: none"
    )
    doorbell_addr = Param.Addr("Physical address of unit 0's doorbell, outside all memory")
    accept_latency = Param.Cycles(1, "From a store at the doorbell to its acknowledgement")
    queue_depth = Param.Unsigned(
        4, "Descriptors that wait; a store beyond them is acknowledged when one leaves the queue"
    )
    max_outstanding = Param.Unsigned(
        16, "Lines under way; with a cache at mem_side no more than its MSHRs are of use"
    )
    fetch_ahead = Param.MemorySize(
        "1KiB", "Weights that may be under way or wait for the arrays beyond the group in turn"
    )

    # The arrays and the DFM: sim_ext/pim/config.hh. A system file (sailsim systems) gives all of them.
    substrate = Param.String("Table of costs: row_dfm, bit_serial or bit_parallel")
    rows = Param.Unsigned("Rows of a C-SRAM array")
    cols = Param.Unsigned("Cells of a row")
    arrays = Param.Unsigned("Arrays of the slice, in lockstep")
    port_bytes = Param.Unsigned("Bytes a cycle between the slice and its arrays")
    accumulator_bits = Param.Unsigned("Bits of an integer accumulator")
    prt_entries = Param.Unsigned("Entries of the pattern reuse table; 0 is none")
    prt_policy = Param.String("Replacement of the PRT: lru, fifo or direct")
    t_zero = Param.Unsigned("Cycles of the all-zero pattern")
    t_prt = Param.Unsigned("Cycles of a PRT hit")
    double_buffer = Param.Bool("Load the next group while one is worked on")

    # Capacity mode: idle arrays extend the slice (give its cache the size and ways for that). Lines of that
    # cache are not moved; the flush only takes its time.
    stores_when_idle = Param.Bool(False, "Idle arrays hold cache lines")
    flush_time = Param.Cycles(0, "To empty the arrays before they compute")
    settle_time = Param.Cycles(100000, "Idle time after which the arrays hold lines again")
