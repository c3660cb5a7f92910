/* SPDX-License-Identifier: BSD-3-Clause
 *
 * LUTMM for a program of your own, in C99 or C++11: hand a descriptor to a unit whose number is known at run
 * time, wait for its answer, and run where no unit is. Link with build/kernels/liblutmm.a, which `make
 * kernels` makes, and the C++ library (docs/gem5.md).
 */
#ifndef SAILSIM_ABI_LUTMM_RUNTIME_H
#define SAILSIM_ABI_LUTMM_RUNTIME_H

#include "lutmm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Lets this program run where no unit is (AArch64 Linux, qemu-aarch64): LUTMM traps there as an illegal
 * instruction, and the handler of SIGILL, SIGSEGV and SIGBUS that this installs executes the descriptor in
 * software. A unit takes its place where there is one. Once, before the first LUTMM. Ends the program with a
 * sentence where it cannot.
 */
void lutmm_install_emulator(void);

/* Instructions that the emulator has executed; 0 means that units did the work. */
uint64_t lutmm_emulated(void);

/* Units of the machine that the library was made for (SYSTEM= of `make kernels`). */
unsigned lutmm_units(void);

/* Hands a descriptor to `unit`, 0 .. LUTMM_UNITS_MAX - 1; ends the program with a sentence for another
 * number. The completion record must say LUTMM_PENDING before. */
void lutmm_submit(unsigned unit, const struct lutmm_descriptor *descriptor);

/* Waits until a record says other than LUTMM_PENDING, or until `timeout_ns` have passed, and returns what it
 * says. What the unit wrote is visible when it is not LUTMM_PENDING. */
uint32_t lutmm_wait(const struct lutmm_completion *record, uint64_t timeout_ns);

/* A status in words: "OK", "ERR_WBITS", ... */
const char *lutmm_status_name(uint32_t status);

#ifdef __cplusplus
}
#endif

#endif
