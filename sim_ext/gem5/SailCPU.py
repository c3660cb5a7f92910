# SPDX-License-Identifier: BSD-3-Clause
"""gem5's Arm CPU models with a decoder that knows LUTMM."""

from m5.objects.ArmCPU import (
    ArmAtomicSimpleCPU,
    ArmMinorCPU,
    ArmO3CPU,
    ArmTimingSimpleCPU,
)
from m5.objects.ArmDecoder import ArmDecoder
from m5.params import Param


class SailArmDecoder(ArmDecoder):
    type = "SailArmDecoder"
    cxx_class = "gem5::sail::Decoder"
    cxx_header = "gem5/decoder.hh"

    doorbell = Param.Addr(
        0x7000000000,
        "Virtual address of PIM unit 0's doorbell page; unit u has the u-th page after it",
    )


class SailAtomicSimpleCPU(ArmAtomicSimpleCPU):
    ArchDecoder = SailArmDecoder


class SailTimingSimpleCPU(ArmTimingSimpleCPU):
    ArchDecoder = SailArmDecoder


class SailMinorCPU(ArmMinorCPU):
    ArchDecoder = SailArmDecoder


class SailO3CPU(ArmO3CPU):
    ArchDecoder = SailArmDecoder

    def addCheckerCpu(self):
        """Refuse."""
        # The checker runs every instruction a second time: the unit would get each descriptor twice.
        raise RuntimeError("SailO3CPU: a checker CPU cannot follow LUTMM")
