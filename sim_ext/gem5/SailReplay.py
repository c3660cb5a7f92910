# SPDX-License-Identifier: BSD-3-Clause
"""What a system without, or beside, cores needs: a device that replays a trace, and the index of a slice."""

from m5.objects.ClockedObject import ClockedObject
from m5.params import Param, RequestPort, VectorParam
from m5.proxy import Parent

try:  # gem5 after 24.0: a cache's own kind of policy
    from m5.objects.Tags import TaggedIndexingPolicy as IndexingPolicy
except ImportError:
    from m5.objects.IndexingPolicies import BaseIndexingPolicy as IndexingPolicy


class SailSliceIndexing(IndexingPolicy):
    type = "SailSliceIndexing"
    cxx_class = "gem5::sail::SliceIndexing"
    cxx_header = "gem5/slice_indexing.hh"

    slices = Param.Unsigned("Slices that take lines in turn")
    if "size" not in IndexingPolicy._params:  # gem5 after 24.0: each policy says by itself what it needs
        size = Param.MemorySize(Parent.size, "Capacity of the slice in bytes")
        entry_size = Param.Int(Parent.entry_size, "Bytes of a line")


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
    window = Param.Unsigned(
        0, "Descriptors under way at most, in the trace's order; 0: as many as the units take"
    )
    phase_ends = VectorParam.UInt64(
        [],
        "Ascending numbers of descriptors: those from one number on are handed over when all before it have "
        "been answered; empty: one phase",
    )
    poll_period = Param.Cycles(100, "Between two looks at a completion record")
    report = Param.String("tiles.csv", "File in the output directory for one line a tile; empty: none")
