"""`sailsim gem5`: programs, traces, tokens and tiles on a gem5 that has the module (docs/gem5.md)."""

from sailsim.cli.gem5 import decode, run, validate  # each puts its commands into the group
from sailsim.cli.gem5.options import gem5

__all__ = ["decode", "gem5", "run", "validate"]
