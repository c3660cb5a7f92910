/* SPDX-License-Identifier: BSD-3-Clause */
// Software's side of PIM units: lutmm_runtime.h, which liblutmm.a gives to everybody, and addresses. Where no
// unit is, the instruction traps as illegal; the handler executes the descriptor with the functional core and
// goes on behind the instruction. In gem5 with the unit nothing traps, and its syscall emulation ignores the
// handlers.
#pragma once

#include "lutmm_runtime.h"

#include <cstddef>
#include <cstdint>

namespace sailsim::kernels
{

constexpr std::size_t kPageBytes = 4096; // the smallest page of AArch64: it never spans two protections

// Whether all `bytes` at `address` can be read, or with `write` written, found out by trying, after
// lutmm_install_emulator() and by one thread at a time. Writing stores the value that is there already.
bool can_touch(std::uint64_t address, std::uint64_t bytes, bool write = false);

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

// Waits for the answer of a descriptor, as lutmm_wait does.
inline std::uint32_t wait_for(const lutmm_descriptor &descriptor, std::uint64_t timeout_ns)
{
    return lutmm_wait(at_address<lutmm_completion>(descriptor.completion), timeout_ns);
}

} // namespace sailsim::kernels
