/* SPDX-License-Identifier: BSD-3-Clause */
// Wall time. The generic counter (CNTVCT_EL0) would be cheaper, but gem5's syscall emulation has no such
// timer and stops at the read; clock_gettime works on Linux, under an emulator and in gem5, where it is
// simulated time.
#ifndef SAILSIM_KERNELS_COMMON_CLOCK_HH
#define SAILSIM_KERNELS_COMMON_CLOCK_HH

#include <cstdint>
#include <ctime>

namespace sailsim::kernels
{

inline std::uint64_t now_ns()
{
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u +
           static_cast<std::uint64_t>(time.tv_nsec);
}

} // namespace sailsim::kernels

#endif
