/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/team.hh"

#include "common/program.hh"

#include <algorithm>
#include <sched.h>
#include <sys/mman.h>
#include <system_error>

namespace sailsim::kernels
{

namespace
{

constexpr unsigned kStopRound = 0xffffffffu;
constexpr unsigned kMostPauses = 4;
constexpr unsigned kSpinsBeforeYield = 256;

} // namespace

Buffer::Buffer(std::size_t bytes) : size_(bytes == 0 ? 1 : bytes), bytes_(nullptr)
{
    void *memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("cannot allocate %zu bytes", size_);
    bytes_ = static_cast<unsigned char *>(memory);
}

Buffer::~Buffer()
{
    munmap(bytes_, size_);
}

// `yield` does nothing on a core with one hardware thread. `isb` drains the pipeline, some tens of cycles in
// which a waiting core neither executes instructions nor disturbs the line that it waits for.
void Backoff::pause()
{
    if (++spins_ >= kSpinsBeforeYield) {
        spins_ = 0;
        sched_yield();
        return;
    }
    for (unsigned i = 0; i < std::min(spins_, kMostPauses); ++i)
        __asm__ volatile("isb");
}

Team::Team(unsigned size) : size_(size)
{
    for (unsigned rank = 1; rank < size_; ++rank) {
        try {
            workers_.emplace_back(&Team::work, this, rank);
        } catch (const std::system_error &error) {
            fail("cannot make thread %u of %u (%s); fewer --threads, or more cores in the machine", rank + 1,
                 size_, error.what());
        }
    }
}

Team::~Team()
{
    round_.store(kStopRound, std::memory_order_release);
    for (std::thread &worker : workers_)
        worker.join();
}

void Team::work(unsigned rank)
{
    for (std::uint32_t seen = 0;;) {
        Backoff backoff;
        std::uint32_t round;
        while ((round = round_.load(std::memory_order_acquire)) == seen)
            backoff.pause();
        if (round == kStopRound)
            return;
        seen = round;
        job_(context_, rank);
        finished_.fetch_add(1, std::memory_order_release);
    }
}

void Team::run(Job job, void *context)
{
    job_ = job;
    context_ = context;
    finished_.store(0, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    job(context, 0);
    Backoff backoff;
    while (finished_.load(std::memory_order_acquire) != size_ - 1)
        backoff.pause();
}

} // namespace sailsim::kernels
