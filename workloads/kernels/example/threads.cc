/* SPDX-License-Identifier: BSD-3-Clause */
// Four threads add up the numbers below 1000, each its part. Each allocates, has thread-local storage of its
// own, waits for its turn at a condition variable, and throws at the last number, which stops all adding.
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

namespace
{

constexpr int kThreads = 4;
thread_local long part = 0;

long add(const std::vector<long> &numbers)
{
    try {
        for (std::size_t i = 0;; ++i)
            part += numbers.at(i);
    } catch (const std::out_of_range &) {
        return part;
    }
}

} // namespace

int main()
{
    std::mutex mutex;
    std::condition_variable next;
    int turn = 0;
    long sum = 0;
    std::vector<std::thread> threads;
    for (int rank = 0; rank < kThreads; ++rank)
        threads.emplace_back([&, rank] {
            std::vector<long> numbers;
            for (long i = rank; i < 1000; i += kThreads)
                numbers.push_back(i);
            const long mine = add(numbers);
            std::unique_lock lock(mutex);
            next.wait(lock, [&] { return turn == rank; });
            sum += mine;
            std::printf("thread %d adds %ld\n", rank, mine);
            ++turn;
            next.notify_all();
        });
    for (std::thread &thread : threads)
        thread.join();
    std::printf("sum %ld by %d threads, %ld in the first one's own\n", sum, turn, part);
}
