/* SPDX-License-Identifier: BSD-3-Clause */
// Where the time of the measured steps went, by thread and for the step as a whole.
#ifndef SAILSIM_KERNELS_DECODE_REPORT_HH
#define SAILSIM_KERNELS_DECODE_REPORT_HH

#include "common/json_line.hh"
#include "decode/worker.hh"

#include <cstddef>

namespace sailsim::kernels::decode
{

// Cycles of the cores in a time: those of the machine that the program was made for (the header that `make`
// writes).
std::uint64_t core_cycles(std::uint64_t ns);

// One line: cycles of a step that the thread worked in each region, waited for other threads and for units.
void report_thread(unsigned rank, const Times &times, std::size_t steps);

// Adds the step's cycles by region to a line: a region lasts until all threads have met behind it, so these
// add up to the step. `barrier_cycles` and `units_cycles` are the parts of them that this thread waited.
void add_step(JsonLine &line, const Times &times, std::size_t steps);

} // namespace sailsim::kernels::decode

#endif
