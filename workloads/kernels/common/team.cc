/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/team.hh"

#include "common/program.hh"

#include <algorithm>
#include <cerrno>
#include <sched.h>
#include <sys/mman.h>

namespace sailsim::kernels
{

namespace
{

// A SIGILL handler with the functional core may run on a worker's stack.
constexpr std::size_t kStackBytes = 512 * 1024;
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

Team::Team(unsigned size)
    : size_(size), stacks_((size - 1) * kStackBytes), workers_(std::make_unique<Worker[]>(size))
{
    constexpr int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                          CLONE_CHILD_CLEARTID;
    for (unsigned rank = 1; rank < size_; ++rank) {
        Worker &worker = workers_[rank];
        worker.team = this;
        worker.rank = rank;
        worker.alive.store(1, std::memory_order_relaxed);
        const int thread = clone(
            [](void *argument) {
                work(static_cast<Worker *>(argument));
                return 0;
            },
            stacks_.bytes() + rank * kStackBytes, flags, &worker, nullptr, nullptr, &worker.alive);
        if (thread < 0)
            fail("cannot make thread %u of %u (error %d); fewer --threads, or more cores in the machine",
                 rank + 1, size_, errno);
    }
}

Team::~Team()
{
    round_.store(kStopRound, std::memory_order_release);
    for (unsigned rank = 1; rank < size_; ++rank) {
        Backoff backoff;
        while (workers_[rank].alive.load(std::memory_order_acquire) != 0)
            backoff.pause();
    }
}

void Team::work(Worker *worker)
{
    Team &team = *worker->team;
    for (std::uint32_t seen = 0;;) {
        Backoff backoff;
        std::uint32_t round;
        while ((round = team.round_.load(std::memory_order_acquire)) == seen)
            backoff.pause();
        if (round == kStopRound)
            return;
        seen = round;
        team.job_(team.context_, worker->rank);
        team.finished_.fetch_add(1, std::memory_order_release);
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
