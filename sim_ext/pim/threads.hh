/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A range split into contiguous runs, one thread each.
 */
#ifndef SAILSIM_PIM_THREADS_HH
#define SAILSIM_PIM_THREADS_HH

#include <cstdint>
#include <functional>
#include <system_error>
#include <thread>
#include <vector>

namespace sailsim::pim
{

/* Calls work(begin, end) over [0, count) in at most `threads` runs; the caller's thread does the first.
 * `work` must not throw. */
template <class Work>
void for_ranges(std::int64_t count, int threads, const Work &work)
{
    const std::int64_t runs = threads < count ? threads : count;
    if (runs <= 1) {
        work(std::int64_t{0}, count);
        return;
    }
    std::vector<std::thread> others;
    for (std::int64_t run = 1; run < runs; ++run) {
        const std::int64_t begin = count * run / runs;
        const std::int64_t end = count * (run + 1) / runs;
        try {
            others.emplace_back(std::cref(work), begin, end);
        } catch (const std::system_error &) { /* no thread to be had: do it here */
            work(begin, end);
        }
    }
    work(std::int64_t{0}, count / runs);
    for (std::thread &other : others)
        other.join();
}

} // namespace sailsim::pim

#endif
