/* SPDX-License-Identifier: BSD-3-Clause */
// Ends of a program: one sentence on stderr and an exit status that says whose fault it was.
#ifndef SAILSIM_KERNELS_COMMON_FAIL_HH
#define SAILSIM_KERNELS_COMMON_FAIL_HH

namespace sailsim::kernels
{

constexpr int kExitWrong = 1; // the program ran and a result was wrong
constexpr int kExitUsage = 2; // the input or the machine does not allow the run

// Prints "error: <sentence>" and exits with kExitUsage.
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

} // namespace sailsim::kernels

#endif
