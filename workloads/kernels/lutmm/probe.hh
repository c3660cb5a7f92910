/* SPDX-License-Identifier: BSD-3-Clause */
// Asks whether addresses may be read or written, by trying: a fault inside a probe makes it answer false.
#ifndef SAILSIM_KERNELS_LUTMM_PROBE_HH
#define SAILSIM_KERNELS_LUTMM_PROBE_HH

#include <cstdint>

namespace sailsim::kernels
{

// Installs the handlers of SIGSEGV and SIGBUS that recognise a probe. Any other fault ends the program as
// usual.
void install_probes();

// Whether all `bytes` at `address` can be read, or written. Writing stores the value that is there already.
bool can_read(std::uint64_t address, std::uint64_t bytes);
bool can_write(std::uint64_t address, std::uint64_t bytes);

} // namespace sailsim::kernels

#endif
