# SPDX-License-Identifier: BSD-3-Clause
"""gem5's AArch64 Linux emulation with protections of pages that PIM units obey."""

from m5.objects.ArmSeWorkload import ArmEmuLinux
from m5.SimObject import cxxMethod


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
