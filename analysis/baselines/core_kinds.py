"""Which core a machine has, by what its file says: software kernels are known core by core."""

from __future__ import annotations

from sailsim.sim.system import System

N1 = "neoverse-n1"
"""The core of Graviton2 and Altra, which three software stacks were measured on."""
CORES = (N1, "neoverse-v1", "neoverse-v2", "neoverse-n2")
"""Cores with constants of their own in `fits.json`."""
_WIDE_PIPES = 4
"""Vector pipes of a core with SVE2 from which on it is taken for Neoverse V2; N2 has two."""


def core_of(system: System) -> str:
    """The core whose kernels a machine runs: what its instructions are, and of SVE2 how many vector pipes."""
    match str(system.cores.isa.value):
        case "armv8.4-a+sve+i8mm":
            return "neoverse-v1"
        case "armv9-a+sve2+i8mm":
            return "neoverse-v2" if system.cores.simd_pipes.value >= _WIDE_PIPES else "neoverse-n2"
    return N1
