"""`sailsim gem5`: programs, traces and tiles on a gem5 that has the module (docs/gem5.md)."""

from sailsim.cli.gem5 import (
    decode,
    dram,
    kernels,
    machine,
    run,
    tiles,
    validate,
)  # each puts its commands into the group
from sailsim.cli.gem5.group import gem5

__all__ = ["decode", "dram", "gem5", "kernels", "machine", "run", "tiles", "validate"]
