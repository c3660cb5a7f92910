#include "pim/substrate.hh"
