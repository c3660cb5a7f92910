/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/unit.hh"

#include "common/clock.hh"
#include "common/team.hh"

#include <array>
#include <utility>

namespace sailsim::kernels
{

namespace
{

using Submit = void (*)(const lutmm_descriptor *);

template <unsigned Unit>
void submit_to(const lutmm_descriptor *descriptor)
{
    register const lutmm_descriptor *address __asm__("x9") = descriptor;
    __asm__ volatile(".inst %c1" : : "r"(address), "i"(LUTMM_INSN(Unit, 9)) : "memory");
}

template <unsigned... Unit>
constexpr std::array<Submit, sizeof...(Unit)> submits(std::integer_sequence<unsigned, Unit...>)
{
    return {submit_to<Unit>...};
}

constexpr auto kSubmit = submits(std::make_integer_sequence<unsigned, LUTMM_UNITS_MAX>{});

} // namespace

void submit(unsigned unit, const lutmm_descriptor *descriptor)
{
    kSubmit[unit](descriptor);
}

std::uint32_t wait_for(std::uint64_t record, std::uint64_t timeout_ns)
{
    constexpr unsigned polls_between_looks_at_the_clock = 1024;
    const std::uint64_t start = now_ns();
    Backoff backoff;
    for (unsigned polls = 1;; ++polls) {
        const std::uint32_t status = status_at(record);
        if (status != LUTMM_PENDING)
            return status;
        if (polls % polls_between_looks_at_the_clock == 0 && now_ns() - start > timeout_ns)
            return status;
        backoff.pause();
    }
}

} // namespace sailsim::kernels
