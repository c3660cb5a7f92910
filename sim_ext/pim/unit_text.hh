/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The text form of a unit's configuration, the one way in which it comes to this core: Python, gem5 and the
 * emulator all hand over what sim_ext/sim/unit.py writes (docs/systems.md has an example). The first line is
 * "sailsim-unit 2", the version of the form; every other is a key, a space and a value. Every key is there
 * once, in any order.
 */
#ifndef SAILSIM_PIM_UNIT_TEXT_HH
#define SAILSIM_PIM_UNIT_TEXT_HH

#include <string>
#include <string_view>

#include "pim/config.hh"

namespace sailsim::pim
{

/* Versions of the form that read_unit knows: this one. A form with other keys or meanings has another. */
constexpr int unit_text_version = 2;

/* The unit that a text describes, validated. Throws std::invalid_argument: one sentence with the key, the
 * value and what is allowed. */
SliceConfig read_unit(std::string_view text);

} // namespace sailsim::pim

#endif
