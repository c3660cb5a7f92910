/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernels for whatever instruction set the compiler was told to assume.
 */
#include <cstdint>
#include <type_traits>

#include "pim/gemv_kernel.hh"

namespace sailsim::pim
{

namespace
{
constexpr int vector_bytes = 16;
#include "pim/gemv_kernel_body.hh"
} // namespace

const KernelSet generic_kernels = kernel_set("generic");

} // namespace sailsim::pim
