/* SPDX-License-Identifier: BSD-3-Clause */
// LUTMM in software, where no unit is: on AArch64 Linux and under a user-mode emulator the instruction traps
// as illegal; the handler executes the descriptor with the functional core and goes on behind the
// instruction. In gem5 with the unit nothing traps, and its syscall emulation ignores the handlers.
#ifndef SAILSIM_KERNELS_LUTMM_EMULATOR_HH
#define SAILSIM_KERNELS_LUTMM_EMULATOR_HH

#include <cstdint>

namespace sailsim::kernels
{

// Installs the handlers, once, before the first LUTMM.
void install_emulator();

// Instructions executed by the handler so far; 0 means that units did the work.
std::uint64_t emulated_descriptors();

} // namespace sailsim::kernels

#endif
