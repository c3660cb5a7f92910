/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Functions that the compiler makes once for each of some vector lengths; the loader takes the longest that
 * the processor has. Sanitizers start after the loader has chosen, so there is one of each with them. */
#ifndef SAILSIM_PIM_VECTOR_CLONES_HH
#define SAILSIM_PIM_VECTOR_CLONES_HH

#include <cstdint> /* says whose C library it is */

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) &&                 \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SAILSIM_VECTOR_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define SAILSIM_VECTOR_CLONES
#endif

/* Of what such a function calls: it is compiled into each of them. */
#define SAILSIM_INLINED inline __attribute__((always_inline))

#endif
