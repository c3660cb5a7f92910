/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The parts of the module.
 */
#ifndef SAILSIM_BINDINGS_BIND_HH
#define SAILSIM_BINDINGS_BIND_HH

#include <nanobind/nanobind.h>

namespace sailsim::bindings
{

void bind_substrate(nanobind::module_ &m);
void bind_timing(nanobind::module_ &m);
void bind_arithmetic(nanobind::module_ &m);
void bind_descriptor(nanobind::module_ &m);
void bind_pattern_pool(nanobind::module_ &m);
void bind_product(nanobind::module_ &m);
void bind_reuse(nanobind::module_ &m);
void bind_schedule(nanobind::module_ &m);

} // namespace sailsim::bindings

#endif
