/* SPDX-License-Identifier: BSD-3-Clause */
#include "bind.hh"

NB_MODULE(_core, m)
{
    m.doc() =
        "The C++ core of the PIM slice unit, shared with gem5: substrates, patterns, timing, arithmetic.\n\n"
        "Bad values raise ``ValueError``, wrong types and dtypes ``TypeError``; the message names the "
        "argument.";
    /* Profiles and timings that Python keeps for the next step live as long as the process: no leak. */
    nanobind::set_leak_warnings(false);
    sailsim::bindings::bind_substrate(m);
    sailsim::bindings::bind_timing(m);
    sailsim::bindings::bind_arithmetic(m);
    sailsim::bindings::bind_descriptor(m);
    sailsim::bindings::bind_pattern_pool(m);
    sailsim::bindings::bind_product(m);
    sailsim::bindings::bind_reuse(m);
    sailsim::bindings::bind_schedule(m);
}
