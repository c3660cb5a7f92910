/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A range split into contiguous runs, one thread each.
 */
#ifndef SAILSIM_PIM_THREADS_HH
#define SAILSIM_PIM_THREADS_HH

#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace sailsim::pim
{

/* Calls work(begin, end) over [0, count) in at most `threads` runs; the caller's thread does the first. The
 * first exception that a run throws is thrown again when all have ended. */
template <class Work>
void for_ranges(std::int64_t count, int threads, const Work &work)
{
    const std::int64_t runs = threads < count ? threads : count;
    std::exception_ptr failure;
    std::mutex failure_lock;
    const auto guarded = [&](std::int64_t begin, std::int64_t end) {
        try {
            work(begin, end);
        } catch (...) {
            const std::lock_guard<std::mutex> hold(failure_lock);
            if (!failure)
                failure = std::current_exception();
        }
    };

    std::vector<std::thread> others;
    for (std::int64_t run = 1; run < runs; ++run) {
        const std::int64_t begin = count * run / runs;
        const std::int64_t end = count * (run + 1) / runs;
        try {
            others.emplace_back([&guarded, begin, end] { guarded(begin, end); });
        } catch (const std::system_error &) { /* no thread to be had: do it here */
            guarded(begin, end);
        }
    }
    guarded(0, runs > 1 ? count / runs : count);
    for (std::thread &other : others)
        other.join();
    if (failure)
        std::rethrow_exception(failure);
}

} // namespace sailsim::pim

#endif
