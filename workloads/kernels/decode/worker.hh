/* SPDX-License-Identifier: BSD-3-Clause */
// One thread of a step: its rank, the barrier it shares, and the clock that says where its time goes.
#pragma once

#include "common/measure.hh"
#include "common/team.hh"

#include <algorithm>
#include <array>

namespace sailsim::kernels::decode
{

enum class Part : unsigned { embed, norm, quantise, qkv, rope, attention, o, ffn, head, sample };
constexpr std::size_t kRegions = 10;
constexpr std::array<const char *, kRegions> kRegionNames = {
    "embed", "norm", "quantise", "qkv", "rope", "attention", "o", "ffn", "head", "sample"};

// What a thread reads in a turn: two rows of DRAM over all channels of sail-n1, so that 16 threads are spread
// over 32 banks. With a quarter as much NEON got 162 GB/s of them in gem5, with this 173.
constexpr std::size_t kTurnBytes = 1 << 17;

// Nanoseconds of one thread, by region: at work, waiting for other threads at the barrier that ends it, and
// waiting for PIM units in it. On lines of its own, so that threads do not disturb each other.
struct alignas(64) Times {
    std::array<std::uint64_t, kRegions> work{}, barrier{}, units{};
};

class Worker
{
  public:
    Worker(unsigned rank, unsigned size, Barrier &barrier, Times &times)
        : rank_(rank), size_(size), barrier_(barrier), times_(times), last_(now_ns())
    {
    }

    unsigned rank() const { return rank_; }
    unsigned size() const { return size_; }
    std::size_t products = 0; // that this thread has begun
    // The part of `count` items that is this thread's.
    Range part(std::size_t count) const { return part_of(count, rank_, size_); }
    // Calls body(row, piece) for this thread's of `pieces` pieces a row. No division an item: a 64-bit one
    // takes up to 20 cycles, a piece's norm 40.
    template <class Body>
    void pieces(std::size_t rows, std::size_t pieces, Body &&body) const
    {
        const Range mine = part(rows * pieces);
        std::size_t row = mine.first / pieces, piece = mine.first % pieces;
        for (std::size_t item = mine.first; item < mine.last; ++item) {
            body(row, piece);
            if (++piece == pieces) {
                piece = 0;
                ++row;
            }
        }
    }
    // Threads take turns over `count` items of `bytes` each, which lie one behind the other: calls
    // body(item, next) for this thread's, with the one that it works on next, at the end the same. What
    // threads read at once so is in different banks of DRAM; of equal shares many may lie in one. Turns
    // of all threads together may pass the last bank by one turn at most: 8B at batch 1 reads 160 GB/s
    // so, and 140 with longer ones.
    template <class Body>
    void turns(std::size_t count, std::size_t bytes, Body &&body) const
    {
        const std::size_t most = std::max<std::size_t>(1, (size_ + 1) * kTurnBytes / (size_ * bytes));
        std::size_t rounds = std::max<std::size_t>(1, count * bytes / size_ / kTurnBytes);
        if (parts_of(count, rounds * size_) > most)
            rounds = parts_of(count, most * size_);
        const std::size_t together = parts_of(count, rounds * size_);
        for (std::size_t first = rank_ * together; first < count; first += size_ * together) {
            const std::size_t last = std::min(first + together, count) - 1, then = first + size_ * together;
            for (std::size_t item = first; item < last; ++item)
                body(item, item + 1);
            body(last, then < count ? then : last);
        }
    }

    // What follows belongs to a region.
    void enter(Part part)
    {
        charge(times_.work);
        region_ = static_cast<std::size_t>(part);
    }
    // Waits for the other threads.
    void meet()
    {
        charge(times_.work);
        barrier_.wait();
        charge(times_.barrier);
    }
    // Around a wait for PIM units.
    void units_begin() { charge(times_.work); }
    void units_end() { charge(times_.units); }

  private:
    void charge(std::array<std::uint64_t, kRegions> &to)
    {
        const std::uint64_t now = now_ns();
        to[region_] += now - last_;
        last_ = now;
    }

    unsigned rank_, size_;
    Barrier &barrier_;
    Times &times_;
    std::uint64_t last_;
    std::size_t region_ = 0;
};

} // namespace sailsim::kernels::decode
