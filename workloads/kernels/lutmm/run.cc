/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/run.hh"

#include "common/clock.hh"
#include "lutmm/unit.hh"

#include <cstring>

namespace sailsim::kernels
{

std::vector<Answer> submit_all(const lutmm_descriptor *descriptors, const std::vector<bool> &can_answer,
                               Team &team, const Submission &submission)
{
    const std::size_t count = can_answer.size();
    std::vector<Answer> answers(count);

    // False when the unit did not answer in time.
    const auto collect = [&](std::size_t i) {
        if (!can_answer[i])
            return true;
        if (wait_for(descriptors[i].completion, submission.timeout_ns) == LUTMM_PENDING)
            return false;
        answers[i].answered_ns = now_ns();
        std::memcpy(&answers[i].completion,
                    reinterpret_cast<const void *>(static_cast<std::uintptr_t>(descriptors[i].completion)),
                    sizeof(lutmm_completion));
        return true;
    };

    team.run([&](unsigned rank) {
        const std::size_t step = team.size();
        std::size_t oldest = rank;
        for (std::size_t i = rank; i < count; i += step) {
            if ((i - oldest) / step == submission.in_flight) {
                if (!collect(oldest))
                    return;
                oldest += step;
            }
            answers[i].submitted_ns = now_ns();
            submit(static_cast<unsigned>(i % submission.units), &descriptors[i]);
        }
        for (; oldest < count; oldest += step)
            if (!collect(oldest))
                return;
    });
    return answers;
}

} // namespace sailsim::kernels
