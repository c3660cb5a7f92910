/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/report.hh"

#include "emulated_unit.hh" // made from the system file sail-n1

#include <cmath>
#include <numeric>
#include <string>

namespace sailsim::kernels::decode
{

namespace
{

std::uint64_t sum(const std::array<std::uint64_t, kRegions> &parts)
{
    return std::accumulate(parts.begin(), parts.end(), std::uint64_t{0});
}

void add_waits(JsonLine &line, const Times &times, std::size_t steps)
{
    line.add("barrier_cycles", core_cycles(sum(times.barrier) / steps))
        .add("units_cycles", core_cycles(sum(times.units) / steps));
}

} // namespace

std::uint64_t core_cycles(std::uint64_t ns)
{
    return static_cast<std::uint64_t>(std::llround(static_cast<double>(ns) * core_clock_ghz));
}

void report_thread(unsigned rank, const Times &times, std::size_t steps)
{
    JsonLine line;
    line.add("thread", std::uint64_t{rank});
    for (std::size_t region = 0; region < kRegions; ++region)
        line.add((std::string(kRegionNames[region]) + "_cycles").c_str(),
                 core_cycles(times.work[region] / steps));
    add_waits(line, times, steps);
    line.print();
}

void add_step(JsonLine &line, const Times &times, std::size_t steps)
{
    std::uint64_t all = 0;
    for (std::size_t region = 0; region < kRegions; ++region) {
        const std::uint64_t ns = times.work[region] + times.barrier[region] + times.units[region];
        all += ns;
        line.add((std::string(kRegionNames[region]) + "_cycles").c_str(), core_cycles(ns / steps));
    }
    add_waits(line, times, steps);
    line.add("step_cycles", core_cycles(all / steps))
        .add("clock_mhz", static_cast<std::uint64_t>(std::llround(1000.0 * core_clock_ghz)));
}

} // namespace sailsim::kernels::decode
