/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Loops that are compiled for several instruction sets, and which of them this processor can run. Each user
 * has one `Loops` a set: generic_NAME, and on x86-64 avx2_NAME and avx512_NAME. */
#ifndef SAILSIM_PIM_INSTRUCTION_SETS_HH
#define SAILSIM_PIM_INSTRUCTION_SETS_HH

#include <vector>

/* Of a loop that is compiled for several sets: it is inlined into a function for each. */
#define SAILSIM_INLINED inline __attribute__((always_inline))

/* SAILSIM_EACH_SET(DEFINE) is DEFINE(set, attribute of its functions) for every set.
 * SAILSIM_USABLE(NAME) lists the set_NAME that this processor can run, the quickest first. */
#if defined(__x86_64__)
#define SAILSIM_EACH_SET(DEFINE)                                                                             \
    DEFINE(generic, )                                                                                        \
    DEFINE(avx2, __attribute__((target("avx2"))))                                                            \
    DEFINE(avx512, __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512"))))
#define SAILSIM_USABLE(NAME) ::sailsim::pim::usable_sets(avx512_##NAME, avx2_##NAME, generic_##NAME)
#else
#define SAILSIM_EACH_SET(DEFINE) DEFINE(generic, )
#define SAILSIM_USABLE(NAME) {&generic_##NAME}
#endif

namespace sailsim::pim
{

#if defined(__x86_64__)
template <class Loops>
std::vector<const Loops *> usable_sets(const Loops &avx512, const Loops &avx2, const Loops &generic)
{
    std::vector<const Loops *> usable;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        usable.push_back(&avx512);
    if (__builtin_cpu_supports("avx2"))
        usable.push_back(&avx2);
    usable.push_back(&generic);
    return usable;
}
#endif

} // namespace sailsim::pim

#endif
