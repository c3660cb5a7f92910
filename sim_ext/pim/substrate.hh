#ifndef SAILSIM_PIM_SUBSTRATE_HH
#define SAILSIM_PIM_SUBSTRATE_HH

namespace sailsim::pim {}

#endif
