/* SPDX-License-Identifier: BSD-3-Clause */
// Memory and threads. A team's threads wait for the measured loops by polling: a wait in the kernel would be
// part of what is measured, and takes other time in gem5's syscall emulation than on Linux.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace sailsim::kernels
{

// Zeroed, page-aligned memory straight from the kernel, so that large operands start on fresh pages.
class Buffer
{
  public:
    // Ends the program with one sentence when the memory cannot be had.
    explicit Buffer(std::size_t bytes);
    ~Buffer();
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;

    std::size_t size() const { return size_; }
    unsigned char *bytes() const { return bytes_; }
    template <class T>
    T *as() const
    {
        return reinterpret_cast<T *>(bytes_);
    }

  private:
    std::size_t size_;
    unsigned char *bytes_;
};

// Waits a little inside a polling loop: hands the core on when there are more threads than cores.
class Backoff
{
  public:
    void pause();

  private:
    unsigned spins_ = 0;
};

class Team
{
  public:
    static constexpr unsigned kMost = 64;

    // `size` threads including the caller's, 1..kMost. Ends the program when a thread cannot be made.
    explicit Team(unsigned size);
    ~Team();

    unsigned size() const { return size_; }

    // Calls body(rank) once on every thread, rank 0 on the caller's; returns when all have finished.
    template <class Body>
    void run(Body &&body)
    {
        using Plain = std::remove_reference_t<Body>;
        run([](void *context, unsigned rank) { (*static_cast<Plain *>(context))(rank); }, &body);
    }

  private:
    using Job = void (*)(void *context, unsigned rank);
    void work(unsigned rank);
    void run(Job job, void *context);

    unsigned size_;
    std::vector<std::thread> workers_;
    Job job_ = nullptr;
    void *context_ = nullptr;
    // Each on a line of its own: one is read by all while the other is written by all.
    alignas(64) std::atomic<std::uint32_t> round_{0};
    alignas(64) std::atomic<std::uint32_t> finished_{0};
};

// Where the threads of a team meet: all that was written before is visible behind it.
class Barrier
{
  public:
    explicit Barrier(unsigned size) : size_(size) {}

    void wait()
    {
        const std::uint32_t round = round_.load(std::memory_order_relaxed);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        Backoff backoff;
        while (round_.load(std::memory_order_acquire) == round)
            backoff.pause();
    }

  private:
    const std::uint32_t size_;
    // Each on a line of its own: one is written by all while the other is read by all.
    alignas(64) std::atomic<std::uint32_t> arrived_{0};
    alignas(64) std::atomic<std::uint32_t> round_{0};
};

// The part [first, last) of `count` items that `rank` of `size` does; parts differ by at most one item.
struct Range {
    std::size_t first, last;
};
inline Range part_of(std::size_t count, unsigned rank, unsigned size)
{
    return {count * rank / size, count * (rank + 1) / size};
}

} // namespace sailsim::kernels
