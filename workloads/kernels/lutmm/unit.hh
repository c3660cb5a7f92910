/* SPDX-License-Identifier: BSD-3-Clause */
// Software's side of PIM units: hand them descriptors, wait for completion records, and LUTMM in software
// where no unit is. On AArch64 Linux and under a user-mode emulator the instruction traps as illegal; the
// handler executes the descriptor with the functional core and goes on behind the instruction. In gem5 with
// the unit nothing traps, and its syscall emulation ignores the handlers.
#ifndef SAILSIM_KERNELS_LUTMM_UNIT_HH
#define SAILSIM_KERNELS_LUTMM_UNIT_HH

#include "lutmm.h"

#include <cstddef>
#include <cstdint>

namespace sailsim::kernels
{

constexpr std::size_t kPageBytes = 4096; // the smallest page of AArch64: it never spans two protections

// Installs the handlers of SIGILL, SIGSEGV and SIGBUS, once, before anything else here.
void install_emulator();

// Instructions executed by the handler so far; 0 means that units did the work.
std::uint64_t emulated_descriptors();

// Executes LUTMM on `unit`, 0 .. LUTMM_UNITS_MAX - 1. The unit number is part of the instruction.
void submit(unsigned unit, const lutmm_descriptor *descriptor);

// Polls the completion record at an address (of a descriptor; a multiple of 4) until the unit has answered or
// `timeout_ns` have passed; the last status seen. What the unit wrote before it is visible when it is not
// LUTMM_PENDING.
std::uint32_t wait_for(std::uint64_t record, std::uint64_t timeout_ns);

// Whether all `bytes` at `address` can be read, or written, found out by trying. Writing stores the value
// that is there already.
bool can_read(std::uint64_t address, std::uint64_t bytes);
bool can_write(std::uint64_t address, std::uint64_t bytes);

// Addresses as descriptors have them.
inline std::uint64_t address_of(const void *memory)
{
    return reinterpret_cast<std::uintptr_t>(memory);
}
template <class T = unsigned char>
T *at_address(std::uint64_t address)
{
    return reinterpret_cast<T *>(static_cast<std::uintptr_t>(address));
}

} // namespace sailsim::kernels

#endif
