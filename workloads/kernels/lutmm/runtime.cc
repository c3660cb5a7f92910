/* SPDX-License-Identifier: BSD-3-Clause */
// The C interface of liblutmm.a over what the programs here use themselves.
#include "lutmm_runtime.h"

#include "common/fail.hh"
#include "emulated_unit.hh"
#include "lutmm/emulator.hh"
#include "lutmm/unit.hh"
#include "pim/descriptor.hh"

using namespace sailsim;

void lutmm_install_emulator()
{
    kernels::install_emulator();
}

std::uint64_t lutmm_emulated()
{
    return kernels::emulated_descriptors();
}

unsigned lutmm_units()
{
    return kernels::emulated_units;
}

void lutmm_submit(unsigned unit, const lutmm_descriptor *descriptor)
{
    if (unit >= LUTMM_UNITS_MAX)
        kernels::fail("lutmm_submit: unit is %u; allowed: 0 to %d", unit, LUTMM_UNITS_MAX - 1);
    kernels::submit(unit, descriptor);
}

std::uint32_t lutmm_wait(const lutmm_completion *record, std::uint64_t timeout_ns)
{
    return kernels::wait_for(reinterpret_cast<std::uintptr_t>(record), timeout_ns);
}

const char *lutmm_status_name(std::uint32_t status)
{
    return pim::status_name(status);
}
