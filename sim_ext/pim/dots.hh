/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The numbers of LUT-GEMV by plain multiplication, on processors that multiply bytes: what a unit's tables
 * give, without them. Exact for every width of docs/contract.md, section 1.
 */
#ifndef SAILSIM_PIM_DOTS_HH
#define SAILSIM_PIM_DOTS_HH

#include <vector>

#include "pim/dot_kernel.hh"
#include "pim/gemv.hh"

namespace sailsim::pim
{

/* Those that this processor can run, the quickest first; none on one that is not x86-64. */
const std::vector<const DotKernels *> &usable_dots();

/* Whether they have weights that are stored so. */
bool has_dots(const DotKernels &kernels, WeightStorage storage);

/* y = x W as lut_gemv hands it over. Throws std::invalid_argument for x outside its width, and where the
 * kernels have no such weights. */
template <class T>
void dot_gemv(const Activations<T> &x, const Grouping &grouping, const PackedWeights &weights, Sums sums,
              int threads, const TileSink &sink, const DotKernels &kernels);

/* y = x W by whatever is quickest here: dots, or tables where there are none. */
template <class T>
void gemv(const Activations<T> &x, const Grouping &grouping, const PackedWeights &weights, Sums sums,
          int threads, const TileSink &sink);

} // namespace sailsim::pim

#endif
