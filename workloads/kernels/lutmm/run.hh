/* SPDX-License-Identifier: BSD-3-Clause */
// Submits an array of descriptors over cores and units and collects the answers.
#ifndef SAILSIM_KERNELS_LUTMM_RUN_HH
#define SAILSIM_KERNELS_LUTMM_RUN_HH

#include "common/team.hh"
#include "lutmm.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sailsim::kernels
{

struct Submission {
    unsigned units = 1;                        // descriptor i goes to unit i % units
    std::size_t in_flight = 1;                 // descriptors that a core has under way at most
    std::uint64_t timeout_ns = 10'000'000'000; // for one answer
};

struct Answer {
    lutmm_completion completion{}; // LUTMM_PENDING where the unit never answered
    std::uint64_t submitted_ns = 0, answered_ns = 0;
};

// Core c of the team submits descriptors c, c + cores, ... in order and waits for the oldest when as many as
// allowed are under way. `can_answer[i]` says that the completion record of descriptor i is memory that may
// be polled; without one nobody waits for it. A core gives up after the first answer that does not come.
std::vector<Answer> submit_all(const lutmm_descriptor *descriptors, const std::vector<bool> &can_answer,
                               Team &team, const Submission &submission);

} // namespace sailsim::kernels

#endif
