# SPDX-License-Identifier: BSD-3-Clause
"""gem5's AArch64 Linux emulation with pages that PIM units may not write."""

from m5.objects.ArmSeWorkload import ArmEmuLinux


class SailEmuLinux(ArmEmuLinux):
    type = "SailEmuLinux"
    cxx_class = "gem5::sail::EmuLinux"
    cxx_header = "gem5/workload.hh"

    @classmethod
    def _is_compatible_with(cls, obj):
        # gem5 wants one workload for a program and finds its own; ours is named where it is wanted.
        return False
