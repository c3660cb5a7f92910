# SPDX-License-Identifier: BSD-3-Clause
"""gem5's Arm CPU models with a decoder that knows LUTMM, and Linux emulation with what PIM units need."""

from m5.objects.ArmCPU import (
    ArmAtomicSimpleCPU,
    ArmMinorCPU,
    ArmO3CPU,
    ArmTimingSimpleCPU,
)
from m5.objects.ArmDecoder import ArmDecoder
from m5.objects.ArmSeWorkload import ArmEmuLinux
from m5.params import Param
from m5.SimObject import cxxMethod


class SailArmDecoder(ArmDecoder):
    type = "SailArmDecoder"
    cxx_class = "gem5::sail::Decoder"
    cxx_header = "gem5/decoder.hh"

    doorbell = Param.Addr(
        0x7000000000,
        "Virtual address of PIM unit 0's doorbell page; unit u has the u-th page after it",
    )
    neoverse = Param.Bool(False, "Vector instructions have the operation classes of a Neoverse's pipes")


class SailAtomicSimpleCPU(ArmAtomicSimpleCPU):
    ArchDecoder = SailArmDecoder


class SailTimingSimpleCPU(ArmTimingSimpleCPU):
    ArchDecoder = SailArmDecoder


class SailMinorCPU(ArmMinorCPU):
    ArchDecoder = SailArmDecoder


class SailO3Decoder(SailArmDecoder):
    neoverse = True


class SailO3CPU(ArmO3CPU):
    ArchDecoder = SailO3Decoder

    def addCheckerCpu(self):
        """Refuse."""
        # The checker runs every instruction a second time: the unit would get each descriptor twice.
        raise RuntimeError("SailO3CPU: a checker CPU cannot follow LUTMM")


class SailEmuLinux(ArmEmuLinux):
    type = "SailEmuLinux"
    cxx_class = "gem5::sail::EmuLinux"
    cxx_header = "gem5/workload.hh"

    @cxxMethod
    def hand_over(self, old, new):
        """Make the threads of core `old` known to core `new`, which is to take over from it (C++ objects)."""

    @classmethod
    def _is_compatible_with(cls, obj):
        # gem5 wants one workload for a program and finds its own; ours is named where it is wanted.
        return False
