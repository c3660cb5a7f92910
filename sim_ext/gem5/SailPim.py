# SPDX-License-Identifier: BSD-3-Clause
"""The PIM unit of an LLC slice, a slice's index, and a device that replays descriptors without a core."""

from m5.objects.ClockedObject import ClockedObject
from m5.objects.IndexingPolicies import BaseIndexingPolicy
from m5.params import Param, RequestPort, ResponsePort, VectorParam
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

    unit_file = Param.String(
        "The arrays and the DFM: a file with their text form (sim_ext/pim/config.hh), which "
        "`sailsim show system NAME --as unit` writes from a system file"
    )

    # Capacity mode: idle arrays extend the slice (give its cache the size and ways for that). Lines of that
    # cache are not moved; the flush only takes its time.
    stores_when_idle = Param.Bool(False, "Idle arrays hold cache lines")
    flush_time = Param.Cycles(0, "To empty the arrays before they compute")
    settle_time = Param.Cycles(100000, "Idle time after which the arrays hold lines again")


class SailSliceIndexing(BaseIndexingPolicy):
    type = "SailSliceIndexing"
    cxx_class = "gem5::sail::SliceIndexing"
    cxx_header = "gem5/slice_indexing.hh"

    slices = Param.Unsigned("Slices that take lines in turn")


class SailReplayer(ClockedObject):
    type = "SailReplayer"
    cxx_class = "gem5::sail::Replayer"
    cxx_header = "gem5/replayer.hh"

    system = Param.System(Parent.any, "System whose memory takes the trace")
    port = RequestPort("Rings doorbells and polls completion records; connect it to the LLC's crossbar")

    trace = Param.String("Trace file (docs/contract.md)")
    image_addr = Param.Addr("Physical address that the trace's image is put at, a multiple of 64")
    doorbell_addr = Param.Addr("Physical address of unit 0's doorbell")
    units = Param.Unsigned("Units: descriptor i goes to unit i modulo units")
    phase_ends = VectorParam.UInt64(
        [],
        "Ascending numbers of descriptors: those from one number on are handed over when all before it have "
        "been answered; empty: one phase",
    )
    poll_period = Param.Cycles(100, "Between two looks at a completion record")
